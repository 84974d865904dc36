#include "outbox/hosts.h"

#include "base/str.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* libpq's lists, separated by commas; `port` may be a single one for all hosts. */
enum list { HOST, HOSTADDR, PORT, LISTS };

static const char *const keys[LISTS] = {"host", "hostaddr", "port"};

struct hosts {
    struct str lists[LISTS]; /* empty: as in the connection string */
};

struct hosts *hosts_new(void)
{
    return xcalloc(1, sizeof(struct hosts));
}

void hosts_free(struct hosts *h)
{
    if (h == NULL)
        return;
    for (int i = 0; i < LISTS; i++)
        str_release(&h->lists[i]);
    free(h);
}

static unsigned count(const char *list)
{
    unsigned n = 0;

    if (list == NULL || list[0] == '\0')
        return 0;
    for (n = 1; (list = strchr(list, ',')) != NULL; list++)
        n++;
    return n;
}

/* Element `number` of a list that has so many; a list of one serves for all. */
static struct slice element(const char *list, unsigned number)
{
    if (count(list) <= 1)
        return (struct slice){list != NULL ? list : "", list != NULL ? strlen(list) : 0};
    for (unsigned i = 0; i < number; i++)
        list = strchr(list, ',') + 1;
    return (struct slice){list, strcspn(list, ",")};
}

static bool says(struct slice element, const char *text)
{
    return text != NULL && strlen(text) == element.len &&
           memcmp(element.ptr, text, element.len) == 0;
}

/* What the connection was asked for, the libpq environment and service files included. */
static PQconninfoOption *lists_of(PGconn *conn, const char *lists[LISTS])
{
    PQconninfoOption *all = PQconninfo(conn);

    for (int i = 0; i < LISTS; i++)
        lists[i] = NULL;
    for (const PQconninfoOption *o = all; o != NULL && o->keyword != NULL; o++)
        for (int i = 0; i < LISTS; i++)
            if (strcmp(o->keyword, keys[i]) == 0)
                lists[i] = o->val;
    return all;
}

static unsigned count_hosts(const char *const lists[LISTS])
{
    unsigned n = count(lists[HOSTADDR]) > 0 ? count(lists[HOSTADDR]) : count(lists[HOST]);

    return n > 0 ? n : 1;
}

unsigned hosts_count(PGconn *conn)
{
    const char *lists[LISTS];
    PQconninfoOption *all = lists_of(conn, lists);
    unsigned n = count_hosts(lists);

    PQconninfoFree(all);
    return n;
}

/* The number of the host that libpq is at; n when it is none of them. */
static unsigned find_present(PGconn *conn, const char *const lists[LISTS], unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct slice host = element(lists[HOST], i);
        struct slice port = element(lists[PORT], i);

        if (host.len == 0)
            host = element(lists[HOSTADDR], i);
        if (says(host, PQhost(conn)) && (port.len == 0 || says(port, PQport(conn))))
            return i;
    }
    return n;
}

void hosts_blame(struct hosts *h, PGconn *conn)
{
    const char *lists[LISTS];
    PQconninfoOption *all = lists_of(conn, lists);
    unsigned n = count_hosts(lists);
    unsigned silent = find_present(conn, lists, n);

    for (int i = 0; i < LISTS && n > 1 && silent < n; i++) {
        if (count(lists[i]) != n)
            continue;
        str_reset(&h->lists[i]);
        for (unsigned k = 1; k <= n; k++) {
            struct slice e = element(lists[i], (silent + k) % n);

            str_put(&h->lists[i], e.ptr, e.len);
            if (k < n)
                str_put_char(&h->lists[i], ',');
        }
    }
    PQconninfoFree(all);
}

size_t hosts_params(const struct hosts *h, const char **keywords, const char **values)
{
    size_t n = 0;

    for (int i = 0; i < LISTS; i++) {
        if (h->lists[i].len == 0)
            continue;
        keywords[n] = keys[i];
        values[n++] = h->lists[i].data;
    }
    return n;
}
