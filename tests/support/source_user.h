/* A user of struct outbox_source for tests: its own loop, the last answer of every kind, and the
 * reading loop of a relay that publishes nothing. */
#ifndef OUTBOXD_TESTS_SOURCE_USER_H
#define OUTBOXD_TESTS_SOURCE_USER_H

#include "outbox/source.h"
#include "pg.h"

struct source_user;

/* Sees each row; what it returns is the source's answer. */
typedef enum row_verdict source_row_fn(void *ctx, const struct event *e);

struct source_user {
    struct event_base *base;
    struct timer *heartbeat;
    struct outbox_source *source;
    source_row_fn *row; /* NULL: taken */
    void *row_ctx;

    /* counted since the start */
    unsigned opened, lost, leases, renewals, stores, changes, releases, batches, probes, fetches,
        arms, bells;
    bool in_op; /* an answer that comes now breaks the contract, and fails the test */

    struct err why;           /* lost */
    struct lease_view view;   /* with strings of our own */
    bool still_ours;          /* renewed, stored */
    enum lease_answer answer; /* the same, whole */
    struct str snapshot;      /* batch */
    bool complete;
    uint32_t asked_lane; /* asked: the first one */
    size_t asked_count;
    uint32_t stored_lane; /* stored */
    uint32_t stream;      /* of the last probed, row or fetched */
    bool many_new;        /* probed */
    int64_t min_new_id;
    uint32_t rows; /* fetched */
    bool dropped;
    int64_t read_to;
    bool armed;
    uint64_t seen_rows;
};

/* Defaults of a relay "orders" of instance "a", with a doorbell. */
struct outbox_params source_user_params(const char *url);
void source_user_init(struct source_user *u, const struct outbox_params *params);
/* With these defaults, for the relay's role on that server; open when it returns. */
void source_user_begin(struct source_user *u, const struct pg_server *pg);
void source_user_release(struct source_user *u);

/* SOURCE_OP(u, arm(u->source, 0)); checks that no answer comes before the op has returned. */
#define SOURCE_OP(u, call)                                                                         \
    do {                                                                                           \
        (u)->in_op = true;                                                                         \
        outbox_source_ops.call;                                                                    \
        (u)->in_op = false;                                                                        \
    } while (0)

/* Turns the loop until the counter has passed `was`, which it had before the op; fails the test
 * after 10 s, or when the source is lost meanwhile (unless that is what is waited for). */
void source_user_wait(struct source_user *u, const unsigned *counter, unsigned was);
void source_user_turn(struct source_user *u, unsigned ms); /* the loop, for so long */

/* One op and its answer. */
void source_user_open(struct source_user *u); /* must succeed */
/* Must fail: the error's text holds `part`. */
void source_user_open_fails(struct source_user *u, enum err_kind kind, const char *part);
const struct lease_view *source_user_take(struct source_user *u, enum take_mode mode, int64_t epoch,
                                          int64_t beat);
bool source_user_renew(struct source_user *u, int64_t epoch);
bool source_user_store(struct source_user *u, int64_t epoch, const struct position *at,
                       bool synchronously);
bool source_user_arm(struct source_user *u, uint32_t bell);

/* Reads one batch from at->base as a relay does: one look, and pages of page_rows if it is a
 * backlog; moves `at` on. Returns the rows read. `many`: -1 as the probe says, else overrides it.
 */
uint32_t source_user_read(struct source_user *u, struct position *at, uint32_t poll_rows,
                          uint32_t page_rows, int many);
/* One look; true: it was the whole batch. */
bool source_user_poll(struct source_user *u, const struct position *at, uint32_t max_rows,
                      size_t max_bytes);

/* ---- what to read, and from where ---- */

void position_now(struct position *at, PGconn *conn); /* all that is visible now is settled */
void position_release(struct position *at);
/* So many events, each of another key. */
void insert_events(PGconn *conn, int events, int payload_bytes);

#endif
