/* examples/exchange/market-data/readers.h: readers of the journal, for those who are told what is not in memory any more. A
 * reader costs descriptors and megabytes, so there are few of them, and they go round: who reads slowly keeps one for
 * a second when others wait for it. */
#pragma once

#include <baton/journal.h>

enum { READERS_MAX = 16 };

typedef struct {
    uint64_t connection; /* who has it; 0: nobody */
    uint64_t since_ns;
    baton_reader *reader;
} reader_place;

typedef struct {
    reader_place places[READERS_MAX];
} readers;

/* The reader that this connection has, or a new one from message `from` on; NULL: all are in use now, ask again.
 * A status when the journal can't be read. */
BATON_MUST_USE int readers_get(readers *own, uint64_t connection, const char *directory,
                               uint64_t from, baton_reader **ret_reader);
void readers_give_back(readers *own, uint64_t connection);
void readers_close(readers *own);
