/* bench/whole_load.h: open-loop load on a stream: messages are due on a schedule, whatever became of those
 * before, and a latency counts from when its message was due. One thread; it sleeps when nothing is to do. */
#pragma once

#include <baton/histogram.h>

/* What the messages are sent to, and what answers them. */
typedef struct {
    int fd; /* a stream, non-blocking */
    /* Puts message i of the block there; returns its bytes, WHOLE_MESSAGE_BYTES_MAX or less. */
    uint32_t (*put)(void *context, uint64_t i, uint8_t *at);
    /* Of the first whole message there is: returns its bytes; 0: it is not whole yet. *ret_answered: which of
     * the block it answers; WHOLE_NONE: none. */
    uint32_t (*get)(void *context, const uint8_t *bytes, uint32_t count, uint64_t *ret_answered);
    void *context;
} whole_side;

#define WHOLE_MESSAGE_BYTES_MAX 256u
#define WHOLE_NONE              UINT64_MAX

typedef struct {
    double rate;    /* a second, with exponential gaps: clients know nothing of each other */
    uint64_t count; /* messages of the block */
    uint64_t seed;  /* of the gaps */
    uint64_t
        open_max; /* without an answer at once; what is due beyond waits, and its latency with it */
} whole_schedule;

typedef struct {
    double took_ns; /* first due to last answer */
    double late_ns; /* last due to last answer */
} whole_outcome;

/* Until all is answered, each once. -ETIMEDOUT: nothing came for long; -EPIPE; -EBADMSG: answered twice, or
 * never asked; -ENOMEM. */
int whole_load_run(const whole_side *side, const whole_schedule *schedule, baton_histogram *latency,
                   whole_outcome *ret_outcome);
