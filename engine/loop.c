/* engine/loop.c: epoll. */
#include "engine/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_PER_TURN 64
#define NS_PER_MS       UINT64_C(1000000)
#define NS_PER_SECOND   UINT64_C(1000000000)
#define SLEEP_NS_MAX                                                                               \
    (UINT64_C(1000000) * NS_PER_SECOND) /* longer is no different, and fits every type */

int baton_loop_init(baton_loop *loop)
{
    *loop = (baton_loop){.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    return loop->epoll_fd < 0 ? -errno : 0;
}

void baton_loop_fini(baton_loop *loop)
{
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    free(loop->watches);
    *loop = (baton_loop){.epoll_fd = -1};
}

static int make_room(baton_loop *loop, int fd)
{
    if ((uint32_t)fd < loop->watches_count)
        return 0;
    uint32_t count = loop->watches_count > 0 ? loop->watches_count : 64;
    while (count <= (uint32_t)fd)
        count *= 2;
    baton_loop_watch *watches = realloc(loop->watches, count * sizeof(*watches));
    if (watches == NULL)
        return -ENOMEM;
    memset(watches + loop->watches_count, 0, (count - loop->watches_count) * sizeof(*watches));
    loop->watches = watches;
    loop->watches_count = count;
    return 0;
}

int baton_loop_watch_fd(baton_loop *loop, int fd, uint32_t events, baton_watch watch, void *context)
{
    if (fd < 0 || watch == NULL)
        return BATON_E_INVALID;
    int r = make_room(loop, fd);
    if (r < 0)
        return r;

    baton_loop_watch *slot = &loop->watches[fd];
    const bool was_watched = slot->watch != NULL;
    /* Changing a watch keeps its generation: an event that is already collected is still its
     * event. */
    const uint32_t generation = was_watched ? slot->generation : slot->generation + 1;
    struct epoll_event event = {
        .events = events,
        .data.u64 = (uint64_t)generation << 32 | (uint32_t)fd,
    };
    r = epoll_ctl(loop->epoll_fd, was_watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    if (r < 0 && was_watched &&
        errno == ENOENT) { /* closed without unwatch, and the number is used again */
        slot->generation++;
        event.data.u64 = (uint64_t)slot->generation << 32 | (uint32_t)fd;
        r = epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event);
    } else if (r == 0) {
        slot->generation = generation;
    }
    if (r < 0)
        return -errno;
    slot->watch = watch;
    slot->context = context;
    return 0;
}

void baton_loop_unwatch_fd(baton_loop *loop, int fd)
{
    if (fd < 0 || (uint32_t)fd >= loop->watches_count || loop->watches[fd].watch == NULL)
        return;
    loop->watches[fd].watch = NULL;
    loop->watches[fd].generation++;
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd,
                    NULL); /* a closed one is gone from it already */
}

static int sleep_whole_ms(baton_loop *loop, struct epoll_event *events, uint64_t timeout_ns)
{
    int timeout_ms = -1;
    if (timeout_ns < SLEEP_NS_MAX)
        timeout_ms = (int)((timeout_ns + NS_PER_MS - 1) / NS_PER_MS);
    return epoll_wait(loop->epoll_fd, events, EVENTS_PER_TURN, timeout_ms);
}

static int sleep_ns(baton_loop *loop, struct epoll_event *events, uint64_t timeout_ns)
{
    if (loop->whole_ms_only)
        return sleep_whole_ms(loop, events, timeout_ns);
    struct timespec limit = {.tv_sec = (time_t)(timeout_ns / NS_PER_SECOND),
                             .tv_nsec = (long)(timeout_ns % NS_PER_SECOND)};
    int n = epoll_pwait2(loop->epoll_fd, events, EVENTS_PER_TURN,
                         timeout_ns < SLEEP_NS_MAX ? &limit : NULL, NULL);
    if (n < 0 && (errno == ENOSYS || errno == EPERM)) {
        loop->whole_ms_only = true;
        return sleep_whole_ms(loop, events, timeout_ns);
    }
    return n;
}

int baton_loop_turn(baton_loop *loop, uint64_t timeout_ns)
{
    struct epoll_event events[EVENTS_PER_TURN];
    int n = sleep_ns(loop, events, timeout_ns);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < n; i++) {
        const uint32_t fd = (uint32_t)events[i].data.u64;
        const uint32_t generation = (uint32_t)(events[i].data.u64 >> 32);
        /* Copied: the callback may watch and unwatch, and with that move the table. */
        const baton_loop_watch slot = loop->watches[fd];
        if (slot.watch != NULL && slot.generation == generation)
            slot.watch(slot.context, (int)fd, events[i].events);
    }
    return 0;
}
