/* One writer of the load: a thread with a session of its own. */
#ifndef OUTBOXD_TESTS_LOAD_WRITER_H
#define OUTBOXD_TESTS_LOAD_WRITER_H

#include "load.h"

#include <pthread.h>
#include <stdatomic.h>

struct load {
    struct load_params params;
    uint64_t salt;   /* makes the event ids of each load its own */
    uint64_t end_ms; /* 0: no bound */
    atomic_bool stop;
    atomic_llong committed;
    atomic_int running;
    bool joined;
    int writer_count;
    struct load_writer *writers;
};

struct load_writer {
    struct load *load;
    int number;
    bool is_long; /* the one whose transaction stays open */
    pthread_t thread;
    PGconn *conn;
    uint64_t random;
    uint64_t next_id;
    struct load_entry *log;
    size_t log_count, log_cap;
    int64_t transactions, reconnects;
    char error[512]; /* what it did not expect; "" if all is well */
};

void *load_writer_run(void *writer);

#endif
