#include "log_catch.h"

#include "check.h"
#include "tmp.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int real_stderr = -1;
static char log_path[PATH_SIZE];

void log_catch(void)
{
    static unsigned count;
    char name[32];
    int fd;

    (void)snprintf(name, sizeof(name), "log-%u", ++count);
    path_join(log_path, tmp_root(), name);
    fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_true(fd >= 0);
    real_stderr = dup(STDERR_FILENO);
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    (void)close(fd);
}

const char *log_caught(void)
{
    static char *text;

    assert_true(dup2(real_stderr, STDERR_FILENO) >= 0);
    (void)close(real_stderr);
    real_stderr = -1;
    free(text);
    text = file_read(log_path);
    return text;
}

bool log_has_caught(const char *part)
{
    return file_holds(log_path, part);
}

int log_give_back(void **state)
{
    (void)state;
    if (real_stderr >= 0)
        print_error("%s", log_caught());
    return 0;
}
