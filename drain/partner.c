/* drain/partner.c: two directories, and one authority. */
#include "drain/partner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <baton/log.h>

#include "base/breakable.h"
#include "drain/describe.h"
#include "drain/other_directory.h"
#include "drain/peer_socket.h"
#include "drain/place.h"

#define UNKNOWN       "-"  /* the directory of one on another host that was never heard */
#define TURNS_MAX     5000 /* of a millisecond */
#define LOCK_TRIES    500  /* of: */
#define LOCK_PAUSE_NS 10000000

static const char *const what_decide = "take over this directory";

static struct {
    char directory[512];
    char text[1024];
} written;

baton_partner baton_partner_heard(const baton_peer_channel *channel,
                                  const baton_peer_header *header, const baton_peer_hello *hello)
{
    baton_partner partner = {.far = channel->is_remote};
    memcpy(partner.directory, hello->directory, sizeof(partner.directory));
    memcpy(partner.host, hello->at.host, sizeof(partner.host));
    memcpy(partner.place, hello->at.place, sizeof(partner.place));
    memcpy(partner.nonce, header->from, sizeof(partner.nonce));
    baton_peer_channel_reach(channel, (const char *)hello->address, partner.address);
    return partner;
}

baton_partner baton_partner_here(const baton_place *place,
                                 const uint8_t nonce[BATON_PEER_NONCE_BYTES])
{
    baton_partner partner = {.far = false};
    memcpy(partner.directory, place->directory, sizeof(partner.directory));
    memcpy(partner.host, place->host, sizeof(partner.host));
    memcpy(partner.address, place->address, sizeof(partner.address));
    memcpy(partner.place, place->place, sizeof(partner.place));
    memcpy(partner.nonce, nonce, sizeof(partner.nonce));
    return partner;
}

int baton_partner_write(const char *directory, const baton_partner *partner, baton_error *error)
{
    char text[1024], there[1024], place[BATON_NONCE_TEXT_BYTES], nonce[BATON_NONCE_TEXT_BYTES];
    snprintf(text, sizeof(text),
             "%s\nhost %s\naddress %s\nplace %s\nnonce %s\nfar %s\nfenced_by %llu\n",
             partner->directory[0] != '\0' ? partner->directory : UNKNOWN, partner->host,
             partner->address, baton_nonce_text(partner->place, place),
             baton_nonce_text(partner->nonce, nonce), partner->far ? "yes" : "no",
             (unsigned long long)partner->fenced_by);
    /* Two that hand over to and fro say the same each time, and a flush is felt by whoever waits for an
     * answer of the active: what this process wrote and flushed last is not written again. */
    if (strcmp(written.directory, directory) == 0 && strcmp(written.text, text) == 0 &&
        baton_note_read(directory, "PARTNER", there, sizeof(there)) && strcmp(there, text) == 0)
        return 0;
    written.directory[0] = '\0';
    int r = baton_note_write(directory, "PARTNER", text, error);
    if (r == 0)
        (void)snprintf(written.text, sizeof(written.text), "%s", text);
    if (r == 0)
        (void)snprintf(written.directory, sizeof(written.directory), "%s", directory);
    return r;
}

static void read_line(baton_partner *partner, const char *word, const char *value)
{
    baton_digest number;
    if (strcmp(word, "host") == 0)
        snprintf(partner->host, sizeof(partner->host), "%.63s", value);
    else if (strcmp(word, "address") == 0)
        snprintf(partner->address, sizeof(partner->address), "%.63s", value);
    else if (strcmp(word, "place") == 0 && baton_digest_parse(value, &number) == 0)
        memcpy(partner->place, number.bytes, sizeof(partner->place));
    else if (strcmp(word, "nonce") == 0 && baton_digest_parse(value, &number) == 0)
        memcpy(partner->nonce, number.bytes, sizeof(partner->nonce));
    else if (strcmp(word, "far") == 0)
        partner->far = strcmp(value, "yes") == 0;
    else if (strcmp(word, "fenced_by") == 0)
        partner->fenced_by = strtoull(value, NULL, 10);
}

bool baton_partner_read(const char *directory, baton_partner *ret_partner)
{
    char text[1024], *rest = text;
    *ret_partner = (baton_partner){.far = false};
    if (!baton_note_read(directory, "PARTNER", text, sizeof(text)))
        return false;
    const char *first = strsep(&rest, "\n");
    const bool known = strcmp(first, UNKNOWN) != 0;
    if ((known && first[0] != '/') || rest == NULL ||
        strlen(first) >= sizeof(ret_partner->directory))
        return false;
    if (known)
        memcpy(ret_partner->directory, first, strlen(first) + 1);
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        char *value = strchr(line, ' ');
        if (value == NULL)
            continue;
        *value++ = '\0';
        read_line(ret_partner, line, value);
    }
    return known || ret_partner->far;
}

void baton_partner_told(const baton_peer_address *told, baton_partner *ret_partner)
{
    const size_t all = strlen(told->text), end = strlen("/" BATON_HANDOVER_SOCKET);
    *ret_partner = (baton_partner){.far = told->tcp.bytes > 0};
    if (ret_partner->far)
        (void)snprintf(ret_partner->address, sizeof(ret_partner->address), "%.63s", told->text);
    else if (all > end && all - end < sizeof(ret_partner->directory) &&
             strcmp(told->text + all - end, "/" BATON_HANDOVER_SOCKET) == 0)
        memcpy(ret_partner->directory, told->text, all - end);
}

bool baton_partner_socket(const char *directory, char *ret_socket, uint32_t bytes)
{
    baton_partner partner;
    if (!baton_partner_read(directory, &partner) || partner.far)
        return false;
    const int n = snprintf(ret_socket, bytes, "%s/" BATON_HANDOVER_SOCKET, partner.directory);
    return n > 0 && (uint32_t)n < bytes;
}

int baton_partner_begin(baton_engine *engine, uint64_t epoch, baton_error *error)
{
    int r = BATON_E_AGAIN;
    for (uint32_t i = 0; r == BATON_E_AGAIN && i < TURNS_MAX; i++) {
        r = baton_engine_promote(engine, epoch, error);
        const int turned = r == BATON_E_AGAIN ? baton_engine_turn(engine, 1000000, error) : 0;
        if (turned < 0)
            return turned;
    }
    return r;
}

/* The operator has promoted this one by force, and it died before its term began: the other one may not serve. */
static uint64_t fenced_for(const char *directory, const char *partner)
{
    baton_partner theirs;
    return baton_partner_read(partner, &theirs) && strcmp(theirs.directory, directory) == 0
               ? theirs.fenced_by
               : 0;
}

/* Whoever has begun another journal there is not the other side of the handover: what stands there decides nothing. */
static int check_same_journal(baton_digest id, const char *partner, baton_error *error)
{
    bool other = false;
    int r = baton_holds_other_journal(partner, id, &other);
    if (r < 0 || !other)
        return 0; /* what can't be read, the next look will say */
    return baton_error_setf(
        error, BATON_E_OTHER_JOURNAL, what_decide,
        "find that one's successor, and start this one with --standby-of it; if there is none, "
        "move "
        "PARTNER away here, start with --standby-of where nobody is, and promote by force",
        "PARTNER names %.150s, where another journal has been begun since", partner);
}

/* By a copy of a directory, or by force on both sides: two may have written that term. */
static int refuse_equal(const char *partner, uint64_t epoch, baton_error *error)
{
    return baton_error_setf(
        error, BATON_E_REFUSED, what_decide,
        "hold both against each other with `baton journal verify`, choose one, start it with "
        "--standby-of the other, and baton service promote SOCKET --force",
        "epoch %llu was begun here and in %.150s: which of the two is the authority can't be known",
        (unsigned long long)epoch, partner);
}

/* Both LOCKs are held. */
static int decide(const char *directory, const char *partner, uint64_t *ret_epoch,
                  baton_error *error)
{
    uint64_t own_header = 0, other_header = 0, own_name = 0, other_name = 0;
    int r = baton_highest_header(directory, &own_header);
    if (r == 0)
        r = baton_highest_header(partner, &other_header);
    if (r == 0)
        r = baton_highest_name(directory, &own_name);
    if (r == 0)
        r = baton_highest_name(partner, &other_name);
    if (r < 0)
        return baton_error_set(error, r, what_decide, "the other directory can't be read", partner);
    const uint64_t fenced_by = fenced_for(directory, partner);
    if (fenced_by <= other_name && own_header == other_header && own_header != 0 &&
        !BATON_BREAK(NO_EPOCH_CHECK))
        return refuse_equal(partner, own_header, error);
    if (fenced_by <= other_name &&
        (own_header == 0 || (other_header >= own_header && !BATON_BREAK(NO_EPOCH_CHECK))))
        return baton_error_setf(error, BATON_E_REFUSED, what_decide,
                                "start that one, and this one with --standby-of it",
                                "the authority is %.150s, with epoch %llu", partner,
                                (unsigned long long)other_header);
    uint64_t epoch = baton_higher_epoch(own_name, other_name);
    if (own_header + 1 > epoch) /* granted, and so burnt, whether a name stands there or not */
        epoch = own_header + 1;
    if (fenced_by > epoch)
        epoch = fenced_by;
    if (epoch >= BATON_PEER_EPOCH_MAX)
        return baton_error_setf(error, BATON_E_REFUSED, what_decide,
                                "look at the names in both, and at fenced_by in PARTNER",
                                "epoch %llu stands there or in %.150s: no journal comes to that",
                                (unsigned long long)epoch, partner);
    *ret_epoch = epoch + 1;
    baton_log(WARN, "handover.decided", BATON_LOG_TEXT("other", partner),
              BATON_LOG_NUMBER("other_epoch", other_header), BATON_LOG_NUMBER("epoch", *ret_epoch));
    return 0;
}

int baton_partner_look(const char *directory, const char *partner, baton_digest id,
                       uint64_t *ret_epoch, int *ret_lock_fd, baton_error *error)
{
    int r = baton_lock_other(partner, ret_lock_fd);
    if (r < 0)
        return baton_error_set(error, r, what_decide, "the other directory can't be locked", NULL);
    r = check_same_journal(id, partner, error);
    if (r == 0)
        r = decide(directory, partner, ret_epoch, error);
    if (r < 0) {
        close(*ret_lock_fd);
        *ret_lock_fd = -1;
    }
    return r;
}

/* A killed process lets go a little late (J10). */
static int lock_patiently(const char *partner, const baton_fetch_watch *watch, int *ret_fd)
{
    baton_pace pace = {.watch = watch};
    int r = baton_lock_other(partner, ret_fd);
    for (uint32_t i = 0; r == BATON_E_LOCKED && i < LOCK_TRIES; i++) {
        const int told = baton_pace_sleep(&pace, LOCK_PAUSE_NS);
        r = told < 0 ? told : baton_lock_other(partner, ret_fd);
    }
    return r;
}

/* A term was begun here, above any of the other one, which lives: it is asked, and will say that it is
 * fenced, or follows. */
static bool is_later(const char *directory, const char *partner)
{
    uint64_t own = 0, other = 0;
    return baton_highest_header(directory, &own) == 0 &&
           baton_highest_header(partner, &other) == 0 && own > other;
}

int baton_partner_decide(baton_engine *engine, const char *directory,
                         const baton_fetch_watch *watch, baton_error *error)
{
    baton_partner known;
    const char *partner = known.directory;
    int lock_fd = -1;
    if (!baton_partner_read(directory, &known) || known.far)
        return BATON_E_NOT_FOUND;
    if (strcmp(partner, directory) == 0)
        return baton_error_setf(
            error, BATON_E_REFUSED, what_decide,
            "start the other one; this one only if that is lost: move PARTNER "
            "away, start with --standby-of where nobody is, and promote by force",
            "%.150s is a copy of the other directory of its handover: PARTNER "
            "names this very one",
            directory);
    int r = check_same_journal(baton_engine_journal_id(engine), partner, error);
    if (r < 0)
        return r;
    r = lock_patiently(partner, watch, &lock_fd);
    if (r == BATON_E_LOCKED && is_later(directory, partner))
        return BATON_E_LOCKED;
    if (r == BATON_E_LOCKED)
        return baton_error_setf(error, BATON_E_REFUSED, what_decide,
                                "start this one with --standby-of it, or look at its status",
                                "an instance runs in %.150s, the other directory of its handover",
                                partner);
    if (r < 0)
        return baton_error_setf(error, BATON_E_REFUSED, what_decide,
                                "bring it back: which of the two is the authority stands in both",
                                "%.150s, the other directory of its handover, can't be locked",
                                partner);
    uint64_t epoch = 0;
    r = decide(directory, partner, &epoch, error);
    if (r == 0)
        r = baton_partner_begin(engine, epoch, error);
    close(lock_fd);
    return r;
}
