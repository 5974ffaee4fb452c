/* examples/exchange/load/visitors.h: who comes with a storm besides the clients: connections that say nothing, or
 * HELLO, or half of it, and leave within a moment. They must not disturb anybody. */
#pragma once

#include "examples/exchange/load/line.h"

enum { VISITORS_MAX = 1000 };

typedef struct {
    int fd;
    uint64_t speak_ns; /* 0: it has, or never will */
    uint64_t leave_ns;
    uint32_t bytes; /* how much of a HELLO it says */
} visitor;

typedef struct {
    const line_addresses *to;
    uint64_t random;
    uint32_t count; /* those at the beginning of the list are there */
    visitor list[VISITORS_MAX];
} visitors;

void visitors_init(visitors *own, const line_addresses *to, uint64_t seed);
void visitors_come(visitors *own, uint32_t count, uint64_t now_ns);
void visitors_turn(visitors *own, uint64_t now_ns);
void visitors_end(visitors *own);
