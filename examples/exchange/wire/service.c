#include "examples/exchange/wire/service.h"

#include <stdlib.h>

#include "examples/exchange/wire/door_handover.h"

static door *door_of(void *context)
{
    return ((wire_service *)context)->door;
}

void *wire_service_create(size_t owner_bytes, door_options *doors)
{
    wire_service *own = calloc(1, owner_bytes);
    if (!own)
        return NULL;
    doors->owner = own;
    if (door_create(doors, &own->door) == 0)
        return own;
    free(own);
    return NULL;
}

void wire_service_destroy(void *owner)
{
    if (!owner)
        return;
    door_destroy(door_of(owner));
    free(owner);
}

int wire_start_inlet(wire_service *own, inlet *one, const inlet_options *options,
                     baton_engine *engine)
{
    if (options->address[0] == '\0')
        return 0;
    int r = inlet_start(one, options, engine);
    if (r == 0)
        own->inlets[own->inlets_count++] = one;
    return r;
}

bool wire_take_feed(void *owner, door_place *place, uint16_t type, const void *body,
                    uint32_t body_bytes)
{
    return feed_take(&((wire_service *)owner)->feed, place, type, body, body_bytes);
}

void wire_feed_has_room(void *owner, door_place *place)
{
    feed_has_room(&((wire_service *)owner)->feed, place);
}

static void each_link(void *context, void (*act)(wire_link *link))
{
    wire_service *own = context;
    for (uint32_t i = 0; i < own->inlets_count; i++)
        act(&own->inlets[i]->link);
}

/* What comes over links first: it may be told to clients in the same turn. */
void wire_turn(void *context)
{
    wire_service *own = context;
    for (uint32_t i = 0; i < own->inlets_count; i++)
        inlet_turn(own->inlets[i]);
    feed_send(&own->feed);
    door_turn(own->door);
}

void wire_stop_intake(void *context)
{
    each_link(context, link_pause);
    door_stop_intake(door_of(context));
}

bool wire_all_sent(void *context)
{
    return door_all_sent(door_of(context));
}

void wire_pause_intake(void *context)
{
    each_link(context, link_pause);
    door_pause_intake(door_of(context));
}

void wire_resume_intake(void *context)
{
    door_resume_intake(door_of(context));
    each_link(context, link_resume);
}

uint32_t wire_give_fds(void *context, baton_passed_fd fds[BATON_PASSED_FDS_MAX])
{
    return door_give_fds(door_of(context), fds);
}

void wire_take_fds(void *context, const baton_passed_fd *fds, uint32_t fds_count)
{
    door_take_fds(door_of(context), fds, fds_count);
}

uint32_t wire_give_connections(void *context, baton_connection *connections,
                               uint32_t connections_max)
{
    return door_give_connections(door_of(context), connections, connections_max);
}

void wire_take_connections(void *context, const baton_connection *connections,
                           uint32_t connections_count)
{
    door_take_connections(door_of(context), connections, connections_count);
}

void wire_let_go(void *context)
{
    door_let_go(door_of(context));
}

void wire_stop(void *context)
{
    wire_service *own = context;
    each_link(own, link_stop);
    own->inlets_count = 0; /* one that stands by may start again */
    door_stop(own->door);
}
