/* tests/unit/engine_fixture.h: a directory, an engine of the toy service in it, and what it
 * released. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "engine/run.h"
#include "tests/support/io_fault.h"
#include "tests/support/test_dir.h"
#include "tests/support/toy_service.h"

#define FIXTURE_EFFECTS_MAX 65536u
#define FIXTURE_HANG_NS     UINT64_C(120000000000) /* only bounds a hang */

typedef struct {
    uint64_t epoch;
    uint64_t seq;
    uint32_t index;
    uint32_t consumer;
    uint16_t type;
    bool resent;
} engine_seen;

typedef struct {
    test_dir dir;
    char path[TEST_PATH_BYTES + 16]; /* the service's directory */
    baton_engine_options options;
    baton_engine *engine;
    baton_hydrate_report report;
    baton_error error;
    uint64_t durable_broken_count; /* effects released before they were durable: must stay 0 (E8) */
    uint64_t turns_count;          /* calls of hooks.turn */
    engine_seen *seen;
    uint32_t seen_count;
    void (*on_release)(void *context,
                       const baton_effect *effect); /* a test's own, after it was noted */
    void *on_release_context;
} engine_fixture;

void engine_fixture_make(engine_fixture *fixture, const char *name);
/* Closes an engine that is still open, without asking how. */
void engine_fixture_remove(engine_fixture *fixture);

int engine_fixture_try_open(engine_fixture *fixture, const baton_service *service);
void engine_fixture_open(engine_fixture *fixture, const baton_service *service); /* must work */
void engine_fixture_close(engine_fixture *fixture);                              /* must work */

/* Entry number n of a fixed stream: the same for every run. */
toy_add engine_stream_entry(uint64_t n);
/* Submit it; turns the engine while there is no room. */
void engine_fixture_submit_stream(engine_fixture *fixture, uint64_t from_n, uint64_t to_n);
int engine_fixture_add(engine_fixture *fixture, uint32_t key, uint32_t amount);
int engine_fixture_burst(engine_fixture *fixture, uint32_t count, uint32_t bytes,
                         uint32_t consumer);
void engine_fixture_turn(engine_fixture *fixture);   /* one, up to 10 ms; must work */
void engine_fixture_settle(engine_fixture *fixture); /* until everything is released */
/* Seal, settle, handover record. */
void engine_fixture_hand_over(engine_fixture *fixture);
/* Ask, and turn until it is durable. */
int engine_fixture_finalize(engine_fixture *fixture);
/* Take one and turn until it is finished; returns its status. */
int engine_fixture_snapshot(engine_fixture *fixture);

/* Of a sweep over the operations of a disk: 1, or more under a sanitizer, where a life takes far
 * longer. */
uint64_t engine_sweep_stride(void);

/* What an uninterrupted run gives after n entries of the stream. */
typedef struct {
    baton_digest state;
    baton_digest effects;
    uint64_t effects_count;
    uint64_t outbox_bytes;
    uint64_t outbox_effects;
} engine_expected;
engine_expected *
engine_stream_expected(uint64_t entries_count); /* index 0 .. entries_count; free it */
void engine_assert_expected(engine_fixture *fixture, const engine_expected *expected);
/* And every counter, one by one, and the outbox, when nothing was confirmed. */
void engine_assert_uninterrupted(engine_fixture *fixture, const engine_expected *expected);

baton_engine_status engine_fixture_status(const engine_fixture *fixture);
uint32_t engine_fixture_snapshots_count(const engine_fixture *fixture);
/* XOR 0xff into one byte of the file. offset negative: from its end. */
void engine_damage(const char *path, long offset);
/* Path of the n-th newest snapshot's chunks or manifest; static buffer. */
const char *engine_snapshot_path(const engine_fixture *fixture, uint32_t n, const char *suffix);
/* Copy all files of one directory (not deep) into a new one. */
void engine_copy_directory(const char *from, const char *to);
