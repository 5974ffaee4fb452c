/* examples/exchange/wire/service.h: what a Baton service has around its state: a door, a feed of effects (or
 * none), and what comes in over links. Gives the functions of baton_program that are the same for all: the
 * program's context and the door's owner begin with a wire_service. */
#pragma once

#include <baton/main.h>

#include "examples/exchange/wire/door.h"
#include "examples/exchange/wire/feed.h"
#include "examples/exchange/wire/inlet.h"

enum { WIRE_INLETS_MAX = 2 };

typedef struct {
    door *door;
    feed feed;
    inlet *inlets[WIRE_INLETS_MAX]; /* the owner's, started; before the first turn */
    uint32_t inlets_count;
} wire_service;

/* The owner's struct of so many bytes, zeroed, with its door; doors->owner is set. NULL: no memory. */
void *wire_service_create(size_t owner_bytes, door_options *doors);
/* NULL: nothing happens. */
void wire_service_destroy(void *owner);
/* At each start of the program: one of its links. Without an address there is none. As inlet_start. */
BATON_MUST_USE int wire_start_inlet(wire_service *own, inlet *one, const inlet_options *options,
                                    baton_engine *engine);

/* take and has_room of the feed's role. */
bool wire_take_feed(void *owner, door_place *place, uint16_t type, const void *body,
                    uint32_t body_bytes);
void wire_feed_has_room(void *owner, door_place *place);

void wire_turn(void *context);
void wire_stop_intake(void *context);
bool wire_all_sent(void *context);
void wire_pause_intake(void *context);
void wire_resume_intake(void *context);
uint32_t wire_give_fds(void *context, baton_passed_fd fds[BATON_PASSED_FDS_MAX]);
void wire_take_fds(void *context, const baton_passed_fd *fds, uint32_t fds_count);
uint32_t wire_give_connections(void *context, baton_connection *connections,
                               uint32_t connections_max);
void wire_take_connections(void *context, const baton_connection *connections,
                           uint32_t connections_count);
void wire_let_go(void *context);
void wire_stop(void *context);

/* All but options, start and release. */
#define WIRE_PROGRAM                                                                               \
    .turn = wire_turn, .stop_intake = wire_stop_intake, .all_sent = wire_all_sent,                 \
    .pause_intake = wire_pause_intake, .resume_intake = wire_resume_intake,                        \
    .give_fds = wire_give_fds, .take_fds = wire_take_fds,                                          \
    .give_connections = wire_give_connections, .take_connections = wire_take_connections,          \
    .let_go = wire_let_go, .stop = wire_stop
