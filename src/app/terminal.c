#include "app/terminal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* The other screen, without a cursor; and back. */
#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"

static bool write_whole(const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static void enter(struct terminal *t)
{
    if (t->has_keys) {
        struct termios raw = t->before;

        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 1;
        raw.c_cc[VTIME] = 0;
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    }
    t->entered = write_whole(ENTER, sizeof ENTER - 1);
}

static void leave(struct terminal *t)
{
    if (t->entered)
        (void)write_whole(LEAVE, sizeof LEAVE - 1);
    if (t->has_keys)
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &t->before);
    t->entered = false;
}

int terminal_open(struct terminal *t, struct err *err)
{
    static const int handled[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP, SIGCONT};
    sigset_t mask;

    *t = (struct terminal){.signals = -1};
    (void)sigemptyset(&mask);
    for (size_t i = 0; i < ARRAY_LEN(handled); i++)
        (void)sigaddset(&mask, handled[i]);
    t->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (t->signals < 0)
        return err_set(err, ERR_SOFTWARE, "signalfd: %s", strerror(errno));
    (void)sigprocmask(SIG_BLOCK, &mask, &t->mask_before);
    t->has_keys = tcgetattr(STDIN_FILENO, &t->before) == 0;
    enter(t);
    return 0;
}

void terminal_close(struct terminal *t)
{
    leave(t);
    (void)close(t->signals);
    (void)sigprocmask(SIG_SETMASK, &t->mask_before, NULL);
}

static enum terminal_event take_key(void)
{
    char key;
    ssize_t n = read(STDIN_FILENO, &key, 1);

    if (n < 0)
        return errno == EINTR || errno == EAGAIN ? TERMINAL_TIME : TERMINAL_QUIT;
    if (n == 0 || key == 'q' || key == 'Q' || key == '\004') /* Ctrl-D */
        return TERMINAL_QUIT;
    return TERMINAL_REDRAW;
}

static enum terminal_event take_signal(struct terminal *t)
{
    struct signalfd_siginfo info;

    if (read(t->signals, &info, sizeof info) != (ssize_t)sizeof info)
        return TERMINAL_TIME;
    switch (info.ssi_signo) {
    case SIGTSTP: /* Ctrl-Z: the shell gets its screen back until it goes on */
        leave(t);
        (void)raise(SIGSTOP);
        enter(t);
        return TERMINAL_REDRAW;
    case SIGCONT:
        enter(t);
        return TERMINAL_REDRAW;
    case SIGWINCH:
        return TERMINAL_REDRAW;
    default:
        return TERMINAL_QUIT;
    }
}

enum terminal_event terminal_wait(struct terminal *t, uint32_t timeout_ms)
{
    struct pollfd fds[] = {{.fd = t->signals, .events = POLLIN},
                           {.fd = t->has_keys ? STDIN_FILENO : -1, .events = POLLIN}};

    if (poll(fds, ARRAY_LEN(fds), (int)timeout_ms) <= 0)
        return TERMINAL_TIME;
    if (fds[0].revents != 0)
        return take_signal(t);
    return take_key();
}

void terminal_size(unsigned *columns, unsigned *rows)
{
    struct winsize size;

    *columns = 80;
    *rows = 24;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        return;
    if (size.ws_col > 0)
        *columns = size.ws_col;
    if (size.ws_row > 0)
        *rows = size.ws_row;
}

bool terminal_show(const struct str *lines, const char *footer)
{
    struct str frame = {0};
    unsigned columns;
    unsigned rows;
    bool shown;

    terminal_size(&columns, &rows);
    str_puts(&frame, "\033[H");
    for (size_t i = 0; i < lines->len; i++) {
        if (lines->data[i] == '\n')
            str_puts(&frame, "\033[K"); /* the rest of the old line */
        str_put_char(&frame, lines->data[i]);
    }
    str_printf(&frame, "\033[J\033[%u;1H\033[2m%.*s\033[0m", rows, (int)columns - 1, footer);
    shown = write_whole(frame.data, frame.len);
    str_release(&frame);
    return shown;
}
