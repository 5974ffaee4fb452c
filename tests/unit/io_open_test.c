/* base/io.c: choosing the backend, falling back, the region. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/io.h"

/* ---- denial, in a child of its own, as a filter can't be taken off again ---- */

static int deny_io_uring(int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -errno;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 ? 0 : -errno;
}

/* 0 or the number of the first claim that does not hold. */
static int check_denied(int error)
{
    const baton_io_options automatic = {.choice = BATON_IO_AUTO};
    const baton_io_options uring = {.choice = BATON_IO_URING};
    char directory[] = "/tmp";
    char text[1024];
    baton_io *io = NULL;
    baton_error problem = {0};
    uint64_t size;

    if (deny_io_uring(error) != 0)
        return 77;
    if (baton_io_open(&uring, &io, &problem) != -error || io != NULL)
        return 1;
    baton_error_text(&problem, text, sizeof(text));
    if (strstr(text, "seccomp") == NULL || strstr(text, "kernel.io_uring_disabled") == NULL)
        return 2;
    if (baton_io_open(&automatic, &io, &problem) != 0)
        return 3;
    if (strcmp(baton_io_backend_name(io), "threads") != 0)
        return 4;
    if (strstr(baton_io_fallback_reason(io), "seccomp") == NULL ||
        strstr(baton_io_fallback_reason(io), baton_status_name(-error)) == NULL)
        return 5;
    baton_io_op op = {.kind = BATON_IO_OPEN,
                      .path = directory,
                      .open_flags = BATON_IO_FOR_READ | BATON_IO_DIRECTORY};
    if (baton_io_submit(io, &op) != 0 || baton_io_wait(io, UINT64_MAX) != 0 ||
        baton_io_reap(io) != &op || op.result < 0)
        return 6;
    if (baton_io_file_size(io, (baton_io_file)op.result, &size) != 0)
        return 7;
    baton_io_file_close(io, (baton_io_file)op.result);
    baton_io_close(io);
    return 0;
}

static void check_in_child(int error)
{
    int status;
    fflush(NULL);
    const pid_t parent = getpid();
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(getppid() == parent ? check_denied(error) : 99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("skipped: no seccomp filter can be installed here\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_seccomp_filter_that_says_eperm_leads_to_threads_and_is_named(void **state)
{
    (void)state;
    check_in_child(EPERM);
}

static void a_seccomp_filter_that_says_enosys_leads_to_threads_and_is_named(void **state)
{
    (void)state;
    check_in_child(ENOSYS);
}

/* ---- opening ---- */

static void a_choice_of_threads_is_no_fallback(void **state)
{
    (void)state;
    const baton_io_options options = {.choice = BATON_IO_THREADS};
    baton_io *io;
    assert_int_equal(baton_io_open(&options, &io, NULL), 0);
    assert_string_equal(baton_io_backend_name(io), "threads");
    assert_string_equal(baton_io_fallback_reason(io), "");
    assert_ptr_equal(baton_io_clock(io), baton_clock_system());
    baton_io_close(io);
    baton_io_close(NULL);
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    const baton_io_options too_many = {.choice = BATON_IO_THREADS, .ops_max = 1025};
    const baton_io_options too_large = {.choice = BATON_IO_THREADS, .region_bytes = UINT64_MAX};
    const baton_io_options no_memory = {.choice = BATON_IO_THREADS,
                                        .region_bytes = UINT64_C(1) << 55};
    baton_io *io = NULL;
    baton_error error = {0};
    assert_int_equal(baton_io_open(&too_many, &io, &error), BATON_E_INVALID);
    assert_non_null(strstr(error.why, "1025"));
    assert_int_equal(baton_io_open(&too_large, &io, &error), BATON_E_INVALID);
    /* A sanitizer's malloc ends the program there. */
    if (getenv("BATON_SANITIZE") == NULL || getenv("BATON_SANITIZE")[0] == '\0')
        assert_int_equal(baton_io_open(&no_memory, &io, &error), -ENOMEM);
    assert_null(io);
}

static void one_to_1024_operations_can_be_asked_for(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 3, 1024};
    for (size_t i = 0; i < 3; i++) {
        for (int choice = BATON_IO_AUTO; choice <= BATON_IO_THREADS; choice += 2) {
            const baton_io_options options = {.choice = (baton_io_choice)choice,
                                              .ops_max = counts[i]};
            baton_io *io;
            baton_io_op *ops = calloc(counts[i] + 1, sizeof(*ops));
            assert_non_null(ops);
            assert_int_equal(baton_io_open(&options, &io, NULL), 0);
            for (uint32_t j = 0; j <= counts[i]; j++) {
                ops[j] = (baton_io_op){.kind = BATON_IO_SYNC, .file = BATON_IO_NO_FILE};
                assert_int_equal(baton_io_submit(io, &ops[j]), j < counts[i] ? 0 : BATON_E_FULL);
            }
            uint32_t reaped = 0;
            while (baton_io_in_flight(io) > 0) {
                assert_int_equal(baton_io_wait(io, UINT64_MAX), 0);
                for (baton_io_op *op; (op = baton_io_reap(io)) != NULL; reaped++)
                    assert_int_equal(op->result, -EBADF);
            }
            assert_int_equal(reaped, counts[i]);
            baton_io_close(io);
            free(ops);
        }
    }
}

/* ---- region ---- */

static void the_region_is_aligned_zeroed_and_taken_in_units(void **state)
{
    (void)state;
    const baton_io_options options = {.region_bytes = (UINT64_C(2) << 20) + 1};
    baton_io *io;
    uint64_t bytes;
    assert_int_equal(baton_io_open(&options, &io, NULL), 0);
    char *region = baton_io_region(io, &bytes);
    assert_int_equal(bytes, UINT64_C(4) << 20);
    assert_int_equal((uintptr_t)region % (UINT64_C(2) << 20), 0);
    for (uint64_t i = 0; i < bytes; i++)
        if (region[i] != 0)
            fail_msg("byte %llu is not zero", (unsigned long long)i);
    assert_ptr_equal(baton_io_region_take(io, 1), region);
    assert_ptr_equal(baton_io_region_take(io, 4096), region + 4096);
    assert_ptr_equal(baton_io_region_take(io, 4097), region + 8192);
    assert_null(baton_io_region_take(io, bytes - 16384 + 1));
    assert_null(baton_io_region_take(io, UINT64_MAX));
    assert_ptr_equal(baton_io_region_take(io, bytes - 16384), region + 16384);
    assert_null(baton_io_region_take(io, 1));
    baton_io_close(io);
}

static void without_a_region_nothing_can_be_taken(void **state)
{
    (void)state;
    const baton_io_options options = {.choice = BATON_IO_AUTO};
    baton_io *io;
    uint64_t bytes = 1;
    assert_int_equal(baton_io_open(&options, &io, NULL), 0);
    assert_null(baton_io_region(io, &bytes));
    assert_int_equal(bytes, 0);
    assert_null(baton_io_region_take(io, 1));
    baton_io_close(io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seccomp_filter_that_says_eperm_leads_to_threads_and_is_named),
        cmocka_unit_test(a_seccomp_filter_that_says_enosys_leads_to_threads_and_is_named),
        cmocka_unit_test(a_choice_of_threads_is_no_fallback),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(one_to_1024_operations_can_be_asked_for),
        cmocka_unit_test(the_region_is_aligned_zeroed_and_taken_in_units),
        cmocka_unit_test(without_a_region_nothing_can_be_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
