/* snapshot/token.c: see token.h. The numbers are those of the msgpack specification. */
#include "snapshot/token.h"

#include "base/assert.h"

enum {
    FIRST_MAP_SMALL = 0x80,
    FIRST_ARRAY_SMALL = 0x90,
    FIRST_TEXT_SMALL = 0xa0,
    FIRST_NIL = 0xc0,
    FIRST_FALSE = 0xc2,
    FIRST_TRUE = 0xc3,
    FIRST_BYTES_8 = 0xc4,
    FIRST_BYTES_16 = 0xc5,
    FIRST_BYTES_32 = 0xc6,
    FIRST_FLOAT = 0xca,
    FIRST_DOUBLE = 0xcb,
    FIRST_UINT_8 = 0xcc,
    FIRST_UINT_16 = 0xcd,
    FIRST_UINT_32 = 0xce,
    FIRST_UINT_64 = 0xcf,
    FIRST_INT_8 = 0xd0,
    FIRST_INT_16 = 0xd1,
    FIRST_INT_32 = 0xd2,
    FIRST_INT_64 = 0xd3,
    FIRST_TEXT_8 = 0xd9,
    FIRST_TEXT_16 = 0xda,
    FIRST_TEXT_32 = 0xdb,
    FIRST_ARRAY_16 = 0xdc,
    FIRST_ARRAY_32 = 0xdd,
    FIRST_MAP_16 = 0xde,
    FIRST_MAP_32 = 0xdf,
    FIRST_INT_SMALL = 0xe0,
};

uint32_t baton_token_header_bytes(uint8_t first)
{
    if (first < FIRST_NIL || first >= FIRST_INT_SMALL)
        return 1;
    switch (first) {
    case FIRST_NIL:
    case FIRST_FALSE:
    case FIRST_TRUE:
        return 1;
    case FIRST_BYTES_8:
    case FIRST_UINT_8:
    case FIRST_INT_8:
    case FIRST_TEXT_8:
        return 2;
    case FIRST_BYTES_16:
    case FIRST_UINT_16:
    case FIRST_INT_16:
    case FIRST_TEXT_16:
    case FIRST_ARRAY_16:
    case FIRST_MAP_16:
        return 3;
    case FIRST_BYTES_32:
    case FIRST_FLOAT:
    case FIRST_UINT_32:
    case FIRST_INT_32:
    case FIRST_TEXT_32:
    case FIRST_ARRAY_32:
    case FIRST_MAP_32:
        return 5;
    case FIRST_DOUBLE:
    case FIRST_UINT_64:
    case FIRST_INT_64:
        return 9;
    default:
        return 0; /* extension types, and the one number that msgpack never uses */
    }
}

static uint64_t big_endian(const uint8_t *bytes, uint32_t bytes_count)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes_count; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* A signed number that is not negative is the same as the unsigned one. */
static baton_token signed_token(int64_t value)
{
    return (baton_token){value < 0 ? BATON_TOKEN_INT : BATON_TOKEN_UINT, (uint64_t)value};
}

static baton_token decode_small(uint8_t first)
{
    if (first < FIRST_MAP_SMALL)
        return (baton_token){BATON_TOKEN_UINT, first};
    if (first < FIRST_ARRAY_SMALL)
        return (baton_token){BATON_TOKEN_MAP, first & 0x0fu};
    if (first < FIRST_TEXT_SMALL)
        return (baton_token){BATON_TOKEN_ARRAY, first & 0x0fu};
    if (first < FIRST_NIL)
        return (baton_token){BATON_TOKEN_TEXT, first & 0x1fu};
    if (first >= FIRST_INT_SMALL)
        return signed_token((int8_t)first);
    return (baton_token){BATON_TOKEN_OTHER, 0};
}

baton_token baton_token_decode(const uint8_t *header)
{
    const uint8_t first = header[0];
    const uint32_t header_bytes = baton_token_header_bytes(first);
    baton_assert(header_bytes > 0);
    if (header_bytes == 1)
        return decode_small(first);

    const uint64_t value = big_endian(header + 1, header_bytes - 1);
    switch (first) {
    case FIRST_BYTES_8:
    case FIRST_BYTES_16:
    case FIRST_BYTES_32:
        return (baton_token){BATON_TOKEN_BYTES, value};
    case FIRST_TEXT_8:
    case FIRST_TEXT_16:
    case FIRST_TEXT_32:
        return (baton_token){BATON_TOKEN_TEXT, value};
    case FIRST_ARRAY_16:
    case FIRST_ARRAY_32:
        return (baton_token){BATON_TOKEN_ARRAY, value};
    case FIRST_MAP_16:
    case FIRST_MAP_32:
        return (baton_token){BATON_TOKEN_MAP, value};
    case FIRST_UINT_8:
    case FIRST_UINT_16:
    case FIRST_UINT_32:
    case FIRST_UINT_64:
        return (baton_token){BATON_TOKEN_UINT, value};
    case FIRST_INT_8:
        return signed_token((int8_t)value);
    case FIRST_INT_16:
        return signed_token((int16_t)value);
    case FIRST_INT_32:
        return signed_token((int32_t)value);
    case FIRST_INT_64:
        return signed_token((int64_t)value);
    default:
        return (baton_token){BATON_TOKEN_OTHER, 0}; /* float, double */
    }
}

/* Length of the sequence that begins with `first`, the bits it carries, and the lowest code
 * point it may stand for. */
static uint32_t utf8_begin(uint8_t first, uint32_t *ret_code, uint32_t *ret_lowest)
{
    if (first >= 0xc2 && first < 0xe0) {
        *ret_code = first & 0x1fu;
        *ret_lowest = 0x80;
        return 2;
    }
    if (first >= 0xe0 && first < 0xf0) {
        *ret_code = first & 0x0fu;
        *ret_lowest = 0x800;
        return 3;
    }
    if (first >= 0xf0 && first < 0xf5) {
        *ret_code = first & 0x07u;
        *ret_lowest = 0x10000;
        return 4;
    }
    return 0;
}

bool baton_utf8_valid(const void *text, uint64_t bytes_count)
{
    const uint8_t *bytes = text;
    for (uint64_t at = 0; at < bytes_count;) {
        uint32_t code = 0;
        uint32_t lowest = 0;
        if (bytes[at] < 0x80) {
            at++;
            continue;
        }
        const uint32_t length = utf8_begin(bytes[at], &code, &lowest);
        if (length == 0 || bytes_count - at < length)
            return false;
        for (uint32_t i = 1; i < length; i++) {
            if ((bytes[at + i] & 0xc0) != 0x80)
                return false;
            code = code << 6 | (bytes[at + i] & 0x3fu);
        }
        if (code < lowest || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
            return false;
        at += length;
    }
    return true;
}
