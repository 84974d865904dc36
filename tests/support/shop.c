#include "shop.h"

#include "check.h"
#include "loopback.h"

#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

const char *const shop_names[SHOP_SERVICES] = {"order", "inventory", "payment", "notification",
                                               "sales"};
static const char *const databases[SHOP_SERVICES] = {"orders", "inventory", "payments",
                                                     "notifications", "sales"};
static const char *const topics[] = {"order-events", "inventory-events", "payment-events"};

/* ---- set-up ---------------------------------------------------------------------------------- */

static void run(const struct shop *s, const char *const *argv)
{
    char log[PATH_SIZE];
    char *text;

    path_join(log, s->pg.dir, "shop-setup.log");
    if (proc_run(argv, log, 30000) == 0)
        return;
    text = file_read(log);
    support_fail("%s %s: %s", argv[0], argv[1], text);
}

static void configure_relay(struct shop *s, int i)
{
    char text[1024];
    const int port = port_free();

    (void)snprintf(text, sizeof text,
                   "postgres: {url: \"%s\"}\n"
                   "kafka: {brokers: \"%s\"}\n"
                   "relay: {name: %s, instance: %s-1, lease_ttl: 2s}\n"
                   "http: {listen: \"127.0.0.1:%d\"}\n",
                   pg_url(&s->pg, "outboxd", databases[i]).text, kafka_brokers(&s->kafka),
                   shop_names[i], shop_names[i], port);
    outboxd_configure_text(&s->relay[i], text);
    s->relay[i].http_port = port;
}

static void apply(struct shop *s, int i)
{
    const struct pg_url owner = pg_url(&s->pg, "postgres", databases[i]);
    char sql[PATH_SIZE];

    (void)snprintf(sql, sizeof sql, "%s/deploy/example/sql/%s.sql", source_root(), shop_names[i]);
    if (i < SHOP_RELAYS)
        run(s, (const char *const[]){outboxd_binary(), "migrate", "-c", s->relay[i].config, "--url",
                                     owner.text, NULL});
    run(s,
        (const char *const[]){outboxd_binary(), "migrate", "--inbox", "--url", owner.text, NULL});
    for (int twice = 0; twice < 2; twice++) /* harmless to run again */
        run(s, (const char *const[]){"psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-1", "-d",
                                     owner.text, "-f", sql, NULL});
}

void shop_open_databases(struct shop *s)
{
    for (int i = 0; i < SHOP_SERVICES; i++) {
        s->db[i] = PQconnectdb(pg_url(&s->pg, "postgres", databases[i]).text);
        CHECK(PQstatus(s->db[i]) == CONNECTION_OK, "%s", PQerrorMessage(s->db[i]));
    }
}

void shop_create(struct shop *s)
{
    static const char *const settings[] = {"group.min.session.timeout.ms=500", NULL};
    PGconn *admin;
    char name[64];

    *s = (struct shop){.http = -1};
    pg_create(&s->pg, NULL);
    kafka_create(&s->kafka, &(struct kafka_params){.settings = settings});
    for (size_t i = 0; i < ARRAY_LEN(topics); i++) {
        kafka_create_topic(&s->kafka, topics[i], 6, NULL);
        (void)snprintf(name, sizeof name, "%s.dlt", topics[i]);
        kafka_create_topic(&s->kafka, name, 1, NULL);
    }
    s->port = port_free();
    admin = pg_open(&s->pg, NULL);
    for (int i = 0; i < SHOP_SERVICES; i++) {
        pg_exec(admin, "CREATE DATABASE %s", databases[i]);
        (void)snprintf(name, sizeof name, "%s.log", shop_names[i]);
        path_join(s->log[i], s->pg.dir, name);
        file_write(s->log[i], "%s", "");
        if (i < SHOP_RELAYS)
            configure_relay(s, i);
        apply(s, i);
    }
    PQfinish(admin);
    shop_open_databases(s);
}

static void hang_up(struct shop *s)
{
    if (s->http >= 0)
        (void)close(s->http);
    s->http = -1;
}

void shop_drop(struct shop *s)
{
    hang_up(s);
    for (int i = 0; i < SHOP_SERVICES; i++) {
        if (s->service[i].pid != 0)
            proc_kill9(&s->service[i]);
        PQfinish(s->db[i]);
    }
    for (int i = 0; i < SHOP_RELAYS; i++)
        if (s->relay[i].proc.pid != 0)
            outboxd_kill9(&s->relay[i]);
    kafka_drop(&s->kafka);
    pg_drop(&s->pg);
}

/* ---- processes ------------------------------------------------------------------------------- */

void shop_start_service_with(struct shop *s, int which, const char *const *args)
{
    char program[PATH_SIZE];
    char url[300];
    char brokers[160];
    char listen_at[64];
    char user[64];
    const char *argv[8] = {program};
    const char *const env[] = {url, brokers, listen_at,
                               "KAFKA_PROPERTIES=session.timeout.ms=1500 heartbeat.interval.ms=300",
                               NULL};

    for (size_t n = 1; args != NULL && args[n - 1] != NULL && n < 7; n++)
        argv[n] = args[n - 1];
    (void)snprintf(program, sizeof program, "%s/deploy/example/%s", build_root(),
                   shop_names[which]);
    (void)snprintf(user, sizeof user, "%s_service", shop_names[which]);
    (void)snprintf(url, sizeof url, "DATABASE_URL=%s", pg_url(&s->pg, user, databases[which]).text);
    (void)snprintf(brokers, sizeof brokers, "KAFKA_BROKERS=%s", kafka_brokers(&s->kafka));
    (void)snprintf(listen_at, sizeof listen_at, "LISTEN=127.0.0.1:%d", s->port);
    proc_start(&s->service[which],
               &(struct proc_params){
                   .argv = argv, .env = env, .out_path = s->log[which], .err_path = s->log[which]});
}

void shop_start_service(struct shop *s, int which)
{
    shop_start_service_with(s, which, NULL);
}

void shop_start_all(struct shop *s)
{
    for (int i = 0; i < SHOP_RELAYS; i++)
        outboxd_start(&s->relay[i]);
    for (int i = 0; i < SHOP_SALES; i++)
        shop_start_service(s, i);
}

void shop_stop_service(struct shop *s, int which)
{
    proc_stop(&s->service[which], SIGTERM, 15000);
    CHECK(proc_exit_code(&s->service[which]) == 0, "%s ends with %d", shop_names[which],
          proc_exit_code(&s->service[which]));
}

/* Runs a program of the example to its end, with these variables (NULL-terminated) and no others of
 * its own. */
static int run_program(const struct shop *s, const char *name, const char *const *env,
                       const char *const *args, char *out)
{
    const char *argv[24] = {"env"};
    char path[PATH_SIZE];
    char program[PATH_SIZE];
    size_t n = 1;
    char *text;
    int rc;

    while (*env != NULL && n < 12)
        argv[n++] = *env++;
    (void)snprintf(program, sizeof program, "%s/deploy/example/%s", build_root(), name);
    argv[n++] = program;
    while (args != NULL && *args != NULL && n < 23)
        argv[n++] = *args++;
    path_join(path, s->pg.dir, "program.out");
    file_write(path, "%s", "");
    rc = proc_run(argv, path, 60000);
    text = file_read(path);
    (void)snprintf(out, OUTBOXD_OUT, "%s", text);
    free(text);
    return rc;
}

int shop_rebuild(struct shop *s, const char *const *args, char *out)
{
    char url[300];
    char brokers[160];

    (void)snprintf(url, sizeof url, "DATABASE_URL=%s", pg_url(&s->pg, "postgres", "orders").text);
    (void)snprintf(brokers, sizeof brokers, "KAFKA_BROKERS=%s", kafka_brokers(&s->kafka));
    return run_program(s, "rebuild", (const char *const[]){url, brokers, NULL}, args, out);
}

int shop_try_order(struct shop *s, const char *variable, bool rest, char *out)
{
    const char *const alone[] = {"LISTEN=127.0.0.1:1", variable, NULL};
    const char *const all[] = {"LISTEN=127.0.0.1:1", "DATABASE_URL=postgres://nobody@127.0.0.1:1/x",
                               "KAFKA_BROKERS=127.0.0.1:1", variable, NULL};

    return run_program(s, "order", rest ? all : alone, NULL, out);
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool dial(struct shop *s)
{
    const int one = 1;

    if (s->http >= 0)
        return true;
    s->http = loopback_connect(s->port, 10000);
    if (s->http >= 0)
        (void)setsockopt(s->http, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return s->http >= 0;
}

/* Reads one answer with a Content-Length; its code, or 0. */
static int read_answer(int fd, char *out, size_t size)
{
    char text[8192];
    size_t len = 0;
    size_t want = sizeof text - 1;
    char *body = NULL;

    while (len < want) {
        const ssize_t n = recv(fd, text + len, want - len, 0);

        if (n <= 0)
            return 0;
        len += (size_t)n;
        text[len] = '\0';
        if (body == NULL && (body = strstr(text, "\r\n\r\n")) != NULL) {
            const char *length = strcasestr(text, "content-length:");

            body += 4;
            want = (size_t)(body - text) + (length == NULL ? 0 : strtoul(length + 15, NULL, 10));
        }
    }
    (void)snprintf(out, size, "%s", body);
    return (int)strtol(text + strcspn(text, " "), NULL, 10);
}

/* `headers`: lines with their ends. */
static int ask(struct shop *s, const char *head, const char *headers, const char *body, char *out,
               size_t size)
{
    char text[4096];
    int code = 0;
    int len;

    out[0] = '\0';
    len =
        snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: shop\r\n%sContent-Length: %zu\r\n\r\n%s",
                 head, headers, strlen(body), body);
    assert_true(len > 0 && (size_t)len < sizeof text);
    if (dial(s) && send(s->http, text, (size_t)len, MSG_NOSIGNAL) == len)
        code = read_answer(s->http, out, size);
    if (code == 0)
        hang_up(s);
    return code;
}

int shop_request(struct shop *s, const char *head, const char *body, char *out, size_t size)
{
    return ask(s, head, "", body, out, size);
}

int shop_post(struct shop *s, const char *key, const char *body, char *out, size_t size)
{
    char header[300] = "";

    if (key != NULL)
        (void)snprintf(header, sizeof header, "Idempotency-Key: %s\r\n", key);
    return ask(s, "POST /orders", header, body, out, size);
}

/* ---- the books ------------------------------------------------------------------------------- */

static int64_t unfinished(struct shop *s)
{
    return pg_int(s->db[SHOP_ORDER],
                  "SELECT count(*) FROM shop.orders WHERE state NOT IN ('SHIPPED', 'CANCELLED')");
}

static int64_t finished(struct shop *s)
{
    return pg_int(s->db[SHOP_ORDER],
                  "SELECT count(*) FROM shop.orders WHERE state IN ('SHIPPED', 'CANCELLED')");
}

static bool is_settled(void *arg)
{
    struct shop *s = arg;

    return unfinished(s) == 0 &&
           pg_int(s->db[SHOP_NOTIFICATION], "SELECT count(*) FROM shop.message") == finished(s) &&
           pg_int(s->db[SHOP_INVENTORY],
                  "SELECT count(*) FROM shop.reservation WHERE state = 'RESERVED'") == 0;
}

void shop_wait_finished(struct shop *s, int timeout_ms)
{
    if (wait_until(is_settled, s, (unsigned)timeout_ms))
        return;
    support_fail("not within %d ms: %lld orders on their way, %lld finished, %lld messages",
                 timeout_ms, (long long)unfinished(s), (long long)finished(s),
                 (long long)pg_int(s->db[SHOP_NOTIFICATION], "SELECT count(*) FROM shop.message"));
}

/* Two databases must tell the same: each query gives one text. */
static void assert_same(struct shop *s, int one, const char *one_sql, int other,
                        const char *other_sql)
{
    const char *left = pg_scalar(s->db[one], "%s", one_sql);
    const char *right = pg_scalar(s->db[other], "%s", other_sql);

    CHECK(strcmp(left, right) == 0, "%s says %s, %s says %s (%s)", shop_names[one], left,
          shop_names[other], right, one_sql);
}

#define BY_PRODUCT(state)                                                                          \
    "SELECT coalesce(string_agg(product_id || '=' || n, ' ' ORDER BY product_id), '') FROM ("      \
    "SELECT i->>'productId' AS product_id, sum((i->>'quantity')::bigint) AS n FROM shop.orders,"   \
    " jsonb_array_elements(items) AS i WHERE state = '" state "' GROUP BY 1) AS t"

void shop_assert_books(struct shop *s)
{
    assert_int_equal(unfinished(s), 0);
    /* every order's money and goods, order by order */
    assert_same(s, SHOP_ORDER,
                "SELECT md5(coalesce(string_agg(order_id || ':' || total_amount, ' ' ORDER BY"
                " order_id::text), '')) FROM shop.orders WHERE state = 'SHIPPED'",
                SHOP_PAYMENT,
                "SELECT md5(coalesce(string_agg(order_id || ':' || amount, ' ' ORDER BY order_id),"
                " '')) FROM shop.charge WHERE state = 'CONFIRMED'");
    assert_same(s, SHOP_ORDER,
                "SELECT md5(coalesce(string_agg(order_id::text, ' ' ORDER BY order_id::text), ''))"
                " FROM shop.orders WHERE reason = 'CARD_DECLINED'",
                SHOP_PAYMENT,
                "SELECT md5(coalesce(string_agg(order_id, ' ' ORDER BY order_id), ''))"
                " FROM shop.charge WHERE state = 'DECLINED'");
    assert_same(
        s, SHOP_ORDER,
        "SELECT md5(string_agg(order_id || ':' || CASE WHEN state = 'SHIPPED' THEN 'SOLD' WHEN"
        " reason = 'CARD_DECLINED' THEN 'RELEASED' ELSE 'FAILED' END, ' ' ORDER BY"
        " order_id::text)) FROM shop.orders",
        SHOP_INVENTORY,
        "SELECT md5(string_agg(order_id || ':' || state, ' ' ORDER BY order_id))"
        " FROM shop.reservation");
    assert_same(s, SHOP_ORDER,
                "SELECT md5(string_agg(order_id || ':' || state, ' ' ORDER BY order_id::text))"
                " FROM shop.orders",
                SHOP_NOTIFICATION,
                "SELECT md5(string_agg(order_id || ':' || kind, ' ' ORDER BY order_id))"
                " FROM shop.message");
    assert_same(s, SHOP_ORDER, BY_PRODUCT("SHIPPED"), SHOP_INVENTORY,
                "SELECT coalesce(string_agg(product_id || '=' || sold, ' ' ORDER BY product_id),"
                " '') FROM shop.stock WHERE sold > 0");
    assert_int_equal(pg_int(s->db[SHOP_INVENTORY],
                            "SELECT count(*) FROM shop.stock WHERE reserved <> 0 OR"
                            " received <> available + sold OR available < 0"),
                     0);
    for (size_t i = 0; i < ARRAY_LEN(topics); i++) {
        char name[64];

        (void)snprintf(name, sizeof name, "%s.dlt", topics[i]);
        assert_int_equal(kafka_record_count(kafka_brokers(&s->kafka), name), 0);
    }
}
