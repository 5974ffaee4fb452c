/* baton/wire.h: little-endian numbers as bytes, so that nothing unswapped reaches a disk or a
 * socket. Alignment 1. */
#pragma once

#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    uint8_t bytes[2];
} baton_le16;
typedef struct {
    uint8_t bytes[4];
} baton_le32;
typedef struct {
    uint8_t bytes[8];
} baton_le64;

static inline uint16_t baton_le16_get(baton_le16 wire)
{
    return (uint16_t)(wire.bytes[0] | wire.bytes[1] << 8);
}

static inline baton_le16 baton_le16_put(uint16_t value)
{
    baton_le16 wire = {{(uint8_t)value, (uint8_t)(value >> 8)}};
    return wire;
}

static inline uint32_t baton_le32_get(baton_le32 wire)
{
    uint32_t value;
    memcpy(&value, wire.bytes, sizeof(value));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

static inline baton_le32 baton_le32_put(uint32_t value)
{
    baton_le32 wire;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    memcpy(wire.bytes, &value, sizeof(value));
    return wire;
}

static inline uint64_t baton_le64_get(baton_le64 wire)
{
    uint64_t value;
    memcpy(&value, wire.bytes, sizeof(value));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static inline baton_le64 baton_le64_put(uint64_t value)
{
    baton_le64 wire;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    memcpy(wire.bytes, &value, sizeof(value));
    return wire;
}

#ifdef __cplusplus
}
#endif
