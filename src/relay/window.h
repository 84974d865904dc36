/* The window: every event that was read and is not yet covered by the stored position, in read
 * order.
 *
 *      stored        settled                 head
 *   ------|-------------|-----------------------|------->  sequence numbers (used again only after
 * a rewind) | acked, not  | sent; acked here and  | next | yet stored  | there, or refused     |
 *
 *   stored <= settled <= head <= stored + capacity
 *
 * `settled` moves over acknowledged entries only, never past one that is not: that is promise 1 and
 * promise 3 in one line. A slot is free when its position is STORED, not when it is acked: so a
 * crash can repeat at most one window.
 *
 * Entries belong to batches: the rows between two snapshots. A batch is a run of sequence numbers;
 * the batches in the window are chained, each begins where the one before ends, and only the last
 * may be incomplete (not yet read to its end). */
#ifndef OUTBOXD_RELAY_WINDOW_H
#define OUTBOXD_RELAY_WINDOW_H

#include "relay/ops.h"

#define WINDOW_BATCHES 256

enum entry_state {
    ENTRY_SENT,
    ENTRY_ACKED,
    ENTRY_REFUSED,
    ENTRY_PASSED, /* a run of rows that others own, behind what is unsettled */
};

struct window_entry {
    int64_t row_id;
    int64_t created_at_us;
    uint64_t sent_ms;
    uint8_t event_id[16];
    uint32_t bytes;
    uint32_t topic;
    uint32_t route;
    int32_t partition; /* -1: left to the key ... */
    uint32_t key_hash; /* ... whose murmur2 this is then */
    enum entry_state state;
};

struct window_batch {
    struct str target;
    uint64_t end;    /* one past its last entry */
    int64_t last_id; /* rows up to here are settled */
    int64_t read_id; /* rows up to here are in the window */
    bool complete;   /* read to its end */
};

struct window {
    struct window_entry *entries; /* ring, by sequence number modulo capacity */
    uint32_t capacity;
    uint64_t head;
    uint64_t settled;
    uint64_t stored;
    uint32_t in_flight;                          /* entries in state SENT */
    size_t in_flight_bytes;                      /* their bytes */
    struct str base;                             /* everything visible in it is settled */
    struct window_batch batches[WINDOW_BATCHES]; /* ring */
    uint32_t first_batch;
    uint32_t batch_count;
    uint64_t version;        /* changes whenever the position to store changes */
    uint64_t stored_version; /* the version that was stored */
};

void window_init(struct window *w, uint32_t capacity);
void window_release(struct window *w);

/* Forgets everything and starts at a stored position. */
void window_load(struct window *w, const struct position *p);

/* Reading. The open batch is the last one while it is incomplete; NULL when reading is between
 * batches. */
struct window_batch *window_open_batch(struct window *w);
bool window_has_batch_room(const struct window *w);
void window_begin_batch(struct window *w, struct slice target);
void window_complete_batch(struct window *w);
/* A look found nothing between the last batch's target and `snapshot`: that batch (or the base) may
 * end there as well. */
void window_retarget(struct window *w, struct slice snapshot);
/* What the next look starts from: the last batch's target, or the base. Not while a batch is open.
 */
const struct str *window_read_base(const struct window *w);

uint32_t window_free(const struct window *w);
/* Appends to the open batch; the entry's row_id is above the batch's read_id, and there is room.
 * Returns its number. */
uint64_t window_push(struct window *w, const struct window_entry *e);

/* A row of the open batch that the stream does not own: it is settled when what is before it is. A
 * run of them takes one place at most. False: there is none. */
NODISCARD bool window_pass(struct window *w, int64_t row_id);

struct window_entry *window_at(struct window *w, uint64_t seq);
/* Whether the entry is the only one beyond the settled prefix. */
bool window_is_alone(struct window *w, uint64_t seq);
/* Acknowledged entries that are settled and not stored. */
uint64_t window_published(const struct window *w);
bool window_holds(const struct window *w, uint64_t seq); /* between settled and head */
void window_ack(struct window *w, uint64_t seq);         /* and moves `settled` as far as it goes */
void window_refuse(struct window *w, uint64_t seq);

/* Forgets everything behind the settled prefix, which will be read again. Returns how many entries
 * that were. */
uint32_t window_rewind(struct window *w);

/* The position of the settled prefix, copied into `out` (whose strings are reused). */
void window_position(const struct window *w, struct position *out);
bool window_is_dirty(const struct window *w);
void window_mark_stored(struct window *w, uint64_t settled, uint64_t version);

/* Aborts when an invariant of the picture above does not hold. */
void window_check(const struct window *w);

void position_init(struct position *p);
void position_release(struct position *p);
void position_copy(struct position *to, const struct position *from);

#endif
