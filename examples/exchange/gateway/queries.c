#include "examples/exchange/gateway/queries.h"

#include <string.h>

bool queries_take(queries *own, uint64_t connection, const exchange_query *query)
{
    if (own->count == QUERIES_MAX)
        return false;
    const uint32_t place = (own->oldest + own->count++) % QUERIES_MAX;
    own->list[place].connection = connection;
    own->list[place].query = *query;
    return true;
}

const exchange_query *queries_next(const queries *own)
{
    return own->sent < own->count ? &own->list[(own->oldest + own->sent) % QUERIES_MAX].query
                                  : NULL;
}

void queries_sent(queries *own)
{
    own->sent++;
}

void queries_again(queries *own)
{
    own->sent = 0;
}

bool queries_answered(queries *own, const exchange_query *query, uint64_t *ret_connection)
{
    if (own->sent == 0 || memcmp(&own->list[own->oldest].query, query, sizeof(*query)) != 0)
        return false;
    *ret_connection = own->list[own->oldest].connection;
    own->oldest = (own->oldest + 1) % QUERIES_MAX;
    own->count--;
    own->sent--;
    return true;
}
