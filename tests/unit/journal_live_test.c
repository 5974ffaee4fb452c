/* Live readers beside a writer that the test plays itself: it builds the bytes, holds LOCK and
 * publishes in HINT what it likes, so every race has its one order. With the real writer:
 * journal_tail_test.c. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/journal_stage.h"

#define LONG_NS UINT64_C(60000000000) /* only bounds a hang */

static void only_what_is_published_is_returned(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;

    stage_come_alive(stage);
    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    stage_publish(stage);
    builder_batch(builder, 3); /* on the disk, valid, and not yet durable */
    stage_open_reader(stage, true, 0);
    stage_expect_read(stage, 3);
    assert_int_equal(baton_reader_position(stage->reader).batch, 1);
    stage_expect_read(stage, 3);
    stage_publish(stage);
    stage_expect_read(stage, 6);
    assert_int_equal(baton_reader_position(stage->reader).batch, 2);
    for (uint32_t i = 0; i < 8; i++) {
        builder_batch(builder, i);
        stage_publish(stage);
        stage_expect_read(stage, builder->last.seq);
    }
}

static void reader_that_is_early_waits_for_the_first_epoch(void **state)
{
    live_stage *stage = *state;

    stage_come_alive(stage);
    stage_open_reader(stage, true, 0);
    stage_expect_read(stage, 0);
    assert_int_equal(baton_reader_wait(stage->reader, 1000), BATON_E_TIMEOUT);
    builder_epoch(&stage->builder, 1);
    baton_hint_view view = stage_view_of(&stage->builder);
    view.index = 1; /* as begin publishes it: nothing yet, in the new segment */
    view.end_offset = 4096;
    stage_publish_view(stage, &view);
    stage_expect_read(stage, 0);
    builder_batch(&stage->builder, 2);
    stage_publish(stage);
    assert_int_equal(baton_reader_wait(stage->reader, LONG_NS), 0);
    stage_expect_read(stage, 2);
}

static void rolls_are_followed_one_by_one_and_many_at_once(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;

    stage_come_alive(stage);
    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    stage_publish(stage);
    stage_open_reader(stage, true, 0);
    for (uint32_t i = 0; i < 12; i++) {
        builder_roll(builder);
        builder_batch(builder, 2);
        builder_batch(builder, 2);
        stage_publish(stage);
        if (i < 4 || i == 11)
            stage_expect_read(stage, builder->last.seq);
    }
}

static void new_epochs_are_followed_from_where_they_continue(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;

    stage_come_alive(stage);
    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    stage_publish(stage);
    stage_open_reader(stage, true, 0);
    stage_expect_read(stage, 3);
    builder_place place = builder_here(builder);
    builder_batch(builder, 3); /* never published; the next epoch cuts it off */
    builder_go_back(builder, &place);
    builder_epoch(builder, 2);
    baton_hint_view view = stage_view_of(builder);
    view.index = builder->index;
    view.end_offset = 4096;
    stage_publish_view(stage, &view);
    stage_expect_read(stage, 3);
    builder_batch(builder, 1);
    stage_publish(stage);
    stage_expect_read(stage, 4);
    assert_int_equal(baton_reader_position(stage->reader).epoch, 2);
    builder_roll(builder);
    builder_batch(builder, 1);
    builder_epoch(builder, 9);
    builder_batch(builder, 1);
    stage_publish(stage);
    stage_expect_read(stage, 6);
}

static void epoch_that_cuts_off_what_was_read_is_an_error(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;

    stage_come_alive(stage);
    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_place place = builder_here(builder);
    builder_batch(builder, 3);
    stage_publish(stage); /* mode written: published, then the machine lost it */
    stage_open_reader(stage, true, 0);
    stage_expect_read(stage, 6);
    builder_go_back(builder, &place);
    builder_epoch(builder, 2);
    builder_batch(builder, 1);
    builder_batch(builder, 1);
    stage_publish(stage);
    assert_int_equal(stage_read_on(stage), BATON_E_DIVERGED);
    assert_int_equal(stage->read, 6);
    assert_int_equal(stage_read_on(stage), BATON_E_DIVERGED);
}

static void retired_under_the_reader_is_gone(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;

    stage_come_alive(stage);
    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    stage_publish(stage);
    stage_open_reader(stage, true, 0);
    stage_expect_read(stage, 3);
    builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    assert_int_equal(unlink(builder_path(builder, 1, 1)), 0);
    assert_int_equal(unlink(builder_path(builder, 1, 2)), 0);
    stage_publish(stage);
    assert_int_equal(stage_read_on(stage), BATON_E_GONE);
    assert_int_equal(stage->read, 3);
}

static void retired_right_behind_the_reader_is_no_loss(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;

    stage_come_alive(stage);
    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    stage_publish(stage);
    stage_open_reader(stage, true, 0);
    stage_expect_read(stage, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    assert_int_equal(unlink(builder_path(builder, 1, 1)), 0);
    stage_publish(stage);
    stage_expect_read(stage, 6);
}

static void seq_that_was_retired_is_gone_and_the_oldest_is_found(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;
    baton_reader_options options = {.live = true, .from_seq = 2, .backend = BATON_BACKEND_THREADS};

    stage_come_alive(stage);
    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    assert_int_equal(unlink(builder_path(builder, 1, 1)), 0);
    stage_publish(stage);
    for (int live = 0; live < 2; live++) {
        options.live = live;
        assert_int_equal(
            baton_reader_open(builder->directory, &options, &stage->reader, &stage->error),
            BATON_E_GONE);
        assert_true(strstr(stage->error.why, "oldest one there is 4") != NULL);
    }
    stage_open_reader(stage, true, 0);
    stage->read = 3;
    stage_expect_read(stage, 6);
}

static void damage_below_the_published_end_is_an_error_not_an_end(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;

    stage_come_alive(stage);
    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    uint64_t offset = builder_batch(builder, 3);
    builder_batch(builder, 3);
    builder_flip(builder_path(builder, 1, 1), offset + 150, 1);
    stage_publish(stage);
    stage_open_reader(stage, true, 0);
    assert_int_equal(stage_read_on(stage), BATON_E_DAMAGED);
    assert_int_equal(stage->read, 3);
    assert_string_equal(stage->error.path, builder_path(builder, 1, 1));
    assert_int_equal(stage->error.offset, offset);
}

/* Nothing on the disk proves the last batch: its writer does. */
static void reader_at_rest_believes_a_living_writer_that_something_is_missing(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;

    stage_come_alive(stage);
    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    uint64_t offset = builder_batch(builder, 3);
    builder_flip(builder_path(builder, 1, 1), offset + 150, 1);
    stage_publish(stage);
    stage_open_reader(stage, false, 0);
    assert_int_equal(stage_read_on(stage), BATON_E_DAMAGED);
    assert_int_equal(stage->read, 3);
    assert_int_equal(stage->error.offset, offset);
}

static void when_the_writer_is_gone_all_that_recovery_accepts_is_read_and_then_sealed(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;

    stage_come_alive(stage);
    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    stage_publish(stage);
    stage_open_reader(stage, true, 0);
    stage_expect_read(stage, 3);
    builder_batch(builder, 3); /* acknowledged or not: it was not published any more */
    uint64_t offset = builder_batch(builder, 3);
    builder_flip(builder_path(builder, 1, 1), offset + 150, 1); /* torn */
    assert_int_equal(baton_reader_wait(stage->reader, 1000), BATON_E_TIMEOUT);
    stage_die(stage);
    assert_int_equal(baton_reader_wait(stage->reader, LONG_NS), 0);
    stage_expect_read(stage, 6);
    assert_int_equal(baton_reader_wait(stage->reader, LONG_NS), BATON_E_SEALED);
    stage_expect_read(stage, 6);

    stage_come_alive(stage); /* another writer goes on from there */
    assert_int_equal(baton_reader_wait(stage->reader, 1000), BATON_E_TIMEOUT);
    builder_place place = {
        .last = {.epoch = 1, .batch = 2, .seq = 6}, .last_index = 1, .last_offset = offset};
    uint8_t second[4096];
    builder_read(builder_path(builder, 1, 1), offset - 4096, second, sizeof(second));
    memcpy(place.digest.bytes, second + 112, 16);
    builder_go_back(builder, &place);
    builder_epoch(builder, 2);
    builder_batch(builder, 2);
    stage_publish(stage);
    assert_int_equal(baton_reader_wait(stage->reader, LONG_NS), 0);
    stage_expect_read(stage, 8);
}

static void journal_at_rest_without_lock_or_hint_is_read_and_sealed(void **state)
{
    live_stage *stage = *state;

    builder_epoch(&stage->builder, 1);
    builder_batch(&stage->builder, 3);
    stage_open_reader(stage, true, 0);
    stage_expect_read(stage, 3);
    assert_int_equal(baton_reader_wait(stage->reader, LONG_NS), BATON_E_SEALED);
}

/* A power cut in mode written, or a directory copied while it was written. */
static void what_a_dead_writers_hint_says_too_much_is_judged_by_evidence(void **state)
{
    live_stage *stage = *state;
    builder_epoch(&stage->builder, 1);
    builder_batch(&stage->builder, 3);
    stage_publish(stage);
    stage_open_reader(stage, true, 0);
    stage_expect_read(stage, 3);
    builder_batch(&stage->builder, 2);
    uint64_t offset = builder_batch(&stage->builder, 3);
    builder_flip(builder_path(&stage->builder, 1, 1), offset + 150, 1); /* never on the disk */
    stage_publish(stage);
    stage_expect_read(stage, 5);
    assert_int_equal(baton_reader_wait(stage->reader, LONG_NS), BATON_E_SEALED);
}

static void hint_of_another_journal_says_nothing(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    stage_open_reader(stage, true, 0);
    stage_expect_read(stage, 3);
    stage_come_alive(stage);
    builder_batch(builder, 3);
    baton_hint_view view = stage_view_of(builder);
    view.id.bytes[0] ^= 1;
    stage_publish_view(stage, &view);
    stage_expect_read(stage, 3);
    stage_publish(stage);
    stage_expect_read(stage, 6);
}

static void reader_at_rest_stops_at_what_a_living_writer_has_published(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;

    stage_come_alive(stage);
    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    stage_publish(stage);
    /* In flight: the first of three has not landed, and the third knows more than this page: at
     * rest this is damage. */
    uint64_t hole = builder_batch(builder, 3);
    builder_batch(builder, 3);
    builder_batch(builder, 3);
    builder_zero(builder_path(builder, 1, 1), hole, 4096);
    stage_open_reader(stage, false, 0);
    stage_expect_read(stage, 3);
    stage_expect_read(stage, 3);
    baton_journal_summary summary;
    assert_int_equal(baton_journal_verify(builder->directory, BATON_BACKEND_THREADS, NULL, NULL,
                                          &summary, &stage->error),
                     0);
    assert_int_equal(summary.entries_count, 3);
    stage_die(stage);
    assert_int_equal(baton_journal_verify(builder->directory, BATON_BACKEND_THREADS, NULL, NULL,
                                          &summary, &stage->error),
                     BATON_E_DAMAGED);
}

static void stale_hint_of_a_dead_writer_hides_nothing_from_one_that_knows_more(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;
    baton_reader_options options = {.backend = BATON_BACKEND_THREADS};

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    stage_publish(stage);
    builder_batch(builder, 3); /* landed, not published; killed */
    stage_come_alive(stage);   /* the next writer has recovered, and has not begun */
    options.evidence = builder->last;
    assert_int_equal(baton_reader_open(builder->directory, &options, &stage->reader, &stage->error),
                     0);
    stage_expect_read(stage, 6);
}

static void reading_starts_at_the_seq_asked_for(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;

    stage_come_alive(stage);
    builder_epoch(builder, 1);
    builder_batch(builder, 5);
    builder_batch(builder, 5);
    builder_roll(builder);
    builder_batch(builder, 5);
    builder_epoch(builder, 2);
    builder_batch(builder, 5);
    stage_publish(stage);
    for (int live = 0; live < 2; live++) {
        for (uint64_t from = 1; from <= 21; from++) {
            stage_open_reader(stage, live, from);
            stage_expect_read(stage, 20);
            baton_reader_close(stage->reader);
        }
    }
    stage_open_reader(stage, true, 23);
    stage_expect_read(stage, 22); /* not there yet */
    builder_batch(builder, 5);
    stage_publish(stage);
    stage_expect_read(stage, 25);
}

static void records_come_when_they_are_asked_for(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;
    baton_confirm_wire confirm = {.seq = baton_le64_put(1)};
    baton_reader_options options = {.with_records = true, .backend = BATON_BACKEND_THREADS};
    baton_entry entry;

    builder_epoch(builder, 1);
    builder_batch(builder, 2);
    builder_record(builder, BATON_RECORD_CONFIRM, &confirm, sizeof(confirm));
    builder_batch(builder, 2);
    for (uint64_t from = 0; from < 5; from++) {
        uint32_t records = 0, entries = 0;
        options.from_seq = from;
        assert_int_equal(
            baton_reader_open(builder->directory, &options, &stage->reader, &stage->error), 0);
        while (baton_reader_next(stage->reader, &entry, &stage->error) == 1) {
            records += entry.is_record;
            entries += !entry.is_record;
            if (entry.is_record) {
                assert_int_equal(entry.seq, 2);
                assert_int_equal(entry.type, BATON_RECORD_CONFIRM);
                assert_memory_equal(entry.payload, &confirm, sizeof(confirm));
            }
        }
        assert_int_equal(records, from <= 3);
        assert_int_equal(entries, from == 0 ? 4 : 5 - from);
        baton_reader_close(stage->reader);
    }
    stage->reader = NULL;
    stage_open_reader(stage, false, 0);
    stage_expect_read(stage, 4);
}

static void *publish_soon(void *context)
{
    live_stage *stage = context;
    builder_batch(&stage->builder, 3);
    stage_publish(stage);
    return NULL;
}

static void wait_is_woken_by_what_is_published(void **state)
{
    live_stage *stage = *state;
    pthread_t thread;

    stage_come_alive(stage);
    builder_epoch(&stage->builder, 1);
    builder_batch(&stage->builder, 3);
    stage_publish(stage);
    stage_open_reader(stage, true, 0);
    for (uint32_t i = 0; i < 6; i++) {
        stage_expect_read(stage, 3 + 3 * i);
        assert_int_equal(pthread_create(&thread, NULL, publish_soon, stage), 0);
        assert_int_equal(baton_reader_wait(stage->reader, LONG_NS), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    stage_expect_read(stage, 21);
}

static void absent_directory_reads_as_empty(void **state)
{
    live_stage *stage = *state;
    baton_reader_options options = {.backend = BATON_BACKEND_THREADS};
    baton_entry entry;

    for (int live = 0; live < 2; live++) {
        options.live = live;
        assert_int_equal(baton_reader_open(test_path(&stage->dir, "nowhere"), &options,
                                           &stage->reader, &stage->error),
                         0);
        assert_int_equal(baton_reader_next(stage->reader, &entry, &stage->error), 0);
        baton_reader_close(stage->reader);
    }
    stage->reader = NULL;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)
    const struct CMUnitTest tests[] = {
        TEST(only_what_is_published_is_returned),
        TEST(reader_that_is_early_waits_for_the_first_epoch),
        TEST(rolls_are_followed_one_by_one_and_many_at_once),
        TEST(new_epochs_are_followed_from_where_they_continue),
        TEST(epoch_that_cuts_off_what_was_read_is_an_error),
        TEST(retired_under_the_reader_is_gone),
        TEST(retired_right_behind_the_reader_is_no_loss),
        TEST(seq_that_was_retired_is_gone_and_the_oldest_is_found),
        TEST(damage_below_the_published_end_is_an_error_not_an_end),
        TEST(reader_at_rest_believes_a_living_writer_that_something_is_missing),
        TEST(when_the_writer_is_gone_all_that_recovery_accepts_is_read_and_then_sealed),
        TEST(journal_at_rest_without_lock_or_hint_is_read_and_sealed),
        TEST(what_a_dead_writers_hint_says_too_much_is_judged_by_evidence),
        TEST(hint_of_another_journal_says_nothing),
        TEST(reader_at_rest_stops_at_what_a_living_writer_has_published),
        TEST(stale_hint_of_a_dead_writer_hides_nothing_from_one_that_knows_more),
        TEST(reading_starts_at_the_seq_asked_for),
        TEST(records_come_when_they_are_asked_for),
        TEST(wait_is_woken_by_what_is_published),
        TEST(absent_directory_reads_as_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
