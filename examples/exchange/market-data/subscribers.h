/* examples/exchange/market-data/subscribers.h: clients by TCP (or a Unix socket): a snapshot of the books and
 * then the stream, or the stream from a number on, or the messages of a gap. What is not in memory any more
 * comes from the journal. Who reads slowly is told slowly: each has a place in the stream, and no queue. */
#pragma once

#include "examples/exchange/market-data/stream.h"
#include "examples/exchange/wire/door.h"

typedef struct subscribers subscribers;

typedef struct {
    stream *stream;
    wire_loop loop;
    const char *address;
    const char *port_file;
} subscribers_options;

BATON_MUST_USE int subscribers_open(const subscribers_options *options, subscribers **ret_own,
                                    baton_error *error);
void subscribers_close(subscribers *own); /* NULL is fine */
const char *subscribers_address(const subscribers *own);
void subscribers_turn(subscribers *own);
