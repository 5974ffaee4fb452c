/* examples/exchange/wire/plain_loop.h: a loop for a program that is no Baton service: gateway, market data,
 * settlement, tests. */
#pragma once

#include "examples/exchange/wire/loop.h"

typedef struct plain_loop plain_loop;

/* -errno. */
BATON_MUST_USE int plain_loop_create(plain_loop **ret_loop);
void plain_loop_destroy(plain_loop *own); /* NULL is fine; closes no socket */
wire_loop plain_loop_of(plain_loop *own);
/* Wait, at most so long, and call what is ready. -errno; EINTR is none. */
BATON_MUST_USE int plain_loop_turn(plain_loop *own, int timeout_ms);
