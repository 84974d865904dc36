/* A consumer comes and goes: descriptors, the librdkafka handle, and all that it owns. */
#include "inbox/client.h"
#include "inbox/internal.h"
#include "inbox/params.h"
#include "kafka/config.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* ---- descriptors ----------------------------------------------------------------------------- */

static bool watch(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};

    return fd >= 0 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static int open_descriptors(struct inbox *in, struct inbox_error *e)
{
    in->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    in->wake_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK); /* the first turn is due at once */
    in->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    in->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (watch(in->epoll_fd, in->wake_fd) && watch(in->epoll_fd, in->stop_fd) &&
        watch(in->epoll_fd, in->timer_fd))
        return 0;
    return fault_set(e, INBOX_E_CONFIG, "no descriptors: %s", strerror(errno));
}

static void close_descriptors(const struct inbox *in)
{
    const int all[] = {in->epoll_fd, in->wake_fd, in->stop_fd, in->timer_fd};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i] >= 0)
            (void)close(all[i]);
}

/* ---- Kafka ----------------------------------------------------------------------------------- */

/* A pattern would match the dead-letter topics, too, and what goes there would come back. */
static int hide_dead_letters(rd_kafka_conf_t *conf, const struct inbox_params *p,
                             struct inbox_error *e)
{
    struct str list = {0};
    char text[256] = "";
    int rc = 0;

    for (size_t i = 0; i < p->topic_count && list.len == 0; i++)
        if (p->topics[i][0] == '^')
            str_puts(&list, "\\.dlt$");
    if (list.len == 0)
        return 0;
    if (p->dead_letter_topic != NULL) {
        str_puts(&list, ",^");
        for (const char *c = p->dead_letter_topic; *c != '\0'; c++)
            str_printf(&list, *c == '.' ? "\\%c" : "%c", *c);
        str_puts(&list, "$");
    }
    if (rd_kafka_conf_set(conf, "topic.blacklist", str_text(&list), text, sizeof text) !=
        RD_KAFKA_CONF_OK)
        rc = fault_set(e, INBOX_E_CONFIG, "property topic.blacklist: %s", text);
    str_release(&list);
    return rc;
}

static int subscribe(struct inbox *in, struct inbox_error *e)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)in->params.topic_count);
    rd_kafka_resp_err_t code;

    for (size_t i = 0; i < in->params.topic_count; i++)
        (void)rd_kafka_topic_partition_list_add(list, in->params.topics[i], RD_KAFKA_PARTITION_UA);
    code = rd_kafka_subscribe(in->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    return fault_set(e, INBOX_E_CONFIG, "subscribe: %s", rd_kafka_err2str(code));
}

static int open_kafka(struct inbox *in, const struct inbox_params *p, struct inbox_error *e)
{
    static const uint64_t token = 1;
    rd_kafka_conf_t *conf = client_conf_new(p, e);
    rd_kafka_queue_t *queue;
    char text[256] = "";

    if (conf == NULL)
        return -1;
    if (hide_dead_letters(conf, p, e) != 0) {
        rd_kafka_conf_destroy(conf);
        return -1;
    }
    assign_callbacks(conf);
    rd_kafka_conf_set_opaque(conf, in);
    in->rk = kafka_handle_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (in->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return fault_set(e, INBOX_E_CONFIG, "make a consumer: %s", text);
    }
    (void)rd_kafka_set_log_queue(in->rk, NULL);
    (void)rd_kafka_poll_set_consumer(in->rk);
    queue = rd_kafka_queue_get_consumer(in->rk);
    rd_kafka_queue_io_event_enable(queue, in->wake_fd, &token, sizeof token);
    rd_kafka_queue_destroy(queue);
    in->commits = rd_kafka_queue_new(in->rk);
    rd_kafka_queue_io_event_enable(in->commits, in->wake_fd, &token, sizeof token);
    return subscribe(in, e);
}

/* ---- the consumer ---------------------------------------------------------------------------- */

static void init(struct inbox *in, const struct inbox_params *p)
{
    in->params = *p;
    params_own(&in->params);
    in->say = (struct say){
        .level = p->log_level, .log = p->log, .arg = p->log_arg, .consumer = in->params.consumer};
    in->epoll_fd = in->wake_fd = in->stop_fd = in->timer_fd = -1;
    in->limit = (size_t)p->batch_size;
    in->batch = xcalloc(in->limit, sizeof(struct inbox_event *));
    in->claims = xcalloc(in->limit, sizeof(struct inbox_event *));
    in->answers = xcalloc(in->limit, 1);
    atomic_init(&in->stopping, false);
}

struct inbox *inbox_new(const struct inbox_params *params, struct inbox_error *error)
{
    struct inbox_params p;
    struct inbox *in;

    fault_clear(error);
    if (params_take(&p, params, error) != 0)
        return NULL;
    in = xcalloc(1, sizeof *in);
    init(in, &p);
    if (open_descriptors(in, error) != 0)
        goto fail;
    in->db = (struct session){.conninfo = in->params.conninfo,
                              .consumer = in->params.consumer,
                              .say = &in->say,
                              .stopping = &in->stopping,
                              .stop_fd = in->stop_fd};
    in->dead = dead_new(&p, in->wake_fd, &in->say, error);
    if (in->dead == NULL || open_kafka(in, &p, error) != 0)
        goto fail;
    return in;
fail:
    in->say.level = INBOX_LOG_NONE; /* the error says it all */
    inbox_free(in);
    return NULL;
}

void inbox_free(struct inbox *inbox)
{
    if (inbox == NULL)
        return;
    loop_finish(inbox);
    if (inbox->commits != NULL)
        rd_kafka_queue_destroy(inbox->commits);
    if (inbox->rk != NULL)
        rd_kafka_destroy_flags(inbox->rk, inbox->left ? 0 : RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    parts_release(&inbox->parts);
    format_reader_release(&inbox->reader);
    close_descriptors(inbox);
    say_release(&inbox->say);
    free(inbox->batch);
    free(inbox->claims);
    free(inbox->answers);
    params_disown(&inbox->params);
    free(inbox);
}
