/* J7: one format behind every backend. The same batches, finished in the same order, are the
 * same bytes. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "journal/journal_private.h"
#include "tests/unit/journal_fixture.h"

static void copy_file(const char *from, const char *to)
{
    static uint8_t buffer[1 << 20];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    assert_true(in >= 0 && out >= 0);
    ssize_t got;
    while ((got = read(in, buffer, sizeof(buffer))) > 0)
        assert_int_equal(write(out, buffer, (size_t)got), got);
    assert_int_equal(got, 0);
    close(in);
    close(out);
}

static void copy_segments(const char *from, const char *to)
{
    assert_int_equal(mkdir(to, 0750), 0);
    DIR *dir = opendir(from);
    assert_non_null(dir);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        char a[TEST_PATH_BYTES];
        char b[TEST_PATH_BYTES];
        if (!strstr(entry->d_name, ".seg"))
            continue;
        snprintf(a, sizeof(a), "%.200s/%.64s", from, entry->d_name);
        snprintf(b, sizeof(b), "%.200s/%.64s", to, entry->d_name);
        copy_file(a, b);
    }
    closedir(dir);
}

static uint32_t compare_segments(const char *one, const char *two)
{
    uint32_t count = 0;
    static uint8_t x[1 << 20];
    static uint8_t y[1 << 20];
    DIR *dir = opendir(one);
    assert_non_null(dir);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        char a[TEST_PATH_BYTES];
        char b[TEST_PATH_BYTES];
        if (!strstr(entry->d_name, ".seg"))
            continue;
        snprintf(a, sizeof(a), "%.200s/%.64s", one, entry->d_name);
        snprintf(b, sizeof(b), "%.200s/%.64s", two, entry->d_name);
        size_t bytes = fixture_read_file(a, 0, x, sizeof(x));
        assert_int_equal(fixture_read_file(b, 0, y, sizeof(y)), bytes);
        assert_memory_equal(x, y, bytes);
        count++;
    }
    closedir(dir);
    return count;
}

/* Where a batch ends must not depend on when the next segment is made. */
static void wait_for_next_segment(baton_journal *journal)
{
    while (!journal->next || journal->next->state != SEGMENT_PREPARED) {
        assert_int_equal(baton_journal_poll(journal), 0);
        usleep(50);
    }
}

/* One batch at a time, so that every backend finishes them in the same order, and each carries the
 * one before it as durable. */
static void write_term(const char *directory, baton_journal_options options)
{
    fixture_clock clock;
    fixture_clock_init(&clock);
    options.clock = &clock.clock;
    options.batches_in_flight_max = 1;
    baton_journal *journal = fixture_begin(directory, &options);
    for (uint32_t i = 0; i < 300; i++) {
        wait_for_next_segment(journal);
        for (uint32_t k = 0; k < 1 + i % 20; k++) {
            int r;
            while ((r = fixture_append(journal)) == BATON_E_FULL) {
                assert_int_equal(baton_journal_poll(journal), 0);
                usleep(50);
            }
            assert_int_equal(r, 0);
        }
        if (i % 10 == 0) {
            baton_root_wire root = {.seq = baton_le64_put(i + 1)};
            assert_int_equal(
                baton_journal_append_record(journal, BATON_RECORD_ROOT, &root, sizeof(root)), 0);
        }
        assert_int_equal(baton_journal_flush(journal), 0);
        clock.monotonic_ns += 1000;
        clock.wall_ns += 1000;
    }
    assert_int_equal(baton_journal_close(journal), 0);
}

static void every_backend_writes_the_same_bytes(void **state)
{
    (void)state;
    test_dir dir;
    test_dir_make(&dir, "journal_same");
    /* The id is random: it is made once, and the copies go on from there. */
    baton_journal_options options = fixture_options();
    options.backend = BATON_BACKEND_THREADS;
    baton_journal *journal = fixture_begin(test_path(&dir, "start"), &options);
    baton_journal_abandon(journal);

    char threads[TEST_PATH_BYTES];
    char other[TEST_PATH_BYTES];
    snprintf(threads, sizeof(threads), "%s", test_path(&dir, "threads"));
    copy_segments(test_path(&dir, "start"), threads);
    write_term(threads, options);

    io_fault *fault = io_fault_new();
    snprintf(other, sizeof(other), "%s", test_path(&dir, "plain"));
    copy_segments(test_path(&dir, "start"), other);
    options.io_backend = io_fault_backend();
    options.io_context = fault;
    write_term(other, options);
    assert_true(compare_segments(threads, other) >= 3);
    io_fault_free(fault);
    options.io_backend = NULL;

    baton_io *io;
    const baton_io_options uring = {.choice = BATON_IO_URING};
    if (baton_io_open(&uring, &io, NULL) == 0) {
        baton_io_close(io);
        snprintf(other, sizeof(other), "%s", test_path(&dir, "uring"));
        copy_segments(test_path(&dir, "start"), other);
        options.backend = BATON_BACKEND_URING;
        write_term(other, options);
        assert_true(compare_segments(threads, other) >= 3);
    } else {
        print_message("io_uring is denied here: not compared\n");
    }
    test_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_backend_writes_the_same_bytes)};
    return cmocka_run_group_tests_name("journal, the same bytes", tests, NULL, NULL);
}
