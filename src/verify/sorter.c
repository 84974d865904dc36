/* Runs (sorted stretches) of one memory full each lie behind each other in a file. FAN_IN of them
 * are merged into one run of the next level's file, and their file is emptied: so a merge never has
 * to read more than FAN_IN runs of a level, and the files hold each entry once or, for a moment,
 * twice. The memory of the entries serves as the merge's buffers. */
#include "verify/sorter.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAN_IN = 32, LEVELS = 6, FIRST_BYTES = 64 * 1024 };

struct run {
    int64_t at; /* bytes from the file's beginning */
    int64_t bytes;
};

struct level {
    int fd; /* -1: not used yet */
    int64_t end;
    int count;
    struct run runs[FAN_IN];
};

/* One run on its way through a merge. */
struct reader {
    int fd;
    int64_t at;
    int64_t left; /* in the file */
    unsigned char *buffer;
    size_t capacity;
    size_t filled;
    size_t next;
};

struct merge {
    struct reader readers[FAN_IN * LEVELS];
    struct reader *heap[FAN_IN * LEVELS]; /* the smallest entry first */
    int count;
    bool begun; /* the first of the heap was handed out and is to move on */
};

struct sorter {
    struct sorter_params params;
    unsigned char *memory;
    size_t capacity; /* of memory; grows up to params.memory_bytes */
    size_t used;
    size_t given; /* of what stayed in memory */
    int64_t count;
    int64_t spilled_bytes;
    bool merging;
    struct level levels[LEVELS];
    struct merge merge;
};

struct sorter *sorter_new(const struct sorter_params *params)
{
    struct sorter *s = xcalloc(1, sizeof *s);

    s->params = *params;
    if (s->params.memory_bytes < FAN_IN * LEVELS * params->entry_bytes) /* a merge of all runs */
        s->params.memory_bytes = FAN_IN * LEVELS * params->entry_bytes;
    s->params.memory_bytes -= s->params.memory_bytes % params->entry_bytes;
    for (int i = 0; i < LEVELS; i++)
        s->levels[i].fd = -1;
    return s;
}

void sorter_free(struct sorter *s)
{
    if (s == NULL)
        return;
    for (int i = 0; i < LEVELS; i++)
        if (s->levels[i].fd >= 0)
            (void)close(s->levels[i].fd);
    free(s->memory);
    free(s);
}

int64_t sorter_count(const struct sorter *s)
{
    return s->count;
}

int64_t sorter_spilled_bytes(const struct sorter *s)
{
    return s->spilled_bytes;
}

/* ---- files ----------------------------------------------------------------------------------- */

static int file_error(const struct sorter *s, const char *what, struct err *err)
{
    return err_set(err, ERR_SOFTWARE,
                   "cannot %s a temporary file in %s: %s; TMPDIR may name a folder with more room",
                   what, s->params.folder, strerror(errno));
}

/* A file that goes with its last descriptor, so that nothing is left behind, however we end. */
static int open_nameless(const struct sorter *s)
{
    int fd = open(s->params.folder, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
    struct str path = {0};

    if (fd >= 0)
        return fd;
    str_printf(&path, "%s/outboxd-XXXXXX", s->params.folder);
    fd = mkostemp(path.data, O_CLOEXEC);
    if (fd >= 0)
        (void)unlink(path.data);
    str_release(&path);
    return fd;
}

static int write_at(struct sorter *s, struct level *l, const unsigned char *data, size_t bytes,
                    struct err *err)
{
    if (l->fd < 0)
        l->fd = open_nameless(s);
    if (l->fd < 0)
        return file_error(s, "make", err);
    while (bytes > 0) {
        ssize_t n = pwrite(l->fd, data, bytes, l->end);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return file_error(s, "write", err);
        data += n;
        bytes -= (size_t)n;
        l->end += n;
        s->spilled_bytes += n;
    }
    return 0;
}

static int refill(const struct sorter *s, struct reader *r, struct err *err)
{
    size_t want = (int64_t)r->capacity < r->left ? r->capacity : (size_t)r->left;

    r->filled = 0;
    r->next = 0;
    while (r->filled < want) {
        ssize_t n = pread(r->fd, r->buffer + r->filled, want - r->filled, r->at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = EIO; /* shorter than what was written */
        if (n <= 0)
            return file_error(s, "read", err);
        r->filled += (size_t)n;
        r->at += n;
        r->left -= n;
    }
    return 0;
}

/* ---- merging --------------------------------------------------------------------------------- */

static bool is_before(const struct sorter *s, const struct reader *a, const struct reader *b)
{
    return memcmp(a->buffer + a->next, b->buffer + b->next, s->params.entry_bytes) < 0;
}

static void sift_down(struct sorter *s, int at)
{
    struct reader **heap = s->merge.heap;

    for (;;) {
        int child = 2 * at + 1;
        struct reader *moved = heap[at];

        if (child >= s->merge.count)
            return;
        if (child + 1 < s->merge.count && is_before(s, heap[child + 1], heap[child]))
            child++;
        if (!is_before(s, heap[child], moved))
            return;
        heap[at] = heap[child];
        heap[child] = moved;
        at = child;
    }
}

/* Begins to read the runs of the levels first to last at once, each with an equal share of
 * `memory`. */
static int merge_begin(struct sorter *s, int first, int last, size_t memory, struct err *err)
{
    size_t share;
    int runs = 0;

    for (int l = first; l <= last; l++)
        runs += s->levels[l].count;
    share = memory / (size_t)(runs > 0 ? runs : 1);
    share -= share % s->params.entry_bytes;
    s->merge.count = 0;
    s->merge.begun = false;
    for (int l = first; l <= last; l++)
        for (int i = 0; i < s->levels[l].count; i++) {
            struct reader *r = &s->merge.readers[s->merge.count];

            *r = (struct reader){.fd = s->levels[l].fd,
                                 .at = s->levels[l].runs[i].at,
                                 .left = s->levels[l].runs[i].bytes,
                                 .buffer = s->memory + share * (size_t)s->merge.count,
                                 .capacity = share};
            s->merge.heap[s->merge.count++] = r;
            if (refill(s, r, err) != 0)
                return -1;
        }
    for (int at = s->merge.count / 2 - 1; at >= 0; at--)
        sift_down(s, at);
    return 0;
}

/* Moves the first reader on; drops it when its run is at its end. */
static int advance(struct sorter *s, struct err *err)
{
    struct reader *r = s->merge.heap[0];

    r->next += s->params.entry_bytes;
    if (r->next == r->filled && r->left > 0 && refill(s, r, err) != 0)
        return -1;
    if (r->next == r->filled)
        s->merge.heap[0] = s->merge.heap[--s->merge.count];
    if (s->merge.count > 0)
        sift_down(s, 0);
    return 0;
}

static int merge_next(struct sorter *s, const unsigned char **entry, struct err *err)
{
    if (s->merge.begun && advance(s, err) != 0)
        return -1;
    s->merge.begun = true;
    if (s->merge.count == 0)
        return 0;
    *entry = s->merge.heap[0]->buffer + s->merge.heap[0]->next;
    return 1;
}

/* The runs of a full level become one of the next. */
static int merge_level(struct sorter *s, int level, struct err *err)
{
    struct level *from = &s->levels[level];
    struct level *to = &s->levels[level + 1];
    size_t share = s->params.memory_bytes / (FAN_IN + 1);
    unsigned char *out = s->memory + share * FAN_IN;
    size_t out_bytes = 0;
    int64_t at = to->end;
    const unsigned char *entry;
    int rc = merge_begin(s, level, level, share * FAN_IN, err);

    while (rc == 0 && (rc = merge_next(s, &entry, err)) == 1) {
        memcpy(out + out_bytes, entry, s->params.entry_bytes);
        out_bytes += s->params.entry_bytes;
        rc = 0;
        if (out_bytes + s->params.entry_bytes > share) {
            rc = write_at(s, to, out, out_bytes, err);
            out_bytes = 0;
        }
    }
    if (rc != 0 || write_at(s, to, out, out_bytes, err) != 0)
        return -1;
    to->runs[to->count++] = (struct run){.at = at, .bytes = to->end - at};
    from->count = 0;
    from->end = 0;
    return ftruncate(from->fd, 0) == 0 ? 0 : file_error(s, "empty", err);
}

/* ---- entries --------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b, void *entry_bytes)
{
    return memcmp(a, b, *(const size_t *)entry_bytes);
}

static void sort_memory(struct sorter *s)
{
    if (s->used > 0)
        qsort_r(s->memory, s->used / s->params.entry_bytes, s->params.entry_bytes, compare,
                &s->params.entry_bytes);
}

static int spill(struct sorter *s, struct err *err)
{
    struct level *l = &s->levels[0];
    int64_t at = l->end;

    sort_memory(s);
    if (write_at(s, l, s->memory, s->used, err) != 0)
        return -1;
    l->runs[l->count++] = (struct run){.at = at, .bytes = l->end - at};
    s->used = 0;
    for (int i = 0; i < LEVELS - 1 && s->levels[i].count == FAN_IN; i++)
        if (merge_level(s, i, err) != 0)
            return -1;
    if (s->levels[LEVELS - 1].count == FAN_IN)
        return err_set(err, ERR_SOFTWARE, "too many entries to sort");
    return 0;
}

static void grow(struct sorter *s)
{
    size_t wanted = s->capacity == 0 ? FIRST_BYTES : s->capacity * 2;

    if (wanted < s->params.entry_bytes)
        wanted = s->params.entry_bytes;
    if (wanted > s->params.memory_bytes)
        wanted = s->params.memory_bytes;
    s->memory = xrealloc(s->memory, wanted);
    s->capacity = wanted;
}

int sorter_put(struct sorter *s, const void *entry, struct err *err)
{
    if (s->used + s->params.entry_bytes > s->capacity) {
        if (s->capacity < s->params.memory_bytes)
            grow(s);
        else if (spill(s, err) != 0)
            return -1;
    }
    memcpy(s->memory + s->used, entry, s->params.entry_bytes);
    s->used += s->params.entry_bytes;
    s->count++;
    return 0;
}

int sorter_finish(struct sorter *s, struct err *err)
{
    s->merging = s->spilled_bytes > 0;
    if (!s->merging) {
        sort_memory(s);
        return 0;
    }
    if (s->used > 0 && spill(s, err) != 0)
        return -1;
    return merge_begin(s, 0, LEVELS - 1, s->params.memory_bytes, err);
}

int sorter_next(struct sorter *s, const unsigned char **entry, struct err *err)
{
    if (s->merging)
        return merge_next(s, entry, err);
    if (s->given == s->used)
        return 0;
    *entry = s->memory + s->given;
    s->given += s->params.entry_bytes;
    return 1;
}
