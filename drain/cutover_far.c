/* drain/cutover_far.c: a grant whose successor is gone, or can't be seen; and another instance that serves in a
 * higher epoch (R6, R7, R12; M10, M11). */
#include "drain/cutover.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/breakable.h"
#include "drain/now.h"
#include "drain/other_directory.h"

#define LOOK_NS   UINT64_C(20000000)
#define LINGER_NS UINT64_C(5000000000) /* for one that was given leave to hear it */

/* ---- what is heard ---- */

static bool is_partner(const baton_cutover *cutover, const uint8_t place[BATON_PLACE_BYTES])
{
    static const uint8_t nowhere[BATON_PLACE_BYTES];
    return memcmp(place, nowhere, sizeof(nowhere)) != 0 &&
           memcmp(place, cutover->peer.place, sizeof(nowhere)) == 0;
}

/* R6: a term was begun there, above any here. This one is fenced, and says so. */
static void give_leave(baton_cutover *cutover, uint64_t peer_id)
{
    uint64_t here = cutover->highest_header;
    int r = baton_highest_name(cutover->place->directory, &here);
    const baton_peer_ack body = {.position.epoch =
                                     baton_le64_put(baton_higher_epoch(here, cutover->epoch + 1))};
    if (r < 0)
        return; /* asked again when it asks again */
    baton_old_on_taken(&cutover->old);
    cutover->owes_peer_id = peer_id;
    cutover->owes_until_ns = baton_now_ns() + LINGER_NS;
    (void)baton_feeder_send(cutover->feeder, peer_id, BATON_PEER_AUTHORITY, 0, &body, sizeof(body),
                            NULL, 0);
}

static bool is_named(const baton_cutover *cutover, const baton_feeder_message *message)
{
    return memcmp(message->header.from, cutover->peer_nonce, sizeof(cutover->peer_nonce)) == 0;
}

/* M11: will it, of the successor's directory, never act on the record? Not if that names it, and it has its answer
 * out yet. A name above the record's term would do as well, but a start of this directory may have removed that
 * name; what the process says of itself nobody can take away. */
static bool is_word(const baton_cutover *cutover, const baton_feeder_message *message)
{
    const baton_peer_hello *hello = (const baton_peer_hello *)message->body;
    const bool follows = baton_le32_get(hello->is_active) == 0;
    if (!cutover->spoilt && is_named(cutover, message))
        return follows && baton_le64_get(message->header.try_number) == 0 &&
               !BATON_BREAK(WORD_BY_NONCE);
    /* To the successor's own directory one that may begin yet gives no word: an older one's may be on its
     * way to it. It gives leave, when it is asked (R7). */
    return !cutover->found || cutover->granted_here || follows;
}

/* M10, and M11. The process that says it holds LOCK of its directory. */
void baton_cutover_on_hello(baton_cutover *cutover, const baton_feeder_message *message)
{
    const baton_peer_hello *hello = (const baton_peer_hello *)message->body;
    const uint64_t its_epoch = baton_le64_get(message->header.epoch);
    baton_feeder_peer peer;
    if (!baton_feeder_peer_get(cutover->feeder, message->peer_id, &peer))
        return;
    baton_place_heard(cutover->place, baton_le64_get(hello->at.run_epoch));
    if (baton_le32_get(hello->is_active) == 1) {
        if (its_epoch > cutover->highest_header)
            baton_cutover_fence(cutover, &peer.who, its_epoch, &hello->at);
        return;
    }
    if (!is_partner(cutover, peer.who.place)) /* R11: another standby decides nothing */
        return;
    cutover->peer_heard_ns = baton_now_ns();
    /* R3: this one has that LOCK, so the one that the try is with is gone. */
    if (!is_named(cutover, message))
        baton_old_on_cut(&cutover->old);
    const bool granted = cutover->old.state == BATON_OLD_GRANTED;
    /* Until the record is durable the word is kept: it is said once on a connection. */
    const bool may_fall_back = granted || cutover->old.state == BATON_OLD_SUBMITTED;
    if ((granted || cutover->old.state == BATON_OLD_FENCED) &&
        peer.highest_header > cutover->highest_header) {
        give_leave(cutover, message->peer_id);
    } else if (may_fall_back && peer.highest_header <= cutover->highest_header &&
               is_word(cutover, message)) {
        cutover->word = true;
        cutover->word_names = peer.highest_name;
        memcpy(cutover->peer.nonce, peer.who.nonce, sizeof(cutover->peer.nonce));
        baton_log(INFO, "handover.word", BATON_LOG_TEXT("of", peer.who.directory),
                  BATON_LOG_TEXT("host", peer.who.host),
                  BATON_LOG_NUMBER("highest_name", peer.highest_name));
    }
}

bool baton_cutover_may_leave(const baton_cutover *cutover)
{
    return cutover->old.state == BATON_OLD_FENCED &&
           (cutover->owes_peer_id == 0 || baton_now_ns() > cutover->owes_until_ns);
}

/* ---- fenced by a higher epoch ---- */

static void tell_fenced(const baton_cutover *cutover)
{
    const uint64_t last = baton_engine_applied_seq(cutover->engine);
    const uint64_t common = cutover->higher_after.seq;
    baton_log(ERROR, "handover.fenced", BATON_LOG_NUMBER("epoch", cutover->highest_header),
              BATON_LOG_NUMBER("by_epoch", cutover->higher_epoch),
              BATON_LOG_NUMBER("forced", baton_epoch_forced_count(cutover->higher_epoch)),
              BATON_LOG_TEXT("host", cutover->higher.host),
              BATON_LOG_TEXT("directory", cutover->higher.directory),
              BATON_LOG_TEXT("address", cutover->higher.address));
    if (!cutover->higher_after_known)
        baton_log(ERROR, "handover.compare",
                  BATON_LOG_TEXT("todo", "hold both directories against each other with `baton "
                                         "journal verify`: this one may have entries that the "
                                         "other has not"));
    else if (last > common)
        baton_log(ERROR, "handover.only_here", BATON_LOG_NUMBER("from_seq", common + 1),
                  BATON_LOG_NUMBER("to_seq", last),
                  BATON_LOG_TEXT("todo", "look at them with `baton journal dump --from`: clients "
                                         "were told of them, and the other one has not got them"));
}

/* The one that was granted the authority says that it serves, and its M8 was lost, or is on its way yet. By force
 * it may do so without the record: then it is another writer. */
static bool has_taken(const baton_cutover *cutover, const baton_partner *by, uint64_t epoch)
{
    return !cutover->found && cutover->higher_epoch == 0 && is_partner(cutover, by->place) &&
           (cutover->old.state == BATON_OLD_GRANTED || cutover->old.state == BATON_OLD_FENCED) &&
           baton_epoch_forced_count(epoch) == baton_epoch_forced_count(cutover->epoch);
}

void baton_cutover_fence(baton_cutover *cutover, const baton_partner *by, uint64_t epoch,
                         const baton_peer_place *said)
{
    baton_error error = {0};
    const bool serves = !cutover->found && cutover->old.state < BATON_OLD_STOPPED;
    if (cutover->higher_epoch >= epoch)
        return;
    if (has_taken(cutover, by, epoch)) {
        baton_old_on_taken(&cutover->old);
        return;
    }
    if (serves && cutover->doors->program->pause_intake != NULL)
        cutover->doors->program->pause_intake(cutover->doors->context);
    if (!cutover->found)
        baton_engine_seal(cutover->engine);
    cutover->higher = *by;
    cutover->higher_epoch = epoch;
    cutover->higher_after = baton_peer_position_get(said->begun_after);
    cutover->higher_after_known = cutover->higher_after.batch != 0;
    cutover->higher.fenced_by = epoch;
    /* The next process here must know it, too, and must not serve until the other one is heard again. */
    if (baton_partner_write(cutover->place->directory, &cutover->higher, &error) < 0)
        baton_log(ERROR, "handover.partner", BATON_LOG_TEXT("why", error.why));
    if (cutover->feeder != NULL)
        baton_feeder_set_over(cutover->feeder, true);
    tell_fenced(cutover);
    baton_old_on_higher(&cutover->old);
}

/* ---- falling back (R6) ---- */

/* What it is by: both LOCKs are held, or the word was given, or the operator has decided. */
static int begin_anew(baton_cutover *cutover, uint64_t there, const char *why_text,
                      baton_error *error)
{
    uint64_t here = 0;
    baton_error why;
    int r = baton_highest_name(cutover->place->directory, &here);
    if (r < 0)
        return baton_error_set(error, r, "begin a new term", NULL, NULL);
    if (!baton_engine_is_standby(cutover->engine)) /* it is after a promotion that has to wait */
        r = baton_engine_stand_by(cutover->engine, error);
    uint64_t epoch = cutover->epoch + 1; /* granted, and burnt by that */
    epoch = baton_higher_epoch(epoch, baton_higher_epoch(there, here));
    if (cutover->forced_epoch > epoch)
        epoch = cutover->forced_epoch - 1;
    if (r == 0)
        r = baton_engine_promote(cutover->engine, epoch + 1, error);
    if (r < 0)
        return r;
    cutover->word = false;
    cutover->forced_epoch = 0;
    baton_cutover_close_feeder(cutover);
    baton_cutover_open_feeder(cutover);
    baton_error_set(&why, BATON_E_NOT_FOUND, "handover", why_text,
                    "look at the standby's log, and begin again when it follows");
    baton_old_on_fallen_back(&cutover->old, &why);
    baton_log(WARN, "handover.fallen_back", BATON_LOG_TEXT("why", why.why),
              BATON_LOG_NUMBER("epoch", cutover->epoch));
    cutover->doors->program->resume_intake(cutover->doors->context);
    return 0;
}

/* Who waits for a directory that can't be looked at would wait without a word: it is said once for each reason. */
static void tell_unknown(baton_cutover *cutover, int status)
{
    if (status == cutover->look_status)
        return;
    cutover->look_status = status;
    if (status == 0)
        return;
    baton_log(ERROR, "handover.successor_unknown", BATON_LOG_TEXT("why", baton_status_text(status)),
              BATON_LOG_TEXT("directory", cutover->peer.directory),
              BATON_LOG_TEXT("todo",
                             "it was granted the authority, and its journal/LOCK can't be asked "
                             "whether it lives: make that directory readable and writable "
                             "again for this user; or, when its instance is dead and stays so, "
                             "baton service promote SOCKET --force, here"));
}

/* On one host: is the successor's LOCK free, and does a header of its own stand there? */
static int look_for_successor(baton_cutover *cutover, baton_error *error)
{
    uint64_t header = 0, names = 0;
    int lock_fd = -1;
    cutover->looked_ns = baton_now_ns();
    int r = baton_lock_other(cutover->peer.directory, &lock_fd);
    tell_unknown(cutover, r == BATON_E_LOCKED ? 0 : r);
    if (r < 0 && r != BATON_E_LOCKED)
        return 0; /* it can't be known: wait */
    const bool dead = r == 0;
    r = baton_highest_header(cutover->peer.directory, &header);
    if (r == 0)
        r = baton_highest_name(cutover->peer.directory, &names);
    if (r == 0 && header > cutover->epoch)
        baton_old_on_taken(&cutover->old);
    else if (r == 0 && (dead || cutover->word))
        r = begin_anew(cutover, names,
                       "the successor died before it began; this one went on in a new term", error);
    if (lock_fd >= 0)
        close(lock_fd);
    return r;
}

/* 0, or an error after which this process is of no use: the next start finds what stands on the disks. */
int baton_cutover_fall_back(baton_cutover *cutover, baton_error *error)
{
    int r = 0;
    if (cutover->old.state != BATON_OLD_GRANTED || cutover->found)
        return 0; /* of a start that found a grant: the process around it begins (undecided.c) */
    baton_feeder_peer peer;
    if (!cutover->peer_cut && cutover->feeder != NULL &&
        !baton_feeder_peer_get(cutover->feeder, cutover->peer_id, &peer))
        cutover->peer_cut = true; /* also where the word of its end found no room in the queue */
    if (cutover->forced_epoch != 0)
        r = begin_anew(cutover, 0, "the operator forced a promotion", error);
    else if (cutover->peer.far && cutover->word)
        r = begin_anew(
            cutover, cutover->word_names,
            "the successor died before it began, and gave its word; this one went on in a new term",
            error);
    else if (!cutover->peer.far && (cutover->peer_cut || cutover->word) &&
             baton_now_ns() - cutover->looked_ns >= LOOK_NS)
        r = look_for_successor(cutover, error);
    return r < 0 && baton_status_class(r) != BATON_CLASS_RETRY &&
                   cutover->old.state == BATON_OLD_GRANTED
               ? r
               : 0;
}
