/* drain/follower.c: a standby on the engine's loop. */
#include "drain/follower.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <baton/clock.h>

#include "drain/grant_look.h"
#include "drain/partner.h"

#define RETRY_NS          UINT64_C(100000000)
#define HEARTBEAT_NS      UINT64_C(1000000000)
#define ASK_NS            UINT64_C(50000000) /* nothing heard, and a grant may come: look */
#define MESSAGES_PER_TURN 64u

static uint64_t now_ns(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}

/* ---- the connection ---- */

static void drop_letters(baton_follower *follower)
{
    for (; follower->letters_count > 0; follower->letters_count--)
        baton_peer_drop(&follower->letters[follower->letters_first++ % LETTERS_MAX].out);
    follower->letters_first = 0;
}

static void drop_passed(baton_follower *follower)
{
    for (uint32_t i = 0; i < follower->passed_count; i++)
        close(follower->passed[i].fd);
    follower->passed_count = 0;
}

static void cut(baton_follower *follower, const baton_error *why)
{
    if (follower->fd < 0)
        return;
    baton_engine_unwatch(follower->engine, follower->fd);
    close(follower->fd);
    follower->fd = -1;
    baton_peer_inbox_fini(&follower->inbox);
    drop_letters(follower);
    follower->following = follower->held_back = false;
    follower->retry_at_ns = now_ns() + RETRY_NS;
    follower->last_refusal = *why;
    if (follower->cutover.state == BATON_NEW_READY)
        drop_passed(follower);
    baton_new_on_cut(&follower->cutover);
    baton_log(WARN, "handover.active_lost", BATON_LOG_TEXT("why", why->why),
              BATON_LOG_TEXT("state", baton_new_state_name(follower->cutover.state)));
}

static void cut_for(baton_follower *follower, int status, const char *why)
{
    baton_error error;
    baton_error_set(&error, status, "follow the active", why, NULL);
    cut(follower, &error);
}

static void say(baton_follower *follower, baton_peer_type type, const void *body, uint32_t bytes)
{
    baton_peer_names names = {.try_number = follower->cutover.try_number,
                              .journal_id = baton_engine_journal_id(follower->engine)};
    baton_position end;
    baton_digest digest;
    bool needs_start;
    if (follower->fd < 0)
        return;
    if (follower->letters_count == LETTERS_MAX) {
        cut_for(follower, BATON_E_FULL, "it takes nothing");
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
        int r = baton_peer_send(out, follower->fd);
        if (r < 0)
            cut_for(follower, r, "it has hung up");
        if (r <= 0)
            return;
        follower->letters_first++;
        follower->letters_count--;
    }
}

static void on_event(void *context, int fd, uint32_t events)
{
    (void)context; /* the turn that follows does all of it */
    (void)fd;
    (void)events;
}

static void connect_again(baton_follower *follower)
{
    baton_error error = {0};
    baton_peer_hello hello;
    if (follower->fd >= 0 || now_ns() < follower->retry_at_ns)
        return;
    follower->retry_at_ns = now_ns() + RETRY_NS;
    if (baton_peer_connect(follower->target->socket_path, &follower->fd, &error) < 0) {
        follower->last_refusal = error;
        follower->fd = -1;
        return;
    }
    if (baton_peer_inbox_init(&follower->inbox, BATON_PEER_BODY_BYTES_MAX) < 0 ||
        baton_engine_watch(follower->engine, follower->fd, EPOLLIN, on_event, follower) < 0) {
        cut_for(follower, -ENOMEM, "memory is short");
        return;
    }
    memset(follower->active_nonce, 0, sizeof(follower->active_nonce));
    baton_follower_hello(follower->target, &hello);
    say(follower, BATON_PEER_HELLO, &hello, sizeof(hello));
}

/* ---- what comes ---- */

static void fail(baton_follower *follower, int status, const baton_error *why)
{
    follower->fatal = status;
    follower->failure = *why;
    follower->failure.status = status;
}

/* An active that will never have this one: to be told at once to whoever has just started it. */
static bool is_hopeless(const baton_follower *follower, int status)
{
    return !follower->ever_followed &&
           (status == BATON_E_OTHER_SERVICE || status == BATON_E_OTHER_JOURNAL ||
            status == BATON_E_DIVERGED || status == BATON_E_GONE ||
            status == BATON_E_NEWER_FORMAT || status == BATON_E_REFUSED);
}

static void take_welcome(baton_follower *follower, const baton_peer_header *header,
                         const baton_peer_hello *hello)
{
    baton_peer_follow body = {.from_seq =
                                  baton_le64_put(baton_engine_applied_seq(follower->engine) + 1)};
    baton_position end;
    baton_digest digest;
    bool needs_start;
    memcpy(follower->active_nonce, header->from, sizeof(follower->active_nonce));
    memcpy(follower->active_version, hello->version, sizeof(follower->active_version));
    memcpy(follower->active_directory, hello->directory, sizeof(follower->active_directory));
    baton_engine_follow_end(follower->engine, &end, &digest, &needs_start);
    body.after = baton_peer_position_put(end);
    memcpy(body.digest, digest.bytes, sizeof(body.digest));
    say(follower, BATON_PEER_FOLLOW, &body, sizeof(body));
    follower->following = follower->ever_followed = true;
    baton_log(INFO, "handover.following", BATON_LOG_TEXT("active", follower->active_directory),
              BATON_LOG_TEXT("version", follower->active_version),
              BATON_LOG_NUMBER("from_seq", baton_engine_applied_seq(follower->engine) + 1));
}

static void take_refusal(baton_follower *follower, const void *body)
{
    baton_error error;
    const int status = baton_peer_refusal_get(body, "follow the active", &error);
    if (is_hopeless(follower, status))
        fail(follower, status, &error);
    cut(follower, &error);
    follower->retry_at_ns = now_ns() + HEARTBEAT_NS;
}

/* The term that it follows has ended with a grant to this very process. */
static bool record_names_me(const baton_follower *follower)
{
    const baton_handover_wire *handover = &baton_engine_facts(follower->engine)->handover;
    return memcmp(handover->successor_nonce, follower->target->nonce, BATON_PEER_NONCE_BYTES) == 0;
}

/* 1: taken. 0: no room now. Whatever is wrong with a batch that was not taken ends the connection;
 * whatever is wrong with one that was, ends this process: its state is not what the journal says. */
static int take_batch(baton_follower *follower, const baton_peer_header *header, const void *body)
{
    baton_error error = {0};
    if (record_names_me(follower))
        return 1; /* found on the disk before it came this way; nothing stands behind it */
    int r = baton_engine_follow(follower->engine, body, baton_le32_get(header->body_bytes), &error);
    if (r == 0) {
        follower->batches_count++;
        if (record_names_me(follower)) /* only what is durable there is sent (R5 a) */
            baton_new_on_grant(&follower->cutover, follower->cutover.try_number);
        return 1;
    }
    if (r == BATON_E_FULL || r == BATON_E_NO_SPACE)
        return 0;
    error.status = r;
    if (baton_engine_turn(follower->engine, 0, &(baton_error){0}) < 0)
        fail(follower, r, &error);
    cut(follower, &error);
    return 1;
}

static void take_start(baton_follower *follower, const baton_peer_header *header, const void *body)
{
    baton_error error = {0};
    baton_follow_start start = baton_peer_start_get(body);
    memcpy(start.id.bytes, header->journal_id, sizeof(start.id.bytes));
    int r = baton_engine_follow_start(follower->engine, &start, &error);
    if (r == 0)
        return;
    fail(follower, r, &error);
    cut(follower, &error);
}

static void take_prepare(baton_follower *follower, const baton_peer_header *header,
                         const baton_peer_prepare *body)
{
    int fds[BATON_PEER_LISTENERS_MAX];
    drop_passed(follower);
    const uint32_t count = baton_peer_take_descriptors(&follower->inbox, fds);
    for (uint32_t i = 0; i < count; i++) {
        follower->passed[i].fd = fds[i];
        memcpy(follower->passed[i].name, body->listeners[i].name, sizeof(follower->passed[i].name));
    }
    follower->passed_count = count;
    baton_new_on_prepare(&follower->cutover, baton_le64_get(header->try_number),
                         baton_le32_get(body->schema));
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
        drop_passed(follower);
}

/* The nonce of the active is fixed by its welcome; and everything after that is for this process. */
static bool is_for_me(const baton_follower *follower, const baton_peer_header *header)
{
    const uint16_t type = baton_le16_get(header->type);
    if (type == BATON_PEER_REFUSE)
        return true;
    if (memcmp(header->to, follower->target->nonce, sizeof(header->to)) != 0)
        return false;
    return type == BATON_PEER_WELCOME
               ? !follower->following
               : follower->following &&
                     memcmp(header->from, follower->active_nonce, sizeof(header->from)) == 0;
}

/* False: the same again, when the journal has room. */
static bool take_message(baton_follower *follower, const baton_peer_header *header,
                         const void *body)
{
    const uint64_t try_number = baton_le64_get(header->try_number);
    if (!is_for_me(follower, header)) {
        cut_for(follower, BATON_E_INVALID, "it says what has no place there");
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
    case BATON_PEER_FINAL: {
        const baton_engine_point offer = baton_peer_point_get(body);
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
    case BATON_PEER_HELLO:
    case BATON_PEER_FETCH:
    case BATON_PEER_SNAPSHOT:
    case BATON_PEER_PIECE:
    case BATON_PEER_FOLLOW:
    case BATON_PEER_ACK:
    case BATON_PEER_READY:
    case BATON_PEER_ANSWER:
    case BATON_PEER_TAKEN:
        cut_for(follower, BATON_E_INVALID, "it says what has no place there");
        break;
    }
    return true;
}

static void hear(baton_follower *follower)
{
    follower->held_back = false;
    follower->more = true;
    for (uint32_t i = 0; i < MESSAGES_PER_TURN && follower->fd >= 0; i++) {
        const baton_peer_header *header;
        const void *body;
        baton_error error = {0};
        int r = baton_peer_next(&follower->inbox, &header, &body, &error);
        if (r < 0) {
            error.status = r;
            cut(follower, &error);
            return;
        }
        if (r == 1) {
            follower->asked_ns = now_ns();
            follower->held_back = !take_message(follower, header, body);
            if (follower->held_back) {
                follower->more = false;
                return;
            }
            if (follower->fd >= 0)
                baton_peer_took(&follower->inbox);
            int stepped = baton_new_step(&follower->cutover, &follower->failure);
            if (stepped < 0)
                fail(follower, stepped, &(baton_error){0});
            continue;
        }
        r = baton_peer_receive(&follower->inbox, follower->fd);
        if (r < 0)
            cut_for(follower, r, "it has hung up");
        if (r <= 0) {
            follower->more = false;
            return;
        }
    }
}

/* ---- what the state machine asks for ---- */

static int new_point(void *context, uint32_t schema, baton_engine_point *ret_point,
                     baton_error *error)
{
    const baton_follower *follower = context;
    return baton_engine_digests(follower->engine, schema, ret_point, error);
}

static int new_prepare(void *context, uint32_t schema, baton_error *error)
{
    baton_follower *follower = context;
    const baton_service *service = follower->doors->service;
    baton_position end;
    baton_digest digest;
    bool needs_start;
    if (schema < service->schema.read_min || schema > service->schema.write)
        return baton_error_setf(
            error, BATON_E_SCHEMA, "be the successor", "hand over to a version next to this one",
            "%s %s writes schema %u to %u, and %u is pinned", service->name, service->version,
            service->schema.read_min, service->schema.write, schema);
    baton_engine_follow_end(follower->engine, &end, &digest, &needs_start);
    if (needs_start)
        return baton_error_set(error, BATON_E_AGAIN, "be the successor",
                               "nothing of the journal has come yet", "begin again in a moment");
    int r = baton_partner_write(follower->target->directory, follower->active_directory, error);
    return r < 0 ? r : baton_engine_prepare_promotion(follower->engine, end.epoch + 1, error);
}

static void new_ready(void *context)
{
    baton_follower *follower = context;
    uint64_t highest = 0;
    int r = baton_highest_name(follower->target->directory, &highest);
    const baton_peer_ready body = {.highest_name = baton_le64_put(r < 0 ? 0 : highest)};
    say(follower, BATON_PEER_READY, &body, sizeof(body));
}

static void new_refuse(void *context, const baton_error *why)
{
    baton_follower *follower = context;
    const baton_peer_refusal body = baton_peer_refusal_put(why->status, why->why, why->todo);
    baton_log(WARN, "handover.refuse", BATON_LOG_TEXT("why", why->why));
    say(follower, BATON_PEER_REFUSE, &body, sizeof(body));
}

static void new_answer(void *context, const baton_engine_point *point)
{
    baton_follower *follower = context;
    const baton_peer_point body = baton_peer_point_put(point);
    say(follower, BATON_PEER_ANSWER, &body, sizeof(body));
}

static bool new_record_here(void *context)
{
    const baton_follower *follower = context;
    const baton_handover_wire *handover = &baton_engine_facts(follower->engine)->handover;
    baton_engine_point point;
    if (!record_names_me(follower) || baton_engine_digests(follower->engine, 0, &point, NULL) < 0)
        return false;
    return baton_le64_get(handover->epoch) == point.position.epoch &&
           point.durable.batch == point.position.batch;
}

static int new_promote(void *context, baton_error *error)
{
    baton_follower *follower = context;
    const baton_handover_wire *handover = &baton_engine_facts(follower->engine)->handover;
    return baton_engine_promote(follower->engine, baton_le64_get(handover->epoch) + 1, error);
}

static void new_taken(void *context)
{
    baton_follower *follower = context;
    baton_error error = {0};
    const baton_peer_ack body = {.position.epoch =
                                     baton_le64_put(baton_engine_epoch(follower->engine)),
                                 .seq = baton_le64_put(baton_engine_applied_seq(follower->engine))};
    if (!follower->promoted_done) {
        follower->promoted_done = true;
        int r =
            follower->promoted(follower->context, follower->passed, follower->passed_count, &error);
        follower->passed_count = 0;
        if (r < 0)
            fail(follower, r, &error);
    }
    say(follower, BATON_PEER_TAKEN, &body, sizeof(body));
}

static void new_reached(void *context, baton_new_state state)
{
    baton_follower *follower = context;
    const char *name = baton_new_state_name(state);
    baton_log(INFO, "handover.step", BATON_LOG_TEXT("reached", name),
              BATON_LOG_NUMBER("try", follower->cutover.try_number));
    if (follower->doors->program->reached != NULL && state != BATON_NEW_FOLLOWING)
        follower->doors->program->reached(follower->doors->context, name);
}

/* ---- its life ---- */

int baton_follower_open(baton_follower *follower, const baton_doors *doors, baton_engine *engine,
                        const baton_follower_target *target, baton_error *error)
{
    follower->doors = doors;
    follower->engine = engine;
    follower->target = target;
    follower->fd = -1;
    follower->actions = (baton_new_actions){
        .point = new_point,
        .prepare = new_prepare,
        .ready = new_ready,
        .refuse = new_refuse,
        .answer = new_answer,
        .record_here = new_record_here,
        .promote = new_promote,
        .taken = new_taken,
        .reached = new_reached,
        .context = follower,
    };
    baton_new_init(&follower->cutover, &follower->actions);
    (void)error;
    return 0;
}

/* One a turn, when there is something to say, and each second. */
static void acknowledge(baton_follower *follower)
{
    baton_engine_status status;
    if (!follower->following || follower->letters_count > 0 ||
        baton_engine_status_get(follower->engine, &status) < 0)
        return;
    const uint64_t now = now_ns();
    if (status.durable_seq == follower->told.seq && status.seq == follower->told_seq &&
        now - follower->told_ns < HEARTBEAT_NS)
        return;
    follower->told = (baton_position){.epoch = status.epoch, .seq = status.durable_seq};
    follower->told_seq = status.seq;
    follower->told_ns = now;
    const baton_peer_ack body = {.position = baton_peer_position_put(follower->told),
                                 .seq = baton_le64_put(status.seq)};
    say(follower, BATON_PEER_ACK, &body, sizeof(body));
}

/* R5 b and c: nobody says anything, and the grant may stand on the disk. */
static void look(baton_follower *follower)
{
    if (follower->cutover.state != BATON_NEW_ANSWERED || follower->cutover.granted ||
        now_ns() - follower->asked_ns < ASK_NS)
        return;
    follower->asked_ns = now_ns();
    baton_error error = {0};
    int r = baton_grant_look(follower->engine, follower->active_directory, follower->target->nonce,
                             follower->fd, &error);
    if (r == 1) {
        baton_log(INFO, "handover.grant_found",
                  BATON_LOG_TEXT("directory", follower->active_directory));
        baton_new_on_grant(&follower->cutover, follower->cutover.try_number);
    } else if (r < 0 && r != BATON_E_LOCKED) {
        baton_log(WARN, "handover.look", BATON_LOG_TEXT("why", error.why));
    }
}

int baton_follower_turn(baton_follower *follower, baton_error *error)
{
    if (follower->cutover.state != BATON_NEW_SERVING)
        connect_again(follower);
    if (follower->fd >= 0)
        hear(follower);
    look(follower);
    int r = baton_new_step(&follower->cutover, &follower->failure);
    if (r < 0)
        follower->fatal = r;
    if (follower->fd >= 0)
        acknowledge(follower);
    if (follower->fd >= 0)
        send_letters(follower);
    if (follower->fatal < 0)
        *error = follower->failure;
    return follower->fatal;
}

uint64_t baton_follower_sleep_ns(const baton_follower *follower)
{
    const uint64_t now = now_ns();
    if (follower->cutover.state == BATON_NEW_SERVING)
        return UINT64_MAX;
    if (follower->more && follower->fd >= 0)
        return 0;
    if (follower->cutover.state == BATON_NEW_ANSWERED)
        return ASK_NS;
    if (follower->fd < 0)
        return follower->retry_at_ns > now ? follower->retry_at_ns - now : 0;
    return follower->held_back ? 1000000 : HEARTBEAT_NS;
}

void baton_follower_close(baton_follower *follower)
{
    if (follower->engine == NULL)
        return;
    if (follower->fd >= 0) {
        send_letters(follower);
        cut_for(follower, 0, "this one ends");
    }
    drop_passed(follower);
    follower->engine = NULL;
}

json_t *baton_follower_describe(const baton_follower *follower)
{
    json_t *object = json_pack("{s:s, s:b, s:o, s:o, s:o, s:o}", "state",
                               baton_new_state_name(follower->cutover.state), "connected",
                               (int)follower->following, "active",
                               baton_describe_text(follower->active_directory), "active_version",
                               baton_describe_text(follower->active_version), "batches",
                               baton_describe_number(follower->batches_count), "socket",
                               baton_describe_text(follower->target->socket_path));
    if (object != NULL && !follower->following && follower->last_refusal.status != 0)
        json_object_set_new(object, "error", baton_describe_error(&follower->last_refusal));
    return object;
}
