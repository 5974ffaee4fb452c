/* The archive hook: a segment goes only when it was archived, a failure holds back retention and
 * nothing else, and nobody waits for it. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <baton/archive.h>

#include "tests/unit/journal_fixture.h"

static test_dir dir;
static char journal_dir[TEST_PATH_BYTES];
static char archive_dir[TEST_PATH_BYTES];
static baton_journal_options options;
static baton_metrics *metrics;
static baton_archiver *archiver;
static baton_error error;

static int set_up(void **state)
{
    (void)state;
    test_dir_make(&dir, "journal_archive");
    snprintf(journal_dir, sizeof(journal_dir), "%s", test_path(&dir, "j"));
    snprintf(archive_dir, sizeof(archive_dir), "%s", test_path(&dir, "archive"));
    assert_int_equal(mkdir(archive_dir, 0700), 0);
    assert_int_equal(baton_metrics_create(&metrics), 0);
    options = fixture_options();
    archiver = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    baton_archiver_close(archiver);
    baton_metrics_destroy(metrics);
    test_dir_remove(&dir);
    return 0;
}

static void open_archiver(const char *directory, const char *command)
{
    const baton_archive_options archive = {
        .directory = directory, .command = command, .retry_ns = 20000000, .metrics = metrics};
    assert_int_equal(baton_archiver_open(&archive, &archiver, &error), 0);
    options.archive = baton_archiver_ask;
    options.archive_context = archiver;
}

/* Several segments, all but the last of which may go. */
static baton_journal *grow(void)
{
    baton_journal *journal = fixture_begin(journal_dir, &options);
    fixture_append_durable(journal, 9000);
    assert_true(fixture_segments(journal_dir, NULL, NULL) >= 3);
    return journal;
}

static uint32_t retire(baton_journal *journal)
{
    uint32_t removed;
    assert_int_equal(baton_journal_retire(journal, UINT64_MAX, &removed), 0);
    return removed;
}

static void wait_for_archiver(void)
{
    struct pollfd fd = {.fd = baton_archiver_fd(archiver), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 120000), 1);
}

static double metric_of(const char *name)
{
    char *text;
    size_t bytes;
    char line[128];
    assert_int_equal(baton_metrics_print(metrics, &text, &bytes), 0);
    snprintf(line, sizeof(line), "\n%s ", name);
    const char *at = strstr(text, line);
    assert_non_null(at);
    double value = atof(at + strlen(line));
    free(text);
    return value;
}

static bool same_bytes(const char *a, const char *b)
{
    static uint8_t x[1 << 16];
    static uint8_t y[1 << 16];
    for (uint64_t at = 0;; at += sizeof(x)) {
        size_t n = fixture_read_file(a, at, x, sizeof(x));
        if (fixture_read_file(b, at, y, sizeof(y)) != n || memcmp(x, y, n) != 0)
            return false;
        if (n == 0)
            return true;
    }
}

static void a_segment_goes_only_when_its_copy_is_in_the_archive(void **state)
{
    (void)state;
    open_archiver(archive_dir, NULL);
    baton_journal *journal = grow();
    const uint32_t all = fixture_segments(journal_dir, NULL, NULL);
    uint32_t gone = 0;
    assert_int_equal(retire(journal), 0); /* asked for, nothing more */
    for (uint32_t i = 0; i < 2; i++) {
        char first[TEST_PATH_BYTES];
        char before[TEST_PATH_BYTES];
        char copy[2 * TEST_PATH_BYTES];
        fixture_segments(journal_dir, first, NULL);
        snprintf(before, sizeof(before), "%s", test_path(&dir, "before"));
        assert_true(unlink(before) == 0 || errno == ENOENT);
        assert_int_equal(link(first, before), 0);
        wait_for_archiver();
        gone += retire(journal);
        assert_int_equal(gone, i + 1);
        assert_false(fixture_exists(first));
        snprintf(copy, sizeof(copy), "%s%s", archive_dir, strrchr(first, '/'));
        if (i == 0) /* the next one may be a spare already, and its bytes another's */
            assert_true(same_bytes(before, copy));
        snprintf(copy, sizeof(copy), "%s%s.partial", archive_dir, strrchr(first, '/'));
        assert_false(fixture_exists(copy));
    }
    assert_true(metric_of("baton_journal_archived_total") >= 2);
    assert_true(fixture_segments(journal_dir, NULL, NULL) >= all - 2);
    assert_int_equal(baton_journal_close(journal), 0);
}

/* The archive and what the journal still has are one journal. */
static void archive_and_journal_together_are_whole(void **state)
{
    (void)state;
    open_archiver(archive_dir, NULL);
    baton_journal *journal = grow();
    uint32_t gone = retire(journal);
    while (fixture_segments(journal_dir, NULL, NULL) > 2) {
        wait_for_archiver();
        gone += retire(journal);
    }
    assert_true(gone >= 2);
    const uint64_t last = baton_journal_last_seq(journal);
    assert_int_equal(baton_journal_close(journal), 0);
    char command[3 * TEST_PATH_BYTES];
    snprintf(command, sizeof(command), "cp -n '%s'/*.seg '%s'", journal_dir, archive_dir);
    assert_int_equal(system(command), 0);
    fixture_expect(archive_dir, 1, last);
}

static void a_failure_holds_back_retention_and_nothing_else(void **state)
{
    (void)state;
    char command[2 * TEST_PATH_BYTES];
    char flag[TEST_PATH_BYTES];
    snprintf(flag, sizeof(flag), "%s", test_path(&dir, "works"));
    snprintf(command, sizeof(command), "test -e '%s' && cat > /dev/null <", flag);
    open_archiver(NULL, command);
    baton_journal *journal = grow();
    assert_int_equal(retire(journal), 0);
    while (metric_of("baton_journal_archive_failures_total") < 3)
        assert_int_equal(retire(journal), 0);
    assert_true(metric_of("baton_journal_archive_failing") == 1);
    fixture_append_durable(journal, 3000); /* commits go on */
    assert_int_equal(retire(journal), 0);

    assert_int_equal(mkdir(flag, 0700), 0);
    wait_for_archiver();
    assert_int_equal(retire(journal), 1);
    assert_true(metric_of("baton_journal_archive_failing") == 0);
    const uint64_t last = baton_journal_last_seq(journal);
    assert_int_equal(baton_journal_close(journal), 0);
    journal = fixture_begin(journal_dir, &options);
    assert_int_equal(baton_journal_last_seq(journal), last);
    assert_int_equal(baton_journal_close(journal), 0);
}

static void a_file_of_the_same_name_is_never_replaced(void **state)
{
    (void)state;
    open_archiver(archive_dir, NULL);
    baton_journal *journal = fixture_begin(journal_dir, &options);
    char first[TEST_PATH_BYTES];
    char copy[2 * TEST_PATH_BYTES];
    char text[16] = "";
    fixture_segments(journal_dir, first, NULL);
    snprintf(copy, sizeof(copy), "%s%s", archive_dir, strrchr(first, '/'));
    FILE *file = fopen(copy, "w");
    assert_non_null(file);
    assert_true(fputs("somebody else's", file) >= 0);
    assert_int_equal(fclose(file), 0);
    fixture_append_durable(journal, 9000);
    assert_int_equal(retire(journal), 0);
    while (metric_of("baton_journal_archive_failures_total") < 2)
        assert_int_equal(retire(journal), 0);
    assert_int_equal(fixture_read_file(copy, 0, text, sizeof(text)), 15);
    assert_memory_equal(text, "somebody else's", 15);

    /* The same bytes are an earlier try's, that came to its end: fine. */
    char command[4 * TEST_PATH_BYTES];
    snprintf(command, sizeof(command), "cp '%s' '%s.new' && mv '%s.new' '%s'", first, copy, copy,
             copy);
    assert_int_equal(system(command), 0);
    wait_for_archiver();
    assert_int_equal(retire(journal), 1);
    assert_int_equal(baton_journal_close(journal), 0);
}

/* `ln "$1" ARCHIVE/` keeps no copy, but the very file: it must not be written anew. */
static void a_link_in_the_archive_keeps_its_bytes(void **state)
{
    (void)state;
    char command[2 * TEST_PATH_BYTES];
    snprintf(command, sizeof(command), "archive() { ln \"$1\" '%s'; }; archive", archive_dir);
    open_archiver(NULL, command);
    baton_journal *journal = grow();
    for (uint32_t gone = 0; gone < 8; gone += retire(journal)) {
        if (fixture_segments(journal_dir, NULL, NULL) <= 3)
            fixture_append_durable(journal, 1000);
        usleep(1000); /* the test's own limit ends a hang */
    }
    const uint64_t last = baton_journal_last_seq(journal);
    assert_int_equal(baton_journal_close(journal), 0);
    snprintf(command, sizeof(command), "cp -n '%s'/*.seg '%s'", journal_dir, archive_dir);
    assert_int_equal(system(command), 0);
    fixture_expect(archive_dir, 1, last);
}

/* The journal's own directory is no archive: what stands there is the segment itself. */
static void a_segment_is_no_copy_of_itself(void **state)
{
    (void)state;
    assert_int_equal(rmdir(archive_dir), 0);
    assert_int_equal(symlink(journal_dir, archive_dir), 0);
    assert_int_equal(mkdir(journal_dir, 0700), 0);
    open_archiver(archive_dir, NULL);
    baton_journal *journal = grow();
    while (metric_of("baton_journal_archive_failures_total") < 2)
        assert_int_equal(retire(journal), 0);
    fixture_expect(journal_dir, 1, baton_journal_durable_seq(journal));
    assert_int_equal(baton_journal_close(journal), 0);
}

/* A killed process left more than the segment holds now: all of it is written over. */
static void a_partial_copy_that_was_left_is_written_over(void **state)
{
    (void)state;
    open_archiver(archive_dir, NULL);
    baton_journal *journal = grow();
    char first[TEST_PATH_BYTES];
    char before[TEST_PATH_BYTES];
    char copy[2 * TEST_PATH_BYTES];
    char command[4 * TEST_PATH_BYTES];
    fixture_segments(journal_dir, first, NULL);
    snprintf(before, sizeof(before), "%s", test_path(&dir, "before"));
    snprintf(copy, sizeof(copy), "%s%s", archive_dir, strrchr(first, '/'));
    snprintf(command, sizeof(command),
             "cp '%s' '%s' && head -c 9000000 /dev/urandom > '%s.partial'", first, before, copy);
    assert_int_equal(system(command), 0);
    assert_int_equal(retire(journal), 0);
    wait_for_archiver();
    assert_int_equal(retire(journal), 1);
    assert_true(same_bytes(before, copy));
    assert_int_equal(baton_journal_close(journal), 0);
}

static void a_command_that_hangs_is_ended_with_the_archiver(void **state)
{
    (void)state;
    char command[2 * TEST_PATH_BYTES];
    char begun[TEST_PATH_BYTES];
    snprintf(begun, sizeof(begun), "%s", test_path(&dir, "begun"));
    snprintf(command, sizeof(command), "mkdir '%s'; sleep 600; false", begun);
    open_archiver(NULL, command);
    baton_journal *journal = grow();
    assert_int_equal(retire(journal), 0);
    while (!fixture_exists(begun))
        usleep(1000); /* the test's own limit ends a hang */
    fixture_append_durable(journal, 100);
    assert_int_equal(baton_journal_close(journal), 0); /* does not wait for it */
    baton_archiver_close(archiver);                    /* nor does this, for long */
    archiver = NULL;
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    const char *nowhere = test_path(&dir, "nowhere");
    const baton_archive_options none = {.metrics = metrics};
    const baton_archive_options both = {.directory = archive_dir, .command = "true"};
    const baton_archive_options absent = {.directory = nowhere};
    assert_int_equal(baton_archiver_open(&none, &archiver, &error), BATON_E_INVALID);
    assert_int_equal(baton_archiver_open(&both, &archiver, &error), BATON_E_INVALID);
    assert_int_equal(baton_archiver_open(&absent, &archiver, &error), -ENOENT);
    assert_string_equal(error.path, nowhere);
}

#define ARCHIVE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ARCHIVE(a_segment_goes_only_when_its_copy_is_in_the_archive),
        ARCHIVE(archive_and_journal_together_are_whole),
        ARCHIVE(a_failure_holds_back_retention_and_nothing_else),
        ARCHIVE(a_file_of_the_same_name_is_never_replaced),
        ARCHIVE(a_link_in_the_archive_keeps_its_bytes),
        ARCHIVE(a_segment_is_no_copy_of_itself),
        ARCHIVE(a_partial_copy_that_was_left_is_written_over),
        ARCHIVE(a_command_that_hangs_is_ended_with_the_archiver),
        ARCHIVE(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests_name("archiving", tests, NULL, NULL);
}
