/* The shared page HINT: a consistent view for readers in other threads and processes, and a
 * wake-up. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "base/io.h"
#include "journal/hint.h"
#include "tests/unit/journal_fixture.h"

static test_dir dir;
static baton_io *io;

static int set_up(void **state)
{
    (void)state;
    test_dir_make(&dir, "journal_hint");
    const baton_io_options options = {.choice = BATON_IO_THREADS};
    return baton_io_open(&options, &io, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    baton_io_close(io);
    test_dir_remove(&dir);
    return 0;
}

/* Every word follows from n: a view mixed from two would show. */
static baton_hint_view view_of(uint64_t n)
{
    baton_hint_view view = {.durable = {.epoch = n, .batch = n + 1, .seq = n + 2},
                            .index = n + 3,
                            .end_offset = n + 4,
                            .oldest_index = n + 5,
                            .open = n % 2 == 1};
    memset(view.id.bytes, (int)(n & 0xff), sizeof(view.id.bytes));
    return view;
}

static void check_view(const baton_hint_view *view)
{
    baton_hint_view expected = view_of(view->durable.epoch);
    if (memcmp(view->id.bytes, expected.id.bytes, sizeof(expected.id.bytes)) != 0 ||
        view->durable.batch != expected.durable.batch ||
        view->durable.seq != expected.durable.seq || view->index != expected.index ||
        view->end_offset != expected.end_offset || view->oldest_index != expected.oldest_index ||
        view->open != expected.open) {
        fprintf(stderr, "a view of two publishes\n");
        abort();
    }
}

static void there_is_no_view_before_the_first_publish(void **state)
{
    (void)state;
    baton_hint *writer, *reader;
    baton_hint_view view;
    assert_int_equal(baton_hint_attach(io, dir.path, &reader), -ENOENT);
    assert_int_equal(baton_hint_create(io, dir.path, &writer), 0);
    assert_int_equal(baton_hint_attach(io, dir.path, &reader), 0);
    assert_false(baton_hint_read(reader, &view));
    baton_hint_view published = view_of(7);
    baton_hint_publish(writer, &published);
    assert_true(baton_hint_read(reader, &view));
    assert_int_equal(view.durable.epoch, 7);
    check_view(&view);
    baton_hint_close(reader);
    baton_hint_close(writer);
    baton_hint_close(NULL);
}

static void a_takeover_takes_the_old_view_away(void **state)
{
    (void)state;
    baton_hint *writer, *reader, *next;
    baton_hint_view view = view_of(9);
    assert_int_equal(baton_hint_create(io, dir.path, &writer), 0);
    assert_int_equal(baton_hint_attach(io, dir.path, &reader), 0);
    baton_hint_publish(writer, &view);
    assert_true(baton_hint_read(reader, &view));
    baton_hint_close(writer); /* as if it died: the view still stands */
    assert_true(baton_hint_read(reader, &view));
    assert_int_equal(baton_hint_create(io, dir.path, &next), 0);
    assert_false(baton_hint_read(reader, &view));
    view = view_of(10);
    baton_hint_publish(next, &view);
    assert_true(baton_hint_read(reader, &view));
    assert_int_equal(view.durable.epoch, 10);
    baton_hint_close(next);
    baton_hint_close(reader);
}

/* The second word of the page is the sequence; odd: a writer died inside a publish. */
static void a_writer_that_died_inside_a_publish_leaves_no_view(void **state)
{
    (void)state;
    baton_hint *writer, *reader;
    baton_hint_view view = view_of(3);
    assert_int_equal(baton_hint_create(io, dir.path, &writer), 0);
    assert_int_equal(baton_hint_attach(io, dir.path, &reader), 0);
    baton_hint_publish(writer, &view);
    int fd = open(test_path(&dir, "HINT"), O_RDWR | O_CLOEXEC);
    uint64_t sequence;
    assert_int_equal(pread(fd, &sequence, 8, 8), 8);
    assert_int_equal(sequence % 2, 0);
    sequence++;
    assert_int_equal(pwrite(fd, &sequence, 8, 8), 8);
    close(fd);
    assert_false(baton_hint_read(reader, &view));
    view = view_of(4);
    baton_hint_publish(writer, &view);
    assert_true(baton_hint_read(reader, &view));
    baton_hint_close(reader);
    baton_hint_close(writer);
}

static void a_page_of_another_kind_or_too_short_is_no_hint(void **state)
{
    (void)state;
    baton_hint *reader;
    baton_hint_view view;
    int fd = open(test_path(&dir, "HINT"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(pwrite(fd, "x", 1, 100), 1);
    assert_int_equal(baton_hint_attach(io, dir.path, &reader), -ENOENT);
    assert_int_equal(pwrite(fd, "x", 1, (off_t)(4096 + sizeof(baton_recent) - 1)), 1);
    assert_int_equal(baton_hint_attach(io, dir.path, &reader), 0);
    assert_false(baton_hint_read(reader, &view));
    baton_hint_close(reader);
    close(fd);
}

static void a_page_without_the_newest_batches_is_of_an_older_layout(void **state)
{
    (void)state;
    const uint64_t page[512] = {UINT64_C(0x31544e494e4f5442), 2};
    baton_hint *reader, *writer;
    baton_hint_view view;
    int fd = open(test_path(&dir, "HINT"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(pwrite(fd, page, sizeof(page), 0), sizeof(page));
    close(fd);
    assert_int_equal(baton_hint_attach(io, dir.path, &reader), -ENOENT);
    assert_int_equal(baton_hint_create(io, dir.path, &writer), 0); /* taken over, and made larger */
    assert_int_equal(baton_hint_attach(io, dir.path, &reader), 0);
    assert_false(baton_hint_read(reader, &view));
    view = view_of(5);
    baton_hint_publish(writer, &view);
    assert_true(baton_hint_read(reader, &view));
    baton_hint_close(reader);
    baton_hint_close(writer);
}

/* What one has put there stands there for the other, and for nobody after a takeover. */
static void the_newest_batches_are_shared_and_a_takeover_empties_them(void **state)
{
    (void)state;
    baton_hint *writer, *reader, *next;
    baton_batch_header header = {.batch = baton_le64_put(9),
                                 .used_bytes = baton_le32_put(sizeof(header))};
    uint8_t bytes[BATON_RECENT_BATCH_BYTES_MAX];
    assert_int_equal(baton_hint_create(io, dir.path, &writer), 0);
    assert_int_equal(baton_hint_attach(io, dir.path, &reader), 0);
    baton_recent_put(baton_hint_recent(writer), &header, 2, 8192);
    assert_int_equal(baton_recent_get(baton_hint_recent(reader), 9, 2, 8192, bytes), 4096);
    assert_memory_equal(bytes, &header, sizeof(header));
    assert_int_equal(baton_hint_create(io, dir.path, &next), 0);
    assert_int_equal(baton_recent_get(baton_hint_recent(reader), 9, 2, 8192, bytes), 0);
    baton_hint_close(next);
    baton_hint_close(reader);
    baton_hint_close(writer);
}

static void a_wait_ends_by_time(void **state)
{
    (void)state;
    baton_hint *writer;
    baton_hint_view view = view_of(1);
    assert_int_equal(baton_hint_create(io, dir.path, &writer), 0);
    baton_hint_publish(writer, &view);
    assert_int_equal(baton_hint_wait(writer, &view, 2000000), BATON_E_TIMEOUT);
    baton_hint_view other = view_of(2);
    assert_int_equal(baton_hint_wait(writer, &other, 0), 0); /* differs already */
    baton_hint_close(writer);
}

#define PUBLISHES 20000u

static void *publish_many(void *context)
{
    for (uint64_t n = 1; n <= PUBLISHES; n++) {
        baton_hint_view view = view_of(n);
        baton_hint_publish(context, &view);
    }
    return NULL;
}

static void a_reader_beside_the_writer_never_sees_half_a_view(void **state)
{
    (void)state;
    baton_hint *writer, *reader;
    assert_int_equal(baton_hint_create(io, dir.path, &writer), 0);
    assert_int_equal(baton_hint_attach(io, dir.path, &reader), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, publish_many, writer), 0);
    uint64_t last = 0;
    while (last < PUBLISHES) {
        baton_hint_view view;
        if (!baton_hint_read(reader, &view))
            continue;
        check_view(&view);
        assert_true(view.durable.epoch >= last);
        last = view.durable.epoch;
    }
    pthread_join(thread, NULL);
    baton_hint_close(reader);
    baton_hint_close(writer);
}

/* Each side publishes only when it has seen the other's last word: a lost wake-up would hang
 * here. */
static void every_publish_wakes_a_waiter_in_another_process(void **state)
{
    (void)state;
    const uint64_t rounds = 300;
    test_dir back;
    test_dir_make(&back, "journal_hint_back");
    baton_hint *there, *answers;
    assert_int_equal(baton_hint_create(io, dir.path, &there), 0);
    assert_int_equal(baton_hint_create(io, back.path, &answers), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        baton_hint_view seen = {0};
        for (uint64_t n = 1; n <= rounds; n++) {
            while (!baton_hint_read(there, &seen) || seen.durable.epoch != n) {
                if (baton_hint_wait(there, &seen, FIXTURE_WAIT_NS) == BATON_E_TIMEOUT)
                    _exit(1);
            }
            baton_hint_view answer = view_of(n);
            baton_hint_publish(answers, &answer);
        }
        _exit(0);
    }
    baton_hint_view seen = {0};
    for (uint64_t n = 1; n <= rounds; n++) {
        baton_hint_view view = view_of(n);
        baton_hint_publish(there, &view);
        while (!baton_hint_read(answers, &seen) || seen.durable.epoch != n)
            assert_int_not_equal(baton_hint_wait(answers, &seen, FIXTURE_WAIT_NS), BATON_E_TIMEOUT);
        check_view(&seen);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    baton_hint_close(there);
    baton_hint_close(answers);
    test_dir_remove(&back);
}

static void a_journal_publishes_what_is_durable_and_that_it_closed(void **state)
{
    (void)state;
    baton_journal_options options = fixture_options();
    options.backend = BATON_BACKEND_THREADS;
    const char *path = test_path(&dir, "j");
    baton_journal *journal = fixture_begin(path, &options);
    baton_hint *reader;
    baton_hint_view view;
    assert_int_equal(baton_hint_attach(io, path, &reader), 0);
    assert_true(baton_hint_read(reader, &view));
    assert_true(view.open && view.durable.seq == 0 && view.index == 1 &&
                view.end_offset == BATON_IO_UNIT);
    fixture_append_durable(journal, 20);
    assert_true(baton_hint_read(reader, &view));
    assert_int_equal(view.durable.seq, 20);
    assert_int_equal(baton_position_compare(view.durable, baton_journal_durable_position(journal)),
                     0);
    assert_true(baton_digest_equal(view.id, baton_journal_id(journal)));
    assert_int_equal(baton_journal_close(journal), 0);
    assert_true(baton_hint_read(reader, &view));
    assert_false(view.open);
    baton_hint_close(reader);
}

static void the_next_writers_open_takes_a_killed_ones_view_away(void **state)
{
    (void)state;
    baton_journal_options options = fixture_options();
    options.backend = BATON_BACKEND_THREADS;
    const char *path = test_path(&dir, "j");
    baton_journal *journal = fixture_begin(path, &options);
    baton_hint *reader;
    baton_hint_view left;
    baton_hint_view view;
    assert_int_equal(baton_hint_attach(io, path, &reader), 0);
    assert_true(baton_hint_read(reader, &left) && left.open);
    assert_int_equal(baton_journal_close(journal), 0);
    baton_hint *killed; /* what would stand there without the close */
    assert_int_equal(baton_hint_create(io, path, &killed), 0);
    baton_hint_publish(killed, &left);
    baton_hint_close(killed);
    assert_true(baton_hint_read(reader, &view) && view.open);

    baton_recovery_report report;
    assert_int_equal(baton_journal_open(path, &options, &journal, &report, NULL), 0);
    assert_false(baton_hint_read(reader, &view)); /* the lock is held, and not by who wrote it */
    assert_int_equal(baton_journal_begin(journal, &report, NULL), 0);
    assert_true(baton_hint_read(reader, &view) && view.open && view.index > left.index);
    assert_int_equal(baton_journal_close(journal), 0);
    baton_hint_close(reader);
}

#define HINT(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

/* Opening HINT fails like this: to write it, or at all. */
typedef struct {
    uint32_t flags;
    int r;
} refusal;

static int refuse(void *context, uint64_t n, const baton_io_op *op)
{
    const refusal *self = context;
    (void)n;
    bool hit = op != NULL && op->kind == BATON_IO_OPEN && strstr(op->path, "/HINT") != NULL &&
               (op->open_flags & self->flags) != 0;
    return hit ? self->r : 0;
}

/* Else readers would believe a dead writer's page beside its successor's lock. */
static void an_open_that_can_not_reset_the_page_is_refused(void **state)
{
    (void)state;
    static const refusal refusals[] = {{BATON_IO_FOR_WRITE, -EACCES}, {BATON_IO_FOR_READ, -EIO}};
    const char *directory = test_path(&dir, "j");
    baton_journal_options options = fixture_options();
    baton_journal *journal = fixture_begin(directory, &options);
    fixture_append_durable(journal, 3);
    baton_journal_abandon(journal);

    io_fault *fault = io_fault_new();
    options.io_backend = io_fault_backend();
    options.io_context = fault;
    for (uint32_t i = 0; i < 2; i++) {
        refusal refused = refusals[i];
        baton_recovery_report report;
        baton_error error;
        io_fault_set_decide(fault, refuse, &refused);
        assert_int_equal(baton_journal_open(directory, &options, &journal, &report, &error),
                         refused.r);
        assert_non_null(strstr(error.what, "HINT"));
    }
    io_fault_set_decide(fault, NULL, NULL);
    journal = fixture_begin(directory, &options);
    assert_int_equal(baton_journal_last_seq(journal), 3);
    assert_int_equal(baton_journal_close(journal), 0);
    io_fault_free(fault);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HINT(an_open_that_can_not_reset_the_page_is_refused),
        HINT(there_is_no_view_before_the_first_publish),
        HINT(a_takeover_takes_the_old_view_away),
        HINT(a_writer_that_died_inside_a_publish_leaves_no_view),
        HINT(a_page_of_another_kind_or_too_short_is_no_hint),
        HINT(a_page_without_the_newest_batches_is_of_an_older_layout),
        HINT(the_newest_batches_are_shared_and_a_takeover_empties_them),
        HINT(a_wait_ends_by_time),
        HINT(a_reader_beside_the_writer_never_sees_half_a_view),
        HINT(every_publish_wakes_a_waiter_in_another_process),
        HINT(a_journal_publishes_what_is_durable_and_that_it_closed),
        HINT(the_next_writers_open_takes_a_killed_ones_view_away),
    };
    return cmocka_run_group_tests_name("journal hint", tests, NULL, NULL);
}
