/* The lanes: what waits alone. */
#include "relay/internal.h"

#include <assert.h>

/* No lane of ours: it has merged meanwhile. */
void relay_on_asked(struct relay *r, const uint32_t *lanes, size_t count)
{
    relay_enter(r);
    (void)lanes;
    (void)count;
}

void relay_lanes(const struct relay *r, struct relay_lanes *out)
{
    (void)r;
    *out = (struct relay_lanes){0};
}

void relay_on_changed(struct relay *r, enum lease_answer answer)
{
    relay_enter(r);
    (void)answer;
    assert(false); /* none was asked for */
}
