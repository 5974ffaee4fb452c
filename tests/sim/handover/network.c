/* tests/sim/handover/network.c: stream sockets between processes. What one of them wrote arrives after
 * a while, in order; a connection that is cut loses what was under way, at each side for itself. One
 * that was made later does not wait for one that was made earlier. Those between hosts go over one
 * link, which may be down: then nothing passes, not even the end of a process, until it is up again, or
 * both sides have given up waiting. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/handover/handover_run.h"

#define ROOM_BYTES (128u << 10)
#define KEEP_NS    (11000 * MS) /* as drain/peer_channel.c asks the kernel to */

typedef struct segment segment;
struct segment {
    segment *next;
    uint64_t arrives_ns;
    size_t count, taken;
    uint8_t bytes[];
};

/* One way. */
typedef struct {
    segment *first, *last;
    size_t queued;
    uint64_t last_ns; /* when the last of it arrives */
    uint64_t ends_ns; /* when the reader sees that nothing follows; UINT64_MAX: it does not */
    bool ends_here;   /* its own host has ended it: seen although the link is down */
} way;

typedef struct {
    sim_connection *connection;
    sim_life *life; /* NULL: closed, or not accepted yet */
    uint32_t instance;
    bool open;
} end;

struct sim_connection {
    bool used;
    world *w;
    bool far; /* between hosts */
    bool connecting, refused;
    uint64_t syn_ns;
    char name[32]; /* where it connects to */
    end ends[2];   /* who connected, who accepted */
    way to[2];     /* what arrives there */
    uint64_t accepted_from_ns;
    void *listener; /* it waits there */
};

typedef struct {
    bool used;
    sim_life *life;
    char path[256];
} listener;

static sim_connection connections[CONNECTIONS_MAX];
static listener listeners[INSTANCES_MAX * 2];

static void way_clear(way *one)
{
    while (one->first != NULL) {
        segment *first = one->first;
        one->first = first->next;
        free(first);
    }
    *one = (way){.ends_ns = UINT64_MAX};
}

static void release_when_closed(sim_connection *c)
{
    if (c->ends[0].open || c->ends[1].open || c->listener != NULL)
        return;
    way_clear(&c->to[0]);
    way_clear(&c->to[1]);
    c->used = false;
}

void network_reset(void)
{
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        way_clear(&connections[i].to[0]);
        way_clear(&connections[i].to[1]);
        connections[i].used = false;
    }
    memset(listeners, 0, sizeof(listeners));
}

static int side_of(const end *self)
{
    return (int)(self - self->connection->ends);
}

static bool is_held(const sim_connection *c)
{
    const world *w = c->w;
    return world_now(w) < w->held_until_ns[c->ends[0].instance] ||
           world_now(w) < w->held_until_ns[c->ends[1].instance];
}

static bool is_down(const sim_connection *c)
{
    return c->far && link_is_down(c->w);
}

/* ---- listening and connecting ---- */

int network_listen(sim_fd *fd, const char *path)
{
    listener *free_one = NULL;
    for (uint32_t i = 0; i < INSTANCES_MAX * 2; i++) {
        if (listeners[i].used && strcmp(listeners[i].path, path) == 0)
            return -EADDRINUSE;
        if (!listeners[i].used)
            free_one = &listeners[i];
    }
    baton_assert(free_one != NULL);
    *free_one = (listener){.used = true, .life = fd->life};
    baton_assert(strlen(path) < sizeof(free_one->path));
    memcpy(free_one->path, path, strlen(path) + 1);
    fd->kind = FD_LISTENER;
    fd->end = free_one;
    return 0;
}

void network_unlisten(void *opaque)
{
    listener *self = opaque;
    self->used = false;
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        sim_connection *c = &connections[i];
        if (!c->used || c->listener != self)
            continue;
        c->listener = NULL;
        c->to[0].ends_ns = 0;
        release_when_closed(c);
    }
}

int network_connect(sim_life *life, const char *path, void **ret_end)
{
    world *w = life->w;
    listener *to = NULL;
    sim_connection *c = connections;
    for (uint32_t i = 0; i < INSTANCES_MAX * 2; i++)
        if (listeners[i].used && strcmp(listeners[i].path, path) == 0)
            to = &listeners[i];
    if (to == NULL)
        return -ECONNREFUSED;
    if (world_now(w) < w->held_until_ns[life->instance] ||
        world_now(w) < w->held_until_ns[to->life->instance])
        return -ECONNREFUSED;
    while (c < connections + CONNECTIONS_MAX && c->used)
        c++;
    baton_assert(c < connections + CONNECTIONS_MAX);
    *c = (sim_connection){
        .used = true,
        .w = w,
        .ends = {{c, life, life->instance, true}, {c, NULL, to->life->instance, false}},
        .to = {{.ends_ns = UINT64_MAX}, {.ends_ns = UINT64_MAX}},
        .accepted_from_ns = world_now(w) + world_draw(w, 200000),
        .listener = to,
    };
    w->totals->connections++;
    *ret_end = &c->ends[0];
    return 0;
}

/* By TCP: whether somebody listens there is known when it has got there. */
void network_connect_far(sim_life *life, const char *name, uint32_t instance, void **ret_end)
{
    world *w = life->w;
    sim_connection *c = connections;
    while (c < connections + CONNECTIONS_MAX && c->used)
        c++;
    baton_assert(c < connections + CONNECTIONS_MAX && strlen(name) < sizeof(c->name));
    *c = (sim_connection){
        .used = true,
        .w = w,
        .far = true,
        .connecting = true,
        .syn_ns = world_now(w) + 20000 + world_draw(w, 300000),
        .ends = {{c, life, life->instance, true}, {c, NULL, instance, false}},
        .to = {{.ends_ns = UINT64_MAX}, {.ends_ns = UINT64_MAX}},
    };
    memcpy(c->name, name, strlen(name) + 1);
    w->totals->connections++;
    *ret_end = &c->ends[0];
}

bool network_is_refused(const void *opaque)
{
    const end *self = opaque;
    return self->connection->refused;
}

uint32_t network_other_instance(const void *opaque)
{
    const end *self = opaque;
    return self->connection->ends[1 - side_of(self)].instance;
}

static void get_there(sim_connection *c)
{
    c->connecting = false;
    for (uint32_t i = 0; i < INSTANCES_MAX * 2; i++)
        if (listeners[i].used && strcmp(listeners[i].path, c->name) == 0)
            c->listener = &listeners[i];
    c->accepted_from_ns = world_now(c->w);
    c->refused = c->listener == NULL;
    if (c->refused)
        c->to[0] = (way){.ends_ns = 0, .ends_here = true};
}

static sim_connection *waiting_at(listener *self)
{
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++)
        if (connections[i].used && connections[i].listener == self &&
            connections[i].accepted_from_ns <= world_now(self->life->w))
            return &connections[i];
    return NULL;
}

bool network_can_accept(void *opaque)
{
    return waiting_at(opaque) != NULL;
}

int network_accept(void *opaque, void **ret_end)
{
    listener *self = opaque;
    sim_connection *c = waiting_at(self);
    if (c == NULL)
        return 0;
    c->listener = NULL;
    c->ends[1].life = self->life;
    c->ends[1].open = true;
    *ret_end = &c->ends[1];
    return 1;
}

/* ---- bytes ---- */

static const way *readable_way(const end *self)
{
    return &self->connection->to[side_of(self)];
}

static bool has_ended(const end *self)
{
    const way *in = readable_way(self);
    const sim_connection *c = self->connection;
    return !self->open || (in->ends_ns <= world_now(c->w) && (in->ends_here || !is_down(c)));
}

static bool has_bytes(const end *self)
{
    const way *in = readable_way(self);
    const sim_connection *c = self->connection;
    return self->open && in->first != NULL && in->first->arrives_ns <= world_now(c->w) &&
           (!is_down(c) || in->first->arrives_ns <= c->w->link_down_ns) &&
           (!is_held(c) || has_ended(self));
}

bool network_can_read(void *opaque)
{
    const end *self = opaque;
    return has_bytes(self) || has_ended(self);
}

bool network_is_hung_up(void *opaque)
{
    return has_ended(opaque);
}

ssize_t network_read(void *opaque, void *buffer, size_t bytes, bool peek)
{
    end *self = opaque;
    way *in = &self->connection->to[side_of(self)];
    if (!has_bytes(self))
        return has_ended(self) ? 0 : -EAGAIN;
    segment *first = in->first;
    const size_t there = first->count - first->taken;
    const size_t n = there < bytes ? there : bytes;
    memcpy(buffer, first->bytes + first->taken, n);
    if (peek)
        return (ssize_t)n;
    first->taken += n;
    in->queued -= n;
    if (first->taken == first->count) {
        in->first = first->next;
        if (in->first == NULL)
            in->last = NULL;
        free(first);
    }
    return (ssize_t)n;
}

bool network_can_write(void *opaque)
{
    const end *self = opaque;
    return has_ended(self) || (!self->connection->connecting &&
                               self->connection->to[1 - side_of(self)].queued < ROOM_BYTES);
}

ssize_t network_write(void *opaque, const void *buffer, size_t bytes)
{
    end *self = opaque;
    if (!self->open)
        return -EPIPE;
    sim_connection *c = self->connection;
    world *w = c->w;
    way *out = &c->to[1 - side_of(self)];
    const end *other = &c->ends[1 - side_of(self)];
    if (has_ended(self) || (!other->open && c->listener == NULL) || out->ends_ns != UINT64_MAX)
        return -EPIPE;
    if (out->queued >= ROOM_BYTES)
        return -EAGAIN;
    size_t n = bytes < ROOM_BYTES - out->queued ? bytes : ROOM_BYTES - out->queued;
    if (n > 1 && world_one_in(w, 16))
        n = 1 + world_draw(w, n);
    segment *one = malloc(sizeof(*one) + n);
    baton_assert(one != NULL);
    const uint64_t delay = world_one_in(w, 40)  ? world_draw(w, 30 * MS)
                           : world_one_in(w, 4) ? world_draw(w, MS)
                                                : 5000 + world_draw(w, 60000);
    out->last_ns = out->last_ns > world_now(w) + delay ? out->last_ns : world_now(w) + delay;
    *one = (segment){.arrives_ns = out->last_ns, .count = n};
    memcpy(one->bytes, buffer, n);
    if (out->last != NULL)
        out->last->next = one;
    else
        out->first = one;
    out->last = one;
    out->queued += n;
    return (ssize_t)n;
}

uint64_t network_next_ns(void)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        const sim_connection *c = &connections[i];
        if (!c->used || is_down(c))
            continue;
        if (c->connecting && c->syn_ns < next)
            next = c->syn_ns;
        if (c->listener != NULL && c->accepted_from_ns < next)
            next = c->accepted_from_ns;
        for (int side = 0; side < 2; side++) {
            const way *in = &c->to[side];
            if (!c->ends[side].open)
                continue;
            if (in->first != NULL && in->first->arrives_ns < next)
                next = in->first->arrives_ns;
            if (in->ends_ns < next)
                next = in->ends_ns;
        }
    }
    return next;
}

/* ---- the end of connections ---- */

/* What has not arrived never does. */
static void lose(way *one, uint64_t now)
{
    segment **at = &one->first;
    one->last = NULL;
    one->queued = 0;
    while (*at != NULL && (*at)->arrives_ns <= now) {
        one->last = *at;
        one->queued += (*at)->count - (*at)->taken;
        at = &(*at)->next;
    }
    while (*at != NULL) {
        segment *lost = *at;
        *at = lost->next;
        free(lost);
    }
}

/* What was written before arrives first. */
static void hang_up(end *self, bool at_once)
{
    sim_connection *c = self->connection;
    way *out = &c->to[1 - side_of(self)];
    if (!self->open)
        return;
    self->open = false;
    for (segment *one = out->first; one != NULL && at_once; one = one->next)
        one->arrives_ns = 0;
    if (out->ends_ns == UINT64_MAX)
        out->ends_ns = at_once ? 0 : out->last_ns;
    self->life = NULL;
    release_when_closed(c);
}

void network_close(void *opaque)
{
    hang_up(opaque, false);
}

/* Of a host that is gone, too, nobody says so: the other side finds out. */
static void die(end *self, bool died)
{
    sim_connection *c = self->connection;
    way *out = &c->to[1 - side_of(self)];
    if (c->far && died && c->ends[1 - side_of(self)].open && world_one_in(c->w, 3)) {
        lose(out, world_now(c->w));
        out->ends_ns =
            world_now(c->w) + (world_one_in(c->w, 6) ? KEEP_NS : world_draw(c->w, 300 * MS));
        out->ends_here = true;
    }
    hang_up(self, died && !c->far);
}

void network_life_ended(sim_life *life, bool died)
{
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++)
        for (int side = 0; side < 2; side++)
            if (connections[i].used && connections[i].ends[side].life == life)
                die(&connections[i].ends[side], died);
    for (uint32_t i = 0; i < INSTANCES_MAX * 2; i++)
        if (listeners[i].used && listeners[i].life == life)
            network_unlisten(&listeners[i]);
}

void network_cut(world *w)
{
    uint32_t found[CONNECTIONS_MAX], count = 0;
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++)
        if (connections[i].used && connections[i].ends[0].open && connections[i].ends[1].open)
            found[count++] = i;
    if (count == 0)
        return;
    sim_connection *c = &connections[found[world_draw(w, count)]];
    for (int side = 0; side < 2; side++) {
        lose(&c->to[side], world_now(w));
        if (c->to[side].ends_ns == UINT64_MAX)
            c->to[side].ends_ns = world_now(w) + world_draw(w, world_one_in(w, 3) ? 40 * MS : MS);
    }
    world_note(w, "-- cut: %s to %s", instance_path(c->ends[0].instance),
               instance_path(c->ends[1].instance));
    w->totals->cuts++;
}

/* ---- the link between the hosts ---- */

static void end_both(sim_connection *c, uint64_t arrived_by_ns)
{
    for (int side = 0; side < 2; side++) {
        lose(&c->to[side], arrived_by_ns);
        if (c->to[side].ends_ns == UINT64_MAX)
            c->to[side].ends_ns =
                world_now(c->w) + world_draw(c->w, world_one_in(c->w, 3) ? 40 * MS : MS);
        c->to[side].ends_here = true;
    }
}

/* noticed: something on the way says so to both; else they wait. */
void network_link_down(world *w, uint64_t until_ns, bool noticed)
{
    if (!link_is_down(w))
        w->link_down_ns = world_now(w);
    w->link_up_ns = until_ns > w->link_up_ns ? until_ns : w->link_up_ns;
    w->totals->link_cuts++;
    for (uint32_t i = 0; i < CONNECTIONS_MAX && noticed; i++)
        if (connections[i].used && connections[i].far && !connections[i].connecting)
            end_both(&connections[i], world_now(w));
}

/* Who connects gets there; and what nobody answered for too long is over. */
void network_turn(world *w)
{
    const bool too_long = link_is_down(w) && world_now(w) - w->link_down_ns >= KEEP_NS;
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        sim_connection *c = &connections[i];
        if (!c->used || !c->far)
            continue;
        if (c->connecting && c->syn_ns <= world_now(w) && !is_down(c) && !is_held(c))
            get_there(c);
        if (too_long && !c->connecting && !c->refused)
            end_both(c, w->link_down_ns);
    }
}
