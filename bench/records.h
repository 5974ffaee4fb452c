/* bench/records.h: so many records of 256 B that a compressor can make nothing of, in a table that
 * finds them by their key: the state of a service, as small as it can be. */
#pragma once

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
    uint32_t *places; /* 0: free; else 1 + index in list */
    uint64_t places_mask;
} records;

/* Room for so many. 0 or -ENOMEM. */
int records_open(uint64_t room, records *ret_all);
/* The same, filled from a fixed seed. */
int records_make(uint64_t count, records *ret_all);
void records_close(records *all);
/* Copies value. 0; -EEXIST; -ENOSPC. */
int records_put(records *all, uint64_t key, const void *value);
static inline const record *records_at(const records *all, uint64_t index)
{
    return &all->list[index];
}
