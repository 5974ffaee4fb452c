/* examples/exchange/replay/replay_book.h: a book that grows when a pool is full. A service chooses
 * its pools once; a replay of a file does not know what it will need. */
#pragma once

#include <baton/status.h>
#include "examples/exchange/book/book.h"

/* Where the book is: on the heap, or in a Baton arena, as a service's is. */
typedef enum { REPLAY_HEAP, REPLAY_ARENA } replay_memory;

typedef struct {
    order_book *book;
    book_options options; /* of the book as it is */
} replay_book;

BATON_MUST_USE int replay_book_open(replay_book *replay, replay_memory memory, baton_error *error);
/* Is the book sound, and, in an arena, does no pointer leave it? BATON_E_DAMAGED: a bug. */
BATON_MUST_USE int replay_book_check(const replay_book *replay, baton_error *error);
void replay_book_close(replay_book *replay); /* a zeroed one is fine */

/* book_new_order() or book_rest_order(), again in a larger book if that was the
 * reason to refuse. *ret_refusal is set on success of the call, whatever the book said. */
typedef enum { REPLAY_MATCH, REPLAY_REST } replay_entry;
BATON_MUST_USE int replay_book_place(replay_book *replay, replay_entry entry,
                                     const book_order *order, const book_events *events,
                                     book_placed *ret_placed, book_refusal *ret_refusal,
                                     baton_error *error);
