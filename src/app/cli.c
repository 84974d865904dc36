#include "app/cli.h"

#include "app/cli_parked.h"
#include "outbox/admin.h"
#include "settings/nearest.h"
#include "settings/value.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define ON(name)   (1U << COMMAND_##name)
#define EVERYWHERE ((1U << COMMAND_COUNT) - 1)
#define REASON_MAX 200

enum option_type {
    OPTION_FLAG,     /* bool */
    OPTION_TEXT,     /* const char *, not empty */
    OPTION_TEXTS,    /* struct cli_texts, each as above; may be given several times */
    OPTION_WORD,     /* const char *, "beginning" or "now" */
    OPTION_PLACE,    /* the same, or an id, or a time */
    OPTION_NUMBER,   /* int, min to max */
    OPTION_ID,       /* int64_t, not negative */
    OPTION_DURATION, /* uint32_t, milliseconds */
};

struct option {
    const char *name; /* without the hyphens */
    char letter;      /* short form; 0: none */
    enum option_type type;
    unsigned commands;
    size_t offset; /* in struct cli */
    int min;
    int max;
    const char *value; /* its name in the help; NULL for flags */
    const char *help;
};

static const struct option options[] = {
    {"config", 'c', OPTION_TEXT, EVERYWHERE & ~ON(VERSION), offsetof(struct cli, config), 0, 0,
     "FILE", "the configuration; default " CLI_DEFAULT_CONFIG},
    {"print", 0, OPTION_FLAG, ON(MIGRATE), offsetof(struct cli, print), 0, 0, NULL,
     "print the SQL instead of applying it; connects to nothing"},
    {"url", 0, OPTION_TEXT, ON(MIGRATE) | ON(REBASE), offsetof(struct cli, url), 0, 0, "URL",
     "the owner's database connection; default: the libpq environment (PGHOST, PGUSER, ...)"},
    {"inbox", 0, OPTION_FLAG, ON(MIGRATE), offsetof(struct cli, inbox), 0, 0, NULL,
     "the schema inbox, for consumers, instead of outbox; reads no configuration"},
    {"start", 0, OPTION_WORD, ON(MIGRATE), offsetof(struct cli, start), 0, 0, "beginning|now",
     "where a new relay starts on a table already in use; default: relay.start"},
    {"bells", 0, OPTION_NUMBER, ON(MIGRATE), offsetof(struct cli, bells), 1, 4, "N",
     "how many doorbells the trigger rings, for as many relays (1 to 4)"},
    {"no-doorbell", 0, OPTION_FLAG, ON(MIGRATE), offsetof(struct cli, no_doorbell), 0, 0, NULL,
     "leave the NOTIFY trigger out; the relay then needs wakeup: poll"},
    {"down", 0, OPTION_NUMBER, ON(MIGRATE), offsetof(struct cli, down), 0, 9999, "VERSION",
     "go back to that version; 0 removes everything, with all events or claims"},
    {"timeout", 0, OPTION_DURATION, ON(MIGRATE), offsetof(struct cli, timeout_ms), 0, 0, "DURATION",
     "how long to wait for locks, such as 30s; default 30s"},
    {"url", 0, OPTION_TEXT, ON(PAUSE) | ON(RESUME) | ON(PARKED), offsetof(struct cli, url), 0, 0,
     "URL", "another database connection than the configuration's"},
    {"reason", 0, OPTION_TEXT, ON(PAUSE), offsetof(struct cli, reason), 0, 0, "TEXT",
     "why, for whoever finds the relay paused: status shows it"},
    {"key", 0, OPTION_TEXT, ON(PARKED), offsetof(struct cli, key), 0, 0, "KEY",
     "retry, skip: the lane of this message key"},
    {"topic", 0, OPTION_TEXT, ON(PARKED), offsetof(struct cli, of_topic), 0, 0, "TOPIC",
     "retry, skip: the lanes of this topic, of its partitions and of its keys"},
    {"error", 0, OPTION_TEXT, ON(PARKED), offsetof(struct cli, error), 0, 0, "WORD",
     "retry, skip: the lanes that wait for this cause, such as topic_missing"},
    {"all", 0, OPTION_FLAG, ON(PARKED), offsetof(struct cli, all), 0, 0, NULL,
     "retry, skip: all lanes"},
    {"reason", 0, OPTION_TEXT, ON(PARKED), offsetof(struct cli, reason), 0, 0, "TEXT",
     "skip: why, for whoever finds the event in outbox.dead"},
    {"to", 0, OPTION_PLACE, ON(REBASE), offsetof(struct cli, to), 0, 0, "beginning|now|ID|TIME",
     "publish everything in the table again, only what comes, or from that id or time on"},
    {"keep", 0, OPTION_FLAG, ON(REBASE), offsetof(struct cli, keep), 0, 0, NULL,
     "keep the position and accept this server as its own: right after pg_upgrade only"},
    {"yes", 0, OPTION_FLAG, ON(MIGRATE) | ON(REBASE) | ON(REPLAY) | ON(PARKED),
     offsetof(struct cli, yes), 0, 0, NULL, "do not ask before something is lost or repeated"},
    {"dry-run", 0, OPTION_FLAG, ON(REBASE) | ON(REPLAY) | ON(PAUSE) | ON(RESUME) | ON(PARKED),
     offsetof(struct cli, dry_run), 0, 0, NULL, "say what would be done, and do nothing"},
    {"json", 0, OPTION_FLAG, ON(STATUS) | ON(VERIFY) | ON(PARKED), offsetof(struct cli, json), 0, 0,
     NULL, "print one JSON object"},
    {"since", 0, OPTION_TEXT, ON(VERIFY), offsetof(struct cli, from), 0, 0, "TIME",
     "only events created from then on: 2026-01-31T12:00:00Z, a date, or 2h for that long ago"},
    {"id", 0, OPTION_TEXT, ON(REPLAY), offsetof(struct cli, id), 0, 0, "FROM[-TO]",
     "only the event with this id, or those from one id to another (5-: from 5 on)"},
    {"from", 0, OPTION_TEXT, ON(REPLAY), offsetof(struct cli, from), 0, 0, "TIME",
     "only events created from then on: 2026-01-31T12:00:00Z, a date, or 2h for that long ago"},
    {"until", 0, OPTION_TEXT, ON(VERIFY) | ON(REPLAY), offsetof(struct cli, until), 0, 0, "TIME",
     "only events created before that"},
    {"type", 0, OPTION_TEXT, ON(REPLAY), offsetof(struct cli, event_type), 0, 0, "TYPE",
     "only events of this event type"},
    {"aggregate-type", 0, OPTION_TEXT, ON(REPLAY), offsetof(struct cli, aggregate_type), 0, 0,
     "TYPE", "only events of this aggregate type"},
    {"key", 0, OPTION_TEXT, ON(REPLAY), offsetof(struct cli, key), 0, 0, "KEY",
     "only events with this message key"},
    {"after", 0, OPTION_ID, ON(REPLAY), offsetof(struct cli, after), 0, 0, "ID",
     "go on behind this id, as a replay that ended early said"},
    {"topic", 0, OPTION_TEXTS, ON(VERIFY), offsetof(struct cli, topics), 0, 0, "TOPIC",
     "only this topic; may be given several times"},
    {"topic", 0, OPTION_TEXT, ON(REPLAY), offsetof(struct cli, topic), 0, 0, "TOPIC",
     "publish to this topic instead of each event's own"},
    {"rate", 0, OPTION_NUMBER, ON(REPLAY), offsetof(struct cli, rate), 0, 10000000, "N",
     "so many events a second at most; 0: as fast as it goes; default 1000"},
    {"limit", 0, OPTION_NUMBER, ON(VERIFY), offsetof(struct cli, limit), 0, 100000, "N",
     "list so many findings of each kind at most; default 20"},
    {"shared", 0, OPTION_FLAG, ON(VERIFY), offsetof(struct cli, shared), 0, 0, NULL,
     "other databases publish into these topics, too: an unknown event is no ghost"},
    {"url", 0, OPTION_TEXT, ON(TOP), offsetof(struct cli, url), 0, 0, "URL",
     "the relay's address, such as http://10.0.0.7:9464; default: http.listen"},
    {"once", 0, OPTION_FLAG, ON(TOP), offsetof(struct cli, once), 0, 0, NULL,
     "print one picture and end; also when stdout is no terminal"},
    {"live", 0, OPTION_FLAG, ON(HEALTH), offsetof(struct cli, live), 0, 0, NULL,
     "ask only whether the process answers, not whether it can publish"},
    {"example", 0, OPTION_FLAG, ON(CONFIG), offsetof(struct cli, example), 0, 0, NULL,
     "print a file that names every setting with its default and meaning"},
};

struct command_text {
    const char *name;
    const char *summary;
};

static const struct command_text commands[COMMAND_COUNT] = {
#define X(name, word, summary) [COMMAND_##name] = {word, summary},
    COMMANDS(X)
#undef X
};

const char *command_name(enum command c)
{
    return c == COMMAND_COUNT ? "" : commands[c].name;
}

const char *command_summary(enum command c)
{
    return c == COMMAND_COUNT ? "publishes the rows of a Postgres outbox table to Kafka"
                              : commands[c].summary;
}

/* ---- values
 * -----------------------------------------------------------------------------------------------------
 */

static int parse_int(const struct option *o, const char *text, int *out, struct err *err)
{
    size_t digits = strspn(text, "0123456789");
    long value = digits > 0 && digits <= 9 && text[digits] == '\0' ? strtol(text, NULL, 10) : -1;

    if (value < o->min || value > o->max)
        return err_set(err, ERR_USAGE, "--%s takes a number from %d to %d, not \"%.40s\"", o->name,
                       o->min, o->max, text);
    *out = (int)value;
    return 0;
}

static int parse_id(const struct option *o, const char *text, int64_t *out, struct err *err)
{
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 18 || text[digits] != '\0')
        return err_set(err, ERR_USAGE, "--%s takes the id of an event, not \"%.40s\"", o->name,
                       text);
    *out = strtoll(text, NULL, 10);
    return 0;
}

static int add_text(const struct option *o, const char *text, struct cli_texts *out,
                    struct err *err)
{
    if (out->count == CLI_TEXTS_MAX)
        return err_set(err, ERR_USAGE, "--%s can be given %d times at most", o->name,
                       CLI_TEXTS_MAX);
    out->text[out->count++] = text;
    return 0;
}

static int parse_duration(const struct option *o, const char *text, uint32_t *out_ms,
                          struct err *err)
{
    struct err why;

    if (value_parse_duration(text, 1, 24 * 3600 * 1000, out_ms, &why) == 0)
        return 0;
    return err_set(err, ERR_USAGE, "--%s: %s", o->name, why.text);
}

static int check_place(const struct option *o, const char *text, struct err *err)
{
    struct admin_place_text place;

    if (admin_parse_place(text, &place) && place.place != PLACE_KEEP)
        return 0;
    return err_set(err, ERR_USAGE,
                   "--%s takes beginning, now, an id or a time such as 2026-01-31T12:00:00Z, not "
                   "\"%.40s\"",
                   o->name, text);
}

static int store(struct cli *c, const struct option *o, const char *text, struct err *err)
{
    void *member = (char *)c + o->offset;

    switch (o->type) {
    case OPTION_FLAG:
        *(bool *)member = true;
        return 0;
    case OPTION_TEXT:
    case OPTION_TEXTS:
        if (text[0] == '\0')
            return err_set(err, ERR_USAGE, "--%s is empty; give %s", o->name, o->value);
        if (o->type == OPTION_TEXTS)
            return add_text(o, text, member, err);
        *(const char **)member = text;
        return 0;
    case OPTION_ID:
        return parse_id(o, text, member, err);
    case OPTION_WORD:
        if (strcmp(text, "beginning") != 0 && strcmp(text, "now") != 0)
            return err_set(err, ERR_USAGE, "--%s takes beginning or now, not \"%.40s\"", o->name,
                           text);
        *(const char **)member = text;
        return 0;
    case OPTION_PLACE:
        *(const char **)member = text;
        return check_place(o, text, err);
    case OPTION_NUMBER:
        return parse_int(o, text, member, err);
    case OPTION_DURATION:
        return parse_duration(o, text, member, err);
    }
    return -1;
}

/* ---- words
 * ------------------------------------------------------------------------------------------------------
 */

static int unknown_option(const struct cli *c, const char *given, struct err *err)
{
    struct nearest near = nearest_to(given + strspn(given, "-"));
    const char *in = command_name(c->command);

    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (c->command == COMMAND_COUNT || (options[i].commands & (1U << c->command)) != 0)
            nearest_try(&near, options[i].name);
    nearest_try(&near, "help");
    if (nearest_word(&near) != NULL)
        return err_set(err, ERR_USAGE, "unknown option %.60s; did you mean --%s?", given,
                       nearest_word(&near));
    return err_set(err, ERR_USAGE, "unknown option %.60s; see outboxd %s%s--help", given, in,
                   in[0] == '\0' ? "" : " ");
}

static int choose_command(struct cli *c, const char *word, struct err *err)
{
    struct nearest near = nearest_to(word);

    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        nearest_try(&near, commands[i].name);
        if (strcmp(commands[i].name, word) == 0) {
            c->command = (enum command)i;
            return 0;
        }
    }
    if (nearest_word(&near) != NULL)
        return err_set(err, ERR_USAGE, "unknown command \"%.60s\"; did you mean \"%s\"?", word,
                       nearest_word(&near));
    return err_set(err, ERR_USAGE, "unknown command \"%.60s\"; outboxd --help lists them", word);
}

/* Whether `arg` is the option in one of its forms ("--name", "--name=value", "-c", "-cvalue");
 * *value is what stands in the same word. */
static bool is_option(const struct option *o, const char *arg, const char **value)
{
    size_t len = strlen(o->name);

    if (arg[1] != '-' && o->letter == arg[1]) {
        *value = arg[2] == '\0' ? NULL : arg + 2;
        return true;
    }
    if (arg[1] == '-' && strncmp(arg + 2, o->name, len) == 0 &&
        (arg[len + 2] == '\0' || arg[len + 2] == '=')) {
        *value = arg[len + 2] == '=' ? arg + len + 3 : NULL;
        return true;
    }
    return false;
}

/* The option that `arg` names. One name may mean two things to two commands: the one of `c` counts.
 */
static const struct option *find_option(enum command c, const char *arg, const char **value)
{
    const struct option *other = NULL;

    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const struct option *o = &options[i];

        if (!is_option(o, arg, value))
            continue;
        if (c == COMMAND_COUNT || (o->commands & (1U << c)) != 0)
            return o;
        other = o;
    }
    return other;
}

/* Takes the option at argv[*i], and its value from the next word where it has one there. */
static int take_option(struct cli *c, int argc, char *const argv[], int *i, struct err *err)
{
    const char *arg = argv[*i];
    const char *value = NULL;
    const struct option *o = find_option(c->command, arg, &value);

    if (o == NULL)
        return unknown_option(c, arg, err);
    if (c->command == COMMAND_COUNT && o->commands != (EVERYWHERE & ~ON(VERSION)))
        return err_set(err, ERR_USAGE, "--%s belongs behind its command, such as outboxd %s --%s",
                       o->name, commands[__builtin_ctz(o->commands)].name, o->name);
    if (c->command != COMMAND_COUNT && (o->commands & (1U << c->command)) == 0)
        return err_set(err, ERR_USAGE, "outboxd %s takes no --%s; see outboxd %s --help",
                       command_name(c->command), o->name, command_name(c->command));
    if (o->type == OPTION_FLAG && value != NULL)
        return err_set(err, ERR_USAGE, "--%s takes no value", o->name);
    if (o->type != OPTION_FLAG && value == NULL) {
        if (*i + 1 >= argc)
            return err_set(err, ERR_USAGE, "--%s needs a value: %s", o->name, o->value);
        value = argv[++*i];
    }
    return store(c, o, value, err);
}

/* It is shown in one line of status. */
static bool is_one_line(const char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return false;
    return len <= REASON_MAX;
}

static int check_together(const struct cli *c, struct err *err)
{
    if (c->command == COMMAND_COUNT)
        return err_set(err, ERR_USAGE, "which command? outboxd --help lists them");
    if (c->command == COMMAND_REBASE && c->to == NULL && !c->keep)
        return err_set(err, ERR_USAGE,
                       "rebase needs --to beginning, --to now, an id or a time, or --keep; see "
                       "outboxd rebase --help");
    if (c->keep && c->to != NULL)
        return err_set(err, ERR_USAGE, "--to and --keep exclude each other");
    if (c->reason != NULL && !is_one_line(c->reason))
        return err_set(err, ERR_USAGE, "--reason takes one line of at most %d characters",
                       REASON_MAX);
    if (c->command == COMMAND_PARKED && cli_parked_check(c, err) != 0)
        return -1;
    if (c->no_doorbell && c->bells != 0)
        return err_set(err, ERR_USAGE, "--bells and --no-doorbell exclude each other");
    if (c->down >= 0 && (c->no_doorbell || c->bells != 0 || c->start != NULL))
        return err_set(err, ERR_USAGE,
                       "--down goes back: it excludes --bells, --no-doorbell and --start");
    if (c->inbox && (c->no_doorbell || c->bells != 0 || c->start != NULL))
        return err_set(err, ERR_USAGE,
                       "--inbox has no relay: it excludes --bells, --no-doorbell and --start");
    if (c->print && c->url != NULL)
        return err_set(err, ERR_USAGE, "--print connects to nothing: it excludes --url");
    return 0;
}

static const char default_config[] = CLI_DEFAULT_CONFIG;

int cli_parse(struct cli *c, int argc, char *const argv[], struct err *err)
{
    *c = (struct cli){.command = COMMAND_COUNT,
                      .config = default_config,
                      .down = -1,
                      .timeout_ms = 30000,
                      .rate = 1000,
                      .limit = 20};
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        bool first = c->command == COMMAND_COUNT;
        int rc = 0;

        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0 ||
            (first && strcmp(arg, "help") == 0))
            c->help = true;
        else if (first && (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0))
            c->command = COMMAND_VERSION;
        else if (arg[0] == '-' && arg[1] != '\0')
            rc = take_option(c, argc, argv, &i, err);
        else if (first)
            rc = choose_command(c, arg, err);
        else if (c->command == COMMAND_PARKED)
            rc = cli_parked_word(c, arg, err);
        else
            rc = err_set(err, ERR_USAGE, "unexpected \"%.60s\" behind %s; see outboxd %s --help",
                         arg, command_name(c->command), command_name(c->command));
        if (rc != 0)
            return -1;
    }
    c->config_given = c->config != default_config;
    return c->help ? 0 : check_together(c, err);
}

/* ---- help
 * -------------------------------------------------------------------------------------------------------
 */

static void put_line(struct str *out, const char *left, const char *right)
{
    str_printf(out, "  %-26s %s\n", left, right);
}

static void put_option(void *ctx, const struct cli_option *o)
{
    struct str left = {0};

    if (o->letter != 0)
        str_printf(&left, "-%c, ", o->letter);
    str_printf(&left, "--%s%s%s", o->name, o->value == NULL ? "" : " ",
               o->value == NULL ? "" : o->value);
    put_line(ctx, left.data, o->help);
    str_release(&left);
}

void cli_each_option(enum command c, void (*take)(void *ctx, const struct cli_option *o), void *ctx)
{
    struct cli_option help = {.name = "help", .letter = 'h', .help = "this help"};

    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const struct option *o = &options[i];

        if (c == COMMAND_COUNT ? o->letter != 0 : (o->commands & (1U << c)) != 0)
            take(ctx, &(struct cli_option){o->name, o->letter, o->value, o->help});
    }
    if (c == COMMAND_COUNT)
        help.help = "this help; outboxd COMMAND --help tells more";
    take(ctx, &help);
}

/* "Exit codes: 0 done, 64 ...", in lines of at most 90 columns. */
static void put_exit_codes(struct str *out)
{
    static const struct {
        int code;
        const char *meaning;
    } kinds[] = {
#define X(name, code, short_text, meaning) {(code), (short_text)},
        ERR_KINDS(X)
#undef X
    };
    struct str line = {0};

    str_set(&line, "Exit codes: 0 done");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (line.len + strlen(kinds[i].meaning) + 6 > 90) {
            str_printf(out, "%s,\n", line.data);
            str_reset(&line);
        } else {
            str_puts(&line, ", ");
        }
        str_printf(&line, "%d %s", kinds[i].code, kinds[i].meaning);
    }
    str_printf(out, "%s.\n", line.data);
    str_release(&line);
}

const char *command_exit_codes(enum command c)
{
    if (c == COMMAND_RUN)
        return "0 told to stop; 70 internal error; 78 only a person can help, the last line says\n"
               "how";
    if (c == COMMAND_STATUS)
        return "0 the database was asked, and `run` would work: the first line says how it is;\n"
               "69 the database cannot be asked; 78 `run` would refuse";
    if (c == COMMAND_CHECK)
        return "0 nothing is wrong; 78 a line says WRONG";
    return "";
}

void cli_usage(enum command c, struct str *out)
{
    if (c == COMMAND_COUNT) {
        str_printf(out, "outboxd %s.\n\nUsage: outboxd COMMAND [options]\n\nCommands:\n",
                   command_summary(c));
        for (unsigned i = 0; i < COMMAND_COUNT; i++)
            put_line(out, commands[i].name, commands[i].summary);
        str_puts(out, "\nOptions:\n");
    } else {
        str_printf(out, "outboxd %s: %s\n\nUsage: outboxd %s%s [options]\n\nOptions:\n",
                   commands[c].name, commands[c].summary, commands[c].name,
                   c == COMMAND_PARKED ? " list|show|retry|skip [LANE...]" : "");
    }
    cli_each_option(c, put_option, out);
    if (c == COMMAND_COUNT) {
        str_put_char(out, '\n');
        put_exit_codes(out);
    }
    if (command_exit_codes(c)[0] != '\0')
        str_printf(out, "\nExit codes: %s.\n", command_exit_codes(c));
}
