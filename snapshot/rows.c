/* snapshot/rows.c: see rows.h. */
#include "snapshot/rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define BLOCK_BYTES (64u << 10)

/* Texts and bytes are copied here: a row may span pieces, and what it returned stays valid until
 * the next row. */
struct baton_rows_block {
    baton_rows_block *next;
    uint64_t room;
    uint64_t used;
    uint8_t bytes[];
};

static int damaged(baton_rows *rows, const char *fault)
{
    rows->fault = fault;
    return BATON_E_DAMAGED;
}

/* ---- blocks ---- */

/* Keeps the newest block, which is the largest that was ever needed since the last reset or
 * nearly so. */
static void blocks_reset(baton_rows *rows)
{
    if (rows->blocks == NULL)
        return;
    for (baton_rows_block *block = rows->blocks->next; block != NULL;) {
        baton_rows_block *next = block->next;
        free(block);
        block = next;
    }
    rows->blocks->next = NULL;
    rows->blocks->used = 0;
}

static uint8_t *blocks_take(baton_rows *rows, uint64_t bytes)
{
    baton_rows_block *block = rows->blocks;
    if (block == NULL || block->room - block->used < bytes) {
        const uint64_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        block = malloc(sizeof(*block) + room);
        if (block == NULL)
            return NULL;
        *block = (baton_rows_block){.next = rows->blocks, .room = room};
        rows->blocks = block;
    }
    uint8_t *taken = block->bytes + block->used;
    block->used += bytes;
    return taken;
}

/* ---- bytes ---- */

/* The next bytes_count bytes into `into`, or past them when it is NULL. */
static int take_over_pieces(baton_rows *rows, uint8_t *into, uint64_t bytes_count)
{
    if (bytes_count > rows->bytes_left)
        return damaged(rows, "a row runs past the end of its section");
    while (bytes_count > 0) {
        if (rows->piece_left == 0) {
            int r = rows->more(rows->context, &rows->at, &rows->piece_left);
            if (r < 0)
                return r;
            baton_assert(rows->piece_left > 0);
        }
        const uint64_t part = bytes_count < rows->piece_left ? bytes_count : rows->piece_left;
        if (into != NULL) {
            memcpy(into, rows->at, part);
            into += part;
        }
        rows->at += part;
        rows->piece_left -= part;
        rows->bytes_left -= part;
        bytes_count -= part;
    }
    return 0;
}

/* Nearly always all of it is in this piece. */
static inline int take(baton_rows *rows, uint8_t *into, uint64_t bytes_count)
{
    if (bytes_count > rows->bytes_left || bytes_count > rows->piece_left)
        return take_over_pieces(rows, into, bytes_count);
    if (into != NULL)
        memcpy(into, rows->at, bytes_count);
    rows->at += bytes_count;
    rows->piece_left -= bytes_count;
    rows->bytes_left -= bytes_count;
    return 0;
}

/* Straight from the piece, when the longest header is in it whatever this one is. */
static inline int take_token_here(baton_rows *rows, baton_token *ret_token)
{
    const uint8_t *header = rows->at;
    const uint32_t header_bytes = baton_token_header_bytes(header[0]);
    if (header_bytes == 0)
        return damaged(rows, "a row has a byte that is no msgpack of ours");
    *ret_token = baton_token_decode(header);
    rows->at += header_bytes;
    rows->piece_left -= header_bytes;
    rows->bytes_left -= header_bytes;
    return 0;
}

static int take_token(baton_rows *rows, baton_token *ret_token)
{
    if (rows->piece_left >= BATON_TOKEN_HEADER_BYTES_MAX &&
        rows->bytes_left >= BATON_TOKEN_HEADER_BYTES_MAX)
        return take_token_here(rows, ret_token);
    uint8_t header[BATON_TOKEN_HEADER_BYTES_MAX];
    int r = take(rows, header, 1);
    if (r < 0)
        return r;
    const uint32_t header_bytes = baton_token_header_bytes(header[0]);
    if (header_bytes == 0)
        return damaged(rows, "a row has a byte that is no msgpack of ours");
    r = take(rows, header + 1, header_bytes - 1);
    if (r < 0)
        return r;
    *ret_token = baton_token_decode(header);
    return 0;
}

/* ---- rows ---- */

void baton_rows_begin(baton_rows *rows, uint64_t bytes, uint64_t rows_count)
{
    blocks_reset(rows);
    rows->at = NULL;
    rows->piece_left = 0;
    rows->bytes_left = bytes;
    rows->rows_left = rows_count;
    rows->fields_left = 0;
    rows->has_token = false;
    rows->fault = NULL;
}

void baton_rows_fini(baton_rows *rows)
{
    blocks_reset(rows);
    free(rows->blocks);
    rows->blocks = NULL;
}

/* The header of the next field is in rows->token, and checked. BATON_E_SCHEMA: the row has no
 * more fields. */
static int field_peek(baton_rows *rows)
{
    if (rows->has_token)
        return 0;
    if (rows->fields_left == 0)
        return BATON_E_SCHEMA;
    int r = take_token(rows, &rows->token);
    if (r < 0)
        return r;
    switch (rows->token.kind) {
    case BATON_TOKEN_UINT:
    case BATON_TOKEN_INT:
        break;
    case BATON_TOKEN_TEXT:
    case BATON_TOKEN_BYTES:
        if (rows->token.value > BATON_SNAPSHOT_FIELD_BYTES_MAX)
            return damaged(rows, "a field is longer than the format allows");
        if (rows->token.value > rows->bytes_left)
            return damaged(rows, "a row runs past the end of its section");
        break;
    case BATON_TOKEN_ARRAY:
    case BATON_TOKEN_MAP:
    case BATON_TOKEN_OTHER:
        return damaged(rows, "a field is of a kind that rows do not have");
    }
    rows->has_token = true;
    return 0;
}

static void field_done(baton_rows *rows)
{
    rows->has_token = false;
    rows->fields_left--;
}

static int field_skip(baton_rows *rows)
{
    const void *text;
    uint32_t text_bytes;
    int r = field_peek(rows);
    if (r < 0)
        return r;
    if (rows->token.kind == BATON_TOKEN_TEXT) { /* what nobody looks at must be valid, too */
        blocks_reset(rows);                     /* the row is left: only one at a time is kept */
        return baton_rows_run(rows, BATON_TOKEN_TEXT, &text, &text_bytes);
    }
    if (rows->token.kind == BATON_TOKEN_BYTES)
        r = take(rows, NULL, rows->token.value);
    if (r < 0)
        return r;
    field_done(rows);
    return 0;
}

int baton_rows_next(baton_rows *rows, uint32_t *ret_fields_count)
{
    baton_token token;
    while (rows->fields_left > 0) {
        int r = field_skip(rows);
        if (r < 0)
            return r;
    }
    blocks_reset(rows);
    if (rows->rows_left == 0)
        return rows->bytes_left == 0 ? 0 : damaged(rows, "bytes after the section's last row");
    int r = take_token(rows, &token);
    if (r < 0)
        return r;
    if (token.kind != BATON_TOKEN_ARRAY || token.value == 0 ||
        token.value > BATON_SNAPSHOT_FIELDS_MAX)
        return damaged(rows, "a row does not begin as one");
    rows->rows_left--;
    rows->fields_left = *ret_fields_count = (uint32_t)token.value;
    return 1;
}

int baton_rows_uint(baton_rows *rows, uint64_t *ret_value)
{
    int r = field_peek(rows);
    if (r < 0)
        return r;
    if (rows->token.kind != BATON_TOKEN_UINT)
        return BATON_E_SCHEMA;
    *ret_value = rows->token.value;
    field_done(rows);
    return 0;
}

int baton_rows_int(baton_rows *rows, int64_t *ret_value)
{
    int r = field_peek(rows);
    if (r < 0)
        return r;
    const bool fits = rows->token.kind == BATON_TOKEN_INT ||
                      (rows->token.kind == BATON_TOKEN_UINT && rows->token.value <= INT64_MAX);
    if (!fits)
        return BATON_E_SCHEMA;
    *ret_value = (int64_t)rows->token.value;
    field_done(rows);
    return 0;
}

int baton_rows_run(baton_rows *rows, baton_token_kind kind, const void **ret_bytes,
                   uint32_t *ret_bytes_count)
{
    int r = field_peek(rows);
    if (r < 0)
        return r;
    if (rows->token.kind != kind)
        return BATON_E_SCHEMA;
    const uint64_t bytes_count = rows->token.value;
    uint8_t *place = blocks_take(rows, bytes_count);
    if (place == NULL)
        return -ENOMEM;
    r = take(rows, place, bytes_count);
    if (r < 0)
        return r;
    if (kind == BATON_TOKEN_TEXT && !baton_utf8_valid(place, bytes_count))
        return damaged(rows, "a text is not UTF-8");
    *ret_bytes = place;
    *ret_bytes_count = (uint32_t)bytes_count;
    field_done(rows);
    return 0;
}
