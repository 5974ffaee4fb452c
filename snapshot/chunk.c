/* snapshot/chunk.c: codecs, and which one pays (S5). */
#include "snapshot/chunk.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <lz4.h>

#include "base/assert.h"

static_assert(BATON_SNAPSHOT_CHUNK_BYTES_MAX <= LZ4_MAX_INPUT_SIZE, "a chunk is one LZ4 block");

#define DEVICE_ASSUMED_BYTES_PER_S UINT64_C(1000000000)
#define NS_PER_S                   UINT64_C(1000000000)
/* Below this a write takes as long as its flush, whatever its size: no measure of a rate. */
#define DEVICE_MEASURED_BYTES_MIN (UINT64_C(4) << 20)

int baton_chunk_encoder_init(baton_chunk_encoder *encoder, baton_compress compress,
                             uint32_t chunk_bytes, uint64_t device_bytes_per_s,
                             const baton_clock *clock)
{
    *encoder = (baton_chunk_encoder){
        .compress = compress,
        .clock = clock != NULL ? clock : baton_clock_system(),
        .device_bytes_per_s =
            device_bytes_per_s > 0 ? device_bytes_per_s : baton_chunk_device_bytes_per_s(),
    };
    if (compress == BATON_COMPRESS_RAW)
        return 0;
    encoder->scratch_bytes = (uint32_t)LZ4_compressBound((int)chunk_bytes);
    encoder->scratch = malloc(encoder->scratch_bytes);
    if (compress == BATON_COMPRESS_AUTO)
        encoder->back = malloc(chunk_bytes);
    if (encoder->scratch == NULL || (compress == BATON_COMPRESS_AUTO && encoder->back == NULL)) {
        baton_chunk_encoder_fini(encoder);
        return -ENOMEM;
    }
    return 0;
}

void baton_chunk_encoder_fini(baton_chunk_encoder *encoder)
{
    free(encoder->scratch);
    free(encoder->back);
    encoder->scratch = NULL;
    encoder->back = NULL;
}

static uint32_t compress(baton_chunk_encoder *encoder, const uint8_t *raw, uint32_t raw_bytes)
{
    int n = LZ4_compress_default((const char *)raw, (char *)encoder->scratch, (int)raw_bytes,
                                 (int)encoder->scratch_bytes);
    baton_assert(n > 0); /* scratch has room for the worst case */
    return (uint32_t)n;
}

/* Compresses and decompresses by the clock, and decides. Returns the compressed size. */
static uint32_t measure(baton_chunk_encoder *encoder, const uint8_t *raw, uint32_t raw_bytes)
{
    const uint64_t begun_ns = baton_clock_monotonic_ns(encoder->clock);
    const uint32_t stored_bytes = compress(encoder, raw, raw_bytes);
    int n = LZ4_decompress_safe((const char *)encoder->scratch, (char *)encoder->back,
                                (int)stored_bytes, (int)raw_bytes);
    const uint64_t done_ns = baton_clock_monotonic_ns(encoder->clock);
    baton_assert(n == (int)raw_bytes);

    const baton_chunk_measured measured = {
        .raw_bytes = raw_bytes,
        .stored_bytes = stored_bytes,
        .lz4_ns = done_ns - begun_ns,
        .device_bytes_per_s = encoder->device_bytes_per_s,
    };
    encoder->auto_lz4 = baton_chunk_prefers_lz4(&measured);
    return stored_bytes;
}

bool baton_chunk_prefers_lz4(const baton_chunk_measured *measured)
{
    const uint64_t raw_units = baton_snapshot_padded(measured->raw_bytes);
    const uint64_t lz4_units = baton_snapshot_padded(measured->stored_bytes);
    if (lz4_units >= raw_units)
        return false;
    /* Written once, read once; saved bytes are at most 4 MiB, so nothing overflows. */
    return measured->lz4_ns < 2 * (raw_units - lz4_units) * NS_PER_S / measured->device_bytes_per_s;
}

void baton_chunk_encode(baton_chunk_encoder *encoder, const uint8_t *raw, uint32_t raw_bytes,
                        baton_snapshot_chunk *chunk, const uint8_t **ret_stored)
{
    const uint64_t number = encoder->chunks_done++;
    uint32_t lz4_bytes = UINT32_MAX;
    switch (encoder->compress) {
    case BATON_COMPRESS_RAW:
        break;
    case BATON_COMPRESS_LZ4:
        lz4_bytes = compress(encoder, raw, raw_bytes);
        break;
    case BATON_COMPRESS_AUTO:
        if (number % BATON_CHUNK_MEASURE_EVERY == 0)
            lz4_bytes = measure(encoder, raw, raw_bytes);
        else if (encoder->auto_lz4)
            lz4_bytes = compress(encoder, raw, raw_bytes);
        if (!encoder->auto_lz4)
            lz4_bytes = UINT32_MAX;
        break;
    }
    const bool lz4 = lz4_bytes < raw_bytes;
    chunk->raw_bytes = raw_bytes;
    chunk->stored_bytes = lz4 ? lz4_bytes : raw_bytes;
    chunk->codec = lz4 ? BATON_CODEC_LZ4 : BATON_CODEC_RAW;
    *ret_stored = lz4 ? encoder->scratch : raw;
}

bool baton_chunk_digest_fits(const baton_snapshot_chunk *chunk, const uint8_t *stored)
{
    const baton_digest digest = baton_digest_of(stored, baton_snapshot_padded(chunk->stored_bytes));
    return baton_digest_equal(digest, chunk->digest);
}

bool baton_chunk_decompress(const baton_snapshot_chunk *chunk, const uint8_t *stored, uint8_t *raw)
{
    baton_assert(chunk->codec == BATON_CODEC_LZ4);
    int n = LZ4_decompress_safe((const char *)stored, (char *)raw, (int)chunk->stored_bytes,
                                (int)chunk->raw_bytes);
    return n >= 0 && (uint32_t)n == chunk->raw_bytes;
}

/* ---- the device's rate ---- */

static _Atomic uint64_t device_bytes_per_s = DEVICE_ASSUMED_BYTES_PER_S;

uint64_t baton_chunk_device_bytes_per_s(void)
{
    return atomic_load_explicit(&device_bytes_per_s, memory_order_relaxed);
}

void baton_chunk_device_measured(uint64_t bytes, uint64_t ns)
{
    if (bytes < DEVICE_MEASURED_BYTES_MIN || ns == 0)
        return;
    const double rate = (double)bytes * (double)NS_PER_S / (double)ns;
    const uint64_t rounded = rate < 1.0 ? 1 : (uint64_t)rate;
    atomic_store_explicit(&device_bytes_per_s, rounded, memory_order_relaxed);
}
