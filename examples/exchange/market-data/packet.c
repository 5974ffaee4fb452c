#include "examples/exchange/market-data/packet.h"

#include <string.h>

static void put_head(packet *own, uint64_t stream_id)
{
    const market_packet head = {.stream = baton_le64_put(stream_id),
                                .first = baton_le64_put(own->first),
                                .version = baton_le16_put(MARKET_VERSION)};
    memcpy(own->bytes, &head, sizeof(head));
}

void packet_begin(packet *own, uint64_t stream_id, uint64_t first)
{
    own->first = first;
    own->count = 0;
    own->used = sizeof(market_packet);
    put_head(own, stream_id);
}

bool packet_add(packet *own, const market_message *message)
{
    const uint32_t body_bytes = market_body_bytes(message->type);
    const market_head head = {.type = baton_le16_put(message->type),
                              .body_bytes = baton_le16_put((uint16_t)body_bytes)};
    if (own->used + sizeof(head) + body_bytes > sizeof(own->bytes))
        return false;
    memcpy(own->bytes + own->used, &head, sizeof(head));
    memcpy(own->bytes + own->used + sizeof(head), message->bytes, body_bytes);
    own->used += (uint32_t)sizeof(head) + body_bytes;
    own->count++;
    const baton_le16 count = baton_le16_put((uint16_t)own->count);
    memcpy(own->bytes + offsetof(market_packet, count), &count, sizeof(count));
    return true;
}

void packet_of_recent(packet *own, const stream *messages, uint64_t first, uint64_t last)
{
    packet_begin(own, stream_id(messages), first);
    for (uint64_t seq = first; seq <= last; seq++) {
        const market_message *message = stream_recent(messages, seq);
        if (!message || !packet_add(own, message))
            return;
    }
}
