/* examples/exchange/replay/id_map.h: a growing map from order ids to a small number each. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <baton/status.h>

typedef struct {
    uint64_t id;
    uint32_t value; /* 1 and above; 0 is an empty place */
} id_map_entry;

typedef struct {
    id_map_entry *entries;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
} id_map;

/* Starts zeroed. Sets or replaces; value must not be 0. -ENOMEM. */
BATON_MUST_USE int id_map_set(id_map *map, uint64_t id, uint32_t value);
uint32_t id_map_get(const id_map *map, uint64_t id); /* 0 when absent */
void id_map_fini(id_map *map);
