#include "bench/whole_load.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "bench/common.h"

enum { BUFFER_BYTES = 1 << 20 };
#define GIVE_UP_NS INT64_C(60000000000)

typedef struct {
    const whole_side *side;
    const whole_schedule *schedule;
    baton_histogram *latency;
    int64_t *due_ns; /* 0: answered */
    uint64_t next;   /* the first that was not put yet */
    uint64_t answered;
    int64_t last_ns; /* of the last answer */
    uint8_t *out;
    uint32_t out_begin, out_end;
    uint8_t *in;
    uint32_t in_end;
} load;

static double random_unit(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (double)((*random >> 11) + 1) / 9007199254740993.0;
}

static void make_schedule(load *own)
{
    uint64_t random = own->schedule->seed * 0x9e3779b97f4a7c15u | 1;
    double at_ns = (double)bench_now_ns() + 1e6;
    for (uint64_t i = 0; i < own->schedule->count; i++) {
        at_ns += -log(random_unit(&random)) * 1e9 / own->schedule->rate;
        own->due_ns[i] = (int64_t)at_ns;
    }
}

static void put_due(load *own, int64_t now_ns)
{
    if (own->out_begin == own->out_end)
        own->out_begin = own->out_end = 0;
    while (own->next < own->schedule->count && own->due_ns[own->next] <= now_ns &&
           own->next - own->answered < own->schedule->open_max &&
           own->out_end + WHOLE_MESSAGE_BYTES_MAX <= BUFFER_BYTES)
        own->out_end += own->side->put(own->side->context, own->next++, own->out + own->out_end);
}

static int send_some(load *own)
{
    if (own->out_begin == own->out_end)
        return 0;
    ssize_t sent = send(own->side->fd, own->out + own->out_begin, own->out_end - own->out_begin,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0)
        own->out_begin += (uint32_t)sent;
    return sent < 0 && errno != EAGAIN && errno != EINTR ? -errno : 0;
}

static int note_answer(load *own, uint64_t i, int64_t now_ns)
{
    if (i >= own->next || own->due_ns[i] == 0)
        return -EBADMSG;
    const int64_t late_ns = now_ns - own->due_ns[i];
    baton_histogram_record(own->latency, late_ns > 0 ? (uint64_t)late_ns : 0);
    own->due_ns[i] = 0;
    own->answered++;
    own->last_ns = now_ns;
    return 0;
}

static int receive_some(load *own)
{
    ssize_t got =
        recv(own->side->fd, own->in + own->in_end, BUFFER_BYTES - own->in_end, MSG_DONTWAIT);
    if (got == 0)
        return -EPIPE;
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    const int64_t now_ns = bench_now_ns();
    uint32_t at = 0, bytes;
    uint64_t answered;
    own->in_end += (uint32_t)got;
    while ((bytes = own->side->get(own->side->context, own->in + at, own->in_end - at, &answered)) >
           0) {
        at += bytes;
        int r = answered != WHOLE_NONE ? note_answer(own, answered, now_ns) : 0;
        if (r < 0)
            return r;
    }
    memmove(own->in, own->in + at, own->in_end - at);
    own->in_end -= at;
    return 0;
}

/* Until something comes, or is due. */
static int rest(load *own, int64_t now_ns)
{
    struct pollfd wanted = {.fd = own->side->fd, .events = POLLIN};
    int64_t sleep_ns = 1000000000;
    if (own->out_begin < own->out_end)
        wanted.events |= POLLOUT;
    if (own->next < own->schedule->count && own->next - own->answered < own->schedule->open_max) {
        const int64_t left_ns = own->due_ns[own->next] - now_ns;
        sleep_ns = left_ns < 0 ? 0 : left_ns < sleep_ns ? left_ns : sleep_ns;
    }
    const struct timespec limit = {.tv_sec = sleep_ns / 1000000000,
                                   .tv_nsec = sleep_ns % 1000000000};
    const int ready = ppoll(&wanted, 1, &limit, NULL);
    if (ready < 0)
        return errno == EINTR ? 0 : -errno;
    return ready > 0 && (wanted.revents & (POLLIN | POLLHUP | POLLERR)) ? receive_some(own) : 0;
}

static int drive(load *own)
{
    int r = 0;
    own->last_ns = bench_now_ns();
    while (r == 0 && own->answered < own->schedule->count) {
        const int64_t now_ns = bench_now_ns();
        put_due(own, now_ns);
        r = send_some(own);
        if (r == 0)
            r = rest(own, now_ns);
        if (now_ns - own->last_ns > GIVE_UP_NS)
            r = -ETIMEDOUT;
    }
    return r;
}

int whole_load_run(const whole_side *side, const whole_schedule *schedule, baton_histogram *latency,
                   whole_outcome *ret_outcome)
{
    load own = {.side = side, .schedule = schedule, .latency = latency};
    int r = -ENOMEM;
    own.due_ns = calloc(schedule->count, sizeof(*own.due_ns));
    own.in = malloc(BUFFER_BYTES);
    own.out = malloc(BUFFER_BYTES);
    if (own.due_ns && own.in && own.out) {
        (void)prctl(PR_SET_TIMERSLACK, 1UL);
        make_schedule(&own);
        const int64_t first_ns = own.due_ns[0], last_ns = own.due_ns[schedule->count - 1];
        r = drive(&own);
        *ret_outcome = (whole_outcome){.took_ns = (double)(own.last_ns - first_ns),
                                       .late_ns = (double)(own.last_ns - last_ns)};
    }
    free(own.due_ns);
    free(own.in);
    free(own.out);
    return r;
}
