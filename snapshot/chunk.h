/* snapshot/chunk.h: one piece of the raw stream and what stands on disk for it. */
#pragma once

#include "snapshot/format.h"

/* Turns raw pieces into stored ones. AUTO measures LZ4 on one chunk out of
 * BATON_CHUNK_MEASURE_EVERY and lets the next ones follow what was faster there: its own cost is
 * bounded, and it notices when the data changes. */
#define BATON_CHUNK_MEASURE_EVERY 16u

typedef struct {
    baton_compress compress;
    const baton_clock *clock;
    uint64_t device_bytes_per_s;
    uint64_t chunks_done;
    bool auto_lz4;    /* what the last measured chunk decided */
    uint8_t *scratch; /* room for LZ4's worst case; NULL when RAW */
    uint8_t *back;    /* chunk_bytes: measured chunks are decompressed again; NULL unless AUTO */
    uint32_t scratch_bytes;
} baton_chunk_encoder;

BATON_MUST_USE int baton_chunk_encoder_init(baton_chunk_encoder *encoder, baton_compress compress,
                                            uint32_t chunk_bytes, uint64_t device_bytes_per_s,
                                            const baton_clock *clock);
void baton_chunk_encoder_fini(baton_chunk_encoder *encoder);
/* Sets stored_bytes, raw_bytes and codec. *ret_stored points into raw or into the encoder, until
 * its next call. What LZ4 does not make smaller is stored raw, also when LZ4 was asked for. */
void baton_chunk_encode(baton_chunk_encoder *encoder, const uint8_t *raw, uint32_t raw_bytes,
                        baton_snapshot_chunk *chunk, const uint8_t **ret_stored);

/* S5. End to end is compress, write, read back and decompress, the device taking both ways at
 * one rate. */
typedef struct {
    uint32_t raw_bytes;
    uint32_t stored_bytes; /* by LZ4 */
    uint64_t lz4_ns;       /* compressing and decompressing */
    uint64_t device_bytes_per_s;
} baton_chunk_measured;
bool baton_chunk_prefers_lz4(const baton_chunk_measured *measured);

/* stored holds the padded chunk. False: its digest does not fit. */
bool baton_chunk_digest_fits(const baton_snapshot_chunk *chunk, const uint8_t *stored);
/* LZ4 only: exactly raw_bytes into raw. False: that is not what the stored bytes decode to. */
bool baton_chunk_decompress(const baton_snapshot_chunk *chunk, const uint8_t *stored, uint8_t *raw);

/* How fast this process's last publisher wrote to its device, flush included; before the first
 * one 1 GB/s is assumed. Any thread. */
uint64_t baton_chunk_device_bytes_per_s(void);
void baton_chunk_device_measured(uint64_t bytes, uint64_t ns);
