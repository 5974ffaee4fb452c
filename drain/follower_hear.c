/* drain/follower_hear.c: what the active says to a standby. None of it is believed before it is checked. */
#include "drain/follower.h"

#include <stdio.h>
#include <string.h>

#include "drain/now.h"

#define RETRY_AFTER_REFUSAL_NS UINT64_C(1000000000)
#define MESSAGES_PER_TURN      64u

/* An active that will never have this one: to be told at once to whoever has just started it. */
static bool is_hopeless(const baton_follower *follower, int status)
{
    return !follower->ever_followed &&
           (status == BATON_E_OTHER_SERVICE || status == BATON_E_OTHER_JOURNAL ||
            status == BATON_E_DIVERGED || status == BATON_E_GONE ||
            status == BATON_E_NEWER_FORMAT || status == BATON_E_REFUSED ||
            status == BATON_E_SCHEMA || status == BATON_E_UNKNOWN_TYPE ||
            status == BATON_E_TOO_LARGE);
}

/* Told at once to whoever has just started it; one that has followed waits for a better one. */
static void turn_down(baton_follower *follower, baton_peer_fault fault, const baton_error *why)
{
    if (is_hopeless(follower, why->status))
        baton_follower_fail(follower, why->status, why);
    baton_follower_refuse(follower, fault, why);
}

/* What breaks the protocol. */
static void turn_down_for(baton_follower *follower, const char *why)
{
    baton_error error;
    baton_error_set(&error, BATON_E_INVALID, "follow the active", why,
                    "is it a Baton instance, of a version next to this one?");
    baton_follower_refuse(follower, BATON_PEER_FAULT_ORDER, &error);
}

/* One that has granted, or is undecided, is heard by who may have to act, by who has just come, and by who was
 * offered the authority and has seen no later term: its word is what that one waits for (M11). */
static bool hears_undecided(const baton_follower *follower)
{
    return !follower->ever_followed || follower->deciding ||
           follower->cutover.state == BATON_NEW_ANSWERED ||
           (follower->offered_epoch != 0 && follower->seen_epoch <= follower->offered_epoch);
}

static bool may_follow(baton_follower *follower, const baton_peer_header *header,
                       const baton_peer_hello *welcome)
{
    baton_peer_hello own;
    baton_peer_fault fault;
    baton_error error = {0};
    baton_follower_hello(follower->target, follower->engine, &own);
    follower->protocol = baton_fingerprint_protocol(welcome, &own);
    int r = baton_follower_judge(follower->target, follower->engine, &own, header, welcome, &fault,
                                 &error);
    if (r == 0 && baton_le32_get(welcome->is_active) != 1 && !hears_undecided(follower)) {
        fault = BATON_PEER_FAULT_AUTHORITY;
        r = baton_error_set(&error, BATON_E_REFUSED, "follow the active",
                            "who answers there is no active", "look which instance is the active");
    }
    error.status = r;
    if (r < 0)
        turn_down(follower, fault, &error);
    return r == 0;
}

static void note_active(baton_follower *follower, const baton_peer_header *header,
                        const baton_peer_hello *hello)
{
    memcpy(follower->active_nonce, header->from, sizeof(follower->active_nonce));
    memcpy(follower->active_version, hello->version, sizeof(follower->active_version));
    baton_peer_hello own = {.is_active = baton_le32_put(0)};
    baton_fingerprint_put(&own, follower->target->service, follower->engine);
    follower->active_has_layout = memcmp(own.layout, hello->layout, sizeof(own.layout)) == 0;
    follower->active = baton_partner_heard(&follower->channel, header, hello);
}

/* False: it is one that this instance does not follow. */
static bool is_to_follow(baton_follower *follower, const baton_peer_header *header,
                         const baton_peer_hello *hello)
{
    baton_error error;
    const uint64_t epoch = baton_le64_get(header->epoch);
    const bool active = baton_le32_get(hello->is_active) == 1;
    if (epoch < follower->seen_epoch) {
        baton_error_setf(&error, BATON_E_REFUSED, "follow the active",
                         "end that one: it was overruled",
                         "it speaks for epoch %llu, and epoch %llu was seen",
                         (unsigned long long)epoch, (unsigned long long)follower->seen_epoch);
        baton_follower_cut(follower, &error);
        follower->retry_at_ns = baton_now_ns() + RETRY_AFTER_REFUSAL_NS;
        return false;
    }
    if (active) {
        follower->seen_epoch = epoch;
        baton_place_heard_epoch(follower->target->place, epoch);
    }
    follower->asking = follower->deciding && !active;
    return !follower->asking;
}

static void take_welcome(baton_follower *follower, const baton_peer_header *header,
                         const baton_peer_hello *hello)
{
    baton_peer_follow body = {.from_seq =
                                  baton_le64_put(baton_engine_applied_seq(follower->engine) + 1)};
    baton_position end;
    baton_digest digest;
    bool needs_start;
    /* A refusal is for who spoke; whose directory is looked at for a grant, it does not say. */
    memcpy(follower->active_nonce, header->from, sizeof(follower->active_nonce));
    if (!may_follow(follower, header, hello))
        return;
    note_active(follower, header, hello);
    follower->active_epoch = baton_le64_get(header->epoch);
    baton_place_heard(follower->target->place, baton_le64_get(hello->at.run_epoch));
    baton_engine_follow_end(follower->engine, &end, &digest, &needs_start);
    if (end.epoch > follower->seen_epoch)
        follower->seen_epoch = end.epoch;
    if (!is_to_follow(follower, header, hello))
        return;
    follower->deciding = false; /* another one serves, in a later term */
    body.after = baton_peer_position_put(end);
    memcpy(body.digest, digest.bytes, sizeof(body.digest));
    baton_follower_say(follower, BATON_PEER_FOLLOW, &body, sizeof(body));
    follower->following = follower->ever_followed = true;
    follower->refusals = 0;
    follower->following_since_ns = baton_now_ns();
    baton_log(INFO, "handover.following", BATON_LOG_TEXT("active", follower->active.directory),
              BATON_LOG_TEXT("version", follower->active_version),
              BATON_LOG_NUMBER("from_seq", baton_engine_applied_seq(follower->engine) + 1));
    if (baton_engine_divergence(follower->engine) != NULL) /* found by its start */
        baton_follower_diverged(follower);
}

/* R7: one that is fenced gives leave. It must be there still: what it said is its word. */
static void take_authority(baton_follower *follower, const baton_peer_ack *body)
{
    const uint64_t theirs = baton_le64_get(body->position.epoch);
    uint64_t here = 0;
    if (!follower->deciding || !baton_peer_channel_is_alive(&follower->channel) ||
        baton_highest_name(follower->target->place->directory, &here) < 0)
        return;
    if (baton_new_on_leave(&follower->cutover, baton_higher_epoch(here, theirs) + 1))
        baton_log(INFO, "handover.leave", BATON_LOG_TEXT("of", follower->active.directory),
                  BATON_LOG_NUMBER("epoch", follower->cutover.epoch));
}

static void take_refusal(baton_follower *follower, const void *body)
{
    baton_error error;
    const int status = baton_peer_refusal_get(body, "follow the active", &error);
    if (is_hopeless(follower, status))
        baton_follower_fail(follower, status, &error);
    baton_follower_cut(follower, &error);
    if (follower->retry_at_ns < baton_now_ns() + RETRY_AFTER_REFUSAL_NS)
        follower->retry_at_ns = baton_now_ns() + RETRY_AFTER_REFUSAL_NS;
}

/* 1: taken. 0: no room now. Whatever is wrong with a batch that was not taken ends the connection;
 * whatever is wrong with one that was, ends this process: its state is not what the journal says. */
static int take_batch(baton_follower *follower, const baton_peer_header *header, const void *body)
{
    baton_error error = {0};
    /* Only the term that ends with it grants by it: a later one has overruled it (R6). */
    if (baton_follower_is_granted(follower)) {
        baton_digest digest;
        bool needs_start;
        baton_engine_follow_end(follower->engine, &follower->known, &digest, &needs_start);
        if (baton_le64_get(header->epoch) == follower->known.epoch)
            return 1; /* found on the disk before it came this way; nothing stands behind it */
        baton_new_on_abort(&follower->cutover, follower->cutover.try_number);
        if (follower->cutover.state == BATON_NEW_FOLLOWING)
            baton_follower_drop_passed(follower); /* R10 */
    }
    int r = baton_engine_follow(follower->engine, body, baton_le32_get(header->body_bytes), &error);
    if (r == 0) {
        follower->batches_count++;
        const uint64_t speaks_for = baton_le64_get(header->epoch);
        if (baton_follower_is_granted(follower) &&
            speaks_for ==
                baton_le64_get(((const baton_batch_header *)body)
                                   ->epoch)) /* only what is durable there is sent (R5 a) */
            baton_new_on_grant(&follower->cutover, follower->cutover.try_number);
        return 1;
    }
    if (r == BATON_E_FULL || r == BATON_E_NO_SPACE)
        return 0;
    if (r == BATON_E_DIVERGED && baton_engine_divergence(follower->engine) != NULL) {
        follower->batches_count++;
        baton_follower_diverged(follower);
        return 1;
    }
    error.status = r;
    if (baton_engine_turn(follower->engine, 0, &(baton_error){0}) < 0)
        baton_follower_fail(follower, r, &error);
    baton_follower_refuse(follower, BATON_PEER_FAULT_MESSAGE, &error);
    return 1;
}

static void take_start(baton_follower *follower, const baton_peer_header *header, const void *body)
{
    baton_error error = {0};
    baton_position end;
    baton_digest digest;
    bool needs_start;
    baton_follow_start start = baton_peer_start_get(body);
    memcpy(start.id.bytes, header->journal_id, sizeof(start.id.bytes));
    baton_engine_follow_end(follower->engine, &end, &digest, &needs_start);
    if (!needs_start &&
        end.batch == 0) /* it died between its beginning, which stands, and the first batch */
        return;
    if (!needs_start) {
        turn_down_for(follower, "it begins a journal that has begun");
        return;
    }
    int r = baton_engine_follow_start(follower->engine, &start, &error);
    if (r == 0)
        return;
    error.status = r;
    baton_follower_fail(follower, r,
                        &error); /* nothing is here yet that would be worth waiting with */
    baton_follower_refuse(follower, BATON_PEER_FAULT_MESSAGE, &error);
}

static void take_prepare(baton_follower *follower, const baton_peer_header *header,
                         const baton_peer_prepare *body)
{
    int fds[BATON_PEER_DESCRIPTORS_MAX];
    if (follower->cutover.state != BATON_NEW_FOLLOWING &&
        follower->cutover.state != BATON_NEW_READY) {
        /* It has promised to take a grant, and needs what was passed for that. */
        turn_down_for(follower, "it begins a handover within another one");
        return;
    }
    baton_follower_drop_passed(follower);
    const uint32_t count = baton_peer_take_descriptors(&follower->inbox, fds);
    baton_passed_fd *listeners = follower->passed.listeners;
    for (uint32_t i = 0; i < count; i++) {
        listeners[i].fd = fds[i];
        memcpy(listeners[i].name, body->listeners[i].name, sizeof(listeners[i].name));
    }
    follower->passed.listeners_count = count;
    follower->by_snapshot = baton_le32_get(body->by_snapshot) != 0;
    follower->has_snapshot = follower->arrived = false;
    baton_new_on_prepare(&follower->cutover, baton_le64_get(header->try_number),
                         baton_le32_get(body->schema));
}

/* R10: nobody touches them until the verdict. Those of a try that is over are closed. */
static void take_connections(baton_follower *follower, const baton_peer_header *header,
                             const baton_peer_connections *body)
{
    int fds[BATON_PEER_DESCRIPTORS_MAX];
    if (follower->cutover.state != BATON_NEW_READY ||
        baton_le64_get(header->try_number) != follower->cutover.try_number)
        return;
    const uint32_t count = baton_peer_take_descriptors(&follower->inbox, fds);
    baton_connections_add(&follower->passed.connections, body, baton_le32_get(header->body_bytes),
                          fds, count);
}

static void take_abort(baton_follower *follower, const baton_peer_header *header,
                       const baton_peer_refusal *body)
{
    baton_engine_point here = {0};
    int r = baton_engine_digests(follower->engine, 0, &here, NULL);
    (void)r; /* for the log only */
    baton_log(WARN, "handover.not_this_time", BATON_LOG_TEXT("why", (const char *)body->why),
              BATON_LOG_NUMBER("offered_batch", follower->cutover.offer.position.batch),
              BATON_LOG_NUMBER("batch", here.position.batch),
              BATON_LOG_NUMBER("durable_batch", here.durable.batch));
    baton_new_on_abort(&follower->cutover, baton_le64_get(header->try_number));
    if (follower->cutover.state == BATON_NEW_FOLLOWING)
        baton_follower_drop_passed(follower);
}

/* The nonce of the active is fixed by its welcome; and everything after that is for this process. */
static bool is_for_me(const baton_follower *follower, const baton_peer_header *header)
{
    const uint16_t type = baton_le16_get(header->type);
    if (type == BATON_PEER_REFUSE)
        return true;
    if (memcmp(header->to, follower->target->nonce, sizeof(header->to)) != 0)
        return false;
    if (type == BATON_PEER_AUTHORITY)
        return follower->asking &&
               memcmp(header->from, follower->active_nonce, sizeof(header->from)) == 0;
    return type == BATON_PEER_WELCOME
               ? !follower->following
               : follower->following && baton_le16_get(header->version) == follower->protocol &&
                     memcmp(header->from, follower->active_nonce, sizeof(header->from)) == 0;
}

/* False: the same again, when the journal has room. */
static bool take_message(baton_follower *follower, const baton_peer_header *header,
                         const void *body)
{
    const uint64_t try_number = baton_le64_get(header->try_number);
    if (!is_for_me(follower, header)) {
        turn_down_for(follower, "it says what has no place there");
        return true;
    }
    switch ((baton_peer_type)baton_le16_get(header->type)) {
    case BATON_PEER_WELCOME:
        take_welcome(follower, header, body);
        break;
    case BATON_PEER_REFUSE:
        take_refusal(follower, body);
        break;
    case BATON_PEER_START:
        take_start(follower, header, body);
        break;
    case BATON_PEER_BATCH:
        return take_batch(follower, header, body) == 1;
    case BATON_PEER_PREPARE:
        take_prepare(follower, header, body);
        break;
    case BATON_PEER_CONNECTIONS:
        take_connections(follower, header, body);
        break;
    case BATON_PEER_SNAPSHOT:
        if (try_number == follower->cutover.try_number) {
            follower->snapshot = *(const baton_peer_snapshot *)body;
            follower->has_snapshot = true;
        }
        break;
    case BATON_PEER_FINAL: {
        const baton_engine_point offer = baton_peer_point_get(body);
        follower->offered_epoch = baton_le64_get(header->epoch);
        baton_new_on_final(&follower->cutover, try_number, &offer);
        break;
    }
    case BATON_PEER_GRANT:
        baton_new_on_grant(&follower->cutover, try_number);
        break;
    case BATON_PEER_ABORT:
        take_abort(follower, header, body);
        break;
    case BATON_PEER_AUTHORITY:
        take_authority(follower, body);
        break;
    case BATON_PEER_HELLO:
    case BATON_PEER_FETCH:
    case BATON_PEER_PIECE:
    case BATON_PEER_FOLLOW:
    case BATON_PEER_ACK:
    case BATON_PEER_READY:
    case BATON_PEER_ANSWER:
    case BATON_PEER_TAKEN:
        turn_down_for(follower, "it says what has no place there");
        break;
    }
    return true;
}

void baton_follower_hear(baton_follower *follower)
{
    follower->held_back = false;
    follower->more = true;
    for (uint32_t i = 0; i < MESSAGES_PER_TURN && follower->channel.fd >= 0 && follower->fatal == 0;
         i++) {
        const baton_peer_header *header;
        const void *body;
        baton_error error = {0};
        int r = baton_peer_next(&follower->inbox, &header, &body, &error);
        if (r < 0) {
            error.status = r;
            turn_down(follower, BATON_PEER_FAULT_MESSAGE, &error);
            return;
        }
        if (r == 1) {
            follower->asked_ns = follower->heard_ns = baton_now_ns();
            follower->held_back = !take_message(follower, header, body);
            if (follower->held_back) {
                follower->more = false;
                return;
            }
            if (follower->channel.fd >= 0)
                baton_peer_took(&follower->inbox);
            int stepped = baton_new_step(&follower->cutover, &error);
            if (stepped < 0)
                baton_follower_fail(follower, stepped, &error);
            if (follower->fatal < 0)
                return;
            continue;
        }
        r = baton_peer_receive(&follower->inbox, &follower->channel);
        if (r < 0)
            baton_follower_cut(follower, &follower->channel.error);
        if (r <= 0) {
            follower->more = false;
            return;
        }
    }
}
