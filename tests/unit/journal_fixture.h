/* tests/unit/journal_fixture.h: what the tests of the journal's writer share. Assertions are
 * cmocka's. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <baton/journal.h>

#include "tests/support/io_fault.h"
#include "tests/support/test_dir.h"

#define FIXTURE_WAIT_NS UINT64_C(120000000000) /* only bounds a hang */

/* Says so when it is. */
bool fixture_uring_is_denied(void);

/* Small segments and batches, no ballast: many operations of every kind in little time. */
baton_journal_options fixture_options(void);

/* open + begin; both must work. */
baton_journal *fixture_begin(const char *directory, const baton_journal_options *options);
/* The same, or the first error; *ret_journal is NULL then. */
int fixture_try_begin(const char *directory, const baton_journal_options *options,
                      baton_journal **ret_journal);

/* The payload that an entry with this seq has in every test: 0..3,000 bytes. */
#define FIXTURE_PAYLOAD_MAX 3000u
uint32_t fixture_payload(uint64_t seq, uint8_t payload[FIXTURE_PAYLOAD_MAX]);
uint16_t fixture_type(uint64_t seq);
/* Append the next one; what append says. */
int fixture_append(baton_journal *journal);
/* Append count of them, polling when it is full, and wait until they are durable. */
void fixture_append_durable(baton_journal *journal, uint32_t count);

/* Read the journal at rest: exactly the entries first..last, with their own payloads. */
void fixture_expect(const char *directory, uint64_t first, uint64_t last);
/* Read it: the entries from 1 on, dense and right. Returns the last seq. */
uint64_t fixture_read_all(const char *directory);

/* Segment files in the directory: count, and the paths of the first and the last by name. */
uint32_t fixture_segments(const char *directory, char *ret_first, char *ret_last);
/* Reads up to bytes from offset; the bytes read. */
size_t fixture_read_file(const char *path, uint64_t offset, void *buffer, size_t bytes);
bool fixture_exists(const char *path);

/* A clock that stands still until it is moved. */
typedef struct {
    baton_clock clock;
    uint64_t monotonic_ns;
    uint64_t wall_ns;
} fixture_clock;
void fixture_clock_init(fixture_clock *clock);
