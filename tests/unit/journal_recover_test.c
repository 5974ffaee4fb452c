/* J5: where does the journal end, and is what is behind it torn? Each journal is built byte by
 * byte. */
#include <stdio.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/journal_look.h"

typedef struct {
    test_dir dir;
    journal_builder builder;
} recover_fixture;

static int setup(void **state)
{
    static recover_fixture fixture;
    test_dir_make(&fixture.dir, "journal_recover");
    builder_init(&fixture.builder, test_path(&fixture.dir, "j"));
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    recover_fixture *fixture = *state;
    test_dir_remove(&fixture->dir);
    return 0;
}

#define BUILDER(state) (&((recover_fixture *)*(state))->builder)

/* ---- nothing there ---- */

static void absent_directory_is_an_empty_journal(void **state)
{
    journal_look look = look_at(test_path(&((recover_fixture *)*state)->dir, "nowhere"));
    assert_int_equal(look.status, 0);
    assert_true(look.recovery.empty);
    assert_int_equal(look.recovery.epoch_highest, 0);
}

static void empty_directory_is_an_empty_journal(void **state)
{
    journal_look look = look_at(BUILDER(state)->directory);
    assert_int_equal(look.status, 0);
    assert_true(look.recovery.empty);
}

static void half_created_first_segment_is_an_empty_journal_and_burns_its_epoch(void **state)
{
    journal_builder *builder = BUILDER(state);
    const uint64_t sizes[] = {0, 100, 4096, 65536};

    builder_epoch(builder, 7);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        builder_zero(builder_path(builder, 7, 1), 0, 4096);
        builder_truncate(builder_path(builder, 7, 1), sizes[i]);
        journal_look look = look_at(builder->directory);
        assert_int_equal(look.status, 0);
        assert_true(look.recovery.empty);
        assert_int_equal(look.recovery.epoch_highest, 7);
        assert_int_equal(look.recovery.index_highest, 1);
        assert_int_equal(look.report.torn_cut, 0);
        assert_int_equal(look.ready, 1);
    }
}

static void torn_first_header_is_an_empty_journal(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_zero(builder_path(builder, 1, 1), 2048, 2048);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_true(look.recovery.empty);
    assert_int_equal(look.voided, 1);
}

static void foreign_files_are_not_looked_at(void **state)
{
    journal_builder *builder = BUILDER(state);
    const char *names[] = {"LOCK",
                           "HINT",
                           "BALLAST",
                           "notes.txt",
                           "0000000000000001-0000000000000001.seg.bak",
                           "0000000000000001-000000000000000A.seg",
                           "0000000000000000-0000000000000001.seg",
                           "1-1.seg"};

    builder_epoch(builder, 1);
    builder_batch(builder, 5);
    builder_mark(builder, BATON_BATCH_CLOSE);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[BUILDER_PATH_BYTES];
        (void)snprintf(path, sizeof(path), "%s/%s", builder->directory, names[i]);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_true(fputs("not a segment", file) >= 0);
        assert_int_equal(fclose(file), 0);
    }
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 5);
    assert_int_equal(look.recovery.segments_count, 1);
}

/* ---- the end ---- */

static void closed_journal_is_proven_to_its_end(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_batch(builder, 1);
    builder_mark(builder, BATON_BATCH_CLOSE);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_true(look.recovery.closed);
    assert_int_equal(look.entries, 4);
    assert_int_equal(look.report.first_seq, 1);
    assert_int_equal(look.report.last.batch, 3);
    assert_int_equal(look.report.evidence.batch, 2);
    assert_int_equal(look.report.unproven, 0);
    assert_string_equal(look.report.evidence_from, "mark");
    assert_true(baton_digest_equal(look.recovery.last_digest, builder->digest));
    assert_int_equal(look.recovery.last_offset, 4 * 4096);
    assert_int_equal(look.recovery.last_time_ns, 4000);
}

static void entries_above_the_evidence_are_adopted_and_counted(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_batch(builder, 2); /* carries nothing yet */
    builder_batch(builder, 4); /* carries the first */
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 9);
    assert_int_equal(look.report.evidence.batch, 1);
    assert_int_equal(look.report.evidence.seq, 3);
    assert_int_equal(look.report.unproven, 6);
    assert_string_equal(look.report.evidence_from, "batch");
    assert_int_equal(look.report.torn_cut, 0);
}

static void segments_and_epochs_form_one_chain(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    builder_epoch(builder, 5); /* epochs may be skipped */
    builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    builder_mark(builder, BATON_BATCH_CLOSE);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 12);
    assert_int_equal(look.accepted, 4);
    assert_int_equal(look.recovery.batches_count, 5);
    assert_int_equal(look.report.last.epoch, 5);
}

static void epoch_without_a_batch_changes_nothing(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_epoch(builder, 2);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 3);
    assert_int_equal(look.report.last.epoch, 1);
    assert_int_equal(look.report.evidence.batch, 1);
    assert_string_equal(look.report.evidence_from, "segment header");
    assert_int_equal(look.recovery.last_index, 1);
    assert_int_equal(look.recovery.last_offset, 2 * 4096);
    assert_int_equal(look.recovery.epoch_highest, 2);
}

static void ready_segment_is_no_part_of_the_journal(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_place place = builder_here(builder);
    builder_roll(builder);
    builder_zero(builder_path(builder, 1, 2), 0, 4096);
    builder_go_back(builder, &place);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 3);
    assert_int_equal(look.ready, 1);
    assert_int_equal(look.report.torn_cut, 0);
}

/* ---- torn ---- */

static void torn_batch_above_the_evidence_is_cut(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    uint64_t offset = builder_batch(builder, 3);
    builder_flip(builder_path(builder, 1, 1), offset + 200, 3);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 3);
    assert_int_equal(look.report.torn_cut, 4096);
    assert_int_equal(look.recovery.torn_index, 1);
    assert_int_equal(look.recovery.torn_offset, offset);
}

static void hole_in_flight_is_cut_with_what_landed_behind_it(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_all_durable(builder);
    builder->keep_durable = true; /* three in flight at once: all know the first as durable */
    uint64_t hole = builder_batch(builder, 3);
    builder_batch(builder, 3);
    builder_batch(builder, 3);
    builder_zero(builder_path(builder, 1, 1), hole, 4096);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 3);
    assert_int_equal(look.report.torn_cut, 2 * 4096);
    assert_int_equal(look.recovery.torn_offset, hole + 4096);
    assert_int_equal(look.report.evidence.batch, 1);
}

static void roll_in_flight_is_cut_with_its_header(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_all_durable(builder);
    builder->keep_durable = true;
    uint64_t hole = builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    builder_zero(builder_path(builder, 1, 1), hole, 4096);
    builder_zero(builder_path(builder, 1, 1), builder->segment_bytes - 4096,
                 4096); /* no trailer yet */
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0); /* the second header's continues is no evidence */
    assert_int_equal(look.entries, 3);
    assert_int_equal(look.report.torn_cut, 4096);
    assert_int_equal(look.voided, 1);
}

static void torn_header_of_the_next_segment_is_cut(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_place place = builder_here(builder);
    builder_roll(builder);
    builder_zero(builder_path(builder, 1, 2), 512, 3584);
    builder_go_back(builder, &place);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 3);
    assert_int_equal(look.report.torn_cut, 0);
    assert_int_equal(look.voided, 1);
}

static void torn_header_of_the_next_epoch_is_void(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_mark(builder, BATON_BATCH_CLOSE);
    builder_place place = builder_here(builder);
    builder_epoch(builder, 2);
    builder_zero(builder_path(builder, 2, 2), 512, 3584);
    builder_go_back(builder, &place);
    builder_epoch(builder, 3);
    builder_batch(builder, 2);
    builder_mark(builder, BATON_BATCH_CLOSE);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 5);
    assert_int_equal(look.voided, 1);
    assert_int_equal(look.report.torn_cut, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(absent_directory_is_an_empty_journal),
        TEST(empty_directory_is_an_empty_journal),
        TEST(half_created_first_segment_is_an_empty_journal_and_burns_its_epoch),
        TEST(torn_first_header_is_an_empty_journal),
        TEST(foreign_files_are_not_looked_at),
        TEST(closed_journal_is_proven_to_its_end),
        TEST(entries_above_the_evidence_are_adopted_and_counted),
        TEST(segments_and_epochs_form_one_chain),
        TEST(epoch_without_a_batch_changes_nothing),
        TEST(ready_segment_is_no_part_of_the_journal),
        TEST(torn_batch_above_the_evidence_is_cut),
        TEST(hole_in_flight_is_cut_with_what_landed_behind_it),
        TEST(roll_in_flight_is_cut_with_its_header),
        TEST(torn_header_of_the_next_segment_is_cut),
        TEST(torn_header_of_the_next_epoch_is_void),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
