#include "pgbench.h"

#include "percentile.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNTS     100000
#define RUN_ATTEMPTS 3
#define WARMUP_US    500000
/* A new session's first transactions fill its caches and try other plans. */
#define WARMUP_TRANSACTIONS 6

#define BUSINESS                                                                                   \
    "\\set account random(1, 100000)\n"                                                            \
    "BEGIN;\n"                                                                                     \
    "UPDATE shop.account SET balance = balance + 1 WHERE id = :account;\n"                         \
    "INSERT INTO shop.ledger (account, amount) VALUES (:account, 1);\n"
#define EVENT                                                                                      \
    "INSERT INTO outbox.event (event_id, aggregate_type, aggregate_id, event_type, payload) "      \
    "VALUES (outbox.new_event_id(), 'order', :account::text, 'order.paid', "                       \
    "'{\"orderId\": 4711, \"amount\": 9900, \"currency\": \"EUR\", \"state\": \"PAID\"}');\n"

void pgbench_prepare(const struct pg_server *s)
{
    PGconn *conn = pg_open(s, NULL);

    pg_exec(conn, "CREATE SCHEMA shop AUTHORIZATION svc");
    pg_exec(conn, "CREATE TABLE shop.account (id integer PRIMARY KEY, balance bigint NOT NULL) "
                  "WITH (fillfactor = 50)");
    pg_exec(conn, "CREATE TABLE shop.ledger (account integer NOT NULL, amount integer NOT NULL)");
    pg_exec(conn, "INSERT INTO shop.account SELECT i, 0 FROM generate_series(1, %d) i", ACCOUNTS);
    pg_exec(conn, "ALTER TABLE shop.account OWNER TO svc");
    pg_exec(conn, "ALTER TABLE shop.ledger OWNER TO svc");
    pg_exec(conn, "CREATE FUNCTION outbox.ring_always() RETURNS trigger LANGUAGE plpgsql AS "
                  "$$BEGIN NOTIFY outbox; RETURN NULL; END$$");
    pg_exec(conn, "VACUUM ANALYZE shop.account");
    PQfinish(conn);
}

void pgbench_set_bell(const struct pg_server *s, enum bell_kind bell)
{
    PGconn *conn = pg_open(s, NULL);

    pg_exec(conn, "TRUNCATE shop.ledger, outbox.event");
    pg_exec(conn, "DROP TRIGGER IF EXISTS event_ring ON outbox.event");
    if (bell == BELL_OF_SCHEMA)
        pg_exec(conn, "SELECT outbox.set_bells(1)");
    else if (bell == BELL_DEFERRED)
        pg_exec(conn, "CREATE CONSTRAINT TRIGGER event_ring AFTER INSERT ON outbox.event "
                      "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION "
                      "outbox.ring('0')");
    else if (bell == BELL_NOTIFY)
        pg_exec(conn, "CREATE TRIGGER event_ring AFTER INSERT ON outbox.event "
                      "FOR EACH STATEMENT EXECUTE FUNCTION outbox.ring_always('0')");
    PQfinish(conn);
}

/* ---- the log of transactions ---- */

struct times {
    uint32_t *us;
    size_t count;
    size_t capacity;
};

static void times_add(struct times *t, uint32_t us)
{
    if (t->count == t->capacity) {
        t->capacity = t->capacity == 0 ? 1 << 16 : t->capacity * 2;
        t->us = realloc(t->us, t->capacity * sizeof *t->us);
        if (t->us == NULL)
            support_fail("out of memory");
    }
    t->us[t->count++] = us;
}

/* A line: client, transaction, time (with the lag behind the schedule in it), script, second,
 * microsecond of its end, and with a rate that lag. */
enum column { CLIENT, NUMBER, TOOK, SCRIPT, SECOND, MICROSECOND, LAG, COLUMNS };

static bool read_line(const char *line, uint64_t columns[COLUMNS])
{
    int n = 0;

    memset(columns, 0, COLUMNS * sizeof *columns);
    for (char *end; n < COLUMNS; n++, line = end) {
        columns[n] = strtoull(line, &end, 10);
        if (end == line)
            break;
    }
    return n >= LAG;
}

static void read_log(const char *path, bool warm, uint64_t *first_us, struct times *times)
{
    char *text = file_read(path);
    char *rest = text;
    char *line;

    while ((line = strsep(&rest, "\n")) != NULL) {
        uint64_t columns[COLUMNS];
        uint64_t at;

        if (!read_line(line, columns))
            continue;
        at = columns[SECOND] * 1000000 + columns[MICROSECOND];
        if (*first_us == 0 || at < *first_us)
            *first_us = at;
        if (!warm || (at >= *first_us + WARMUP_US && columns[NUMBER] >= WARMUP_TRANSACTIONS))
            times_add(times, (uint32_t)(columns[TOOK] - columns[LAG]));
    }
    free(text);
}

/* The mean of the script's last statement, in the table that -r prints at the end. */
static double last_statement_ms(const char *report)
{
    const char *at = strstr(report, "COMMIT;");
    const char *line = at;

    while (line != NULL && line > report && line[-1] != '\n')
        line--;
    return line == NULL ? 0 : strtod(line, NULL);
}

static double number_after(const char *report, const char *words)
{
    const char *at = strstr(report, words);

    if (at == NULL)
        support_fail("pgbench does not tell \"%s\":\n%s", words, report);
    return strtod(at + strlen(words), NULL);
}

static void summarise(struct times *t, struct pgbench_figures *out)
{
    uint64_t sum = 0;

    if (t->count == 0)
        support_fail("pgbench has run no transaction");
    for (size_t i = 0; i < t->count; i++)
        sum += t->us[i];
    out->mean_ms = (double)sum / (double)t->count / 1000;
    out->p50_ms = percentile_ms(t->us, t->count, 50);
    out->p99_ms = percentile_ms(t->us, t->count, 99);
}

/* ---- the run ---- */

static void run(const struct pgbench_params *p, const char *folder, const char *report)
{
    char script[PATH_SIZE];
    char prefix[PATH_SIZE];
    char log_prefix[PATH_SIZE + 32];
    char numbers[4][24];
    char rate[32];
    struct pg_url url = pg_url(p->pg, "svc", "postgres");
    const char *argv[24] = {"pgbench",  "-n", "-r",       "-l",       "-M",
                            "prepared", "-f", script,     log_prefix, "-c",
                            numbers[0], "-j", numbers[1], "-T",       numbers[2]};
    size_t n = 15;
    int seconds = (p->run_ms + 999) / 1000;

    path_join(script, folder, "script.sql");
    path_join(prefix, folder, "log");
    file_write(script, "%s%sCOMMIT;\n", BUSINESS, p->event ? EVENT : "");
    (void)snprintf(log_prefix, sizeof log_prefix, "--log-prefix=%s", prefix);
    (void)snprintf(numbers[0], sizeof numbers[0], "%d", p->clients);
    (void)snprintf(numbers[1], sizeof numbers[1], "%d", 1);
    (void)snprintf(numbers[2], sizeof numbers[2], "%d", seconds);
    if (p->rate > 0) {
        (void)snprintf(rate, sizeof rate, "--rate=%d", p->rate);
        argv[n++] = rate;
    }
    argv[n++] = url.text;
    file_write(report, "%s", "");
    if (proc_run(argv, report, seconds * 1000 + 60000) != 0)
        support_fail("pgbench:\n%s", file_read(report));
}

/* What pgbench has logged below `folder`. */
static void read_logs(const char *folder, struct times *times)
{
    char pattern[PATH_SIZE];
    uint64_t first_us = 0;
    glob_t logs = {0};

    path_join(pattern, folder, "log.*");
    if (glob(pattern, 0, NULL, &logs) != 0)
        support_fail("pgbench has left no log");
    for (size_t i = 0; i < logs.gl_pathc; i++)
        read_log(logs.gl_pathv[i], true, &first_us, times);
    for (size_t i = 0; times->count == 0 && i < logs.gl_pathc; i++) /* too slow to leave any out */
        read_log(logs.gl_pathv[i], false, &first_us, times);
    globfree(&logs);
}

void pgbench_run(const struct pgbench_params *p, struct pgbench_figures *out)
{
    char folder[PATH_SIZE];
    char report[PATH_SIZE];
    struct times times = {0};
    char *text;

    *out = (struct pgbench_figures){0};
    /* on a machine that is busy enough, connecting alone takes the whole time */
    for (int attempt = 0; attempt < RUN_ATTEMPTS && times.count == 0; attempt++) {
        if (attempt > 0)
            tmp_remove(folder);
        tmp_folder("pgbench", folder);
        path_join(report, folder, "report");
        run(p, folder, report);
        read_logs(folder, &times);
    }
    summarise(&times, out);
    free(times.us);
    text = file_read(report);
    out->tps = number_after(text, "tps = ");
    out->commit_mean_ms = last_statement_ms(text);
    free(text);
    tmp_remove(folder);
}
