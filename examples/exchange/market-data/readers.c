#include "examples/exchange/market-data/readers.h"

#include <stddef.h>

#include <baton/clock.h>

#define KEPT_NS UINT64_C(1000000000)

static void close_one(reader_place *place)
{
    baton_reader_close(place->reader);
    *place = (reader_place){0};
}

/* A free one; else that of whoever has had it for longest, if that is long; else NULL. */
static reader_place *find_place(readers *own, uint64_t now_ns)
{
    reader_place *oldest = &own->places[0];
    for (uint32_t i = 0; i < READERS_MAX; i++) {
        reader_place *place = &own->places[i];
        if (place->connection == 0)
            return place;
        if (place->since_ns < oldest->since_ns)
            oldest = place;
    }
    if (now_ns - oldest->since_ns < KEPT_NS)
        return NULL;
    close_one(oldest);
    return oldest;
}

int readers_get(readers *own, uint64_t connection, const char *directory, uint64_t from,
                baton_reader **ret_reader)
{
    const baton_reader_options options = {.from_seq = from, .live = true};
    const uint64_t now_ns = baton_clock_monotonic_ns(baton_clock_system());
    *ret_reader = NULL;
    for (uint32_t i = 0; i < READERS_MAX; i++)
        if (own->places[i].connection == connection)
            *ret_reader = own->places[i].reader;
    reader_place *place = *ret_reader == NULL ? find_place(own, now_ns) : NULL;
    if (place == NULL)
        return 0;
    int r = baton_reader_open(directory, &options, &place->reader, NULL);
    if (r < 0)
        return r;
    place->connection = connection;
    place->since_ns = now_ns;
    *ret_reader = place->reader;
    return 0;
}

void readers_give_back(readers *own, uint64_t connection)
{
    for (uint32_t i = 0; connection != 0 && i < READERS_MAX; i++)
        if (own->places[i].connection == connection)
            close_one(&own->places[i]);
}

void readers_close(readers *own)
{
    for (uint32_t i = 0; i < READERS_MAX; i++)
        close_one(&own->places[i]);
}
