/* J5: what was proven durable and is not there is damage, named by file and offset. Each journal is
 * built byte by byte. */
#include <stdio.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/journal_look.h"

typedef struct {
    test_dir dir;
    journal_builder builder;
} damage_fixture;

static int setup(void **state)
{
    static damage_fixture fixture;
    test_dir_make(&fixture.dir, "journal_damage");
    builder_init(&fixture.builder, test_path(&fixture.dir, "j"));
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    damage_fixture *fixture = *state;
    test_dir_remove(&fixture->dir);
    return 0;
}

#define BUILDER(state) (&((damage_fixture *)*(state))->builder)

static void assert_damaged_at(const journal_look *look, const char *path, uint64_t offset)
{
    assert_int_equal(look->status, BATON_E_DAMAGED);
    assert_string_equal(look->error.path, path);
    assert_int_equal(look->error.offset, offset);
    assert_true(strstr(look->error.todo, "restore") != NULL);
}

static void bad_batch_below_the_evidence_is_damage(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    uint64_t offset = builder_batch(builder, 3);
    builder_batch(builder, 3);
    builder_batch(builder, 3);
    builder_flip(builder_path(builder, 1, 1), offset + 200, 0);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, builder_path(builder, 1, 1), offset);
    assert_int_equal(look.entries, 3);
    assert_int_equal(look.report.acked_lost, 3);
}

static void zeroed_batch_below_the_evidence_is_damage(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    uint64_t offset = builder_batch(builder, 3);
    builder_batch(builder, 3);
    builder_batch(builder, 3);
    builder_zero(builder_path(builder, 1, 1), offset, 4096);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, builder_path(builder, 1, 1), offset);
}

static void mark_behind_the_bad_place_is_evidence(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    uint64_t offset = builder_batch(builder, 3);
    builder_mark(builder, 0);
    builder_flip(builder_path(builder, 1, 1), offset + 130, 7);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, builder_path(builder, 1, 1), offset);
    assert_string_equal(look.report.evidence_from, "mark");
    assert_int_equal(look.report.acked_lost, 3);
    assert_int_equal(look.entries, 0);
}

static void trailer_is_evidence(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    uint64_t offset = builder_batch(builder, 3);
    builder_trailer(builder, 0);
    builder_zero(builder_path(builder, 1, 1), offset, 4096);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, builder_path(builder, 1, 1), offset);
    assert_string_equal(look.report.evidence_from, "trailer");
}

static void next_epochs_header_is_evidence(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    uint64_t offset = builder_batch(builder, 3);
    builder_epoch(builder, 2);
    builder_zero(builder_path(builder, 1, 1), offset, 4096);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, builder_path(builder, 1, 1), offset);
}

static void evidence_in_a_later_segment_counts(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    uint64_t offset = builder_batch(builder, 3);
    builder_place place = builder_here(builder);
    builder_roll(builder);
    builder_batch(builder, 1);
    builder_batch(builder, 1);
    (void)place;
    builder_zero(builder_path(builder, 1, 1), offset, 4096);
    builder_zero(builder_path(builder, 1, 1), builder->segment_bytes - 4096, 4096);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, builder_path(builder, 1, 1), offset);
}

static void damaged_header_is_damage_when_batches_behind_it_were_durable(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    builder_mark(builder, 0);
    for (int zeroed = 0; zeroed < 2; zeroed++) {
        if (zeroed)
            builder_zero(builder_path(builder, 1, 2), 0, 4096);
        else
            builder_flip(builder_path(builder, 1, 2), 72, 1);
        journal_look look = look_at(builder->directory);
        assert_damaged_at(&look, builder_path(builder, 1, 2), 0);
        assert_int_equal(look.entries, 3);
    }
}

static void damaged_header_of_the_last_epoch_is_seen_behind_a_close_mark(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_mark(builder, BATON_BATCH_CLOSE);
    builder_epoch(builder, 2);
    builder_batch(builder, 3);
    builder_mark(builder, BATON_BATCH_CLOSE);
    builder_flip(builder_path(builder, 2, 2), 300, 1);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, builder_path(builder, 2, 2), 0);
}

static void damaged_only_header_is_damage_not_an_empty_journal(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_mark(builder, 0);
    builder_flip(builder_path(builder, 1, 1), 9, 1);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, builder_path(builder, 1, 1), 0);
}

static void missing_middle_segment_is_damage(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    builder_batch(builder, 3);
    assert_int_equal(unlink(builder_path(builder, 1, 2)), 0);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, builder_path(builder, 1, 2), 0);
    assert_int_equal(look.entries, 3);
}

static void missing_segment_before_a_new_epoch_is_damage(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    builder_epoch(builder, 2);
    assert_int_equal(unlink(builder_path(builder, 1, 2)), 0);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, BATON_E_DAMAGED);
    assert_string_equal(look.error.path, builder_path(builder, 1, 2));
}

static void whole_epoch_missing_in_the_middle_is_damage(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_epoch(builder, 2);
    builder_batch(builder, 3);
    builder_epoch(builder, 3);
    builder_batch(builder, 3);
    assert_int_equal(unlink(builder_path(builder, 2, 2)), 0);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, builder_path(builder, 2, 2), 0);
}

static void retired_segments_are_no_damage(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    builder_epoch(builder, 2);
    builder_batch(builder, 3);
    builder_mark(builder, 0);
    assert_int_equal(unlink(builder_path(builder, 1, 1)), 0);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.report.first_seq, 4);
    assert_int_equal(look.entries, 6);
    assert_int_equal(unlink(builder_path(builder, 1, 2)), 0);
    look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.report.first_seq, 7);
    assert_int_equal(look.entries, 3);
}

static void missing_last_segment_is_damage_only_with_evidence_from_elsewhere(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    builder_batch(builder, 3);
    baton_position known = builder->durable;
    assert_int_equal(unlink(builder_path(builder, 1, 2)), 0);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 3);
    baton_recover_options options = {.evidence = known};
    look = look_with(builder->directory, &options);
    assert_int_equal(look.status, BATON_E_DAMAGED);
    assert_string_equal(look.report.evidence_from, "caller");
    assert_int_equal(look.report.acked_lost, 3);
}

static void caller_that_knows_more_than_an_empty_directory_holds_is_told(void **state)
{
    journal_builder *builder = BUILDER(state);
    baton_recover_options options = {.evidence = {.epoch = 1, .batch = 4, .seq = 9}};

    journal_look look = look_with(builder->directory, &options);
    assert_int_equal(look.status, BATON_E_DAMAGED);
    assert_int_equal(look.report.acked_lost, 9);
    options.evidence = (baton_position){.seq = 9};
    look = look_with(builder->directory, &options);
    assert_int_equal(look.status, BATON_E_DAMAGED);
}

static void caller_that_knows_another_epochs_batch_is_told(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_place place = builder_here(builder);
    builder_batch(builder, 3); /* (1, 2): cut off by epoch 2 */
    builder_go_back(builder, &place);
    builder_epoch(builder, 2);
    builder_batch(builder, 3); /* (2, 2) */
    builder_mark(builder, 0);
    baton_recover_options options = {.evidence = {.epoch = 1, .batch = 2, .seq = 6}};
    journal_look look = look_with(builder->directory, &options);
    assert_int_equal(look.status, BATON_E_DAMAGED);
    options.evidence.epoch = 2;
    look = look_with(builder->directory, &options);
    assert_int_equal(look.status, 0);
}

/* Its numbers were given again to another epoch's batches, larger ones: no seq shows it. */
static void caller_that_knows_a_batch_that_a_later_epoch_never_reached_is_told(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_place place = builder_here(builder);
    for (uint32_t i = 0; i < 5; i++)
        builder_batch(builder, 1); /* up to (1, 6), seq 8: cut off by epoch 2 */
    builder_go_back(builder, &place);
    builder_epoch(builder, 2);
    builder_batch(builder, 20); /* (2, 2), seq 23 */
    builder_mark(builder, 0);
    baton_recover_options options = {.evidence = {.epoch = 1, .batch = 6, .seq = 8}};
    journal_look look = look_with(builder->directory, &options);
    assert_int_equal(look.status, BATON_E_DAMAGED);
    options.evidence = (baton_position){.epoch = 2, .batch = 2, .seq = 23};
    look = look_with(builder->directory, &options);
    assert_int_equal(look.status, 0);
}

static void file_shorter_than_its_header_says_is_judged_by_evidence(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    uint64_t offset = builder_batch(builder, 3);
    builder_batch(builder, 3);
    builder_truncate(builder_path(builder, 1, 1), offset + 4096);
    journal_look look =
        look_at(builder->directory); /* the batch that is left proves only the first */
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 6);
    builder_truncate(builder_path(builder, 1, 1), offset + 1000);
    baton_recover_options options = {.evidence = {.epoch = 1, .batch = 2, .seq = 6}};
    look = look_with(builder->directory, &options);
    assert_damaged_at(&look, builder_path(builder, 1, 1), offset);
    assert_int_equal(look.entries, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* The walk stops in the first segment and never sees the header of the second epoch. */
static void next_epochs_header_is_evidence_also_behind_a_second_segment(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder->keep_durable = true; /* no batch proves anything */
    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    uint64_t offset = builder_batch(builder, 3);
    builder_roll(builder);
    builder_zero(builder_path(builder, 1, 1), BUILDER_SEGMENT_BYTES - 4096, 4096);
    builder_batch(builder, 2);
    builder_epoch(builder, 2);
    builder_flip(builder_path(builder, 1, 1), offset + 60, 1);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, builder_path(builder, 1, 1), offset);
    assert_string_equal(look.report.evidence_from, "segment header");
    assert_int_equal(look.report.acked_lost, 5);
}

/* What the second epoch cut has higher batch numbers than what it made durable itself. */
static void what_a_damaged_epoch_made_durable_is_not_replaced_by_what_it_cut(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_place place = builder_here(builder);
    for (int i = 0; i < 4; i++)
        builder_batch(builder, 1);
    builder_go_back(builder, &place);
    builder_epoch(builder, 2);
    builder_batch(builder, 1);
    builder_mark(builder, 0);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 4);
    builder_flip(builder_path(builder, 2, 2), 100, 2);
    look = look_at(builder->directory);
    assert_int_equal(look.status, BATON_E_DAMAGED);
    assert_string_equal(look.report.evidence_from, "mark");
}

/* Not every last unit of a file is a trailer's place. */
static void evidence_in_the_last_unit_of_a_short_file_counts(void **state)
{
    journal_builder *builder = BUILDER(state);
    const char *path = builder_path(builder, 1, 1);

    builder_epoch(builder, 1);
    uint64_t offset = builder_batch(builder, 3);
    uint64_t mark = builder_mark(builder, 0);
    builder_truncate(path, mark + 4096);
    builder_flip(path, offset + 130, 7);
    journal_look look = look_at(builder->directory);
    assert_damaged_at(&look, path, offset);
    assert_string_equal(look.report.evidence_from, "mark");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bad_batch_below_the_evidence_is_damage),
        TEST(zeroed_batch_below_the_evidence_is_damage),
        TEST(mark_behind_the_bad_place_is_evidence),
        TEST(trailer_is_evidence),
        TEST(next_epochs_header_is_evidence),
        TEST(evidence_in_a_later_segment_counts),
        TEST(damaged_header_is_damage_when_batches_behind_it_were_durable),
        TEST(damaged_header_of_the_last_epoch_is_seen_behind_a_close_mark),
        TEST(damaged_only_header_is_damage_not_an_empty_journal),
        TEST(missing_middle_segment_is_damage),
        TEST(missing_segment_before_a_new_epoch_is_damage),
        TEST(whole_epoch_missing_in_the_middle_is_damage),
        TEST(retired_segments_are_no_damage),
        TEST(missing_last_segment_is_damage_only_with_evidence_from_elsewhere),
        TEST(caller_that_knows_more_than_an_empty_directory_holds_is_told),
        TEST(caller_that_knows_another_epochs_batch_is_told),
        TEST(caller_that_knows_a_batch_that_a_later_epoch_never_reached_is_told),
        TEST(file_shorter_than_its_header_says_is_judged_by_evidence),
        TEST(next_epochs_header_is_evidence_also_behind_a_second_segment),
        TEST(what_a_damaged_epoch_made_durable_is_not_replaced_by_what_it_cut),
        TEST(evidence_in_the_last_unit_of_a_short_file_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
