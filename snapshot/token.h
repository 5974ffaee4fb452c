/* snapshot/token.h: the subset of msgpack that snapshots use, one token at a time, straight from
 * bytes.
 *
 * Writing goes through msgpack-c. Reading does not: its unpacker allocates what a length field
 * asks for before it has seen the bytes, and builds a tree for every row. This one allocates
 * nothing and never believes a length. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    BATON_TOKEN_UINT,  /* value */
    BATON_TOKEN_INT,   /* negative: value is its two's complement */
    BATON_TOKEN_TEXT,  /* value bytes follow */
    BATON_TOKEN_BYTES, /* value bytes follow */
    BATON_TOKEN_ARRAY, /* value tokens follow */
    BATON_TOKEN_MAP,   /* value pairs of tokens follow */
    BATON_TOKEN_OTHER, /* nil, false, true, float, double: nothing follows; only skipped, never read */
} baton_token_kind;

typedef struct {
    baton_token_kind kind;
    uint64_t value;
} baton_token;

#define BATON_TOKEN_HEADER_BYTES_MAX 9u

/* How many bytes, first included, make up the token's header; 0: not in our subset. */
uint32_t baton_token_header_bytes(uint8_t first);
/* header holds baton_token_header_bytes(header[0]) bytes, not 0. */
baton_token baton_token_decode(const uint8_t *header);

/* Well-formed UTF-8: shortest forms, no surrogates, up to U+10FFFF. */
bool baton_utf8_valid(const void *text, uint64_t bytes_count);
