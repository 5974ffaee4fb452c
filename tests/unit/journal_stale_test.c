/* J4, J5: a recycled segment still holds what it held before. It is no torn tail and no evidence; what
 * its writer began in it is both, as everywhere. Each journal is built byte by byte. */
#include <stdio.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/journal_look.h"

typedef struct {
    test_dir dir;
    journal_builder builder;
} stale_fixture;

static int setup(void **state)
{
    static stale_fixture fixture;
    test_dir_make(&fixture.dir, "journal_stale");
    builder_init(&fixture.builder, test_path(&fixture.dir, "j"));
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    stale_fixture *fixture = *state;
    test_dir_remove(&fixture->dir);
    return 0;
}

#define BUILDER(state) (&((stale_fixture *)*(state))->builder)
#define UNIT           4096u

static const char *path_of(const journal_builder *builder, uint64_t index)
{
    return builder_path(builder, builder->epoch, index);
}

/* Segment 1 full of batches, large and small; segment 2; and segment 3, made of the file of segment
 * 1. Batches 1..12 are retired, 13 and 14 stand in segment 2. */
#define LARGE           120u /* entries: two units */
#define RETIRED_BATCHES 12u
#define RETIRED_ENTRIES (3 + 9 * LARGE)
static void build_recycled(journal_builder *builder)
{
    builder_epoch(builder, 1);
    for (uint32_t i = 0; i < RETIRED_BATCHES; i++)
        builder_batch(builder, i % 4 == 0 ? 1 : LARGE);
    assert_int_equal(builder->last.seq, RETIRED_ENTRIES);
    builder_roll(builder);
    builder_batch(builder, 2);
    builder_batch(builder, 2);
    builder_recycle(builder, 1);
}

/* Entries that are there: all but those of segment 1. */
static uint64_t entries_of(const journal_builder *builder)
{
    return builder->last.seq - RETIRED_ENTRIES;
}

static void copy_unit(const char *path, uint64_t offset, uint8_t unit[UNIT])
{
    builder_read(path, offset, unit, UNIT);
}

static bool has_stale_bytes(const char *path, uint64_t offset)
{
    static const uint8_t zero[UNIT];
    uint8_t unit[UNIT];
    builder_read(path, offset, unit, UNIT);
    return memcmp(unit, zero, UNIT) != 0;
}

static void assert_damaged_at(const journal_look *look, const char *path, uint64_t offset)
{
    assert_int_equal(look->status, BATON_E_DAMAGED);
    assert_string_equal(look->error.path, path);
    assert_int_equal(look->error.offset, offset);
}

/* ---- no torn tail ---- */

static void stale_batches_behind_the_end_are_no_torn_tail(void **state)
{
    journal_builder *builder = BUILDER(state);

    build_recycled(builder);
    for (int i = 0; i < 6; i++) { /* ends on a stale header, and inside a stale batch */
        builder_batch(builder, i % 2 == 0 ? 3 : LARGE);
        assert_true(has_stale_bytes(path_of(builder, 3), builder->offset));
        journal_look look = look_at(builder->directory);
        assert_int_equal(look.status, 0);
        assert_int_equal(look.entries, entries_of(builder));
        assert_int_equal(look.report.torn_cut, 0);
        assert_int_equal(look.report.last.batch, builder->last.batch);
        assert_int_equal(look.report.evidence.batch, builder->last.batch - 2);
    }
}

static void a_recycled_segment_with_no_batch_yet_is_no_torn_tail(void **state)
{
    journal_builder *builder = BUILDER(state);

    build_recycled(builder);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, entries_of(builder));
    assert_int_equal(look.report.torn_cut, 0);
    assert_int_equal(look.accepted, 2);
}

static void a_closed_recycled_segment_is_proven_to_its_end(void **state)
{
    journal_builder *builder = BUILDER(state);

    build_recycled(builder);
    builder_batch(builder, 3);
    builder_mark(builder, BATON_BATCH_CLOSE);
    builder_trailer(builder, BATON_BATCH_CLOSE);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_true(look.recovery.closed);
    assert_int_equal(look.report.unproven, 0);
    assert_int_equal(look.report.torn_cut, 0);
}

static void the_walk_goes_on_behind_stale_bytes_to_the_next_segment(void **state)
{
    journal_builder *builder = BUILDER(state);

    build_recycled(builder);
    builder_batch(builder, 3);
    builder_recycle(builder, 2); /* one recycled segment after the other */
    builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    builder_mark(builder, 0);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 9);
    assert_int_equal(look.accepted, 3);
    assert_int_equal(look.report.torn_cut, 0);
}

static void what_stood_there_two_lives_ago_is_stale_too(void **state)
{
    journal_builder *builder = BUILDER(state);

    build_recycled(builder); /* segment 3 of 1 */
    builder_batch(builder, 1);
    builder_roll(builder); /* 4 */
    builder_batch(builder, 1);
    assert_int_equal(unlink(path_of(builder, 2)), 0);
    builder_recycle(builder, 3); /* 5 of 3 of 1 */
    builder_batch(builder, 1);
    assert_true(has_stale_bytes(path_of(builder, 5), builder->offset));
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 2);
    assert_int_equal(look.report.torn_cut, 0);
}

/* ---- torn ---- */

/* The first of its two units landed: it says how far it reaches, and all of that is kept aside. */
static void a_torn_batch_over_stale_bytes_is_torn_as_far_as_it_says(void **state)
{
    journal_builder *builder = BUILDER(state);
    uint8_t unit[UNIT];

    build_recycled(builder);
    builder_batch(builder, 3);
    builder_place place = builder_here(builder);
    uint64_t offset = builder->offset;
    copy_unit(path_of(builder, 3), offset + UNIT, unit);
    assert_int_equal(builder_batch(builder, LARGE), offset);
    assert_int_equal(builder->offset, offset + 2 * UNIT);
    builder_write(path_of(builder, 3), offset + UNIT, unit, UNIT);
    builder_go_back(builder, &place);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, entries_of(builder));
    assert_int_equal(look.report.torn_cut, 2 * UNIT);
    assert_int_equal(look.recovery.torn_count, 1);
    assert_int_equal(look.recovery.torn_index, 3);
    assert_int_equal(look.recovery.torn_offset, offset);
}

/* Only the first sector landed: its header is whole, the rest of the unit is not its own. */
static void a_batch_of_which_only_a_sector_landed_is_torn(void **state)
{
    journal_builder *builder = BUILDER(state);
    uint8_t unit[UNIT];

    build_recycled(builder);
    builder_place place = builder_here(builder);
    copy_unit(path_of(builder, 3), builder->offset, unit);
    uint64_t offset = builder_batch(builder, 40); /* one unit, nearly full */
    builder_write(path_of(builder, 3), offset + 512, unit + 512, UNIT - 512);
    builder_go_back(builder, &place);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.report.torn_cut, UNIT);
    assert_int_equal(look.recovery.torn_offset, offset);
}

/* Without its header nothing tells it from what was there before. */
static void a_torn_batch_without_its_first_unit_is_not_seen(void **state)
{
    journal_builder *builder = BUILDER(state);
    uint8_t unit[UNIT];

    build_recycled(builder);
    builder_batch(builder, 3);
    builder_place place = builder_here(builder);
    copy_unit(path_of(builder, 3), builder->offset, unit);
    uint64_t offset = builder_batch(builder, LARGE);
    builder_write(path_of(builder, 3), offset, unit, UNIT);
    builder_go_back(builder, &place);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, entries_of(builder));
    assert_int_equal(look.report.torn_cut, 0);
}

static void a_hole_in_flight_is_cut_with_what_landed_behind_it(void **state)
{
    journal_builder *builder = BUILDER(state);
    uint8_t unit[UNIT];

    build_recycled(builder);
    builder_batch(builder, 3);
    builder_all_durable(builder);
    builder->keep_durable = true; /* three in flight at once */
    builder_place place = builder_here(builder);
    copy_unit(path_of(builder, 3), builder->offset, unit);
    uint64_t hole = builder_batch(builder, 3);
    builder_batch(builder, LARGE);
    builder_batch(builder, 3);
    builder_write(path_of(builder, 3), hole, unit, UNIT);
    builder_go_back(builder, &place);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, entries_of(builder));
    assert_int_equal(look.report.torn_cut, 3 * UNIT);
    assert_int_equal(look.recovery.torn_offset, hole + UNIT);
    assert_int_equal(look.report.evidence.batch, place.last.batch);
}

/* The header of the segment is as much in flight as its first batches. */
static void first_batches_without_a_header_are_torn(void **state)
{
    journal_builder *builder = BUILDER(state);

    for (int torn_header = 0; torn_header < 2; torn_header++) {
        char directory[BUILDER_PATH_BYTES];
        (void)snprintf(directory, sizeof(directory), "%.500s-%d", builder->directory, torn_header);
        journal_builder two;
        builder_init(&two, directory);
        build_recycled(&two);
        two.keep_durable = true;
        builder_place place = builder_here(&two);
        builder_batch(&two, 3);
        uint64_t end = builder_batch(&two, LARGE) + 2 * UNIT;
        builder_zero(path_of(&two, 3), torn_header ? 512 : 0, torn_header ? UNIT - 512 : UNIT);
        builder_go_back(&two, &place);
        journal_look look = look_at(two.directory);
        assert_int_equal(look.status, 0);
        assert_int_equal(look.entries, entries_of(&two));
        assert_int_equal(look.report.torn_cut, end - UNIT);
        assert_int_equal(look.recovery.torn_index, 3);
        assert_int_equal(look.voided, 1);
    }
}

/* ---- ready ---- */

static void a_ready_recycled_segment_is_ready_and_no_torn_tail(void **state)
{
    journal_builder *builder = BUILDER(state);

    build_recycled(builder);
    builder_zero(path_of(builder, 3), 0, UNIT);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, entries_of(builder));
    assert_int_equal(look.report.torn_cut, 0);
    assert_int_equal(look.ready, 1);
    assert_int_equal(look.voided, 0);
}

static void a_recycled_segment_with_a_torn_header_is_void_and_no_torn_tail(void **state)
{
    journal_builder *builder = BUILDER(state);

    build_recycled(builder);
    builder_zero(path_of(builder, 3), 512, UNIT - 512);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, entries_of(builder));
    assert_int_equal(look.report.torn_cut, 0);
    assert_int_equal(look.voided, 1);
}

static uint64_t bytes_read(const char *directory)
{
    io_fault *fault = io_fault_new();
    const baton_io_options io_options = {.custom = io_fault_backend(), .custom_context = fault};
    baton_recovery recovery;
    baton_io *io;

    assert_int_equal(baton_io_open(&io_options, &io, NULL), 0);
    assert_int_equal(baton_recover(io, directory, NULL, &recovery, NULL), 0);
    assert_int_equal(recovery.report.torn_cut, 0);
    baton_recovery_fini(&recovery);
    baton_io_close(io);
    uint64_t reads = io_fault_count_kind(fault, BATON_IO_READ);
    io_fault_free(fault);
    return reads;
}

static void a_large_ready_recycled_segment_is_not_read_to_its_end(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder->segment_bytes = 32u << 20;
    builder_epoch(builder, 1);
    while (builder->offset + (2u << 20) < builder->segment_bytes)
        builder_batch_of(builder, 16, BATON_ENTRY_BYTES_MAX);
    builder->segment_bytes = 128u << 10;
    builder_roll(builder);
    builder_batch_of(builder, 1, 10);
    builder->segment_bytes = 32u << 20;
    builder_recycle(builder, 1);
    uint64_t used = bytes_read(builder->directory);
    builder_zero(path_of(builder, 3), 0, UNIT);
    uint64_t ready = bytes_read(builder->directory);
    assert_true(ready + 10 < used);
}

/* An epoch's first segment is never a recycled one: in it, what is no zero was written there. */
static void rubbish_in_a_first_segment_without_a_header_is_torn(void **state)
{
    journal_builder *builder = BUILDER(state);

    build_recycled(builder);
    builder_batch(builder, 3);
    builder_place place = builder_here(builder);
    builder_epoch(builder, 2);
    builder_zero(path_of(builder, 4), 0, UNIT);
    builder_write(path_of(builder, 4), 5 * UNIT, "rubbish", 7);
    builder_go_back(builder, &place);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.report.torn_cut, UNIT);
    assert_int_equal(look.recovery.torn_index, 4);
    assert_int_equal(look.recovery.torn_offset, 5 * UNIT);
}

/* ---- damage ---- */

/* A write was lost: what stands in its place is a whole batch, stale, larger than the lost one. */
static void a_lost_write_that_left_a_stale_batch_is_damage(void **state)
{
    journal_builder *builder = BUILDER(state);
    uint8_t unit[UNIT];
    baton_digest digest;

    build_recycled(builder);
    builder_batch(builder, 3);
    copy_unit(path_of(builder, 3), builder->offset, unit);
    uint8_t whole[2 * UNIT];
    builder_read(path_of(builder, 3), builder->offset, whole, sizeof(whole));
    assert_int_equal(baton_batch_check(whole, sizeof(whole), &digest), BATON_UNIT_VALID);
    uint64_t offset = builder_batch(builder, 3);
    uint64_t good = builder->last.seq - 3;
    builder_batch(builder, 3); /* carries the one before as durable soon */
    builder_mark(builder, 0);
    builder_write(path_of(builder, 3), offset, unit, UNIT);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, path_of(builder, 3), offset);
    assert_string_equal(look.report.evidence_from, "mark");
    assert_non_null(strstr(look.error.why, "no batch of this segment"));
    assert_int_equal(look.report.last.seq, good);
    assert_int_equal(look.report.acked_lost, 6);
}

static void a_flipped_bit_below_the_evidence_is_damage(void **state)
{
    journal_builder *builder = BUILDER(state);

    build_recycled(builder);
    uint64_t offset = builder_batch(builder, LARGE);
    builder_batch(builder, 3);
    builder_mark(builder, 0);
    builder_flip(path_of(builder, 3), offset + UNIT + 9, 3);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, path_of(builder, 3), offset);
    builder_flip(path_of(builder, 3), offset + UNIT + 9, 3);
    builder_flip(path_of(builder, 3), offset + 24, 6); /* its number: it looks stale, or torn */
    look = look_at(builder->directory);
    assert_damaged_at(&look, path_of(builder, 3), offset);
}

static void a_trailer_of_a_recycled_segment_is_evidence(void **state)
{
    journal_builder *builder = BUILDER(state);

    build_recycled(builder);
    builder_batch(builder, 3);
    uint64_t offset = builder_batch(builder, 3);
    builder_trailer(builder, 0);
    builder_zero(path_of(builder, 3), offset, UNIT);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, path_of(builder, 3), offset);
    assert_string_equal(look.report.evidence_from, "trailer");
}

static void a_damaged_header_is_damage_when_batches_behind_it_were_durable(void **state)
{
    journal_builder *builder = BUILDER(state);

    build_recycled(builder);
    builder_batch(builder, 3);
    builder_mark(builder, 0);
    for (int zeroed = 0; zeroed < 2; zeroed++) {
        if (zeroed)
            builder_zero(path_of(builder, 3), 0, UNIT);
        else
            builder_flip(path_of(builder, 3), 72, 1);
        journal_look look = look_at(builder->directory);
        assert_damaged_at(&look, path_of(builder, 3), 0);
        assert_int_equal(look.entries, 4);
    }
}

static void evidence_in_a_later_recycled_segment_counts(void **state)
{
    journal_builder *builder = BUILDER(state);

    build_recycled(builder);
    uint64_t offset = builder_batch(builder, 3);
    builder_place here = builder_here(builder);
    builder_recycle(builder, 2);
    builder_batch(builder, 1);
    builder_batch(builder, 1);
    builder_zero(builder_path(builder, 1, 3), offset, UNIT);
    builder_zero(builder_path(builder, 1, 3), builder->segment_bytes - UNIT, UNIT);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, builder_path(builder, 1, 3), offset);
    assert_true(look.report.evidence.batch >= here.last.batch);
}

static void a_missing_recycled_segment_in_the_middle_is_damage(void **state)
{
    journal_builder *builder = BUILDER(state);

    build_recycled(builder);
    builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    builder_batch(builder, 3);
    assert_int_equal(unlink(path_of(builder, 3)), 0);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, path_of(builder, 3), 0);
}

static void repair_cuts_a_damaged_recycled_segment(void **state)
{
    journal_builder *builder = BUILDER(state);
    baton_repair_report report;

    build_recycled(builder);
    builder_batch(builder, 3);
    uint64_t offset = builder_batch(builder, 3);
    builder_mark(builder, 0);
    builder_flip(path_of(builder, 3), offset + 200, 3);
    uint64_t good = builder->last.seq - 3;
    assert_int_equal(
        baton_journal_repair(builder->directory, BATON_BACKEND_THREADS, false, &report, NULL),
        BATON_E_DAMAGED);
    assert_int_equal(
        baton_journal_repair(builder->directory, BATON_BACKEND_THREADS, true, &report, NULL), 0);
    assert_int_equal(report.lost_entries_at_least, 3);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.report.last.seq, good);
    assert_int_equal(look.report.torn_cut, 0);
}

/* ---- epochs ---- */

static void a_later_epoch_goes_on_from_a_recycled_segment(void **state)
{
    journal_builder *builder = BUILDER(state);

    build_recycled(builder);
    builder_batch(builder, 3);
    builder_place place = builder_here(builder);
    builder_batch(builder, 3); /* in flight when its writer died: landed late */
    builder_batch(builder, 3);
    builder_go_back(builder, &place);
    builder_epoch(builder, 2);
    builder_batch(builder, 2);
    builder_mark(builder, 0);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, entries_of(builder));
    assert_int_equal(look.report.torn_cut, 0);
}

/* The numbers of what an older epoch cut off are above those of the epoch after it: not they decide
 * what is stale, but epoch and number. */
static void batches_of_a_later_epoch_are_not_stale_for_their_low_numbers(void **state)
{
    journal_builder *builder = BUILDER(state);

    build_recycled(builder);
    builder_place place = builder_here(builder);
    for (int i = 0; i < 6; i++)
        builder_batch(builder, 1);
    builder_go_back(builder, &place);
    builder_epoch(builder, 2);
    builder_batch(builder, 1);
    builder_mark(builder, 0);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    builder_flip(builder_path(builder, 2, 4), 100, 2);
    look = look_at(builder->directory);
    assert_int_equal(look.status, BATON_E_DAMAGED);
    assert_string_equal(look.report.evidence_from, "mark");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(stale_batches_behind_the_end_are_no_torn_tail),
        TEST(a_recycled_segment_with_no_batch_yet_is_no_torn_tail),
        TEST(a_closed_recycled_segment_is_proven_to_its_end),
        TEST(the_walk_goes_on_behind_stale_bytes_to_the_next_segment),
        TEST(what_stood_there_two_lives_ago_is_stale_too),
        TEST(a_torn_batch_over_stale_bytes_is_torn_as_far_as_it_says),
        TEST(a_batch_of_which_only_a_sector_landed_is_torn),
        TEST(a_torn_batch_without_its_first_unit_is_not_seen),
        TEST(a_hole_in_flight_is_cut_with_what_landed_behind_it),
        TEST(first_batches_without_a_header_are_torn),
        TEST(a_ready_recycled_segment_is_ready_and_no_torn_tail),
        TEST(a_recycled_segment_with_a_torn_header_is_void_and_no_torn_tail),
        TEST(a_large_ready_recycled_segment_is_not_read_to_its_end),
        TEST(rubbish_in_a_first_segment_without_a_header_is_torn),
        TEST(a_lost_write_that_left_a_stale_batch_is_damage),
        TEST(a_flipped_bit_below_the_evidence_is_damage),
        TEST(a_trailer_of_a_recycled_segment_is_evidence),
        TEST(a_damaged_header_is_damage_when_batches_behind_it_were_durable),
        TEST(evidence_in_a_later_recycled_segment_counts),
        TEST(a_missing_recycled_segment_in_the_middle_is_damage),
        TEST(repair_cuts_a_damaged_recycled_segment),
        TEST(a_later_epoch_goes_on_from_a_recycled_segment),
        TEST(batches_of_a_later_epoch_are_not_stale_for_their_low_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
