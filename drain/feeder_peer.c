/* drain/feeder_peer.c: the thread of one standby: what it asks, what it gets. */
#include "drain/feeder_private.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <baton/clock.h>
#include <baton/log.h>

#define HELLO_NS   UINT64_C(5000000000)  /* a connection that asks for nothing */
#define SILENCE_NS UINT64_C(10000000000) /* a standby says something each second */
#define POLL_MS    250

static uint64_t now_ns(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}

static baton_peer_names names_of(const feeder_peer *peer, uint64_t try_number)
{
    const baton_feeder_options *options = &peer->feeder->options;
    baton_peer_names names = {
        .try_number = try_number, .epoch = options->epoch, .journal_id = options->journal_id};
    memcpy(names.from, options->nonce, sizeof(names.from));
    memcpy(names.to, peer->known.nonce, sizeof(names.to));
    return names;
}

static void put(feeder_peer *peer, baton_peer_type type, uint64_t try_number, const void *body,
                uint32_t body_bytes)
{
    const baton_peer_names names = names_of(peer, try_number);
    baton_peer_put(&peer->out, type, &names, body, body_bytes);
}

/* The body of what the thread itself says. */
static void put_copy(feeder_peer *peer, baton_peer_type type, const void *body, uint32_t body_bytes)
{
    memcpy(peer->letter.body, body, body_bytes);
    put(peer, type, 0, peer->letter.body, body_bytes);
}

/* One line for the peer, one for the log; then the connection ends. */
static void refuse(feeder_peer *peer, const baton_error *error)
{
    const baton_peer_refusal body = baton_peer_refusal_put(error->status, error->why, error->todo);
    baton_log(WARN, "handover.refused_peer", BATON_LOG_TEXT("why", error->why),
              BATON_LOG_TEXT("standby", peer->known.directory),
              BATON_LOG_TEXT("from", peer->channel.other));
    if (peer->out.busy &&
        (peer->out.sent > 0 ||
         baton_peer_channel_is_midway(&peer->channel))) { /* in the midst of another one */
        peer->ending = true;
        return;
    }
    baton_peer_drop(&peer->out);
    put_copy(peer, BATON_PEER_REFUSE, &body, sizeof(body));
    peer->ending = true;
}

/* ---- what it says ---- */

static int check_hello(const feeder_peer *peer, const baton_peer_header *header,
                       const baton_peer_hello *hello, baton_error *error)
{
    static const char *const what = "follow";
    static const uint8_t nobody[16];
    const baton_feeder_options *options = &peer->feeder->options;
    const bool names_me = memcmp(header->to, options->nonce, sizeof(header->to)) == 0;
    if (strcmp((const char *)hello->service, options->service->name) != 0)
        return baton_error_setf(error, BATON_E_OTHER_SERVICE, what, "follow one of its own service",
                                "this is %s, the standby is %s", options->service->name,
                                (const char *)hello->service);
    if (memcmp(header->to, nobody, sizeof(nobody)) != 0 && !names_me)
        return baton_error_set(error, BATON_E_REFUSED, what, "another instance is meant", NULL);
    if (memcmp(header->journal_id, nobody, sizeof(nobody)) != 0 &&
        memcmp(header->journal_id, options->journal_id.bytes, sizeof(nobody)) != 0)
        return baton_error_set(error, BATON_E_OTHER_JOURNAL, what,
                               "the standby's directory holds another journal",
                               "start it with an empty directory");
    if (baton_le64_get(header->epoch) > options->epoch)
        return baton_error_setf(
            error, BATON_E_REFUSED, what, "start the one with the higher epoch as the active",
            "the standby has a later term: epoch %llu, here it is %llu",
            (unsigned long long)baton_le64_get(header->epoch), (unsigned long long)options->epoch);
    return 0;
}

static void welcome(feeder_peer *peer)
{
    const baton_feeder_options *options = &peer->feeder->options;
    baton_peer_hello body = {
        .schema_write = baton_le32_put(options->service->schema.write),
        .schema_read_min = baton_le32_put(options->service->schema.read_min),
        .highest_name = baton_le64_put(options->epoch),
        .is_active = baton_le32_put(1),
    };
    snprintf((char *)body.service, sizeof(body.service), "%s", options->service->name);
    snprintf((char *)body.version, sizeof(body.version), "%s", options->service->version);
    snprintf((char *)body.directory, sizeof(body.directory), "%s", options->directory);
    if (options->door != NULL)
        memcpy(body.address, options->door->text, sizeof(body.address));
    put_copy(peer, BATON_PEER_WELCOME, &body, sizeof(body));
}

static void take_hello(feeder_peer *peer, const baton_peer_header *header,
                       const baton_peer_hello *hello)
{
    baton_error error = {0};
    baton_feeder_peer *known = &peer->known;
    pthread_mutex_lock(&peer->feeder->mutex);
    memcpy(known->nonce, header->from, sizeof(known->nonce));
    memcpy(known->version, hello->version, sizeof(known->version));
    memcpy(known->directory, hello->directory, sizeof(known->directory));
    baton_peer_channel_reach(&peer->channel, (const char *)hello->address, known->address);
    known->schema_write = baton_le32_get(hello->schema_write);
    known->schema_read_min = baton_le32_get(hello->schema_read_min);
    known->durable = baton_peer_position_get(hello->durable);
    known->applied_seq = baton_le64_get(hello->applied_seq);
    pthread_mutex_unlock(&peer->feeder->mutex);
    if (check_hello(peer, header, hello, &error) < 0) {
        refuse(peer, &error);
        return;
    }
    peer->greeted = true;
    welcome(peer);
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
    int r = baton_reader_open_after(options->journal_directory, &wanted, after, digest,
                                    &peer->reader, &error);
    if (r < 0) {
        refuse(peer, &error);
        return;
    }
    peer->wants_start = after.batch == 0;
    pthread_mutex_lock(&peer->feeder->mutex);
    peer->known.following = true;
    pthread_mutex_unlock(&peer->feeder->mutex);
    baton_log(INFO, "handover.standby_follows", BATON_LOG_TEXT("standby", peer->known.directory),
              BATON_LOG_TEXT("version", peer->known.version),
              BATON_LOG_NUMBER("from_seq",
                               after.batch != 0 ? after.seq + 1 : baton_le64_get(body->from_seq)));
    peer->ending = !baton_feeder_post(peer, header, body);
}

static void take_fetch(feeder_peer *peer, const baton_peer_fetch *wanted)
{
    baton_peer_snapshot body;
    baton_error error = {0};
    if (baton_feeder_files_open(peer, wanted, &body, &error) < 0)
        refuse(peer, &error);
    else
        put_copy(peer, BATON_PEER_SNAPSHOT, &body, sizeof(body));
}

static void take_ack(feeder_peer *peer, const baton_peer_ack *ack)
{
    pthread_mutex_lock(&peer->feeder->mutex);
    peer->known.durable = baton_peer_position_get(ack->position);
    peer->known.applied_seq = baton_le64_get(ack->seq);
    pthread_mutex_unlock(&peer->feeder->mutex);
}

static void out_of_place(feeder_peer *peer)
{
    baton_error error;
    baton_error_set(&error, BATON_E_INVALID, "follow", "a message has no place there",
                    "is it a Baton instance, of a version next to this one?");
    refuse(peer, &error);
}

/* What an instance of another nonce says in this one's name is not of this connection. */
static bool is_its_own(const feeder_peer *peer, const baton_peer_header *header)
{
    return memcmp(header->from, peer->known.nonce, sizeof(header->from)) == 0 &&
           memcmp(header->to, peer->feeder->options.nonce, sizeof(header->to)) == 0;
}

static void take_message(feeder_peer *peer, const baton_peer_header *header, const void *body)
{
    const baton_peer_type type = (baton_peer_type)baton_le16_get(header->type);
    if (!peer->greeted ? type != BATON_PEER_HELLO : !is_its_own(peer, header)) {
        out_of_place(peer);
        return;
    }
    if (type == BATON_PEER_HELLO && !peer->greeted)
        take_hello(peer, header, body);
    else if (type == BATON_PEER_FETCH && !peer->known.following)
        take_fetch(peer, body);
    else if (type == BATON_PEER_FOLLOW && !peer->known.following)
        take_follow(peer, header, body);
    else if (type == BATON_PEER_ACK && peer->known.following)
        take_ack(peer, body);
    else if ((type == BATON_PEER_READY || type == BATON_PEER_REFUSE || type == BATON_PEER_ANSWER ||
              type == BATON_PEER_TAKEN) &&
             peer->known.following)
        peer->ending = !baton_feeder_post(peer, header, body);
    else
        out_of_place(peer);
}

/* False: it has hung up. A message is taken only while nothing that it may ask for is under way. */
static bool hear(feeder_peer *peer)
{
    for (;;) {
        const baton_peer_header *header;
        const void *body;
        baton_error error = {0};
        if (peer->ending || (peer->out.busy && !peer->known.following))
            return true;
        int r = baton_peer_next(&peer->inbox, &header, &body, &error);
        if (r < 0) {
            error.status = r;
            refuse(peer, &error);
            return true;
        }
        if (r == 1) {
            peer->heard_ns = now_ns();
            take_message(peer, header, body);
            baton_peer_took(&peer->inbox);
            continue;
        }
        r = baton_peer_receive(&peer->inbox, &peer->channel);
        if (r < 0)
            return false;
        if (r == 0)
            return true;
    }
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
        refuse(peer, &error);
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
            refuse(peer, &error);
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
        put_copy(peer, BATON_PEER_START, &body, sizeof(body));
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
    if (!peer->out.busy && peer->ending)
        return false;
    if (!peer->out.busy && !put_letter(peer) && !put_piece(peer) && !put_batch(peer)) {
        peer->sent_ns = now_ns();
        *ret_idle = true;
        return true;
    }
    const size_t before = peer->out.sent;
    int r = baton_peer_send(&peer->out, &peer->channel);
    if (peer->out.sent != before)
        peer->sent_ns = now_ns();
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
    if (peer->out.busy && !peer->known.following)
        wanted[0].events = POLLOUT; /* the next request waits */
    atomic_store(&peer->sleeping, true);
    if (atomic_load(&feeder->published) == seen)
        (void)poll(wanted, 3, POLL_MS);
    atomic_store(&peer->sleeping, false);
    uint64_t count;
    (void)!read(peer->wake_fd, &count, sizeof(count));
}

/* NULL: it may stay. */
static const char *too_slow(const feeder_peer *peer)
{
    const uint64_t now = now_ns();
    if (peer->out.busy && now - peer->sent_ns > SILENCE_NS)
        return "it takes nothing";
    if (peer->files.manifest_fd >= 0)
        return NULL; /* it is not asked to speak while it gets a snapshot */
    if (now - peer->heard_ns > (peer->known.following ? SILENCE_NS : HELLO_NS))
        return "it says nothing";
    return NULL;
}

static void converse(feeder_peer *peer)
{
    while (!atomic_load(&peer->feeder->closing)) {
        const uint64_t seen = atomic_load(&peer->feeder->published);
        bool idle = false;
        if (!hear(peer) || !push(peer, &idle))
            return;
        if (!idle)
            continue;
        const char *slow = too_slow(peer);
        if (slow != NULL) {
            baton_log(WARN, "handover.dropped_peer", BATON_LOG_TEXT("why", slow),
                      BATON_LOG_TEXT("standby", peer->known.directory));
            return;
        }
        wait(peer, seen);
    }
    /* What the loop said last is worth a try: the abort of a service that drains. */
    while (peer->out.busy || put_letter(peer))
        if (baton_peer_send(&peer->out, &peer->channel) != 1)
            return;
}

void *baton_feeder_peer_main(void *context)
{
    feeder_peer *peer = context;
    peer->heard_ns = peer->sent_ns = now_ns();
    if (baton_peer_inbox_init(&peer->inbox, BATON_PEER_SHORT_BYTES_MAX) == 0)
        converse(peer);
    baton_peer_drop(&peer->out);
    baton_feeder_drop_letter(&peer->letter);
    baton_reader_close(peer->reader);
    baton_feeder_files_close(peer);
    free(peer->files.buffer);
    baton_peer_inbox_fini(&peer->inbox);
    baton_peer_channel_linger(&peer->channel, peer->feeder->stop_fd);
    atomic_store(&peer->ended, true);
    if (peer->greeted)
        (void)baton_feeder_post(peer, NULL, NULL);
    return NULL;
}
