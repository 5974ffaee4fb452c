/* drain/follower_cutover.c: what the standby's state machine asks for. */
#include "drain/follower.h"

#include <string.h>

#include "base/breakable.h"

/* The term that it follows has ended with a grant to this very process. */
bool baton_follower_is_named(const baton_follower *follower)
{
    const baton_handover_wire *handover = &baton_engine_facts(follower->engine)->handover;
    baton_position end;
    baton_digest digest;
    bool needs_start;
    baton_engine_follow_end(follower->engine, &end, &digest, &needs_start);
    return memcmp(handover->successor_nonce, follower->target->nonce, BATON_PEER_NONCE_BYTES) ==
               0 &&
           baton_le64_get(handover->epoch) == end.epoch;
}

/* And that term is the one that it was offered: an older one may have ended with a grant to this process, too, that
 * came to nothing (M11), and the term after it may have no batch yet. */
bool baton_follower_is_granted(const baton_follower *follower)
{
    const baton_handover_wire *handover = &baton_engine_facts(follower->engine)->handover;
    return baton_follower_is_named(follower) &&
           baton_le64_get(handover->epoch) == follower->offered_epoch;
}

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
    int r = baton_follower_prepare_state(follower, error);
    if (r == 0)
        r = baton_partner_write(follower->target->place->directory, &follower->active, error);
    return r < 0 ? r : baton_engine_prepare_promotion(follower->engine, end.epoch + 1, error);
}

static int new_arrive(void *context, const baton_engine_point *offer, baton_error *error)
{
    return baton_follower_arrive(context, offer, error);
}

static void new_ready(void *context)
{
    baton_follower *follower = context;
    uint64_t highest = 0;
    int r = baton_highest_name(follower->target->place->directory, &highest);
    const baton_peer_ready body = {.highest_name = baton_le64_put(r < 0 ? 0 : highest)};
    baton_follower_say(follower, BATON_PEER_READY, &body, sizeof(body));
}

static void new_refuse(void *context, const baton_error *why)
{
    baton_follower *follower = context;
    const baton_peer_refusal body = baton_peer_refusal_put(why->status, why->why, why->todo);
    baton_log(WARN, "handover.refuse", BATON_LOG_TEXT("why", why->why));
    baton_follower_say(follower, BATON_PEER_REFUSE, &body, sizeof(body));
}

static void new_answer(void *context, const baton_engine_point *point)
{
    baton_follower *follower = context;
    const baton_peer_point body = baton_peer_point_put(point);
    baton_follower_say(follower, BATON_PEER_ANSWER, &body, sizeof(body));
}

static bool new_record_here(void *context)
{
    const baton_follower *follower = context;
    baton_engine_point point;
    if (!baton_follower_is_granted(follower) ||
        baton_engine_digests(follower->engine, 0, &point, NULL) < 0)
        return false;
    return point.durable.batch == point.position.batch;
}

static int new_promote(void *context, baton_error *error)
{
    baton_follower *follower = context;
    const baton_handover_wire *handover = &baton_engine_facts(follower->engine)->handover;
    uint64_t ended = baton_le64_get(handover->epoch);
    if (BATON_BREAK(ACT_EARLY))
        ended = follower->cutover.offer.position.epoch;
    const uint64_t epoch = follower->cutover.epoch != 0 ? follower->cutover.epoch : ended + 1;
    return baton_engine_promote(follower->engine, epoch, error);
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
        int r = follower->promoted(follower->context, &follower->passed, &error);
        follower->passed.listeners_count = 0;
        baton_connections_forget(&follower->passed.connections);
        if (r < 0)
            baton_follower_fail(follower, r, &error);
    }
    baton_follower_say(follower, BATON_PEER_TAKEN, &body, sizeof(body));
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

const baton_new_actions baton_follower_actions = {
    .point = new_point,
    .prepare = new_prepare,
    .arrive = new_arrive,
    .ready = new_ready,
    .refuse = new_refuse,
    .answer = new_answer,
    .record_here = new_record_here,
    .promote = new_promote,
    .taken = new_taken,
    .reached = new_reached,
};
