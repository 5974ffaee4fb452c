/* base/digest.c: XXH3-128 behind baton/digest.h. */
#include <baton/digest.h>

#include <assert.h>
#include <endian.h>
#include <string.h>

#define XXH_STATIC_LINKING_ONLY /* for the size of XXH3_state_t */
#include <xxhash.h>
#ifdef BATON_XXHASH_DISPATCH
/* Renames XXH3_* to what picks SSE2, AVX2 or AVX-512 when it first runs: the same values, three to
 * five times as fast over a batch. A distribution builds the plain ones for the oldest CPU. */
#include <xxh_x86dispatch.h>
#endif

#include <baton/status.h>

static_assert(sizeof(XXH128_canonical_t) == sizeof(baton_digest), "stored digests are canonical");
static_assert(sizeof(XXH3_state_t) <= sizeof(((baton_digest_stream *)0)->opaque),
              "a stream holds xxHash's state");
static_assert(_Alignof(baton_digest_stream) >= _Alignof(XXH3_state_t), "xxHash wants alignment");

static baton_digest canonical(XXH128_hash_t hash)
{
    XXH128_canonical_t bytes;
    baton_digest digest;
    XXH128_canonicalFromHash(&bytes, hash);
    memcpy(digest.bytes, bytes.digest, sizeof(digest.bytes));
    return digest;
}

baton_digest baton_digest_of(const void *bytes, size_t bytes_count)
{
    return canonical(XXH3_128bits(bytes, bytes_count));
}

baton_digest baton_digest_chain(baton_digest previous, const void *bytes, size_t bytes_count)
{
    baton_digest_stream stream;
    baton_digest_init(&stream);
    baton_digest_update(&stream, previous.bytes, sizeof(previous.bytes));
    baton_digest_update(&stream, bytes, bytes_count);
    return baton_digest_final(&stream);
}

bool baton_digest_equal(baton_digest a, baton_digest b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

bool baton_digest_is_zero(baton_digest digest)
{
    static const baton_digest zero;
    return baton_digest_equal(digest, zero);
}

static uint64_t big_endian_get(const uint8_t bytes[8])
{
    uint64_t value;
    memcpy(&value, bytes, sizeof(value));
    return be64toh(value);
}

static void big_endian_put(uint8_t bytes[8], uint64_t value)
{
    value = htobe64(value);
    memcpy(bytes, &value, sizeof(value));
}

uint64_t baton_digest_low64(baton_digest digest)
{
    return big_endian_get(digest.bytes + 8);
}

void baton_digest_add(baton_digest *sum, const void *item, size_t item_bytes)
{
    XXH128_hash_t hash = XXH3_128bits(item, item_bytes);
    big_endian_put(sum->bytes, big_endian_get(sum->bytes) + hash.high64);
    big_endian_put(sum->bytes + 8, big_endian_get(sum->bytes + 8) + hash.low64);
}

void baton_digest_remove(baton_digest *sum, const void *item, size_t item_bytes)
{
    XXH128_hash_t hash = XXH3_128bits(item, item_bytes);
    big_endian_put(sum->bytes, big_endian_get(sum->bytes) - hash.high64);
    big_endian_put(sum->bytes + 8, big_endian_get(sum->bytes + 8) - hash.low64);
}

char *baton_digest_text(baton_digest digest, char text[BATON_DIGEST_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof(digest.bytes); i++) {
        text[2 * i] = digits[digest.bytes[i] >> 4];
        text[2 * i + 1] = digits[digest.bytes[i] & 15];
    }
    text[BATON_DIGEST_TEXT_BYTES - 1] = '\0';
    return text;
}

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

int baton_digest_parse(const char *text, baton_digest *ret_digest)
{
    baton_digest digest;
    if (strnlen(text, BATON_DIGEST_TEXT_BYTES) != BATON_DIGEST_TEXT_BYTES - 1)
        return BATON_E_INVALID;
    for (size_t i = 0; i < sizeof(digest.bytes); i++) {
        int high = digit_value(text[2 * i]);
        int low = digit_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return BATON_E_INVALID;
        digest.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret_digest = digest;
    return 0;
}

/* ---- stream ---- */

void baton_digest_init(baton_digest_stream *stream)
{
    XXH3_128bits_reset((XXH3_state_t *)stream->opaque);
}

void baton_digest_update(baton_digest_stream *stream, const void *bytes, size_t bytes_count)
{
    if (bytes_count > 0)
        XXH3_128bits_update((XXH3_state_t *)stream->opaque, bytes, bytes_count);
}

baton_digest baton_digest_final(const baton_digest_stream *stream)
{
    return canonical(XXH3_128bits_digest((const XXH3_state_t *)stream->opaque));
}
