#include "bench/micro.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/common.h"
#include "journal/format.h"

static uint8_t *batch;
static uint8_t *valid; /* a sealed batch of the size asked for last */
static uint32_t valid_bytes;
static uint32_t used;
static baton_histogram *histogram;

int micro_open(void)
{
    size_t bytes = BENCH_BATCH_BYTES_MAX;
    if (posix_memalign((void **)&batch, BENCH_UNIT_BYTES, bytes) != 0 ||
        posix_memalign((void **)&valid, BENCH_UNIT_BYTES, bytes) != 0)
        return -ENOMEM;
    memset(batch, 0, bytes);
    used = sizeof(baton_batch_header);
    return baton_histogram_create(&histogram);
}

static void encode(uint8_t *frame)
{
    static const uint8_t payload[BENCH_ENTRY_BYTES] = {1};
    baton_frame_header header = {.payload_bytes = baton_le32_put(BENCH_ENTRY_BYTES),
                                 .type = baton_le16_put(1),
                                 .time_ns = baton_le64_put(used)};
    memcpy(frame, &header, sizeof(header));
    memcpy(frame + sizeof(header), payload, sizeof(payload));
}

void micro_encode(void)
{
    if (used + BENCH_FRAME_BYTES > BENCH_BATCH_BYTES_MAX)
        used = sizeof(baton_batch_header);
    encode(batch + used);
    used += BENCH_FRAME_BYTES;
}

uint64_t micro_digest(uint32_t bytes)
{
    batch[0]++;
    return baton_digest_low64(baton_digest_of(batch, bytes));
}

int micro_check(uint32_t bytes)
{
    if (valid_bytes != bytes) {
        uint64_t entries = bench_batch_entries(bytes);
        uint32_t all = (uint32_t)(sizeof(baton_batch_header) + entries * BENCH_FRAME_BYTES);
        baton_batch_header header = {.version = baton_le16_put(BATON_JOURNAL_VERSION),
                                     .entry_count = baton_le32_put((uint32_t)entries),
                                     .batch_bytes = baton_le32_put(bytes),
                                     .used_bytes = baton_le32_put(all),
                                     .epoch = baton_le64_put(1),
                                     .batch = baton_le64_put(1),
                                     .first_seq = baton_le64_put(1)};
        memcpy(valid, &header, sizeof(header));
        for (uint32_t at = sizeof(header); at < all; at += BENCH_FRAME_BYTES)
            encode(valid + at);
        (void)baton_batch_seal((baton_batch_header *)valid);
        valid_bytes = bytes;
    }
    baton_digest digest;
    return baton_batch_check(valid, bytes, &digest) == BATON_UNIT_VALID;
}

void micro_histogram(uint64_t value)
{
    baton_histogram_record(histogram, value);
}

uint64_t micro_clock(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}
