/* source_ops over the fake database: sessions (read, lanes, control, bell), each a queue of its
 * own; statements take time on the way, in the server, and on the way back. When a session breaks,
 * what was under way may or may not be executed, now or later: the relay never learns. */
#ifndef OUTBOXD_SIM_SOURCE_H
#define OUTBOXD_SIM_SOURCE_H

#include "database.h"
#include "plan.h"
#include "relay/relay.h"
#include "world.h"

enum session { SESSION_READ, SESSION_LANES, SESSION_CONTROL, SESSION_BELL, SESSIONS };

/* Of main one read is out at a time, and one of all other streams. */
#define READERS 2

/* A poll's or page's answer on its way to the relay. */
struct reading {
    struct fake_source *source;
    uint32_t stream;
    bool busy; /* from the request to the last answer */
    bool open;
    bool is_poll;
    bool complete;
    bool held;
    char snapshot[SNAPSHOT_TEXT];
    uint32_t *rows;
    uint32_t count;
    uint32_t next;
    bool filtered;
    int64_t from;    /* the position of a filtered page ... */
    int64_t read_to; /* ... and what its answer tells */
};

struct fake_source {
    struct world *world;
    const struct plan *plan;
    struct database *db;
    struct relay *relay;
    struct scope scope;  /* its life ends with the sessions */
    uint64_t connection; /* rises with every open, close and loss */
    uint64_t holder;
    uint64_t routes; /* which ones this process has */
    uint32_t instance;
    bool opening;
    bool connected;
    bool lanes_opened; /* the lanes' session is opened with their first read */
    bool change_out;   /* one change at a time, of these two lanes, ... */
    uint32_t changing[2];
    bool store_out[2]; /* ... one store of main, one of all lanes, and one renewal */
    uint32_t stored_lane;
    bool renew_out;
    uint64_t free_us[SESSIONS];   /* the server takes the session's next statement then */
    uint64_t answer_us[SESSIONS]; /* the latest answer so far arrives then */
    struct reading readings[READERS];
    struct str payload;
    uint64_t lease_until_us; /* the relay may take itself for the leader until then */
    uint64_t idle_since_us;  /* the relay leads, and its window has been empty since then */
    bool rows_corrected;     /* an operator has mended the rows that were too large to fetch */
    bool heard_pause;        /* the last answer about the relay's row said that it is paused */
    int64_t greatest_id;     /* of DEFECT_READER_BY_ID */
};

extern const struct source_ops fake_source_ops;

void source_init(struct fake_source *s, struct world *w, const struct plan *plan,
                 struct database *db, const struct scope *process);
/* The process begins with a new identity, or ends: nothing is said to the server, which notices by
 * itself. */
void source_attach(struct fake_source *s, struct relay *relay, uint64_t holder, uint32_t instance);
void source_detach(struct fake_source *s);
void source_release(struct fake_source *s);
/* The sessions break. */
void source_break(struct fake_source *s, const char *why);
/* A writer has rung. */
void source_rung(struct fake_source *s);

#endif
