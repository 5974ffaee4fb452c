/* tests/unit/snapshot_fixture.h: what the snapshot tests share: a made-up service's state,
 * packed and published. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "snapshot/store.h"
#include "tests/support/io_fault.h"
#include "tests/support/test_dir.h"

typedef struct {
    uint64_t seq;
    uint64_t epoch;
    baton_compress compress;
    uint32_t chunk_bytes;
    uint32_t rows; /* of section "orders", about 60 bytes each */
    uint32_t
        blobs_mib; /* of section "blobs", which fixture_check does not read: much data, quickly packed */
} fixture_wish;

baton_io *fixture_io(baton_io_choice choice); /* never NULL */
/* All fields set, the same every time. */
baton_snapshot_info fixture_info(uint64_t seq, uint64_t epoch);
/* Sections "orders", "accounts" (always 3 rows) and "empty". */
void fixture_pack(baton_snapshot_writer *writer, uint32_t rows);
/* Created, packed and finished. */
baton_snapshot_writer *fixture_writer(const fixture_wish *wish, baton_snapshot_info *ret_info);
/* Published in directory; must succeed. */
void fixture_publish(baton_io *io, const char *directory, const fixture_wish *wish);
/* The one of this seq out of the listing; status 0 or the test fails. */
baton_snapshot_listed fixture_listed(baton_io *io, const char *directory, uint64_t seq);
/* Reads every row and compares it with what fixture_pack wrote. */
void fixture_check(baton_snapshot_reader *reader, uint32_t rows);

/* An io whose operations fail as `fault` is told. */
baton_io *fixture_fault_io(io_fault *fault, uint32_t ops_max);
/* The number of snapshots there, each of which must be whole. */
uint32_t fixture_whole(baton_io *io, const char *directory);

/* Whole files; fail the test when they can not. read: malloc'ed. */
uint8_t *fixture_read(const char *path, size_t *ret_bytes);
void fixture_write(const char *path, const void *bytes, size_t bytes_count);
/* How many directory entries there are. */
uint32_t fixture_files(const char *directory);
