#include "ops/request.h"

#include <string.h>
#include <strings.h>

bool request_is_whole(const char *head, size_t len)
{
    return memmem(head, len, "\r\n\r\n", 4) != NULL || memmem(head, len, "\n\n", 2) != NULL;
}

/* Cuts the word at `text` off at its blank and returns what is behind it, or NULL. */
static char *cut_word(char *text)
{
    char *blank = strchr(text, ' ');

    if (blank == NULL || blank == text)
        return NULL;
    *blank = '\0';
    return blank + 1;
}

/* "/status?x=1", or what proxies send: "http://host:9464/status". */
static const char *path_of(char *target)
{
    char *path = target;

    if (strncasecmp(path, "http://", 7) == 0) {
        path = strchr(path + 7, '/');
        if (path == NULL)
            return "/";
    }
    path[strcspn(path, "?#")] = '\0';
    return path;
}

static enum request_method method_of(const char *word)
{
    if (strcmp(word, "GET") == 0)
        return REQUEST_GET;
    return strcmp(word, "HEAD") == 0 ? REQUEST_HEAD : REQUEST_OTHER;
}

int request_parse(char *head, struct request *out)
{
    char *target;
    char *version;

    head[strcspn(head, "\r\n")] = '\0';
    target = cut_word(head);
    version = target == NULL ? NULL : cut_word(target);
    if (version == NULL || strncmp(version, "HTTP/", 5) != 0)
        return 400;
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        return 505;
    out->method = method_of(head);
    out->path = path_of(target);
    return out->path[0] == '/' ? 0 : 400;
}

const char *request_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {431, "Request Header Fields Too Large"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}
