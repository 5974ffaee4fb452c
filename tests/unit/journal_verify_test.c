/* verify: what it counts, what it says, and that one journal goes on where another ends (H3). */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/journal_look.h"

typedef struct {
    test_dir dir;
    journal_builder old;
    journal_builder new;
    baton_journal_summary summary;
    baton_error error;
} verify_stage;

static int setup(void **state)
{
    static verify_stage stage;
    test_dir_make(&stage.dir, "journal_verify");
    builder_init(&stage.old, test_path(&stage.dir, "old"));
    builder_init(&stage.new, test_path(&stage.dir, "new"));
    *state = &stage;
    return 0;
}

static int teardown(void **state)
{
    verify_stage *stage = *state;
    test_dir_remove(&stage->dir);
    return 0;
}

static int verify(verify_stage *stage, const char *directory)
{
    return baton_journal_verify(directory, BATON_BACKEND_THREADS, NULL, NULL, &stage->summary,
                                &stage->error);
}

static int continues(verify_stage *stage)
{
    return baton_journal_verify_continues(stage->old.directory, stage->new.directory,
                                          BATON_BACKEND_THREADS, &stage->error);
}

typedef struct {
    uint64_t calls, done, all;
} progress;

static void count_progress(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    progress *seen = context;
    assert_true(done_bytes >= seen->done && done_bytes <= all_bytes);
    *seen = (progress){.calls = seen->calls + 1, .done = done_bytes, .all = all_bytes};
}

static void summary_counts_what_is_there(void **state)
{
    verify_stage *stage = *state;
    baton_confirm_wire confirm = {.seq = baton_le64_put(1)};
    progress seen = {0};

    assert_int_equal(verify(stage, test_path(&stage->dir, "nowhere")), 0);
    assert_int_equal(stage->summary.segments_count, 0);
    (void)snprintf(stage->old.service, sizeof(stage->old.service), "matching-engine");
    builder_epoch(&stage->old, 1);
    builder_batch(&stage->old, 3);
    builder_roll(&stage->old);
    builder_batch(&stage->old, 2);
    builder_record(&stage->old, BATON_RECORD_CONFIRM, &confirm, sizeof(confirm));
    builder_mark(&stage->old, BATON_BATCH_CLOSE);
    assert_int_equal(baton_journal_verify(stage->old.directory, BATON_BACKEND_THREADS,
                                          count_progress, &seen, &stage->summary, &stage->error),
                     0);
    const baton_journal_summary *summary = &stage->summary;
    assert_true(baton_digest_equal(summary->id, stage->old.id));
    assert_true(baton_digest_equal(summary->last_digest, stage->old.digest));
    assert_string_equal(summary->service, "matching-engine");
    assert_int_equal(summary->epoch, 1);
    assert_int_equal(summary->segments_count, 2);
    assert_int_equal(summary->batches_count, 4);
    assert_int_equal(summary->entries_count, 5);
    assert_int_equal(summary->records_count, 1);
    uint64_t payload_bytes = 0;
    uint8_t payload[64];
    for (uint64_t seq = 1; seq <= 5; seq++)
        payload_bytes += builder_payload(seq, payload);
    assert_int_equal(summary->payload_bytes, payload_bytes);
    assert_int_equal(summary->stored_bytes, 2 * stage->old.segment_bytes);
    assert_true(summary->closed);
    assert_false(summary->torn);
    assert_true(seen.calls > 0);
    assert_int_equal(seen.all, 2 * stage->old.segment_bytes);
}

static void torn_tail_and_damage_have_their_own_results(void **state)
{
    verify_stage *stage = *state;

    builder_epoch(&stage->old, 1);
    builder_batch(&stage->old, 3);
    uint64_t offset = builder_batch(&stage->old, 3);
    builder_flip(builder_path(&stage->old, 1, 1), offset + 99, 1);
    assert_int_equal(verify(stage, stage->old.directory), BATON_E_TORN);
    assert_true(stage->summary.torn);
    assert_int_equal(stage->summary.entries_count, 3);
    assert_true(strstr(stage->error.todo, "repair") != NULL);
    assert_string_equal(stage->error.path, builder_path(&stage->old, 1, 1));
    assert_int_equal(stage->error.offset, offset);
    builder_flip(builder_path(&stage->old, 1, 1), offset + 99, 1);
    builder_mark(&stage->old, 0);
    builder_flip(builder_path(&stage->old, 1, 1), offset + 99, 1);
    assert_int_equal(verify(stage, stage->old.directory), BATON_E_DAMAGED);
    assert_int_equal(stage->error.offset, offset);
    assert_int_equal(stage->summary.recovery.last.seq, 3);
    assert_int_equal(stage->summary.recovery.acked_lost, 3);
}

/* The successor's journal: a directory of its own, the same chain. */
static void hand_over(verify_stage *stage)
{
    char directory[sizeof(stage->new.directory)];

    builder_epoch(&stage->old, 4);
    builder_batch(&stage->old, 3);
    builder_mark(&stage->old, BATON_BATCH_CLOSE);
    memcpy(directory, stage->new.directory, sizeof(directory));
    stage->new = stage->old;
    memcpy(stage->new.directory, directory, sizeof(directory));
}

static void successor_goes_on_in_its_own_directory(void **state)
{
    verify_stage *stage = *state;

    hand_over(stage);
    builder_epoch(&stage->new, 5);
    builder_batch(&stage->new, 2);
    assert_int_equal(continues(stage), 0);
    assert_int_equal(verify(stage, stage->new.directory), 0);
    assert_int_equal(stage->summary.recovery.first_seq, 4);
    builder_batch(&stage->old, 1); /* the old one went on: two authorities */
    assert_int_equal(continues(stage), BATON_E_DIVERGED);
}

static int pair(verify_stage *stage, bool turned, baton_journal_pair *ret_pair)
{
    return baton_journal_verify_pair(turned ? stage->new.directory : stage->old.directory,
                                     turned ? stage->old.directory : stage->new.directory,
                                     BATON_BACKEND_THREADS, ret_pair, &stage->error);
}

static void either_order_says_the_same(void **state)
{
    verify_stage *stage = *state;
    baton_journal_pair found;

    hand_over(stage);
    builder_epoch(&stage->new, 5);
    builder_batch(&stage->new, 2);
    assert_int_equal(pair(stage, false, &found), 0);
    assert_true(found.second_goes_on && !found.first_goes_on);
    assert_int_equal(pair(stage, true, &found), 0);
    assert_true(found.first_goes_on && !found.second_goes_on);
    assert_int_equal(baton_journal_verify_continues(stage->new.directory, stage->old.directory,
                                                    BATON_BACKEND_THREADS, &stage->error),
                     BATON_E_DIVERGED);
}

/* The old one went on after its successor had begun: what no handover does. */
static void two_writers_are_named(void **state)
{
    verify_stage *stage = *state;
    baton_journal_pair found;

    hand_over(stage);
    builder_epoch(&stage->new, BATON_EPOCH_FORCED + 5);
    builder_batch(&stage->new, 2);
    builder_batch(&stage->new, 2);
    builder_batch(&stage->old, 1);
    for (int turned = 0; turned < 2; turned++) {
        assert_int_equal(pair(stage, turned, &found), BATON_E_DIVERGED);
        assert_non_null(strstr(stage->error.why, "two writers after entry 3"));
        assert_non_null(strstr(stage->error.why, "by epoch 4294967301"));
        assert_non_null(strstr(stage->error.why, "forced"));
    }
}

static void an_end_without_entries_that_parts_is_told_apart(void **state)
{
    verify_stage *stage = *state;
    baton_journal_pair found;

    hand_over(stage);
    builder_epoch(&stage->new, 5);
    builder_batch(&stage->new, 2);
    builder_mark(&stage->old, 0);
    assert_int_equal(pair(stage, false, &found), BATON_E_DIVERGED);
    assert_non_null(strstr(stage->error.why, "the first has 0 entries after it, the second 2"));
}

static void an_epoch_that_was_begun_in_both_is_found(void **state)
{
    verify_stage *stage = *state;
    baton_journal_pair found;
    char directory[sizeof(stage->new.directory)];

    memcpy(directory, stage->new.directory, sizeof(directory));
    builder_epoch(&stage->old, 1);
    builder_batch(&stage->old, 3);
    stage->new = stage->old;
    memcpy(stage->new.directory, directory, sizeof(directory));
    stage->new.later_ns = 1;
    builder_epoch(&stage->old, 2);
    builder_epoch(&stage->new, 2);
    builder_batch(&stage->new, 2);
    assert_int_equal(pair(stage, false, &found), BATON_E_DIVERGED);
    assert_non_null(strstr(stage->error.why, "epoch 2 was begun in both"));
}

static void successor_without_a_batch_is_one_too(void **state)
{
    verify_stage *stage = *state;

    hand_over(stage);
    builder_epoch(&stage->new, 5);
    assert_int_equal(continues(stage), 0);
}

static void journals_that_do_not_belong_together_are_told_apart(void **state)
{
    verify_stage *stage = *state;

    hand_over(stage);
    assert_int_equal(continues(stage), BATON_E_NOT_FOUND);
    stage->new.digest.bytes[5] ^= 1; /* another chain */
    builder_epoch(&stage->new, 5);
    assert_int_equal(continues(stage), BATON_E_DIVERGED);
    assert_int_equal(unlink(builder_path(&stage->new, 5, 2)), 0);
    stage->new.digest.bytes[5] ^= 1;
    stage->new.index = 1;
    stage->new.id.bytes[0] ^= 1;
    builder_epoch(&stage->new, 6);
    assert_int_equal(continues(stage), BATON_E_OTHER_JOURNAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(summary_counts_what_is_there),
        TEST(torn_tail_and_damage_have_their_own_results),
        TEST(successor_goes_on_in_its_own_directory),
        TEST(either_order_says_the_same),
        TEST(two_writers_are_named),
        TEST(an_end_without_entries_that_parts_is_told_apart),
        TEST(an_epoch_that_was_begun_in_both_is_found),
        TEST(successor_without_a_batch_is_one_too),
        TEST(journals_that_do_not_belong_together_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
