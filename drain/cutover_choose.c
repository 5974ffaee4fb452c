/* drain/cutover_choose.c: which of those that follow a handover is to. */
#include <string.h>

#include "drain/cutover.h"

int baton_cutover_choose(baton_cutover *cutover, const char *to, baton_feeder_peer *ret_peer,
                         baton_error *error)
{
    static const char *const what = "handover";
    baton_feeder_peer peers[BATON_FEEDER_PEERS_MAX];
    baton_digest nonce = {{0}}; /* 32 hex digits, too */
    uint32_t following = 0;
    if (to != NULL && baton_digest_parse(to, &nonce) < 0)
        return baton_error_set(error, BATON_E_INVALID, what, "that is no nonce: 32 hex digits",
                               "take it from the status of the standby");
    const uint32_t count = baton_feeder_peers(cutover->feeder, peers);
    for (uint32_t i = 0; i < count; i++) {
        if (!peers[i].following ||
            (to != NULL && memcmp(peers[i].who.nonce, nonce.bytes, sizeof(nonce.bytes)) != 0))
            continue;
        *ret_peer = peers[i];
        following++;
    }
    if (following == 1)
        return 0;
    if (following == 0)
        return baton_error_set(error, BATON_E_NOT_FOUND, what, "no such standby follows",
                               "start one with `run --standby-of`, and look at its status");
    return baton_error_setf(error, BATON_E_REFUSED, what, "say which one, with --to NONCE",
                            "%u standbys follow", following);
}
