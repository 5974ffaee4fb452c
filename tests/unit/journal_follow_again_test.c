/* A standby's journal (follow.h) that goes on after another process here, and what it is told beside: retired
 * segments, names that stay, wrong starts, readers, repair. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/journal_pair.h"

static baton_backend backend; /* set by main for a whole run of the tests */

static int set_up(void **state)
{
    (void)state;
    pair_set_up("journal_follow_again", backend);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pair_tear_down();
    return 0;
}

/* ---- one killed here, another one goes on ---- */

/* Batches without entries, each in a term of its own, behind a retired segment. */
static void the_reader_finds_what_stands_right_behind_a_retired_segment(void **state)
{
    (void)state;
    baton_journal_options healthy = fixture_options();
    healthy.backend = BATON_BACKEND_THREADS;
    healthy.idle_mark_ns = UINT64_C(3600000000000); /* batches are counted; a slow machine is idle */
    pair_write_epoch(21, true);
    const uint64_t last = fixture_read_all(pair_active_dir);
    baton_journal *standby;
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    baton_journal *active = fixture_begin(pair_active_dir, &healthy);
    pair_append_record(active, 1);
    pair_append_record(active, 2);
    uint32_t removed, batches;
    assert_int_equal(baton_journal_retire(active, last + 1, &removed), 0);
    assert_int_equal(removed, 1);
    baton_journal_abandon(active);
    assert_int_equal(pair_follow_some(standby, 1, &batches), 0); /* that record, and not the next */
    assert_int_equal(batches, 1);
    for (uint32_t i = 0; i < 3; i++) {
        active = fixture_begin(pair_active_dir, &healthy);
        pair_append_record(active, 3 + i);
        assert_int_equal(baton_journal_close(active), 0);
    }
    pair_follow_all(standby);
    assert_int_equal(baton_journal_close(standby), 0);
    assert_int_equal(pair_expect_same_batches(pair_standby_dir), batches + 1 + 3 * 2);

    baton_reader *reader = NULL; /* what was retired is gone */
    const baton_batch_header *batch;
    baton_error error = {0};
    const baton_position old = {.epoch = 1, .batch = 1, .seq = last};
    const baton_reader_options wanted = {.backend = BATON_BACKEND_THREADS};
    pair_fail_on(baton_reader_open_after(pair_active_dir, &wanted, old, (baton_digest){{1}},
                                         &reader, &error),
                 &error);
    pair_expect_status(baton_reader_next_batch(reader, &batch, &error), BATON_E_GONE, &error);
    baton_reader_close(reader);
    pair_expect_status(baton_reader_open_after(pair_active_dir, &wanted, (baton_position){1, 1, 2},
                                               (baton_digest){{1}}, &reader, &error),
                       BATON_E_GONE, &error);
}

/* A write of the killed one may still come to it (J10). */
static void a_segment_of_a_killed_follower_is_not_recycled(void **state)
{
    (void)state;
    pair_write_epoch(4000, true);
    baton_journal *standby;
    uint32_t batches, removed;
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    assert_int_equal(pair_follow_some(standby, 500, &batches), 0);
    assert_int_equal(baton_journal_flush(standby), 0);
    char last_path[TEST_PATH_BYTES];
    assert_true(fixture_segments(pair_standby_dir, NULL, last_path) >= 3);
    baton_journal_abandon(standby);
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    assert_int_equal(pair_follow_some(standby, 50, &batches), 0);
    assert_int_equal(baton_journal_flush(standby), 0);
    const uint64_t durable = baton_journal_durable_seq(standby);
    assert_int_equal(baton_journal_retire(standby, durable, &removed), 0);
    assert_true(removed >= 2);
    assert_false(fixture_exists(test_path(&pair_dir, "standby/SPARE-0")));
    pair_follow_all(standby);
    assert_int_equal(baton_journal_retire(standby, baton_journal_durable_seq(standby), &removed),
                     0);
    pair_promote(standby, 2);
    fixture_append_durable(standby, 5);
    assert_int_equal(baton_journal_close(standby), 0);
    baton_journal_summary summary;
    baton_error error = {0};
    pair_fail_on(
        baton_journal_verify(pair_standby_dir, BATON_BACKEND_THREADS, NULL, NULL, &summary, &error),
        &error);
}

static ino_t inode_once_there(baton_journal *journal, const char *name)
{
    char path[TEST_PATH_BYTES];
    struct stat status;
    snprintf(path, sizeof(path), "%.400s/%s", pair_standby_dir, name);
    while (stat(path, &status) < 0)
        assert_int_equal(baton_journal_poll(journal), 0);
    return status.st_ino;
}

/* Removing it and making another one would keep the device busy while clients wait. */
static void what_was_made_ahead_for_the_old_term_serves_the_new_one(void **state)
{
    (void)state;
    pair_write_epoch(4000, true);
    baton_journal *standby;
    uint32_t batches;
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    assert_int_equal(pair_follow_some(standby, 1, &batches), 0);
    const ino_t made = inode_once_there(standby, "0000000000000001-0000000000000002.seg");
    assert_int_equal(baton_journal_flush(standby), 0);
    pair_promote(standby, 2);
    assert_int_equal(inode_once_there(standby, "0000000000000002-0000000000000004.seg"), made);
    assert_false(
        fixture_exists(test_path(&pair_dir, "standby/0000000000000001-0000000000000002.seg")));
    const uint64_t before = baton_journal_last_seq(standby);
    for (uint32_t i = 0; i < 40; i++) /* into it, and through it */
        fixture_append_durable(standby, 100);
    assert_int_equal(baton_journal_close(standby), 0);
    fixture_expect(pair_standby_dir, 1, before + 4000);
}

static void write_name(const char *name, uint8_t byte)
{
    char path[TEST_PATH_BYTES];
    snprintf(path, sizeof(path), "%.400s/%s", pair_standby_dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (uint32_t i = 0; i < 8192; i++)
        fputc(byte, file);
    assert_int_equal(fclose(file), 0);
}

static void an_epoch_whose_name_stays_is_not_begun(void **state)
{
    (void)state;
    pair_write_epoch(30, false);
    baton_journal *standby;
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    pair_follow_all(standby);
    assert_int_equal(baton_journal_close(standby), 0);
    write_name("0000000000000002-0000000000000009.seg", 7); /* half a header */
    write_name("0000000000000004-000000000000000a.seg", 0); /* a ready one: it goes */
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    baton_error error = {0};
    pair_expect_status(baton_journal_promote(standby, 2, &error), BATON_E_INVALID, &error);
    pair_write_epoch(7, true); /* what was only named may be followed */
    pair_follow_all(standby);
    pair_promote(standby, 4);
    fixture_append_durable(standby, 3);
    assert_int_equal(baton_journal_close(standby), 0);
    fixture_expect(pair_standby_dir, 1, fixture_read_all(pair_active_dir) + 3);
}

static void a_start_that_no_header_can_say_is_refused(void **state)
{
    (void)state;
    pair_write_epoch(30, true);
    baton_journal *standby;
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    const baton_follow_start good = {.id = {{1}},
                                     .service = "fixture",
                                     .before = {.epoch = 1, .batch = 5, .seq = 9},
                                     .before_digest = {{3}}};
    baton_follow_start bad = good;
    baton_error error = {0};
    bad.facts.roots_count = BATON_SEGMENT_ROOTS_MAX + 1;
    pair_expect_status(baton_journal_follow_start(standby, &bad, &error), BATON_E_DAMAGED, &error);
    bad = good;
    memset(bad.service, 'x', sizeof(bad.service));
    pair_expect_status(baton_journal_follow_start(standby, &bad, &error), BATON_E_DAMAGED, &error);
    bad = good;
    bad.id = (baton_digest){{0}};
    pair_expect_status(baton_journal_follow_start(standby, &bad, &error), BATON_E_DAMAGED, &error);
    bad = good;
    bad.before.epoch = 0;
    pair_expect_status(baton_journal_follow_start(standby, &bad, &error), BATON_E_DAMAGED, &error);
    bad = good;
    bad.before.batch = 0;
    pair_expect_status(baton_journal_follow_start(standby, &bad, &error), BATON_E_DAMAGED, &error);
    bad = good;
    strcpy(bad.service, "another");
    pair_expect_status(baton_journal_follow_start(standby, &bad, &error), BATON_E_OTHER_SERVICE,
                       &error);
    assert_int_equal(baton_journal_close(standby), 0);

    write_name("0000000000000001-0000000000000002.seg", 7); /* of one that died at its header */
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    baton_reader *reader = NULL;
    const baton_batch_header *batch;
    baton_follow_start start;
    const baton_reader_options from = {.backend = BATON_BACKEND_THREADS, .from_seq = 15};
    pair_fail_on(baton_reader_open(pair_active_dir, &from, &reader, &error), &error);
    assert_int_equal(baton_reader_next_batch(reader, &batch, &error), 1);
    baton_reader_follow_start(reader, &start);
    assert_true(start.before.batch > 0);
    pair_fail_on(baton_journal_follow_start(standby, &start, &error), &error);
    pair_fail_on(pair_take(standby, batch, &error), &error);
    baton_reader_close(reader);
    pair_follow_all(standby);
    assert_int_equal(baton_journal_close(standby), 0);
    fixture_expect(pair_standby_dir, start.before.seq + 1, fixture_read_all(pair_active_dir));
}

static void readers_beside_an_idle_standby_see_what_it_has(void **state)
{
    (void)state;
    pair_write_epoch(30, true);
    baton_journal *standby;
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    pair_follow_all(standby);
    assert_int_equal(baton_journal_close(standby), 0);
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0); /* nothing comes */
    const baton_reader_options live = {.live = true, .backend = BATON_BACKEND_THREADS};
    baton_reader *reader = NULL;
    baton_error error = {0};
    baton_entry entry;
    pair_fail_on(baton_reader_open(pair_standby_dir, &live, &reader, &error), &error);
    for (uint64_t seq = 1; seq <= 35; seq++) {
        assert_int_equal(baton_reader_next(reader, &entry, &error), 1);
        assert_int_equal(entry.seq, seq);
    }
    assert_int_equal(baton_reader_next(reader, &entry, &error), 0);
    pair_promote(standby, 2); /* and over it into the new epoch */
    fixture_append_durable(standby, 2);
    assert_int_equal(baton_reader_next(reader, &entry, &error), 1);
    assert_int_equal(entry.seq, 36);
    assert_int_equal(entry.epoch, 2);
    baton_reader_close(reader);
    assert_int_equal(baton_journal_close(standby), 0);
}

/* Its cut would begin a term that nobody granted. */
static void a_torn_standby_is_not_repaired_but_started(void **state)
{
    (void)state;
    pair_write_epoch(30, true);
    baton_journal *standby;
    uint32_t batches;
    char path[TEST_PATH_BYTES];
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    assert_int_equal(pair_follow_some(standby, 3, &batches), 0);
    assert_int_equal(baton_journal_flush(standby), 0);
    fixture_segments(pair_standby_dir, path, NULL);
    baton_journal_abandon(standby);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 20 * 4096, SEEK_SET), 0);
    assert_int_equal(fputc(9, file), 9);
    assert_int_equal(fclose(file), 0);
    baton_repair_report report;
    baton_error error = {0};
    pair_expect_status(
        baton_journal_repair(pair_standby_dir, BATON_BACKEND_THREADS, false, &report, &error),
        BATON_E_REFUSED, &error);
    assert_int_equal(pair_try_begin_standby(pair_standby_dir, &standby), 0);
    pair_follow_all(standby);
    assert_int_equal(baton_journal_close(standby), 0);
    assert_int_equal(fixture_read_all(pair_standby_dir), fixture_read_all(pair_active_dir));
}

int main(void)
{
    const struct CMUnitTest on_both[] = {
        cmocka_unit_test_setup_teardown(the_reader_finds_what_stands_right_behind_a_retired_segment,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_segment_of_a_killed_follower_is_not_recycled, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_was_made_ahead_for_the_old_term_serves_the_new_one,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_epoch_whose_name_stays_is_not_begun, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_start_that_no_header_can_say_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(readers_beside_an_idle_standby_see_what_it_has, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_torn_standby_is_not_repaired_but_started, set_up,
                                        tear_down),
    };
    backend = BATON_BACKEND_THREADS;
    int failed = cmocka_run_group_tests_name("threads", on_both, NULL, NULL);
    if (fixture_uring_is_denied())
        return failed;
    backend = BATON_BACKEND_URING;
    return failed + cmocka_run_group_tests_name("uring", on_both, NULL, NULL);
}
