/* drain/feeder_peer.c: the thread of one standby: what it asks, what it gets. */
#include "drain/feeder_private.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <baton/log.h>

#include "drain/now.h"

#define HELLO_NS           UINT64_C(5000000000)  /* a connection that asks for nothing */
#define SILENCE_NS         UINT64_C(10000000000) /* a standby says something each second */
#define POLL_MS            250
#define IGNORED_MAX        16u /* of one try, or without any */
#define MESSAGES_PER_ROUND 64u

static baton_peer_names names_of(const feeder_peer *peer, uint64_t try_number)
{
    const baton_feeder_options *options = &peer->feeder->options;
    baton_peer_names names = {.protocol = peer->known.protocol,
                              .try_number = try_number,
                              .epoch = options->epoch,
                              .journal_id = options->journal_id};
    memcpy(names.from, options->nonce, sizeof(names.from));
    memcpy(names.to, peer->known.who.nonce, sizeof(names.to));
    return names;
}

static void put(feeder_peer *peer, baton_peer_type type, uint64_t try_number, const void *body,
                uint32_t body_bytes)
{
    const baton_peer_names names = names_of(peer, try_number);
    baton_peer_put(&peer->out, type, &names, body, body_bytes);
}

void baton_feeder_put_copy(feeder_peer *peer, baton_peer_type type, const void *body,
                           uint32_t body_bytes)
{
    memcpy(peer->letter.body, body, body_bytes);
    put(peer, type, 0, peer->letter.body, body_bytes);
}

/* Who it says that it is, else where it came from. */
static const char *other_of(const feeder_peer *peer)
{
    return peer->known.who.directory[0] != '\0' ? peer->known.who.directory : peer->channel.other;
}

void baton_feeder_refuse(feeder_peer *peer, baton_peer_fault fault, const baton_error *error)
{
    if (peer->ending)
        return;
    peer->refusal = baton_peer_refusal_put(error->status, error->why, error->todo);
    peer->refusing = peer->ending = true;
    baton_peer_faults_tell(peer->feeder->options.faults, fault, error->why, other_of(peer));
    if (peer->out.sent == 0 && !baton_peer_channel_is_midway(&peer->channel))
        baton_peer_drop(&peer->out); /* else behind the one that it is in the midst of */
}

/* ---- what it says ---- */

/* To the loop; where that takes no more, the connection ends, and comes again. */
void baton_feeder_tell_loop(feeder_peer *peer, const baton_peer_header *header, const void *body)
{
    baton_error error;
    if (baton_feeder_post(peer, header, body)) {
        peer->posted = true;
        return;
    }
    baton_error_set(&error, BATON_E_FULL, "follow", "the active has too much to do to hear this",
                    "come again");
    baton_feeder_refuse(peer, BATON_PEER_FAULT_CROWD, &error);
}

/* The same instance on an earlier connection, whose end has not come through yet: this one counts. */
static void replace_earlier(feeder_peer *peer)
{
    baton_feeder *feeder = peer->feeder;
    pthread_mutex_lock(&feeder->mutex);
    for (uint32_t i = 0; i < BATON_FEEDER_PEERS_MAX; i++) {
        feeder_peer *other = &feeder->peers[i];
        if (other != peer && other->known.following && !atomic_load(&other->ended) &&
            memcmp(other->known.who.nonce, peer->known.who.nonce, sizeof(peer->known.who.nonce)) ==
                0)
            baton_feeder_hang_up(other, "the same instance has come again");
    }
    pthread_mutex_unlock(&feeder->mutex);
}

/* The reader would wait for what is to come after it. */
static int check_end(const feeder_peer *peer, baton_position after, baton_error *error)
{
    const uint64_t seq = atomic_load(&peer->feeder->end_seq);
    const uint64_t batch = atomic_load(&peer->feeder->end_batch);
    if (after.seq <= seq && after.batch <= batch)
        return 0;
    const bool entries = after.seq > seq;
    return baton_error_setf(error, BATON_E_DIVERGED, "follow",
                            "look which of the two is the authority, before either goes on",
                            "the standby has %s up to %llu, the active up to %llu",
                            entries ? "entries" : "batches",
                            (unsigned long long)(entries ? after.seq : after.batch),
                            (unsigned long long)(entries ? seq : batch));
}

static void take_follow(feeder_peer *peer, const baton_peer_header *header,
                        const baton_peer_follow *body)
{
    const baton_feeder_options *options = &peer->feeder->options;
    const baton_position after = baton_peer_position_get(body->after);
    const baton_reader_options wanted = {.from_seq = baton_le64_get(body->from_seq),
                                         .with_records = true,
                                         .live = true,
                                         .backend = options->backend};
    baton_digest digest;
    baton_error error = {0};
    memcpy(digest.bytes, body->digest, sizeof(digest.bytes));
    baton_reader_close(peer->reader);
    peer->reader = NULL;
    peer->batch = NULL;
    int r = check_end(peer, after, &error);
    if (r == 0)
        r = baton_reader_open_after(options->journal_directory, &wanted, after, digest,
                                    &peer->reader, &error);
    if (r < 0) {
        baton_feeder_refuse(peer, BATON_PEER_FAULT_POSITION, &error);
        return;
    }
    peer->wants_start = after.batch == 0;
    pthread_mutex_lock(&peer->feeder->mutex);
    peer->known.following = true;
    pthread_mutex_unlock(&peer->feeder->mutex);
    replace_earlier(peer);
    baton_log(INFO, "handover.standby_follows",
              BATON_LOG_TEXT("standby", peer->known.who.directory),
              BATON_LOG_TEXT("version", peer->known.version),
              BATON_LOG_NUMBER("from_seq",
                               after.batch != 0 ? after.seq + 1 : baton_le64_get(body->from_seq)));
    baton_feeder_tell_loop(peer, header, body);
}

static void take_fetch(feeder_peer *peer, const baton_peer_fetch *wanted)
{
    baton_peer_snapshot body;
    baton_error error = {0};
    if (baton_feeder_files_open(peer, wanted, &body, &error) < 0)
        baton_feeder_refuse(peer, BATON_PEER_FAULT_POSITION, &error);
    else
        baton_feeder_put_copy(peer, BATON_PEER_SNAPSHOT, &body, sizeof(body));
}

static void take_ack(feeder_peer *peer, const baton_peer_ack *ack)
{
    pthread_mutex_lock(&peer->feeder->mutex);
    peer->known.durable = baton_peer_position_get(ack->position);
    peer->known.applied_seq = baton_le64_get(ack->seq);
    pthread_mutex_unlock(&peer->feeder->mutex);
}

static void out_of_place(feeder_peer *peer, const char *why)
{
    baton_error error;
    baton_error_set(&error, BATON_E_INVALID, "follow", why,
                    "is it a Baton instance, of a version next to this one?");
    baton_feeder_refuse(peer, BATON_PEER_FAULT_ORDER, &error);
}

/* Of a cutover: once for each letter's try. Others are of a try that is over, or come once more; the loop
 * is not bothered with them. */
static void take_step(feeder_peer *peer, const baton_peer_header *header, const void *body)
{
    const uint16_t type = baton_le16_get(header->type);
    const bool fits = peer->try_number != 0 &&
                      baton_le64_get(header->try_number) == peer->try_number &&
                      (peer->tried & (1u << type)) == 0;
    if (fits) {
        peer->tried |= 1u << type;
        baton_feeder_tell_loop(peer, header, body);
        return;
    }
    baton_peer_faults_tell(peer->feeder->options.faults, BATON_PEER_FAULT_IGNORED,
                           baton_peer_type_name((baton_peer_type)type), other_of(peer));
    if (++peer->ignored_count > IGNORED_MAX)
        out_of_place(peer, "it says again and again what nobody asked for");
}

/* It can't go on with this one, and has said why: the journal, the version, ... */
static void take_leave(feeder_peer *peer, const baton_peer_refusal *body)
{
    baton_peer_faults_tell(peer->feeder->options.faults, BATON_PEER_FAULT_LEFT,
                           (const char *)body->why, other_of(peer));
    peer->ending = true;
}

/* What an instance of another nonce says in this one's name is not of this connection. */
static bool is_its_own(const feeder_peer *peer, const baton_peer_header *header)
{
    const uint16_t type = baton_le16_get(header->type);
    return memcmp(header->from, peer->known.who.nonce, sizeof(header->from)) == 0 &&
           memcmp(header->to, peer->feeder->options.nonce, sizeof(header->to)) == 0 &&
           (type == BATON_PEER_REFUSE || baton_le16_get(header->version) == peer->known.protocol);
}

static void take_message(feeder_peer *peer, const baton_peer_header *header, const void *body)
{
    const baton_peer_type type = (baton_peer_type)baton_le16_get(header->type);
    const bool greeted = atomic_load(&peer->greeted);
    if (greeted && !is_its_own(peer, header)) {
        out_of_place(peer, "it speaks for another instance, or to another one");
        return;
    }
    if (type == BATON_PEER_HELLO && !greeted)
        baton_feeder_take_hello(peer, header, body);
    else if (!greeted)
        out_of_place(peer, "the first message is to say who it is");
    else if (type == BATON_PEER_FETCH && !peer->known.following)
        take_fetch(peer, body);
    else if (type == BATON_PEER_FOLLOW && !peer->known.following)
        take_follow(peer, header, body);
    else if (type == BATON_PEER_ACK && peer->known.following)
        take_ack(peer, body);
    else if (type == BATON_PEER_REFUSE &&
             (!peer->known.following || baton_le64_get(header->try_number) == 0))
        take_leave(peer, body);
    else if ((type == BATON_PEER_READY || type == BATON_PEER_REFUSE || type == BATON_PEER_ANSWER ||
              type == BATON_PEER_TAKEN) &&
             peer->known.following)
        take_step(peer, header, body);
    else
        out_of_place(peer, "a message has no place there");
}

/* False: it has hung up. A message is taken only while nothing that it may ask for is under way; and no
 * more than that at once, so that who talks without a pause still gets something, and can be ended. */
static bool hear(feeder_peer *peer)
{
    for (uint32_t i = 0; i < MESSAGES_PER_ROUND; i++) {
        const baton_peer_header *header;
        const void *body;
        baton_error error = {0};
        if (peer->ending || (peer->out.busy && !peer->known.following))
            return true;
        int r = baton_peer_next(&peer->inbox, &header, &body, &error);
        if (r < 0) {
            error.status = r;
            baton_feeder_refuse(peer, BATON_PEER_FAULT_MESSAGE, &error);
            return true;
        }
        if (r == 1) {
            peer->heard_ns = baton_now_ns();
            take_message(peer, header, body);
            baton_peer_took(&peer->inbox);
            continue;
        }
        r = baton_peer_receive(&peer->inbox, &peer->channel);
        if (r < 0)
            return false;
        if (peer->inbox.bundles_count > 0 ||
            peer->inbox.flooded) /* not held until a message is whole */
            out_of_place(peer, "a standby passes no descriptors");
        if (r == 0)
            return true;
    }
    return true;
}

/* ---- what it gets ---- */

static bool put_letter(feeder_peer *peer)
{
    baton_feeder *feeder = peer->feeder;
    baton_feeder_drop_letter(&peer->letter); /* has left: `out` is free */
    pthread_mutex_lock(&feeder->mutex);
    const bool any = peer->mailbox_count > 0;
    if (any) {
        peer->letter = peer->mailbox[peer->mailbox_first++ % MAILBOX_MAX];
        peer->mailbox_count--;
    }
    pthread_mutex_unlock(&feeder->mutex);
    if (!any)
        return false;
    if (peer->letter.try_number != peer->try_number) {
        peer->try_number = peer->letter.try_number;
        peer->tried = peer->ignored_count = 0;
    }
    if (peer->letter.type == BATON_PEER_GRANT) /* asks for M8 again, when it was lost */
        peer->tried &= ~(1u << BATON_PEER_TAKEN);
    peer_letter *letter = &peer->letter;
    baton_parcel *parcel = letter->parcel;
    uint32_t *fds_count = parcel != NULL ? &parcel->fds_count : &letter->fds_count;
    memcpy(peer->out.descriptors, parcel != NULL ? parcel->fds : letter->fds,
           *fds_count * sizeof(int));
    peer->out.descriptors_count = *fds_count;
    *fds_count = 0; /* they are `out`'s */
    put(peer, letter->type, letter->try_number,
        parcel != NULL ? (const void *)parcel->body : letter->body,
        parcel != NULL ? parcel->body_bytes : letter->body_bytes);
    return true;
}

static bool put_piece(feeder_peer *peer)
{
    uint32_t bytes = 0;
    baton_error error;
    if (peer->files.manifest_fd < 0)
        return false;
    int r = baton_feeder_files_next(peer, &bytes);
    if (r < 0) {
        baton_error_set(&error, r, "send a snapshot", NULL,
                        "look at its file with `baton snapshot verify`");
        baton_feeder_refuse(peer, BATON_PEER_FAULT_POSITION, &error);
        return true;
    }
    if (bytes == 0)
        return false;
    put(peer, BATON_PEER_PIECE, 0, peer->files.buffer, bytes);
    return true;
}

static bool put_batch(feeder_peer *peer)
{
    baton_error error = {0};
    if (peer->reader == NULL)
        return false;
    if (peer->batch == NULL) {
        int r = baton_reader_next_batch(peer->reader, &peer->batch, &error);
        if (r < 0) {
            error.status = r;
            baton_feeder_refuse(peer, BATON_PEER_FAULT_POSITION, &error);
            return true;
        }
        if (r == 0) {
            peer->batch = NULL;
            return false;
        }
    }
    if (peer->wants_start) {
        baton_follow_start start;
        baton_reader_follow_start(peer->reader, &start);
        const baton_peer_start body = baton_peer_start_put(&start);
        peer->wants_start = false;
        baton_feeder_put_copy(peer, BATON_PEER_START, &body, sizeof(body));
        return true;
    }
    put(peer, BATON_PEER_BATCH, 0, peer->batch, baton_le32_get(peer->batch->batch_bytes));
    peer->batch = NULL; /* its bytes stay until the next one is read */
    return true;
}

/* False: the connection is over. *ret_idle: there is nothing to send, or it can't take more now. */
static bool push(feeder_peer *peer, bool *ret_idle)
{
    *ret_idle = false;
    if (!peer->out.busy && peer->refusing) {
        peer->refusing = false;
        baton_feeder_put_copy(peer, BATON_PEER_REFUSE, &peer->refusal, sizeof(peer->refusal));
    } else if (!peer->out.busy && peer->ending) {
        return false;
    }
    if (!peer->out.busy && !put_letter(peer) && !put_piece(peer) && !put_batch(peer)) {
        peer->sent_ns = baton_now_ns();
        *ret_idle = true;
        return true;
    }
    const size_t before = peer->out.sent;
    int r = baton_peer_send(&peer->out, &peer->channel);
    if (peer->out.sent != before)
        peer->sent_ns = baton_now_ns();
    *ret_idle = r == 0;
    return r >= 0;
}

/* ---- the thread ---- */

static void wait(feeder_peer *peer, uint64_t seen)
{
    baton_feeder *feeder = peer->feeder;
    struct pollfd wanted[] = {{.fd = peer->channel.fd,
                               .events = baton_peer_channel_wants(&peer->channel, peer->out.busy)},
                              {.fd = peer->wake_fd, .events = POLLIN},
                              {.fd = feeder->stop_fd, .events = POLLIN}};
    if (peer->out.busy && (!peer->known.following || peer->ending))
        wanted[0].events =
            POLLOUT; /* the next request waits; nothing more is heard: no spinning (J9) */
    atomic_store(&peer->sleeping, true);
    if (atomic_load(&feeder->published) == seen)
        (void)poll(wanted, 3, POLL_MS);
    atomic_store(&peer->sleeping, false);
    uint64_t count;
    (void)!read(peer->wake_fd, &count, sizeof(count));
}

/* False: it may stay. */
static bool too_slow(feeder_peer *peer)
{
    const uint64_t now = baton_now_ns();
    baton_peer_faults *faults = peer->feeder->options.faults;
    const bool is_deaf = peer->out.busy && now - peer->sent_ns > SILENCE_NS;
    /* It is not asked to speak while it gets a snapshot. */
    const bool is_silent = peer->files.manifest_fd < 0 &&
                           now - peer->heard_ns > (peer->known.following ? SILENCE_NS : HELLO_NS);
    if (is_deaf)
        baton_peer_faults_tell(faults, BATON_PEER_FAULT_DEAF, "it takes nothing", other_of(peer));
    else if (is_silent)
        baton_peer_faults_tell(faults, BATON_PEER_FAULT_SILENT, "it says nothing", other_of(peer));
    return is_deaf || is_silent;
}

static void converse(feeder_peer *peer)
{
    while (!atomic_load(&peer->feeder->closing) && !atomic_load(&peer->superfluous)) {
        const uint64_t seen = atomic_load(&peer->feeder->published);
        bool idle = false;
        if (!hear(peer) || !push(peer, &idle))
            return;
        if (!idle)
            continue;
        if (too_slow(peer))
            return;
        wait(peer, seen);
    }
    if (atomic_load(&peer->superfluous))
        return;
    /* What the loop said last is worth a try: the abort of a service that drains. */
    while (peer->out.busy || put_letter(peer))
        if (baton_peer_send(&peer->out, &peer->channel) != 1)
            return;
}

void *baton_feeder_peer_main(void *context)
{
    feeder_peer *peer = context;
    peer->heard_ns = peer->sent_ns = baton_now_ns();
    if (baton_peer_inbox_init(&peer->inbox, BATON_PEER_SHORT_BYTES_MAX) == 0)
        converse(peer);
    baton_peer_drop(&peer->out);
    baton_feeder_drop_letter(&peer->letter);
    baton_reader_close(peer->reader);
    baton_feeder_files_close(peer);
    free(peer->files.buffer);
    baton_peer_inbox_fini(&peer->inbox);
    if (atomic_load(&peer->superfluous)) /* whoever takes its place waits for it */
        (void)shutdown(peer->channel.fd, SHUT_RDWR);
    else
        baton_peer_channel_linger(&peer->channel, peer->feeder->stop_fd);
    atomic_store(&peer->ended, true);
    if (peer->posted)
        (void)baton_feeder_post(peer, NULL, NULL);
    return NULL;
}
