#include "interrupt.h"

#include "say.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    interrupted = sig;
}

void interrupt_init(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction stop = {.sa_handler = on_signal};

    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        (void)sigaction(signals[i], &stop, NULL);
    /* A closed pipe (`make demo | head`) shows as an error of stdout. */
    (void)signal(SIGPIPE, SIG_IGN);
}

void interrupt_check(void)
{
    if (interrupted == 0 && !say_failed())
        return;
    (void)fputs("\ndemo: interrupted; nothing is left behind\n", stderr);
    exit(128 + (interrupted != 0 ? (int)interrupted : SIGPIPE));
}
