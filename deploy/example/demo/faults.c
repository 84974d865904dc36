#include "faults.h"

#include "picture.h"

#include <signal.h>
#include <string.h>

#define AWAY_MIN_MS    300
#define AWAY_MAX_MS    2200
#define PAYMENT_MS     6000 /* payment and notification stay away for so long */
#define NOTIFY_MS      8000
#define ABSENCE_MAX_MS 40000 /* however few orders are taken */

/* ---- drawing ---- */

static void add(struct faults *f, enum fault_kind kind, int part)
{
    f->fault[f->count++] =
        (struct fault){.kind = kind,
                       .part = part,
                       .away_ms = chance_between(&f->chance, AWAY_MIN_MS, AWAY_MAX_MS)};
}

static void shuffle(struct faults *f)
{
    for (int i = f->count - 1; i > 0; i--) {
        const int k = (int)chance_below(&f->chance, (uint32_t)i + 1);
        const struct fault moved = f->fault[i];
        f->fault[i] = f->fault[k];
        f->fault[k] = moved;
    }
}

void faults_init(struct faults *f, uint64_t seed, uint32_t span_ms)
{
    memset(f, 0, sizeof *f);
    f->chance.state = seed ^ 0x6b696c6cU; /* other numbers than the customers' */
    for (int part = 0; part < PARTS; part++) {
        if (part == SERVICE_SALES)
            continue;
        add(f, FAULT_KILL, part);
        if (part != SERVICE_PAYMENT && part != SERVICE_NOTIFICATION)
            add(f, FAULT_STOP, part);
    }
    for (int i = 0; i < FAULTS_DUPLICATES; i++) {
        add(f, FAULT_DUPLICATES, -1);
        f->fault[f->count - 1].records = chance_between(&f->chance, 20, 60);
    }
    shuffle(f);
    /* Each has a part of the span to itself, and happens somewhere in it. */
    for (int i = 0; i < f->count; i++) {
        const uint32_t slot = span_ms / (uint32_t)f->count;
        f->fault[i].at_ms = slot * (uint32_t)i + chance_below(&f->chance, slot);
    }
    add(f, FAULT_LONG_STOP, SERVICE_PAYMENT);
    f->fault[f->count - 1].away_ms = PAYMENT_MS;
    f->fault[f->count - 1].at_ms = span_ms / 100 * chance_between(&f->chance, 15, 30);
    add(f, FAULT_LONG_STOP, SERVICE_NOTIFICATION);
    f->fault[f->count - 1].away_ms = NOTIFY_MS;
    f->fault[f->count - 1].at_ms = span_ms / 100 * chance_between(&f->chance, 25, 45);
    add(f, FAULT_JOIN, SERVICE_SALES);
    f->fault[f->count - 1].at_ms = span_ms / 100 * chance_between(&f->chance, 50, 60);
    for (int i = 0; i < ABSENCES; i++)
        f->absence[i].part = -1;
}

void faults_start(struct faults *f)
{
    f->start_ms = test_now_ms();
}

/* ---- doing ---- */

static void begin_absence(struct faults *f, const struct fault *fault, size_t taken)
{
    struct absence *a = &f->absence[f->absence[0].part >= 0];

    *a = (struct absence){
        .part = fault->part, .until_ms = test_now_ms() + fault->away_ms, .taken_before = taken};
}

static void act(struct faults *f, struct fault *fault, struct shop *shop, struct topics *topics,
                size_t taken)
{
    size_t sent;

    fault->done = true;
    switch (fault->kind) {
    case FAULT_KILL:
        shop_end_part(shop, fault->part, SIGKILL, fault->away_ms);
        picture_news("kill -9 %s, back in %.1f s", shop->part[fault->part].name,
                     fault->away_ms / 1000.0);
        return;
    case FAULT_STOP:
        shop_end_part(shop, fault->part, SIGTERM, fault->away_ms);
        picture_news("stop %s, back in %.1f s", shop->part[fault->part].name,
                     fault->away_ms / 1000.0);
        return;
    case FAULT_LONG_STOP:
        shop_end_part(shop, fault->part, SIGTERM, 0);
        begin_absence(f, fault, taken);
        picture_news("stop %s for %u s: orders are taken all the same",
                     shop->part[fault->part].name, fault->away_ms / 1000);
        return;
    case FAULT_DUPLICATES:
        sent = topics_inject(topics, fault->records, &f->chance);
        picture_news("%zu records of the topics come a second time", sent);
        return;
    case FAULT_JOIN:
        shop_start_part(shop, fault->part);
        picture_news("%s, a new consumer, begins with the first of the kept events",
                     shop->part[fault->part].name);
        return;
    }
}

/* Ends an absence when its time is over and enough orders were taken meanwhile. */
static void follow(struct absence *a, struct shop *shop, size_t taken, bool all_taken)
{
    const uint64_t now = test_now_ms();

    if (a->part < 0 || a->over)
        return;
    a->taken = taken - a->taken_before;
    if (now < a->until_ms ||
        (a->taken < ABSENCE_ORDERS && !all_taken && now < a->until_ms + ABSENCE_MAX_MS))
        return;
    a->over = true;
    shop->part[a->part].back_ms = now;
    picture_news("%s comes back; %zu orders were taken meanwhile", shop->part[a->part].name,
                 a->taken);
}

static bool can_act(const struct fault *fault, struct shop *shop, const struct topics *topics)
{
    if (fault->kind == FAULT_JOIN)
        return true;
    return fault->part < 0 ? topics->count > 0 : shop_part_runs(shop, fault->part);
}

bool faults_turn(struct faults *f, struct shop *shop, struct topics *topics,
                 const struct customers *customers)
{
    const uint64_t now_ms = test_now_ms() - f->start_ms;
    const size_t taken = atomic_load(&customers->taken);
    bool all_done = true;

    for (int i = 0; i < f->count; i++) {
        struct fault *fault = &f->fault[i];
        if (!fault->done && now_ms >= fault->at_ms && can_act(fault, shop, topics))
            act(f, fault, shop, topics, taken);
        all_done = all_done && fault->done;
    }
    for (int i = 0; i < ABSENCES; i++)
        follow(&f->absence[i], shop, taken, taken == customers->count);
    for (int i = 0; i < PARTS; i++)
        all_done = all_done && shop_part_runs(shop, i);
    return all_done;
}
