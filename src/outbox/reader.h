/* The reader: looks, probes and pages (design: a position is a pair of snapshots). One request at a
 * time.
 *
 *   poll    poll.sql: what became visible since the base, whole, or the news that it is a backlog
 *   probe   probe.sql: how the rest of a backlog is best read
 *   page    page.sql and its branches: the next rows by COPY, streamed; nothing is kept but the row
 * that is held
 *
 * A page with a filter, a lane's, looks at scan_rows rows at the most, and the server leaves out
 * what the lane cannot cover. Main and all lanes together have a reader, with a session, each.
 *
 * A held row stops the reading of the socket, and so the server. What is dropped is cancelled on
 * the server by the control session, because a page of large payloads would take long to be read
 * for nothing. */
#ifndef OUTBOXD_OUTBOX_READER_H
#define OUTBOXD_OUTBOX_READER_H

#include "outbox/source.h"

struct reader;
struct session;

struct reader_params {
    struct event_base *base;
    struct session *read;
    struct session *control;
    const struct source_events *events;
    void *ctx;                        /* of events */
    const struct route_table *routes; /* lent: what a lane covers */
    uint32_t timeout_ms;
    size_t max_event_bytes;
};

struct reader *reader_new(const struct reader_params *params);
void reader_free(struct reader *r); /* NULL is harmless */

/* Pins the plans of the fresh session, learns its backend's pid, then calls done(ctx). */
void reader_setup(struct reader *r, void (*done)(void *ctx), void *ctx);
/* A probe or page that came before the setup was through is asked now. */
void reader_go(struct reader *r);
/* The sessions are closed: the request is forgotten. */
void reader_forget(struct reader *r);

/* The ops of relay/ops.h. */
void reader_poll(struct reader *r, const struct str *base, uint32_t max_rows, size_t max_bytes);
void reader_probe(struct reader *r, uint32_t stream, const struct position *position,
                  uint32_t few_rows);
void reader_page(struct reader *r, uint32_t stream, const struct page_request *request);
void reader_resume(struct reader *r);
void reader_drop_rest(struct reader *r);

#endif
