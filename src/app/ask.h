/* One question to a running outboxd: GET over its http.listen, with a deadline. Blocks; for
 * commands, never for the loop. */
#ifndef OUTBOXD_APP_ASK_H
#define OUTBOXD_APP_ASK_H

#include "base/address.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct ask_answer {
    int status;      /* 200, 503 ... */
    struct str head; /* status line and header lines */
    struct str body;
};

/* Where a process with this http.listen can be asked. -1 with kind ERR_CONFIG when it is empty or
 * no address. */
NODISCARD int ask_address(const char *http_listen, struct address *out, struct err *err);

/* Asks `address` (address_to_ask it first) for `path`. Returns 0 with any HTTP answer; -1 with kind
 * ERR_UNAVAILABLE when nobody listens, nothing whole comes within timeout_ms, or what comes is not
 * HTTP. Release `out` in any case; it may be used again. */
NODISCARD int ask_http(const struct address *address, const char *path, uint32_t timeout_ms,
                       struct ask_answer *out, struct err *err);
void ask_answer_release(struct ask_answer *out);

/* Whether a line of the head is "name: value", the name in any case. */
bool ask_head_has(const struct ask_answer *a, const char *name, const char *value);

#endif
