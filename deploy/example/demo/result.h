/* The end of the demo: what had to become of every order against what the services have written,
 * and what the topics hold. */
#ifndef OUTBOXD_EXAMPLE_RESULT_H
#define OUTBOXD_EXAMPLE_RESULT_H

#include "books.h"
#include "customers.h"
#include "faults.h"
#include "topics.h"

struct result_params {
    const struct shop *shop;
    const struct customers *customers;
    const struct faults *faults;
    const struct topics *topics;
    const struct books *books;
};

/* Prints the table; true when all of it adds up. */
bool result_tell(const struct result_params *p);

#endif
