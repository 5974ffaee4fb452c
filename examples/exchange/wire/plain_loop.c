#include "examples/exchange/wire/plain_loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS_MAX = 64 };

/* By fd. An event that waits for a watch of before finds another generation. */
typedef struct {
    loop_ready ready; /* NULL: not watched */
    void *context;
    uint32_t generation;
} watched;

struct plain_loop {
    int fd;
    uint32_t generation;
    uint32_t watched_count;
    watched *watched;
};

int plain_loop_create(plain_loop **ret_loop)
{
    plain_loop *own = calloc(1, sizeof(*own));
    if (!own)
        return -ENOMEM;
    own->fd = epoll_create1(EPOLL_CLOEXEC);
    if (own->fd < 0) {
        int r = -errno;
        free(own);
        return r;
    }
    *ret_loop = own;
    return 0;
}

void plain_loop_destroy(plain_loop *own)
{
    if (!own)
        return;
    close(own->fd);
    free(own->watched);
    free(own);
}

static int make_room(plain_loop *own, uint32_t fd)
{
    if (fd < own->watched_count)
        return 0;
    uint32_t count = own->watched_count != 0 ? own->watched_count : 64;
    while (count <= fd)
        count *= 2;
    watched *grown = realloc(own->watched, count * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    memset(grown + own->watched_count, 0, (count - own->watched_count) * sizeof(*grown));
    own->watched = grown;
    own->watched_count = count;
    return 0;
}

static int watch(void *loop, int fd, uint32_t events, loop_ready ready, void *context)
{
    plain_loop *own = loop;
    int r = make_room(own, (uint32_t)fd);
    if (r < 0)
        return r;
    watched *place = &own->watched[fd];
    const bool known = place->ready != NULL;
    const uint32_t generation = known ? place->generation : ++own->generation;
    struct epoll_event event = {.events = events,
                                .data.u64 = (uint64_t)generation << 32 | (uint32_t)fd};
    if (epoll_ctl(own->fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0)
        return -errno;
    *place = (watched){.ready = ready, .context = context, .generation = generation};
    return 0;
}

static void unwatch(void *loop, int fd)
{
    plain_loop *own = loop;
    if ((uint32_t)fd >= own->watched_count || own->watched[fd].ready == NULL)
        return;
    (void)epoll_ctl(own->fd, EPOLL_CTL_DEL, fd, NULL);
    own->watched[fd].ready = NULL;
}

wire_loop plain_loop_of(plain_loop *own)
{
    return (wire_loop){.watch = watch, .unwatch = unwatch, .loop = own};
}

int plain_loop_turn(plain_loop *own, int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(own->fd, events, EVENTS_MAX, timeout_ms);
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < count; i++) {
        const uint32_t fd = (uint32_t)events[i].data.u64;
        const watched place = own->watched[fd];
        if (place.ready != NULL && place.generation == (uint32_t)(events[i].data.u64 >> 32))
            place.ready(place.context, (int)fd, events[i].events);
    }
    return 0;
}
