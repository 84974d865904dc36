#include "app/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static double seconds_of(struct timeval tv)
{
    return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

static uint64_t resident_bytes(void)
{
    char line[256] = "";
    FILE *f = fopen("/proc/self/statm", "re");
    const char *second; /* "size resident ...", in pages */

    if (f == NULL)
        return 0;
    second = fgets(line, sizeof line, f) == NULL ? NULL : strchr(line, ' ');
    (void)fclose(f);
    return second == NULL ? 0 : strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    uint64_t n = 0;

    if (dir == NULL)
        return 0;
    for (const struct dirent *d = readdir(dir); d != NULL; d = readdir(dir))
        n += d->d_name[0] != '.';
    (void)closedir(dir);
    return n > 0 ? n - 1 : 0; /* one was ours, for looking */
}

void process_look(struct ops_process *out)
{
    struct rusage used = {0};

    (void)getrusage(RUSAGE_SELF, &used);
    out->cpu_s = seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
    out->resident_bytes = resident_bytes();
    out->open_fds = open_fds();
}
