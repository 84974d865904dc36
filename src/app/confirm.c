#include "app/confirm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool confirmed(void)
{
    char answer[16] = "";

    if (isatty(STDIN_FILENO) == 0)
        return false;
    (void)printf("Go on? [yes/no] ");
    (void)fflush(stdout);
    return fgets(answer, sizeof answer, stdin) != NULL && strcmp(answer, "yes\n") == 0;
}
