#include "examples/exchange/risk-mirror/redis_line.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <baton/clock.h>

#include "examples/exchange/wire/address.h"

enum { ANSWER_S = 5, SLICE_MS = 100 };

struct redis_line {
    const char *address;
    const volatile sig_atomic_t *stop;
    redisContext *context; /* not blocking; NULL: down */
    char why[256];
};

int redis_line_create(const char *address, const volatile sig_atomic_t *stop, redis_line **ret_line)
{
    redis_line *own = calloc(1, sizeof(*own));
    if (!own)
        return -ENOMEM;
    own->address = address;
    own->stop = stop;
    *ret_line = own;
    return 0;
}

void redis_line_destroy(redis_line *own)
{
    if (!own)
        return;
    redis_line_hang_up(own);
    free(own);
}

bool redis_line_is_up(const redis_line *own)
{
    return own->context != NULL;
}

void redis_line_hang_up(redis_line *own)
{
    if (own->context)
        redisFree(own->context);
    own->context = NULL;
}

const char *redis_line_why(const redis_line *own)
{
    return own->why;
}

static redis_verdict away(redis_line *own, const char *why)
{
    snprintf(own->why, sizeof(own->why), "%s", why);
    redis_line_hang_up(own);
    return REDIS_AWAY;
}

static uint64_t deadline(void)
{
    return baton_clock_monotonic_ns(baton_clock_system()) + ANSWER_S * UINT64_C(1000000000);
}

/* NULL: it is ready. Else why it is not. */
static const char *wait_for(const redis_line *own, int fd, short events, uint64_t until_ns)
{
    struct pollfd one = {.fd = fd, .events = events};
    while (!*own->stop) { /* a signal that comes right here costs a slice */
        const int ready = poll(&one, 1, SLICE_MS);
        if (ready > 0)
            return NULL;
        if (ready < 0 && errno != EINTR)
            return strerror(errno);
        if (baton_clock_monotonic_ns(baton_clock_system()) >= until_ns)
            return "no answer for 5 s";
    }
    return "the program is to end";
}

static const char *finish_dial(const redis_line *own, int fd)
{
    int error = 0;
    socklen_t bytes = sizeof(error);
    const char *why = wait_for(own, fd, POLLOUT, deadline());
    if (why)
        return why;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) < 0)
        error = errno;
    return error != 0 ? strerror(error) : NULL;
}

redis_verdict redis_line_dial(redis_line *own)
{
    int fd;
    if (own->context)
        return REDIS_ANSWERED;
    int r = address_dial(own->address, &fd);
    if (r < 0)
        return away(own, baton_status_text(r));
    const char *why = finish_dial(own, fd);
    if (!why)
        own->context = redisConnectFd(fd);
    if (own->context && own->context->err == 0)
        return REDIS_ANSWERED;
    if (!own->context)
        close(fd);
    return away(own, why ? why : "not enough memory");
}

static const char *send_all(redis_line *own, uint64_t until_ns)
{
    for (int done = 0;;) {
        if (redisBufferWrite(own->context, &done) != REDIS_OK)
            return own->context->errstr;
        if (done)
            return NULL;
        const char *why = wait_for(own, own->context->fd, POLLOUT, until_ns);
        if (why)
            return why;
    }
}

static const char *receive(redis_line *own, uint64_t until_ns, redisReply **ret_reply)
{
    for (void *reply = NULL;;) {
        if (redisGetReplyFromReader(own->context, &reply) != REDIS_OK)
            return own->context->errstr;
        *ret_reply = reply;
        if (reply)
            return NULL;
        const char *why = wait_for(own, own->context->fd, POLLIN, until_ns);
        if (why)
            return why;
        if (redisBufferRead(own->context) != REDIS_OK)
            return own->context->errstr;
    }
}

/* What a server says that is starting, is busy, is no primary now, or has no room. Everything else is wrong for good. */
static redis_verdict judge_error(redis_line *own, redisReply *reply)
{
    static const char *const passing[] = {"LOADING",    "BUSY",     "MASTERDOWN",
                                          "READONLY",   "OOM",      "MISCONF",
                                          "NOREPLICAS", "TRYAGAIN", "CLUSTERDOWN"};
    redis_verdict verdict = REDIS_REFUSED;
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {
        const size_t bytes = strlen(passing[i]);
        if (strncmp(reply->str, passing[i], bytes) == 0 && strchr(" ", reply->str[bytes]))
            verdict = REDIS_AWAY;
    }
    if (strncmp(reply->str, "NOSCRIPT", 8) == 0)
        verdict = REDIS_NO_SCRIPT;
    snprintf(own->why, sizeof(own->why), "%s", reply->str);
    freeReplyObject(reply);
    if (verdict == REDIS_AWAY)
        redis_line_hang_up(own);
    return verdict;
}

redis_verdict redis_line_ask(redis_line *own, int count, const char **words, const size_t *bytes,
                             redisReply **ret_reply)
{
    const uint64_t until_ns = deadline();
    if (!own->context)
        return away(own, "not connected");
    if (redisAppendCommandArgv(own->context, count, words, bytes) != REDIS_OK)
        return away(own, own->context->errstr);
    const char *why = send_all(own, until_ns);
    if (!why)
        why = receive(own, until_ns, ret_reply);
    if (why)
        return away(own, why);
    return (*ret_reply)->type == REDIS_REPLY_ERROR ? judge_error(own, *ret_reply) : REDIS_ANSWERED;
}
