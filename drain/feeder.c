/* drain/feeder.c: the loop's side of the feeder, and the thread that accepts standbys. */
#include "drain/feeder_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <baton/log.h>

#include "base/assert.h"
#include "drain/unix_address.h"

static void signal_fd(int fd)
{
    const uint64_t one = 1;
    (void)!write(fd, &one, sizeof(one));
}

static void clear_fd(int fd)
{
    uint64_t count;
    (void)!read(fd, &count, sizeof(count));
}

/* ---- the accepting thread ---- */

void baton_feeder_drop_letter(peer_letter *letter)
{
    while (letter->fds_count > 0)
        close(letter->fds[--letter->fds_count]);
    baton_parcel_free(letter->parcel);
    letter->parcel = NULL;
}

static void free_place(feeder_peer *peer)
{
    pthread_join(peer->thread, NULL);
    pthread_mutex_lock(&peer->feeder->mutex);
    peer->known = (baton_feeder_peer){0};
    for (; peer->mailbox_count > 0; peer->mailbox_count--)
        baton_feeder_drop_letter(&peer->mailbox[peer->mailbox_first++ % MAILBOX_MAX]);
    pthread_mutex_unlock(&peer->feeder->mutex);
    baton_peer_channel_close(&peer->channel);
    peer->used = false;
}

void baton_feeder_hang_up(feeder_peer *peer, const char *why)
{
    baton_peer_faults_tell(peer->feeder->options.faults, BATON_PEER_FAULT_REPLACED, why,
                           peer->known.who.directory);
    atomic_store(&peer->superfluous, true);
    signal_fd(peer->wake_fd);
}

/* Where all are taken, the oldest that has not said who it is makes room: one that says so at once has
 * said it long before it is the oldest. */
static feeder_peer *find_place(baton_feeder *feeder)
{
    feeder_peer *found = NULL, *oldest = NULL;
    for (uint32_t i = 0; i < BATON_FEEDER_PEERS_MAX; i++) {
        feeder_peer *peer = &feeder->peers[i];
        if (peer->used && atomic_load(&peer->ended))
            free_place(peer);
        if (!peer->used && found == NULL)
            found = peer;
        if (peer->used && !atomic_load(&peer->greeted) &&
            (oldest == NULL || peer->known.id < oldest->known.id))
            oldest = peer;
    }
    if (found == NULL && oldest != NULL) {
        pthread_mutex_lock(&feeder->mutex);
        baton_feeder_hang_up(oldest, "others wait, and it has not said who it is");
        pthread_mutex_unlock(&feeder->mutex);
        free_place(oldest);
        found = oldest;
    }
    return found;
}

/* It is told why, if its socket takes that at once. */
static void turn_away(baton_feeder *feeder, baton_peer_channel *channel, baton_peer_fault fault,
                      int status, const char *why, const char *todo)
{
    const baton_peer_refusal body = baton_peer_refusal_put(status, why, todo);
    baton_peer_names names = {.epoch = feeder->options.epoch,
                              .journal_id = feeder->options.journal_id};
    baton_peer_outgoing out = {.busy = false};
    memcpy(names.from, feeder->options.nonce, sizeof(names.from));
    baton_peer_put(&out, BATON_PEER_REFUSE, &names, &body, sizeof(body));
    int r = baton_peer_send(&out, channel);
    (void)r;
    baton_peer_faults_tell(feeder->options.faults, fault, why, channel->other);
    if (channel->is_remote)
        baton_lobby_see_off(&feeder->lobby, channel);
    else
        baton_peer_channel_close(channel);
}

/* Its wake_fd stays with the place: the loop may be about to write to it. */
static void reset_place(feeder_peer *peer, const baton_peer_channel *channel)
{
    atomic_store(&peer->ended, false);
    atomic_store(&peer->greeted, false);
    atomic_store(&peer->superfluous, false);
    peer->channel = *channel;
    peer->inbox = (baton_peer_inbox){0};
    peer->out = (baton_peer_outgoing){.busy = false};
    peer->reader = NULL;
    peer->batch = NULL;
    peer->wants_start = peer->posted = peer->ending = peer->refusing = false;
    peer->try_number = peer->tried = peer->ignored_count = 0;
    peer->files = (peer_files){.chunks_fd = -1, .manifest_fd = -1};
    pthread_mutex_lock(&peer->feeder->mutex);
    peer->known =
        (baton_feeder_peer){.id = ++peer->feeder->peers_count, .who.far = channel->is_remote};
    peer->mailbox_first = peer->mailbox_count = 0;
    pthread_mutex_unlock(&peer->feeder->mutex);
}

static void take_peer(baton_feeder *feeder, baton_peer_channel *channel)
{
    if (!channel->is_remote && !baton_unix_may_talk(channel->fd)) {
        turn_away(feeder, channel, BATON_PEER_FAULT_USER, BATON_E_REFUSED,
                  "only root and the user that runs the service may follow it", "use that user");
        return;
    }
    feeder_peer *peer = find_place(feeder);
    if (peer == NULL) {
        turn_away(feeder, channel, BATON_PEER_FAULT_CROWD, BATON_E_FULL,
                  "as many standbys as there may be: come again later", "stop one of them");
        return;
    }
    reset_place(peer, channel);
    peer->used = pthread_create(&peer->thread, NULL, baton_feeder_peer_main, peer) == 0;
    if (!peer->used)
        turn_away(feeder, &peer->channel, BATON_PEER_FAULT_CROWD, -ENOMEM, "no memory for a thread",
                  "give the process more memory");
}

/* Out of descriptors or memory: not as a loop that spins. */
static void accept_from(baton_feeder *feeder, int listen_fd, const baton_peer_security *security)
{
    baton_peer_channel channel;
    struct pollfd stop = {.fd = feeder->stop_fd, .events = POLLIN};
    int r = baton_peer_channel_accept(&channel, listen_fd, security);
    if (r == 1 && channel.is_remote)
        baton_lobby_take(&feeder->lobby, &channel);
    else if (r == 1)
        take_peer(feeder, &channel);
    else if (r < 0 && r != -EAGAIN && r != -EINTR && r != -ECONNABORTED)
        (void)poll(&stop, 1, 100);
}

static void *accept_main(void *context)
{
    baton_feeder *feeder = context;
    const baton_peer_door *door = feeder->options.door;
    while (!atomic_load(&feeder->closing)) {
        baton_peer_channel channel;
        int timeout_ms;
        struct pollfd wanted[3 + BATON_LOBBY_MAX] = {
            {.fd = feeder->stop_fd, .events = POLLIN},
            {.fd = feeder->socket.fd, .events = POLLIN},
            {.fd = door != NULL && baton_lobby_has_room(&feeder->lobby) ? door->fd : -1,
             .events = POLLIN}};
        const uint32_t guests = baton_lobby_poll(&feeder->lobby, &wanted[3], &timeout_ms);
        const int ready = poll(wanted, 3 + guests, timeout_ms);
        if (ready < 0 && errno != EINTR)
            (void)poll(NULL, 0, 100); /* memory is short */
        if (ready < 0)
            continue;
        if (wanted[1].revents != 0)
            accept_from(feeder, feeder->socket.fd, NULL);
        if (wanted[2].revents != 0)
            accept_from(feeder, door->fd, feeder->options.security);
        while (baton_lobby_turn(&feeder->lobby, &channel) == 1)
            take_peer(feeder, &channel);
    }
    baton_lobby_close(&feeder->lobby);
    return NULL;
}

/* ---- its life ---- */

int baton_feeder_open(const baton_feeder_options *options, baton_feeder **ret_feeder,
                      baton_error *error)
{
    char path[4096];
    baton_feeder *feeder = calloc(1, sizeof(*feeder));
    if (feeder == NULL)
        return baton_error_set(error, -ENOMEM, "handover socket", NULL, NULL);
    feeder->options = *options;
    atomic_store(&feeder->over, options->undecided);
    feeder->schema_pinned = baton_le32_get(options->fingerprint.schema_pinned);
    feeder->schema_finalized = baton_le32_get(options->fingerprint.schema_finalized);
    baton_feeder_set_end(feeder, options->end);
    baton_lobby_init(&feeder->lobby, options->faults);
    feeder->socket = (baton_control_socket){.lock_fd = -1, .fd = -1};
    feeder->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    feeder->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&feeder->mutex, NULL);
    bool all = feeder->stop_fd >= 0 && feeder->event_fd >= 0;
    for (uint32_t i = 0; i < BATON_FEEDER_PEERS_MAX; i++) {
        feeder->peers[i].feeder = feeder;
        feeder->peers[i].wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        all = all && feeder->peers[i].wake_fd >= 0;
    }
    const int n =
        snprintf(path, sizeof(path), "%s/" BATON_HANDOVER_SOCKET, options->place->directory);
    int r = !all ? -EMFILE : n < 0 || (size_t)n >= sizeof(path) ? -ENAMETOOLONG : 0;
    if (r < 0)
        baton_error_set(error, r, "handover socket", NULL, "raise the limit of open files");
    else
        r = baton_control_socket_open(&feeder->socket, path, error);
    if (r == 0 && options->door != NULL)
        r = baton_peer_door_begin(options->door, error);
    if (r == 0) {
        r = -pthread_create(&feeder->thread, NULL, accept_main, feeder);
        feeder->has_thread = r == 0;
        if (r < 0)
            baton_error_set(error, r, "handover socket", "no thread", NULL);
    }
    if (r < 0) {
        baton_feeder_close(feeder);
        return r;
    }
    *ret_feeder = feeder;
    return 0;
}

void baton_feeder_close(baton_feeder *feeder)
{
    if (feeder == NULL)
        return;
    atomic_store(&feeder->closing, true);
    if (feeder->stop_fd >= 0)
        signal_fd(feeder->stop_fd);
    if (feeder->has_thread)
        pthread_join(feeder->thread, NULL);
    for (uint32_t i = 0; i < BATON_FEEDER_PEERS_MAX; i++)
        if (feeder->peers[i].used)
            free_place(&feeder->peers[i]);
    if (feeder->options.door != NULL)
        baton_peer_door_pause(feeder->options.door);
    baton_control_socket_close(&feeder->socket);
    for (uint32_t i = 0; i < BATON_FEEDER_PEERS_MAX; i++)
        if (feeder->peers[i].wake_fd >= 0)
            close(feeder->peers[i].wake_fd);
    if (feeder->stop_fd >= 0)
        close(feeder->stop_fd);
    if (feeder->event_fd >= 0)
        close(feeder->event_fd);
    pthread_mutex_destroy(&feeder->mutex);
    free(feeder);
}

/* ---- the loop's side ---- */

int baton_feeder_fd(const baton_feeder *feeder)
{
    return feeder->event_fd;
}

bool baton_feeder_next(baton_feeder *feeder, baton_feeder_message *ret_message)
{
    pthread_mutex_lock(&feeder->mutex);
    const bool any = feeder->messages_count > 0;
    if (any) {
        *ret_message = feeder->messages[feeder->messages_first++ % MESSAGES_MAX];
        feeder->messages_count--;
    } else {
        clear_fd(feeder->event_fd);
    }
    pthread_mutex_unlock(&feeder->mutex);
    return any;
}

/* One place is kept for the end of each connection. */
bool baton_feeder_post(feeder_peer *peer, const baton_peer_header *header, const void *body)
{
    baton_feeder *feeder = peer->feeder;
    pthread_mutex_lock(&feeder->mutex);
    const uint32_t limit = header == NULL ? MESSAGES_MAX : MESSAGES_MAX - BATON_FEEDER_PEERS_MAX;
    const bool room = feeder->messages_count < limit;
    if (room) {
        baton_feeder_message *message =
            &feeder->messages[(feeder->messages_first + feeder->messages_count++) % MESSAGES_MAX];
        message->peer_id = peer->known.id;
        message->gone = header == NULL;
        if (header != NULL) {
            message->header = *header;
            memcpy(message->body, body, baton_le32_get(header->body_bytes));
        }
        signal_fd(feeder->event_fd);
    }
    pthread_mutex_unlock(&feeder->mutex);
    return room;
}

static void wake_peer(feeder_peer *peer)
{
    if (atomic_exchange(&peer->sleeping, false))
        signal_fd(peer->wake_fd);
}

/* A place that is being given up or taken has nobody asleep in it. */
void baton_feeder_wake(baton_feeder *feeder)
{
    atomic_fetch_add(&feeder->published, 1);
    for (uint32_t i = 0; i < BATON_FEEDER_PEERS_MAX; i++)
        if (atomic_load(&feeder->peers[i].sleeping))
            wake_peer(&feeder->peers[i]);
}

void baton_feeder_set_schema(baton_feeder *feeder, uint32_t pinned, uint32_t finalized)
{
    pthread_mutex_lock(&feeder->mutex);
    feeder->schema_pinned = pinned;
    feeder->schema_finalized = finalized;
    pthread_mutex_unlock(&feeder->mutex);
}

void baton_feeder_set_end(baton_feeder *feeder, baton_position end)
{
    atomic_store(&feeder->end_seq, end.seq);
    atomic_store(&feeder->end_batch, end.batch);
}

static bool is_there(const feeder_peer *peer)
{
    return !atomic_load(&peer->ended) && !atomic_load(&peer->superfluous);
}

static feeder_peer *peer_of(baton_feeder *feeder, uint64_t peer_id)
{
    for (uint32_t i = 0; i < BATON_FEEDER_PEERS_MAX && peer_id != 0; i++)
        if (feeder->peers[i].known.id == peer_id && is_there(&feeder->peers[i]))
            return &feeder->peers[i];
    return NULL;
}

void baton_feeder_drop(baton_feeder *feeder, uint64_t peer_id, const char *why)
{
    pthread_mutex_lock(&feeder->mutex);
    feeder_peer *peer = peer_of(feeder, peer_id);
    if (peer != NULL)
        baton_feeder_hang_up(peer, why);
    pthread_mutex_unlock(&feeder->mutex);
}

static bool copy_descriptors(peer_letter *letter, const int *fds, uint32_t fds_count)
{
    for (uint32_t i = 0; i < fds_count; i++) {
        const int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
        if (copy < 0) {
            while (letter->fds_count > 0)
                close(letter->fds[--letter->fds_count]);
            return false;
        }
        letter->fds[letter->fds_count++] = copy;
    }
    return true;
}

/* The place for one message more; NULL: none. Under the mutex. */
static peer_letter *next_letter(feeder_peer *peer, uint32_t mailbox_max)
{
    if (peer == NULL || peer->mailbox_count >= mailbox_max)
        return NULL;
    peer_letter *letter = &peer->mailbox[(peer->mailbox_first + peer->mailbox_count) % MAILBOX_MAX];
    letter->body_bytes = letter->fds_count = 0;
    letter->parcel = NULL;
    return letter;
}

static void letter_is_written(feeder_peer *peer)
{
    peer->mailbox_count++;
    atomic_fetch_add(&peer->feeder->published, 1);
    wake_peer(peer);
}

bool baton_feeder_send(baton_feeder *feeder, uint64_t peer_id, baton_peer_type type,
                       uint64_t try_number, const void *body, uint32_t body_bytes, const int *fds,
                       uint32_t fds_count)
{
    baton_assert(body_bytes <= BATON_PEER_SHORT_BYTES_MAX && fds_count <= BATON_PEER_LISTENERS_MAX);
    pthread_mutex_lock(&feeder->mutex);
    feeder_peer *peer = peer_of(feeder, peer_id);
    peer_letter *letter = next_letter(peer, MAILBOX_MAX);
    const bool queued = letter != NULL && copy_descriptors(letter, fds, fds_count);
    if (queued) {
        letter->type = type;
        letter->try_number = try_number;
        letter->body_bytes = body_bytes;
        if (body_bytes > 0)
            memcpy(letter->body, body, body_bytes);
        letter_is_written(peer);
    }
    pthread_mutex_unlock(&feeder->mutex);
    return queued;
}

bool baton_feeder_peer_get(baton_feeder *feeder, uint64_t peer_id, baton_feeder_peer *ret_peer)
{
    pthread_mutex_lock(&feeder->mutex);
    const feeder_peer *peer = peer_of(feeder, peer_id);
    if (peer != NULL)
        *ret_peer = peer->known;
    pthread_mutex_unlock(&feeder->mutex);
    return peer != NULL;
}

void baton_feeder_set_over(baton_feeder *feeder, bool over)
{
    atomic_store(&feeder->over, over);
}

bool baton_feeder_send_parcel(baton_feeder *feeder, uint64_t peer_id, uint64_t try_number,
                              baton_parcel *parcel)
{
    pthread_mutex_lock(&feeder->mutex);
    feeder_peer *peer = peer_of(feeder, peer_id);
    peer_letter *letter = next_letter(peer, MAILBOX_MAX - MAILBOX_KEPT);
    if (letter != NULL) {
        letter->type = BATON_PEER_CONNECTIONS;
        letter->try_number = try_number;
        letter->parcel = parcel;
        letter_is_written(peer);
    }
    pthread_mutex_unlock(&feeder->mutex);
    return letter != NULL;
}

uint32_t baton_feeder_peers(baton_feeder *feeder, baton_feeder_peer peers[BATON_FEEDER_PEERS_MAX])
{
    uint32_t count = 0;
    pthread_mutex_lock(&feeder->mutex);
    for (uint32_t i = 0; i < BATON_FEEDER_PEERS_MAX; i++)
        if (feeder->peers[i].known.id != 0 && atomic_load(&feeder->peers[i].greeted) &&
            is_there(&feeder->peers[i]))
            peers[count++] = feeder->peers[i].known;
    pthread_mutex_unlock(&feeder->mutex);
    return count;
}
