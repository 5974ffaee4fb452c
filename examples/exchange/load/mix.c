/* What a generated flow consists of. */
#include <stdlib.h>
#include <string.h>

#include "examples/exchange/load/stream.h"

const stream_mix stream_mix_default = {.cancel = 34, .reduce = 6, .ioc = 9, .gtd = 8};

static uint8_t *share_of(stream_mix *mix, const char *name, size_t length)
{
    const struct {
        const char *name;
        uint8_t *share;
    } known[] = {
        {"cancel", &mix->cancel},   {"reduce", &mix->reduce},
        {"replace", &mix->replace}, {"ioc", &mix->ioc},
        {"gtd", &mix->gtd},         {"market", &mix->market},
        {"fok", &mix->fok},         {"post-only", &mix->post_only},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strlen(known[i].name) == length && memcmp(known[i].name, name, length) == 0)
            return known[i].share;
    return NULL;
}

bool stream_mix_parse(const char *text, stream_mix *ret_mix)
{
    *ret_mix = stream_mix_default;
    for (const char *at = text;;) {
        const size_t length = strcspn(at, "=");
        uint8_t *share = share_of(ret_mix, at, length);
        if (!share || at[length] != '=' || at[length + 1] < '0' || at[length + 1] > '9')
            return false;
        char *end;
        const unsigned long percent = strtoul(at + length + 1, &end, 10);
        if (percent > 100 || (*end != ',' && *end != '\0'))
            return false;
        *share = (uint8_t)percent;
        if (*end == '\0')
            break;
        at = end + 1;
    }
    const int changes = ret_mix->cancel + ret_mix->reduce + ret_mix->replace;
    return changes < 100 && changes + ret_mix->ioc + ret_mix->gtd + ret_mix->market + ret_mix->fok +
                                    ret_mix->post_only <=
                                100;
}
