/* drain/cutover.c: between the state machine of the active's side and everything that it moves. */
#include "drain/cutover.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "drain/now.h"
#include "drain/other_directory.h"

#define LOOK_NS           UINT64_C(20000000)
#define LAG_SHARE         16u /* of the gap, that the standby may be behind when it begins */
#define MESSAGES_PER_TURN 16u
#define SENT_SHARE        2u /* of the gap, for clients that are slow to take their answers */

static uint64_t now_ns(void *context)
{
    (void)context;
    return baton_now_ns();
}

static bool send_to(baton_cutover *cutover, baton_peer_type type, const void *body, uint32_t bytes)
{
    return baton_feeder_send(cutover->feeder, cutover->peer_id, type, cutover->try_number, body,
                             bytes, NULL, 0);
}

/* ---- what the state machine asks for ---- */

static bool old_prepare(void *context)
{
    baton_cutover *cutover = context;
    const baton_program *program = cutover->doors->program;
    baton_passed_fd passed[BATON_PASSED_FDS_MAX] = {{.fd = -1}};
    baton_peer_prepare body = {.max_gap_ns = baton_le64_put(cutover->old.max_gap_ns)};
    int fds[BATON_PASSED_FDS_MAX];
    baton_engine_status status;
    baton_error error = {0};
    if (baton_engine_status_get(cutover->engine, &status) < 0)
        return false;
    if (baton_partner_write(cutover->place->directory, &cutover->peer, &error) < 0) {
        baton_log(WARN, "handover.partner", BATON_LOG_TEXT("why", error.why));
        return false;
    }
    body.schema = baton_le32_put(status.schema);
    body.by_snapshot = baton_le32_put(cutover->way.by_snapshot ? 1 : 0);
    const uint32_t count = program->give_fds != NULL && !cutover->peer.far
                               ? program->give_fds(cutover->doors->context, passed)
                               : 0;
    body.listeners_count = baton_le32_put(count);
    for (uint32_t i = 0; i < count; i++) {
        fds[i] = passed[i].fd;
        snprintf((char *)body.listeners[i].name, sizeof(body.listeners[i].name), "%s",
                 passed[i].name);
    }
    return baton_feeder_send(cutover->feeder, cutover->peer_id, BATON_PEER_PREPARE,
                             cutover->try_number, &body, sizeof(body), fds, count);
}

static uint64_t durable_there(const baton_cutover *cutover)
{
    baton_feeder_peer peers[BATON_FEEDER_PEERS_MAX];
    const uint32_t count = baton_feeder_peers(cutover->feeder, peers);
    for (uint32_t i = 0; i < count; i++)
        if (peers[i].id == cutover->peer_id)
            return peers[i].durable.seq;
    return 0;
}

/* How far behind it is, as time: how long until it has what is durable here now. */
static bool old_level(void *context)
{
    baton_cutover *cutover = context;
    baton_engine_status status;
    const uint64_t now = baton_now_ns();
    if (cutover->level_ns != 0 && durable_there(cutover) < cutover->level_seq)
        return false;
    if (cutover->level_ns != 0 && now - cutover->level_ns <= cutover->old.max_gap_ns / LAG_SHARE)
        return true;
    if (baton_engine_status_get(cutover->engine, &status) < 0)
        return true;
    cutover->level_seq = status.durable_seq;
    cutover->level_ns = now;
    return durable_there(cutover) >= cutover->level_seq;
}

static void old_stop_intake(void *context)
{
    baton_cutover *cutover = context;
    cutover->doors->program->pause_intake(cutover->doors->context);
    baton_engine_seal(cutover->engine);
}

static bool all_sent(const baton_cutover *cutover)
{
    const baton_program *program = cutover->doors->program;
    const uint64_t gap_ns = cutover->way.by_snapshot ? BATON_MAX_GAP_NS : cutover->old.max_gap_ns;
    return program->all_sent == NULL || program->all_sent(cutover->doors->context) ||
           baton_now_ns() - cutover->old.stopped_ns > gap_ns / SENT_SHARE;
}

static bool old_all_released(void *context)
{
    baton_cutover *cutover = context;
    if (!baton_engine_all_released(cutover->engine))
        return false;
    if (!baton_cutover_passes_connections(cutover) && !all_sent(cutover))
        return false; /* else what is not sent goes along */
    return baton_way_back_is_ready(cutover);
}

static int old_point(void *context, baton_engine_point *ret_point, baton_error *error)
{
    const baton_cutover *cutover = context;
    return baton_engine_digests(cutover->engine, 0, ret_point, error);
}

static void old_offer(void *context, const baton_engine_point *point)
{
    baton_cutover *cutover = context;
    const baton_peer_point body = baton_peer_point_put(point);
    baton_cutover_give_connections(cutover);
    baton_way_back_tell(cutover);
    (void)send_to(cutover, BATON_PEER_FINAL, &body, sizeof(body));
}

static int old_record(void *context, baton_error *error)
{
    baton_cutover *cutover = context;
    return baton_engine_handover_record_to(cutover->engine, cutover->peer_nonce, error);
}

static bool old_record_durable(void *context)
{
    const baton_cutover *cutover = context;
    return baton_engine_handover_durable(cutover->engine);
}

static void old_grant(void *context)
{
    baton_cutover *cutover = context;
    baton_engine_point point;
    baton_peer_ack body = {.seq = baton_le64_put(cutover->old.point.seq)};
    if (baton_engine_digests(cutover->engine, 0, &point, NULL) == 0)
        body.position = baton_peer_position_put(point.position);
    (void)send_to(cutover, BATON_PEER_GRANT, &body, sizeof(body));
}

static void old_resume(void *context, baton_old_state from, const baton_error *why)
{
    baton_cutover *cutover = context;
    const baton_peer_refusal body = baton_peer_refusal_put(why->status, why->why, why->todo);
    baton_error error = {0};
    if (!send_to(cutover, BATON_PEER_ABORT, &body, sizeof(body))) /* a cut says the same */
        baton_feeder_drop(cutover->feeder, cutover->peer_id, "it takes nothing");
    baton_log(WARN, "handover.resumed", BATON_LOG_TEXT("from", baton_old_state_name(from)),
              BATON_LOG_TEXT("why", why->why), BATON_LOG_TEXT("todo", why->todo));
    baton_way_back_resumed(cutover, why);
    if (from == BATON_OLD_PREPARING)
        return;
    /* Nothing but the record could hinder it, and that was not queued; a broken journal ends the loop. */
    int r = baton_engine_unseal(cutover->engine, &error);
    if (r < 0)
        baton_log(ERROR, "handover.intake", BATON_LOG_TEXT("why", error.why));
    else
        cutover->doors->program->resume_intake(cutover->doors->context);
}

static void old_reached(void *context, baton_old_state state, uint64_t since_begin_ns)
{
    baton_cutover *cutover = context;
    const char *name = baton_old_state_name(state);
    baton_log(INFO, "handover.step", BATON_LOG_TEXT("reached", name),
              BATON_LOG_NUMBER("try", cutover->try_number),
              BATON_LOG_NUMBER("after_us", since_begin_ns / 1000));
    if (state == BATON_OLD_FENCED && cutover->old.stopped_ns != 0)
        cutover->gap_ns = baton_now_ns() - cutover->old.stopped_ns;
    if (state == BATON_OLD_FENCED && cutover->gap_ns != 0 && cutover->higher_epoch == 0)
        baton_log(INFO, "handover.done",
                  BATON_LOG_TEXT("path", cutover->way.by_snapshot ? "snapshot" : "cutover"),
                  BATON_LOG_TEXT("path_why", cutover->way.why),
                  BATON_LOG_NUMBER("gap_us", cutover->gap_ns / 1000));
    if (state == BATON_OLD_SUBMITTED && cutover->feeder != NULL)
        baton_feeder_set_over(cutover->feeder, true);
    if (cutover->doors->program->reached != NULL)
        cutover->doors->program->reached(cutover->doors->context, name);
}

/* ---- what comes from the standbys ---- */

static bool is_of_this_try(const baton_cutover *cutover, const baton_feeder_message *message)
{
    return message->peer_id == cutover->peer_id &&
           baton_le64_get(message->header.try_number) == cutover->try_number &&
           memcmp(message->header.from, cutover->peer_nonce, sizeof(cutover->peer_nonce)) == 0;
}

/* A connection begins to follow. What it believes to be in is over, unless it is the one that was
 * granted the authority. */
static void on_follow(baton_cutover *cutover, const baton_feeder_message *message)
{
    const bool is_successor =
        baton_old_is_under_way(&cutover->old) &&
        memcmp(message->header.from, cutover->peer_nonce, sizeof(cutover->peer_nonce)) == 0;
    const uint64_t its_try = baton_le64_get(message->header.try_number);
    const bool gave_its_word = its_try == 0 && baton_old_is_over(&cutover->old); /* M11 */
    if (is_successor && !cutover->spoilt && !gave_its_word) {
        cutover->peer_id = message->peer_id;
        cutover->peer_cut = false;
        if (cutover->found)
            cutover->try_number = its_try;
        baton_old_on_hello(&cutover->old);
    }
    if (its_try != 0 && !(is_successor && baton_old_is_over(&cutover->old))) {
        const baton_peer_refusal body =
            baton_peer_refusal_put(BATON_E_REFUSED, "this instance serves on", "");
        (void)baton_feeder_send(cutover->feeder, message->peer_id, BATON_PEER_ABORT, its_try, &body,
                                sizeof(body), NULL, 0);
    }
}

static void on_message(baton_cutover *cutover, const baton_feeder_message *message)
{
    baton_old *old = &cutover->old;
    baton_error error;
    if (message->gone) {
        if (message->peer_id == cutover->owes_peer_id)
            cutover->owes_peer_id = 0;
        if (message->peer_id == cutover->peer_id) {
            cutover->peer_cut = true;
            baton_old_on_cut(old);
        }
        return;
    }
    const baton_peer_type type = (baton_peer_type)baton_le16_get(message->header.type);
    if (message->peer_id == cutover->peer_id)
        cutover->peer_heard_ns = baton_now_ns();
    if (type == BATON_PEER_HELLO) {
        baton_cutover_on_hello(cutover, message);
        return;
    }
    if (type == BATON_PEER_FOLLOW) {
        on_follow(cutover, message);
        return;
    }
    if (type == BATON_PEER_TAKEN && message->peer_id == cutover->owes_peer_id)
        cutover->owes_peer_id = 0;
    if (!is_of_this_try(cutover, message))
        return; /* of a try that is over */
    if (type == BATON_PEER_READY) {
        baton_old_on_ready(old);
    } else if (type == BATON_PEER_REFUSE) {
        (void)baton_peer_refusal_get((const baton_peer_refusal *)message->body,
                                     "the standby refused", &error);
        baton_old_on_refuse(old, &error);
    } else if (type == BATON_PEER_ANSWER) {
        const baton_engine_point answer =
            baton_peer_point_get((const baton_peer_point *)message->body);
        baton_old_on_answer(old, &answer);
    } else if (type == BATON_PEER_TAKEN) {
        baton_old_on_taken(old);
    }
}

static void on_feeder(void *context, int fd, uint32_t events)
{
    baton_cutover *cutover = context;
    baton_feeder_message message;
    (void)fd;
    (void)events;
    /* A turn is bounded: the rest comes in the next one. */
    for (uint32_t i = 0; i < MESSAGES_PER_TURN && baton_feeder_next(cutover->feeder, &message);
         i++) {
        on_message(cutover, &message);
        (void)baton_old_step(&cutover->old);
    }
}

/* ---- its life ---- */

static void set_actions(baton_cutover *cutover)
{
    cutover->actions = (baton_old_actions){
        .now_ns = now_ns,
        .prepare = old_prepare,
        .level = old_level,
        .stop_intake = old_stop_intake,
        .all_released = old_all_released,
        .point = old_point,
        .offer = old_offer,
        .record = old_record,
        .record_durable = old_record_durable,
        .grant = old_grant,
        .resume = old_resume,
        .reached = old_reached,
        .context = cutover,
    };
    baton_old_init(&cutover->old, &cutover->actions);
}

/* Of the journal, with what is under way: nobody was sent more. */
static baton_position end_of(const baton_cutover *cutover)
{
    baton_position end;
    baton_digest digest;
    bool needs_start;
    baton_engine_follow_end(cutover->engine, &end, &digest, &needs_start);
    end.seq = baton_engine_applied_seq(cutover->engine);
    return end;
}

void baton_cutover_open_feeder(baton_cutover *cutover)
{
    baton_error error = {0};
    if (!cutover->found) {
        cutover->epoch = cutover->highest_header = baton_engine_epoch(cutover->engine);
        cutover->feeder_options.epoch = cutover->epoch;
        cutover->feeder_options.highest_header = cutover->epoch;
    }
    cutover->feeder_options.undecided = cutover->found;
    cutover->feeder_options.journal_id = baton_engine_journal_id(cutover->engine);
    cutover->feeder_options.end = end_of(cutover);
    cutover->feeder_options.fingerprint = (baton_peer_hello){.is_active = baton_le32_put(1)};
    baton_fingerprint_put(&cutover->feeder_options.fingerprint, cutover->doors->service,
                          cutover->engine);
    int r = baton_feeder_open(&cutover->feeder_options, &cutover->feeder, &error);
    if (r == 0)
        r = baton_engine_watch(cutover->engine, baton_feeder_fd(cutover->feeder), EPOLLIN,
                               on_feeder, cutover);
    if (r < 0) {
        baton_log(WARN, "handover.nobody_can_follow", BATON_LOG_TEXT("what", error.what),
                  BATON_LOG_TEXT("why", error.why));
        baton_feeder_close(cutover->feeder);
        cutover->feeder = NULL;
    }
}

void baton_cutover_close_feeder(baton_cutover *cutover)
{
    if (cutover->feeder != NULL && cutover->engine != NULL)
        baton_engine_unwatch(cutover->engine, baton_feeder_fd(cutover->feeder));
    baton_feeder_close(cutover->feeder);
    cutover->feeder = NULL;
}

static void set_options(baton_cutover *cutover, const baton_run_options *options,
                        const baton_instance *instance, baton_peer_door *door,
                        baton_peer_faults *faults)
{
    cutover->feeder_options = (baton_feeder_options){
        .place = cutover->place,
        .journal_directory = baton_engine_journal_directory(cutover->engine),
        .compatible = &options->compatible,
        .faults = faults,
        .backend = options->engine.backend,
        .door = door,
        .security = &options->peer_security,
    };
    baton_instance_nonce(instance, cutover->feeder_options.nonce);
}

void baton_cutover_open(baton_cutover *cutover, const baton_doors *doors, baton_engine *engine,
                        const baton_run_options *options, const baton_instance *instance,
                        baton_place *place, baton_peer_door *door, baton_peer_faults *faults)
{
    *cutover = (baton_cutover){.doors = doors, .engine = engine, .place = place};
    set_actions(cutover);
    (void)baton_partner_read(place->directory, &cutover->peer);
    if (options->engine.mode != BATON_MODE_DURABLE)
        return; /* what it calls durable proves nothing to another one */
    set_options(cutover, options, instance, door, faults);
    baton_cutover_open_feeder(cutover);
}

void baton_cutover_found(baton_cutover *cutover, const baton_doors *doors, baton_engine *engine,
                         const baton_run_options *options, const baton_instance *instance,
                         baton_place *place, baton_peer_door *door, baton_peer_faults *faults,
                         const baton_partner *partner, uint64_t highest_header)
{
    const baton_handover_wire *record = &baton_engine_facts(engine)->handover;
    uint64_t highest_name = highest_header;
    *cutover = (baton_cutover){.doors = doors, .engine = engine, .place = place, .peer = *partner};
    set_actions(cutover);
    set_options(cutover, options, instance, door, faults);
    int r = baton_highest_name(place->directory, &highest_name);
    if (r == 0)
        r = baton_is_begun(place->directory, baton_le64_get(record->epoch), &cutover->granted_here);
    cutover->found = true;
    cutover->epoch = baton_le64_get(record->epoch);
    cutover->highest_header = highest_header;
    cutover->spoilt = r < 0 || highest_name > cutover->epoch;
    cutover->feeder_options.epoch = cutover->spoilt ? highest_name : cutover->epoch;
    cutover->feeder_options.highest_header = highest_header;
    memcpy(cutover->peer_nonce, record->successor_nonce, sizeof(cutover->peer_nonce));
    cutover->peer_cut = true;
    baton_old_found(&cutover->old);
    baton_cutover_open_feeder(cutover);
}

void baton_cutover_close(baton_cutover *cutover)
{
    baton_cutover_close_feeder(cutover);
    cutover->engine = NULL;
}

bool baton_cutover_is_under_way(const baton_cutover *cutover)
{
    return baton_old_is_under_way(&cutover->old) || cutover->way.again;
}

int baton_cutover_begin(baton_cutover *cutover, const baton_handover_request *request,
                        baton_error *error)
{
    static const char *const what = "handover";
    const baton_program *program = cutover->doors->program;
    baton_feeder_peer peer;
    if (cutover->feeder == NULL || program->pause_intake == NULL || program->resume_intake == NULL)
        return baton_error_set(error, BATON_E_REFUSED, what, "this service hands over by a drain",
                               "drain it and start the next one on the same directory");
    if (baton_cutover_is_under_way(cutover))
        return baton_error_set(error, BATON_E_AGAIN, what, "another one is under way",
                               "ask again when it is over");
    int r = baton_cutover_choose(cutover, request->to, &peer, error);
    if (r < 0)
        return r;
    cutover->peer_id = peer.id;
    memcpy(cutover->peer_nonce, peer.who.nonce, sizeof(cutover->peer_nonce));
    cutover->peer = peer.who;
    cutover->peer_durable = peer.durable;
    cutover->peer_heard_ns = baton_now_ns();
    baton_way_back_begin(&cutover->way, request, peer.version, cutover->doors->service->version);
    baton_cutover_try(cutover,
                      cutover->way.by_snapshot ? request->snapshot_gap_ns : request->max_gap_ns);
    return 0;
}

void baton_cutover_abort(baton_cutover *cutover, const baton_error *why)
{
    cutover->way.asked = BATON_PATH_CUTOVER;
    cutover->way.again = false;
    if (cutover->engine != NULL)
        baton_old_on_abort(&cutover->old, why);
}

/* Who connects is judged by what is here now: after a finalize, too. */
static void tell_feeder(baton_cutover *cutover)
{
    const uint32_t schema = baton_engine_schema(cutover->engine);
    baton_feeder_set_end(cutover->feeder, end_of(cutover));
    if (schema == cutover->schema)
        return;
    cutover->schema = schema;
    baton_feeder_set_schema(cutover->feeder, schema,
                            baton_engine_facts(cutover->engine)->finalized_schema);
}

int baton_cutover_turn(baton_cutover *cutover, uint64_t *ret_sleep_ns, baton_error *error)
{
    *ret_sleep_ns = UINT64_MAX;
    if (cutover->engine == NULL)
        return 0;
    if (cutover->feeder != NULL) {
        tell_feeder(cutover);
        baton_feeder_wake(cutover->feeder);
    }
    baton_way_back_again(cutover);
    *ret_sleep_ns = baton_old_step(&cutover->old);
    if (cutover->way.again)
        *ret_sleep_ns = 0;
    int r = baton_cutover_fall_back(cutover, error);
    if (r < 0)
        return r;
    if (cutover->old.state == BATON_OLD_GRANTED && cutover->peer_cut)
        *ret_sleep_ns = LOOK_NS;
    if (cutover->old.state != cutover->told_state) /* whoever waits for that is told in a turn */
        *ret_sleep_ns = 0;
    cutover->told_state = cutover->old.state;
    if (cutover->owes_peer_id != 0)
        *ret_sleep_ns = LOOK_NS;
    if (cutover->old.state == BATON_OLD_FENCED && !cutover->let_go && !cutover->found) {
        cutover->let_go = true;
        if (cutover->doors->program->let_go != NULL)
            cutover->doors->program->let_go(cutover->doors->context);
    }
    return 0;
}
