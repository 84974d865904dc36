/* Plain text as a manual page. */
#ifndef OUTBOXD_DEPLOY_DOCS_ROFF_H
#define OUTBOXD_DEPLOY_DOCS_ROFF_H

#include "base/str.h"

/* Text within a line: what roff would take for its own is escaped, `words` become bold. */
void roff_line(struct str *out, struct slice text);
void roff_bold(struct str *out, const char *text);

/* Paragraphs. A blank line begins the next one by the macro `paragraph` (".PP", or ".IP" within an
 * item); lines indented by two blanks stand as they are; "- " begins an item of a list. */
void roff_text(struct str *out, struct slice text, const char *paragraph);

#endif
