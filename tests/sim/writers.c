#include "writers.h"

#include <string.h>

static void begin(void *self, void *arg);

static void later(struct writer *wr, uint64_t delay_us, step_fn fn)
{
    struct world *w = wr->all->world;
    world_at(w, w->now_us + delay_us, &wr->all->scope, fn, wr, NULL);
}

/* A number that only depends on the event, so that its bytes can be checked in the topic. */
uint32_t writers_payload_bytes(const struct plan *plan, uint32_t fact)
{
    uint32_t mixed = (fact + (uint32_t)plan->seed) * 2654435761U;
    return mixed % 16 == 0 ? 200 + (mixed >> 8) % 3000 : 20 + (mixed >> 8) % 100;
}

static void unlock(struct writer *wr)
{
    struct writers *ws = wr->all;
    for (uint32_t i = 0; i < wr->locked; i++)
        ws->owner[wr->keys[i]] = NULL;
    if (wr->shared)
        ws->db->bell_shared--;
    ws->open--;
    wr->active = false;
    uint64_t pause_us = world_delay(ws->world, MS(ws->plan->pause_ms));
    if (ws->plan->sparse)
        pause_us = wr->turn % 2 == 0 ? world_between(ws->world, MS(28), MS(40)) : MS(600);
    later(wr, pause_us, begin);
}

/* The newest version is what the database says now. */
static void reread(struct writers *ws, uint32_t key)
{
    ws->version[key] = 0;
    for (uint32_t i = 0; i < ws->oracle->count; i++) {
        const struct fact *f = &ws->oracle->facts[i];
        if (f->key == key && (f->fate == FATE_COMMITTED || f->fate == FATE_OPEN) &&
            f->version > ws->version[key])
            ws->version[key] = f->version;
    }
}

static void finish(void *self, void *arg)
{
    (void)arg;
    struct writer *wr = self;
    struct writers *ws = wr->all;
    struct world *w = ws->world;
    if (wr->xid != 0 && world_chance(w, 150)) {
        database_rollback(ws->db, wr->xid);
        for (uint32_t i = 0; i < wr->locked; i++)
            reread(ws, wr->keys[i]);
    } else if (wr->xid != 0) {
        database_commit(ws->db, wr->xid, !wr->asynchronous);
        w->sights[SIGHT_RUNG] += wr->rings;
        if (wr->rings && ws->db->rung_us == 0)
            ws->db->rung_us = w->now_us;
        if (wr->rings && ws->plan->defect != DEFECT_DEAF)
            ws->db->ring(ws->db->ring_ctx);
    }
    unlock(wr);
}

static void spoil(struct writers *ws, struct fact *f)
{
    f->poison = world_chance(ws->world, ws->plan->poison_permille) || ws->poisoned[f->key];
    f->odd = ws->odd[f->key] && world_chance(ws->world, 100);
    f->poison |= f->odd;
    if (f->poison && ws->wrote_poison != NULL)
        ws->wrote_poison(ws->ctx, f->key);
}

static void write_one(struct writer *wr)
{
    struct writers *ws = wr->all;
    struct world *w = ws->world;
    uint32_t key = wr->keys[world_random(w) % wr->locked];
    uint32_t fact = oracle_wrote(ws->oracle, key, ++ws->version[key]);
    spoil(ws, &ws->oracle->facts[fact]);
    if (wr->xid == 0)
        wr->xid = database_begin(ws->db);
    database_insert(ws->db, wr->xid, fact, writers_payload_bytes(ws->plan, fact));
    if (world_chance(w, 30)) {
        database_kill_last_row(ws->db, wr->xid);
        ws->version[key]--;
    }
    if (ws->plan->params.wakeup != WAKEUP_DOORBELL || wr->shared)
        return;
    if (ws->db->bell_owner != NULL) {
        if (ws->plan->scenario == SCENARIO_FAULTLESS && ws->db->rung_us != 0 &&
            w->now_us - ws->db->rung_us > MS(100))
            world_fail(w, "the bell has rung long ago, and is still armed");
        wr->rings = true;
    } else {
        wr->shared = true;
        ws->db->bell_shared++;
    }
}

static void work(void *self, void *arg)
{
    (void)arg;
    struct writer *wr = self;
    struct writers *ws = wr->all;
    struct world *w = ws->world;
    if (wr->locked < wr->key_count && (wr->locked == 0 || world_chance(w, 500))) {
        uint32_t key = wr->keys[wr->locked];
        if (ws->owner[key] != NULL) {
            later(wr, world_delay(w, MS(3)), work);
            return;
        }
        ws->owner[key] = wr;
        wr->locked++;
    }
    if (wr->left == 0) {
        later(wr, wr->hold_us, finish);
        return;
    }
    wr->left--;
    write_one(wr);
    later(wr, world_chance(w, 100) ? world_delay(w, MS(20)) : world_delay(w, 200), work);
}

/* Most transactions are short; some take an xid early, some stay open, some write many events. */
static void begin(void *self, void *arg)
{
    (void)arg;
    struct writer *wr = self;
    struct writers *ws = wr->all;
    struct world *w = ws->world;
    if (ws->left == 0 || w->now_us >= ws->until_us)
        return;
    if (!ws->db->up) {
        later(wr, MS(50), begin);
        return;
    }
    if (w->now_us >= ws->quiet_from_us && w->now_us < ws->quiet_until_us) {
        later(wr, ws->quiet_until_us - w->now_us + world_delay(w, MS(20)), begin);
        return;
    }
    ws->left--;
    ws->open++;
    bool is_long = ws->plan->long_writer && wr->number == 0;
    *wr = (struct writer){.all = ws, .number = wr->number, .turn = wr->turn + 1, .active = true};
    wr->key_count = (uint32_t)world_between(w, 1, WRITER_KEYS);
    uint32_t key = (uint32_t)(world_random(w) % ws->plan->keys);
    for (uint32_t i = 0; i < wr->key_count; i++) {
        wr->keys[i] = key;
        key += (uint32_t)world_between(w, 1, 4);
        if (key >= ws->plan->keys)
            wr->key_count = i + 1;
    }
    wr->left = world_chance(w, 30) ? (uint32_t)world_between(w, 40, 160)
                                   : (uint32_t)world_between(w, 1, 5);
    wr->hold_us = world_chance(w, 50) ? world_delay(w, MS(600)) : world_delay(w, MS(2));
    if (ws->plan->bulk && wr->number == ws->plan->writers - 1) {
        wr->left = (uint32_t)world_between(w, 600, 900);
        ws->left = ws->left > 10 ? ws->left - 10 : 0;
    }
    if (is_long)
        wr->hold_us = ws->until_us > w->now_us ? (ws->until_us - w->now_us) * 3 / 4 : 0;
    if (ws->plan->sparse) {
        wr->left = 1;
        wr->key_count = 1;
        wr->hold_us = 50;
    }
    wr->asynchronous = ws->plan->async_commits && world_chance(w, 300);
    if (world_chance(w, 300))
        wr->xid = database_begin(ws->db);
    later(wr, world_chance(w, 100) ? world_delay(w, MS(30)) : 0, work);
}

void writers_start(struct writers *ws, struct world *w, const struct plan *plan,
                   struct database *db, struct oracle *oracle)
{
    memset(ws, 0, sizeof *ws);
    ws->world = w;
    ws->plan = plan;
    ws->db = db;
    ws->oracle = oracle;
    ws->left = plan->transactions;
    ws->until_us = w->now_us + plan->active_us + plan->quiet_us;
    ws->quiet_from_us = w->now_us + plan->active_us / 2;
    ws->quiet_until_us = ws->quiet_from_us + plan->quiet_us;
    for (uint32_t i = 0; i < plan->writers; i++) {
        ws->writers[i] = (struct writer){.all = ws, .number = i};
        later(&ws->writers[i], world_delay(w, MS(20)), begin);
    }
}

void writers_interrupted(struct writers *ws)
{
    ws->scope.life++;
    for (uint32_t key = 0; key < MAX_KEYS; key++) {
        ws->owner[key] = NULL;
        reread(ws, key);
    }
    ws->open = 0;
    for (uint32_t i = 0; i < ws->plan->writers; i++) {
        ws->writers[i].active = false;
        later(&ws->writers[i], world_delay(ws->world, MS(100)), begin);
    }
}

bool writers_done(const struct writers *ws)
{
    return ws->open == 0 && (ws->left == 0 || ws->world->now_us >= ws->until_us);
}
