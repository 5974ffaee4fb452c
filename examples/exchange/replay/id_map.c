#include "examples/exchange/replay/id_map.h"

#include <errno.h>
#include <stdlib.h>

static size_t place_of(const id_map *map, uint64_t id)
{
    uint64_t mixed = (id ^ id >> 32) * 0x9e3779b97f4a7c15u;
    size_t at = (size_t)(mixed >> 20) & (map->capacity - 1);
    while (map->entries[at].value != 0 && map->entries[at].id != id)
        at = (at + 1) & (map->capacity - 1);
    return at;
}

static int grow(id_map *map)
{
    id_map larger = {.capacity = map->capacity ? 2 * map->capacity : 1024, .count = map->count};
    larger.entries = calloc(larger.capacity, sizeof(*larger.entries));
    if (!larger.entries)
        return -ENOMEM;
    for (size_t i = 0; i < map->capacity; i++)
        if (map->entries[i].value != 0)
            larger.entries[place_of(&larger, map->entries[i].id)] = map->entries[i];
    free(map->entries);
    *map = larger;
    return 0;
}

int id_map_set(id_map *map, uint64_t id, uint32_t value)
{
    if (map->count >= map->capacity / 2) {
        int r = grow(map);
        if (r < 0)
            return r;
    }
    id_map_entry *entry = &map->entries[place_of(map, id)];
    map->count += entry->value == 0;
    *entry = (id_map_entry){.id = id, .value = value};
    return 0;
}

uint32_t id_map_get(const id_map *map, uint64_t id)
{
    return map->capacity ? map->entries[place_of(map, id)].value : 0;
}

void id_map_fini(id_map *map)
{
    free(map->entries);
    *map = (id_map){0};
}
