/* examples/exchange/market-data/multicast.h: packets by UDP to whoever listens on this machine: the group is
 * reached through the loopback interface, and no router passes it on. Some may get lost: who misses a number
 * asks over TCP. When nothing happens a heartbeat tells the next number, so that no loss goes unnoticed. */
#pragma once

#include "examples/exchange/market-data/packet.h"

typedef struct {
    int fd;        /* -1: none */
    uint64_t next; /* the first message not sent yet */
    uint64_t heartbeat_at_ns;
    bool failing;
} multicast;

/* group: HOST:PORT, HOST in 224.0.0.0/4; "": none. What is durable already is not sent. */
BATON_MUST_USE int multicast_open(multicast *own, const char *group, const stream *messages,
                                  baton_error *error);
void multicast_close(multicast *own);
void multicast_turn(multicast *own, const stream *messages, uint64_t now_ns);
