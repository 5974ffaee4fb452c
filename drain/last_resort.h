/* drain/last_resort.h: a drain that can not end: a disk that hangs holds the loop, or the close,
 * and with it the process, for as long as it likes. A thread of its own waits for a little
 * longer than the drain's deadline, says which step it stood in, and ends the process with exit
 * code 1, while whoever sent SIGTERM still waits for that. Nothing acknowledged is lost by it. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define BATON_LAST_RESORT_NS UINT64_C(4000000000) /* with the default deadline: before 30 s */

typedef struct {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t over;
    bool armed;
    bool is_over;
    const char *step; /* static text */
    uint64_t until_ns;
} baton_last_resort;

/* Counts from now. Best effort: without memory for a thread, there is none. */
void baton_last_resort_arm(baton_last_resort *resort, uint64_t deadline_ns, const char *step);
void baton_last_resort_reached(baton_last_resort *resort, const char *step);
/* The process ends by itself. Fine when it was never armed. */
void baton_last_resort_disarm(baton_last_resort *resort);
