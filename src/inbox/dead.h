/* The dead-letter producer: original bytes with the story in headers, and an ack that is waited for
 * without blocking anybody. Made when it is first needed; thrown away and made anew after an error,
 * like the relay's. */
#ifndef OUTBOXD_INBOX_DEAD_H
#define OUTBOXD_INBOX_DEAD_H

#include "inbox/event.h"
#include "inbox/say.h"

struct dead;
struct dead_letter;

enum letter_state { LETTER_SENDING, LETTER_ACKED, LETTER_FAILED };

/* Checks the configuration and connects to nobody yet. `wake_fd` (an eventfd) is written to when a
 * report is in. `params` is used only here, `say` is borrowed. NULL: `e` says why. */
NODISCARD struct dead *dead_new(const struct inbox_params *params, int wake_fd, struct say *say,
                                struct inbox_error *e);
void dead_free(struct dead *d); /* whatever is unacknowledged is dropped; NULL is harmless */

/* Sends the event's record; event->error and event->attempt tell the story. NULL: not now, `e` says
 * why. */
NODISCARD struct dead_letter *dead_send(struct dead *d, const struct inbox_event *event,
                                        const char *topic, struct inbox_error *e);

/* For LETTER_FAILED `why` is the reason, good until the letter is dropped. */
enum letter_state dead_letter_state(const struct dead_letter *letter, const char **why);

/* Forgets it. One that is still under way may arrive nevertheless. */
void dead_letter_drop(struct dead_letter *letter);

void dead_poll(struct dead *d); /* takes the reports that are in */

/* Asks why the topic does not acknowledge; up to half a second. The answer also makes librdkafka
 * notice a topic that has come into being. */
void dead_explain(struct dead *d, const char *topic, char *text, size_t size);

#endif
