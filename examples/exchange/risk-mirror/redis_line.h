/* examples/exchange/risk-mirror/redis_line.h: a line to a Redis server: one command, one answer. Nothing here waits for
 * ever: a server that does not answer is given up, and a request to end the program ends every wait. */
#pragma once

#include <signal.h>
#include <stdbool.h>

#include <baton/status.h>

#include <hiredis/hiredis.h>

typedef struct redis_line redis_line;

typedef enum {
    REDIS_ANSWERED,
    REDIS_AWAY, /* not there, too slow, or it says that it can't now: nothing is known of the command's fate */
    REDIS_NO_SCRIPT, /* to EVALSHA: load it first */
    REDIS_REFUSED,   /* an error that time does not heal */
} redis_verdict;

/* address is as in wire/address.h and stays the caller's, as does *stop: not 0 ends what waits. -ENOMEM. */
BATON_MUST_USE int redis_line_create(const char *address, const volatile sig_atomic_t *stop,
                                     redis_line **ret_line);
void redis_line_destroy(redis_line *own); /* NULL is fine */

bool redis_line_is_up(const redis_line *own);
/* Once; also when it is up already. */
redis_verdict redis_line_dial(redis_line *own);
/* REDIS_ANSWERED: freeReplyObject(*ret_reply). REDIS_AWAY: it is down now. */
redis_verdict redis_line_ask(redis_line *own, int count, const char **words, const size_t *bytes,
                             redisReply **ret_reply);
void redis_line_hang_up(redis_line *own);
const char *redis_line_why(const redis_line *own); /* of the last verdict that was no answer */
