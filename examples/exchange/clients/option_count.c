#include "examples/exchange/clients/option_count.h"

#include <errno.h>
#include <stdlib.h>

int option_count(const char *text, const char *name, uint32_t max, uint32_t *ret_count,
                 baton_error *error)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || text[0] < '0' || text[0] > '9' || value == 0 || value > max)
        return baton_error_setf(error, BATON_E_INVALID, name, "give a whole number",
                                "'%s' is not in 1..%u", text, max);
    *ret_count = (uint32_t)value;
    return 0;
}
