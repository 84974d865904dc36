/* One short-lived thread per discarded producer: it frees the client and sets a flag. The loop's
 * thread joins it when it next has something to discard, or at the end. Nothing else is shared. */
#include "kafka/reaper.h"

#include <assert.h>
#include <signal.h>
#include <time.h>

void reaper_init(struct reaper *r)
{
    for (int i = 0; i < REAPER_GRAVES; i++) {
        r->graves[i].used = false;
        r->graves[i].client = NULL;
        atomic_init(&r->graves[i].done, false);
    }
}

static void *dig(void *arg)
{
    struct grave *g = arg;
    client_free(g->client);
    atomic_store(&g->done, true);
    return NULL;
}

/* Returns how many are still ending. */
static int collect(struct reaper *r)
{
    int ending = 0;
    for (int i = 0; i < REAPER_GRAVES; i++) {
        struct grave *g = &r->graves[i];
        if (!g->used)
            continue;
        if (!atomic_load(&g->done)) {
            ending++;
            continue;
        }
        pthread_join(g->thread, NULL);
        g->used = false;
    }
    return ending;
}

int reaper_room(struct reaper *r)
{
    return REAPER_GRAVES - collect(r);
}

void reaper_take(struct reaper *r, struct client *c)
{
    int i = 0;
    while (i < REAPER_GRAVES && r->graves[i].used)
        i++;
    assert(i < REAPER_GRAVES);
    struct grave *g = &r->graves[i];
    g->client = c;
    atomic_store(&g->done, false);

    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    g->used = pthread_create(&g->thread, NULL, dig, g) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!g->used)
        client_free(c);
}

bool reaper_finish(struct reaper *r, uint32_t wait_ms)
{
    const struct timespec one_ms = {.tv_nsec = 1000000};
    for (uint32_t ms = 0; collect(r) > 0; ms++) {
        if (ms >= wait_ms)
            return false;
        nanosleep(&one_ms, NULL);
    }
    return true;
}
