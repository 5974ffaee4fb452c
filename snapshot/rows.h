/* snapshot/rows.h: a section's rows out of pieces of its raw stream. Knows nothing of files: a
 * fuzz target feeds it. */
#pragma once

#include "snapshot/format.h"
#include "snapshot/token.h"

typedef struct baton_rows_block baton_rows_block;

typedef struct {
    /* The next piece of the stream, never empty, valid until the next call. 0 or an error, which
     * the reading call returns. */
    int (*more)(void *context, const uint8_t **ret_bytes, uint64_t *ret_bytes_count);
    void *context;

    /* private */
    const uint8_t *at; /* in the current piece */
    uint64_t piece_left;
    uint64_t bytes_left; /* of the section, what is left of the piece included */
    uint64_t rows_left;
    uint32_t fields_left; /* of the row */
    bool has_token;       /* a field's header was read, and its value not yet */
    baton_token token;
    baton_rows_block *blocks; /* this row's texts and bytes */
    const char *fault;        /* why BATON_E_DAMAGED; static */
} baton_rows;

/* A section of this many bytes and rows begins at the next piece. What an earlier section left
 * behind is forgotten. */
void baton_rows_begin(baton_rows *rows, uint64_t bytes, uint64_t rows_count);
void baton_rows_fini(baton_rows *rows);

/* As the baton_unpack_ calls. BATON_E_DAMAGED when the stream is not rows: rows->fault says why. */
BATON_MUST_USE int baton_rows_next(baton_rows *rows, uint32_t *ret_fields_count);
BATON_MUST_USE int baton_rows_uint(baton_rows *rows, uint64_t *ret_value);
BATON_MUST_USE int baton_rows_int(baton_rows *rows, int64_t *ret_value);
/* kind is TEXT or BYTES. */
BATON_MUST_USE int baton_rows_run(baton_rows *rows, baton_token_kind kind, const void **ret_bytes,
                                  uint32_t *ret_bytes_count);
