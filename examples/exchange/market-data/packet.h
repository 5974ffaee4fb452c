/* examples/exchange/market-data/packet.h: messages into packets. */
#pragma once

#include "examples/exchange/market-data/stream.h"

typedef struct {
    uint8_t bytes[MARKET_PACKET_BYTES_MAX];
    uint32_t used;
    uint64_t first;
    uint32_t count;
} packet;

void packet_begin(packet *own, uint64_t stream_id, uint64_t first);
/* False: it is full. */
bool packet_add(packet *own, const market_message *message);
/* As many of the newest messages from `first` on as fit, up to `last`; none: a heartbeat. */
void packet_of_recent(packet *own, const stream *messages, uint64_t first, uint64_t last);
