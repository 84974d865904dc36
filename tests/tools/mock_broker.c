/* librdkafka's mock cluster in a process of its own: enough of a Kafka for a demonstration, started
 * within milliseconds.
 *
 *   mock_broker --topic order-events:3 [--topic NAME:PARTITIONS ...] [--brokers N] [--port-file
 * FILE]
 *
 * Prints "bootstrap=HOST:PORT,..." on stdout (and only the addresses into FILE, which appears
 * complete), then runs until SIGTERM or SIGINT, or until stdin closes when that is a pipe. It keeps
 * the last 5 MiB of a partition, forgets everything at its end, and does not check sequence
 * numbers: order under faults is tested on a real broker. */
#include "base/err.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_TOPICS 64

struct options {
    char *topics[MAX_TOPICS]; /* "name", cut from "name:partitions" */
    int partitions[MAX_TOPICS];
    int topic_count;
    int brokers;
    const char *port_file;
};

static int usage(void)
{
    (void)fprintf(
        stderr,
        "usage: mock_broker --topic NAME:PARTITIONS ... [--brokers N] [--port-file FILE]\n");
    return ERR_USAGE;
}

static bool parse_count(const char *text, int *out)
{
    char *end;
    long n = strtol(text, &end, 10);

    *out = (int)n;
    return *text != '\0' && *end == '\0' && n >= 1 && n <= 10000;
}

static bool parse_topic(struct options *o, char *text)
{
    char *colon = strrchr(text, ':');

    if (colon == NULL || colon == text || o->topic_count == MAX_TOPICS ||
        !parse_count(colon + 1, &o->partitions[o->topic_count]))
        return false;
    *colon = '\0';
    o->topics[o->topic_count++] = text;
    return true;
}

static bool parse(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        bool good = false;
        if (i + 1 == argc)
            return false;
        if (strcmp(argv[i], "--topic") == 0)
            good = parse_topic(o, argv[i + 1]);
        else if (strcmp(argv[i], "--brokers") == 0)
            good = parse_count(argv[i + 1], &o->brokers);
        else if (strcmp(argv[i], "--port-file") == 0)
            good = (o->port_file = argv[i + 1]) != NULL;
        if (!good)
            return false;
    }
    return true;
}

/* Under another name first: who waits for the file finds it complete. */
static bool write_port_file(const char *path, const char *bootstrap)
{
    char part[4096];
    FILE *f;
    int n = snprintf(part, sizeof part, "%s.part", path);

    if (n < 0 || (size_t)n >= sizeof part)
        return false;
    f = fopen(part, "we");
    if (f == NULL)
        return false;
    if (fprintf(f, "%s\n", bootstrap) < 0) {
        (void)fclose(f);
        return false;
    }
    return fclose(f) == 0 && rename(part, path) == 0;
}

/* Returns when a signal arrives or the pipe on stdin closes. */
static void wait_for_end(int signals)
{
    struct pollfd fds[2] = {{.fd = signals, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    struct stat st;
    char drop[256];

    if (fstat(0, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
        fds[1].fd = 0;
    for (;;) {
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[0].revents != 0)
            return;
        if (fds[1].revents != 0 && read(0, drop, sizeof drop) <= 0)
            return;
    }
}

static int serve(const struct options *o, rd_kafka_mock_cluster_t *cluster, int signals)
{
    const char *bootstrap = rd_kafka_mock_cluster_bootstraps(cluster);

    for (int i = 0; i < o->topic_count; i++) {
        rd_kafka_resp_err_t error =
            rd_kafka_mock_topic_create(cluster, o->topics[i], o->partitions[i], 1);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            (void)fprintf(stderr, "mock_broker: topic %s: %s\n", o->topics[i],
                          rd_kafka_err2str(error));
            return ERR_SOFTWARE;
        }
    }
    if (o->port_file != NULL && !write_port_file(o->port_file, bootstrap)) {
        perror(o->port_file);
        return ERR_SOFTWARE;
    }
    (void)printf("bootstrap=%s\n", bootstrap);
    (void)fflush(stdout);
    wait_for_end(signals);
    return 0;
}

/* The handle that carries the cluster has no brokers of its own, which librdkafka would warn about.
 */
static rd_kafka_conf_t *quiet_conf(void)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[256];

    if (rd_kafka_conf_set(conf, "log_level", "3", text, sizeof text) != RD_KAFKA_CONF_OK)
        (void)fprintf(stderr, "mock_broker: %s\n", text);
    return conf;
}

int main(int argc, char **argv)
{
    struct options o = {.brokers = 1};
    rd_kafka_mock_cluster_t *cluster;
    rd_kafka_t *rk;
    sigset_t mask;
    char text[256];
    int signals;
    int status = ERR_SOFTWARE;

    if (!parse(&o, argc, argv))
        return usage();
    /* Before librdkafka's threads exist: they inherit the mask, and the signals come through the
     * descriptor alone. */
    (void)sigemptyset(&mask);
    (void)sigaddset(&mask, SIGTERM);
    (void)sigaddset(&mask, SIGINT);
    (void)sigaddset(&mask, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &mask, NULL);
    signals = signalfd(-1, &mask, SFD_CLOEXEC);
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, quiet_conf(), text, sizeof text);
    if (rk == NULL || signals < 0) {
        (void)fprintf(stderr, "mock_broker: cannot start: %s\n", rk == NULL ? text : "no signalfd");
        return ERR_SOFTWARE;
    }
    cluster = rd_kafka_mock_cluster_new(rk, o.brokers);
    if (cluster != NULL) {
        status = serve(&o, cluster, signals);
        rd_kafka_mock_cluster_destroy(cluster);
    }
    rd_kafka_destroy(rk);
    (void)close(signals);
    return status;
}
