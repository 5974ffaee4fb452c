/* A live reader beside the real writer: in this process, and in one that is killed. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <baton/journal.h>

#include "journal/hint.h"
#include "tests/support/test_dir.h"

#define LONG_NS UINT64_C(120000000000) /* only bounds a hang */

typedef struct {
    test_dir dir;
    const char *path;
    baton_backend backend;
    baton_reader *reader;
    uint64_t read;
    baton_error error;
} tail_stage;

static int setup(void **state)
{
    static tail_stage tail;
    test_dir_make(&tail.dir, "journal_tail");
    tail.path = strdup(test_path(&tail.dir, "j"));
    tail.reader = NULL;
    tail.read = 0;
    *state = &tail;
    return 0;
}

static int teardown(void **state)
{
    tail_stage *tail = *state;
    baton_reader_close(tail->reader);
    free((void *)(uintptr_t)tail->path);
    test_dir_remove(&tail->dir);
    return 0;
}

/* ---- entries that depend on their seq alone ---- */

static uint32_t payload_of(uint64_t seq, uint8_t payload[4096])
{
    uint32_t payload_bytes = (uint32_t)(seq * 2654435761u % 3000);
    for (uint32_t i = 0; i < payload_bytes; i++)
        payload[i] = (uint8_t)(seq + i * 13);
    return payload_bytes;
}

static int append_one(baton_journal *journal)
{
    uint8_t payload[4096];
    uint64_t seq = baton_journal_last_seq(journal) + 1;
    uint32_t payload_bytes = payload_of(seq, payload);
    return baton_journal_append(journal, (uint16_t)(seq % 9), payload, payload_bytes, NULL);
}

static int append_many(baton_journal *journal, uint32_t count)
{
    for (uint32_t i = 0; i < count;) {
        int r = append_one(journal);
        if (r == 0)
            i++;
        else if (r == BATON_E_FULL || r == BATON_E_NO_SPACE)
            r = baton_journal_flush(journal); /* also lets the next segment come along */
        if (r < 0)
            return r;
    }
    return baton_journal_flush(journal);
}

/* Until there is no more, or up to a seq; every entry is dense and right. */
static int read_on(tail_stage *tail, uint64_t up_to_seq)
{
    uint8_t payload[4096];
    baton_entry entry;
    int r = 0;

    while (tail->read < up_to_seq &&
           (r = baton_reader_next(tail->reader, &entry, &tail->error)) == 1) {
        assert_int_equal(entry.seq, tail->read + 1);
        assert_int_equal(entry.type, entry.seq % 9);
        assert_int_equal(entry.payload_bytes, payload_of(entry.seq, payload));
        assert_memory_equal(entry.payload, payload, entry.payload_bytes);
        tail->read = entry.seq;
    }
    return r;
}

static baton_journal *begin(const tail_stage *tail)
{
    const baton_journal_options options = {.backend = tail->backend,
                                           .segment_bytes = 1 << 20,
                                           .first_segment_bytes = 256 << 10,
                                           .no_ballast = true,
                                           .lock_wait_ns = LONG_NS};
    baton_recovery_report report;
    baton_journal *journal;

    if (baton_journal_open(tail->path, &options, &journal, &report, NULL) < 0)
        return NULL;
    if (baton_journal_begin(journal, &report, NULL) < 0) {
        baton_journal_abandon(journal);
        return NULL;
    }
    return journal;
}

static void open_live(tail_stage *tail)
{
    const baton_reader_options options = {.live = true, .backend = tail->backend};
    assert_int_equal(baton_reader_open(tail->path, &options, &tail->reader, &tail->error), 0);
}

static bool uring_is_there(const tail_stage *tail)
{
    const baton_reader_options options = {.backend = BATON_BACKEND_URING};
    baton_reader *reader;
    if (baton_reader_open(tail->path, &options, &reader, NULL) < 0)
        return false;
    baton_reader_close(reader);
    return true;
}

/* ---- in this process ---- */

static void rolls_and_epochs_of_the_real_writer_are_followed(tail_stage *tail)
{
    for (uint32_t epoch = 1; epoch <= 3; epoch++) {
        baton_journal *journal = begin(tail);
        assert_non_null(journal);
        if (epoch == 1)
            open_live(tail);
        for (uint32_t i = 0; i < 8; i++) {
            assert_int_equal(append_many(journal, 150), 0); /* 225 KiB: several segments */
            assert_int_equal(read_on(tail, UINT64_MAX), 0);
            assert_int_equal(tail->read, baton_journal_durable_seq(journal));
        }
        assert_int_equal(append_one(journal), 0); /* queued, not submitted */
        assert_int_equal(read_on(tail, UINT64_MAX), 0);
        assert_int_equal(tail->read + 1, baton_journal_last_seq(journal));
        assert_int_equal(baton_journal_close(journal), 0);
        assert_int_equal(baton_reader_wait(tail->reader, LONG_NS), 0);
        assert_int_equal(read_on(tail, UINT64_MAX), 0);
        assert_int_equal(baton_reader_wait(tail->reader, LONG_NS), BATON_E_SEALED);
    }
    assert_int_equal(tail->read, 3 * 8 * 150 + 3);
}

static void retired_is_gone_never_wrong(tail_stage *tail)
{
    baton_journal *journal = begin(tail);
    uint32_t removed;

    assert_non_null(journal);
    assert_int_equal(append_many(journal, 600), 0);
    open_live(tail);
    assert_int_equal(read_on(tail, 10), 1);
    assert_int_equal(append_many(journal, 1500), 0);
    assert_int_equal(baton_journal_retire(journal, 1900, &removed), 0);
    assert_true(removed >= 2);
    int r = read_on(tail, UINT64_MAX);
    assert_int_equal(r, BATON_E_GONE);
    assert_true(tail->read < 1900);
    baton_reader_close(tail->reader);
    open_live(tail); /* from the oldest there is */
    baton_entry entry;
    assert_int_equal(baton_reader_next(tail->reader, &entry, &tail->error), 1);
    assert_true(entry.seq > 10 && entry.seq <= 1900);
    tail->read = entry.seq;
    assert_int_equal(read_on(tail, UINT64_MAX), 0);
    assert_int_equal(tail->read, 2100);
    assert_int_equal(baton_journal_close(journal), 0);
}

/* Zeros over the last batch: nobody can have it from the disk any more. */
static void take_last_from_disk(const tail_stage *tail, const baton_hint_view *view)
{
    static const uint8_t zeros[BATON_IO_UNIT];
    char name[BATON_SEGMENT_NAME_BYTES];
    char path[1024];

    baton_segment_name(view->durable.epoch, view->index, name);
    (void)snprintf(path, sizeof(path), "%s/%s", tail->path, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    off_t offset = (off_t)(view->end_offset - BATON_IO_UNIT); /* one entry fits a unit */
    assert_int_equal(pwrite(fd, zeros, sizeof(zeros), offset), sizeof(zeros));
    close(fd);
}

static void newest_entries_come_without_the_disk_also_after_rolls(tail_stage *tail)
{
    const baton_io_options io_options = {.choice = BATON_IO_THREADS};
    baton_journal *journal = begin(tail);
    baton_hint_view view;
    baton_hint *hint;
    baton_io *io;

    assert_non_null(journal);
    open_live(tail);
    assert_int_equal(baton_io_open(&io_options, &io, NULL), 0);
    assert_int_equal(baton_hint_attach(io, tail->path, &hint), 0);
    for (uint64_t seq = 1; seq <= 400; seq++) { /* 1600 KiB: several segments */
        assert_int_equal(append_many(journal, 1), 0);
        assert_true(baton_hint_read(hint, &view));
        assert_int_equal(view.durable.seq, seq);
        take_last_from_disk(tail, &view);
        assert_int_equal(read_on(tail, UINT64_MAX), 0);
        assert_int_equal(tail->read, seq);
    }
    assert_true(view.index > 2);
    baton_hint_close(hint);
    baton_io_close(io);
    assert_int_equal(baton_journal_close(journal), 0);
}

/* ---- in a process that is killed ---- */

/* This program again, as a writer: a process with threads may fork, but must exec then. */
static pid_t start_writer(const tail_stage *tail)
{
    const char *backend = tail->backend == BATON_BACKEND_URING ? "uring" : "threads";
    pid_t parent = getpid();
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(3);
    (void)execl("/proc/self/exe", "journal_tail_test", "write", tail->path, backend, (char *)NULL);
    _exit(127);
}

/* Appends until it is killed. */
static int write_until_killed(const char *path, const char *backend)
{
    const tail_stage tail = {.path = path,
                             .backend = strcmp(backend, "uring") == 0 ? BATON_BACKEND_URING
                                                                      : BATON_BACKEND_THREADS};
    baton_journal *journal = begin(&tail);
    if (journal == NULL)
        return 1;
    /* An end, so that a parent that gets no CPU does not find a full disk. */
    for (uint32_t i = 0; i < 400; i++) {
        if (append_many(journal, 40) < 0)
            return 2;
    }
    for (;;)
        pause();
}

static void reader_notices_the_kill_and_reads_what_recovery_accepts(tail_stage *tail)
{
    baton_journal_summary summary;

    for (uint32_t round = 0; round < 3; round++) {
        uint64_t goal = tail->read + 400 + 300 * round;
        pid_t pid = start_writer(tail);
        if (round == 0)
            open_live(tail);
        while (tail->read < goal) {
            int r = baton_reader_wait(tail->reader, LONG_NS);
            assert_true(r == 0 || r == BATON_E_SEALED); /* sealed: it has not come up yet */
            r = read_on(tail, goal);
            assert_true(r >= 0);
            int status;
            assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
        }
        assert_int_equal(kill(pid, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        int r;
        while ((r = baton_reader_wait(tail->reader, LONG_NS)) == 0)
            assert_int_equal(read_on(tail, UINT64_MAX), 0);
        assert_int_equal(r, BATON_E_SEALED);
        r = baton_journal_verify(tail->path, tail->backend, NULL, NULL, &summary, &tail->error);
        assert_true(r == 0 || r == BATON_E_TORN);
        assert_int_equal(summary.recovery.last.seq, tail->read);
        assert_true(tail->read >= goal);
    }
}

static void on_threads(void **state, void (*test)(tail_stage *))
{
    tail_stage *tail = *state;
    tail->backend = BATON_BACKEND_THREADS;
    test(tail);
}

static void on_uring(void **state, void (*test)(tail_stage *))
{
    tail_stage *tail = *state;
    tail->backend = BATON_BACKEND_URING;
    if (!uring_is_there(tail)) {
        print_message("io_uring is denied here\n");
        skip();
    }
    test(tail);
}

#define BOTH(name)                                                                                 \
    static void name##_on_threads(void **state)                                                    \
    {                                                                                              \
        on_threads(state, name);                                                                   \
    }                                                                                              \
    static void name##_on_uring(void **state)                                                      \
    {                                                                                              \
        on_uring(state, name);                                                                     \
    }
BOTH(rolls_and_epochs_of_the_real_writer_are_followed)
BOTH(retired_is_gone_never_wrong)
BOTH(newest_entries_come_without_the_disk_also_after_rolls)
BOTH(reader_notices_the_kill_and_reads_what_recovery_accepts)

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "write") == 0)
        return write_until_killed(argv[2], argv[3]);

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name##_on_threads, setup, teardown),                           \
        cmocka_unit_test_setup_teardown(name##_on_uring, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(reader_notices_the_kill_and_reads_what_recovery_accepts),
        TEST(rolls_and_epochs_of_the_real_writer_are_followed),
        TEST(retired_is_gone_never_wrong),
        TEST(newest_entries_come_without_the_disk_also_after_rolls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
