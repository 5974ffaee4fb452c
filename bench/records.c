/* bench/records.c: see records.h. Open addressing, half full. */
#include "bench/records.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; an older one refuses, and nothing is lost */
#endif
#define POPULATE_BYTES (UINT64_C(8) << 20) /* at a time */
#define PLACES_AHEAD   16u
#define SEED           UINT64_C(0x9e3779b97f4a7c15)

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

/* As a service's arena: huge pages where there are any. */
static void *take(uint64_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    (void)madvise(memory, bytes, MADV_HUGEPAGE);
    return memory;
}

static void populate(void *memory, uint64_t bytes)
{
    uint8_t *at = memory;
    for (uint64_t done = 0; done < bytes; done += POPULATE_BYTES) {
        const uint64_t left = bytes - done;
        if (madvise(at + done, left < POPULATE_BYTES ? left : POPULATE_BYTES,
                    MADV_POPULATE_WRITE) != 0)
            return;
    }
}

static void *populator_main(void *context)
{
    const records *all = context;
    populate(all->places, (all->places_mask + 1) * sizeof(*all->places));
    populate(all->list, all->room * sizeof(record));
    return NULL;
}

int records_open(uint64_t room, records *ret_all)
{
    uint64_t places = 1;
    while (places < 2 * room)
        places *= 2;
    *ret_all = (records){.room = room, .places_mask = places - 1};
    ret_all->list = take(room * sizeof(record));
    ret_all->places = take(places * sizeof(*ret_all->places));
    if (!ret_all->list || !ret_all->places) {
        records_close(ret_all);
        return -ENOMEM;
    }
    ret_all->populating = pthread_create(&ret_all->populator, NULL, populator_main, ret_all) == 0;
    return 0;
}

int records_make(uint64_t count, records *ret_all)
{
    uint64_t random = SEED;
    int r = records_open(count, ret_all);
    for (uint64_t i = 0; i < count && r == 0; i++) {
        uint64_t value[RECORD_VALUE_BYTES / sizeof(uint64_t)];
        for (size_t k = 0; k < sizeof(value) / sizeof(value[0]); k++)
            value[k] = mix(random += SEED);
        r = records_put(ret_all, i + 1, value);
    }
    return r == 0 ? records_settle(ret_all) : r;
}

void records_close(records *all)
{
    if (all->populating)
        pthread_join(all->populator, NULL);
    if (all->list)
        munmap(all->list, all->room * sizeof(record));
    if (all->places)
        munmap(all->places, (all->places_mask + 1) * sizeof(*all->places));
    *all = (records){0};
}

/* What a place says of a key whose record is list[index]. */
static uint64_t place_of(uint64_t hash, uint64_t index)
{
    return (hash & ~(uint64_t)UINT32_MAX) | (index + 1);
}

static const record *at_place(const records *all, uint64_t at)
{
    return &all->list[(all->places[at] & UINT32_MAX) - 1];
}

/* Where the key is, or the free place where it would be. */
static uint64_t find_place(const records *all, uint64_t key, uint64_t hash)
{
    uint64_t at = hash & all->places_mask;
    while (all->places[at] != 0 &&
           ((all->places[at] ^ hash) >> 32 != 0 || at_place(all, at)->key != key))
        at = (at + 1) & all->places_mask;
    return at;
}

static int place_next(records *all)
{
    const uint64_t key = all->list[all->placed].key;
    const uint64_t hash = mix(key);
    const uint64_t at = find_place(all, key, hash);
    if (all->places[at] != 0)
        return -EEXIST;
    all->places[at] = place_of(hash, all->placed++);
    return 0;
}

int records_put(records *all, uint64_t key, const void *value)
{
    if (all->count == all->room)
        return -ENOSPC;
    __builtin_prefetch(&all->places[mix(key) & all->places_mask], 1);
    record *one = &all->list[all->count++];
    one->key = key;
    memcpy(one->value, value, sizeof(one->value));
    return all->count - all->placed > PLACES_AHEAD ? place_next(all) : 0;
}

int records_settle(records *all)
{
    int r = 0;
    while (r == 0 && all->placed < all->count)
        r = place_next(all);
    return r;
}

const record *records_find(const records *all, uint64_t key)
{
    const uint64_t at = find_place(all, key, mix(key));
    return all->places[at] != 0 ? at_place(all, at) : NULL;
}
