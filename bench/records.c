/* bench/records.c: see records.h. Open addressing, half full. */
#include "bench/records.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SEED UINT64_C(0x9e3779b97f4a7c15)

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

int records_open(uint64_t room, records *ret_all)
{
    uint64_t places = 1;
    while (places < 2 * room)
        places *= 2;
    *ret_all = (records){.room = room, .places_mask = places - 1};
    ret_all->list = take(room * sizeof(record));
    ret_all->places = take(places * sizeof(uint32_t));
    if (ret_all->list && ret_all->places)
        return 0;
    records_close(ret_all);
    return -ENOMEM;
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
    return r;
}

void records_close(records *all)
{
    if (all->list)
        munmap(all->list, all->room * sizeof(record));
    if (all->places)
        munmap(all->places, (all->places_mask + 1) * sizeof(uint32_t));
    *all = (records){0};
}

int records_put(records *all, uint64_t key, const void *value)
{
    if (all->count == all->room)
        return -ENOSPC;
    uint64_t at = mix(key) & all->places_mask;
    while (all->places[at] != 0) {
        if (all->list[all->places[at] - 1].key == key)
            return -EEXIST;
        at = (at + 1) & all->places_mask;
    }
    record *one = &all->list[all->count++];
    one->key = key;
    memcpy(one->value, value, sizeof(one->value));
    all->places[at] = (uint32_t)all->count;
    return 0;
}
