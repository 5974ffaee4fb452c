/* tests/support/io_fault.c: the faults other tests rely on do what they say. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/io.h"
#include "tests/support/io_fault.h"
#include "tests/support/test_dir.h"

enum { COUNT = 6 };

typedef struct {
    test_dir dir;
    io_fault *fault;
    baton_io *io;
    baton_io_file file;
    baton_io_op ops[COUNT];
    char *buffer;
} fixture;

static int setup(void **state)
{
    fixture *test = calloc(1, sizeof(*test));
    assert_non_null(test);
    test_dir_make(&test->dir, "fault");
    test->fault = io_fault_new();
    const baton_io_options options = {
        .custom = io_fault_backend(), .custom_context = test->fault, .region_bytes = 1};
    assert_int_equal(baton_io_open(&options, &test->io, NULL), 0);
    test->buffer = baton_io_region_take(test->io, 8192);
    memset(test->buffer, 'n', 8192);
    assert_int_equal(baton_io_file_open(test->io, test_path(&test->dir, "f"),
                                        BATON_IO_FOR_READ | BATON_IO_FOR_WRITE | BATON_IO_CREATE |
                                            BATON_IO_DIRECT,
                                        &test->file),
                     0); /* operation 1 */
    *state = test;
    return 0;
}

static int teardown(void **state)
{
    fixture *test = *state;
    baton_io_file_close(test->io, test->file);
    baton_io_close(test->io);
    io_fault_free(test->fault);
    test_dir_remove(&test->dir);
    free(test);
    return 0;
}

static int64_t write_unit(fixture *test, uint64_t unit)
{
    return baton_io_file_write(test->io, test->file, test->buffer, 4096, unit * 4096);
}

static void submit_writes(fixture *test, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        test->ops[i] = (baton_io_op){.kind = BATON_IO_WRITE_DURABLE,
                                     .file = test->file,
                                     .buffer = test->buffer,
                                     .bytes = 4096,
                                     .offset = i * 4096,
                                     .tag = i};
        assert_int_equal(baton_io_submit(test->io, &test->ops[i]), 0);
    }
    assert_int_equal(baton_io_enter(test->io), 0);
}

static void check_next(fixture *test, uint32_t tag)
{
    baton_io_op *op = baton_io_reap(test->io);
    assert_non_null(op);
    assert_int_equal(op->tag, tag);
}

static void operations_are_numbered_as_they_are_done(void **state)
{
    fixture *test = *state;
    assert_int_equal(io_fault_count(test->fault), 1);
    assert_int_equal(write_unit(test, 0), 0);
    assert_int_equal(baton_io_file_sync(test->io, test->file), 0);
    assert_int_equal(baton_io_directory_make(test->io, test_path(&test->dir, "d")), 0);
    assert_int_equal(io_fault_count(test->fault), 4);
    assert_int_equal(io_fault_count_kind(test->fault, BATON_IO_WRITE), 1);
    assert_int_equal(io_fault_count_kind(test->fault, BATON_IO_SYNC), 1);
    submit_writes(test, 2);
    assert_int_equal(io_fault_count(test->fault), 4); /* in flight: not done yet */
    check_next(test, 0);
    check_next(test, 1);
    assert_int_equal(io_fault_count(test->fault), 6);
}

static void one_operation_fails_undone_and_the_next_works(void **state)
{
    fixture *test = *state;
    uint64_t bytes;
    io_fault_fail(test->fault, 3, ENOSPC);
    assert_int_equal(write_unit(test, 0), 0);
    assert_int_equal(write_unit(test, 1), -ENOSPC);
    assert_int_equal(baton_io_file_size(test->io, test->file, &bytes), 0);
    assert_int_equal(bytes, 4096);
    assert_int_equal(write_unit(test, 1), 0);
}

static void the_nth_of_a_kind_fails(void **state)
{
    fixture *test = *state;
    io_fault_fail_kind(test->fault, BATON_IO_SYNC, 2, EIO);
    assert_int_equal(write_unit(test, 0), 0);
    assert_int_equal(baton_io_file_sync(test->io, test->file), 0);
    assert_int_equal(write_unit(test, 1), 0);
    assert_int_equal(baton_io_file_sync(test->io, test->file), -EIO);
    assert_int_equal(baton_io_file_sync(test->io, test->file), 0);
}

static void all_of_a_kind_fail_until_taken_back(void **state)
{
    fixture *test = *state;
    io_fault_fail_all(test->fault, BATON_IO_WRITE, ENOSPC);
    assert_int_equal(write_unit(test, 0), -ENOSPC);
    assert_int_equal(write_unit(test, 0), -ENOSPC);
    assert_int_equal(baton_io_file_sync(test->io, test->file), 0);
    io_fault_fail_all(test->fault, BATON_IO_WRITE, 0);
    assert_int_equal(write_unit(test, 0), 0);
    io_fault_fail_all(test->fault, IO_FAULT_ANY_KIND, EROFS);
    assert_int_equal(baton_io_file_sync(test->io, test->file), -EROFS);
    assert_int_equal(baton_io_directory_make(test->io, test_path(&test->dir, "d")), -EROFS);
}

static void a_torn_write_lands_exactly_its_first_bytes(void **state)
{
    fixture *test = *state;
    static const uint64_t cuts[] = {0, 1, 512, 1000, 4095, 4096, 9999};
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        const uint64_t expected = cuts[i] < 4096 ? cuts[i] : 4096;
        memset(test->buffer, 'o', 4096);
        assert_int_equal(write_unit(test, 0), 0);
        memset(test->buffer, 'n', 4096);
        io_fault_tear(test->fault, io_fault_count(test->fault) + 1, cuts[i]);
        assert_int_equal(write_unit(test, 0), -EIO);
        memset(test->buffer, 0, 4096);
        assert_int_equal(baton_io_file_read(test->io, test->file, test->buffer, 4096, 0), 4096);
        for (uint64_t j = 0; j < 4096; j++)
            assert_int_equal(test->buffer[j], j < expected ? 'n' : 'o');
    }
}

static void after_a_crash_nothing_lands(void **state)
{
    fixture *test = *state;
    uint64_t bytes;
    io_fault_crash_after(test->fault, 2);
    assert_false(io_fault_crashed(test->fault));
    assert_int_equal(write_unit(test, 0), 0);
    assert_true(io_fault_crashed(test->fault));
    assert_int_equal(write_unit(test, 1), -EIO);
    assert_int_equal(baton_io_unlink(test->io, test_path(&test->dir, "f")), -EIO);
    assert_int_equal(baton_io_directory_make(test->io, test_path(&test->dir, "d")), -EIO);
    assert_int_equal(baton_io_file_size(test->io, test->file, &bytes), -EIO);
    assert_int_equal(io_fault_count(test->fault), 2);
    io_fault_crash_after(test->fault, UINT64_MAX); /* the machine is on again */
    assert_int_equal(baton_io_file_size(test->io, test->file, &bytes), 0);
    assert_int_equal(bytes, 4096);
}

static int refuse_offset(void *context, uint64_t n, const baton_io_op *op)
{
    (void)n;
    return op != NULL && op->offset == *(uint64_t *)context ? -EDQUOT : 0;
}

static void a_decision_can_be_the_callers(void **state)
{
    fixture *test = *state;
    uint64_t offset = 4096;
    io_fault_set_decide(test->fault, refuse_offset, &offset);
    assert_int_equal(write_unit(test, 0), 0);
    assert_int_equal(write_unit(test, 1), -EDQUOT);
    io_fault_set_decide(test->fault, NULL, NULL);
    assert_int_equal(write_unit(test, 1), 0);
}

static void reversed_order_does_the_newest_first(void **state)
{
    fixture *test = *state;
    io_fault_set_order(test->fault, IO_FAULT_REVERSED, 0);
    submit_writes(test, COUNT);
    for (uint32_t i = COUNT; i-- > 0;)
        check_next(test, i);
    assert_null(baton_io_reap(test->io));
}

static uint64_t random_order(fixture *test, uint64_t seed)
{
    uint64_t order = 0;
    io_fault_set_order(test->fault, IO_FAULT_RANDOM, seed);
    submit_writes(test, COUNT);
    for (int i = 0; i < COUNT; i++)
        order = order * 10 + baton_io_reap(test->io)->tag;
    return order;
}

static void random_order_is_the_seeds(void **state)
{
    fixture *test = *state;
    int different = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        const uint64_t order = random_order(test, seed);
        assert_int_equal(random_order(test, seed), order);
        different += order != 12345; /* first to last, with COUNT 6 */
    }
    assert_true(different > 5);
}

static void gathering_waits_for_company_unless_asked(void **state)
{
    fixture *test = *state;
    io_fault_set_gather(test->fault, 3);
    submit_writes(test, 2);
    assert_null(baton_io_reap(test->io));
    assert_int_equal(baton_io_wait(test->io, 0), 0);
    check_next(test, 0);
    assert_null(baton_io_reap(test->io));
    assert_int_equal(baton_io_wait(test->io, UINT64_MAX), 0);
    check_next(test, 1);
}

static void held_operations_stay_undone_until_released_in_any_order(void **state)
{
    fixture *test = *state;
    uint64_t bytes = 1;
    io_fault_hold(test->fault, BATON_IO_WRITE_DURABLE, true);
    submit_writes(test, 3);
    assert_int_equal(io_fault_held(test->fault), 3);
    assert_null(baton_io_reap(test->io));
    assert_int_equal(baton_io_wait(test->io, 1), BATON_E_TIMEOUT);
    assert_int_equal(baton_io_file_size(test->io, test->file, &bytes), 0);
    assert_int_equal(bytes, 0);
    io_fault_release(test->fault, 2);
    check_next(test, 2);
    io_fault_release(test->fault, 0);
    check_next(test, 0);
    assert_null(baton_io_reap(test->io));
    io_fault_release_all(test->fault);
    check_next(test, 1);
}

static void a_wait_without_limit_releases_rather_than_hang(void **state)
{
    fixture *test = *state;
    io_fault_hold(test->fault, BATON_IO_WRITE_DURABLE, true);
    submit_writes(test, 2);
    assert_int_equal(baton_io_wait(test->io, UINT64_MAX), 0);
    check_next(test, 0);
    assert_int_equal(io_fault_held(test->fault), 1); /* teardown closes over it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(operations_are_numbered_as_they_are_done, setup, teardown),
        cmocka_unit_test_setup_teardown(one_operation_fails_undone_and_the_next_works, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_nth_of_a_kind_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(all_of_a_kind_fail_until_taken_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_torn_write_lands_exactly_its_first_bytes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(after_a_crash_nothing_lands, setup, teardown),
        cmocka_unit_test_setup_teardown(a_decision_can_be_the_callers, setup, teardown),
        cmocka_unit_test_setup_teardown(reversed_order_does_the_newest_first, setup, teardown),
        cmocka_unit_test_setup_teardown(random_order_is_the_seeds, setup, teardown),
        cmocka_unit_test_setup_teardown(gathering_waits_for_company_unless_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(held_operations_stay_undone_until_released_in_any_order,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_wait_without_limit_releases_rather_than_hang, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
