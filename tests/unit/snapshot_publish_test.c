/* tests/unit/snapshot_publish_test.c: what publishing does when nothing goes wrong, and what it
 * refuses. */
#include "tests/unit/snapshot_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/chunk.h"

#define ROWS  300u
#define BLOBS 4u /* MiB, raw: five writes and a bit */

static test_dir dir;
static baton_io *plain; /* for looking, after the fault */

static int set_up(void **state)
{
    (void)state;
    test_dir_make(&dir, "snapshot-publish");
    plain = fixture_io(BATON_IO_THREADS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    baton_io_close(plain);
    test_dir_remove(&dir);
    return 0;
}

static fixture_wish wish_of(uint64_t seq)
{
    return (fixture_wish){seq, 1, BATON_COMPRESS_RAW, 65536, ROWS, BLOBS};
}

static void both_backends_publish_what_can_be_read(void **state)
{
    (void)state;
    for (uint32_t turn = 0; turn < 2; turn++) {
        baton_io *io = fixture_io(turn == 0 ? BATON_IO_THREADS : BATON_IO_AUTO);
        baton_snapshot_reader *reader = NULL;
        const fixture_wish wish = wish_of(10 + turn);
        fixture_publish(io, dir.path, &wish);
        const baton_snapshot_listed listed = fixture_listed(io, dir.path, 10 + turn);
        assert_int_equal(baton_snapshot_reader_open(io, dir.path, &listed, &reader, NULL), 0);
        fixture_check(reader, ROWS);
        baton_snapshot_reader_close(reader);
        baton_io_close(io);
    }
    assert_int_equal(fixture_files(dir.path), 4);
}

static void both_backends_write_the_same_bytes(void **state)
{
    static const char *const names[] = {"0000000000000005-0000000000000001.chunks",
                                        "0000000000000005-0000000000000001.manifest"};
    (void)state;
    uint8_t *first[2];
    size_t first_bytes[2];
    const fixture_wish wish = wish_of(5);
    fixture_publish(plain, dir.path, &wish);
    for (uint32_t i = 0; i < 2; i++)
        first[i] = fixture_read(test_path(&dir, names[i]), &first_bytes[i]);
    assert_int_equal(baton_snapshot_remove(plain, dir.path, 5, 1), 0);
    baton_io *io = fixture_io(BATON_IO_AUTO);
    fixture_publish(io, dir.path, &wish);
    baton_io_close(io);
    for (uint32_t i = 0; i < 2; i++) {
        size_t bytes;
        uint8_t *second = fixture_read(test_path(&dir, names[i]), &bytes);
        assert_int_equal(bytes, first_bytes[i]);
        assert_int_equal(memcmp(first[i], second, bytes), 0);
        free(second);
        free(first[i]);
    }
}

static void it_is_not_there_before_the_caller_allows_it(void **state)
{
    (void)state;
    baton_snapshot_info info;
    baton_snapshot_publisher *publisher = NULL;
    baton_io *io = fixture_io(BATON_IO_AUTO);
    const fixture_wish wish = wish_of(8);
    baton_snapshot_writer *writer = fixture_writer(&wish, &info);
    assert_int_equal(baton_snapshot_publish_begin(io, dir.path, writer, &info, &publisher, NULL),
                     0);
    uint32_t idle = 0;
    while (idle < 3) { /* nothing in flight and still not finished: it holds */
        assert_int_equal(baton_snapshot_publish_step(publisher, false, NULL), BATON_E_AGAIN);
        if (baton_io_in_flight(io) == 0)
            idle++;
        else
            assert_int_equal(baton_io_wait(io, UINT64_MAX), 0);
    }
    assert_int_equal(fixture_whole(plain, dir.path), 0);
    int r;
    while ((r = baton_snapshot_publish_step(publisher, true, NULL)) == BATON_E_AGAIN)
        assert_int_equal(baton_io_wait(io, UINT64_MAX), 0);
    assert_int_equal(r, 0);
    assert_int_equal(baton_snapshot_publish_step(publisher, true, NULL), 0);
    baton_snapshot_publish_end(publisher);
    assert_int_equal(fixture_whole(plain, dir.path), 1);
    baton_io_close(io);
}

static void a_published_one_of_the_same_name_is_kept(void **state)
{
    (void)state;
    baton_snapshot_info info;
    baton_snapshot_publisher *publisher = NULL;
    baton_error error = {0};
    const fixture_wish wish = wish_of(3);
    fixture_publish(plain, dir.path, &wish);
    baton_snapshot_writer *writer = fixture_writer(&wish, &info);
    assert_int_equal(
        baton_snapshot_publish_begin(plain, dir.path, writer, &info, &publisher, &error), -EEXIST);
    assert_string_not_equal(error.path, "");
    assert_int_equal(fixture_whole(plain, dir.path), 1);
}

static void what_was_not_finished_or_is_another_one_is_refused(void **state)
{
    (void)state;
    baton_snapshot_info info = fixture_info(1, 1);
    baton_snapshot_publisher *publisher = NULL;
    baton_snapshot_writer *writer = NULL;
    assert_int_equal(baton_snapshot_writer_create(NULL, &writer), 0);
    assert_int_equal(baton_snapshot_publish_begin(plain, dir.path, writer, &info, &publisher, NULL),
                     BATON_E_INVALID);
    const fixture_wish wish = wish_of(3);
    writer = fixture_writer(&wish, &info);
    info.root.bytes[0] ^= 1;
    assert_int_equal(baton_snapshot_publish(plain, dir.path, writer, &info, NULL), BATON_E_INVALID);
    assert_int_equal(fixture_files(dir.path), 0);
}

static void a_missing_directory_is_made_and_a_missing_parent_is_an_error(void **state)
{
    (void)state;
    baton_snapshot_info info;
    const fixture_wish wish = wish_of(3);
    const char *below = test_path(&dir, "snapshots");
    fixture_publish(plain, below, &wish);
    assert_int_equal(fixture_files(below), 2);

    baton_snapshot_writer *writer = fixture_writer(&wish, &info);
    assert_int_equal(baton_snapshot_publish(plain, test_path(&dir, "a/b"), writer, &info, NULL),
                     -ENOENT);
    char long_path[400];
    memset(long_path, 'x', sizeof(long_path));
    long_path[0] = '/';
    long_path[sizeof(long_path) - 1] = '\0';
    writer = fixture_writer(&wish, &info);
    assert_int_equal(baton_snapshot_publish(plain, long_path, writer, &info, NULL),
                     BATON_E_INVALID);
}

static int no_direct_io(void *context, uint64_t n, const baton_io_op *op)
{
    uint32_t *refused = context;
    (void)n;
    if (op == NULL || op->kind != BATON_IO_OPEN || (op->open_flags & BATON_IO_DIRECT) == 0)
        return 0;
    ++*refused;
    if ((op->open_flags & BATON_IO_CREATE) != 0)
        fixture_write(op->path, "", 0); /* some file systems create it before they say no */
    return -EINVAL;
}

static void without_direct_io_it_writes_and_reads_buffered(void **state)
{
    (void)state;
    uint32_t refused = 0;
    io_fault *fault = io_fault_new();
    baton_io *io = fixture_fault_io(fault, 0);
    const fixture_wish wish = wish_of(3);
    io_fault_set_decide(fault, no_direct_io, &refused);
    fixture_publish(io, dir.path, &wish);
    const baton_snapshot_listed listed = fixture_listed(io, dir.path, 3);
    assert_int_equal(baton_snapshot_verify_with(io, dir.path, &listed, NULL), 0);
    assert_int_equal(refused, 2);
    baton_io_close(io);
    io_fault_free(fault);
}

static void publishing_measures_the_device_for_auto(void **state)
{
    (void)state;
    baton_snapshot_info info;
    fixture_wish wish = wish_of(3);
    wish.blobs_mib = 6;                                 /* over the 4 MiB that count as a measure */
    baton_chunk_device_measured(64u << 20, UINT64_MAX); /* slower than any device */
    assert_int_equal(baton_chunk_device_bytes_per_s(), 1);
    baton_snapshot_writer *writer = fixture_writer(&wish, &info);
    assert_true(info.stored_bytes > (4u << 20));
    assert_int_equal(baton_snapshot_publish(plain, dir.path, writer, &info, NULL), 0);
    assert_true(baton_chunk_device_bytes_per_s() > 1);
}

static void writes_may_end_in_any_order(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 12; seed++) {
        io_fault *fault = io_fault_new();
        baton_io *io =
            fixture_fault_io(fault, seed % 3 == 2 ? 1 : 0); /* room for one at a time, too */
        const fixture_wish wish = wish_of(100 + seed);
        io_fault_set_order(fault, seed % 2 == 0 ? IO_FAULT_REVERSED : IO_FAULT_RANDOM, seed);
        fixture_publish(io, dir.path, &wish);
        baton_io_close(io);
        io_fault_free(fault);
        assert_int_equal(fixture_whole(plain, dir.path), 1);
        assert_int_equal(baton_snapshot_remove(plain, dir.path, 100 + seed, 1), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_backends_publish_what_can_be_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(both_backends_write_the_same_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writes_may_end_in_any_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_not_there_before_the_caller_allows_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_published_one_of_the_same_name_is_kept, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_was_not_finished_or_is_another_one_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_missing_directory_is_made_and_a_missing_parent_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_direct_io_it_writes_and_reads_buffered, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(publishing_measures_the_device_for_auto, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
