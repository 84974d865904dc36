/* A broken state of the whole program, seen from outside: what `outboxd status` says (text and
 * JSON), /readyz, /metrics, /status and the log, held against the one table of problems
 * (base/problem.h), and against each other. */
#ifndef OUTBOXD_TESTS_STATE_H
#define OUTBOXD_TESTS_STATE_H

#include "base/problem.h"
#include "outboxd.h"

struct state {
    struct outboxd relay;
    int port; /* of http.listen */
};

/* Relay `orders` of instance `test`, with endpoints on a free port. `kafka`: what stands in its
 * section, as in "brokers: \"...\""; relay_extra as in outboxd_configure; `extra`: NULL or further
 * YAML. What is refused for good halts it. */
void state_configure(struct state *s, const char *url, const char *kafka, const char *relay_extra,
                     const char *extra);
/* Starts it, and waits until it is ready. */
void state_start(struct state *s);

/* ---- what must be seen: each waits for it, then looks everywhere, and fails the test ---- */

/* Nothing is wrong: /readyz is 200, no metric, status or JSON names a problem. */
void state_is_well(struct state *s);

/* Not ready, for that reason. `text` is the particular that must stand beside it (which topic,
 * which event ...) in the log, /readyz, /status and `outboxd status`. One line of the log tells of
 * it. */
void state_tells(struct state *s, enum problem p, const char *text);

/* ... and it is that event's fault. */
void state_names_event(struct state *s, const char *event_id);

/* The database cannot be asked: as state_tells, but `outboxd status` ends with that code and tells
 * the problem as its error. */
void state_tells_without_database(struct state *s, enum problem p, const char *text, int code);

/* It is ready all the same; `outboxd status` and one line of the log warn. `metric` is one that
 * shows it, with its labels, and must be above zero. */
void state_warns(struct state *s, enum problem p, const char *text, const char *metric);

/* `run` has ended or ends now, with that code; its last line and `outboxd status` tell why. */
void state_ends(struct state *s, enum problem p, const char *text, int code);

void state_warns_no_more(struct state *s, enum problem p);

/* Its log tells of it, once, with the advice; where no endpoint can. */
void state_logs(struct state *s, enum problem p, const char *text);

/* Not ready because an operator paused it; the reason is in `outboxd status`. */
void state_tells_of_pause(struct state *s, const char *reason);

/* The process is dead: nobody answers, and `outboxd status` names the problem. */
void state_is_gone(struct state *s, enum problem p);

/* After a repair: state_is_well, the process has not ended, and one line of its log tells that the
 * trouble is over. PROBLEM_NONE: the repair takes so long that the trouble may have another name at
 * its end. */
void state_is_mended(struct state *s, enum problem p);

/* ---- pieces ---- */

/* The metric of that name and labels, as written; NAN: there is none. */
double state_metric(const struct state *s, const char *name);
/* The code of /readyz; 0: nobody listens. */
int state_ready_code(const struct state *s);

#endif
