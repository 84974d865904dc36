#include "usage.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct stat_line {
    long parent;
    double own_s;   /* user and system time */
    double ended_s; /* of children that were waited for */
};

/* 0 when it is there. The program's name stands in parentheses and may hold anything. */
static int read_stat(const char *pid, struct stat_line *out)
{
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    char path[64];
    char text[1024];
    const char *at;
    char *end;
    FILE *f;
    unsigned long long number[16];

    (void)snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    f = fopen(path, "re");
    if (f == NULL)
        return -1;
    at = fgets(text, sizeof text, f);
    (void)fclose(f);
    at = at == NULL ? NULL : strrchr(text, ')');
    if (at == NULL || at[1] != ' ' || at[2] == '\0')
        return -1;
    at += 3; /* behind the state: field 4, the parent, comes next */
    for (int i = 4; i < 18; i++) {
        number[i - 4] = strtoull(at, &end, 10);
        if (end == at)
            return -1;
        at = end;
    }
    out->parent = (long)number[0];
    out->own_s = (double)(number[10] + number[11]) * tick;
    out->ended_s = (double)(number[12] + number[13]) * tick;
    return 0;
}

static double children_s(long parent)
{
    DIR *all = opendir("/proc");
    const struct dirent *entry;
    struct stat_line line;
    double sum = 0;

    while (all != NULL && (entry = readdir(all)) != NULL) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            read_stat(entry->d_name, &line) == 0 && line.parent == parent)
            sum += line.own_s + line.ended_s;
    }
    if (all != NULL)
        (void)closedir(all);
    return sum;
}

/* A child that ends while we look is counted in neither place, or in both: then look again. */
double usage_cpu_s(pid_t pid)
{
    struct stat_line before;
    struct stat_line after;
    char name[24];
    double living;

    (void)snprintf(name, sizeof name, "%ld", (long)pid);
    do {
        if (read_stat(name, &before) != 0)
            return 0;
        living = children_s((long)pid);
        if (read_stat(name, &after) != 0)
            return 0;
    } while (after.ended_s > before.ended_s);
    return after.own_s + after.ended_s + living;
}

double usage_self_cpu_s(void)
{
    struct rusage used;

    (void)getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static long switches_of(const char *path)
{
    static const char word[] = "voluntary_ctxt_switches:";
    char line[256];
    long found = 0;
    FILE *f = fopen(path, "re");

    if (f == NULL)
        return 0;
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, word, sizeof word - 1) == 0)
            found = strtol(line + sizeof word - 1, NULL, 10);
    }
    (void)fclose(f);
    return found;
}

long usage_sleeps(pid_t pid)
{
    char folder[64];
    char path[400];
    const struct dirent *entry;
    long sum = 0;
    DIR *threads;

    (void)snprintf(folder, sizeof folder, "/proc/%ld/task", (long)pid);
    threads = opendir(folder);
    if (threads == NULL)
        return -1;
    while ((entry = readdir(threads)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%s/%s/status", folder, entry->d_name);
        sum += switches_of(path);
    }
    (void)closedir(threads);
    return sum;
}
