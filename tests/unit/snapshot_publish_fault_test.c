/* tests/unit/snapshot_publish_fault_test.c: complete or absent, whatever fails and wherever it
 * is cut (S1). */
#include "tests/unit/snapshot_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS  300u
#define BLOBS 9u /* MiB, raw: five writes, one more than are in flight at once */

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

static int publish(baton_io *io, const fixture_wish *wish, baton_error *error)
{
    baton_snapshot_info info;
    baton_snapshot_writer *writer = fixture_writer(wish, &info);
    return baton_snapshot_publish(io, dir.path, writer, &info, error);
}

static void prune_leftovers(void)
{
    uint32_t removed = 0;
    assert_int_equal(baton_snapshot_prune_with(plain, dir.path, 2, &removed, NULL), 0);
}

/* Publishes once undisturbed and returns how many operations that takes. */
static uint64_t operations_of_a_publish(void)
{
    io_fault *fault = io_fault_new();
    baton_io *io = fixture_fault_io(fault, 0);
    const fixture_wish wish = wish_of(1);
    fixture_publish(io, dir.path, &wish);
    baton_io_close(io);
    const uint64_t count = io_fault_count(fault);
    io_fault_free(fault);
    assert_int_equal(fixture_whole(plain, dir.path), 1);
    assert_int_equal(baton_snapshot_remove(plain, dir.path, 1, 1), 0);
    return count;
}

static void a_failure_at_any_operation_is_an_error_and_leaves_nothing_half(void **state)
{
    (void)state;
    const uint64_t operations = operations_of_a_publish();
    assert_true(operations > 15);
    for (uint64_t n = 1; n <= operations; n++) {
        io_fault *fault = io_fault_new();
        baton_io *io = fixture_fault_io(fault, 0);
        baton_error error = {0};
        fixture_wish wish = wish_of(2);
        io_fault_fail(fault, n, EIO);
        int r = publish(io, &wish, &error);
        assert_int_equal(r, -EIO);
        assert_string_not_equal(error.path, "");
        const uint32_t whole = fixture_whole(plain, dir.path);
        if (n < operations) {
            assert_int_equal(whole, 0);
            assert_int_equal(fixture_files(dir.path), 0);
        } else {
            assert_int_equal(whole,
                             1); /* only the last flush failed: whole, and not called published */
        }
        io_fault_fail(fault, 0, 0);
        wish.seq = 3; /* and the next one works, through the same io */
        assert_int_equal(publish(io, &wish, &error), 0);
        assert_int_equal(fixture_whole(plain, dir.path), whole + 1);
        baton_io_close(io);
        io_fault_free(fault);
        assert_int_equal(baton_snapshot_remove(plain, dir.path, 3, 1), 0);
        if (whole == 1)
            assert_int_equal(baton_snapshot_remove(plain, dir.path, 2, 1), 0);
    }
}

/* The first snapshot of a service makes the directory. */
static void a_failure_while_the_directory_is_new_is_an_error_too(void **state)
{
    (void)state;
    uint32_t failed = 0;
    for (uint64_t n = 1; n <= 8; n++) {
        char path[TEST_PATH_BYTES + 32];
        io_fault *fault = io_fault_new();
        baton_io *io = fixture_fault_io(fault, 0);
        baton_snapshot_info info;
        const fixture_wish wish = wish_of(2);
        snprintf(path, sizeof(path), "%s/new-%u", dir.path, (unsigned)n);
        io_fault_fail(fault, n, EIO);
        baton_snapshot_writer *writer = fixture_writer(&wish, &info);
        failed += baton_snapshot_publish(io, path, writer, &info, NULL) == -EIO;
        io_fault_fail(fault, 0, 0);
        fixture_publish(io, path, &(fixture_wish){3, 1, BATON_COMPRESS_RAW, 65536, ROWS, 0});
        assert_true(fixture_whole(plain, path) >= 1);
        baton_io_close(io);
        io_fault_free(fault);
    }
    assert_int_equal(failed, 8);
}

static void crash_at(uint64_t n, uint64_t operations, uint64_t torn_bytes)
{
    io_fault *fault = io_fault_new();
    baton_io *io = fixture_fault_io(fault, 0);
    fixture_wish wish = wish_of(2);
    io_fault_set_order(fault, IO_FAULT_RANDOM, n);
    io_fault_crash_after(fault, n);
    if (torn_bytes > 0)
        io_fault_tear(fault, n, torn_bytes);
    int r = publish(io, &wish, NULL);
    assert_true(n == operations ? r == 0 : r < 0);
    baton_io_close(io);
    io_fault_free(fault);

    const uint32_t whole = fixture_whole(plain, dir.path);
    assert_true(n < operations - 1 ? whole == 0 : whole == 1);
    if (whole == 0) { /* the next writer of that name replaces what is left */
        fixture_publish(plain, dir.path, &wish);
        assert_int_equal(fixture_whole(plain, dir.path), 1);
    }
    prune_leftovers();
    assert_int_equal(fixture_files(dir.path), 2);
    assert_int_equal(baton_snapshot_remove(plain, dir.path, 2, 1), 0);
}

static void a_crash_after_any_operation_leaves_it_complete_or_absent(void **state)
{
    (void)state;
    const uint64_t operations = operations_of_a_publish();
    for (uint64_t n = 0; n <= operations; n++)
        crash_at(n, operations, 0);
}

static int is_write(void *context, uint64_t n, const baton_io_op *op)
{
    bool *writes = context;
    if (op != NULL && op->kind == BATON_IO_WRITE && n < 64)
        writes[n] = true;
    return 0;
}

static void a_torn_write_at_power_loss_leaves_it_absent(void **state)
{
    (void)state;
    bool writes[64] = {false};
    io_fault *fault = io_fault_new();
    baton_io *io = fixture_fault_io(fault, 0);
    fixture_wish wish = wish_of(1);
    io_fault_set_decide(fault, is_write, writes);
    fixture_publish(io, dir.path, &wish);
    baton_io_close(io);
    io_fault_free(fault);
    assert_int_equal(baton_snapshot_remove(plain, dir.path, 1, 1), 0);

    uint32_t torn = 0;
    for (uint64_t n = 1; n < 64; n++) {
        if (!writes[n])
            continue;
        crash_at(n, 64, 100);
        torn++;
    }
    assert_true(torn >= 4);
}

/* One letter for each operation after begin, as docs/format/snapshot.md numbers them. */
typedef struct {
    char letters[64];
    uint32_t count;
} order_log;

static int note_order(void *context, uint64_t n, const baton_io_op *op)
{
    static const char letters[BATON_IO_KINDS] = {
        [BATON_IO_WRITE] = 'w', [BATON_IO_SYNC_DATA] = 'd', [BATON_IO_SYNC] = 's',
        [BATON_IO_OPEN] = 'o',  [BATON_IO_UNLINK] = 'u',    [BATON_IO_RENAME] = 'r',
    };
    order_log *log = context;
    (void)n;
    assert_true(op != NULL && letters[op->kind] != '\0' && log->count + 2 < sizeof(log->letters));
    log->letters[log->count++] = letters[op->kind];
    if (op->path != NULL)
        log->letters[log->count++] = strstr(op->path, ".manifest") != NULL ? 'm' : 'c';
    return 0;
}

static void writes_flushes_and_renames_come_in_the_documented_order(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 8; seed++) {
        order_log log = {0};
        io_fault *fault = io_fault_new();
        baton_io *io = fixture_fault_io(fault, 0);
        baton_snapshot_info info;
        baton_snapshot_publisher *publisher = NULL;
        const fixture_wish wish = wish_of(20 + seed);
        baton_snapshot_writer *writer = fixture_writer(&wish, &info);
        assert_int_equal(
            baton_snapshot_publish_begin(io, dir.path, writer, &info, &publisher, NULL), 0);
        io_fault_set_order(fault, IO_FAULT_RANDOM, seed);
        io_fault_set_decide(fault, note_order, &log);
        while (baton_snapshot_publish_step(publisher, true, NULL) == BATON_E_AGAIN)
            (void)(baton_io_wait(io, UINT64_MAX) < 0);
        assert_string_equal(log.letters, "ucocwwwwwdumomwdrcssrms");
        baton_snapshot_publish_end(publisher);
        baton_io_close(io);
        io_fault_free(fault);
    }
}

static void a_full_disk_is_said_and_leaves_nothing(void **state)
{
    static const baton_io_kind kinds[] = {BATON_IO_OPEN, BATON_IO_WRITE, BATON_IO_SYNC_DATA,
                                          BATON_IO_RENAME, BATON_IO_SYNC};
    (void)state;
    for (uint32_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const uint32_t last = kinds[i] == BATON_IO_SYNC ? 3 : 2;
        for (uint32_t nth = 1; nth <= last; nth++) {
            io_fault *fault = io_fault_new();
            baton_io *io = fixture_fault_io(fault, 0);
            baton_snapshot_info info;
            baton_error error = {0};
            baton_snapshot_publisher *publisher = NULL;
            const fixture_wish wish = wish_of(4);
            baton_snapshot_writer *writer = fixture_writer(&wish, &info);
            assert_int_equal(
                baton_snapshot_publish_begin(io, dir.path, writer, &info, &publisher, NULL), 0);
            io_fault_fail_kind(fault, kinds[i], nth, nth == 1 ? ENOSPC : EDQUOT);
            int r;
            while ((r = baton_snapshot_publish_step(publisher, true, &error)) == BATON_E_AGAIN)
                (void)(baton_io_wait(io, UINT64_MAX) < 0);
            assert_int_equal(r, BATON_E_NO_SPACE);
            assert_string_not_equal(error.todo, "");
            assert_int_equal(baton_snapshot_publish_step(publisher, true, &error), r); /* again */
            baton_snapshot_publish_end(publisher);
            baton_io_close(io);
            io_fault_free(fault);
            const bool last_flush = kinds[i] == BATON_IO_SYNC && nth == 3;
            assert_int_equal(fixture_whole(plain, dir.path), last_flush ? 1 : 0);
            assert_int_equal(fixture_files(dir.path), last_flush ? 2 : 0);
        }
    }
}

/* A rename may have happened although it is said to have failed. */
static int rename_then_fail(void *context, uint64_t n, const baton_io_op *op)
{
    (void)n;
    const char *wanted = context;
    if (op == NULL || op->kind != BATON_IO_RENAME || strstr(op->path, wanted) == NULL)
        return 0;
    return rename(op->path, op->path_to) == 0 ? -EIO : -errno;
}

static void a_rename_that_fails_after_it_happened_does_not_leave_half(void **state)
{
    static char manifest[] = ".manifest";
    static char chunks[] = ".chunks";
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        io_fault *fault = io_fault_new();
        baton_io *io = fixture_fault_io(fault, 0);
        const fixture_wish wish = wish_of(6 + i);
        io_fault_set_decide(fault, rename_then_fail, i == 0 ? manifest : chunks);
        assert_int_equal(publish(io, &wish, NULL), -EIO);
        baton_io_close(io);
        io_fault_free(fault);
        assert_int_equal(fixture_whole(plain, dir.path),
                         1); /* the first one: its manifest had its name */
        assert_int_equal(fixture_files(dir.path), 2);
    }
}

static void an_abandoned_publish_removes_its_files_at_every_stage(void **state)
{
    (void)state;
    for (uint32_t steps = 0;; steps++) {
        io_fault *fault = io_fault_new();
        baton_io *io = fixture_fault_io(fault, 0);
        baton_snapshot_info info;
        baton_snapshot_publisher *publisher = NULL;
        const fixture_wish wish = wish_of(9);
        baton_snapshot_writer *writer = fixture_writer(&wish, &info);
        assert_int_equal(
            baton_snapshot_publish_begin(io, dir.path, writer, &info, &publisher, NULL), 0);
        int r = BATON_E_AGAIN;
        for (uint32_t i = 0; i < steps && r == BATON_E_AGAIN; i++)
            r = baton_snapshot_publish_step(publisher, true, NULL);
        baton_snapshot_publish_end(publisher);
        baton_io_close(io);
        io_fault_free(fault);
        if (fixture_files(dir.path) != 0) { /* from the manifest's rename on it stays */
            assert_int_equal(fixture_whole(plain, dir.path), 1);
            assert_int_equal(fixture_files(dir.path), 2);
            assert_int_equal(baton_snapshot_remove(plain, dir.path, 9, 1), 0);
            assert_true(steps > 8);
        }
        if (r == 0)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_failure_at_any_operation_is_an_error_and_leaves_nothing_half, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failure_while_the_directory_is_new_is_an_error_too,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_crash_after_any_operation_leaves_it_complete_or_absent,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_torn_write_at_power_loss_leaves_it_absent, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(writes_flushes_and_renames_come_in_the_documented_order,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_is_said_and_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_rename_that_fails_after_it_happened_does_not_leave_half,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_abandoned_publish_removes_its_files_at_every_stage,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
