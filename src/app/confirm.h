/* The question before something is lost or repeated. */
#ifndef OUTBOXD_APP_CONFIRM_H
#define OUTBOXD_APP_CONFIRM_H

#include <stdbool.h>

/* Asks on the terminal; anything but yes is no, and so is a stdin that is no terminal. */
bool confirmed(void);

#endif
