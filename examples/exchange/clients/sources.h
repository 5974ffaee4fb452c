/* examples/exchange/clients/sources.h: how far a service has taken in what other services feed it: the highest
 * key of each source (E6). Part of the state: so each effect takes hold once, whatever is sent again. Plain
 * memory without pointers: it stands inside the state's own struct. */
#pragma once

#include <baton/arena.h>
#include <baton/digest.h>

#include "examples/exchange/protocol.h"

enum { SOURCES_MAX = 8 }; /* their numbers are 1..8, as consumers' are */

typedef struct {
    uint64_t epoch;
    uint64_t seq; /* 0: nothing yet */
    uint32_t index;
} source_key;

typedef struct {
    source_key highest[SOURCES_MAX]; /* source n at n - 1 */
} sources;

/* For BATON_STRUCT in the state's own table of fields. */
extern const baton_layout_type sources_layout;

typedef enum {
    SOURCE_NEW,
    SOURCE_KNOWN, /* taken already */
    SOURCE_WENT_BACK, /* a seq that goes back in a higher epoch, or goes on in a lower one: the source has
                       * lost what it had released */
    SOURCE_UNKNOWN, /* no such source */
} source_verdict;
/* Changes nothing: for intake, and again in apply. */
source_verdict sources_judge(const sources *own, uint16_t source, const exchange_key *key);
/* After SOURCE_NEW. */
void sources_take(sources *own, uint16_t source, const exchange_key *key);

/* Over source, seq and index, without the epoch: the same commands give the same digest wherever they
 * were cut. */
baton_digest sources_digest(const sources *own);

/* For snapshots: rows of SOURCES_FIELDS numbers, one for each source that has sent something. */
enum { SOURCES_FIELDS = 4 };
bool sources_row(const sources *own, uint32_t source, uint64_t fields[SOURCES_FIELDS]);
/* False: no row of sources_row, or the second of its source. */
bool sources_restore(sources *own, const uint64_t fields[SOURCES_FIELDS]);
