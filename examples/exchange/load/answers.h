/* examples/exchange/load/answers.h: what became of each command, from what its client was told (L3). No sockets.
 *
 * Fills are added up by order and held against the ACKs: what an order took at once, with what its replacements took,
 * is what its ACKs say. A fill may be missing (its bytes died with a process), but never be one too many. */
#pragma once

#include "examples/exchange/load/lanes.h"

enum {
    MEASURED_NOT,
    MEASURED,
    MEASURED_SLOW
}; /* a deposit; a client that reads; one of a slow reader */

/* Times are CLOCK_MONOTONIC; 0: not yet. */
typedef struct {
    uint64_t intended_ns;
    uint64_t sent_ns; /* for the first time */
    uint64_t acked_ns;
    uint64_t seq;
    uint64_t filled;
    uint64_t remaining;
    uint64_t told_filled; /* of an order: by its ACK and those of its replacements */
    uint64_t taken;       /* of an order: traded as taker, by FILLs */
    uint64_t made;        /* and as maker */
    uint32_t connection;  /* number of the connection that the answer came on, from 1 */
    uint32_t
        again_on; /* sent a second time on purpose on this connection, and not answered again; 0: no */
    uint16_t outcome;
    uint8_t measured;
} command_result;

typedef struct {
    uint32_t acked;
    uint32_t conflicts; /* a second answer that differs from the first: applied twice, or worse */
    uint32_t refused;   /* answers that say "not applied" */
    uint32_t no_room;   /* of these: for want of room */
    uint64_t fills;     /* told for the first time */
    uint64_t fills_again;
} answers_counts;

typedef struct {
    lanes *lanes;
    command_result *results; /* by command */
    answers_counts counts;
} answers;

typedef enum {
    ANSWER_FIRST,
    ANSWER_AGAIN, /* it was known, and is the same */
    ANSWER_CONFLICT,
} answer_verdict;
/* *ret_index: the command; LANE_END: it was never sent. */
answer_verdict answers_ack(answers *own, const exchange_ack *ack, uint64_t now_ns,
                           uint32_t connection, uint32_t *ret_index);
void answers_fill(answers *own, const exchange_fill *fill);

/* When all is over. */
typedef struct {
    uint32_t fills_short; /* orders that traded more, their ACKs say, than their FILLs add up to */
    uint32_t fills_over;  /* and less */
} answers_sums;
answers_sums answers_add_up(const answers *own);
