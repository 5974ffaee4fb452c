/* drain/pace.c: see pace.h. */
#include "drain/pace.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>

#include "drain/now.h"

#define SILENCE_NS UINT64_C(10000000000) /* nothing at all */
#define SLICE_NS   UINT64_C(50000000)

static const char *const what_fetch = "fetch the active's snapshot";

static uint64_t stall_ns(const baton_pace *pace)
{
    return pace->stall_ns != 0 ? pace->stall_ns : BATON_FETCH_STALL_NS;
}

void baton_pace_begin(baton_pace *pace, const char *step, uint64_t seq, uint64_t of_bytes)
{
    pace->progress = (baton_fetch_progress){.step = step, .seq = seq, .of = of_bytes};
    pace->since_ns = baton_now_ns();
    pace->moved_bytes = 0;
}

int baton_pace_step(baton_pace *pace)
{
    if (pace->stopped == 0 && pace->watch != NULL)
        pace->stopped = pace->watch->step(pace->watch->context, &pace->progress);
    return pace->stopped;
}

int baton_pace_moved(baton_pace *pace, uint64_t bytes)
{
    pace->progress.done += bytes;
    pace->moved_bytes += bytes;
    return baton_pace_step(pace);
}

int baton_pace_ended(int r, const char *what, baton_error *error)
{
    return baton_error_set(error, r, what, "this start was told to end", NULL);
}

static int check_stall(baton_pace *pace, baton_error *error)
{
    const uint64_t now = baton_now_ns(), passed = now - pace->since_ns;
    if (passed < stall_ns(pace))
        return 0;
    if (pace->moved_bytes < BATON_FETCH_BYTES_MIN)
        return baton_error_setf(error, BATON_E_TIMEOUT, what_fetch,
                                "look at the network and at the active, then start again, or give "
                                "it longer with --fetch-stall",
                                "the active sends too slowly: %" PRIu64 " bytes in %" PRIu64 " ms",
                                pace->moved_bytes, passed / 1000000);
    pace->since_ns = now;
    pace->moved_bytes = 0;
    return 0;
}

/* The slices are counted, not timed: also a clock that stands still comes to an end. */
static int wait_in_slices(baton_pace *pace, struct pollfd *fds, uint64_t wait_ns)
{
    const bool watched = pace->watch != NULL;
    const uint64_t slice_ns = watched && wait_ns > SLICE_NS ? SLICE_NS : wait_ns;
    if (watched)
        fds[1] = (struct pollfd){.fd = pace->watch->wake_fd, .events = POLLIN};
    for (uint64_t waited_ns = 0; waited_ns < wait_ns; waited_ns += slice_ns) {
        const int n = poll(fds, watched ? 2 : 1, (int)((slice_ns + 999999) / 1000000));
        if (n < 0 && errno != EINTR)
            return -errno;
        const int r = baton_pace_step(pace);
        if (r != 0 || (n > 0 && fds[0].revents != 0))
            return r != 0 ? r : 1;
    }
    return 0;
}

int baton_pace_wait(baton_pace *pace, int fd, short events, baton_error *error)
{
    struct pollfd fds[2] = {{.fd = fd, .events = events}};
    const uint64_t limit = stall_ns(pace) < SILENCE_NS ? stall_ns(pace) : SILENCE_NS;
    int r = check_stall(pace, error);
    if (r < 0)
        return r;
    r = wait_in_slices(pace, fds, limit);
    if (r == 0)
        return baton_error_set(error, BATON_E_TIMEOUT, what_fetch,
                               (events & POLLOUT) != 0 ? "the active takes nothing"
                                                       : "the active does not answer",
                               "look at its log");
    if (r < 0)
        return baton_pace_ended(r, what_fetch, error);
    return 0;
}

int baton_pace_sleep(baton_pace *pace, uint64_t ns)
{
    struct pollfd fds[2] = {{.fd = -1}};
    const int r = wait_in_slices(pace, fds, ns);
    return r < 0 ? r : 0;
}
