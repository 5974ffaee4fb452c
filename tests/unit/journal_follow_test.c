/* A standby's journal (follow.h): the same batches, byte for byte, whatever happens to it; and the
 * writer that it becomes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "journal/follow.h"
#include "tests/unit/journal_fixture.h"

static baton_backend backend; /* set by main for a whole run of the tests */
static test_dir dir;
static char active_dir[TEST_PATH_BYTES];
static char standby_dir[TEST_PATH_BYTES];
static baton_journal_options options;

static int set_up(void **state)
{
    (void)state;
    test_dir_make(&dir, "journal_follow");
    snprintf(active_dir, sizeof(active_dir), "%s", test_path(&dir, "active"));
    snprintf(standby_dir, sizeof(standby_dir), "%s", test_path(&dir, "standby"));
    options = fixture_options();
    options.backend = backend;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_dir_remove(&dir);
    return 0;
}

/* ---- the active's side ---- */

static void append_record(baton_journal *journal, uint64_t seq)
{
    const baton_root_wire root = {.seq = baton_le64_put(seq), .root = {(uint8_t)seq, 7}};
    int r;
    while ((r = baton_journal_append_record(journal, BATON_RECORD_ROOT, &root, sizeof(root))) ==
           BATON_E_FULL)
        assert_int_equal(baton_journal_poll(journal), 0);
    assert_int_equal(r, 0);
    assert_int_equal(baton_journal_flush(journal), 0);
}

/* An epoch of several segments, with records and marks; with a dirty end or a close mark. */
static void write_epoch(uint32_t entries, bool close_it)
{
    baton_journal_options healthy = fixture_options();
    healthy.backend = BATON_BACKEND_THREADS;
    healthy.idle_mark_ns = 1;
    baton_journal *journal = fixture_begin(active_dir, &healthy);
    for (uint32_t done = 0; done < entries; done += 7) {
        fixture_append_durable(journal, 7);
        if (done % 21 == 0)
            append_record(journal, baton_journal_last_seq(journal));
    }
    if (close_it)
        assert_int_equal(baton_journal_close(journal), 0);
    else
        baton_journal_abandon(journal);
}

/* ---- the standby's side ---- */

static void fail_on(int r, const baton_error *error)
{
    char text[1024];
    if (r < 0)
        fail_msg("%s", baton_error_text(error, text, sizeof(text)));
}

static int try_begin_standby(const char *directory, baton_journal **ret_journal)
{
    baton_error error = {0};
    *ret_journal = NULL;
    baton_journal *journal;
    int r = baton_journal_open(directory, &options, &journal, NULL, &error);
    if (r == 0 && (r = baton_journal_follow_begin(journal, &error)) < 0)
        baton_journal_abandon(journal);
    if (r == 0)
        *ret_journal = journal;
    return r;
}

static baton_reader *open_source(const baton_journal *standby)
{
    baton_digest digest;
    const baton_position end = baton_journal_follow_end(standby, &digest);
    const baton_reader_options wanted = {.backend = BATON_BACKEND_THREADS};
    baton_error error = {0};
    baton_reader *reader = NULL;
    fail_on(baton_reader_open_after(active_dir, &wanted, end, digest, &reader, &error), &error);
    return reader;
}

/* One batch; waits for those before it where there is no room. */
static int take(baton_journal *standby, const baton_batch_header *batch, baton_error *error)
{
    const uint64_t bytes = baton_le32_get(batch->batch_bytes);
    int r;
    while ((r = baton_journal_follow(standby, batch, bytes, error)) == BATON_E_FULL) {
        r = baton_journal_flush(standby);
        if (r < 0)
            return r;
    }
    return r;
}

/* Everything that the reader has, up to `most` batches. Counts them in *ret_batches. */
static int follow_some(baton_journal *standby, uint32_t most, uint32_t *ret_batches)
{
    baton_reader *reader = open_source(standby);
    const baton_batch_header *batch;
    baton_error error = {0};
    int r = 0;
    *ret_batches = 0;
    while (*ret_batches < most && r == 0 &&
           (r = baton_reader_next_batch(reader, &batch, &error)) == 1) {
        if (baton_digest_is_zero(baton_journal_id(standby))) {
            baton_follow_start start;
            baton_reader_follow_start(reader, &start);
            fail_on(baton_journal_follow_start(standby, &start, &error), &error);
        }
        r = take(standby, batch, &error);
        if (r == 0)
            ++*ret_batches;
    }
    baton_reader_close(reader);
    return r;
}

static uint32_t follow_all(baton_journal *standby)
{
    uint32_t batches;
    baton_digest digest;
    assert_int_equal(follow_some(standby, UINT32_MAX, &batches), 0);
    assert_int_equal(baton_journal_flush(standby), 0);
    assert_int_equal(baton_journal_durable_position(standby).batch,
                     baton_journal_follow_end(standby, &digest).batch);
    return batches;
}

/* From the standby's first batch on, each batch of it is the active's, to the byte. */
static uint32_t expect_same_batches(const char *standby)
{
    const baton_reader_options at_rest = {.backend = BATON_BACKEND_THREADS};
    const baton_batch_header *ours, *theirs;
    baton_reader *mine = NULL, *source = NULL;
    baton_error error = {0};
    uint32_t count = 0;
    fail_on(baton_reader_open(standby, &at_rest, &mine, &error), &error);
    fail_on(baton_reader_open(active_dir, &at_rest, &source, &error), &error);
    for (;;) {
        int r = baton_reader_next_batch(mine, &ours, &error);
        fail_on(r, &error);
        if (r == 0)
            break;
        do
            assert_int_equal(baton_reader_next_batch(source, &theirs, &error), 1);
        while (baton_le64_get(theirs->batch) < baton_le64_get(ours->batch));
        assert_int_equal(baton_le32_get(ours->batch_bytes), baton_le32_get(theirs->batch_bytes));
        assert_memory_equal(ours, theirs, baton_le32_get(ours->batch_bytes));
        count++;
    }
    baton_reader_close(mine);
    baton_reader_close(source);
    return count;
}

static void promote(baton_journal *standby, uint64_t epoch)
{
    baton_error error = {0};
    fail_on(baton_journal_promote(standby, epoch, &error), &error);
    assert_int_equal(baton_journal_epoch(standby), epoch);
}

/* ---- tests ---- */

static void a_standby_has_every_batch_byte_for_byte(void **state)
{
    (void)state;
    write_epoch(400, true);
    write_epoch(300, false);
    write_epoch(500, true);
    baton_journal *standby;
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    const uint32_t batches = follow_all(standby);
    assert_int_equal(baton_journal_close(standby), 0);
    assert_int_equal(expect_same_batches(standby_dir), batches);
    assert_int_equal(fixture_read_all(standby_dir), fixture_read_all(active_dir));
}

static void a_standby_that_starts_again_goes_on_where_it_stood(void **state)
{
    (void)state;
    write_epoch(300, false);
    write_epoch(200, false);
    uint32_t all = 0;
    for (uint32_t n = 1;; n++) {
        baton_journal *standby;
        uint32_t batches;
        assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
        assert_int_equal(follow_some(standby, n % 5 + 1, &batches), 0);
        all += batches;
        if (n % 2 == 0)
            assert_int_equal(baton_journal_close(standby), 0);
        else
            baton_journal_abandon(standby);
        if (batches == 0)
            break;
    }
    assert_int_equal(expect_same_batches(standby_dir), all);
    assert_int_equal(fixture_read_all(standby_dir), fixture_read_all(active_dir));
}

static void a_standby_appends_nothing_and_takes_no_epoch(void **state)
{
    (void)state;
    write_epoch(20, false);
    baton_journal *standby;
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    assert_int_equal(baton_journal_append(standby, 1, "x", 1, NULL), BATON_E_INVALID);
    follow_all(standby);
    assert_int_equal(baton_journal_epoch(standby), 1);
    assert_int_equal(baton_journal_append(standby, 1, "x", 1, NULL), BATON_E_INVALID);
    baton_error error = {0};
    assert_int_equal(baton_journal_begin(standby, NULL, &error), BATON_E_INVALID);
    assert_int_equal(baton_journal_close(standby), 0);
    expect_same_batches(standby_dir); /* no mark of its own either */
}

static void a_promoted_standby_goes_on_with_the_next_seq_and_an_unbroken_chain(void **state)
{
    (void)state;
    write_epoch(200, false);
    const uint64_t last = fixture_read_all(active_dir);
    baton_journal *standby;
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    follow_all(standby);
    baton_error error = {0};
    assert_int_equal(baton_journal_promote(standby, 1, &error), BATON_E_INVALID);
    fail_on(baton_journal_prepare_promotion(standby, 2, &error), &error);
    promote(standby, 2);
    fixture_append_durable(standby, 300);
    assert_int_equal(baton_journal_close(standby), 0);
    fixture_expect(standby_dir, 1, last + 300);
    fail_on(baton_journal_verify_continues(active_dir, standby_dir, BATON_BACKEND_THREADS, &error),
            &error);

    baton_journal *again = fixture_begin(standby_dir, &options); /* an ordinary journal now */
    assert_int_equal(baton_journal_epoch(again), 3);
    fixture_append_durable(again, 3);
    assert_int_equal(baton_journal_close(again), 0);
    fixture_expect(standby_dir, 1, last + 303);
}

static void what_was_prepared_for_an_epoch_that_was_not_granted_goes_away(void **state)
{
    (void)state;
    write_epoch(30, false);
    baton_journal *standby;
    baton_error error = {0};
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    follow_all(standby);
    fail_on(baton_journal_prepare_promotion(standby, 2, &error), &error);
    write_epoch(400, false); /* the active goes on, in that very epoch, over several segments */
    follow_all(standby);
    fail_on(baton_journal_prepare_promotion(standby, 3, &error), &error);
    baton_journal_abandon(standby); /* killed: its file stays */
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    write_epoch(30, true);
    follow_all(standby);
    promote(standby, 4);
    fixture_append_durable(standby, 5);
    assert_int_equal(baton_journal_close(standby), 0);
    fixture_expect(standby_dir, 1, fixture_read_all(active_dir) + 5);
}

static void the_old_one_can_follow_the_new_one(void **state)
{
    (void)state;
    write_epoch(100, true); /* its close mark is not a part of the new one's chain: it is cut */
    baton_journal *standby;
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    uint32_t batches;
    assert_int_equal(follow_some(standby, 12, &batches), 0);
    assert_int_equal(batches, 12);
    follow_all(standby);
    promote(standby, 2);
    fixture_append_durable(standby, 200);
    assert_int_equal(baton_journal_close(standby), 0);

    char swap[TEST_PATH_BYTES];
    memcpy(swap, active_dir, sizeof(swap));
    memcpy(active_dir, standby_dir, sizeof(swap));
    memcpy(standby_dir, swap, sizeof(swap));
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    follow_all(standby);
    promote(standby, 3);
    fixture_append_durable(standby, 9);
    assert_int_equal(baton_journal_close(standby), 0);
    fixture_expect(standby_dir, 1, fixture_read_all(active_dir) + 9);
}

static void a_standby_may_begin_in_the_middle(void **state)
{
    (void)state;
    baton_journal_options healthy = fixture_options();
    healthy.backend = BATON_BACKEND_THREADS;
    healthy.no_spares = true;
    baton_journal *active = fixture_begin(active_dir, &healthy);
    append_record(active, 3);
    for (uint32_t i = 0; i < 40; i++)
        fixture_append_durable(active, 100);
    uint32_t removed = 0;
    assert_int_equal(baton_journal_retire(active, 3000, &removed), 0);
    assert_true(removed > 0);
    assert_int_equal(baton_journal_close(active), 0);

    baton_journal *standby;
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    baton_reader *reader = NULL;
    baton_error error = {0};
    const baton_batch_header *batch;
    const baton_reader_options from = {.backend = BATON_BACKEND_THREADS, .from_seq = 3001};
    fail_on(baton_reader_open(active_dir, &from, &reader, &error), &error);
    assert_int_equal(baton_reader_next_batch(reader, &batch, &error), 1);
    baton_follow_start start;
    baton_reader_follow_start(reader, &start);
    assert_true(start.before.batch > 0);
    assert_true(start.before.seq <= 3000);
    assert_int_equal(start.facts.roots_count, 1); /* the record stands in a retired segment */
    fail_on(baton_journal_follow_start(standby, &start, &error), &error);
    fail_on(take(standby, batch, &error), &error);
    baton_reader_close(reader);
    follow_all(standby);
    assert_int_equal(baton_journal_facts(standby)->roots_count, 1);
    promote(standby, 2);
    fixture_append_durable(standby, 5);
    assert_int_equal(baton_journal_close(standby), 0);
    assert_true(expect_same_batches(active_dir) > 0);
    fixture_expect(standby_dir, start.before.seq + 1, 4005);

    assert_int_equal(try_begin_standby(test_path(&dir, "other"), &standby), 0);
    const baton_reader_options retired = {.backend = BATON_BACKEND_THREADS, .from_seq = 5};
    assert_int_equal(baton_reader_open(active_dir, &retired, &reader, &error), BATON_E_GONE);
    assert_int_equal(baton_journal_close(standby), 0);
}

static void what_does_not_go_on_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    static _Alignas(4096) uint8_t bytes[128 << 10];
    write_epoch(30, true);
    baton_journal *standby;
    uint32_t batches;
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    assert_int_equal(follow_some(standby, 3, &batches), 0);
    baton_reader *reader = open_source(standby);
    const baton_batch_header *batch;
    baton_error error = {0};
    baton_digest digest;
    const baton_position end = baton_journal_follow_end(standby, &digest);
    assert_int_equal(baton_reader_next_batch(reader, &batch, &error), 1);
    const uint32_t size = baton_le32_get(batch->batch_bytes);
    baton_batch_header *changed = (baton_batch_header *)bytes;

    for (uint32_t at = 0; at < size; at += at < 256 ? 1 : 61) { /* every bit counts */
        memcpy(bytes, batch, size);
        bytes[at] ^= 1;
        const int r = baton_journal_follow(standby, changed, size, &error);
        assert_true(r == BATON_E_DAMAGED || r == BATON_E_NEWER_FORMAT);
    }
    for (uint32_t less = 0; less < size; less += 512)
        assert_int_equal(baton_journal_follow(standby, batch, less, &error), BATON_E_DAMAGED);
    memcpy(bytes, batch, size);
    changed->previous_digest[3] ^= 1;
    (void)baton_batch_seal(changed);
    assert_int_equal(baton_journal_follow(standby, changed, size, &error), BATON_E_DIVERGED);
    memcpy(bytes, batch, size);
    changed->journal_id[3] ^= 1;
    (void)baton_batch_seal(changed);
    assert_int_equal(baton_journal_follow(standby, changed, size, &error), BATON_E_OTHER_JOURNAL);
    memcpy(bytes, batch, size);
    changed->batch = baton_le64_put(end.batch + 2);
    (void)baton_batch_seal(changed);
    assert_int_equal(baton_journal_follow(standby, changed, size, &error), BATON_E_DIVERGED);

    assert_int_equal(baton_journal_follow(standby, batch, size, &error), 0);
    assert_int_equal(baton_journal_follow(standby, batch, size, &error), BATON_E_DIVERGED);
    baton_reader_close(reader);
    follow_all(standby);
    assert_int_equal(baton_journal_close(standby), 0);
    assert_int_equal(fixture_read_all(standby_dir), fixture_read_all(active_dir));
}

static void an_epoch_that_was_begun_here_is_not_followed_over(void **state)
{
    (void)state;
    write_epoch(30, false);
    baton_journal *standby;
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    follow_all(standby);
    promote(standby, 2);
    baton_journal_abandon(standby); /* nothing written yet but the header */
    write_epoch(7, true);           /* epoch 2 as well: two writers, which must be told */
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    uint32_t batches;
    assert_int_equal(follow_some(standby, 1, &batches), BATON_E_DIVERGED);
    assert_int_equal(baton_journal_close(standby), 0);
    assert_int_equal(fixture_read_all(standby_dir), 35);
}

/* ---- every fault at every operation ---- */

static io_fault *fault;

typedef struct {
    uint64_t durable_batch; /* said to be durable here */
    bool promoted;
    int failed;
} outcome;

/* Two starts of a standby, and its promotion; stops at the first failure. */
static outcome script(const char *directory)
{
    outcome result = {0};
    for (uint32_t start = 0; start < 2 && result.failed == 0; start++) {
        baton_journal *standby;
        uint32_t batches;
        result.failed = try_begin_standby(directory, &standby);
        if (result.failed < 0)
            break;
        result.failed = follow_some(standby, start == 0 ? 8 : 1000, &batches);
        if (result.failed == 0)
            result.failed = baton_journal_flush(standby);
        if (baton_journal_durable_position(standby).batch > result.durable_batch)
            result.durable_batch = baton_journal_durable_position(standby).batch;
        if (result.failed == 0 && start == 1) {
            result.failed = baton_journal_promote(standby, 3, NULL);
            result.promoted = result.failed == 0;
        }
        int r = baton_journal_close(standby);
        if (result.failed == 0)
            result.failed = r;
    }
    return result;
}

/* On a healthy machine it has all that was said to be durable, goes on, and becomes the writer. */
static void check_after(const char *directory, outcome result, uint64_t n, uint64_t last_seq)
{
    const baton_journal_options faulty = options;
    options = fixture_options();
    options.backend = BATON_BACKEND_THREADS;
    baton_journal *standby = NULL;
    baton_recovery_report report = {0};
    baton_error error = {0};
    char text[1024];
    int r = baton_journal_open(directory, &options, &standby, &report, &error);
    if (r < 0 || report.last.batch < result.durable_batch)
        fail_msg("operation %d: %s", (int)n,
                 r < 0 ? baton_error_text(&error, text, sizeof(text)) : "a durable batch is gone");
    if (result.promoted) {
        assert_int_equal(report.last.seq, last_seq);
        fail_on(baton_journal_begin(standby, &report, &error), &error);
        assert_int_equal(baton_journal_epoch(standby), 4);
    } else {
        fail_on(baton_journal_follow_begin(standby, &error), &error);
        follow_all(standby);
        r = baton_journal_promote(standby, 3, &error);
        if (r == BATON_E_INVALID) /* the header was durable, though nobody was told */
            r = baton_journal_promote(standby, 4, &error);
        fail_on(r, &error);
    }
    fixture_append_durable(standby, 3);
    assert_int_equal(baton_journal_close(standby), 0);
    fixture_expect(directory, 1, last_seq + 3);
    options = faulty;
}

static void sweep(void (*rule)(uint64_t n))
{
    write_epoch(49, false);
    write_epoch(21, true);
    const uint64_t last_seq = fixture_read_all(active_dir);
    fault = io_fault_new();
    options.backend = BATON_BACKEND_AUTO;
    options.io_backend = io_fault_backend();
    options.io_context = fault;
    const outcome healthy = script(test_path(&dir, "count"));
    assert_int_equal(healthy.failed, 0);
    const uint64_t count = io_fault_count(fault);
    assert_true(count > 60);
    for (uint64_t n = 1; n <= count; n++) {
        char path[TEST_PATH_BYTES];
        snprintf(path, sizeof(path), "%.400s/n%d", dir.path, (int)n);
        io_fault_free(fault);
        fault = io_fault_new();
        options.io_context = fault;
        rule(n);
        const outcome result = script(path);
        check_after(path, result, n, last_seq);
        test_dir done;
        snprintf(done.path, sizeof(done.path), "%.500s", path);
        test_dir_remove(&done);
    }
    io_fault_free(fault);
    print_message("%d operations\n", (int)count);
}

static void fail_one(uint64_t n)
{
    io_fault_fail(fault, n, EIO);
}

static void crash_after(uint64_t n)
{
    io_fault_crash_after(fault, n);
    io_fault_set_order(fault, IO_FAULT_RANDOM, n);
    io_fault_set_gather(fault, 3);
}

static void tear(uint64_t n)
{
    io_fault_tear(fault, n, n % 3 == 0 ? 512 : n % 3 == 1 ? 4096 : 100);
    io_fault_crash_after(fault, n);
}

static void a_failure_at_any_operation_loses_nothing(void **state)
{
    (void)state;
    sweep(fail_one);
}

static void a_crash_after_any_operation_loses_nothing(void **state)
{
    (void)state;
    sweep(crash_after);
}

static void a_torn_write_at_any_operation_loses_nothing(void **state)
{
    (void)state;
    sweep(tear);
}

int main(void)
{
    const struct CMUnitTest on_both[] = {
        cmocka_unit_test_setup_teardown(a_standby_has_every_batch_byte_for_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_standby_that_starts_again_goes_on_where_it_stood, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_standby_appends_nothing_and_takes_no_epoch, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_promoted_standby_goes_on_with_the_next_seq_and_an_unbroken_chain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            what_was_prepared_for_an_epoch_that_was_not_granted_goes_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_old_one_can_follow_the_new_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_standby_may_begin_in_the_middle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_does_not_go_on_is_refused_and_changes_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_epoch_that_was_begun_here_is_not_followed_over, set_up,
                                        tear_down),
    };
    const struct CMUnitTest sweeps[] = {
        cmocka_unit_test_setup_teardown(a_failure_at_any_operation_loses_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_crash_after_any_operation_loses_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_torn_write_at_any_operation_loses_nothing, set_up,
                                        tear_down),
    };
    backend = BATON_BACKEND_THREADS;
    int failed = cmocka_run_group_tests_name("threads", on_both, NULL, NULL);
    failed += cmocka_run_group_tests_name("sweeps", sweeps, NULL, NULL);
    if (fixture_uring_is_denied())
        return failed;
    backend = BATON_BACKEND_URING;
    return failed + cmocka_run_group_tests_name("uring", on_both, NULL, NULL);
}
