#include "outbox/lane_views.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum column {
    LANE_ID,
    LANE_FILTER,
    LANE_TOPIC,
    LANE_KEY,
    LANE_PARTITION,
    LANE_PARTITIONS,
    LANE_BASE,
    LANE_TARGET,
    LANE_LAST_ID,
    LANE_ASKED,
    LANE_CAUSE,
    LANE_ERROR,
    LANE_EVENT_ID,
    LANE_ROW_ID,
    LANE_ATTEMPTS,
    LANE_NEXT_TRY_MS,
};

static const char *text_of(const PGresult *rows, int row, enum column column)
{
    return PQgetvalue(rows, row, (int)column); /* "" for NULL */
}

static int64_t number_of(const PGresult *rows, int row, enum column column)
{
    return strtoll(text_of(rows, row, column), NULL, 10);
}

static struct slice field_of(const PGresult *rows, int row, enum column column)
{
    return (struct slice){text_of(rows, row, column), (size_t)PQgetlength(rows, row, (int)column)};
}

static void take_trouble(const PGresult *rows, int row, struct lane_view *v)
{
    struct trouble *t = &v->trouble;

    (void)snprintf(t->cause, sizeof t->cause, "%s", text_of(rows, row, LANE_CAUSE));
    (void)snprintf(t->text, sizeof t->text, "%s", text_of(rows, row, LANE_ERROR));
    (void)snprintf(t->event_id, sizeof t->event_id, "%s", text_of(rows, row, LANE_EVENT_ID));
    (void)snprintf(t->topic, sizeof t->topic, "%s", text_of(rows, row, LANE_TOPIC));
    t->row_id = number_of(rows, row, LANE_ROW_ID);
    t->attempts = (uint32_t)number_of(rows, row, LANE_ATTEMPTS);
    t->next_try_ms = (uint32_t)number_of(rows, row, LANE_NEXT_TRY_MS);
    t->lane = v->id;
    t->lane_by = v->filter.by;
}

int lane_views_take(struct lane_views *v, PGresult *rows, struct err *err)
{
    int count = PQntuples(rows);

    lane_views_release(v);
    v->rows = rows;
    v->lane = xcalloc((size_t)count + 1, sizeof *v->lane);
    for (int row = 0; row < count; row++) {
        struct lane_view *lane = &v->lane[v->count++];

        lane->id = (uint32_t)number_of(rows, row, LANE_ID);
        if (!lane_by_parse(text_of(rows, row, LANE_FILTER), &lane->filter.by))
            return err_problem(err, ERR_SOFTWARE, PROBLEM_INTERNAL_ERROR,
                               "lane %u has the unknown filter \"%.40s\"", lane->id,
                               text_of(rows, row, LANE_FILTER));
        lane->filter.topic = field_of(rows, row, LANE_TOPIC);
        lane->filter.key = field_of(rows, row, LANE_KEY);
        lane->filter.partition = (int32_t)number_of(rows, row, LANE_PARTITION);
        lane->filter.partitions = (int32_t)number_of(rows, row, LANE_PARTITIONS);
        str_set(&lane->position.base, text_of(rows, row, LANE_BASE));
        str_set(&lane->position.target, text_of(rows, row, LANE_TARGET));
        lane->position.last_id = number_of(rows, row, LANE_LAST_ID);
        lane->asked = text_of(rows, row, LANE_ASKED)[0] == 't';
        take_trouble(rows, row, lane);
    }
    return 0;
}

void lane_views_release(struct lane_views *v)
{
    for (uint32_t i = 0; i < v->count; i++) {
        str_release(&v->lane[i].position.base);
        str_release(&v->lane[i].position.target);
    }
    free(v->lane);
    PQclear(v->rows);
    *v = (struct lane_views){0};
}
