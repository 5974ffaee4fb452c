/* drain/feeder_hello.c: who wants to follow, and whether it may: before anything of the journal is sent. */
#include "drain/feeder_private.h"

#include <stdio.h>
#include <string.h>

static const char *const what_follow = "follow";

/* Is this the instance, and the journal, that it means; and has it come later than this one? */
static int check_authority(const feeder_peer *peer, const baton_peer_header *header,
                           const baton_peer_hello *hello, baton_error *error)
{
    static const uint8_t nobody[16];
    const baton_feeder_options *options = &peer->feeder->options;
    const bool names_me = memcmp(header->to, options->nonce, sizeof(header->to)) == 0;
    /* R12: one that serves in a higher epoch asks for nothing, and the loop hears of it. */
    const bool higher =
        baton_le32_get(hello->is_active) == 1 && baton_le64_get(header->epoch) > options->epoch &&
        memcmp(header->journal_id, options->journal_id.bytes, sizeof(header->journal_id)) == 0;
    if ((baton_le32_get(hello->is_active) == 1 && !higher) ||
        memcmp(header->from, options->nonce, sizeof(header->from)) == 0)
        return baton_error_set(error, BATON_E_REFUSED, what_follow,
                               "it says that it is an active itself", "start it with --standby-of");
    if (memcmp(header->to, nobody, sizeof(nobody)) != 0 && !names_me)
        return baton_error_set(error, BATON_E_REFUSED, what_follow, "another instance is meant",
                               "look which one runs here now");
    if (memcmp(header->journal_id, nobody, sizeof(nobody)) != 0 &&
        memcmp(header->journal_id, options->journal_id.bytes, sizeof(nobody)) != 0)
        return baton_error_set(error, BATON_E_OTHER_JOURNAL, what_follow,
                               "the standby's directory holds another journal",
                               "start it with an empty directory");
    if (!higher && baton_le64_get(header->epoch) > options->epoch)
        return baton_error_setf(error, BATON_E_REFUSED, what_follow,
                                "start the one with the higher epoch as the active",
                                "the standby has a later term: epoch %llu, here it is %llu",
                                (unsigned long long)baton_le64_get(header->epoch),
                                (unsigned long long)options->epoch);
    return 0;
}

static void welcome(feeder_peer *peer, const baton_peer_hello *own)
{
    baton_feeder_put_copy(peer, BATON_PEER_WELCOME, own, sizeof(*own));
    atomic_store(&peer->greeted, true);
}

/* What this side says of itself, as it is now. */
static void make_own(feeder_peer *peer, baton_peer_hello *ret_own)
{
    baton_feeder *feeder = peer->feeder;
    *ret_own = feeder->options.fingerprint;
    ret_own->highest_name = baton_le64_put(feeder->options.highest_header);
    ret_own->is_active = baton_le32_put(atomic_load(&feeder->over) ? 0 : 1);
    ret_own->at = baton_place_put(feeder->options.place, feeder->options.highest_header);
    snprintf((char *)ret_own->directory, sizeof(ret_own->directory), "%s",
             feeder->options.place->directory);
    if (feeder->options.door != NULL)
        memcpy(ret_own->address, feeder->options.door->text, sizeof(ret_own->address));
    pthread_mutex_lock(&feeder->mutex);
    ret_own->schema_pinned = baton_le32_put(feeder->schema_pinned);
    ret_own->schema_finalized = baton_le32_put(feeder->schema_finalized);
    pthread_mutex_unlock(&feeder->mutex);
}

static void note(feeder_peer *peer, const baton_peer_header *header, const baton_peer_hello *hello)
{
    baton_feeder_peer *known = &peer->known;
    pthread_mutex_lock(&peer->feeder->mutex);
    known->who = baton_partner_heard(&peer->channel, header, hello);
    memcpy(known->version, hello->version, sizeof(known->version));
    memcpy(known->layout, hello->layout, sizeof(known->layout));
    known->schema_write = baton_le32_get(hello->schema_write);
    known->schema_read_min = baton_le32_get(hello->schema_read_min);
    known->durable = baton_peer_position_get(hello->durable);
    known->applied_seq = baton_le64_get(hello->applied_seq);
    known->highest_header = baton_le64_get(hello->at.highest_header);
    known->highest_name = baton_le64_get(hello->highest_name);
    pthread_mutex_unlock(&peer->feeder->mutex);
}

void baton_feeder_take_hello(feeder_peer *peer, const baton_peer_header *header,
                             const baton_peer_hello *hello)
{
    const baton_feeder_options *options = &peer->feeder->options;
    baton_peer_fault fault = BATON_PEER_FAULT_FINGERPRINT;
    baton_error error = {0};
    baton_peer_hello own;
    bool outside = false;
    note(peer, header, hello);
    make_own(peer, &own);
    int r = baton_fingerprint_check(&own, hello, &error);
    if (r == 0) {
        fault = BATON_PEER_FAULT_AUTHORITY;
        r = check_authority(peer, header, hello, &error);
    }
    if (r == 0) {
        fault = BATON_PEER_FAULT_VERSION;
        r = baton_fingerprint_window(options->compatible, hello, "the standby", &outside, &error);
    }
    if (r < 0) {
        error.status = r;
        baton_feeder_refuse(peer, fault, &error);
        return;
    }
    if (outside)
        baton_peer_faults_tell(options->faults, BATON_PEER_FAULT_OUTSIDE, error.why,
                               peer->known.who.directory);
    pthread_mutex_lock(&peer->feeder->mutex);
    peer->known.protocol = baton_fingerprint_protocol(&own, hello);
    peer->known.outside = outside;
    pthread_mutex_unlock(&peer->feeder->mutex);
    welcome(peer, &own);
    baton_feeder_tell_loop(peer, header, hello);
}
