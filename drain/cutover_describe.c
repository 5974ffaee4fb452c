/* drain/cutover_describe.c: followers and handovers, as `status` tells them. */
#include "drain/cutover.h"

static json_t *nonce_text(const uint8_t nonce[BATON_PEER_NONCE_BYTES])
{
    char text[BATON_NONCE_TEXT_BYTES];
    return json_string(baton_nonce_text(nonce, text));
}

static json_t *describe_peer(const baton_cutover *cutover, const baton_feeder_peer *peer)
{
    const uint64_t seq = baton_engine_applied_seq(cutover->engine);
    return json_pack("{s:o, s:o, s:b, s:i, s:o, s:b, s:o, s:b, s:o, s:o, s:o}", "nonce",
                     nonce_text(peer->who.nonce), "version", baton_describe_text(peer->version),
                     "outside_window", (int)peer->outside, "protocol", (int)peer->protocol,
                     "directory", baton_describe_text(peer->who.directory), "remote",
                     (int)peer->who.far, "address", baton_describe_text(peer->who.address),
                     "following", (int)peer->following, "applied_seq",
                     baton_describe_number(peer->applied_seq), "durable_seq",
                     baton_describe_number(peer->durable.seq), "lag_entries",
                     baton_describe_number(seq > peer->durable.seq ? seq - peer->durable.seq : 0));
}

json_t *baton_cutover_report(const baton_cutover *cutover)
{
    const baton_old *old = &cutover->old;
    json_t *steps = json_array();
    for (int state = BATON_OLD_PREPARING; state < BATON_OLD_STATES; state++)
        if (old->reached_ns[state] != 0)
            json_array_append_new(steps, json_pack("{s:s, s:f}", "step",
                                                   baton_old_state_name((baton_old_state)state),
                                                   "ms", (double)old->reached_ns[state] / 1e6));
    json_t *object = json_pack(
        "{s:s, s:o, s:o, s:f, s:f, s:o, s:o}", "state", baton_old_state_name(old->state), "try",
        baton_describe_number(cutover->try_number), "to", nonce_text(cutover->peer_nonce), "gap_ms",
        (double)cutover->gap_ns / 1e6, "max_gap_ms", (double)old->max_gap_ns / 1e6, "seq",
        baton_describe_number(old->point.seq), "steps", steps);
    if (object != NULL)
        baton_way_back_describe(cutover, object);
    if (object != NULL)
        json_object_set_new(object, "connections",
                            json_pack("{s:o, s:o}", "passed",
                                      baton_describe_number(cutover->connections_passed), "left",
                                      baton_describe_number(cutover->connections_left)));
    if (object != NULL && old->status < 0)
        json_object_set_new(object, "error", baton_describe_error(&old->error));
    return object;
}

void baton_cutover_describe(const baton_cutover *cutover, json_t *answer)
{
    baton_feeder_peer peers[BATON_FEEDER_PEERS_MAX];
    json_t *followers = json_array();
    const uint32_t count = cutover->feeder != NULL ? baton_feeder_peers(cutover->feeder, peers) : 0;
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(followers, describe_peer(cutover, &peers[i]));
    json_object_set_new(answer, "followers", followers);
    json_object_set_new(answer, "handover",
                        cutover->try_number > 0 ? baton_cutover_report(cutover) : json_null());
}
