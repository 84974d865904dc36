/* Shell completions, from the tables of app/cli.c: commands, options, the words that an option
 * takes, files where it takes a file. */
#include "generate.h"

#include "app/cli.h"

#include <ctype.h>
#include <string.h>

/* Whether the value is one of some words, as in "beginning|now". */
static bool has_words(const struct cli_option *o)
{
    return o->value != NULL && islower((unsigned char)o->value[0]);
}

static bool is_file(const struct cli_option *o)
{
    return o->value != NULL && strcmp(o->value, "FILE") == 0;
}

/* The words of a value with blanks between them; "|" parts them in the table. */
static void put_words(struct str *out, const char *value)
{
    for (; *value != '\0'; value++) {
        size_t upper = strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

        if (upper > 0) { /* ID or TIME: not a word to complete */
            value += upper - 1;
            continue;
        }
        str_put_char(out, *value == '|' ? ' ' : *value);
    }
}

/* Between the quotes of a shell: a quote within ends the string, stands escaped, and begins it
 * again. */
static void put_within_quotes(struct str *out, const char *text)
{
    for (; *text != '\0'; text++)
        str_puts(out, *text == '\'' ? "'\\''" : (char[]){*text, '\0'});
}

static void put_quoted(struct str *out, const char *text)
{
    str_put_char(out, '\'');
    put_within_quotes(out, text);
    str_put_char(out, '\'');
}

static void put_note(struct str *out, const char *first)
{
    str_printf(
        out, "%s# Completion for outboxd; written by `make docs` from the program's own tables.\n",
        first);
}

/* ---- bash
 * ----------------------------------------------------------------------------------------------------
 */

struct bash {
    struct str *out;
    const char *command;
};

static void bash_option(void *ctx, const struct cli_option *o)
{
    str_printf(ctx, " --%s", o->name);
}

/* What may stand behind an option that takes a value; nothing is offered for a free one. */
static void bash_value(void *ctx, const struct cli_option *o)
{
    const struct bash *b = ctx;

    if (o->value == NULL)
        return;
    str_printf(b->out, "    '%s --%s'", b->command, o->name);
    if (o->letter != 0)
        str_printf(b->out, " | '%s -%c'", b->command, o->letter);
    str_puts(b->out, ")");
    if (is_file(o)) {
        str_puts(b->out, " _outboxd_file \"$word\" ;;\n");
    } else if (has_words(o)) {
        str_puts(b->out, " _outboxd_words '");
        put_words(b->out, o->value);
        str_puts(b->out, "' \"$word\" ;;\n");
    } else {
        str_puts(b->out, " ;;\n");
    }
}

static const char bash_head[] =
    "\n_outboxd_file() {\n"
    "    compopt -o filenames 2>/dev/null # not there outside a completion\n"
    "    mapfile -t COMPREPLY < <(compgen -f -- \"$1\")\n"
    "}\n\n"
    "_outboxd_words() {\n"
    "    mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$2\")\n"
    "}\n\n"
    "_outboxd() {\n"
    "    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=none "
    "w\n";

/* Bash parts words at "=", so that it may stand between an option and its value. */
static const char bash_search[] = "\n    COMPREPLY=()\n"
                                  "    if [ \"$word\" = = ]; then\n"
                                  "        word=\n"
                                  "    elif [ \"$previous\" = = ]; then\n"
                                  "        previous=${COMP_WORDS[COMP_CWORD - 2]}\n"
                                  "    fi\n"
                                  "    for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
                                  "        case \" $commands \" in\n"
                                  "        *\" $w \"*)\n"
                                  "            command=$w\n"
                                  "            break\n"
                                  "            ;;\n"
                                  "        esac\n"
                                  "    done\n"
                                  "    case \"$command $previous\" in\n"
                                  "    'none -c' | 'none --config') _outboxd_file \"$word\" ;;\n";

int put_bash(struct str *out, struct err *err)
{
    (void)err;
    put_note(out, "# shellcheck shell=bash\n");
    str_puts(out, bash_head);
    str_puts(out, "    local commands='");
    for (unsigned c = 0; c < COMMAND_COUNT; c++)
        str_printf(out, "%s%s", c == 0 ? "" : " ", command_name((enum command)c));
    str_puts(out, "'\n");
    str_puts(out, bash_search);
    for (unsigned c = 0; c < COMMAND_COUNT; c++)
        cli_each_option((enum command)c, bash_value,
                        &(struct bash){out, command_name((enum command)c)});
    str_puts(out,
             "    none\\ *) _outboxd_words \"$commands --config --help --version\" \"$word\" ;;\n");
    for (unsigned c = 0; c < COMMAND_COUNT; c++) {
        str_printf(out, "    %s\\ *) _outboxd_words '", command_name((enum command)c));
        cli_each_option((enum command)c, bash_option, out);
        str_puts(out, "' \"$word\" ;;\n");
    }
    str_puts(out, "    esac\n}\n\ncomplete -F _outboxd outboxd\n");
    return 0;
}

/* ---- zsh
 * -----------------------------------------------------------------------------------------------------
 */

/* Within _arguments a description may not hold brackets or colons unescaped. */
static void zsh_described(struct str *out, const char *text)
{
    struct str safe = {0};

    for (; *text != '\0'; text++) {
        if (strchr("[]:\\", *text) != NULL)
            str_put_char(&safe, '\\');
        str_put_char(&safe, *text);
    }
    put_within_quotes(out, str_text(&safe));
    str_release(&safe);
}

static void zsh_spec(struct str *out, const struct cli_option *o, bool letter)
{
    if (letter)
        str_printf(out, "            '-%c", o->letter);
    else
        str_printf(out, "            '--%s", o->name);
    str_puts(out, o->value == NULL || letter ? "[" : "=[");
    zsh_described(out, o->help);
    str_put_char(out, ']');
    if (o->value != NULL) {
        str_put_char(out, ':');
        zsh_described(out, o->value);
        str_put_char(out, ':');
        if (is_file(o))
            str_puts(out, "_files");
        if (has_words(o)) {
            str_put_char(out, '(');
            put_words(out, o->value);
            str_put_char(out, ')');
        }
    }
    str_puts(out, "' \\\n");
}

static void zsh_option(void *ctx, const struct cli_option *o)
{
    zsh_spec(ctx, o, false);
    if (o->letter != 0)
        zsh_spec(ctx, o, true);
}

int put_zsh(struct str *out, struct err *err)
{
    (void)err;
    put_note(out, "#compdef outboxd\n");
    str_puts(out,
             "\n_outboxd() {\n    local -a commands\n    local line state\n\n    commands=(\n");
    for (unsigned c = 0; c < COMMAND_COUNT; c++) {
        struct str pair = {0};

        str_printf(&pair, "%s:%s", command_name((enum command)c), command_summary((enum command)c));
        str_puts(out, "        ");
        put_quoted(out, pair.data);
        str_put_char(out, '\n');
        str_release(&pair);
    }
    str_puts(out, "    )\n    _arguments -C \\\n");
    cli_each_option(COMMAND_COUNT, zsh_option, out);
    str_puts(out, "            '1: :->command' '*:: :->options'\n"
                  "    case $state in\n"
                  "    command) _describe command commands ;;\n"
                  "    options)\n"
                  "        case $line[1] in\n");
    for (unsigned c = 0; c < COMMAND_COUNT; c++) {
        str_printf(out, "        %s) _arguments \\\n", command_name((enum command)c));
        cli_each_option((enum command)c, zsh_option, out);
        str_puts(out, "            ;;\n");
    }
    str_puts(out,
             "        esac\n        ;;\n    esac\n}\n\n"
             "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n    _outboxd \"$@\"\nelse\n"
             "    compdef _outboxd outboxd\nfi\n");
    return 0;
}

/* ---- fish
 * ----------------------------------------------------------------------------------------------------
 */

struct fish {
    struct str *out;
    const char *condition;
};

static void fish_option(void *ctx, const struct cli_option *o)
{
    const struct fish *f = ctx;

    str_printf(f->out, "complete -c outboxd -n '%s' -l %s", f->condition, o->name);
    if (o->letter != 0)
        str_printf(f->out, " -s %c", o->letter);
    if (is_file(o))
        str_puts(f->out, " -r -F");
    else if (o->value != NULL)
        str_puts(f->out, " -x");
    if (has_words(o)) {
        str_puts(f->out, " -a '");
        put_words(f->out, o->value);
        str_put_char(f->out, '\'');
    }
    str_puts(f->out, " -d ");
    put_quoted(f->out, o->help);
    str_put_char(f->out, '\n');
}

int put_fish(struct str *out, struct err *err)
{
    struct fish f = {.out = out, .condition = "__fish_use_subcommand"};

    (void)err;
    put_note(out, "");
    str_puts(out, "\ncomplete -c outboxd -f\n");
    for (unsigned c = 0; c < COMMAND_COUNT; c++) {
        str_printf(out, "complete -c outboxd -n __fish_use_subcommand -a %s -d ",
                   command_name((enum command)c));
        put_quoted(out, command_summary((enum command)c));
        str_put_char(out, '\n');
    }
    cli_each_option(COMMAND_COUNT, fish_option, &f);
    for (unsigned c = 0; c < COMMAND_COUNT; c++) {
        struct str condition = {0};

        str_printf(&condition, "__fish_seen_subcommand_from %s", command_name((enum command)c));
        f.condition = condition.data;
        cli_each_option((enum command)c, fish_option, &f);
        str_release(&condition);
    }
    return 0;
}
