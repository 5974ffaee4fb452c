#include "tests/unit/journal_pair.h"

#include <stdio.h>
#include <string.h>

test_dir pair_dir;
char pair_active_dir[TEST_PATH_BYTES];
char pair_standby_dir[TEST_PATH_BYTES];
baton_journal_options pair_options;

void pair_set_up(const char *name, baton_backend backend)
{
    test_dir_make(&pair_dir, name);
    snprintf(pair_active_dir, sizeof(pair_active_dir), "%s", test_path(&pair_dir, "active"));
    snprintf(pair_standby_dir, sizeof(pair_standby_dir), "%s", test_path(&pair_dir, "standby"));
    pair_options = fixture_options();
    pair_options.backend = backend;
}

void pair_tear_down(void)
{
    test_dir_remove(&pair_dir);
}

/* ---- the active's side ---- */

void pair_append_record(baton_journal *journal, uint64_t seq)
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
void pair_write_epoch(uint32_t entries, bool close_it)
{
    baton_journal_options healthy = fixture_options();
    healthy.backend = BATON_BACKEND_THREADS;
    healthy.idle_mark_ns = 1;
    baton_journal *journal = fixture_begin(pair_active_dir, &healthy);
    for (uint32_t done = 0; done < entries; done += 7) {
        fixture_append_durable(journal, 7);
        if (done % 21 == 0)
            pair_append_record(journal, baton_journal_last_seq(journal));
    }
    if (close_it)
        assert_int_equal(baton_journal_close(journal), 0);
    else
        baton_journal_abandon(journal);
}

/* ---- the standby's side ---- */

void pair_fail_on(int r, const baton_error *error)
{
    char text[1024];
    if (r < 0)
        fail_msg("%s", baton_error_text(error, text, sizeof(text)));
}

int pair_try_begin_standby(const char *directory, baton_journal **ret_journal)
{
    baton_error error = {0};
    *ret_journal = NULL;
    baton_journal *journal;
    int r = baton_journal_open(directory, &pair_options, &journal, NULL, &error);
    if (r == 0 && (r = baton_journal_follow_begin(journal, &error)) < 0)
        baton_journal_abandon(journal);
    if (r == 0)
        *ret_journal = journal;
    return r;
}

baton_reader *pair_open_source(const baton_journal *standby)
{
    baton_digest digest;
    const baton_position end = baton_journal_follow_end(standby, &digest);
    const baton_reader_options wanted = {.backend = BATON_BACKEND_THREADS};
    baton_error error = {0};
    baton_reader *reader = NULL;
    pair_fail_on(baton_reader_open_after(pair_active_dir, &wanted, end, digest, &reader, &error),
                 &error);
    return reader;
}

/* One batch; waits for those before it where there is no room. */
int pair_take(baton_journal *standby, const baton_batch_header *batch, baton_error *error)
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
int pair_follow_some(baton_journal *standby, uint32_t most, uint32_t *ret_batches)
{
    baton_reader *reader = pair_open_source(standby);
    const baton_batch_header *batch;
    baton_error error = {0};
    int r = 0;
    *ret_batches = 0;
    while (*ret_batches < most && r == 0 &&
           (r = baton_reader_next_batch(reader, &batch, &error)) == 1) {
        if (baton_digest_is_zero(baton_journal_id(standby))) {
            baton_follow_start start;
            baton_reader_follow_start(reader, &start);
            pair_fail_on(baton_journal_follow_start(standby, &start, &error), &error);
        }
        r = pair_take(standby, batch, &error);
        if (r == 0)
            ++*ret_batches;
    }
    baton_reader_close(reader);
    return r;
}

uint32_t pair_follow_all(baton_journal *standby)
{
    uint32_t batches;
    baton_digest digest;
    assert_int_equal(pair_follow_some(standby, UINT32_MAX, &batches), 0);
    assert_int_equal(baton_journal_flush(standby), 0);
    assert_int_equal(baton_journal_durable_position(standby).batch,
                     baton_journal_follow_end(standby, &digest).batch);
    return batches;
}

/* From the standby's first batch on, each batch of it is the active's, to the byte. */
uint32_t pair_expect_same_batches(const char *standby)
{
    const baton_reader_options at_rest = {.backend = BATON_BACKEND_THREADS};
    const baton_batch_header *ours, *theirs;
    baton_reader *mine = NULL, *source = NULL;
    baton_error error = {0};
    uint32_t count = 0;
    pair_fail_on(baton_reader_open(standby, &at_rest, &mine, &error), &error);
    pair_fail_on(baton_reader_open(pair_active_dir, &at_rest, &source, &error), &error);
    for (;;) {
        int r = baton_reader_next_batch(mine, &ours, &error);
        pair_fail_on(r, &error);
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

void pair_promote(baton_journal *standby, uint64_t epoch)
{
    baton_error error = {0};
    pair_fail_on(baton_journal_promote(standby, epoch, &error), &error);
    assert_int_equal(baton_journal_epoch(standby), epoch);
}

void pair_expect_status(int r, int expected, const baton_error *error)
{
    char text[1024];
    if (r != expected)
        fail_msg("%s, not %s: %s", baton_status_name(r), baton_status_name(expected),
                 r < 0 ? baton_error_text(error, text, sizeof(text)) : "");
}
