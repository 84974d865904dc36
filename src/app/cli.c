#include "app/cli.h"

#include "settings/nearest.h"
#include "settings/value.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define ON(name)   (1U << COMMAND_##name)
#define EVERYWHERE ((1U << COMMAND_COUNT) - 1)

enum option_type {
    OPTION_FLAG,     /* bool */
    OPTION_TEXT,     /* const char *, not empty */
    OPTION_WORD,     /* const char *, "beginning" or "now" */
    OPTION_NUMBER,   /* int, min to max */
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
    {"start", 0, OPTION_WORD, ON(MIGRATE), offsetof(struct cli, start), 0, 0, "beginning|now",
     "where a new relay starts on a table already in use; default: relay.start"},
    {"bells", 0, OPTION_NUMBER, ON(MIGRATE), offsetof(struct cli, bells), 1, 4, "N",
     "how many doorbells the trigger rings, for as many relays (1 to 4)"},
    {"no-doorbell", 0, OPTION_FLAG, ON(MIGRATE), offsetof(struct cli, no_doorbell), 0, 0, NULL,
     "leave the NOTIFY trigger out; the relay then needs wakeup: poll"},
    {"down", 0, OPTION_NUMBER, ON(MIGRATE), offsetof(struct cli, down), 0, 9999, "VERSION",
     "go back to that version; 0 removes everything, with all events"},
    {"timeout", 0, OPTION_DURATION, ON(MIGRATE), offsetof(struct cli, timeout_ms), 0, 0, "DURATION",
     "how long to wait for locks, such as 30s; default 30s"},
    {"to", 0, OPTION_WORD, ON(REBASE), offsetof(struct cli, to), 0, 0, "beginning|now",
     "required: publish everything in the table again, or only what comes from now on"},
    {"yes", 0, OPTION_FLAG, ON(MIGRATE) | ON(REBASE), offsetof(struct cli, yes), 0, 0, NULL,
     "do not ask before something is lost or repeated"},
    {"dry-run", 0, OPTION_FLAG, ON(REBASE), offsetof(struct cli, dry_run), 0, 0, NULL,
     "say what would be done, and do nothing"},
    {"json", 0, OPTION_FLAG, ON(STATUS), offsetof(struct cli, json), 0, 0, NULL,
     "print one JSON object"},
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

static int parse_duration(const struct option *o, const char *text, uint32_t *out_ms,
                          struct err *err)
{
    struct err why;

    if (value_parse_duration(text, 1, 24 * 3600 * 1000, out_ms, &why) == 0)
        return 0;
    return err_set(err, ERR_USAGE, "--%s: %s", o->name, why.text);
}

static int store(struct cli *c, const struct option *o, const char *text, struct err *err)
{
    void *member = (char *)c + o->offset;

    switch (o->type) {
    case OPTION_FLAG:
        *(bool *)member = true;
        return 0;
    case OPTION_TEXT:
        if (text[0] == '\0')
            return err_set(err, ERR_USAGE, "--%s is empty; give %s", o->name, o->value);
        *(const char **)member = text;
        return 0;
    case OPTION_WORD:
        if (strcmp(text, "beginning") != 0 && strcmp(text, "now") != 0)
            return err_set(err, ERR_USAGE, "--%s takes beginning or now, not \"%.40s\"", o->name,
                           text);
        *(const char **)member = text;
        return 0;
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

/* The option that `arg` names ("--name", "--name=value", "-c", "-cvalue"); *value is what stands in
 * the same word. */
static const struct option *find_option(const char *arg, const char **value)
{
    *value = NULL;
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const struct option *o = &options[i];
        size_t len = strlen(o->name);

        if (arg[1] != '-' && o->letter == arg[1]) {
            *value = arg[2] == '\0' ? NULL : arg + 2;
            return o;
        }
        if (arg[1] == '-' && strncmp(arg + 2, o->name, len) == 0 &&
            (arg[len + 2] == '\0' || arg[len + 2] == '=')) {
            *value = arg[len + 2] == '=' ? arg + len + 3 : NULL;
            return o;
        }
    }
    return NULL;
}

/* Takes the option at argv[*i], and its value from the next word where it has one there. */
static int take_option(struct cli *c, int argc, char *const argv[], int *i, struct err *err)
{
    const char *arg = argv[*i];
    const char *value;
    const struct option *o = find_option(arg, &value);

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

static int check_together(const struct cli *c, struct err *err)
{
    if (c->command == COMMAND_COUNT)
        return err_set(err, ERR_USAGE, "which command? outboxd --help lists them");
    if (c->command == COMMAND_REBASE && c->to == NULL)
        return err_set(err, ERR_USAGE,
                       "rebase needs --to beginning or --to now; see outboxd rebase --help");
    if (c->no_doorbell && c->bells != 0)
        return err_set(err, ERR_USAGE, "--bells and --no-doorbell exclude each other");
    if (c->down >= 0 && (c->no_doorbell || c->bells != 0 || c->start != NULL))
        return err_set(err, ERR_USAGE,
                       "--down goes back: it excludes --bells, --no-doorbell and --start");
    if (c->print && c->url != NULL)
        return err_set(err, ERR_USAGE, "--print connects to nothing: it excludes --url");
    return 0;
}

static const char default_config[] = CLI_DEFAULT_CONFIG;

int cli_parse(struct cli *c, int argc, char *const argv[], struct err *err)
{
    *c = (struct cli){
        .command = COMMAND_COUNT, .config = default_config, .down = -1, .timeout_ms = 30000};
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

static void put_option(struct str *out, const struct option *o)
{
    struct str left = {0};

    if (o->letter != 0)
        str_printf(&left, "-%c, ", o->letter);
    str_printf(&left, "--%s%s%s", o->name, o->value == NULL ? "" : " ",
               o->value == NULL ? "" : o->value);
    put_line(out, left.data, o->help);
    str_release(&left);
}

void cli_usage(enum command c, struct str *out)
{
    if (c == COMMAND_COUNT) {
        str_puts(out, "outboxd publishes the rows of a Postgres outbox table to Kafka.\n\n"
                      "Usage: outboxd COMMAND [options]\n\nCommands:\n");
        for (unsigned i = 0; i < COMMAND_COUNT; i++)
            put_line(out, commands[i].name, commands[i].summary);
        str_puts(out, "\nOptions:\n");
    } else {
        str_printf(out, "outboxd %s: %s\n\nUsage: outboxd %s [options]\n\nOptions:\n",
                   commands[c].name, commands[c].summary, commands[c].name);
    }
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (c == COMMAND_COUNT ? options[i].letter != 0 : (options[i].commands & (1U << c)) != 0)
            put_option(out, &options[i]);
    put_line(out, "-h, --help",
             c == COMMAND_COUNT ? "this help; outboxd COMMAND --help tells more" : "this help");
    if (c == COMMAND_COUNT)
        str_puts(
            out,
            "\nExit codes: 0 done, 64 wrong usage, 69 a server is unavailable, 70 internal error,\n"
            "75 try again, 78 the configuration or the database needs a person.\n");
}
