#include "outboxd.h"

#include "check.h"
#include "tmp.h"

#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *outboxd_binary(void)
{
    static char path[PATH_SIZE];

    if (getenv("OUTBOXD") != NULL)
        return getenv("OUTBOXD");
    path_join(path, build_root(), "outboxd");
    return path;
}

void outboxd_configure_text(struct outboxd *o, const char *text)
{
    char folder[PATH_SIZE];

    *o = (struct outboxd){0};
    tmp_folder("outboxd", folder);
    path_join(o->config, folder, "outboxd.yaml");
    path_join(o->log, folder, "log");
    file_write(o->config, "%s", text);
    file_write(o->log, "%s", "");
}

void outboxd_configure(struct outboxd *o, const struct pg_server *pg, const char *brokers,
                       const char *relay_extra, const char *extra)
{
    char text[4096];
    char http[64] = "";
    int port = extra != NULL && strstr(extra, "http:") != NULL ? 0 : port_free();

    if (port != 0)
        (void)snprintf(http, sizeof http, "http: {listen: \"127.0.0.1:%d\"}\n", port);
    (void)snprintf(text, sizeof text,
                   "postgres: {url: \"%s\"}\n"
                   "kafka: {brokers: \"%s\"}\n"
                   "relay: {name: orders, instance: test%s}\n"
                   "%s%s\n",
                   pg_url(pg, "relay", "postgres").text, brokers,
                   relay_extra == NULL ? "" : relay_extra, http, extra == NULL ? "" : extra);
    outboxd_configure_text(o, text);
    o->http_port = port;
}

void outboxd_start_by(struct outboxd *o, const char *const *prefix, const struct proc_params *how)
{
    const char *argv[16];
    struct proc_params params = *how;
    size_t n = 0;

    while (prefix != NULL && *prefix != NULL && n < ARRAY_LEN(argv) - 5)
        argv[n++] = *prefix++;
    argv[n++] = outboxd_binary();
    argv[n++] = "run";
    argv[n++] = "-c";
    argv[n++] = o->config;
    argv[n] = NULL;
    params.argv = argv;
    if (params.err_path == NULL)
        params.err_path = o->log;
    params.out_path = params.err_path;
    proc_start(&o->proc, &params);
}

void outboxd_start(struct outboxd *o)
{
    outboxd_start_by(o, NULL, &(struct proc_params){0});
}

int outboxd_stop(struct outboxd *o)
{
    proc_stop(&o->proc, SIGTERM, 15000);
    return proc_exit_code(&o->proc);
}

void outboxd_kill9(struct outboxd *o)
{
    proc_kill9(&o->proc);
}

int outboxd_command(const struct outboxd *o, const char *command, const char *const *more,
                    char *out)
{
    const char *argv[16] = {outboxd_binary(), command, "-c", o->config};
    char folder[PATH_SIZE];
    char path[PATH_SIZE];
    size_t n = 4;
    char *text;
    int rc;

    while (more != NULL && *more != NULL && n < 15)
        argv[n++] = *more++;
    argv[n] = NULL;
    tmp_folder("command", folder);
    path_join(path, folder, "out");
    file_write(path, "%s", "");
    rc = proc_run(argv, path, 30000);
    text = file_read(path);
    (void)snprintf(out, OUTBOXD_OUT, "%s", text);
    free(text);
    return rc;
}

int outboxd_log_count(const struct outboxd *o, const char *text)
{
    char *log = file_read(o->log);
    int n = occurrences(log, text);

    free(log);
    return n;
}

bool outboxd_log_has(const struct outboxd *o, const char *text)
{
    return outboxd_log_count(o, text) > 0;
}

void outboxd_fail(const struct outboxd *o, const char *fmt, ...)
{
    char *log = file_read(o->log);
    size_t len = strlen(log);
    char text[1024];
    va_list ap;

    (void)fprintf(stderr, "the log ends so:\n%s\n", len > 4000 ? log + len - 4000 : log);
    free(log);
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    support_fail("%s", text);
}

void outboxd_wait_log(const struct outboxd *o, const char *text, int timeout_ms)
{
    uint64_t end = test_now_ms() + (uint64_t)timeout_ms;

    while (!outboxd_log_has(o, text)) {
        if (test_now_ms() >= end)
            outboxd_fail(o, "not within %d ms in the log: %s", timeout_ms, text);
        test_sleep_ms(5);
    }
}

void outboxd_log_truncate(struct outboxd *o)
{
    if (truncate(o->log, 0) != 0)
        support_fail("cannot truncate %s", o->log);
}

int64_t outboxd_log_number(const struct outboxd *o, const char *name)
{
    char *log = file_read(o->log);
    char wanted[128];
    int64_t value = -1;

    (void)snprintf(wanted, sizeof wanted, " %s=", name);
    for (const char *p = log; (p = strstr(p, wanted)) != NULL; p += strlen(wanted))
        value = strtoll(p + strlen(wanted), NULL, 10);
    free(log);
    return value;
}

/* Of main; a lane counts as one. */
static int64_t unsent(const struct outboxd *o)
{
    static const char *const json[] = {"--json", NULL};
    char out[OUTBOXD_OUT];
    json_int_t events = -1;
    json_t *doc;

    if (outboxd_command(o, "status", json, out) != 0)
        return -1;
    doc = json_loads(out, 0, NULL);
    if (json_unpack(doc, "{s:{s:I}}", "unsent", "events", &events) == 0)
        events += (json_int_t)json_array_size(json_object_get(doc, "lanes"));
    json_decref(doc);
    return events;
}

void outboxd_wait_drained(const struct outboxd *o, int timeout_ms)
{
    uint64_t end = test_now_ms() + (uint64_t)timeout_ms;
    int64_t left;

    while ((left = unsent(o)) != 0) {
        if (test_now_ms() >= end)
            outboxd_fail(o, "%lld events unsent after %d ms", (long long)left, timeout_ms);
        test_sleep_ms(50);
    }
}
