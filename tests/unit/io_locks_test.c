/* base/io.h, what other processes see: locks, the held file, shared maps. Over every backend. */
#include "tests/unit/io_case.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io_backend.h"

#define RW      (BATON_IO_FOR_READ | BATON_IO_FOR_WRITE)
#define HANG_NS (UINT64_C(60) * 1000000000)

/* A child that begins to look when told to, and whose answer is its exit code. */
typedef struct {
    pid_t pid;
    int go;
} child;

static child child_start(int (*look)(const char *path), const char *path)
{
    int pipe_fds[2];
    const pid_t parent = getpid();
    assert_int_equal(pipe(pipe_fds), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char byte;
        close(pipe_fds[1]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || read(pipe_fds[0], &byte, 1) != 1)
            _exit(99);
        _exit(look(path));
    }
    close(pipe_fds[0]);
    return (child){pid, pipe_fds[1]};
}

static int child_answer(child *one)
{
    int status;
    assert_int_equal(write(one->go, "x", 1), 1);
    close(one->go);
    assert_int_equal(waitpid(one->pid, &status, 0), one->pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int try_lock(const char *path)
{
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return 90;
    const int seen = baton_io_posix_file_is_locked(NULL, fd);
    const int r = baton_io_posix_file_lock(NULL, fd);
    close(fd);
    if (seen == 1 && r == BATON_E_LOCKED)
        return 1; /* held by another */
    return seen == 0 && r == 0 ? 0 : 91;
}

static void a_lock_keeps_out_a_second_open_of_the_same_process(void **state)
{
    io_case *test = *state;
    baton_io_file first = io_case_open(test, "LOCK", RW | BATON_IO_CREATE);
    baton_io_file second = io_case_open(test, "LOCK", RW);
    assert_int_equal(baton_io_file_is_locked(test->io, second), 0);
    assert_int_equal(baton_io_file_lock(test->io, first), 0);
    assert_int_equal(baton_io_file_lock(test->io, first), 0); /* its own again */
    assert_int_equal(baton_io_file_is_locked(test->io, first), 0);
    assert_int_equal(baton_io_file_is_locked(test->io, second), 1);
    assert_int_equal(baton_io_file_lock(test->io, second), BATON_E_LOCKED);
    baton_io_file_close(test->io, first);
    assert_int_equal(baton_io_file_is_locked(test->io, second), 0);
    assert_int_equal(baton_io_file_lock(test->io, second), 0);
    baton_io_file_close(test->io, second);
}

static void a_lock_keeps_out_another_process(void **state)
{
    io_case *test = *state;
    char path[600];
    strcpy(path, test_path(&test->dir, "LOCK"));
    /* Forked before the file is open, so that they inherit nothing. */
    child early = child_start(try_lock, path);
    child late = child_start(try_lock, path);
    baton_io_file file = io_case_open(test, "LOCK", RW | BATON_IO_CREATE);
    assert_int_equal(baton_io_file_lock(test->io, file), 0);
    assert_int_equal(child_answer(&early), 1);
    baton_io_file_close(test->io, file);
    assert_int_equal(child_answer(&late), 0);
}

static void a_lock_needs_a_file_open_for_writing(void **state)
{
    io_case *test = *state;
    baton_io_file_close(test->io, io_case_open(test, "LOCK", RW | BATON_IO_CREATE));
    baton_io_file file = io_case_open(test, "LOCK", BATON_IO_FOR_READ);
    assert_int_equal(baton_io_file_lock(test->io, file), -EBADF);
    assert_int_equal(baton_io_file_lock(test->io, 1000000), -EBADF);
    assert_int_equal(baton_io_file_is_locked(test->io, 1000000), -EBADF);
    baton_io_file_close(test->io, file);
}

static void closing_a_held_file_frees_its_lock_at_once(void **state)
{
    io_case *test = *state;
    baton_io_file other = io_case_open(test, "LOCK", RW | BATON_IO_CREATE);
    for (int round = 0; round < 20; round++) {
        baton_io_file file = io_case_open(test, "LOCK", RW);
        assert_int_equal(baton_io_file_lock(test->io, file), 0);
        assert_int_equal(baton_io_file_hold(test->io, file), 0);
        assert_int_equal(baton_io_file_is_locked(test->io, other), 1);
        if (round % 2 == 0) {
            baton_io_file_close(test->io, file);
        } else {
            baton_io_op op = {.kind = BATON_IO_CLOSE, .file = file};
            assert_int_equal(baton_io_submit(test->io, &op), 0);
            assert_ptr_equal(io_case_reap(test), &op);
        }
        assert_int_equal(baton_io_file_is_locked(test->io, other), 0);
    }
    baton_io_file_close(test->io, other);
}

/* J10: as when a process dies, its number for the file is gone but the ring is still there. */
static void the_ring_keeps_a_held_file_locked_and_lets_go_at_close(void **state)
{
    io_case *test = *state;
    const int is_ring = strcmp(test->variant->backend, "uring") == 0;
    const int other = open(test_path(&test->dir, "LOCK"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    baton_io_file file = io_case_open(test, "LOCK", RW);
    assert_true(other >= 0);
    assert_int_equal(baton_io_file_lock(test->io, file), 0);
    assert_int_equal(baton_io_file_hold(test->io, file), 0);
    close(file); /* behind the seam's back */
    assert_int_equal(baton_io_posix_file_is_locked(NULL, other), is_ring);

    baton_io_close(test->io);
    test->io = NULL;
    const baton_clock *clock = baton_clock_system();
    const uint64_t begun = baton_clock_monotonic_ns(clock);
    /* The kernel may let go in a worker of its own. */
    while (baton_io_posix_file_is_locked(NULL, other) == 1) {
        assert_true(baton_clock_monotonic_ns(clock) - begun < HANG_NS);
        sched_yield();
    }
    assert_int_equal(baton_io_posix_file_lock(NULL, other), 0);
    close(other);
}

/* As with `ulimit -n 32`: the table of registered files does not fit any more. */
static void a_low_limit_of_open_files_still_leaves_room_for_the_held_one(void **state)
{
    io_case *test = *state;
    struct rlimit before;
    const int other = open(test_path(&test->dir, "LOCK"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    baton_io_file file;
    baton_io *io = NULL;
    baton_io_options options = {.choice = BATON_IO_URING};
    if (strcmp(test->variant->backend, "threads") == 0)
        options.choice = BATON_IO_THREADS;

    assert_true(other >= 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit low = {.rlim_cur = 32, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    const int r = baton_io_open(&options, &io, NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(r, 0);
    assert_int_equal(baton_io_file_open(io, test_path(&test->dir, "LOCK"), RW, &file), 0);
    assert_int_equal(baton_io_file_lock(io, file), 0);
    assert_int_equal(baton_io_file_hold(io, file), 0);
    baton_io_file_register(io, file); /* no room: used unregistered */
    baton_io_op op = {.kind = BATON_IO_SYNC, .file = file};
    assert_int_equal(baton_io_submit(io, &op), 0);
    assert_int_equal(baton_io_wait(io, HANG_NS), 0);
    assert_ptr_equal(baton_io_reap(io), &op);
    assert_int_equal(op.result, 0);
    assert_int_equal(baton_io_posix_file_is_locked(NULL, other), 1);
    baton_io_file_close(io, file);
    assert_int_equal(baton_io_posix_file_is_locked(NULL, other), 0);
    baton_io_close(io);
    close(other);
}

static int write_mapped(const char *path)
{
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    void *address = NULL;
    if (fd < 0 || baton_io_posix_map(NULL, fd, 4096, true, &address) != 0)
        return 90;
    close(fd);
    memcpy((char *)address + 100, "from the child", 15);
    baton_io_posix_unmap(NULL, address, 4096);
    return 0;
}

static void a_map_is_shared_between_processes(void **state)
{
    io_case *test = *state;
    char path[600];
    char text[16] = "";
    void *address = NULL;
    strcpy(path, test_path(&test->dir, "page"));
    child writer = child_start(write_mapped, path);
    baton_io_file file = io_case_open(test, "page", RW | BATON_IO_CREATE);
    baton_io_op grow = {.kind = BATON_IO_TRUNCATE, .file = file, .offset = 4096};
    assert_int_equal(io_case_do(test, &grow), 0);
    assert_int_equal(baton_io_map(test->io, file, 4096, false, &address), 0);
    assert_int_equal(child_answer(&writer), 0);
    assert_string_equal((const char *)address + 100, "from the child");
    baton_io_unmap(test->io, address, 4096);
    baton_io_unmap(test->io, NULL, 4096);
    assert_int_equal(baton_io_file_read(test->io, file, text, 15, 100), 15);
    assert_string_equal(text, "from the child");
    baton_io_file_close(test->io, file);
}

static void a_map_obeys_how_the_file_was_opened(void **state)
{
    io_case *test = *state;
    void *address = NULL;
    baton_io_file_close(test->io, io_case_open(test, "page", RW | BATON_IO_CREATE));
    baton_io_file file = io_case_open(test, "page", BATON_IO_FOR_READ);
    assert_int_equal(baton_io_map(test->io, file, 4096, true, &address), -EACCES);
    assert_int_equal(baton_io_map(test->io, 1000000, 4096, true, &address), -EBADF);
    assert_int_equal(baton_io_map(test->io, file, 0, false, &address), -EINVAL);
    assert_null(address);
    baton_io_file_close(test->io, file);
}

static int run_group(const io_variant *variant)
{
    const struct CMUnitTest tests[] = {
        IO_CASE_TEST(a_lock_keeps_out_a_second_open_of_the_same_process, variant),
        IO_CASE_TEST(a_lock_keeps_out_another_process, variant),
        IO_CASE_TEST(a_lock_needs_a_file_open_for_writing, variant),
        IO_CASE_TEST(closing_a_held_file_frees_its_lock_at_once, variant),
        IO_CASE_TEST(the_ring_keeps_a_held_file_locked_and_lets_go_at_close, variant),
        IO_CASE_TEST(a_map_is_shared_between_processes, variant),
        IO_CASE_TEST(a_map_obeys_how_the_file_was_opened, variant),
    };
    const struct CMUnitTest production[] = {
        IO_CASE_TEST(a_low_limit_of_open_files_still_leaves_room_for_the_held_one, variant)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (strcmp(variant->backend, "fault") != 0)
        failed += cmocka_run_group_tests(production, NULL, NULL);
    return failed;
}

int main(void)
{
    static const io_variant variants[] = {
        {"uring", ROUTE_RUN}, {"threads", ROUTE_RUN}, {"fault", ROUTE_RUN}};
    return io_case_each(variants, sizeof(variants) / sizeof(variants[0]), run_group);
}
