/* drain/partner.h: the other directory of a handover, and who of the two may begin a term when neither
 * runs (R7). Format v1's record has no place for that directory: it stands in `PARTNER` beside
 * `journal/`, written by both sides before anything can be granted: the directory, then lines of a word
 * and its value. */
#pragma once

#include "drain/pace.h"
#include "drain/peer_channel.h"
#include "drain/place.h"
#include "engine/run.h"

typedef struct {
    char directory[256]; /* absolute, on its host; "": not known, of one that is far */
    char host[64];
    char address[BATON_TCP_ADDRESS_TEXT_BYTES]; /* where it can be asked; "": nowhere */
    uint8_t place[BATON_PLACE_BYTES];           /* zero: not known */
    uint8_t nonce[BATON_PEER_NONCE_BYTES];      /* of the process there, when this was written */
    bool far;                                   /* its LOCK can't be asked (R12) */
    /* It serves in this epoch, above any here, and this instance has been told so: nothing may begin here
     * by itself any more. 0: no. */
    uint64_t fenced_by;
} baton_partner;

/* Of one that has said HELLO or WELCOME on this channel. */
baton_partner baton_partner_heard(const baton_peer_channel *channel,
                                  const baton_peer_header *header, const baton_peer_hello *hello);
/* This one, as the other one on its host is to know it. */
baton_partner baton_partner_here(const baton_place *place,
                                 const uint8_t nonce[BATON_PEER_NONCE_BYTES]);

/* Durable when it returns. */
BATON_MUST_USE int baton_partner_write(const char *directory, const baton_partner *partner,
                                       baton_error *error);
/* False: nothing stands there, or nothing that makes sense. */
bool baton_partner_read(const char *directory, baton_partner *ret_partner);
/* As far as that is known of one that this instance was told to follow, and has not heard. */
void baton_partner_told(const baton_peer_address *told, baton_partner *ret_partner);
/* Into *ret_socket, the handover socket of that directory, on this host. False: nothing. */
bool baton_partner_socket(const char *directory, char *ret_socket, uint32_t bytes);

/* For a start in a directory whose last term ended with a grant, or is not proven, and whose LOCK
 * engine holds as a standby: under both LOCKs, begin a new term if no later header stands in the
 * partner's, which is not far. BATON_E_LOCKED: it lives, and a later term was begun here: it must be
 * asked. BATON_E_REFUSED: the authority is there, or it lives, or both began the same term;
 * BATON_E_OTHER_JOURNAL: another journal has been begun there: the error says where, and what to do. A
 * killed partner's LOCK is waited for, 5 s at most; watch: what goes on meanwhile, and may end it (pace.h). */
BATON_MUST_USE int baton_partner_decide(baton_engine *engine, const char *directory,
                                        const baton_fetch_watch *watch, baton_error *error);
/* The same question, asked again by one that waits, of the journal with this id: no wait here. 0:
 * *ret_epoch is to be begun, and
 * *ret_lock_fd is the partner's LOCK, to be held until its header is durable. */
BATON_MUST_USE int baton_partner_look(const char *directory, const char *partner, baton_digest id,
                                      uint64_t *ret_epoch, int *ret_lock_fd, baton_error *error);
/* Promote, and turn the engine until what came is durable. */
BATON_MUST_USE int baton_partner_begin(baton_engine *engine, uint64_t epoch, baton_error *error);
