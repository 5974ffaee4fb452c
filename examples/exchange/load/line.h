/* examples/exchange/load/line.h: one connection of a client, made again when it ends: to the same address first, to the
 * next one when nobody answers there. Nothing here blocks.
 *
 *   down -- line_turn, when it is time --> dialing -- it can be written to --> live
 *    ^                                       |                                   |
 *    +------------- line_drop, or it fails --+-----------------------------------+
 */
#pragma once

#include "examples/exchange/wire/connection.h"

typedef enum { LINE_DOWN, LINE_DIALING, LINE_LIVE } line_state;

typedef struct {
    const char *const *addresses;
    uint32_t addresses_count;
} line_addresses;

typedef struct {
    const line_addresses *to;
    connection stream;
    line_state state;
    uint32_t address;    /* of this or the next connection */
    uint32_t refused;    /* addresses in a row that did not answer */
    uint64_t dial_at_ns; /* down: when to try; dialing: when to give up */
    uint32_t number;     /* of this connection among all; 0: none yet */
    /* A slow reader reads a little now and then, and at times nothing for a while. */
    bool slow;
    uint64_t read_at_ns;
    uint64_t random;
} line;

void line_init(line *own, const line_addresses *to, uint32_t first_address);
/* Go on with it. *ret_made: it has just become live, and said HELLO. epoll_fd: where it is watched, with `mark`.
 * BATON_E_INVALID: not an address; -errno, -ENOMEM. */
BATON_MUST_USE int line_turn(line *own, int epoll_fd, uint64_t mark, uint64_t now_ns,
                             bool *ret_made);
/* It ends now, with what was on its way. The next one is made with the next line_turn: to the same address, or, if
 * this one was never welcomed there (stream.greeted), to the next. */
void line_drop(line *own, uint64_t now_ns);
/* Read what there is, or, of a slow one, as much as it cares to. */
void line_receive(line *own, uint64_t now_ns);
/* Watch for what can be used now. */
void line_watch(line *own, int epoll_fd, uint64_t mark, uint64_t now_ns);
/* When it wants to go on if nothing happens; UINT64_MAX: not by itself. */
uint64_t line_wake_ns(const line *own);

static inline bool line_is_over(const line *own)
{
    return own->state != LINE_DOWN && (own->stream.failed || own->stream.ended);
}
