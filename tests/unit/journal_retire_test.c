/* Retention: what may go, what must stay, and that nothing standing is lost with it (J11). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "journal/hint.h"
#include "tests/unit/journal_fixture.h"

static baton_backend backend; /* set by main for a whole run of the tests */
static test_dir dir;
static baton_journal_options options;
static char journal_dir[TEST_PATH_BYTES];

static int set_up(void **state)
{
    (void)state;
    test_dir_make(&dir, "journal_retire");
    snprintf(journal_dir, sizeof(journal_dir), "%s", test_path(&dir, "j"));
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

/* The oldest entry that can be read, and that all from there on can. */
static uint64_t oldest_entry(uint64_t last)
{
    baton_reader *reader;
    baton_entry entry;
    assert_int_equal(baton_reader_open(journal_dir, NULL, &reader, NULL), 0);
    int r = baton_reader_next(reader, &entry, NULL);
    uint64_t first = r == 1 ? entry.seq : last + 1;
    uint64_t seq = first;
    while (r == 1) {
        assert_int_equal(entry.seq, seq++);
        r = baton_reader_next(reader, &entry, NULL);
    }
    assert_int_equal(r, 0);
    assert_int_equal(seq, last + 1);
    baton_reader_close(reader);
    return first;
}

/* Several segments: a first term, and a second one that is still open. */
static baton_journal *grow(void)
{
    baton_journal *journal = fixture_begin(journal_dir, &options);
    fixture_append_durable(journal, 6000);
    assert_int_equal(baton_journal_close(journal), 0);
    journal = fixture_begin(journal_dir, &options);
    fixture_append_durable(journal, 6000);
    return journal;
}

static void what_holds_a_wanted_entry_stays(void **state)
{
    (void)state;
    baton_journal *journal = grow();
    uint32_t removed;
    assert_int_equal(baton_journal_retire(journal, 0, &removed), 0);
    assert_int_equal(removed, 0);
    assert_int_equal(baton_journal_retire(journal, 1, &removed), 0);
    assert_int_equal(removed, 0);
    uint64_t oldest = 1;
    for (uint64_t keep = 500; keep <= 12000; keep += 500) {
        assert_int_equal(baton_journal_retire(journal, keep, &removed), 0);
        if (keep % 2500 != 0 && keep != 12000) /* a look reads it all */
            continue;
        uint64_t first = oldest_entry(12000);
        assert_true(first <= keep && first >= oldest);
        oldest = first;
    }
    assert_true(oldest > 6000); /* segments of both terms went */
    assert_int_equal(baton_journal_close(journal), 0);
    assert_int_equal(oldest_entry(12000), oldest);

    journal = fixture_begin(journal_dir, &options);
    assert_int_equal(baton_journal_last_seq(journal), 12000);
    fixture_append_durable(journal, 3);
    assert_int_equal(baton_journal_close(journal), 0);
    assert_int_equal(oldest_entry(12003), oldest);
}

static void the_current_segment_never_goes(void **state)
{
    (void)state;
    baton_journal *journal = grow();
    uint32_t removed;
    assert_int_equal(baton_journal_retire(journal, UINT64_MAX, &removed), 0);
    assert_true(removed > 0);
    fixture_append_durable(journal, 10);
    assert_int_equal(baton_journal_close(journal), 0);
    assert_true(oldest_entry(12010) <= 12010);
    journal = fixture_begin(journal_dir, &options);
    assert_int_equal(baton_journal_last_seq(journal), 12010);
    assert_int_equal(baton_journal_close(journal), 0);
}

static void what_stays_never_begins_with_a_bare_header(void **state)
{
    (void)state;
    baton_journal *journal = grow();
    assert_int_equal(baton_journal_close(journal), 0);
    journal = fixture_begin(journal_dir, &options);
    uint32_t removed;
    assert_int_equal(baton_journal_retire(journal, 12001, &removed), 0);
    assert_true(removed > 3);
    /* Only a header stands in the new term. Were it all, one rotten bit in it would leave what
     * looks like a new journal: the segment before stays until a batch follows. */
    assert_true(oldest_entry(12000) <= 12000);
    fixture_append_durable(journal, 5);
    assert_int_equal(baton_journal_retire(journal, 12001, &removed), 0);
    assert_int_equal(removed, 1);
    assert_int_equal(baton_journal_close(journal), 0);
    assert_int_equal(oldest_entry(12005), 12001);
}

static int archive_some(void *context, const char *path)
{
    int *left = context;
    assert_true(fixture_exists(path));
    return (*left)-- > 0 ? 0 : 1;
}

static void the_archive_hook_can_keep_a_segment_and_leaves_no_hole(void **state)
{
    (void)state;
    int left = 2;
    options.archive = archive_some;
    options.archive_context = &left;
    baton_journal *journal = grow();
    uint32_t before = fixture_segments(journal_dir, NULL, NULL);
    uint32_t removed;
    assert_int_equal(baton_journal_retire(journal, UINT64_MAX, &removed), 0);
    assert_int_equal(removed, 2);
    assert_true(fixture_segments(journal_dir, NULL, NULL) >= before - 2);
    uint64_t oldest = oldest_entry(12000);
    assert_true(oldest > 1);
    left = 0;
    assert_int_equal(baton_journal_retire(journal, UINT64_MAX, &removed), 0);
    assert_int_equal(removed, 0);
    assert_int_equal(baton_journal_close(journal), 0);
    assert_int_equal(oldest_entry(12000), oldest);
}

static void readers_are_told_what_is_gone(void **state)
{
    (void)state;
    baton_journal *journal = grow();
    baton_io *io;
    const baton_io_options io_options = {.choice = BATON_IO_THREADS};
    baton_hint *hint;
    baton_hint_view view;
    assert_int_equal(baton_io_open(&io_options, &io, NULL), 0);
    assert_int_equal(baton_hint_attach(io, journal_dir, &hint), 0);
    assert_true(baton_hint_read(hint, &view));
    assert_int_equal(view.oldest_index, 1);
    uint32_t removed;
    assert_int_equal(baton_journal_retire(journal, 6000, &removed), 0);
    assert_true(removed > 0);
    assert_true(baton_hint_read(hint, &view));
    assert_true(view.oldest_index > 1);
    baton_reader *reader;
    baton_reader_options reading = {.from_seq = 1, .live = true, .backend = BATON_BACKEND_THREADS};
    baton_entry entry;
    baton_error error;
    reading.from_seq = 2; /* 1 asks for the oldest there is */
    int r = baton_reader_open(journal_dir, &reading, &reader, &error);
    if (r == 0) {
        r = baton_reader_next(reader, &entry, &error);
        baton_reader_close(reader);
    }
    assert_int_equal(r, BATON_E_GONE);
    baton_hint_close(hint);
    baton_io_close(io);
    assert_int_equal(baton_journal_close(journal), 0);
}

/* A term that was cut off entirely stands between two that count: it neither blocks nor becomes
 * the beginning. */
static void void_segments_go_with_the_others(void **state)
{
    (void)state;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    fixture_append_durable(journal, 100);
    assert_int_equal(baton_journal_close(journal), 0);
    for (uint32_t i = 0; i < 3; i++) { /* terms without an entry */
        journal = fixture_begin(journal_dir, &options);
        baton_journal_abandon(journal);
    }
    journal = fixture_begin(journal_dir, &options);
    fixture_append_durable(journal, 100);
    uint32_t removed;
    assert_int_equal(baton_journal_retire(journal, 101, &removed), 0);
    assert_true(removed >= 4);
    assert_int_equal(baton_journal_close(journal), 0);
    assert_int_equal(oldest_entry(200), 101);
    journal = fixture_begin(journal_dir, &options);
    assert_int_equal(baton_journal_last_seq(journal), 200);
    assert_int_equal(baton_journal_close(journal), 0);
}

#define RETIRE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RETIRE(what_holds_a_wanted_entry_stays),
        RETIRE(the_current_segment_never_goes),
        RETIRE(what_stays_never_begins_with_a_bare_header),
        RETIRE(the_archive_hook_can_keep_a_segment_and_leaves_no_hole),
        RETIRE(readers_are_told_what_is_gone),
        RETIRE(void_segments_go_with_the_others),
    };
    backend = BATON_BACKEND_THREADS;
    int failed = cmocka_run_group_tests_name("journal retention, threads", tests, NULL, NULL);
    if (fixture_uring_is_denied())
        return failed;
    backend = BATON_BACKEND_URING;
    return failed + cmocka_run_group_tests_name("journal retention, uring", tests, NULL, NULL);
}
