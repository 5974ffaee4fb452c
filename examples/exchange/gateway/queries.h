/* examples/exchange/gateway/queries.h: QUERYs on their way to the order service, and whose they are. It answers them in
 * order, on the connection on which they came. */
#pragma once

#include <stdbool.h>

#include "examples/exchange/protocol.h"

enum { QUERIES_MAX = 256 };

typedef struct {
    struct {
        uint64_t connection; /* that asked */
        exchange_query query;
    } list[QUERIES_MAX]; /* a ring */
    uint32_t oldest, count;
    uint32_t sent; /* so many of them, the oldest */
} queries;

/* False: as many as there may be. */
bool queries_take(queries *own, uint64_t connection, const exchange_query *query);
/* The oldest that was not sent on this connection; NULL: all are. Then queries_sent. */
const exchange_query *queries_next(const queries *own);
void queries_sent(queries *own);
/* The connection is another one: all are to be sent again. */
void queries_again(queries *own);
/* An answer came. False: to no question of ours. */
bool queries_answered(queries *own, const exchange_query *query, uint64_t *ret_connection);
