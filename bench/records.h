/* bench/records.h: so many records of 256 B that a compressor can make nothing of, in a table that
 * finds them by their key: the state of a service, as small as it can be. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { RECORD_VALUE_BYTES = 248 };

typedef struct {
    uint64_t key;
    uint8_t value[RECORD_VALUE_BYTES];
} record;

typedef struct {
    record *list; /* in the order they came */
    uint64_t count;
    uint64_t room;
    /* 0: free; else 1 + index in list, and in the upper half as much of the key's hash, so that
     * another key's record is rarely looked at. */
    uint64_t *places;
    uint64_t places_mask;
    uint64_t placed; /* of count: the last few wait until the memory of their place is here */
    bool populating;
    pthread_t populator; /* touches the memory ahead: the first touch is dear */
} records;

/* Room for so many. 0 or -ENOMEM. *ret_all must not move. */
int records_open(uint64_t room, records *ret_all);
/* The same, filled from a fixed seed. */
int records_make(uint64_t count, records *ret_all);
void records_close(records *all);
/* Copies value. 0; -ENOSPC; -EEXIST, which may be of one put shortly before. */
int records_put(records *all, uint64_t key, const void *value);
/* After the last put: all of them can be found. 0; -EEXIST. */
int records_settle(records *all);
/* NULL when there is none. */
const record *records_find(const records *all, uint64_t key);
static inline const record *records_at(const records *all, uint64_t index)
{
    return &all->list[index];
}
