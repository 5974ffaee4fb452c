/* baton/digest.h: XXH3-128 digests. They detect accidents, not tampering: anyone who can write the
 * bytes can write a fitting digest. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* In canonical (big-endian XXH128) byte order, as it is stored and printed. */
typedef struct {
    uint8_t bytes[16];
} baton_digest;

#define BATON_DIGEST_TEXT_BYTES 33 /* 32 lower-case hex digits and a terminator */

baton_digest baton_digest_of(const void *bytes, size_t bytes_count);
/* Digest of `previous` followed by the bytes: a running chain. */
baton_digest baton_digest_chain(baton_digest previous, const void *bytes, size_t bytes_count);
bool baton_digest_equal(baton_digest a, baton_digest b);
bool baton_digest_is_zero(baton_digest digest);
uint64_t baton_digest_low64(baton_digest digest); /* the last 8 bytes as a number */

/* For state digests kept incrementally: a set of items under addition modulo 2^64 twice. Adding and
 * removing commute, so the sum depends neither on order nor on layout. */
void baton_digest_add(baton_digest *sum, const void *item, size_t item_bytes);
void baton_digest_remove(baton_digest *sum, const void *item, size_t item_bytes);

char *baton_digest_text(baton_digest digest, char text[BATON_DIGEST_TEXT_BYTES]);
/* BATON_E_INVALID unless it is 32 hex digits. */
int baton_digest_parse(const char *text, baton_digest *ret_digest);

/* Over several pieces. Caller's memory, no allocation; 64-byte alignment is part of the type. */
typedef struct {
    unsigned char opaque[640] __attribute__((aligned(64)));
} baton_digest_stream;
void baton_digest_init(baton_digest_stream *stream);
void baton_digest_update(baton_digest_stream *stream, const void *bytes, size_t bytes_count);
baton_digest baton_digest_final(const baton_digest_stream *stream);

#ifdef __cplusplus
}
#endif
