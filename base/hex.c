/* base/hex.c: see hex.h. */
#include "base/hex.h"

bool baton_hex_parse(const char *text, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < BATON_HEX_DIGITS; i++) {
        const char c = text[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *ret_value = value;
    return true;
}
