/* The session's parameters: what the url does not say gets defaults that notice a dead network
 * (keepalives, and a limit on what may stay unacknowledged), and only a primary is taken. The url,
 * and libpq's environment, may say otherwise.
 *
 * libpq 15 does not tell the SQLSTATE of a refused connection, but with verbose errors the message
 * holds it, in whatever language: "FATAL:  28P01: password authentication failed". */
#include "outbox/connect.h"

#include "base/log.h"
#include "outbox/hosts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define SQLSTATE_LEN 5
#define URL_FORM     "postgres://role@host:port/database (special characters as %XX)"

static void log_notice(void *ctx, const PGresult *result)
{
    (void)ctx;
    log_debug("server says", LOG_S("text", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
}

int connect_check_url(const char *url, struct err *err)
{
    PQconninfoOption *parsed = PQconninfoParse(url, NULL);

    if (parsed == NULL && url[0] != '\0')
        /* libpq's text would show the string, and with it the password */
        return err_problem(err, ERR_CONFIG, PROBLEM_CONFIGURATION,
                           "the connection string (postgres.url, or --url) cannot be understood: "
                           "write %s, or key=value pairs",
                           URL_FORM);
    PQconninfoFree(parsed);
    return 0;
}

PGconn *connect_start(const struct session_params *params, struct err *err)
{
    const char *keywords[16];
    const char *values[16];
    size_t n = 0;
    PGconn *conn;

    if (connect_check_url(params->url, err) != 0)
        return NULL;
#define PUT(k, v) (keywords[n] = (k), values[n] = (v), n++)
    if (getenv("PGTARGETSESSIONATTRS") == NULL)
        PUT("target_session_attrs", "read-write");
    PUT("keepalives_idle", "10");
    PUT("keepalives_interval", "5");
    PUT("keepalives_count", "3");
    PUT("tcp_user_timeout", "20000");
    PUT("dbname", params->url); /* what comes before it yields to the url, what comes after it
                                   overrides the url */
    if (params->password != NULL && params->password[0] != '\0')
        PUT("password", params->password);
    PUT("application_name", params->application_name);
    PUT("client_encoding", "UTF8");
#undef PUT
    if (params->hosts != NULL)
        n += hosts_params(params->hosts, keywords + n, values + n);
    keywords[n] = NULL;
    values[n] = NULL;
    conn = PQconnectStartParams(keywords, values, 1);
    if (conn == NULL)
        abort(); /* out of memory */
    (void)PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
    (void)PQsetNoticeReceiver(conn, log_notice, NULL);
    return conn;
}

void connect_one_line(const char *message, struct str *out)
{
    str_reset(out);
    while (*message != '\0') {
        size_t len = strcspn(message, "\n");

        if (len > 0 && strncmp(message, "LOCATION:", 9) != 0) {
            while (len > 0 && isspace((unsigned char)*message)) {
                message++;
                len--;
            }
            if (out->len > 0)
                str_puts(out, "; ");
            str_put(out, message, len);
        }
        message += len;
        while (*message == '\n')
            message++;
    }
}

/* The SQLSTATE of the last host that was tried; "" when it gave none. */
static void find_sqlstate(const char *line, char out[SQLSTATE_LEN + 1])
{
    const char *last = line;
    const char *at;

    out[0] = '\0';
    while ((at = strstr(last, "; connection to server")) != NULL)
        last = at + 1;
    for (at = strstr(last, ":  "); at != NULL; at = strstr(at + 1, ":  ")) {
        const char *code = at + 3;
        size_t len = strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");

        if (len == SQLSTATE_LEN && code[len] == ':') {
            memcpy(out, code, SQLSTATE_LEN);
            out[SQLSTATE_LEN] = '\0';
            return;
        }
    }
}

/* Mistakes in the connection string that libpq finds only when it connects. Its words about a port
 * quote what stands in its place, which is a piece of the password if that holds a slash or a
 * colon. */
static const char *find_mistake(struct str *cause)
{
    static const char *const starts[] = {"invalid ", "could not match ", "definition of service ",
                                         "service file ", "syntax error in service file "};

    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        if (strncmp(cause->data, starts[i], strlen(starts[i])) != 0)
            continue;
        if (strstr(cause->data, "port") == NULL)
            return "correct the connection string (postgres.url, or --url)";
        str_set(cause, "the port in the connection string (postgres.url, or --url) is no number "
                       "from 1 to 65535");
        return "write " URL_FORM;
    }
    return NULL;
}

void connect_cause(PGconn *conn, struct str *cause, struct err *judged, const char **way_out)
{
    static const struct {
        const char *sqlstate;
        const char *way_out;
    } refusals[] = {
        {"28P01", "correct the password (in the url, postgres.password, postgres.password_file, or "
                  "~/.pgpass)"},
        {"28000", "create the role, or let it in by pg_hba.conf"},
        {"3D000", "correct the database's name in the connection string, or create the database"},
        {"42501", "grant the role CONNECT on the database"},
    };
    char sqlstate[SQLSTATE_LEN + 1];

    *way_out = NULL;
    connect_one_line(PQerrorMessage(conn), cause);
    if (cause->len == 0)
        str_puts(cause, "the server closed the connection");
    find_sqlstate(cause->data, sqlstate);
    (void)err_problem(judged, ERR_UNAVAILABLE, PROBLEM_DATABASE_UNREACHABLE, "%s", cause->data);
    if (strncmp(sqlstate, "53", 2) == 0) /* too many connections, no memory */
        judged->problem = PROBLEM_DATABASE_FULL;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        if (strcmp(sqlstate, refusals[i].sqlstate) == 0)
            *way_out = refusals[i].way_out;
    if (sqlstate[0] == '\0' && PQconnectionNeedsPassword(conn))
        *way_out = "the server asks for a password: set postgres.password_file, or ~/.pgpass";
    if (*way_out != NULL) {
        judged->kind = ERR_CONFIG;
        judged->problem = PROBLEM_DATABASE_REFUSED;
        return;
    }
    *way_out = find_mistake(cause);
    if (*way_out != NULL) {
        judged->kind = ERR_CONFIG;
        judged->problem = PROBLEM_CONFIGURATION;
        return;
    }
    /* libpq's own words for a host that target_session_attrs does not take; never translated
     * without setlocale */
    if (strstr(cause->data, "session is read-only") != NULL ||
        strstr(cause->data, "hot standby mode") != NULL)
        judged->problem = PROBLEM_DATABASE_STANDBY;
}

void connect_explain(PGconn *conn, struct err *err)
{
    struct str cause = {0};
    const char *way_out;

    connect_cause(conn, &cause, err, &way_out);
    (void)err_problem(err, err->kind, err->problem, "%s%s%s", cause.data,
                      way_out != NULL ? ": " : "", way_out != NULL ? way_out : "");
    str_release(&cause);
}
