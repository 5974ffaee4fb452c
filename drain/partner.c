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
             partner->directory, partner->host, partner->address,
             baton_nonce_text(partner->place, place), baton_nonce_text(partner->nonce, nonce),
             partner->far ? "yes" : "no", (unsigned long long)partner->fenced_by);
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
    if (first[0] != '/' || rest == NULL || strlen(first) >= sizeof(ret_partner->directory))
        return false;
    memcpy(ret_partner->directory, first, strlen(first) + 1);
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        char *value = strchr(line, ' ');
        if (value == NULL)
            continue;
        *value++ = '\0';
        read_line(ret_partner, line, value);
    }
    return true;
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
    if (fenced_by <= other_name &&
        (own_header == 0 || (other_header >= own_header && !BATON_BREAK(NO_EPOCH_CHECK))))
        return baton_error_setf(error, BATON_E_REFUSED, what_decide,
                                "start that one, and this one with --standby-of it",
                                "the authority is %.150s, with epoch %llu", partner,
                                (unsigned long long)other_header);
    uint64_t epoch = own_name > other_name ? own_name : other_name;
    if (own_header + 1 > epoch) /* granted, and so burnt, whether a name stands there or not */
        epoch = own_header + 1;
    if (fenced_by > epoch)
        epoch = fenced_by;
    *ret_epoch = epoch + 1;
    baton_log(WARN, "handover.decided", BATON_LOG_TEXT("other", partner),
              BATON_LOG_NUMBER("other_epoch", other_header), BATON_LOG_NUMBER("epoch", *ret_epoch));
    return 0;
}

int baton_partner_look(const char *directory, const char *partner, uint64_t *ret_epoch,
                       int *ret_lock_fd, baton_error *error)
{
    int r = baton_lock_other(partner, ret_lock_fd);
    if (r < 0)
        return baton_error_set(error, r, what_decide, "the other directory can't be locked", NULL);
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
    int r = lock_patiently(partner, watch, &lock_fd);
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
