#include "tmp.h"

#include "base/str.h"
#include "proc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* cmocka's way to leave a test. Weak: tools use support/ without cmocka. The name is cmocka's. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier) */
extern void _fail(const char *const file, const int line) __attribute__((weak));

void support_fail(const char *fmt, ...)
{
    va_list ap;

    fflush(stdout);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    if (_fail != NULL)
        _fail(__FILE__, __LINE__);
    exit(1);
}

/* ---- time ---- */

uint64_t test_now_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000U + (uint64_t)ts.tv_nsec / 1000U;
}

uint64_t test_now_ms(void)
{
    return test_now_us() / 1000U;
}

void test_sleep_ms(unsigned ms)
{
    struct timespec ts = {.tv_sec = ms / 1000U, .tv_nsec = (long)(ms % 1000U) * 1000000L};

    while (nanosleep(&ts, &ts) != 0 && errno == EINTR)
        ;
}

bool wait_until(bool (*cond)(void *ctx), void *ctx, unsigned timeout_ms)
{
    const uint64_t end = test_now_ms() + timeout_ms;

    while (!cond(ctx)) {
        if (test_now_ms() >= end)
            return false;
        test_sleep_ms(2);
    }
    return true;
}

/* ---- folders and files ---- */

void path_join(char out[PATH_SIZE], const char *folder, const char *name)
{
    char joined[PATH_SIZE];
    int n = snprintf(joined, sizeof joined, "%s/%s", folder, name);

    if (n < 0 || n >= PATH_SIZE)
        support_fail("path too long: %s/%s", folder, name);
    memcpy(out, joined, (size_t)n + 1);
}

const char *tmp_root(void)
{
    static char root[PATH_SIZE];
    static pid_t owner;
    const char *parent = getenv("TMPDIR");

    if (owner == getpid())
        return root;
    /* Servers put sockets here, whose paths may have 107 characters. */
    if (parent == NULL || parent[0] != '/' || strlen(parent) > 50)
        parent = "/tmp";
    path_join(root, parent, "outboxd-XXXXXX");
    if (mkdtemp(root) == NULL)
        support_fail("mkdtemp %s: %s", root, strerror(errno));
    /* The postgres user, when we are root, walks through it to its own folder. */
    if (chmod(root, 0711) != 0)
        support_fail("chmod %s: %s", root, strerror(errno));
    owner = getpid();
    proc_clean_at_exit(root);
    return root;
}

void tmp_folder(const char *name, char out[PATH_SIZE])
{
    static unsigned count;
    char numbered[PATH_SIZE];

    (void)snprintf(numbered, sizeof numbered, "%s-%u", name, ++count);
    path_join(out, tmp_root(), numbered);
    if (mkdir(out, 0755) != 0)
        support_fail("mkdir %s: %s", out, strerror(errno));
}

void tmp_remove(const char *path)
{
    const char *root = tmp_root();

    if (strncmp(path, root, strlen(root)) != 0 || strstr(path, "/..") != NULL)
        support_fail("tmp_remove: %s is not ours", path);
    if (getenv("KEEP") != NULL)
        return;
    if (proc_run((const char *const[]){"rm", "-rf", "--", path, NULL}, NULL, 60000) != 0)
        support_fail("cannot remove %s", path);
}

/* Walks up from `start` to the folder that holds sql/outbox. */
static bool find_source_above(const char *start, char out[PATH_SIZE])
{
    char dir[PATH_SIZE];
    char probe[PATH_SIZE];
    char *slash;

    (void)snprintf(dir, sizeof dir, "%s", start);
    while (dir[0] != '\0') {
        path_join(probe, dir, "sql/outbox");
        if (access(probe, R_OK) == 0) {
            (void)snprintf(out, PATH_SIZE, "%s", dir);
            return true;
        }
        slash = strrchr(dir, '/');
        if (slash == NULL)
            return false;
        *slash = '\0';
    }
    return false;
}

const char *source_root(void)
{
    static char root[PATH_SIZE];
    char start[PATH_SIZE];
    const char *set = getenv("OUTBOXD_SOURCE");
    ssize_t n;

    if (root[0] != '\0')
        return root;
    if (set != NULL && find_source_above(set, root))
        return root;
    if (getcwd(start, sizeof start) != NULL && find_source_above(start, root))
        return root;
    n = readlink("/proc/self/exe", start, sizeof start - 1);
    if (n > 0) {
        start[n] = '\0';
        if (find_source_above(start, root))
            return root;
    }
    support_fail("run this inside the source tree, or set OUTBOXD_SOURCE");
}

const char *build_root(void)
{
    static char root[PATH_SIZE];
    const char *set = getenv("BUILD");

    if (root[0] != '\0')
        return root;
    if (set != NULL && set[0] == '/')
        (void)snprintf(root, sizeof root, "%s", set);
    else
        path_join(root, source_root(), set != NULL && set[0] != '\0' ? set : "build");
    return root;
}

char *file_read(const char *path)
{
    struct str text = {0};
    char piece[8192];
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        support_fail("open %s: %s", path, strerror(errno));
    str_reset(&text);
    str_reserve(&text, 1);
    str_puts(&text, "");
    while ((n = read(fd, piece, sizeof piece)) > 0)
        str_put(&text, piece, (size_t)n);
    (void)close(fd);
    return text.data;
}

void file_write(const char *path, const char *fmt, ...)
{
    FILE *f = fopen(path, "we");
    va_list ap;
    int n;

    if (f == NULL)
        support_fail("create %s: %s", path, strerror(errno));
    va_start(ap, fmt);
    n = vfprintf(f, fmt, ap);
    va_end(ap);
    if (fclose(f) != 0 || n < 0)
        support_fail("write %s: %s", path, strerror(errno));
}

bool file_holds(const char *path, const char *part)
{
    char *text;
    bool found;

    if (access(path, R_OK) != 0)
        return false;
    text = file_read(path);
    found = strstr(text, part) != NULL;
    free(text);
    return found;
}

/* ---- ports ---- */

#define PORT_LOW 15000

/* Where the kernel begins to take ports for outgoing connections. */
static int outgoing_low(void)
{
    int low = 32768;
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");

    if (f != NULL) {
        char line[64];
        if (fgets(line, sizeof line, f) != NULL)
            low = (int)strtol(line, NULL, 10);
        (void)fclose(f);
    }
    return low > PORT_LOW + 1000 ? low : 32768;
}

static bool port_can_be_bound(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool free_now;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    free_now = fd >= 0 && bind(fd, (const struct sockaddr *)&to, sizeof to) == 0;
    if (fd >= 0)
        (void)close(fd);
    return free_now;
}

/* Takes the lock file of the port and keeps it until the process ends. */
static bool port_lock(int port)
{
    char folder[PATH_SIZE];
    char path[PATH_SIZE + 16];
    struct stat st;
    int fd;

    (void)snprintf(folder, sizeof folder, "/tmp/outboxd-ports-%u", (unsigned)geteuid());
    (void)mkdir(folder, 0700);
    if (lstat(folder, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        support_fail("%s is not a folder of ours", folder);
    (void)snprintf(path, sizeof path, "%s/%d", folder, port);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        (void)close(fd);
        return false;
    }
    return true;
}

int port_free(void)
{
    const int high = outgoing_low();

    for (int tries = 0; tries < 1000; tries++) {
        uint32_t chance = 0;
        int port;
        if (getrandom(&chance, sizeof chance, 0) != (ssize_t)sizeof chance)
            support_fail("getrandom: %s", strerror(errno));
        port = PORT_LOW + (int)(chance % (uint32_t)(high - PORT_LOW));
        if (port_can_be_bound(port) && port_lock(port))
            return port;
    }
    support_fail("no free port found");
}
