#include "customers.h"

#include "../../../tests/support/loopback.h"
#include "../../../tests/support/tmp.h"
#include "../../demo/say.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 3000 /* for one answer */
#define RETRY_MS    60   /* until the next attempt */
#define OUT_OF_100  12   /* orders of something sold out; as many have a refused card */
#define LINES_MAX   3
#define ANSWER_SIZE 4096

const struct product products[PRODUCTS] = {
#define PRODUCT_(id, price) {id, price},
    PRODUCTS_(PRODUCT_)
#undef PRODUCT_
};

/* ---- what they order ---- */

static void draw(struct purchase *p, struct chance *chance)
{
    const uint32_t lot = chance_below(chance, 100);
    const int lines = (int)chance_between(chance, 1, LINES_MAX);
    unsigned number = chance_between(chance, 1, 99);

    p->fate = lot < OUT_OF_100       ? FATE_OUT_OF_STOCK
              : lot < 2 * OUT_OF_100 ? FATE_CARD_DECLINED
                                     : FATE_SHIPPED;
    for (int i = 0; i < lines; i++)
        p->quantity[chance_below(chance, PRODUCT_SOLD_OUT)] += chance_between(chance, 1, 4);
    if (p->fate == FATE_OUT_OF_STOCK)
        p->quantity[PRODUCT_SOLD_OUT] = 1; /* beside what is there: all or nothing */
    if (p->fate == FATE_CARD_DECLINED)
        number = number / 10 * 10 + 7;
    else if (p->fate == FATE_SHIPPED && number % 10 == 7)
        number++;
    (void)snprintf(p->customer, sizeof p->customer, "customer-%u", number);
    for (int i = 0; i < PRODUCTS; i++)
        p->total += p->quantity[i] * products[i].unit_price;
}

void customers_init(struct customers *c, size_t count, uint32_t span_ms, uint64_t seed)
{
    struct chance chance = {.state = seed};

    memset(c, 0, sizeof *c);
    c->seed = seed;
    c->count = count;
    c->purchases = xcalloc(count, sizeof *c->purchases);
    for (size_t i = 0; i < count; i++) {
        draw(&c->purchases[i], &chance);
        c->purchases[i].due_ms = (uint32_t)((i + 1) * span_ms / count);
    }
}

size_t customers_count(const struct customers *c, enum fate fate)
{
    size_t sum = 0;

    for (size_t i = 0; i < c->count; i++)
        sum += c->purchases[i].fate == fate;
    return sum;
}

long customers_units(const struct customers *c, enum fate fate, int product)
{
    long sum = 0;

    for (size_t i = 0; i < c->count; i++)
        if (c->purchases[i].fate == fate)
            sum += c->purchases[i].quantity[product];
    return sum;
}

long customers_money(const struct customers *c, enum fate fate)
{
    long sum = 0;

    for (size_t i = 0; i < c->count; i++)
        if (c->purchases[i].fate == fate)
            sum += c->purchases[i].total;
    return sum;
}

/* ---- one request ---- */

static void write_request(struct str *out, const struct customers *c, size_t number)
{
    const struct purchase *p = &c->purchases[number];
    struct str body = {0};
    const char *comma = "";

    str_printf(&body, "{\"customerId\":\"%s\",\"items\":[", p->customer);
    for (int i = 0; i < PRODUCTS; i++) {
        if (p->quantity[i] == 0)
            continue;
        str_printf(&body, "%s{\"productId\":\"%s\",\"quantity\":%ld,\"unitPrice\":%ld}", comma,
                   products[i].id, p->quantity[i], products[i].unit_price);
        comma = ",";
    }
    str_puts(&body, "]}");
    str_reset(out);
    str_printf(out,
               "POST /orders HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
               "Idempotency-Key: demo-%llu-%zu\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n"
               "%s",
               c->port, (unsigned long long)c->seed, number, body.len, body.data);
    str_release(&body);
}

/* Sends the request and takes all that comes until the other side closes. Returns the status code;
 * 0 when nobody answers, or not to the end. */
static int ask(int port, const struct str *request, char answer[ANSWER_SIZE])
{
    size_t used = 0;
    ssize_t n = -1;
    int fd = loopback_connect(port, PATIENCE_MS);

    if (fd < 0)
        return 0;
    if (send(fd, request->data, request->len, MSG_NOSIGNAL) == (ssize_t)request->len)
        while ((n = recv(fd, answer + used, ANSWER_SIZE - 1 - used, 0)) > 0)
            used += (size_t)n;
    (void)close(fd);
    answer[used] = '\0';
    if (n != 0 || strncmp(answer, "HTTP/1.1 ", 9) != 0 || strstr(answer, "\r\n\r\n") == NULL)
        return 0;
    return (int)strtol(answer + 9, NULL, 10);
}

/* The value of "orderId", a string or a number; false when there is none. */
static bool find_order_id(const char *answer, char out[24])
{
    const char *at = strstr(answer, "\"orderId\"");
    size_t len;

    if (at == NULL)
        return false;
    at += strlen("\"orderId\"");
    at += strspn(at, ": \"");
    len = strcspn(at, "\",} \r\n");
    if (len == 0 || len >= 24)
        return false;
    memcpy(out, at, len);
    out[len] = '\0';
    return true;
}

/* ---- the thread ---- */

static void fail(struct customers *c, int code, const char *answer)
{
    const char *body = strstr(answer, "\r\n\r\n");

    (void)snprintf(c->failure, sizeof c->failure, "the order service answers %d: %.150s", code,
                   body != NULL ? body + 4 : answer);
    atomic_store(&c->failed, true);
}

/* Until it is taken. False: stopped, or the service makes no sense. */
static bool place(struct customers *c, size_t number, struct str *request)
{
    char answer[ANSWER_SIZE];

    write_request(request, c, number);
    while (!atomic_load(&c->stop)) {
        const int code = ask(c->port, request, answer);
        if ((code == 200 || code == 201) && find_order_id(answer, c->purchases[number].order_id))
            return true;
        if (code != 0 && code != 503) {
            fail(c, code, answer);
            return false;
        }
        atomic_fetch_add(&c->repeats, 1);
        test_sleep_ms(RETRY_MS);
    }
    return false;
}

static void *run(void *arg)
{
    struct customers *c = arg;
    const uint64_t start = test_now_ms();
    struct str request = {0};

    for (size_t i = 0; i < c->count; i++) {
        const uint64_t due = start + c->purchases[i].due_ms;
        while (!atomic_load(&c->stop) && test_now_ms() < due)
            test_sleep_ms(5);
        if (!place(c, i, &request))
            break;
        atomic_store(&c->taken, i + 1);
    }
    str_release(&request);
    return NULL;
}

void customers_start(struct customers *c, int port)
{
    c->port = port;
    if (pthread_create(&c->thread, NULL, run, c) != 0)
        give_up(NULL, "no thread for the customers");
    c->started = true;
}

const char *customers_failure(const struct customers *c)
{
    return atomic_load(&c->failed) ? c->failure : NULL;
}

void customers_release(struct customers *c)
{
    atomic_store(&c->stop, true);
    if (c->started)
        (void)pthread_join(c->thread, NULL);
    free(c->purchases);
    c->purchases = NULL;
    c->started = false;
}
