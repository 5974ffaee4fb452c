/* examples/exchange/book/invariant.h: asserts that stay on in release. For what only a bug in
 * this folder could break, never for what a caller, a file or a client says. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#define book_invariant(expression)                                                                 \
    (__builtin_expect(!!(expression), 1)                                                           \
         ? (void)0                                                                                 \
         : (fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, __LINE__, #expression),     \
            abort()))
