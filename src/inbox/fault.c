/* From SQLSTATEs and sentences to the library's codes. */
#include "inbox/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *inbox_code_name(enum inbox_code code)
{
    switch (code) {
#define X(name, number, word, meaning)                                                             \
    case INBOX_E_##name:                                                                           \
        return word;
        INBOX_CODES(X)
#undef X
    }
    return "unknown";
}

/* The length of the UTF-8 character at `p`; 0: none begins here. */
static size_t utf8_length(const unsigned char *p)
{
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if (p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

void fault_clean_text(char *text)
{
    size_t len = strlen(text);

    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
        text[--len] = '\0';
    for (unsigned char *p = (unsigned char *)text; *p != '\0';) {
        size_t n = utf8_length(p);

        if (*p == '\n' || *p == '\t' || *p == '\r')
            *p = ' ';
        else if (n == 0 || *p < ' ' || *p == 0x7f)
            *p = '?';
        p += n == 0 ? 1 : n;
    }
}

int fault_set(struct inbox_error *e, enum inbox_code code, const char *fmt, ...)
{
    va_list ap;

    if (e == NULL)
        return -1;
    va_start(ap, fmt);
    (void)vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    fault_clean_text(e->text);
    e->code = code;
    return -1;
}

void fault_clear(struct inbox_error *e)
{
    if (e == NULL)
        return;
    e->code = INBOX_E_NONE;
    e->text[0] = '\0';
}

enum sql_class fault_sql_class(const char *sqlstate)
{
    static const struct {
        const char *prefix;
        enum sql_class class;
    } table[] = {
        {"40001", SQL_CONFLICT}, {"40P01", SQL_CONFLICT}, {"42501", SQL_GRANTS},
        {"3F000", SQL_SCHEMA},   {"42883", SQL_SCHEMA},   {"42P01", SQL_SCHEMA},
        {"08", SQL_OUTAGE},    /* connection */
        {"53", SQL_OUTAGE},    /* no disk, no memory, no room for connections */
        {"58", SQL_OUTAGE},    /* I/O */
        {"57P0", SQL_OUTAGE},  /* shutting down, crashed, starting, database dropped */
        {"25006", SQL_OUTAGE}, /* read-only: it has become a standby */
    };

    if (sqlstate == NULL || sqlstate[0] == '\0')
        return SQL_OUTAGE;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (strncmp(sqlstate, table[i].prefix, strlen(table[i].prefix)) == 0)
            return table[i].class;
    return SQL_STATEMENT;
}

static enum inbox_code code_of(const char *sqlstate)
{
    if (sqlstate != NULL && strcmp(sqlstate, "IB001") == 0)
        return INBOX_E_ARGUMENT;
    if (sqlstate != NULL && strcmp(sqlstate, "IB002") == 0)
        return INBOX_E_EVENT_ID;
    if (sqlstate != NULL && strcmp(sqlstate, "IB003") == 0)
        return INBOX_E_TOO_OLD;
    if (sqlstate != NULL && strcmp(sqlstate, "25P02") == 0)
        return INBOX_E_ABORTED;
    switch (fault_sql_class(sqlstate)) {
    case SQL_CONFLICT:
        return INBOX_E_CONFLICT;
    case SQL_SCHEMA:
        return INBOX_E_SCHEMA;
    case SQL_GRANTS:
        return INBOX_E_GRANTS;
    case SQL_OUTAGE:
    case SQL_STATEMENT:
        break;
    }
    return INBOX_E_DATABASE;
}

/* What to do about it, where the server cannot know. */
static const char *advice_for(enum inbox_code code)
{
    switch ((int)code) {
    case INBOX_E_SCHEMA:
        return "; run `outboxd migrate --inbox` as the database's owner";
    case INBOX_E_GRANTS:
        return "; GRANT inbox_consumer to the consumer's role";
    case INBOX_E_ABORTED:
        return "; roll back, then begin and claim again";
    case INBOX_E_CONFLICT:
        return "; roll back, then try again";
    }
    return "";
}

int fault_of_result(struct inbox_error *e, const PGconn *conn, const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    enum inbox_code code = code_of(sqlstate);

    if (sqlstate == NULL || PQstatus(conn) == CONNECTION_BAD)
        return fault_set(e, INBOX_E_CONNECTION, "database: %s",
                         text != NULL ? text : PQerrorMessage(conn));
    return fault_set(e, code, "database: %s (%s)%s%s%s", text, sqlstate, advice_for(code),
                     hint != NULL ? "; " : "", hint != NULL ? hint : "");
}
