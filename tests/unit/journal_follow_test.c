/* A standby's journal (follow.h): the same batches, byte for byte,; and the writer that it becomes. A
 * fault at every operation: tests/sim/journal_follow_sim.c. */
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
    memcpy(bytes, batch, size);
    changed->durable_batch = changed->batch; /* recovery would not accept it */
    (void)baton_batch_seal(changed);
    assert_int_equal(baton_journal_follow(standby, changed, size, &error), BATON_E_DAMAGED);

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

/* ---- one killed here, another one goes on ---- */

static void expect_status(int r, int expected, const baton_error *error)
{
    char text[1024];
    if (r != expected)
        fail_msg("%s, not %s: %s", baton_status_name(r), baton_status_name(expected),
                 r < 0 ? baton_error_text(error, text, sizeof(text)) : "");
}

/* Batches without entries, each in a term of its own, behind a retired segment. */
static void the_reader_finds_what_stands_right_behind_a_retired_segment(void **state)
{
    (void)state;
    baton_journal_options healthy = fixture_options();
    healthy.backend = BATON_BACKEND_THREADS;
    write_epoch(21, true);
    const uint64_t last = fixture_read_all(active_dir);
    baton_journal *standby;
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    baton_journal *active = fixture_begin(active_dir, &healthy);
    append_record(active, 1);
    append_record(active, 2);
    uint32_t removed, batches;
    assert_int_equal(baton_journal_retire(active, last + 1, &removed), 0);
    assert_int_equal(removed, 1);
    baton_journal_abandon(active);
    assert_int_equal(follow_some(standby, 1, &batches), 0); /* that record, and not the next */
    assert_int_equal(batches, 1);
    for (uint32_t i = 0; i < 3; i++) {
        active = fixture_begin(active_dir, &healthy);
        append_record(active, 3 + i);
        assert_int_equal(baton_journal_close(active), 0);
    }
    follow_all(standby);
    assert_int_equal(baton_journal_close(standby), 0);
    assert_int_equal(expect_same_batches(standby_dir), batches + 1 + 3 * 2);

    baton_reader *reader = NULL; /* what was retired is gone */
    const baton_batch_header *batch;
    baton_error error = {0};
    const baton_position old = {.epoch = 1, .batch = 1, .seq = last};
    const baton_reader_options wanted = {.backend = BATON_BACKEND_THREADS};
    fail_on(baton_reader_open_after(active_dir, &wanted, old, (baton_digest){{1}}, &reader, &error),
            &error);
    expect_status(baton_reader_next_batch(reader, &batch, &error), BATON_E_GONE, &error);
    baton_reader_close(reader);
    expect_status(baton_reader_open_after(active_dir, &wanted, (baton_position){1, 1, 2},
                                          (baton_digest){{1}}, &reader, &error),
                  BATON_E_GONE, &error);
}

/* A write of the killed one may still come to it (J10). */
static void a_segment_of_a_killed_follower_is_not_recycled(void **state)
{
    (void)state;
    write_epoch(4000, true);
    baton_journal *standby;
    uint32_t batches, removed;
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    assert_int_equal(follow_some(standby, 500, &batches), 0);
    assert_int_equal(baton_journal_flush(standby), 0);
    char last_path[TEST_PATH_BYTES];
    assert_true(fixture_segments(standby_dir, NULL, last_path) >= 3);
    baton_journal_abandon(standby);
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    assert_int_equal(follow_some(standby, 50, &batches), 0);
    assert_int_equal(baton_journal_flush(standby), 0);
    const uint64_t durable = baton_journal_durable_seq(standby);
    assert_int_equal(baton_journal_retire(standby, durable, &removed), 0);
    assert_true(removed >= 2);
    assert_false(fixture_exists(test_path(&dir, "standby/SPARE-0")));
    follow_all(standby);
    assert_int_equal(baton_journal_retire(standby, baton_journal_durable_seq(standby), &removed),
                     0);
    promote(standby, 2);
    fixture_append_durable(standby, 5);
    assert_int_equal(baton_journal_close(standby), 0);
    baton_journal_summary summary;
    baton_error error = {0};
    fail_on(baton_journal_verify(standby_dir, BATON_BACKEND_THREADS, NULL, NULL, &summary, &error),
            &error);
}

static void write_name(const char *name, uint8_t byte)
{
    char path[TEST_PATH_BYTES];
    snprintf(path, sizeof(path), "%.400s/%s", standby_dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (uint32_t i = 0; i < 8192; i++)
        fputc(byte, file);
    assert_int_equal(fclose(file), 0);
}

static void an_epoch_whose_name_stays_is_not_begun(void **state)
{
    (void)state;
    write_epoch(30, false);
    baton_journal *standby;
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    follow_all(standby);
    assert_int_equal(baton_journal_close(standby), 0);
    write_name("0000000000000002-0000000000000009.seg", 7); /* half a header */
    write_name("0000000000000004-000000000000000a.seg", 0); /* a ready one: it goes */
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    baton_error error = {0};
    expect_status(baton_journal_promote(standby, 2, &error), BATON_E_INVALID, &error);
    write_epoch(7, true); /* what was only named may be followed */
    follow_all(standby);
    promote(standby, 4);
    fixture_append_durable(standby, 3);
    assert_int_equal(baton_journal_close(standby), 0);
    fixture_expect(standby_dir, 1, fixture_read_all(active_dir) + 3);
}

static void a_start_that_no_header_can_say_is_refused(void **state)
{
    (void)state;
    write_epoch(30, true);
    baton_journal *standby;
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    const baton_follow_start good = {.id = {{1}},
                                     .service = "fixture",
                                     .before = {.epoch = 1, .batch = 5, .seq = 9},
                                     .before_digest = {{3}}};
    baton_follow_start bad = good;
    baton_error error = {0};
    bad.facts.roots_count = BATON_SEGMENT_ROOTS_MAX + 1;
    expect_status(baton_journal_follow_start(standby, &bad, &error), BATON_E_DAMAGED, &error);
    bad = good;
    memset(bad.service, 'x', sizeof(bad.service));
    expect_status(baton_journal_follow_start(standby, &bad, &error), BATON_E_DAMAGED, &error);
    bad = good;
    bad.id = (baton_digest){{0}};
    expect_status(baton_journal_follow_start(standby, &bad, &error), BATON_E_DAMAGED, &error);
    bad = good;
    bad.before.epoch = 0;
    expect_status(baton_journal_follow_start(standby, &bad, &error), BATON_E_DAMAGED, &error);
    bad = good;
    bad.before.batch = 0;
    expect_status(baton_journal_follow_start(standby, &bad, &error), BATON_E_DAMAGED, &error);
    bad = good;
    strcpy(bad.service, "another");
    expect_status(baton_journal_follow_start(standby, &bad, &error), BATON_E_OTHER_SERVICE, &error);
    assert_int_equal(baton_journal_close(standby), 0);

    write_name("0000000000000001-0000000000000002.seg", 7); /* of one that died at its header */
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    baton_reader *reader = NULL;
    const baton_batch_header *batch;
    baton_follow_start start;
    const baton_reader_options from = {.backend = BATON_BACKEND_THREADS, .from_seq = 15};
    fail_on(baton_reader_open(active_dir, &from, &reader, &error), &error);
    assert_int_equal(baton_reader_next_batch(reader, &batch, &error), 1);
    baton_reader_follow_start(reader, &start);
    assert_true(start.before.batch > 0);
    fail_on(baton_journal_follow_start(standby, &start, &error), &error);
    fail_on(take(standby, batch, &error), &error);
    baton_reader_close(reader);
    follow_all(standby);
    assert_int_equal(baton_journal_close(standby), 0);
    fixture_expect(standby_dir, start.before.seq + 1, fixture_read_all(active_dir));
}

static void readers_beside_an_idle_standby_see_what_it_has(void **state)
{
    (void)state;
    write_epoch(30, true);
    baton_journal *standby;
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    follow_all(standby);
    assert_int_equal(baton_journal_close(standby), 0);
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0); /* nothing comes */
    const baton_reader_options live = {.live = true, .backend = BATON_BACKEND_THREADS};
    baton_reader *reader = NULL;
    baton_error error = {0};
    baton_entry entry;
    fail_on(baton_reader_open(standby_dir, &live, &reader, &error), &error);
    for (uint64_t seq = 1; seq <= 35; seq++) {
        assert_int_equal(baton_reader_next(reader, &entry, &error), 1);
        assert_int_equal(entry.seq, seq);
    }
    assert_int_equal(baton_reader_next(reader, &entry, &error), 0);
    promote(standby, 2); /* and over it into the new epoch */
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
    write_epoch(30, true);
    baton_journal *standby;
    uint32_t batches;
    char path[TEST_PATH_BYTES];
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    assert_int_equal(follow_some(standby, 3, &batches), 0);
    assert_int_equal(baton_journal_flush(standby), 0);
    fixture_segments(standby_dir, path, NULL);
    baton_journal_abandon(standby);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 20 * 4096, SEEK_SET), 0);
    assert_int_equal(fputc(9, file), 9);
    assert_int_equal(fclose(file), 0);
    baton_repair_report report;
    baton_error error = {0};
    expect_status(baton_journal_repair(standby_dir, BATON_BACKEND_THREADS, false, &report, &error),
                  BATON_E_REFUSED, &error);
    assert_int_equal(try_begin_standby(standby_dir, &standby), 0);
    follow_all(standby);
    assert_int_equal(baton_journal_close(standby), 0);
    assert_int_equal(fixture_read_all(standby_dir), fixture_read_all(active_dir));
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
        cmocka_unit_test_setup_teardown(the_reader_finds_what_stands_right_behind_a_retired_segment,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_segment_of_a_killed_follower_is_not_recycled, set_up,
                                        tear_down),
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
