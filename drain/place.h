/* drain/place.h: which directory this is, where its instance can be asked, and the facts that a
 * handover keeps beside the journal: `DIR/PLACE` (a random number, drawn once), `DIR/RUN-EPOCH` (the
 * highest of an orchestrator's runs that was heard of here, O1) and `DIR/FORCED-EPOCH` (R12). */
#pragma once

#include "drain/peer_wire.h"
#include "drain/tcp_address.h"

#define BATON_PLACE_BYTES 16u

typedef struct {
    char directory[256]; /* absolute */
    uint8_t place[BATON_PLACE_BYTES];
    char host[64];
    char address[BATON_TCP_ADDRESS_TEXT_BYTES]; /* where others reach it; "": nowhere by TCP */
    _Atomic uint64_t run_epoch;                 /* kept in the directory: baton_place_heard */
    uint64_t forced_epoch;                      /* kept likewise: baton_place_heard_epoch */
} baton_place;

/* DIR/PLACE is made when missing, durable when this returns. */
BATON_MUST_USE int baton_place_open(baton_place *place, const char *directory, const char *address,
                                    baton_error *error);
/* A run's epoch was named: BATON_E_REFUSED when it is below the highest; a higher one is kept, durable. */
BATON_MUST_USE int baton_place_run(baton_place *place, uint64_t run_epoch, baton_error *error);
/* The other side has heard of this one: kept when it is higher. */
void baton_place_heard(baton_place *place, uint64_t run_epoch);
/* An active has spoken for this epoch. The first that was heard after each force is kept: a process that hears nobody
 * must not be forced to one below it, nor follow one (R12). The loop's thread. */
void baton_place_heard_epoch(baton_place *place, uint64_t epoch);
/* What a HELLO or WELCOME says of it: highest_header is the caller's to know. */
baton_peer_place baton_place_put(const baton_place *place, uint64_t highest_header);
/* The same, and where the first term since the last forced promotion began, of one that serves in this
 * epoch. What can't be read stays zero. */
baton_peer_place baton_place_put_active(const baton_place *place, uint64_t epoch);

/* A short file, whole and durable, or as it was. */
BATON_MUST_USE int baton_note_write(const char *directory, const char *name, const char *text,
                                    baton_error *error);
/* Its text, at most bytes - 1 of it. False: there is none. */
bool baton_note_read(const char *directory, const char *name, char *text, size_t bytes);
/* The names in it: files that were made there, or renamed, stay so. -errno. */
BATON_MUST_USE int baton_directory_flush(const char *directory);
