/* base/io.h, operations in flight: many at once, waiting, the event fd. Over every backend. */
#include "tests/unit/io_case.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <liburing.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io_backend.h"

#define RW        (BATON_IO_FOR_READ | BATON_IO_FOR_WRITE)
#define HANG_MS   60000
#define SECOND_NS UINT64_C(1000000000)

static void submit(io_case *test, baton_io_op *op, baton_io_kind kind, baton_io_file file,
                   void *buffer, uint64_t bytes, uint64_t offset)
{
    *op = (baton_io_op){
        .kind = kind, .file = file, .buffer = buffer, .bytes = bytes, .offset = offset};
    assert_int_equal(baton_io_submit(test->io, op), 0);
}

static bool is_readable(int fd)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    int n = poll(&wanted, 1, 0);
    assert_true(n >= 0);
    return n == 1;
}

static void many_in_flight_all_come_back_once(void **state)
{
    io_case *test = *state;
    enum { ROUNDS = 20, PART = 8192 };
    baton_io_op ops[IO_CASE_OPS_MAX];
    char *out = io_case_buffer(test, IO_CASE_OPS_MAX * PART);
    char *in = io_case_buffer(test, IO_CASE_OPS_MAX * PART);
    baton_io_file file = io_case_open(test, "f", RW | BATON_IO_CREATE | BATON_IO_DIRECT);
    baton_io_file_register(test->io, file);

    for (uint64_t round = 0; round < ROUNDS; round++) {
        io_case_fill(out, IO_CASE_OPS_MAX * PART, round);
        for (int reading = 0; reading < 2; reading++) {
            for (uint32_t i = 0; i < IO_CASE_OPS_MAX; i++) {
                submit(test, &ops[i], reading ? BATON_IO_READ : BATON_IO_WRITE, file,
                       (reading ? in : out) + i * PART, PART, (uint64_t)i * PART);
                ops[i].tag = i + 1;
                if (i % 7 == 0)
                    assert_int_equal(baton_io_enter(test->io), 0);
            }
            assert_int_equal(baton_io_in_flight(test->io), IO_CASE_OPS_MAX);
            for (uint32_t i = 0; i < IO_CASE_OPS_MAX; i++) {
                baton_io_op *op = io_case_reap(test);
                assert_int_equal(op->result, PART);
                assert_int_equal(op - ops, op->tag - 1);
                op->tag = IO_CASE_OPS_MAX + 1; /* a second time would fail */
            }
            assert_int_equal(baton_io_in_flight(test->io), 0);
            assert_null(baton_io_reap(test->io));
        }
        assert_memory_equal(in, out, IO_CASE_OPS_MAX * PART);
    }
    baton_io_file_close(test->io, file);
}

static void one_more_than_ops_max_is_full(void **state)
{
    io_case *test = *state;
    baton_io_op ops[IO_CASE_OPS_MAX + 1];
    char *buffer = io_case_buffer(test, 4096);
    baton_io_file file = io_case_open(test, "f", RW | BATON_IO_CREATE);
    for (uint32_t i = 0; i < IO_CASE_OPS_MAX; i++)
        submit(test, &ops[i], BATON_IO_WRITE, file, buffer, 4096, (uint64_t)i * 4096);
    ops[IO_CASE_OPS_MAX] = (baton_io_op){.kind = BATON_IO_SYNC, .file = file};
    assert_int_equal(baton_io_submit(test->io, &ops[IO_CASE_OPS_MAX]), BATON_E_FULL);
    (void)io_case_reap(test);
    assert_int_equal(baton_io_submit(test->io, &ops[IO_CASE_OPS_MAX]), 0);
    while (baton_io_in_flight(test->io) > 0)
        (void)io_case_reap(test);
    baton_io_file_close(test->io, file);
}

static void a_chain_of_file_operations_works_submitted(void **state)
{
    io_case *test = *state;
    char a[600], b[600];
    snprintf(a, sizeof(a), "%s", test_path(&test->dir, "a"));
    snprintf(b, sizeof(b), "%s", test_path(&test->dir, "b"));
    char *buffer = io_case_buffer(test, 4096);
    baton_io_op open_op = {.kind = BATON_IO_OPEN, .path = a, .open_flags = RW | BATON_IO_CREATE};
    const baton_io_file file = (baton_io_file)io_case_do(test, &open_op);
    baton_io_op steps[] = {
        {.kind = BATON_IO_ALLOCATE, .file = file, .bytes = 8192},
        {.kind = BATON_IO_WRITE_DURABLE, .file = file, .buffer = buffer, .bytes = 4096},
        {.kind = BATON_IO_TRUNCATE, .file = file, .offset = 4096},
        {.kind = BATON_IO_SYNC_DATA, .file = file},
        {.kind = BATON_IO_RENAME, .path = a, .path_to = b},
        {.kind = BATON_IO_CLOSE, .file = file},
        {.kind = BATON_IO_UNLINK, .path = b},
    };
    static const int64_t expected[] = {0, 4096, 0, 0, 0, 0, 0};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        assert_int_equal(io_case_do(test, &steps[i]), expected[i]);
}

static void nothing_reaches_the_file_before_enter(void **state)
{
    io_case *test = *state;
    baton_io_op op;
    uint64_t bytes = 1;
    char *buffer = io_case_buffer(test, 4096);
    baton_io_file file = io_case_open(test, "f", RW | BATON_IO_CREATE);
    submit(test, &op, BATON_IO_WRITE, file, buffer, 4096, 0);
    assert_int_equal(baton_io_in_flight(test->io), 1);
    assert_null(baton_io_reap(test->io));
    assert_int_equal(baton_io_file_size(test->io, file, &bytes), 0);
    assert_int_equal(bytes, 0);
    assert_int_equal(baton_io_wait(test->io, UINT64_MAX), 0); /* wait enters */
    assert_ptr_equal(baton_io_reap(test->io), &op);
    assert_int_equal(op.result, 4096);
    baton_io_file_close(test->io, file);
}

static void waiting_with_nothing_in_flight_returns_at_once(void **state)
{
    io_case *test = *state;
    assert_int_equal(baton_io_wait(test->io, UINT64_MAX), BATON_E_TIMEOUT);
    assert_int_equal(baton_io_wait(test->io, 0), BATON_E_TIMEOUT);
    assert_int_equal(baton_io_enter(test->io), 0);
    assert_null(baton_io_reap(test->io));
}

static void waiting_returns_at_once_while_one_is_finished(void **state)
{
    io_case *test = *state;
    baton_io_op ops[2];
    char *buffer = io_case_buffer(test, 8192);
    baton_io_file file = io_case_open(test, "f", RW | BATON_IO_CREATE);
    submit(test, &ops[0], BATON_IO_WRITE, file, buffer, 4096, 0);
    submit(test, &ops[1], BATON_IO_WRITE, file, buffer + 4096, 4096, 4096);
    for (int i = 0; i < 10; i++)
        assert_int_equal(baton_io_wait(test->io, UINT64_MAX), 0);
    assert_non_null(io_case_reap(test));
    assert_int_equal(baton_io_wait(test->io, UINT64_MAX), 0);
    assert_non_null(baton_io_reap(test->io));
    baton_io_file_close(test->io, file);
}

/* Waits in vain, then lets `op` end by opening or writing the other side of a pipe. */
static void check_timeout(io_case *test, const baton_io_op *op)
{
    const baton_clock *clock = baton_io_clock(test->io);
    const uint64_t begun = baton_clock_monotonic_ns(clock);
    assert_int_equal(baton_io_wait(test->io, SECOND_NS / 100), BATON_E_TIMEOUT);
    assert_true(baton_clock_monotonic_ns(clock) - begun >= SECOND_NS / 100);
    assert_int_equal(baton_io_wait(test->io, 0), BATON_E_TIMEOUT);
    assert_null(baton_io_reap(test->io));
    assert_true(op->in_flight);
    assert_false(is_readable(baton_io_event_fd(test->io)));
}

/* io_uring: a read from a pipe to which nobody has written. */
static void a_wait_is_over_when_its_time_is_on_the_ring(void **state)
{
    io_case *test = *state;
    int pipe_fds[2];
    char text[4] = "";
    baton_io_op op;
    assert_int_equal(pipe(pipe_fds), 0);
    submit(test, &op, BATON_IO_READ, pipe_fds[0], text, 1, UINT64_MAX);
    check_timeout(test, &op);
    assert_int_equal(write(pipe_fds[1], "x", 1), 1);
    assert_ptr_equal(io_case_reap(test), &op);
    assert_int_equal(op.result, 1);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* Threads: opening a named pipe that nobody writes to. */
static void a_wait_is_over_when_its_time_is_with_threads(void **state)
{
    io_case *test = *state;
    char path[600];
    snprintf(path, sizeof(path), "%s", test_path(&test->dir, "fifo"));
    assert_int_equal(mkfifo(path, 0600), 0);
    baton_io_op op = {.kind = BATON_IO_OPEN, .path = path, .open_flags = BATON_IO_FOR_READ};
    assert_int_equal(baton_io_submit(test->io, &op), 0);
    check_timeout(test, &op);
    const int writer = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(writer >= 0);
    assert_ptr_equal(io_case_reap(test), &op);
    assert_true(op.result >= 0);
    close((int)op.result);
    close(writer);
}

static void the_event_fd_wakes_epoll_and_is_quiet_once_all_is_reaped(void **state)
{
    io_case *test = *state;
    enum { ROUNDS = 100, COUNT = 5 };
    baton_io_op ops[COUNT];
    char *buffer = io_case_buffer(test, 4096 * COUNT);
    struct epoll_event event = {.events = EPOLLIN};
    baton_io_file file = io_case_open(test, "f", RW | BATON_IO_CREATE | BATON_IO_DIRECT);
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    assert_true(epoll >= 0);
    assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, baton_io_event_fd(test->io), &event), 0);

    for (int round = 0; round < ROUNDS; round++) {
        const uint32_t count = 1 + (uint32_t)round % COUNT;
        for (uint32_t i = 0; i < count; i++)
            submit(test, &ops[i], round % 2 ? BATON_IO_WRITE_DURABLE : BATON_IO_WRITE, file,
                   buffer + i * 4096, 4096, i * 4096);
        assert_int_equal(baton_io_enter(test->io), 0);
        for (uint32_t left = count; left > 0;) {
            int n;
            while ((n = epoll_wait(epoll, &event, 1, HANG_MS)) < 0)
                assert_int_equal(errno, EINTR);
            assert_int_equal(n, 1);
            for (baton_io_op *op; (op = baton_io_reap(test->io)) != NULL; left--)
                assert_int_equal(op->result, 4096);
        }
        assert_null(baton_io_reap(test->io));
        assert_int_equal(epoll_wait(epoll, &event, 1, 0), 0);
    }
    close(epoll);
    baton_io_file_close(test->io, file);
}

static void the_event_fd_stays_readable_until_the_last_is_reaped(void **state)
{
    io_case *test = *state;
    baton_io_op ops[3];
    char *buffer = io_case_buffer(test, 4096 * 3);
    struct pollfd wanted = {.fd = baton_io_event_fd(test->io), .events = POLLIN};
    baton_io_file file = io_case_open(test, "f", RW | BATON_IO_CREATE);
    for (uint32_t i = 0; i < 3; i++)
        submit(test, &ops[i], BATON_IO_WRITE, file, buffer + i * 4096, 4096, i * 4096);
    assert_int_equal(baton_io_enter(test->io), 0);
    for (int left = 3; left > 0; left--) {
        assert_int_equal(poll(&wanted, 1, HANG_MS), 1);
        assert_int_equal(poll(&wanted, 1, 0), 1); /* looking does not clear it */
        assert_non_null(io_case_reap(test));
    }
    assert_null(baton_io_reap(test->io));
    assert_false(is_readable(wanted.fd));
    baton_io_file_close(test->io, file);
}

/* The same as io_uring finishes: an op that was given up to nobody must still be waited for. */
static void closing_waits_for_what_is_in_flight(void **state)
{
    io_case *test = *state;
    enum { COUNT = 16, BYTES = 65536 };
    baton_io_op ops[COUNT];
    char *buffer = io_case_buffer(test, BYTES);
    io_case_fill(buffer, BYTES, 3);
    baton_io_file file = io_case_open(test, "f", RW | BATON_IO_CREATE | BATON_IO_DIRECT);
    char *copy = malloc(BYTES);
    assert_non_null(copy);
    memcpy(copy, buffer, BYTES);
    for (uint64_t i = 0; i < COUNT; i++)
        submit(test, &ops[i], BATON_IO_WRITE_DURABLE, file, buffer, BYTES, i * BYTES);
    assert_int_equal(baton_io_enter(test->io), 0);
    baton_io_close(test->io); /* frees the region */
    test->io = NULL;
    for (uint64_t i = 0; i < COUNT; i++) {
        char *in = aligned_alloc(4096, BYTES);
        baton_io_op op = {
            .kind = BATON_IO_READ, .file = file, .buffer = in, .bytes = BYTES, .offset = i * BYTES};
        assert_non_null(in);
        assert_int_equal(baton_io_posix_run(NULL, &op), BYTES);
        assert_memory_equal(in, copy, BYTES);
        free(in);
        assert_int_equal(ops[i].result, BYTES);
        assert_false(ops[i].in_flight);
    }
    free(copy);
    close(file);
}

/* Where this process has mapped the queues of its only ring, or NULL. */
static char *ring_mapped(void)
{
    char line[512];
    char *found = NULL;
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    while (found == NULL && fgets(line, sizeof(line), maps) != NULL) {
        void *begin;
        uint64_t offset;
        if (strstr(line, "anon_inode:[io_uring]") != NULL &&
            sscanf(line, "%p-%*p %*s %" SCNx64, &begin, &offset) == 2 &&
            offset == IORING_OFF_SQ_RING)
            found = begin;
    }
    fclose(maps);
    return found;
}

/* The kernel raises its flag only after it has made the work visible, so the flag can stand when
 * that work was long taken. Who believes it for as long as it stands never returns. */
static void a_late_flag_of_the_kernel_does_not_hold_up_a_reap(void **state)
{
    io_case *test = *state;
    char *mapped = ring_mapped();
    struct io_uring other;
    struct io_uring_params params = {0};
    assert_non_null(mapped);
    assert_int_equal(io_uring_queue_init_params(1, &other, &params), 0);
    uint32_t *flags = (uint32_t *)(void *)(mapped + params.sq_off.flags);
    io_uring_queue_exit(&other);
    __atomic_fetch_or(flags, IORING_SQ_TASKRUN, __ATOMIC_RELAXED);
    assert_null(baton_io_reap(test->io));

    baton_io_op op;
    char *buffer = io_case_buffer(test, 4096);
    baton_io_file file = io_case_open(test, "f", RW | BATON_IO_CREATE);
    submit(test, &op, BATON_IO_WRITE, file, buffer, 4096, 0);
    assert_ptr_equal(io_case_reap(test), &op);
    baton_io_file_close(test->io, file);
}

static void errors_come_back_as_results_and_harm_nobody_else(void **state)
{
    io_case *test = *state;
    baton_io_op good;
    baton_io_op bad;
    baton_io_op missing = {.kind = BATON_IO_UNLINK, .path = test_path(&test->dir, "none")};
    char *buffer = io_case_buffer(test, 4096);
    baton_io_file file = io_case_open(test, "f", RW | BATON_IO_CREATE);
    submit(test, &bad, BATON_IO_WRITE, 1000000, buffer, 4096, 0);
    submit(test, &good, BATON_IO_WRITE, file, buffer, 4096, 0);
    assert_int_equal(baton_io_submit(test->io, &missing), 0);
    assert_int_equal(baton_io_enter(test->io), 0);
    for (int i = 0; i < 3; i++)
        (void)io_case_reap(test);
    assert_int_equal(bad.result, -EBADF);
    assert_int_equal(good.result, 4096);
    assert_int_equal(missing.result, -ENOENT);
    baton_io_file_close(test->io, file);
}

static int run_group(const io_variant *variant)
{
    const struct CMUnitTest tests[] = {
        IO_CASE_TEST(many_in_flight_all_come_back_once, variant),
        IO_CASE_TEST(one_more_than_ops_max_is_full, variant),
        IO_CASE_TEST(a_chain_of_file_operations_works_submitted, variant),
        IO_CASE_TEST(nothing_reaches_the_file_before_enter, variant),
        IO_CASE_TEST(waiting_with_nothing_in_flight_returns_at_once, variant),
        IO_CASE_TEST(waiting_returns_at_once_while_one_is_finished, variant),
        IO_CASE_TEST(the_event_fd_wakes_epoll_and_is_quiet_once_all_is_reaped, variant),
        IO_CASE_TEST(the_event_fd_stays_readable_until_the_last_is_reaped, variant),
        IO_CASE_TEST(closing_waits_for_what_is_in_flight, variant),
        IO_CASE_TEST(errors_come_back_as_results_and_harm_nobody_else, variant),
    };
    const struct CMUnitTest on_the_ring[] = {
        IO_CASE_TEST(a_wait_is_over_when_its_time_is_on_the_ring, variant),
        IO_CASE_TEST(a_late_flag_of_the_kernel_does_not_hold_up_a_reap, variant)};
    const struct CMUnitTest with_threads[] = {
        IO_CASE_TEST(a_wait_is_over_when_its_time_is_with_threads, variant)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (strcmp(variant->backend, "uring") == 0)
        failed += cmocka_run_group_tests(on_the_ring, NULL, NULL);
    if (strcmp(variant->backend, "threads") == 0)
        failed += cmocka_run_group_tests(with_threads, NULL, NULL);
    return failed;
}

int main(void)
{
    static const io_variant variants[] = {
        {"uring", ROUTE_SUBMIT}, {"threads", ROUTE_SUBMIT}, {"fault", ROUTE_SUBMIT}};
    return io_case_each(variants, sizeof(variants) / sizeof(variants[0]), run_group);
}
