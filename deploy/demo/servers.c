#include "servers.h"

#include "say.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct servers *running; /* for the exit handler */

/* The build folder, seen from this program: BUILD/deploy/demo/demo. */
static void find_build(char out[PATH_SIZE])
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_SIZE - 1);

    if (n <= 0)
        give_up(NULL, "readlink /proc/self/exe: %s", strerror(errno));
    out[n] = '\0';
    for (int up = 0; up < 3; up++) {
        char *slash = strrchr(out, '/');
        if (slash != NULL)
            *slash = '\0';
    }
}

void servers_init(struct servers *s)
{
    memset(s, 0, sizeof *s);
    find_build(s->build);
    (void)snprintf(s->dir, sizeof s->dir, "%s", tmp_root());
    path_join(s->config, s->dir, "outboxd.yaml");
    path_join(s->relay_log, s->dir, "relay.log");
    path_join(s->service_log, s->dir, "events.log");
    running = s;
    /* Runs before the handler that kills what is left and removes the folder: Postgres ends in
     * order. */
    if (atexit(servers_stop) != 0)
        give_up(NULL, "atexit failed");
}

void servers_stop(void)
{
    struct servers *s = running;

    running = NULL;
    if (s == NULL)
        return;
    proc_signal(&s->service, SIGKILL);
    proc_signal(&s->relay, SIGKILL);
    proc_signal(&s->broker, SIGKILL);
    postgres_stop(&s->postgres);
}

/* ---- the broker, the relay and the service ---- */

/* The first line of a file, once it is complete. */
static bool read_line(const char *path, char *out, size_t size)
{
    char *text;
    size_t len;
    bool complete;

    if (access(path, R_OK) != 0)
        return false;
    text = file_read(path);
    len = strcspn(text, "\n");
    complete = text[len] == '\n' && len > 0 && len < size;
    if (complete)
        (void)snprintf(out, size, "%.*s", (int)len, text);
    free(text);
    return complete;
}

void mock_broker_start(struct servers *s, const char *topic, int partitions)
{
    char program[PATH_SIZE];
    char port_file[PATH_SIZE];
    char log[PATH_SIZE];
    char spec[300];

    path_join(program, s->build, "tests/tools/mock_broker");
    path_join(port_file, s->dir, "broker.port");
    path_join(log, s->dir, "broker.log");
    (void)snprintf(spec, sizeof spec, "%s:%d", topic, partitions);
    proc_start(&s->broker,
               &(struct proc_params){.argv = (const char *const[]){program, "--topic", spec,
                                                                   "--port-file", port_file, NULL},
                                     .out_path = log,
                                     .err_path = log});
    for (const uint64_t end = test_now_ms() + 10000;
         !read_line(port_file, s->brokers, sizeof s->brokers); test_sleep_ms(5))
        if (!proc_alive(&s->broker) || test_now_ms() > end)
            give_up(log, "the embedded broker did not start");
}

void migrate(struct servers *s, const char *log)
{
    char program[PATH_SIZE];
    char url[2 * PATH_SIZE];
    const char *const argv[] = {program, "migrate", "-c", s->config, "--url", url, NULL};

    path_join(program, s->build, "outboxd");
    (void)snprintf(url, sizeof url, "%s", postgres_url(&s->postgres, DATABASE, "postgres"));
    if (proc_run(argv, log, 30000) != 0)
        give_up(log, "outboxd migrate failed");
}

void relay_start(struct servers *s)
{
    char program[PATH_SIZE];

    path_join(program, s->build, "outboxd");
    proc_start(&s->relay, &(struct proc_params){
                              .argv = (const char *const[]){program, "run", "-c", s->config, NULL},
                              .out_path = s->relay_log,
                              .err_path = s->relay_log});
}

void service_start(struct servers *s, int workers, int pause_ms)
{
    char program[PATH_SIZE];
    char url[2 * PATH_SIZE];
    char log[PATH_SIZE];
    char numbers[2][16];

    path_join(program, s->build, "deploy/demo/order_service");
    path_join(log, s->dir, "service.log");
    (void)snprintf(url, sizeof url, "%s", postgres_url(&s->postgres, DATABASE, "shop"));
    (void)snprintf(numbers[0], sizeof numbers[0], "%d", workers);
    (void)snprintf(numbers[1], sizeof numbers[1], "%d", pause_ms);
    proc_start(&s->service,
               &(struct proc_params){
                   .argv = (const char *const[]){program, url, numbers[0], numbers[1], NULL},
                   .out_path = s->service_log,
                   .err_path = log});
}
