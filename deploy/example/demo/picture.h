/* The orders on their way, as they are: on a terminal one picture that is drawn again and again,
 * elsewhere a line every few seconds. What happens meanwhile is told in either. */
#ifndef OUTBOXD_EXAMPLE_PICTURE_H
#define OUTBOXD_EXAMPLE_PICTURE_H

#include "books.h"
#include "customers.h"
#include "shop.h"
#include "topics.h"

struct picture {
    const struct shop *shop;
    const struct topics *topics;
    const struct books *books;
    const struct customers *customers;
    uint64_t seed;
};

/* The picture's clock begins. What `p` points to must live until picture_end. */
void picture_start(const struct picture *p);
/* Draws it when it is time to. */
void picture_turn(void);
/* Draws it a last time and leaves it where it is; the cursor is as before. At exit, too. */
void picture_end(void);

/* One line of what happens. */
void picture_news(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
