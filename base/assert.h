/* base/assert.h: asserts that stay on in release. For what only a bug could break, never for what
 * comes from a disk, a network or a caller's data. */
#pragma once

#include <stdnoreturn.h>

noreturn void baton_assert_failed(const char *expression, const char *file, int line);

#define baton_assert(expression)                                                                   \
    (__builtin_expect(!!(expression), 1) ? (void)0                                                 \
                                         : baton_assert_failed(#expression, __FILE__, __LINE__))
