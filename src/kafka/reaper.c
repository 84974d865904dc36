/* One short-lived thread per discarded producer: it frees the client and sets a flag. The loop's
 * thread joins it when it next has something to discard, or at the end. Nothing else is shared.
 * What finds no thread free waits in a list: it sends nothing any more, and costs memory only. */
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
    r->waiting = NULL;
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

static void bury(struct reaper *r, struct client *c)
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

int reaper_room(struct reaper *r)
{
    int room = REAPER_GRAVES - collect(r);
    for (; r->waiting && room > 0; room--) {
        struct client *c = r->waiting;
        r->waiting = c->next;
        bury(r, c);
    }
    for (const struct client *c = r->waiting; c; c = c->next)
        room--;
    return room;
}

void reaper_take(struct reaper *r, struct client *c)
{
    c->next = r->waiting;
    r->waiting = c;
    (void)reaper_room(r);
}

bool reaper_finish(struct reaper *r, uint32_t wait_ms)
{
    const struct timespec one_ms = {.tv_nsec = 1000000};
    for (uint32_t ms = 0; reaper_room(r) < REAPER_GRAVES; ms++) {
        if (ms >= wait_ms)
            return false;
        nanosleep(&one_ms, NULL);
    }
    return true;
}
