#include "kafka.h"

#include "kafka_acl.h"
#include "kafka_admin.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define START_TIMEOUT_MS 90000
#define STOP_TIMEOUT_MS  30000
#define CLUSTER_ID       "b3V0Ym94ZC10ZXN0LTAwMQ"

/* ---- the command lines ---- */

/* All jars of $KAFKA_LIB, or of kafka-lib in the build folder. */
static const char *class_path(void)
{
    static char path[PATH_SIZE];
    char folder[PATH_SIZE];
    const char *set = getenv("KAFKA_LIB");
    bool found = false;
    DIR *d;

    if (path[0] != '\0')
        return path;
    if (set != NULL)
        (void)snprintf(folder, sizeof folder, "%s", set);
    else
        path_join(folder, build_root(), "kafka-lib");
    d = opendir(folder);
    if (d != NULL) {
        for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
            found |= strncmp(e->d_name, "kafka_", 6) == 0;
        (void)closedir(d);
    }
    if (!found)
        support_fail("no Kafka jars in %s: run `make kafka-lib`, or set KAFKA_LIB", folder);
    path_join(path, folder, "*");
    return path;
}

/* Its part in the cluster. Clients that come through the proxy are told the proxy's address. */
static void write_role(FILE *f, const struct kafka *k, int node, int client_port)
{
    const struct kafka_node *n = &k->node[node];
    const bool own_controller = k->processes > k->nodes;
    const bool broker = node < k->nodes;
    const bool controller = !own_controller || !broker;

    (void)fprintf(
        f, "process.roles=%s%s%s\nnode.id=%d\ncontroller.quorum.voters=", broker ? "broker" : "",
        broker && controller ? "," : "", controller ? "controller" : "", node + 1);
    for (int i = own_controller ? k->nodes : 0, first = i; i < k->processes; i++)
        (void)fprintf(f, "%s%d@127.0.0.1:%d", i > first ? "," : "", i + 1,
                      k->node[i].controller_port);
    (void)fprintf(f, "\nlisteners=");
    if (broker)
        (void)fprintf(f, "PLAINTEXT://127.0.0.1:%d", n->port);
    if (controller)
        (void)fprintf(f, "%sCONTROLLER://127.0.0.1:%d", broker ? "," : "", n->controller_port);
    if (client_port != 0)
        (void)fprintf(f, ",CLIENT://127.0.0.1:%d", client_port);
    if (n->secured_port != 0)
        (void)fprintf(f, ",SECURED://127.0.0.1:%d", n->secured_port);
    if (broker)
        (void)fprintf(f, "\nadvertised.listeners=PLAINTEXT://127.0.0.1:%d", n->port);
    if (client_port != 0)
        (void)fprintf(f, ",CLIENT://127.0.0.1:%d", proxy_port(n->proxy));
    if (n->secured_port != 0)
        (void)fprintf(f, ",SECURED://127.0.0.1:%d", n->secured_port);
    (void)fprintf(f, "\ninter.broker.listener.name=PLAINTEXT\n"
                     "controller.listener.names=CONTROLLER\nlistener.security.protocol.map="
                     "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CLIENT:PLAINTEXT,"
                     "SECURED:SASL_PLAINTEXT\n");
}

/* Whoever comes without a password is a node or the test, and may do everything. */
static void write_security(FILE *f)
{
    (void)fprintf(f, "authorizer.class.name="
                     "org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
                     "super.users=User:ANONYMOUS\n"
                     "listener.name.secured.sasl.enabled.mechanisms=PLAIN\n");
    (void)fprintf(f, KAFKA_USERS_FORMAT, KAFKA_USER, KAFKA_PASSWORD);
}

static void write_properties(const struct kafka *k, int node, const struct kafka_params *params,
                             int client_port)
{
    const struct kafka_node *n = &k->node[node];
    const int replicas = k->nodes;
    const int min_isr = k->nodes > 1 ? 2 : 1;
    char path[PATH_SIZE];
    FILE *f;

    path_join(path, n->dir, "server.properties");
    f = fopen(path, "we");
    if (f == NULL)
        support_fail("create %s: %s", path, strerror(errno));
    (void)fprintf(
        f,
        "log.dirs=%s/data\nauto.create.topics.enable=false\nnum.partitions=4\n"
        "group.initial.rebalance.delay.ms=0\ndefault.replication.factor=%d\nmin.insync.replicas=%"
        "d\n"
        "offsets.topic.replication.factor=%d\noffsets.topic.num.partitions=4\n"
        "transaction.state.log.replication.factor=%d\ntransaction.state.log.min.isr=%d\n"
        "transaction.state.log.num.partitions=4\nshare.coordinator.state.topic.replication.factor=%"
        "d\n"
        "share.coordinator.state.topic.min.isr=%d\nshare.coordinator.state.topic.num.partitions=1\n"
        /* small and quick: a dead node is noticed within three seconds, the cleaner's buffer is not
           128 MiB */
        "broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n"
        "log.cleaner.dedupe.buffer.size=4194304\nnum.network.threads=2\nnum.io.threads=4\n",
        n->dir, replicas, min_isr, replicas, replicas, min_isr, replicas, min_isr);
    write_role(f, k, node, client_port);
    if (params != NULL && params->secured)
        write_security(f);
    for (const char *const *s = params != NULL ? params->settings : NULL; s != NULL && *s != NULL;
         s++)
        (void)fprintf(f, "%s\n", *s);
    if (fclose(f) != 0)
        support_fail("write %s: %s", path, strerror(errno));
}

static void write_log_config(const struct kafka_node *n)
{
    char path[PATH_SIZE];

    path_join(path, n->dir, "log4j2.properties");
    file_write(
        path,
        "appender.out.type=Console\nappender.out.name=out\nappender.out.layout.type=PatternLayout\n"
        "appender.out.layout.pattern=%%d{ISO8601} %%p %%c{1}: %%m%%n\n"
        "rootLogger.level=%s\nrootLogger.appenderRef.out.ref=out\n",
        getenv("KAFKA_LOG_LEVEL") != NULL ? getenv("KAFKA_LOG_LEVEL") : "WARN");
}

/* Starts java with a main class and up to five arguments. */
static void start_java(const struct kafka *k, int node, struct proc *p, const char *const *args)
{
    const struct kafka_node *n = &k->node[node];
    char heap[32];
    char log_config[PATH_SIZE + 64];
    const char *argv[20] = {"java",
                            heap,
                            k->warms_up ? "-XX:+UseG1GC" : "-XX:+UseSerialGC",
                            k->warms_up ? "-XX:TieredStopAtLevel=4" : "-XX:TieredStopAtLevel=1",
                            "-Xshare:auto",
                            "-Djava.awt.headless=true",
                            log_config,
                            "-cp",
                            class_path()};
    size_t argc = 9;

    (void)snprintf(heap, sizeof heap, "-Xmx%dm", k->heap_mib);
    (void)snprintf(log_config, sizeof log_config, "-Dlog4j2.configurationFile=%s/log4j2.properties",
                   n->dir);
    while (*args != NULL)
        argv[argc++] = *args++;
    proc_start(p, &(struct proc_params){
                      .argv = argv, .out_path = n->log, .err_path = n->log, .cwd = n->dir});
}

static void format_storage(const struct kafka *k, int node)
{
    struct proc p;

    start_java(k, node, &p,
               (const char *const[]){"kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c",
                                     "server.properties", "--ignore-formatted", NULL});
    if (!proc_wait(&p, START_TIMEOUT_MS))
        proc_kill9(&p);
    if (proc_exit_code(&p) != 0)
        support_fail("Kafka's storage cannot be formatted:\n%s", file_read(k->node[node].log));
}

/* ---- nodes ---- */

void kafka_start_nowait(struct kafka *k, int node)
{
    start_java(k, node, &k->node[node].proc,
               (const char *const[]){"kafka.Kafka", "server.properties", NULL});
}

static void fail_if_ended(struct kafka *k)
{
    for (int i = 0; i < k->processes; i++)
        if (k->node[i].proc.pid != 0 && !proc_alive(&k->node[i].proc))
            support_fail("Kafka node %d ended at start:\n%s", i, file_read(k->node[i].log));
}

void kafka_wait_ready(const struct kafka *k, int brokers, int timeout_ms)
{
    struct kafka_client c;
    const uint64_t end = test_now_ms() + (uint64_t)timeout_ms;

    kafka_client_open(&c, k->brokers);
    while (kafka_client_broker_count(&c) < brokers) {
        if (test_now_ms() >= end)
            support_fail("Kafka: fewer than %d brokers after %d ms; log: %s", brokers, timeout_ms,
                         k->node[0].log);
        test_sleep_ms(20);
    }
    kafka_client_close(&c);
}

/* Waits for one node by asking it alone; another's answer could come from its stale picture. */
static void wait_node(struct kafka *k, int node)
{
    struct kafka_client c;
    char address[64];
    const uint64_t end = test_now_ms() + START_TIMEOUT_MS;

    (void)snprintf(address, sizeof address, "127.0.0.1:%d", k->node[node].port);
    kafka_client_open(&c, address);
    while (!kafka_client_sees_broker(&c, k->node[node].port)) {
        if (!proc_alive(&k->node[node].proc))
            support_fail("Kafka node %d ended at start:\n%s", node, file_read(k->node[node].log));
        if (test_now_ms() >= end)
            support_fail("Kafka node %d does not come up:\n%s", node, file_read(k->node[node].log));
        test_sleep_ms(20);
    }
    kafka_client_close(&c);
}

void kafka_start(struct kafka *k, int node)
{
    kafka_start_nowait(k, node);
    wait_node(k, node);
}

static void append_address(char (*list)[128], int port)
{
    size_t used = strlen(*list);

    (void)snprintf(*list + used, sizeof *list - used, "%s127.0.0.1:%d", used > 0 ? "," : "", port);
}

/* Its folder and ports. `client_port`: NULL for a node without a proxy. */
static void make_node(struct kafka *k, int node, int *client_port, bool secured)
{
    struct kafka_node *n = &k->node[node];

    tmp_folder("kafka", n->dir);
    path_join(n->log, n->dir, "log");
    n->port = port_free();
    n->controller_port = port_free();
    if (node < k->nodes)
        append_address(&k->brokers, n->port);
    if (secured) {
        n->secured_port = port_free();
        append_address(&k->secured, n->secured_port);
    }
    if (client_port != NULL) {
        *client_port = port_free();
        n->proxy = proxy_start(0, *client_port);
        append_address(&k->proxied, proxy_port(n->proxy));
    }
}

void kafka_create(struct kafka *k, const struct kafka_params *params)
{
    int client_port[KAFKA_MAX_NODES + 1] = {0};

    memset(k, 0, sizeof *k);
    k->nodes = params != NULL && params->nodes > 0 ? params->nodes : 1;
    k->heap_mib = params != NULL && params->heap_mib > 0 ? params->heap_mib : 400;
    k->warms_up = params != NULL && params->warms_up;
    if (k->nodes > KAFKA_MAX_NODES)
        support_fail("at most %d nodes", KAFKA_MAX_NODES);
    k->processes = k->nodes + (params != NULL && params->own_controller ? 1 : 0);
    for (int i = 0; i < k->processes; i++)
        make_node(k, i, params != NULL && params->proxied && i < k->nodes ? &client_port[i] : NULL,
                  params != NULL && params->secured && i < k->nodes);
    for (int i = 0; i < k->processes; i++) {
        write_properties(k, i, params, client_port[i]);
        write_log_config(&k->node[i]);
        format_storage(k, i);
    }
    for (int i = k->processes - 1; i >= 0; i--)
        kafka_start_nowait(k, i);
    for (int i = 0; i < k->nodes; i++) {
        fail_if_ended(k);
        wait_node(k, i);
    }
    kafka_wait_ready(k, k->nodes, START_TIMEOUT_MS);
}

void kafka_drop(struct kafka *k)
{
    for (int i = 0; i < k->processes; i++) {
        proc_kill9(&k->node[i].proc);
        tmp_remove(k->node[i].dir);
        proxy_stop(k->node[i].proxy);
        k->node[i].proxy = NULL;
    }
    k->nodes = k->processes = 0;
}

const char *kafka_brokers(const struct kafka *k)
{
    return k->brokers;
}

const char *kafka_proxied_brokers(const struct kafka *k)
{
    return k->proxied;
}

const char *kafka_secured_brokers(const struct kafka *k)
{
    return k->secured;
}

struct proxy *kafka_proxy(const struct kafka *k, int node)
{
    return k->node[node].proxy;
}

void kafka_stop(struct kafka *k, int node)
{
    proc_stop(&k->node[node].proc, SIGTERM, STOP_TIMEOUT_MS);
}

void kafka_kill9(struct kafka *k, int node)
{
    proc_kill9(&k->node[node].proc);
}

void kafka_pause(struct kafka *k, int node)
{
    proc_signal(&k->node[node].proc, SIGSTOP);
}

void kafka_continue(struct kafka *k, int node)
{
    proc_signal(&k->node[node].proc, SIGCONT);
}
