/* A whole journal, one of its segments recycled, with bytes of the input written over it: recovery
 * and the reader neither crash nor return a wrong entry.
 *
 * Input: patches, each {segment 0..3, unit, offset in the unit / 16, count, count bytes}; a count
 * of 0 zeroes the unit, 255 truncates the file there, 254 gives what stands in the unit a digest
 * that fits: the checks behind the digests are reached too. After that the entries are whatever the
 * input says; without it they must be the ones that were written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/io.h"
#include "journal/recover.h"
#include "tests/support/io_fault.h"
#include "tests/support/journal_builder.h"
#include "tests/support/test_dir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define FUZZ_SEGMENT_BYTES (12 * BATON_IO_UNIT)

static test_dir dir;
static journal_builder builder;
static char paths[4][BUILDER_PATH_BYTES];
static uint8_t saved[4][FUZZ_SEGMENT_BYTES];
static bool forged; /* a digest was made to fit */

static void remove_dir(void)
{
    test_dir_remove(&dir);
}

static void make_once(void)
{
    if (builder.epoch != 0)
        return;
    test_dir_make(&dir, "journal_fuzz");
    (void)atexit(remove_dir);
    builder_init(&builder, test_path(&dir, "j"));
    builder.segment_bytes = FUZZ_SEGMENT_BYTES;
    builder_epoch(&builder, 1);
    for (uint32_t i = 0; i < 4; i++)
        builder_batch(&builder, i % 2 == 0 ? 3 : 120); /* one unit, and two */
    builder_mark(&builder, 0);
    builder_roll(&builder);
    builder_batch(&builder, 3);
    builder_batch(&builder, 2);
    builder_mark(&builder, 0);
    builder_recycle(&builder, 1); /* retires the first one */
    builder_batch(&builder, 4);
    builder_batch(&builder, 1);
    builder_mark(&builder, 0);
    for (uint64_t epoch = 2; epoch <= 3; epoch++) {
        builder_epoch(&builder, epoch);
        builder_batch(&builder, 4);
        builder_mark(&builder, epoch == 3 ? BATON_BATCH_CLOSE : 0);
    }
    for (uint64_t i = 0; i < 4; i++) {
        const uint64_t epoch = i < 2 ? 1 : i;
        (void)snprintf(paths[i], sizeof(paths[i]), "%s", builder_path(&builder, epoch, i + 2));
        builder_read(paths[i], 0, saved[i], FUZZ_SEGMENT_BYTES);
    }
}

static void forge(const char *path, uint64_t unit)
{
    static uint8_t bytes[FUZZ_SEGMENT_BYTES] __attribute__((aligned(BATON_IO_UNIT)));
    uint8_t *at = bytes + unit * BATON_IO_UNIT;
    baton_batch_header *batch = (baton_batch_header *)(void *)at;
    uint32_t batch_bytes = BATON_IO_UNIT;

    builder_read(path, 0, bytes, sizeof(bytes));
    if (unit == 0)
        baton_segment_header_seal((baton_segment_header *)(void *)at);
    else if (unit == FUZZ_SEGMENT_BYTES / BATON_IO_UNIT - 1)
        baton_segment_trailer_seal((baton_segment_trailer *)(void *)at);
    else if (baton_batch_plausible(batch, &batch_bytes) &&
             batch_bytes <= FUZZ_SEGMENT_BYTES - unit * BATON_IO_UNIT)
        (void)baton_batch_seal(batch);
    builder_write(path, unit * BATON_IO_UNIT, at, BATON_IO_UNIT);
    forged = true;
}

static void patch(const uint8_t *data, size_t bytes)
{
    forged = false;
    while (bytes >= 4) {
        const char *path = paths[data[0] % 4];
        uint64_t unit = data[1] % 12;
        uint64_t at = unit * BATON_IO_UNIT + data[2] * 16u;
        size_t count = data[3];
        if (count == 255) {
            builder_truncate(path, at);
            builder_truncate(path, FUZZ_SEGMENT_BYTES); /* the rest reads as zeros */
            count = 0;
        } else if (count == 254) {
            forge(path, unit);
            count = 0;
        } else if (count == 0) {
            builder_zero(path, unit * BATON_IO_UNIT, BATON_IO_UNIT);
        } else {
            count = count < bytes - 4 ? count : bytes - 4;
            count = count < FUZZ_SEGMENT_BYTES - at ? count : FUZZ_SEGMENT_BYTES - at;
            builder_write(path, at, data + 4, count);
        }
        data += 4 + count;
        bytes -= 4 + count;
    }
}

static void read_all(io_fault *fault, uint64_t last_seq)
{
    const baton_reader_options options = {.io_backend = io_fault_backend(), .io_context = fault};
    baton_reader *reader;
    baton_entry entry;
    uint64_t seq = 0;

    if (baton_reader_open(builder.directory, &options, &reader, NULL) < 0)
        return;
    while (baton_reader_next(reader, &entry, NULL) == 1) {
        baton_assert(forged || builder_entry_is_right(&entry));
        baton_assert(seq == 0 || entry.seq == seq + 1);
        seq = entry.seq;
    }
    baton_assert(forged || seq <= last_seq);
    baton_reader_close(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    io_fault *fault = io_fault_new();
    baton_io_options options = {.custom = io_fault_backend(), .custom_context = fault};
    const baton_recover_options recover = {.from_seq = bytes > 0 ? data[0] % 20 : 0};
    baton_recovery recovery;
    baton_io *io;

    make_once();
    patch(data, bytes < 4096 ? bytes : 4096);
    baton_assert(baton_io_open(&options, &io, NULL) == 0);
    int r = baton_recover(io, builder.directory, &recover, &recovery, NULL);
    baton_assert(r == 0 || r == BATON_E_DAMAGED || r == BATON_E_NEWER_FORMAT ||
                 (forged && r == BATON_E_OTHER_JOURNAL)); /* a header with another id */
    baton_assert(forged || recovery.report.last.seq <= builder.last.seq);
    baton_recovery_fini(&recovery);
    baton_io_close(io);
    if (r == 0)
        read_all(fault, builder.last.seq);
    io_fault_free(fault);
    for (uint32_t i = 0; i < 4; i++)
        builder_write(paths[i], 0, saved[i], FUZZ_SEGMENT_BYTES);
    return 0;
}
