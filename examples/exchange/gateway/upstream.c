#include "examples/exchange/gateway/upstream.h"

enum {
    OUT_BYTES_MAX = 1 << 20,
    OUT_BYTES_ENOUGH = 256 << 10, /* what is more waits in the queue of the sessions */
};

static void live(void *owner)
{
    upstream *own = owner;
    own->options.live(own->options.owner);
}

static bool take(void *owner, uint16_t type, const void *body, uint32_t body_bytes)
{
    upstream *own = owner;
    if (!own->options.take(own->options.owner, type, body, body_bytes))
        own->dialer.stream.failed = true;
    return true;
}

void upstream_start(upstream *own, const upstream_options *options, wire_loop loop)
{
    *own = (upstream){.options = *options};
    dialer_start(&own->dialer,
                 &(dialer_options){.name = "order-service",
                                   .address = options->address,
                                   .out_bytes_max = OUT_BYTES_MAX,
                                   .live = live,
                                   .take = take,
                                   .owner = own},
                 loop);
}

void upstream_turn(upstream *own)
{
    dialer_turn(&own->dialer);
}

bool upstream_has_room(const upstream *own)
{
    const connection *stream = &own->dialer.stream;
    return own->dialer.state == DIALER_LIVE && !stream->failed &&
           stream->out_end - stream->out_begin < OUT_BYTES_ENOUGH;
}

void upstream_queue(upstream *own, uint16_t type, const void *body, uint32_t body_bytes)
{
    connection_queue(&own->dialer.stream, type, body, body_bytes, NULL, 0);
}

void upstream_stop(upstream *own)
{
    dialer_stop(&own->dialer);
}

const char *upstream_state_name(const upstream *own)
{
    switch (own->dialer.state) {
    case DIALER_IDLE:
    case DIALER_STOPPED: /* nothing gives it up */
        return "down";
    case DIALER_DIALING:
        return "dialing";
    case DIALER_LIVE:
        return "live";
    }
    return "down";
}
