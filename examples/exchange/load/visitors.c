#include "examples/exchange/load/visitors.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "examples/exchange/load/stream.h"
#include "examples/exchange/wire/address.h"

enum { SPEAK_NS_MAX = 5000000, LEAVE_NS_MAX = 50000000 };

void visitors_init(visitors *own, const line_addresses *to, uint64_t seed)
{
    *own = (visitors){.to = to, .random = seed};
}

static uint64_t below(visitors *own, uint64_t bound)
{
    return stream_random(&own->random) % bound;
}

void visitors_come(visitors *own, uint32_t count, uint64_t now_ns)
{
    const uint32_t hello_bytes = sizeof(exchange_frame) + sizeof(exchange_hello);
    for (uint32_t i = 0; i < count && own->count < VISITORS_MAX; i++) {
        visitor *one = &own->list[own->count];
        const char *address = own->to->addresses[below(own, own->to->addresses_count)];
        const uint32_t shares[] = {0, hello_bytes, (uint32_t)below(own, hello_bytes)};
        *one = (visitor){.bytes = shares[below(own, 3)]};
        one->speak_ns = now_ns + below(own, SPEAK_NS_MAX);
        one->leave_ns = one->speak_ns + below(own, LEAVE_NS_MAX);
        if (address_dial(address, &one->fd) == 0) /* else there is nobody to visit */
            own->count++;
    }
}

/* It does not care whether that arrives. */
static void speak(visitor *one)
{
    const exchange_frame frame = {.body_bytes = baton_le32_put(sizeof(exchange_hello)),
                                  .type = baton_le16_put(EXCHANGE_HELLO)};
    const exchange_hello hello = {.version = baton_le32_put(EXCHANGE_PROTOCOL_VERSION)};
    uint8_t bytes[sizeof(frame) + sizeof(hello)];
    memcpy(bytes, &frame, sizeof(frame));
    memcpy(bytes + sizeof(frame), &hello, sizeof(hello));
    ssize_t sent = send(one->fd, bytes, one->bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent;
    one->speak_ns = 0;
}

void visitors_turn(visitors *own, uint64_t now_ns)
{
    for (uint32_t i = 0; i < own->count;) {
        visitor *one = &own->list[i];
        if (one->speak_ns != 0 && now_ns >= one->speak_ns)
            speak(one);
        if (now_ns < one->leave_ns) {
            i++;
            continue;
        }
        close(one->fd);
        *one = own->list[--own->count];
    }
}

void visitors_end(visitors *own)
{
    visitors_turn(own, UINT64_MAX);
}
