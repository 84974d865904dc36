#include "relay/window.h"

#include <assert.h>
#include <stdlib.h>

void position_init(struct position *p)
{
    *p = (struct position){0};
}

void position_release(struct position *p)
{
    str_release(&p->base);
    str_release(&p->target);
}

void position_copy(struct position *to, const struct position *from)
{
    str_copy(&to->base, &from->base);
    str_copy(&to->target, &from->target);
    to->last_id = from->last_id;
}

void window_init(struct window *w, uint32_t capacity)
{
    *w = (struct window){.capacity = capacity};
    /* calloc: the pages of a window that is never filled are never touched */
    w->entries = xcalloc(capacity, sizeof w->entries[0]);
}

void window_release(struct window *w)
{
    free(w->entries);
    str_release(&w->base);
    for (size_t i = 0; i < WINDOW_BATCHES; i++)
        str_release(&w->batches[i].target);
    *w = (struct window){0};
}

static struct window_batch *batch_at(struct window *w, uint32_t i)
{
    return &w->batches[(w->first_batch + i) % WINDOW_BATCHES];
}

static const struct window_batch *batch_peek(const struct window *w, uint32_t i)
{
    return &w->batches[(w->first_batch + i) % WINDOW_BATCHES];
}

static struct window_batch *add_batch(struct window *w)
{
    struct window_batch *b;

    assert(w->batch_count < WINDOW_BATCHES);
    b = batch_at(w, w->batch_count++);
    str_reset(&b->target);
    b->end = w->head;
    b->last_id = 0;
    b->read_id = 0;
    b->complete = false;
    return b;
}

void window_load(struct window *w, const struct position *p)
{
    w->settled = w->head;
    w->stored = w->head;
    w->in_flight = 0;
    w->in_flight_bytes = 0;
    w->batch_count = 0;
    w->version++;
    w->stored_version = w->version;
    str_copy(&w->base, &p->base);
    if (p->target.len > 0) {
        struct window_batch *b = add_batch(w);

        str_copy(&b->target, &p->target);
        b->last_id = p->last_id;
        b->read_id = p->last_id;
    }
}

struct window_batch *window_open_batch(struct window *w)
{
    struct window_batch *b;

    if (w->batch_count == 0)
        return NULL;
    b = batch_at(w, w->batch_count - 1);
    return b->complete ? NULL : b;
}

bool window_has_batch_room(const struct window *w)
{
    return w->batch_count < WINDOW_BATCHES;
}

void window_begin_batch(struct window *w, struct slice target)
{
    assert(window_open_batch(w) == NULL);
    str_put_slice(&add_batch(w)->target, target);
}

/* Batches that are read to their end and settled to their end become the base. */
static void retire_batches(struct window *w)
{
    while (w->batch_count > 0) {
        struct window_batch *b = batch_at(w, 0);

        if (!b->complete || w->settled < b->end)
            return;
        str_copy(&w->base, &b->target);
        w->first_batch = (w->first_batch + 1) % WINDOW_BATCHES;
        w->batch_count--;
        w->version++;
    }
}

void window_complete_batch(struct window *w)
{
    struct window_batch *b = window_open_batch(w);

    assert(b != NULL);
    b->complete = true;
    retire_batches(w);
}

void window_retarget(struct window *w, struct slice snapshot)
{
    struct str *s = &w->base;

    assert(window_open_batch(w) == NULL);
    if (w->batch_count > 0)
        s = &batch_at(w, w->batch_count - 1)->target;
    str_reset(s);
    str_put_slice(s, snapshot);
}

const struct str *window_read_base(const struct window *w)
{
    const struct window_batch *b;

    if (w->batch_count == 0)
        return &w->base;
    b = batch_peek(w, w->batch_count - 1);
    assert(b->complete);
    return &b->target;
}

uint32_t window_free(const struct window *w)
{
    return w->capacity - (uint32_t)(w->head - w->stored);
}

uint64_t window_push(struct window *w, const struct window_entry *e)
{
    struct window_batch *b = window_open_batch(w);

    assert(b != NULL);
    assert(window_free(w) > 0);
    assert(e->row_id > b->read_id);
    w->entries[w->head % w->capacity] = *e;
    w->entries[w->head % w->capacity].state = ENTRY_SENT;
    w->in_flight++;
    w->in_flight_bytes += e->bytes;
    b->read_id = e->row_id;
    b->end = w->head + 1;
    return w->head++;
}

bool window_pass(struct window *w, int64_t row_id)
{
    struct window_batch *b = window_open_batch(w);
    struct window_entry *e;
    uint64_t begin;

    assert(b != NULL);
    assert(row_id > b->read_id);
    if (w->settled == w->head) { /* so it is the only batch */
        b->read_id = row_id;
        b->last_id = row_id;
        w->version++;
        return true;
    }
    begin = w->batch_count > 1 ? batch_at(w, w->batch_count - 2)->end : w->settled;
    e = window_at(w, w->head - 1);
    if (begin == w->head || e->state != ENTRY_PASSED) {
        if (window_free(w) == 0)
            return false;
        e = &w->entries[w->head++ % w->capacity];
        *e = (struct window_entry){.state = ENTRY_PASSED};
        b->end = w->head;
    }
    e->row_id = row_id;
    b->read_id = row_id;
    return true;
}

bool window_is_alone(struct window *w, uint64_t seq)
{
    return w->settled == seq &&
           (w->head == seq + 1 ||
            (w->head == seq + 2 && window_at(w, seq + 1)->state == ENTRY_PASSED));
}

uint64_t window_published(const struct window *w)
{
    uint64_t n = 0;

    for (uint64_t seq = w->stored; seq < w->settled; seq++)
        n += w->entries[seq % w->capacity].state == ENTRY_ACKED;
    return n;
}

bool window_holds(const struct window *w, uint64_t seq)
{
    return seq >= w->settled && seq < w->head;
}

struct window_entry *window_at(struct window *w, uint64_t seq)
{
    assert(seq >= w->stored && seq < w->head);
    return &w->entries[seq % w->capacity];
}

static struct window_entry *leave_flight(struct window *w, uint64_t seq, enum entry_state state)
{
    struct window_entry *e;

    assert(window_holds(w, seq));
    e = window_at(w, seq);
    assert(e->state == ENTRY_SENT);
    e->state = state;
    w->in_flight--;
    w->in_flight_bytes -= e->bytes;
    return e;
}

void window_ack(struct window *w, uint64_t seq)
{
    (void)leave_flight(w, seq, ENTRY_ACKED);
    while (w->settled < w->head) {
        const struct window_entry *e = window_at(w, w->settled);

        if (e->state != ENTRY_ACKED && e->state != ENTRY_PASSED)
            break;
        /* The oldest batch with an entry left is the one this entry belongs to: the ones before
         * were retired. */
        retire_batches(w);
        batch_at(w, 0)->last_id = e->row_id;
        w->settled++;
        w->version++;
    }
    retire_batches(w);
}

void window_refuse(struct window *w, uint64_t seq)
{
    (void)leave_flight(w, seq, ENTRY_REFUSED);
}

uint32_t window_rewind(struct window *w)
{
    uint32_t forgotten = (uint32_t)(w->head - w->settled);

    retire_batches(w);
    if (forgotten > 0 && w->batch_count > 0) {
        struct window_batch *b = batch_at(w, 0);

        /* Read again what is left of the oldest batch, under the same target; the later ones are
         * bounded anew. */
        b->complete = false;
        b->read_id = b->last_id;
        b->end = w->settled;
        w->batch_count = 1;
    }
    w->head = w->settled;
    w->in_flight = 0;
    w->in_flight_bytes = 0;
    return forgotten;
}

void window_position(const struct window *w, struct position *out)
{
    str_copy(&out->base, &w->base);
    str_reset(&out->target);
    out->last_id = 0;
    if (w->batch_count > 0) {
        const struct window_batch *b = batch_peek(w, 0);

        str_copy(&out->target, &b->target);
        out->last_id = b->last_id;
    }
}

bool window_is_dirty(const struct window *w)
{
    return w->version != w->stored_version;
}

void window_mark_stored(struct window *w, uint64_t settled, uint64_t version)
{
    assert(settled >= w->stored && settled <= w->settled);
    w->stored = settled;
    w->stored_version = version;
}

static void check_batches(const struct window *w)
{
    uint64_t from = w->settled;

    assert(w->batch_count <= WINDOW_BATCHES);
    for (uint32_t i = 0; i < w->batch_count; i++) {
        const struct window_batch *b = batch_peek(w, i);
        int64_t last = b->last_id;

        assert(b->target.len > 0);
        assert(b->complete || i == w->batch_count - 1);
        assert(b->last_id <= b->read_id);
        assert(b->end >= from && b->end <= w->head);
        for (uint64_t seq = from; seq < b->end; seq++) {
            assert(w->entries[seq % w->capacity].row_id > last);
            last = w->entries[seq % w->capacity].row_id;
        }
        assert(last <= b->read_id);
        from = b->end;
    }
    assert(from == w->head);
}

void window_check(const struct window *w)
{
    uint32_t in_flight = 0;
    size_t bytes = 0;

    assert(w->stored <= w->settled && w->settled <= w->head);
    assert(w->head - w->stored <= w->capacity);
    assert(w->settled == w->head || w->entries[w->settled % w->capacity].state == ENTRY_SENT ||
           w->entries[w->settled % w->capacity].state == ENTRY_REFUSED);
    for (uint64_t seq = w->settled; seq < w->head; seq++) {
        const struct window_entry *e = &w->entries[seq % w->capacity];

        if (e->state == ENTRY_SENT) {
            in_flight++;
            bytes += e->bytes;
        }
    }
    assert(in_flight == w->in_flight && bytes == w->in_flight_bytes);
    check_batches(w);
}
