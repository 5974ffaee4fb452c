/* base/io_posix.c: how the parts of one transfer add up. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/io_posix.h"

static baton_io_op op_of(baton_io_kind kind, uint64_t bytes, uint64_t done_bytes)
{
    return (baton_io_op){.kind = kind,
                         .buffer = (void *)(uintptr_t)4096,
                         .bytes = bytes,
                         .offset = 100,
                         .done_bytes = done_bytes};
}

static void a_short_transfer_goes_on_where_it_stopped(void **state)
{
    (void)state;
    baton_io_op op = op_of(BATON_IO_WRITE_DURABLE, 8192, 0);
    assert_false(baton_io_op_is_final(&op, 4096));
    baton_io_op_continue(&op, 4096);
    baton_io_part part = baton_io_op_part(&op);
    assert_ptr_equal(part.address, (void *)(uintptr_t)8192);
    assert_int_equal(part.bytes, 4096);
    assert_int_equal(part.offset, 4196);
    assert_false(baton_io_op_is_final(&op, 4095));
    assert_true(baton_io_op_is_final(&op, 4096));
    assert_int_equal(baton_io_op_result(&op, 4096), 8192);
}

static void a_large_transfer_is_cut_at_a_multiple_of_the_unit(void **state)
{
    (void)state;
    baton_io_op op = op_of(BATON_IO_READ, UINT64_C(5) << 30, 0);
    assert_int_equal(baton_io_op_part(&op).bytes, BATON_IO_PART_BYTES_MAX);
    assert_int_equal(BATON_IO_PART_BYTES_MAX % BATON_IO_UNIT, 0);
    assert_false(baton_io_op_is_final(&op, BATON_IO_PART_BYTES_MAX));
}

static void an_interrupted_call_is_made_again_but_never_a_close(void **state)
{
    (void)state;
    baton_io_op op = op_of(BATON_IO_WRITE, 8192, 4096);
    assert_false(baton_io_op_is_final(&op, -EINTR));
    baton_io_op_continue(&op, -EINTR);
    assert_int_equal(op.done_bytes, 4096);
    op.kind = BATON_IO_SYNC;
    assert_false(baton_io_op_is_final(&op, -EINTR));
    op.kind = BATON_IO_CLOSE;
    assert_true(baton_io_op_is_final(&op, -EINTR));
}

static void a_read_ends_at_the_end_of_the_file(void **state)
{
    (void)state;
    baton_io_op op = op_of(BATON_IO_READ, 8192, 5000);
    assert_true(baton_io_op_is_final(&op, 0));
    assert_int_equal(baton_io_op_result(&op, 0), 5000);
    /* As direct I/O says it, when asked to go on from an odd place. */
    assert_int_equal(baton_io_op_result(&op, -EINVAL), 5000);
    op.done_bytes = 4096;
    assert_int_equal(baton_io_op_result(&op, -EINVAL), -EINVAL);
    op.done_bytes = 0;
    assert_int_equal(baton_io_op_result(&op, -EINVAL), -EINVAL);
}

static void a_write_that_moves_nothing_is_an_error(void **state)
{
    (void)state;
    baton_io_op op = op_of(BATON_IO_WRITE, 8192, 4096);
    assert_true(baton_io_op_is_final(&op, 0));
    assert_int_equal(baton_io_op_result(&op, 0), -EIO);
    op.bytes = 0;
    op.done_bytes = 0;
    assert_int_equal(baton_io_op_result(&op, 0), 0);
}

static void a_partly_written_transfer_that_fails_has_failed(void **state)
{
    (void)state;
    baton_io_op op = op_of(BATON_IO_WRITE_DURABLE, 8192, 4096);
    assert_true(baton_io_op_is_final(&op, -ENOSPC));
    assert_int_equal(baton_io_op_result(&op, -ENOSPC), -ENOSPC);
}

static void open_flags_become_the_systems(void **state)
{
    (void)state;
    assert_int_equal(baton_io_open_flags(BATON_IO_FOR_READ), O_RDONLY | O_CLOEXEC);
    assert_int_equal(baton_io_open_flags(BATON_IO_FOR_WRITE | BATON_IO_CREATE),
                     O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC);
    assert_int_equal(baton_io_open_flags(BATON_IO_FOR_READ | BATON_IO_FOR_WRITE | BATON_IO_DIRECT |
                                         BATON_IO_CREATE_OR_OPEN),
                     O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC);
    assert_int_equal(baton_io_open_flags(BATON_IO_FOR_READ | BATON_IO_DIRECTORY),
                     O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void an_unknown_kind_is_invalid(void **state)
{
    (void)state;
    baton_io_op op = op_of(BATON_IO_KINDS, 0, 0);
    assert_int_equal(baton_io_posix_run(NULL, &op), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_transfer_goes_on_where_it_stopped),
        cmocka_unit_test(a_large_transfer_is_cut_at_a_multiple_of_the_unit),
        cmocka_unit_test(an_interrupted_call_is_made_again_but_never_a_close),
        cmocka_unit_test(a_read_ends_at_the_end_of_the_file),
        cmocka_unit_test(a_write_that_moves_nothing_is_an_error),
        cmocka_unit_test(a_partly_written_transfer_that_fails_has_failed),
        cmocka_unit_test(open_flags_become_the_systems),
        cmocka_unit_test(an_unknown_kind_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
