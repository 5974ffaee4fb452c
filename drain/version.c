/* drain/version.c: see version.h. */
#include "drain/version.h"

#include <stdbool.h>
#include <stdlib.h>

/* -1: there is none. */
static long long next_number(const char **at, bool first)
{
    char *end;
    if (!first && **at != '.')
        return -1;
    const char *digits = first ? *at : *at + 1;
    if (*digits < '0' || *digits > '9')
        return -1;
    const long long number = strtoll(digits, &end, 10);
    *at = end;
    return number;
}

int baton_version_compare(const char *a, const char *b)
{
    for (bool first = true;; first = false) {
        const long long of_a = next_number(&a, first), of_b = next_number(&b, first);
        if (of_a < 0 && of_b < 0)
            return 0;
        /* 1.2 is 1.2.0 */
        const long long x = of_a < 0 && !first ? 0 : of_a, y = of_b < 0 && !first ? 0 : of_b;
        if (x != y)
            return x < y ? -1 : 1;
    }
}
