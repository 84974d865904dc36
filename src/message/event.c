#include "message/event.h"

void event_id_text(const struct event *e, char out[EVENT_ID_TEXT])
{
    static const char hex[] = "0123456789abcdef";
    char *p = out;

    for (size_t i = 0; i < sizeof e->event_id; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = hex[e->event_id[i] >> 4];
        *p++ = hex[e->event_id[i] & 15];
    }
    *p = '\0';
}
