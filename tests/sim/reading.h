/* How the fake server answers poll, probe and page, and how the rows reach the relay one by one. */
#ifndef OUTBOXD_SIM_READING_H
#define OUTBOXD_SIM_READING_H

#include "source.h"

struct reading_limits {
    uint32_t max_rows;
    size_t max_bytes;
    bool many_new;
    int64_t new_from;
    const struct lane_row *filter; /* of a lane's page; NULL: all rows */
    uint32_t scan_rows;
};

void reading_poll(struct fake_source *s, const char *base, const struct reading_limits *limits);
void reading_page(struct reading *r, const struct place *at, const struct reading_limits *limits);
/* Returns many_new. */
bool reading_probe(struct fake_source *s, const struct place *at, uint32_t few_rows,
                   int64_t *min_new_id);
/* A step of the reading: the answer arrives, or goes on after a pause. */
void reading_deliver(void *self, void *arg);
void reading_resume(struct reading *r, bool drop);

#endif
