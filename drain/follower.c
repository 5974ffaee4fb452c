/* drain/follower.c: a standby on the engine's loop. */
#include "drain/follower.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "drain/grant_look.h"
#include "drain/now.h"
#include "drain/other_directory.h"

#define RETRY_NS     UINT64_C(100000000)
#define REFUSED_NS   UINT64_C(1000000000)
#define REFUSALS_MAX 3u /* that double the time */
#define WELCOME_NS   UINT64_C(10000000000)
#define HEARTBEAT_NS UINT64_C(1000000000)
#define LOOK_TELL_NS UINT64_C(1000000000)
#define ASK_NS       UINT64_C(50000000) /* nothing heard, and a grant may come: look */

/* ---- the connection ---- */

static void drop_letters(baton_follower *follower)
{
    for (; follower->letters_count > 0; follower->letters_count--)
        baton_peer_drop(&follower->letters[follower->letters_first++ % LETTERS_MAX].out);
    follower->letters_first = 0;
}

void baton_follower_drop_passed(baton_follower *follower)
{
    baton_passed *passed = &follower->passed;
    for (uint32_t i = 0; i < passed->listeners_count; i++)
        close(passed->listeners[i].fd);
    passed->listeners_count = 0;
    baton_connections_close(&passed->connections);
}

/* Who is refused comes again seldom: somebody has to do something first. */
static void retry_later(baton_follower *follower, int status)
{
    follower->retry_at_ns = baton_now_ns() + RETRY_NS;
    if (status != BATON_E_REFUSED)
        return;
    follower->retry_at_ns = baton_now_ns() + (REFUSED_NS << follower->refusals);
    follower->refusals += follower->refusals < REFUSALS_MAX ? 1 : 0;
}

void baton_follower_cut(baton_follower *follower, const baton_error *why)
{
    if (follower->channel.fd < 0)
        return;
    baton_engine_unwatch(follower->engine, follower->channel.fd);
    follower->watched = 0;
    baton_peer_channel_close(&follower->channel);
    baton_peer_inbox_fini(&follower->inbox);
    drop_letters(follower);
    follower->following = follower->asking = follower->held_back = false;
    retry_later(follower, why->status);
    follower->last_refusal = *why;
    if (follower->cutover.state == BATON_NEW_READY)
        baton_follower_drop_passed(follower);
    baton_new_on_cut(&follower->cutover);
    baton_peer_faults_tell(follower->target->faults, BATON_PEER_FAULT_ACTIVE, why->why,
                           follower->target->active.text);
}

void baton_follower_cut_for(baton_follower *follower, int status, const char *why)
{
    baton_error error;
    baton_error_set(&error, status, "follow the active", why, NULL);
    baton_follower_cut(follower, &error);
}

void baton_follower_say(baton_follower *follower, baton_peer_type type, const void *body,
                        uint32_t bytes)
{
    baton_peer_names names = {.protocol = follower->protocol,
                              .try_number = follower->cutover.try_number,
                              .journal_id = baton_engine_journal_id(follower->engine)};
    baton_position end;
    baton_digest digest;
    bool needs_start;
    if (follower->channel.fd < 0)
        return;
    if (follower->letters_count == LETTERS_MAX) {
        baton_follower_cut_for(follower, BATON_E_FULL, "it takes nothing");
        return;
    }
    baton_engine_follow_end(follower->engine, &end, &digest, &needs_start);
    names.epoch = end.epoch;
    memcpy(names.from, follower->target->nonce, sizeof(names.from));
    memcpy(names.to, follower->active_nonce, sizeof(names.to));
    follower_letter *letter =
        &follower->letters[(follower->letters_first + follower->letters_count++) % LETTERS_MAX];
    letter->out = (baton_peer_outgoing){.busy = false};
    if (bytes > 0)
        memcpy(letter->body, body, bytes);
    baton_peer_put(&letter->out, type, &names, letter->body, bytes);
}

static void send_letters(baton_follower *follower)
{
    while (follower->letters_count > 0) {
        baton_peer_outgoing *out = &follower->letters[follower->letters_first % LETTERS_MAX].out;
        int r = baton_peer_send(out, &follower->channel);
        if (r < 0)
            baton_follower_cut(follower, &follower->channel.error);
        if (r <= 0)
            return;
        follower->letters_first++;
        follower->letters_count--;
    }
}

void baton_follower_refuse(baton_follower *follower, baton_peer_fault fault, const baton_error *why)
{
    const baton_peer_refusal body = baton_peer_refusal_put(why->status, why->why, why->todo);
    if (follower->channel.fd < 0)
        return;
    baton_peer_faults_tell(follower->target->faults, fault, why->why, follower->active.directory);
    if (follower->letters_count < LETTERS_MAX)
        baton_follower_say(follower, BATON_PEER_REFUSE, &body, sizeof(body));
    send_letters(follower);
    baton_follower_cut(follower, why);
    if (follower->retry_at_ns < baton_now_ns() + REFUSED_NS)
        follower->retry_at_ns = baton_now_ns() + REFUSED_NS;
}

static void on_event(void *context, int fd, uint32_t events)
{
    (void)context; /* the turn that follows does all of it */
    (void)fd;
    (void)events;
}

/* For what the connection waits for now. False: it can't be. While the journal has no room nothing is read: a
 * socket that is watched and not read would have the loop spin, and starve the worker that finishes the
 * very writes that it waits for (J9). Not even hang-ups, which can't be left out of what is watched. */
static bool watch_channel(baton_follower *follower)
{
    uint32_t wanted =
        (uint32_t)baton_peer_channel_wants(&follower->channel, follower->letters_count > 0);
    static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT, "epoll has the bits of poll");
    if (follower->held_back)
        wanted &= ~(uint32_t)EPOLLIN;
    if (wanted == follower->watched)
        return true;
    follower->watched = wanted;
    if (wanted == 0) {
        baton_engine_unwatch(follower->engine, follower->channel.fd);
        return true;
    }
    return baton_engine_watch(follower->engine, follower->channel.fd, wanted, on_event, follower) >=
           0;
}

/* The partner of a successor is the one that handed over to it: that may be this one. */
static bool is_own(const baton_follower *follower, const char *socket_path)
{
    const size_t bytes = strlen(follower->target->place->directory);
    return strncmp(socket_path, follower->target->place->directory, bytes) == 0 &&
           strcmp(socket_path + bytes, "/" BATON_HANDOVER_SOCKET) == 0;
}

/* R11: the one that it followed has handed over to another one, which is found through it. */
static void follow_successor(baton_follower *follower)
{
    static const uint8_t nobody[BATON_PEER_NONCE_BYTES];
    const baton_handover_wire *handover = &baton_engine_facts(follower->engine)->handover;
    char path[sizeof(follower->target->active.text)];
    baton_position end;
    baton_digest digest;
    bool needs_start;
    baton_engine_follow_end(follower->engine, &end, &digest, &needs_start);
    if (follower->target->active.tcp.bytes > 0 || needs_start ||
        memcmp(handover->successor_nonce, nobody, sizeof(nobody)) == 0 ||
        baton_le64_get(handover->epoch) != end.epoch || baton_follower_is_named(follower) ||
        follower->active_epoch != end.epoch || /* it follows the successor already */
        !baton_partner_socket(follower->active.directory, path, sizeof(path)) ||
        strcmp(path, follower->target->active.text) == 0 || is_own(follower, path))
        return;
    memcpy(follower->target->active.text, path, sizeof(path));
    baton_log(INFO, "handover.follow_successor", BATON_LOG_TEXT("of", path));
}

static void connect_again(baton_follower *follower)
{
    baton_peer_hello hello;
    if (follower->channel.fd >= 0 || baton_now_ns() < follower->retry_at_ns)
        return;
    follower->retry_at_ns = baton_now_ns() + RETRY_NS;
    if (baton_peer_channel_connect(&follower->channel, &follower->target->active,
                                   follower->target->security) < 0) {
        follower->last_refusal = follower->channel.error;
        follow_successor(follower);
        return;
    }
    if (baton_peer_inbox_init(&follower->inbox, BATON_PEER_BODY_BYTES_MAX) < 0 ||
        !watch_channel(follower)) {
        baton_follower_cut_for(follower, -ENOMEM, "memory is short");
        return;
    }
    memset(follower->active_nonce, 0, sizeof(follower->active_nonce));
    follower->protocol = 0;
    follower->connected_ns = baton_now_ns();
    baton_follower_hello(follower->target, follower->engine, &hello);
    const bool may_begin = follower->deciding || follower->cutover.state == BATON_NEW_TAKING;
    hello.is_active = baton_le32_put(may_begin ? 2 : 0);
    baton_follower_say(follower, BATON_PEER_HELLO, &hello, sizeof(hello));
}

void baton_follower_fail(baton_follower *follower, int status, const baton_error *why)
{
    follower->fatal = status;
    follower->failure = *why;
    follower->failure.status = status;
}

/* ---- its life ---- */

int baton_follower_open(baton_follower *follower, const baton_doors *doors, baton_engine *engine,
                        baton_follower_target *target, baton_error *error)
{
    follower->doors = doors;
    follower->engine = engine;
    follower->target = target;
    follower->channel = BATON_PEER_CHANNEL_NONE;
    follower->actions = baton_follower_actions;
    follower->actions.context = follower;
    baton_new_init(&follower->cutover, &follower->actions);
    (void)error;
    return 0;
}

void baton_follower_pulse(baton_follower *follower)
{
    if (follower->channel.fd < 0 || baton_now_ns() - follower->told_ns < HEARTBEAT_NS)
        return;
    follower->told_ns = baton_now_ns();
    const baton_peer_ack body = {.position = baton_peer_position_put(follower->told),
                                 .seq = baton_le64_put(follower->told_seq)};
    baton_follower_say(follower, BATON_PEER_ACK, &body, sizeof(body));
    if (follower->channel.fd >= 0)
        send_letters(follower);
}

/* One a turn, when there is something to say, and each second. */
static void acknowledge(baton_follower *follower)
{
    baton_engine_status status;
    if (!follower->following || follower->letters_count > 0 ||
        baton_engine_status_get(follower->engine, &status) < 0)
        return;
    const uint64_t now = baton_now_ns();
    if (status.durable_seq == follower->told.seq && status.seq == follower->told_seq &&
        now - follower->told_ns < HEARTBEAT_NS)
        return;
    follower->told = (baton_position){.epoch = status.epoch, .seq = status.durable_seq};
    follower->told_seq = status.seq;
    follower->told_ns = now;
    const baton_peer_ack body = {.position = baton_peer_position_put(follower->told),
                                 .seq = baton_le64_put(status.seq)};
    baton_follower_say(follower, BATON_PEER_ACK, &body, sizeof(body));
}

/* The file of the next term's first segment is written long before a handover, where there is time: the
 * disk is busy with it, and clients of the active would notice that. */
static void prepare_ahead(baton_follower *follower)
{
    baton_position end;
    baton_digest digest;
    bool needs_start;
    baton_error error = {0};
    if (!follower->following || follower->cutover.state != BATON_NEW_FOLLOWING ||
        baton_now_ns() - follower->following_since_ns < HEARTBEAT_NS)
        return;
    baton_engine_follow_end(follower->engine, &end, &digest, &needs_start);
    if (needs_start || follower->prepared_epoch == end.epoch + 1)
        return;
    follower->prepared_epoch = end.epoch + 1;
    if (baton_engine_prepare_promotion(follower->engine, end.epoch + 1, &error) < 0)
        baton_log(WARN, "handover.prepare_ahead", BATON_LOG_TEXT("why", error.why));
}

/* It looks twenty times a second, and what is wrong there may stay so: once for each reason, and not more than once
 * a second. */
static void tell_look(baton_follower *follower, int status, const baton_error *error)
{
    if (status == follower->look_status || baton_now_ns() - follower->look_told_ns < LOOK_TELL_NS)
        return;
    follower->look_status = status;
    follower->look_told_ns = baton_now_ns();
    if (status < 0)
        baton_log(WARN, "handover.look", BATON_LOG_TEXT("status", baton_status_name(status)),
                  BATON_LOG_TEXT("why", error->why), BATON_LOG_TEXT("todo", error->todo),
                  BATON_LOG_TEXT("directory", follower->active.directory));
}

/* R5 b and c: nobody says anything, and the grant may stand on the disk. */
static void look(baton_follower *follower)
{
    /* Also when M7 has come: what it tells of may have been lost with the one that told it. R12: the
     * directory of one by TCP is not here. */
    if (follower->active.far || follower->cutover.state != BATON_NEW_ANSWERED ||
        baton_now_ns() - follower->asked_ns < ASK_NS)
        return;
    follower->asked_ns = baton_now_ns();
    baton_error error = {0};
    int r = baton_grant_look(follower->engine, follower->active.directory, follower->target->nonce,
                             &follower->channel, &error);
    if (r == 1) {
        baton_log(INFO, "handover.grant_found",
                  BATON_LOG_TEXT("directory", follower->active.directory));
        baton_new_on_grant(&follower->cutover, follower->cutover.try_number);
    }
    if (r != BATON_E_LOCKED)
        tell_look(follower, r < 0 ? r : 0, &error);
}

/* Who takes the connection and does not answer is no active. */
static void give_up_waiting(baton_follower *follower)
{
    if (follower->channel.fd >= 0 && !follower->following &&
        baton_now_ns() - follower->connected_ns > WELCOME_NS)
        baton_follower_cut_for(follower, BATON_E_TIMEOUT, "it does not answer");
}

/* R10: the one that made the offer has died, and its directory has a name above the term that it wanted to
 * end: a record of that term is void whenever it lands (R5), and the next process needs what was passed. */
static void look_for_next_term(baton_follower *follower)
{
    uint64_t highest = 0;
    const baton_new *cutover = &follower->cutover;
    if (follower->target->active.tcp.bytes > 0 || follower->channel.fd >= 0 ||
        cutover->state != BATON_NEW_ANSWERED || cutover->granted ||
        baton_highest_name(follower->active.directory, &highest) < 0 ||
        highest <= follower->offered_epoch)
        return;
    baton_log(WARN, "handover.not_this_time",
              BATON_LOG_TEXT("why", "the active has begun a new term"),
              BATON_LOG_NUMBER("epoch", highest));
    baton_new_on_abort(&follower->cutover, cutover->try_number);
    baton_follower_drop_passed(follower);
}

int baton_follower_turn(baton_follower *follower, baton_error *error)
{
    if (follower->cutover.state != BATON_NEW_SERVING)
        connect_again(follower);
    if (follower->channel.fd >= 0)
        baton_follower_hear(follower);
    give_up_waiting(follower);
    prepare_ahead(follower);
    look(follower);
    look_for_next_term(follower);
    baton_follower_bring(follower);
    int r = baton_new_step(&follower->cutover, &follower->failure);
    if (r < 0)
        follower->fatal = r;
    if (follower->channel.fd >= 0)
        send_letters(follower);
    if (follower->channel.fd >= 0)
        acknowledge(follower);
    if (follower->channel.fd >= 0)
        send_letters(follower);
    if (follower->channel.fd >= 0 && !watch_channel(follower))
        baton_follower_cut_for(follower, -ENOMEM, "memory is short");
    if (follower->fatal < 0)
        *error = follower->failure;
    return follower->fatal;
}

int baton_follower_follow(baton_follower *follower, const char *of, baton_error *error)
{
    baton_peer_address address;
    if (follower->cutover.state != BATON_NEW_FOLLOWING)
        return baton_error_set(error, BATON_E_AGAIN, "follow",
                               "a handover to this one is under way", "ask again when it is over");
    int r = baton_follower_address(of, &address, error);
    if (r < 0)
        return r;
    follower->target->active = address;
    baton_follower_cut_for(follower, BATON_E_REFUSED, "it was told to follow another one");
    follower->retry_at_ns = 0;
    baton_log(INFO, "handover.told_to_follow", BATON_LOG_TEXT("of", address.text));
    return 0;
}

uint64_t baton_follower_sleep_ns(const baton_follower *follower)
{
    const uint64_t now = baton_now_ns();
    if (follower->cutover.state == BATON_NEW_SERVING)
        return UINT64_MAX;
    if (follower->more && follower->channel.fd >= 0)
        return 0;
    if (follower->cutover.state == BATON_NEW_ANSWERED)
        return ASK_NS;
    if (follower->channel.fd < 0)
        return follower->retry_at_ns > now ? follower->retry_at_ns - now : 0;
    return follower->held_back ? 1000000 : HEARTBEAT_NS;
}

void baton_follower_close(baton_follower *follower)
{
    if (follower->engine == NULL)
        return;
    baton_follower_bring_end(follower);
    if (follower->channel.fd >= 0) {
        send_letters(follower);
        baton_follower_cut_for(follower, 0, "this one ends");
    }
    baton_follower_drop_passed(follower);
    follower->engine = NULL;
}

json_t *baton_follower_describe(const baton_follower *follower)
{
    json_t *object = json_pack("{s:s, s:b, s:o, s:o, s:o, s:o}", "state",
                               baton_new_state_name(follower->cutover.state), "connected",
                               (int)follower->following, "active",
                               baton_describe_text(follower->active.directory), "active_version",
                               baton_describe_text(follower->active_version), "batches",
                               baton_describe_number(follower->batches_count), "socket",
                               baton_describe_text(follower->target->active.text));
    const baton_error *divergence = baton_engine_divergence(follower->engine);
    if (object != NULL && divergence != NULL)
        json_object_set_new(object, "diverged", baton_describe_error(divergence));
    if (object != NULL && !follower->following && follower->last_refusal.status != 0)
        json_object_set_new(object, "error", baton_describe_error(&follower->last_refusal));
    return object;
}
