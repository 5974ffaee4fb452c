/* base/io.h, what each operation does: the same over every backend, by baton_io_run and by
 * submit. */
#include "tests/unit/io_case.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RW (BATON_IO_FOR_READ | BATON_IO_FOR_WRITE)

static int64_t transfer(io_case *test, baton_io_kind kind, baton_io_file file, void *buffer,
                        uint64_t bytes, uint64_t offset)
{
    baton_io_op op = {
        .kind = kind, .file = file, .buffer = buffer, .bytes = bytes, .offset = offset};
    return io_case_do(test, &op);
}

static int64_t on_file(io_case *test, baton_io_kind kind, baton_io_file file, uint64_t offset,
                       uint64_t bytes)
{
    baton_io_op op = {.kind = kind, .file = file, .offset = offset, .bytes = bytes};
    return io_case_do(test, &op);
}

static int64_t on_path(io_case *test, baton_io_kind kind, const char *path, const char *path_to,
                       uint32_t open_flags)
{
    baton_io_op op = {.kind = kind, .path = path, .path_to = path_to, .open_flags = open_flags};
    return io_case_do(test, &op);
}

static void close_file(io_case *test, baton_io_file file)
{
    assert_int_equal(on_file(test, BATON_IO_CLOSE, file, 0, 0), 0);
}

/* ---- transfers ---- */

static void check_round_trip(io_case *test, baton_io_kind kind, uint32_t direct, char *out,
                             char *in)
{
    const uint64_t bytes = 256 * 1024;
    baton_io_file file = io_case_open(test, "round", RW | BATON_IO_CREATE | direct);
    io_case_fill(out, bytes, kind + direct + 1);
    memset(in, 0, bytes);
    assert_int_equal(transfer(test, kind, file, out, bytes, 8192), bytes);
    assert_int_equal(transfer(test, BATON_IO_READ, file, in, bytes, 8192), bytes);
    assert_memory_equal(in, out, bytes);
    assert_int_equal(transfer(test, BATON_IO_READ, file, in, 8192, 0), 8192);
    for (size_t i = 0; i < 8192; i++)
        assert_int_equal(in[i], 0); /* the hole before it */
    close_file(test, file);
    assert_int_equal(on_path(test, BATON_IO_UNLINK, test_path(&test->dir, "round"), NULL, 0), 0);
}

static void written_bytes_are_read_back(void **state)
{
    io_case *test = *state;
    char *out = io_case_buffer(test, 256 * 1024);
    char *in = io_case_buffer(test, 256 * 1024);
    check_round_trip(test, BATON_IO_WRITE, BATON_IO_DIRECT, out, in);
    check_round_trip(test, BATON_IO_WRITE_DURABLE, BATON_IO_DIRECT, out, in);
    check_round_trip(test, BATON_IO_WRITE, 0, out, in);
    check_round_trip(test, BATON_IO_WRITE_DURABLE, 0, out, in);
}

static void buffers_outside_the_region_work_too(void **state)
{
    io_case *test = *state;
    char *memory = aligned_alloc(BATON_IO_UNIT, 512 * 1024);
    assert_non_null(memory);
    check_round_trip(test, BATON_IO_WRITE, BATON_IO_DIRECT, memory, memory + 256 * 1024);
    check_round_trip(test, BATON_IO_WRITE_DURABLE, BATON_IO_DIRECT, memory, memory + 256 * 1024);
    free(memory);
}

static void registered_files_work_and_their_numbers_can_be_used_again(void **state)
{
    io_case *test = *state;
    char *buffer = io_case_buffer(test, 4096);
    for (int round = 0; round < 200; round++) { /* more than there are slots */
        baton_io_file file =
            io_case_open(test, "file", RW | BATON_IO_CREATE_OR_OPEN | BATON_IO_DIRECT);
        baton_io_file_register(test->io, file);
        baton_io_file_register(test->io, file); /* twice is once */
        io_case_fill(buffer, 4096, (uint64_t)round);
        assert_int_equal(transfer(test, BATON_IO_WRITE, file, buffer, 4096, 0), 4096);
        close_file(test, file);
        /* Most likely the same number: must be another file now. */
        baton_io_file other = io_case_open(test, "other", RW | BATON_IO_CREATE_OR_OPEN);
        assert_int_equal(transfer(test, BATON_IO_READ, other, buffer, 4096, 0), 0);
        close_file(test, other);
    }
}

static void more_files_than_slots_can_be_registered(void **state)
{
    io_case *test = *state;
    enum { COUNT = 80 };
    baton_io_file files[COUNT];
    char name[32];
    char *buffer = io_case_buffer(test, 4096);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        files[i] = io_case_open(test, name, RW | BATON_IO_CREATE);
        baton_io_file_register(test->io, files[i]);
        memset(buffer, i, 4096);
        assert_int_equal(transfer(test, BATON_IO_WRITE, files[i], buffer, 4096, 0), 4096);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(transfer(test, BATON_IO_READ, files[i], buffer, 4096, 0), 4096);
        assert_int_equal(buffer[4095], i);
        close_file(test, files[i]);
    }
}

static void a_read_is_short_only_at_the_end(void **state)
{
    io_case *test = *state;
    char *buffer = io_case_buffer(test, 64 * 1024);
    baton_io_file file = io_case_open(test, "short", RW | BATON_IO_CREATE);
    io_case_fill(buffer, 10000, 1);
    assert_int_equal(transfer(test, BATON_IO_WRITE, file, buffer, 10000, 0), 10000);
    assert_int_equal(transfer(test, BATON_IO_READ, file, buffer, 65536, 0), 10000);
    assert_int_equal(transfer(test, BATON_IO_READ, file, buffer, 65536, 9999), 1);
    assert_int_equal(transfer(test, BATON_IO_READ, file, buffer, 65536, 10000), 0);
    assert_int_equal(transfer(test, BATON_IO_READ, file, buffer, 65536, 1 << 20), 0);
    assert_int_equal(transfer(test, BATON_IO_READ, file, buffer, 0, 0), 0);
    close_file(test, file);

    file = io_case_open(test, "short", BATON_IO_FOR_READ | BATON_IO_DIRECT);
    assert_int_equal(transfer(test, BATON_IO_READ, file, buffer, 65536, 0), 10000);
    assert_int_equal(transfer(test, BATON_IO_READ, file, buffer, 65536, 8192), 1808);
    assert_int_equal(transfer(test, BATON_IO_READ, file, buffer, 65536, 12288), 0);
    close_file(test, file);
}

static void an_unaligned_direct_transfer_is_refused(void **state)
{
    io_case *test = *state;
    char *buffer = io_case_buffer(test, 8192);
    baton_io_file file = io_case_open(test, "f", RW | BATON_IO_CREATE | BATON_IO_DIRECT);
    assert_int_equal(transfer(test, BATON_IO_WRITE, file, buffer, 100, 0), -EINVAL);
    assert_int_equal(transfer(test, BATON_IO_WRITE, file, buffer, 4096, 100), -EINVAL);
    close_file(test, file);
}

static void a_bad_file_is_an_error(void **state)
{
    io_case *test = *state;
    char *buffer = io_case_buffer(test, 4096);
    const baton_io_kind kinds[] = {BATON_IO_READ, BATON_IO_WRITE, BATON_IO_WRITE_DURABLE};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(transfer(test, kinds[i], 1000000, buffer, 4096, 0), -EBADF);
        assert_int_equal(transfer(test, kinds[i], BATON_IO_NO_FILE, buffer, 4096, 0), -EBADF);
    }
    assert_int_equal(on_file(test, BATON_IO_SYNC, 1000000, 0, 0), -EBADF);
    assert_int_equal(on_file(test, BATON_IO_SYNC_DATA, 1000000, 0, 0), -EBADF);
    assert_int_equal(on_file(test, BATON_IO_ALLOCATE, 1000000, 0, 4096), -EBADF);
    assert_int_equal(on_file(test, BATON_IO_TRUNCATE, 1000000, 0, 0), -EBADF);
    assert_int_equal(on_file(test, BATON_IO_CLOSE, 1000000, 0, 0), -EBADF);
}

static void a_file_does_only_what_it_was_opened_for(void **state)
{
    io_case *test = *state;
    char *buffer = io_case_buffer(test, 4096);
    close_file(test, io_case_open(test, "f", BATON_IO_FOR_WRITE | BATON_IO_CREATE));
    baton_io_file reader = io_case_open(test, "f", BATON_IO_FOR_READ);
    baton_io_file writer = io_case_open(test, "f", BATON_IO_FOR_WRITE);
    assert_int_equal(transfer(test, BATON_IO_WRITE, reader, buffer, 4096, 0), -EBADF);
    assert_int_equal(transfer(test, BATON_IO_READ, writer, buffer, 4096, 0), -EBADF);
    assert_int_equal(transfer(test, BATON_IO_WRITE, writer, buffer, 4096, 0), 4096);
    assert_int_equal(transfer(test, BATON_IO_READ, reader, buffer, 4096, 0), 4096);
    if (test->sim == NULL)
        assert_true(fcntl(reader, F_GETFD) & FD_CLOEXEC);
    close_file(test, reader);
    close_file(test, writer);
}

/* ---- files and names ---- */

static void sync_allocate_and_truncate_do_what_they_say(void **state)
{
    io_case *test = *state;
    uint64_t bytes = 0;
    struct stat status;
    baton_io_file file = io_case_open(test, "f", RW | BATON_IO_CREATE);
    assert_int_equal(on_file(test, BATON_IO_SYNC, file, 0, 0), 0);
    assert_int_equal(on_file(test, BATON_IO_SYNC_DATA, file, 0, 0), 0);
    assert_int_equal(on_file(test, BATON_IO_ALLOCATE, file, 4096, 65536), 0);
    assert_int_equal(baton_io_file_size(test->io, file, &bytes), 0);
    assert_int_equal(bytes, 4096 + 65536);
    if (test->sim == NULL) {
        assert_int_equal(fstat(file, &status), 0);
        assert_true(status.st_blocks * 512 >= 65536);
    }
    assert_int_equal(on_file(test, BATON_IO_TRUNCATE, file, 8192, 0), 0);
    assert_int_equal(baton_io_file_size(test->io, file, &bytes), 0);
    assert_int_equal(bytes, 8192);
    assert_int_equal(on_file(test, BATON_IO_TRUNCATE, file, 1 << 20, 0), 0);
    assert_int_equal(baton_io_file_size(test->io, file, &bytes), 0);
    assert_int_equal(bytes, 1 << 20);
    close_file(test, file);
}

static void rename_replaces_and_unlink_removes(void **state)
{
    io_case *test = *state;
    const char *a = test_path(&test->dir, "a");
    const char *b = test_path(&test->dir, "b");
    uint64_t bytes = 0;
    baton_io_file file = io_case_open(test, "a", RW | BATON_IO_CREATE);
    assert_int_equal(baton_io_file_write(test->io, file, "12345", 5, 0), 0);
    close_file(test, file);
    close_file(test, io_case_open(test, "b", RW | BATON_IO_CREATE));

    assert_int_equal(on_path(test, BATON_IO_RENAME, a, b, 0), 0);
    assert_int_equal(on_path(test, BATON_IO_RENAME, a, b, 0), -ENOENT);
    file = io_case_open(test, "b", BATON_IO_FOR_READ);
    assert_int_equal(baton_io_file_size(test->io, file, &bytes), 0);
    assert_int_equal(bytes, 5);
    close_file(test, file);
    assert_int_equal(on_path(test, BATON_IO_UNLINK, b, NULL, 0), 0);
    assert_int_equal(on_path(test, BATON_IO_UNLINK, b, NULL, 0), -ENOENT);
    assert_int_equal(on_path(test, BATON_IO_OPEN, b, NULL, BATON_IO_FOR_READ), -ENOENT);
}

static void create_refuses_what_is_there(void **state)
{
    io_case *test = *state;
    const char *path = test_path(&test->dir, "f");
    struct stat status;
    mode_t before = umask(0);
    close_file(test, io_case_open(test, "f", RW | BATON_IO_CREATE));
    umask(before);
    if (test->sim == NULL) {
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 0777, 0640);
    }
    assert_int_equal(on_path(test, BATON_IO_OPEN, path, NULL, RW | BATON_IO_CREATE), -EEXIST);
    close_file(test, io_case_open(test, "f", RW | BATON_IO_CREATE_OR_OPEN));
    close_file(test, io_case_open(test, "g", RW | BATON_IO_CREATE_OR_OPEN));
}

static void directories_can_be_made_opened_and_synced(void **state)
{
    io_case *test = *state;
    const char *path = test_path(&test->dir, "sub");
    assert_int_equal(baton_io_directory_make(test->io, path), 0);
    assert_int_equal(baton_io_directory_make(test->io, path), 0);
    assert_int_equal(baton_io_directory_make(test->io, test_path(&test->dir, "no/sub")), -ENOENT);
    close_file(test, io_case_open(test, "file", RW | BATON_IO_CREATE));
    assert_int_equal(baton_io_directory_make(test->io, test_path(&test->dir, "file")), -ENOTDIR);
    assert_int_equal(baton_io_directory_sync(test->io, path), 0);
    assert_int_equal(baton_io_directory_sync(test->io, test_path(&test->dir, "none")), -ENOENT);
    baton_io_file directory = io_case_open(test, "sub", BATON_IO_FOR_READ | BATON_IO_DIRECTORY);
    assert_int_equal(on_file(test, BATON_IO_SYNC, directory, 0, 0), 0);
    close_file(test, directory);
    assert_int_equal(on_path(test, BATON_IO_OPEN, test_path(&test->dir, "file"), NULL,
                             BATON_IO_FOR_READ | BATON_IO_DIRECTORY),
                     -ENOTDIR);
}

typedef struct {
    int count;
    int stop_at;
    char seen[256];
} listing;

static int note_name(void *context, const char *name)
{
    listing *list = context;
    const size_t used = strlen(list->seen);
    snprintf(list->seen + used, sizeof(list->seen) - used, "%s ", name);
    return ++list->count == list->stop_at ? 42 : 0;
}

static void a_directory_lists_its_names_and_visit_can_stop_it(void **state)
{
    io_case *test = *state;
    listing all = {0};
    listing first = {.stop_at = 1};
    close_file(test, io_case_open(test, "one", RW | BATON_IO_CREATE));
    close_file(test, io_case_open(test, ".two", RW | BATON_IO_CREATE));
    assert_int_equal(baton_io_directory_make(test->io, test_path(&test->dir, "..three")), 0);
    assert_int_equal(baton_io_directory_list(test->io, test->dir.path, note_name, &all), 0);
    assert_int_equal(all.count, 3);
    assert_non_null(strstr(all.seen, "one "));
    assert_non_null(strstr(all.seen, ".two "));
    assert_non_null(strstr(all.seen, "..three "));
    assert_int_equal(baton_io_directory_list(test->io, test->dir.path, note_name, &first), 42);
    assert_int_equal(first.count, 1);
    assert_int_equal(
        baton_io_directory_list(test->io, test_path(&test->dir, "none"), note_name, &all), -ENOENT);
}

static void the_calls_for_the_common_ones_work(void **state)
{
    io_case *test = *state;
    char back[16] = "";
    baton_io_file file;
    const char *path = test_path(&test->dir, "f");
    assert_int_equal(baton_io_file_open(test->io, path, RW | BATON_IO_CREATE, &file), 0);
    assert_int_equal(baton_io_file_write(test->io, file, "hello", 5, 3), 0);
    assert_int_equal(baton_io_file_sync(test->io, file), 0);
    assert_int_equal(baton_io_file_read(test->io, file, back, sizeof(back), 3), 5);
    assert_memory_equal(back, "hello", 5);
    baton_io_file_close(test->io, file);
    baton_io_file_close(test->io, BATON_IO_NO_FILE);
    assert_int_equal(baton_io_rename(test->io, path, test_path(&test->dir, "g")), 0);
    assert_int_equal(baton_io_unlink(test->io, test_path(&test->dir, "g")), 0);
    assert_int_equal(baton_io_unlink(test->io, test_path(&test->dir, "g")), -ENOENT);
}

static int run_group(const io_variant *variant)
{
    const struct CMUnitTest tests[] = {
        IO_CASE_TEST(written_bytes_are_read_back, variant),
        IO_CASE_TEST(buffers_outside_the_region_work_too, variant),
        IO_CASE_TEST(registered_files_work_and_their_numbers_can_be_used_again, variant),
        IO_CASE_TEST(more_files_than_slots_can_be_registered, variant),
        IO_CASE_TEST(a_read_is_short_only_at_the_end, variant),
        IO_CASE_TEST(an_unaligned_direct_transfer_is_refused, variant),
        IO_CASE_TEST(a_bad_file_is_an_error, variant),
        IO_CASE_TEST(a_file_does_only_what_it_was_opened_for, variant),
        IO_CASE_TEST(sync_allocate_and_truncate_do_what_they_say, variant),
        IO_CASE_TEST(rename_replaces_and_unlink_removes, variant),
        IO_CASE_TEST(create_refuses_what_is_there, variant),
        IO_CASE_TEST(directories_can_be_made_opened_and_synced, variant),
        IO_CASE_TEST(a_directory_lists_its_names_and_visit_can_stop_it, variant),
        IO_CASE_TEST(the_calls_for_the_common_ones_work, variant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    static const io_variant variants[] = {
        {"uring", ROUTE_RUN},      {"uring", ROUTE_SUBMIT}, {"threads", ROUTE_RUN},
        {"threads", ROUTE_SUBMIT}, {"fault", ROUTE_RUN},    {"fault", ROUTE_SUBMIT},
        {"sim", ROUTE_RUN},        {"sim", ROUTE_SUBMIT},
    };
    return io_case_each(variants, sizeof(variants) / sizeof(variants[0]), run_group);
}
