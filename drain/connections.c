/* drain/connections.c: connections into messages, and out of them. */
#include "drain/connections.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <baton/log.h>

#include "base/assert.h"

/* The active has each connection twice while copies of them wait to be sent. */
#define DESCRIPTORS_OF_A_HANDOVER (2 * BATON_CONNECTIONS_MAX + BATON_DESCRIPTORS_KEPT)

#define BODY_HEAD(count)                                                                           \
    ((uint32_t)(sizeof(baton_peer_connections) + (count) * sizeof(baton_peer_connection)))

/* Descriptors are given out from the lowest free number on: one as high as this means that few are
 * left. */
static int highest_fd(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > INT32_MAX)
        return INT32_MAX;
    return limit.rlim_cur > 2 * BATON_DESCRIPTORS_KEPT
               ? (int)limit.rlim_cur - (int)BATON_DESCRIPTORS_KEPT
               : (int)limit.rlim_cur / 2;
}

/* In a process with threads the kernel waits for a grace period whenever its table of descriptors grows: 10 ms
 * and more, which are spent here and not in the gap. It never shrinks. */
static void grow_table(rlim_t limit)
{
    const int highest =
        limit > DESCRIPTORS_OF_A_HANDOVER ? (int)DESCRIPTORS_OF_A_HANDOVER : (int)limit - 1;
    const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int high = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, highest) : -1;
    if (high >= 0)
        close(high);
    if (fd >= 0)
        close(fd);
}

void baton_connections_make_room(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    if (limit.rlim_cur < limit.rlim_max) {
        const rlim_t soft = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            limit.rlim_cur = soft;
    }
    grow_table(limit.rlim_cur);
}

/* ---- into messages ---- */

void baton_parcel_free(baton_parcel *parcel)
{
    if (parcel == NULL)
        return;
    for (uint32_t i = 0; i < parcel->fds_count; i++)
        close(parcel->fds[i]);
    free(parcel);
}

/* Of all its parts; UINT64_MAX: it fits no message. */
static uint64_t bytes_of(const baton_connection *connection)
{
    const uint64_t sum =
        (uint64_t)connection->received_bytes + connection->unsent_bytes + connection->notes_bytes;
    return sum <= BATON_CONNECTION_BYTES_MAX ? sum : UINT64_MAX;
}

static int copy_fd(int fd, int highest)
{
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy >= 0 && copy < highest)
        return copy;
    if (copy >= 0)
        close(copy);
    return -1;
}

/* How many of the list go into one message, and the bytes behind its head. */
static uint32_t choose(const baton_connection *list, uint32_t count, bool *chosen,
                       uint32_t *ret_used, uint32_t *ret_bytes)
{
    uint32_t taken = 0, used = 0;
    uint64_t bytes = 0;
    for (; used < count && taken < BATON_PEER_CONNECTIONS_MAX; used++) {
        const uint64_t own = bytes_of(&list[used]);
        chosen[used] = own != UINT64_MAX && list[used].fd >= 0;
        if (!chosen[used])
            continue;
        if (bytes + own > BATON_CONNECTION_BYTES_MAX)
            break;
        bytes += own;
        taken++;
    }
    *ret_used = used;
    *ret_bytes = (uint32_t)bytes;
    return taken;
}

static uint8_t *put_part(uint8_t *to, const void *bytes, uint32_t count)
{
    if (count > 0)
        memcpy(to, bytes, count);
    return to + count;
}

static void put_head(baton_peer_connection *to, const baton_connection *from)
{
    *to = (baton_peer_connection){.received_bytes = baton_le32_put(from->received_bytes),
                                  .unsent_bytes = baton_le32_put(from->unsent_bytes),
                                  .notes_bytes = baton_le32_put(from->notes_bytes)};
    snprintf((char *)to->name, sizeof(to->name), "%s", from->name);
}

/* The chosen ones whose descriptors can be copied: their places in the list. */
static uint32_t copy_fds(baton_parcel *parcel, const baton_connection *list, const bool *chosen,
                         uint32_t used, uint32_t *places)
{
    const int highest = highest_fd();
    for (uint32_t i = 0; i < used; i++) {
        const int copy = chosen[i] ? copy_fd(list[i].fd, highest) : -1;
        if (copy < 0)
            continue;
        places[parcel->fds_count] = i;
        parcel->fds[parcel->fds_count++] = copy;
    }
    return parcel->fds_count;
}

baton_parcel *baton_parcel_pack(const baton_connection *list, uint32_t count, uint32_t *ret_used,
                                uint32_t *ret_left)
{
    uint32_t places[BATON_PEER_CONNECTIONS_MAX];
    uint32_t bytes = 0, used = 0;
    bool *chosen = calloc(count + 1u, sizeof(*chosen));
    const uint32_t taken = chosen != NULL ? choose(list, count, chosen, &used, &bytes) : 0;
    baton_parcel *parcel =
        taken > 0 ? calloc(1, sizeof(*parcel) + BODY_HEAD(taken) + bytes + 8u) : NULL;
    *ret_used = chosen != NULL ? used : count;
    *ret_left = *ret_used;
    const uint32_t held = parcel != NULL ? copy_fds(parcel, list, chosen, used, places) : 0;
    free(chosen);
    if (held == 0) {
        baton_parcel_free(parcel);
        return NULL;
    }
    baton_peer_connections *body = (baton_peer_connections *)parcel->body;
    baton_peer_connection *heads = (baton_peer_connection *)(body + 1);
    uint8_t *to = (uint8_t *)(heads + held);
    body->count = baton_le32_put(held);
    for (uint32_t i = 0; i < held; i++) {
        const baton_connection *from = &list[places[i]];
        put_head(&heads[i], from);
        to = put_part(to, from->received, from->received_bytes);
        to = put_part(to, from->unsent, from->unsent_bytes);
        to = put_part(to, from->notes, from->notes_bytes);
    }
    parcel->body_bytes = ((uint32_t)(to - (uint8_t *)body) + 7u) & ~7u;
    *ret_left = used - held;
    return parcel;
}

/* ---- out of messages ---- */

/* Room for one message more; its body is kept for what the connections point to. */
static void *keep_body(baton_connections *own, const void *body, uint32_t body_bytes,
                       uint32_t fds_count)
{
    if (own->bytes + body_bytes > BATON_CONNECTIONS_BYTES_MAX +
                                      (uint64_t)BODY_HEAD(BATON_CONNECTIONS_MAX) +
                                      BATON_CONNECTION_BYTES_MAX ||
        own->count + fds_count > BATON_CONNECTIONS_MAX)
        return NULL;
    void **bodies = realloc(own->bodies, (own->bodies_count + 1u) * sizeof(*bodies));
    if (bodies == NULL)
        return NULL;
    own->bodies = bodies;
    baton_connection *list = realloc(own->list, (own->count + fds_count) * sizeof(*list));
    if (list == NULL)
        return NULL;
    own->list = list;
    void *copy = malloc(body_bytes);
    if (copy == NULL)
        return NULL;
    memcpy(copy, body, body_bytes);
    own->bodies[own->bodies_count++] = copy;
    own->bytes += body_bytes;
    return copy;
}

static void take_one(baton_connections *own, const baton_peer_connection *head,
                     const uint8_t *bytes, int fd)
{
    baton_connection *made = &own->list[own->count++];
    *made = (baton_connection){.fd = fd,
                               .received_bytes = baton_le32_get(head->received_bytes),
                               .unsent_bytes = baton_le32_get(head->unsent_bytes),
                               .notes_bytes = baton_le32_get(head->notes_bytes)};
    memcpy(made->name, head->name, sizeof(made->name));
    made->received = bytes;
    made->unsent = bytes + made->received_bytes;
    made->notes = bytes + made->received_bytes + made->unsent_bytes;
}

void baton_connections_add(baton_connections *own, const baton_peer_connections *body,
                           uint32_t body_bytes, const int *fds, uint32_t fds_count)
{
    const uint32_t count = baton_le32_get(body->count);
    const int highest = highest_fd();
    baton_assert(fds_count <= count);
    const baton_peer_connections *kept =
        fds_count > 0 ? keep_body(own, body, body_bytes, fds_count) : NULL;
    own->lost += count - fds_count;
    if (kept == NULL) {
        for (uint32_t i = 0; i < fds_count; i++)
            close(fds[i]);
        own->lost += fds_count;
        return;
    }
    const baton_peer_connection *heads = (const baton_peer_connection *)(kept + 1);
    const uint8_t *bytes = (const uint8_t *)kept + BODY_HEAD(count);
    for (uint32_t i = 0; i < fds_count; i++) {
        if (fds[i] < highest) {
            take_one(own, &heads[i], bytes, fds[i]);
        } else {
            close(fds[i]);
            own->lost++;
        }
        bytes += baton_le32_get(heads[i].received_bytes) + baton_le32_get(heads[i].unsent_bytes) +
                 baton_le32_get(heads[i].notes_bytes);
    }
}

void baton_connections_hand_on(const baton_connections *own, const baton_program *program,
                               void *context)
{
    if (own->count + own->lost == 0)
        return;
    baton_log(INFO, "handover.connections", BATON_LOG_NUMBER("taken", own->count),
              BATON_LOG_NUMBER("left", own->lost));
    if (program->take_connections != NULL && own->count > 0)
        program->take_connections(context, own->list, own->count);
    for (uint32_t i = 0; i < own->count && program->take_connections == NULL; i++)
        close(own->list[i].fd);
}

void baton_connections_forget(baton_connections *own)
{
    for (uint32_t i = 0; i < own->bodies_count; i++)
        free(own->bodies[i]);
    free(own->bodies);
    free(own->list);
    *own = (baton_connections){.list = NULL};
}

void baton_connections_close(baton_connections *own)
{
    for (uint32_t i = 0; i < own->count; i++)
        close(own->list[i].fd);
    baton_connections_forget(own);
}
