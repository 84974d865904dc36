/* One question to an HTTP server on loopback, and its answer. */
#ifndef OUTBOXD_TESTS_HTTP_H
#define OUTBOXD_TESTS_HTTP_H

struct http_answer {
    int code;   /* 0: nobody answers there */
    char *head; /* both NULL then, else good until http_answer_release */
    char *body;
};

/* GET, with a connection of its own that the server closes; waits at most timeout_ms for all of the
 * answer. */
struct http_answer http_get(int port, const char *path, int timeout_ms);
void http_answer_release(struct http_answer *a);

#endif
