/* examples/exchange/load/lanes.h: which command goes over which connection, and when it may. A client's
 * commands all go over one connection, in the order of the stream: a lane. No sockets and no clock.
 *
 * A command is open from when it is first sent until it is answered. A client has at most LANES_CLIENT_WINDOW,
 * counted from its oldest open one: fewer than a service remembers of it, so that whatever is in doubt after a cut
 * can be asked again, and has an answer. */
#pragma once

#include "examples/exchange/load/stream.h"

#define LANE_END UINT32_MAX

enum { LANES_CLIENT_WINDOW = EXCHANGE_OUTCOMES_KEPT - 4 };

/* Commands by their index in the stream, LANE_END behind the last one. */
typedef struct {
    uint32_t next;        /* to be sent for the first time */
    uint32_t resend_next; /* before that: the next one to look at; `next`: there is none */
    uint32_t first_open;  /* all of the lane before it are answered */
} lane;

typedef struct {
    uint64_t open; /* bit i: the command `base + i` */
    uint32_t base;
    uint32_t sent;      /* how many */
    uint64_t told_fill; /* the number of the last fill that it was told of (answers.h) */
} lane_client;

typedef struct {
    const load_command *commands;
    uint32_t count;
    uint32_t lanes_count; /* of the flow; one more for deposits if they have their own */
    lane *list;
    uint32_t *follows;    /* by command: the next one of its lane */
    uint32_t *ordinal;    /* by command: its number among those of its client, from 0 */
    lane_client *clients; /* by client id, 0 is LOAD_CLOCK_CLIENT */
    uint32_t
        deposits_apart; /* so many commands at the beginning have a lane of their own, the last one */
} lanes;

/* commands stay the caller's. -ENOMEM. lanes_fini also after an error. */
BATON_MUST_USE int lanes_init(lanes *own, const load_command *commands, uint32_t count,
                              uint32_t lanes_count, uint32_t deposits_apart);
void lanes_fini(lanes *own);

uint32_t lanes_of(const lanes *own, uint32_t index); /* the lane of a command */
lane_client *lanes_client(const lanes *own, uint64_t client_id);
/* Has its client room for one more that is open? */
bool lanes_may_send(const lanes *own, uint32_t index);
/* lane->next was sent for the first time: the one after it is next. */
void lanes_sent(lanes *own, lane *of);
void lanes_answered(lanes *own, uint32_t index);
/* How many of its client were sent after it. */
uint32_t lanes_sent_since(const lanes *own, uint32_t index);
