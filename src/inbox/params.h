/* A consumer's parameters: checked, completed with the defaults, copied. */
#ifndef OUTBOXD_INBOX_PARAMS_H
#define OUTBOXD_INBOX_PARAMS_H

#include "base/err.h"
#include "base/str.h"
#include "inbox.h"

/* Fills `p` with what was given and the defaults; pointers are borrowed. -1: `e` names the member.
 */
NODISCARD int params_take(struct inbox_params *p, const struct inbox_params *given,
                          struct inbox_error *e);

/* Replaces what the consumer needs later by copies. Brokers and properties are not needed later. */
void params_own(struct inbox_params *p);
void params_disown(struct inbox_params *p); /* frees the copies */

#endif
