/* base/assert.c: the one place where the library ends the process. */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

noreturn void baton_assert_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "baton: %s:%d: assertion failed: %s: this is a bug: please report it\n", file,
            line, expression);
    abort();
}
