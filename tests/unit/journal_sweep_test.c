/* Every meaningful byte flipped, every unit zeroed, every length cut to: never a wrong entry, never
 * an entry lost without a word. Under a sanitizer the byte sweeps take steps; their phase is the
 * seed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "tests/unit/journal_look.h"

typedef struct {
    uint64_t epoch;
    uint64_t index;
    uint64_t offset;
    uint32_t used_bytes; /* the meaningful ones; what follows in the unit is sampled */
    enum { IN_HEADER, IN_BATCH, IN_TRAILER } kind;
    uint64_t batch; /* its number, or of the last one before it */
} sweep_place;

#define PLACES_MAX 64

typedef struct {
    test_dir dir;
    journal_builder builder;
    sweep_place places[PLACES_MAX];
    uint32_t places_count;
    uint64_t proven_batch; /* by something else than its own bytes */
    uint64_t proven_seq;
} journal_sweep;

static void note(journal_sweep *sweep, int kind, uint64_t offset, uint32_t used_bytes)
{
    const journal_builder *builder = &sweep->builder;
    assert_true(sweep->places_count < PLACES_MAX);
    sweep_place *at = &sweep->places[sweep->places_count++];
    *at = (sweep_place){.epoch = builder->epoch,
                        .index = builder->index,
                        .offset = offset,
                        .used_bytes = used_bytes,
                        .batch = builder->last.batch};
    at->kind = kind == 0 ? IN_HEADER : kind == 1 ? IN_BATCH : IN_TRAILER;
}

static void add_epoch(journal_sweep *sweep, uint64_t epoch)
{
    builder_epoch(&sweep->builder, epoch);
    note(sweep, 0, 0, 360);
}

static void add_roll(journal_sweep *sweep)
{
    note(sweep, 2, sweep->builder.segment_bytes - BATON_IO_UNIT, 200);
    builder_roll(&sweep->builder);
    note(sweep, 0, 0, 360);
}

static void add_batch(journal_sweep *sweep, uint32_t entries_count)
{
    uint64_t offset = builder_batch(&sweep->builder, entries_count);
    note(sweep, 1, offset, 128 + entries_count * 60);
}

static void add_mark(journal_sweep *sweep, uint16_t flags)
{
    uint64_t offset = builder_mark(&sweep->builder, flags);
    note(sweep, 1, offset, 128);
}

/* Two epochs of two segments each, with all that a journal can hold. */
static void make_journal(journal_sweep *sweep, bool closed)
{
    builder_init(&sweep->builder, test_path(&sweep->dir, "j"));
    sweep->builder.segment_bytes = 12 * BATON_IO_UNIT;
    sweep->places_count = 0;
    add_epoch(sweep, 1);
    add_batch(sweep, 3);
    add_batch(sweep, 1);
    add_mark(sweep, 0);
    add_roll(sweep);
    add_batch(sweep, 2);
    baton_root_wire root = {.seq = baton_le64_put(5), .root = {9}};
    uint64_t offset = builder_record(&sweep->builder, BATON_RECORD_ROOT, &root, sizeof(root));
    note(sweep, 1, offset, 128 + 40);
    add_epoch(sweep, 2);
    add_batch(sweep, 4);
    add_roll(sweep);
    add_batch(sweep, 2);
    add_mark(sweep, 0);
    sweep->proven_batch = sweep->builder.last.batch; /* by what follows */
    sweep->proven_seq = sweep->builder.last.seq;
    if (closed) {
        add_mark(sweep, BATON_BATCH_CLOSE);
        note(sweep, 2, sweep->builder.segment_bytes - BATON_IO_UNIT, 200);
        builder_trailer(&sweep->builder, BATON_BATCH_CLOSE);
        sweep->proven_batch = sweep->builder.last.batch;
    } else {
        add_mark(sweep, 0);
        sweep->builder.keep_durable = true; /* two in flight when it died */
        add_batch(sweep, 3);
        add_batch(sweep, 3);
    }
}

static int setup(void **state)
{
    static journal_sweep sweep;
    test_dir_make(&sweep.dir, "journal_sweep");
    *state = &sweep;
    return 0;
}

static int teardown(void **state)
{
    journal_sweep *sweep = *state;
    test_dir_remove(&sweep->dir);
    return 0;
}

/* look_at has checked every entry that was returned. Here: nothing proven is missing without a
 * word, and the word names the place. */
static void judge(const journal_sweep *sweep, const sweep_place *place, const journal_look *look)
{
    const char *path = builder_path(&sweep->builder, place->epoch, place->index);
    bool proven = place->kind == IN_HEADER
                      ? place->batch < sweep->proven_batch
                      : place->kind == IN_BATCH && place->batch <= sweep->proven_batch;

    if (look->status == 0) {
        assert_true(look->entries >= sweep->proven_seq);
        assert_false(proven);
        return;
    }
    assert_int_equal(look->status, BATON_E_DAMAGED);
    assert_true(proven);
    assert_string_equal(look->error.path, path);
    assert_int_equal(look->error.offset, place->offset);
    assert_true(look->report.last.batch < sweep->proven_batch);
}

static uint32_t sweep_step(void)
{
    const char *sanitize = getenv("BATON_SANITIZE");
    const char *step = getenv("BATON_SWEEP_STEP");
    if (step != NULL)
        return (uint32_t)atoi(step);
    return sanitize != NULL && sanitize[0] != '\0' ? 41 : 13;
}

static void flip_all(journal_sweep *sweep)
{
    const uint32_t step = sweep_step();
    const char *seed_text = getenv("BATON_SEED");
    uint32_t seed =
        seed_text != NULL ? (uint32_t)strtoul(seed_text, NULL, 10) : (uint32_t)time(NULL);
    uint32_t phase = seed % step;

    print_message("every byte %u of %u; to repeat: BATON_SEED=%u BATON_SWEEP_STEP=%u\n", phase,
                  step, seed, step);
    for (uint32_t p = 0; p < sweep->places_count; p++) {
        const sweep_place *place = &sweep->places[p];
        const char *path = builder_path(&sweep->builder, place->epoch, place->index);
        for (uint32_t i = phase; i < BATON_IO_UNIT; i += i < place->used_bytes ? step : 89 * step) {
            builder_flip(path, place->offset + i, i % 8);
            journal_look look = look_at(sweep->builder.directory);
            judge(sweep, place, &look);
            builder_flip(path, place->offset + i, i % 8);
        }
    }
    journal_look look = look_at(sweep->builder.directory);
    assert_int_equal(look.status, 0);
}

static void every_flip_in_a_closed_journal_is_damage_or_loses_nothing(void **state)
{
    journal_sweep *sweep = *state;
    make_journal(sweep, true);
    flip_all(sweep);
}

static void every_flip_in_a_crashed_journal_is_damage_or_a_torn_tail(void **state)
{
    journal_sweep *sweep = *state;
    make_journal(sweep, false);
    flip_all(sweep);
}

static void every_zeroed_or_garbage_unit_is_damage_or_loses_nothing(void **state)
{
    journal_sweep *sweep = *state;
    uint8_t saved[BATON_IO_UNIT];
    uint8_t garbage[BATON_IO_UNIT];

    make_journal(sweep, true);
    memset(garbage, 0x5a, sizeof(garbage));
    for (uint32_t p = 0; p < sweep->places_count; p++) {
        const sweep_place *place = &sweep->places[p];
        const char *path = builder_path(&sweep->builder, place->epoch, place->index);
        builder_read(path, place->offset, saved, sizeof(saved));
        for (int how = 0; how < 2; how++) {
            if (how == 0)
                builder_zero(path, place->offset, sizeof(saved));
            else
                builder_write(path, place->offset, garbage, sizeof(garbage));
            journal_look look = look_at(sweep->builder.directory);
            judge(sweep, place, &look);
        }
        builder_write(path, place->offset, saved, sizeof(saved));
    }
}

/* A flip where nothing was ever written: behind an accepted end it is at most a torn byte. */
static void flips_in_unused_units_lose_nothing(void **state)
{
    journal_sweep *sweep = *state;

    make_journal(sweep, true);
    for (uint64_t index = 1; index <= 4; index++) {
        const char *path = builder_path(&sweep->builder, index <= 2 ? 1 : 2, index);
        uint64_t offset = 8 * BATON_IO_UNIT + 77 * index;
        builder_flip(path, offset, 3);
        journal_look look = look_at(sweep->builder.directory);
        assert_int_equal(look.status, 0);
        assert_int_equal(look.entries, sweep->proven_seq);
        builder_flip(path, offset, 3);
    }
}

static void every_length_that_a_file_is_cut_to_is_damage_or_loses_nothing(void **state)
{
    journal_sweep *sweep = *state;
    const uint64_t bytes_all = 12 * BATON_IO_UNIT;
    uint8_t *saved = test_malloc(bytes_all);

    make_journal(sweep, true);
    for (uint64_t index = 1; index <= 4; index++) {
        const char *path = builder_path(&sweep->builder, index <= 2 ? 1 : 2, index);
        builder_read(path, 0, saved, bytes_all);
        for (uint64_t bytes = 0; bytes < bytes_all; bytes += BATON_IO_UNIT / 2) {
            builder_truncate(path, bytes);
            journal_look look = look_at(sweep->builder.directory);
            if (look.status == 0 && index < 4)
                assert_int_equal(look.entries, sweep->proven_seq);
            else if (look.status == 0) /* the last file is its own only proof */
                assert_true(look.entries >= 10 && look.entries <= sweep->proven_seq);
            else
                assert_int_equal(look.status, BATON_E_DAMAGED);
        }
        builder_truncate(path, bytes_all);
        builder_write(path, 0, saved, bytes_all);
    }
    test_free(saved);
    assert_int_equal(look_at(sweep->builder.directory).entries, sweep->proven_seq);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_flip_in_a_closed_journal_is_damage_or_loses_nothing),
        TEST(every_flip_in_a_crashed_journal_is_damage_or_a_torn_tail),
        TEST(every_zeroed_or_garbage_unit_is_damage_or_loses_nothing),
        TEST(flips_in_unused_units_lose_nothing),
        TEST(every_length_that_a_file_is_cut_to_is_damage_or_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
