/* tests/unit/snapshot_export_test.c: a snapshot through one file: the same bytes, or nothing. */
#include "tests/unit/snapshot_fixture.h"
#include "tests/unit/snapshot_place.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/export.h"

#define CHUNKS   "0000000000000005-0000000000000001.chunks"
#define MANIFEST "0000000000000005-0000000000000001.manifest"

static char from[TEST_PATH_BYTES]; /* where snapshots are */
static char into[TEST_PATH_BYTES]; /* where they go */
static char file[TEST_PATH_BYTES];

static int set_up(void **state)
{
    place_make(state);
    snprintf(from, sizeof(from), "%s", test_path(&dir, "from"));
    snprintf(into, sizeof(into), "%s", test_path(&dir, "into"));
    snprintf(file, sizeof(file), "%s", test_path(&dir, "one.export"));
    return 0;
}

static const CMFixtureFunction tear_down = place_remove;

static baton_snapshot_listed make(baton_compress compress, uint32_t rows)
{
    const fixture_wish wish = {5, 1, compress, 4096, rows, 0};
    fixture_publish(io, from, &wish);
    return fixture_listed(io, from, 5);
}

static uint64_t export_it(const baton_snapshot_listed *listed, baton_compress compress)
{
    const baton_snapshot_transfer transfer = {.compress = compress};
    uint64_t bytes = 0;
    baton_error error = {0};
    char text[1024];
    if (baton_snapshot_export(from, listed, file, &transfer, &bytes, &error) < 0)
        fail_msg("%s", baton_error_text(&error, text, sizeof(text)));
    return bytes;
}

static int import_it(baton_error *error)
{
    baton_snapshot_info info;
    return baton_snapshot_import_with(io, file, into, NULL, &info, error);
}

static void assert_same_file(const char *name)
{
    char path[2 * TEST_PATH_BYTES];
    size_t bytes[2];
    snprintf(path, sizeof(path), "%s/%s", from, name);
    uint8_t *first = fixture_read(path, &bytes[0]);
    snprintf(path, sizeof(path), "%s/%s", into, name);
    uint8_t *second = fixture_read(path, &bytes[1]);
    assert_int_equal(bytes[0], bytes[1]);
    assert_memory_equal(first, second, bytes[0]);
    free(first);
    free(second);
}

static uint32_t files_in(const char *directory)
{
    return access(directory, F_OK) == 0 ? fixture_files(directory) : 0;
}

static void flip(const char *directory, const char *name, long at)
{
    char path[2 * TEST_PATH_BYTES];
    size_t bytes;
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    uint8_t *all = fixture_read(path, &bytes);
    all[at] ^= 1;
    fixture_write(path, all, bytes);
    free(all);
}

static void what_comes_back_is_the_same_bytes_under_the_same_root(void **state)
{
    (void)state;
    const baton_compress kinds[] = {BATON_COMPRESS_AUTO, BATON_COMPRESS_LZ4, BATON_COMPRESS_RAW};
    for (uint32_t stored = 0; stored < 3; stored++) {
        uint64_t bytes[3];
        const baton_snapshot_listed listed = make(kinds[stored], 1000);
        for (uint32_t travel = 0; travel < 3; travel++) {
            baton_snapshot_info info;
            struct stat status;
            bytes[travel] = export_it(&listed, kinds[travel]);
            assert_int_equal(stat(file, &status), 0);
            assert_int_equal(status.st_size, bytes[travel]);
            assert_int_equal(baton_snapshot_import(file, into, NULL, &info, NULL), 0);
            assert_true(baton_digest_equal(info.root, listed.info.root));
            assert_same_file(CHUNKS);
            assert_same_file(MANIFEST);
            assert_int_equal(fixture_whole(io, into), 1);
            assert_int_equal(fixture_files(into), 2);
            assert_int_equal(baton_snapshot_remove(io, into, 5, 1), 0);
            assert_int_equal(unlink(file), 0);
        }
        if (kinds[stored] == BATON_COMPRESS_RAW)
            assert_true(bytes[1] < bytes[2] * 9 / 10);
        assert_int_equal(baton_snapshot_remove(io, from, 5, 1), 0);
    }
}

static void an_empty_state_travels_too(void **state)
{
    (void)state;
    baton_snapshot_writer *writer = NULL;
    baton_snapshot_info info = fixture_info(5, 1);
    assert_int_equal(baton_snapshot_writer_create(NULL, &writer), 0);
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), 0);
    assert_int_equal(baton_snapshot_publish(io, from, writer, &info, NULL), 0);
    const baton_snapshot_listed listed = fixture_listed(io, from, 5);
    export_it(&listed, BATON_COMPRESS_LZ4);
    assert_int_equal(import_it(NULL), 0);
    assert_same_file(MANIFEST);
}

static void nothing_is_overwritten(void **state)
{
    (void)state;
    baton_error error = {0};
    uint64_t bytes;
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 10);
    export_it(&listed, BATON_COMPRESS_RAW);
    assert_int_equal(baton_snapshot_export(from, &listed, file, NULL, &bytes, &error), -EEXIST);
    assert_string_equal(error.path, file);
    assert_int_equal(import_it(NULL), 0);
    assert_int_equal(import_it(&error), -EEXIST);
    assert_int_equal(fixture_whole(io, into), 1);
    assert_int_equal(baton_snapshot_export(from, &listed, test_path(&dir, "no/such/place"), NULL,
                                           &bytes, &error),
                     -ENOENT);
}

static void what_a_newer_version_wrote_is_named_so(void **state)
{
    (void)state;
    size_t bytes;
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 2);
    export_it(&listed, BATON_COMPRESS_RAW);
    uint8_t *all = fixture_read(file, &bytes);
    baton_export_header header;
    memcpy(&header, all, sizeof(header));
    header.min_reader = baton_le32_put(2);
    header.digest = baton_digest_of(&header, offsetof(baton_export_header, digest));
    memcpy(all, &header, sizeof(header));
    fixture_write(file, all, bytes);
    assert_int_equal(import_it(NULL), BATON_E_NEWER_FORMAT);
    header.min_reader = baton_le32_put(1);
    header.flags = baton_le64_put(1);
    header.digest = baton_digest_of(&header, offsetof(baton_export_header, digest));
    memcpy(all, &header, sizeof(header));
    fixture_write(file, all, bytes);
    assert_int_equal(import_it(NULL), BATON_E_UNKNOWN_TYPE);
    free(all);
}

static void a_damaged_snapshot_is_not_exported(void **state)
{
    (void)state;
    baton_error error = {0};
    uint64_t bytes;
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 200);
    assert_true(listed.info.chunks_count > 1);
    flip(from, CHUNKS, 4096 + 17);
    assert_int_equal(baton_snapshot_export(from, &listed, file, NULL, &bytes, &error),
                     BATON_E_DAMAGED);
    assert_int_equal(error.offset, 4096);
    assert_non_null(strstr(error.path, CHUNKS));
    assert_int_equal(fixture_files(dir.path), 1); /* only the folder of snapshots */
    assert_int_equal(baton_snapshot_remove(io, from, 5, 1), 0);
    assert_int_equal(baton_snapshot_export(from, &listed, file, NULL, &bytes, &error),
                     BATON_E_GONE);
}

static void strangers_are_kept_apart_unless_forced(void **state)
{
    (void)state;
    baton_error error = {0};
    baton_snapshot_info info = fixture_info(9, 1);
    baton_snapshot_writer *writer = NULL;
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 10);
    export_it(&listed, BATON_COMPRESS_RAW);
    for (int other_service = 0; other_service < 2; other_service++) {
        info = fixture_info(9, 1);
        if (other_service)
            strcpy(info.service, "risk-engine");
        else
            info.journal_id = baton_digest_of("another", 7);
        assert_int_equal(baton_snapshot_writer_create(NULL, &writer), 0);
        assert_int_equal(baton_snapshot_writer_finish(writer, &info), 0);
        assert_int_equal(baton_snapshot_publish(io, into, writer, &info, NULL), 0);
        assert_int_equal(import_it(&error),
                         other_service ? BATON_E_OTHER_SERVICE : BATON_E_OTHER_JOURNAL);
        assert_non_null(strstr(error.why, other_service ? "risk-engine" : "another journal"));
        const baton_snapshot_transfer forced = {.force = true};
        assert_int_equal(baton_snapshot_import(file, into, &forced, &info, NULL), 0);
        assert_int_equal(fixture_whole(io, into), 2);
        assert_int_equal(baton_snapshot_remove(io, into, 5, 1), 0);
        assert_int_equal(baton_snapshot_remove(io, into, 9, 1), 0);
    }
}

static void force_replaces_a_damaged_one_and_never_another_one(void **state)
{
    (void)state;
    const baton_snapshot_transfer forced = {.force = true};
    baton_snapshot_info info;
    baton_error error = {0};
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 10);
    export_it(&listed, BATON_COMPRESS_RAW);
    assert_int_equal(import_it(NULL), 0);
    flip(into, CHUNKS, 17);
    assert_int_equal(import_it(&error), -EEXIST);
    assert_int_equal(baton_snapshot_import(file, into, &forced, &info, NULL), 0);
    assert_int_equal(fixture_whole(io, into), 1);
    flip(into, MANIFEST, 17);
    assert_int_equal(baton_snapshot_import(file, into, &forced, &info, NULL), 0);
    assert_int_equal(fixture_whole(io, into), 1);

    assert_int_equal(baton_snapshot_remove(io, into, 5, 1), 0);
    const fixture_wish other = {5, 1, BATON_COMPRESS_RAW, 4096, 11, 0};
    fixture_publish(io, into, &other);
    assert_int_equal(baton_snapshot_import(file, into, &forced, &info, &error), -EEXIST);
    assert_non_null(strstr(error.why, "another one"));
    assert_int_equal(fixture_whole(io, into), 1);
}

/* ---- the caller's hooks ---- */

typedef struct {
    baton_digest_stream stream;
    uint64_t bytes;
    uint64_t done;
    bool settled;
    int answer;
} watcher;

static void watch_bytes(void *context, const void *bytes, uint64_t bytes_count)
{
    watcher *watch = context;
    assert_false(watch->settled);
    baton_digest_update(&watch->stream, bytes, bytes_count);
    watch->bytes += bytes_count;
}

static int watch_settle(void *context, baton_error *error)
{
    watcher *watch = context;
    watch->settled = true;
    assert_true(access(file, F_OK) < 0 || files_in(into) == 2); /* nothing has its name yet */
    return watch->answer < 0 ? baton_error_set(error, watch->answer, "settle", "no", NULL) : 0;
}

static void watch_progress(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    watcher *watch = context;
    assert_true(done_bytes > watch->done && done_bytes <= all_bytes);
    watch->done = done_bytes;
}

static void the_caller_sees_every_byte_and_may_still_say_no(void **state)
{
    (void)state;
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 300);
    for (int answer = -EIO; answer <= 0; answer += EIO) {
        watcher watch = {.answer = answer};
        const baton_snapshot_transfer transfer = {.observe = watch_bytes,
                                                  .settle = watch_settle,
                                                  .progress = watch_progress,
                                                  .context = &watch};
        baton_snapshot_info info;
        uint64_t bytes = 0;
        size_t size;
        baton_digest_init(&watch.stream);
        assert_int_equal(baton_snapshot_export(from, &listed, file, &transfer, &bytes, NULL),
                         answer);
        assert_true(watch.settled);
        assert_int_equal(watch.done, listed.info.stored_bytes);
        assert_int_equal(fixture_files(dir.path), answer < 0 ? 1 : 3); /* from, into, file */
        if (answer < 0)
            export_it(&listed, BATON_COMPRESS_AUTO);
        uint8_t *all = fixture_read(file, &size);
        if (answer == 0) {
            assert_int_equal(watch.bytes, size);
            assert_true(
                baton_digest_equal(baton_digest_final(&watch.stream), baton_digest_of(all, size)));
        }
        watch = (watcher){.answer = answer};
        baton_digest_init(&watch.stream);
        assert_int_equal(baton_snapshot_import(file, into, &transfer, &info, NULL), answer);
        assert_int_equal(watch.bytes, size);
        assert_true(
            baton_digest_equal(baton_digest_final(&watch.stream), baton_digest_of(all, size)));
        assert_int_equal(files_in(into), answer < 0 ? 0 : 2);
        free(all);
        if (answer < 0)
            assert_int_equal(unlink(file), 0);
    }
}

/* ---- failing operations ---- */

typedef struct {
    int error; /* operation n fails so; 0: everything after n does */
    uint64_t n;
} failure;

static baton_io *failing_io(io_fault *fault, const failure *how)
{
    if (how->error != 0)
        io_fault_fail(fault, how->n, how->error);
    else
        io_fault_crash_after(fault, how->n);
    return fixture_fault_io(fault, 4);
}

static void a_failing_export_leaves_a_whole_file_or_none(void **state)
{
    (void)state;
    static const int errors[] = {0, EIO, ENOSPC};
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 90);
    for (uint32_t e = 0; e < 3; e++) {
        bool reached = true;
        for (uint64_t n = 1; reached; n++) {
            const failure how = {errors[e], n};
            io_fault *fault = io_fault_new();
            baton_io *failing = failing_io(fault, &how);
            baton_error error = {0};
            uint64_t bytes = 0;
            int r = baton_snapshot_export_with(failing, from, &listed, file, NULL, &bytes, &error);
            reached = io_fault_count(fault) >= n && (r < 0 || errors[e] == 0);
            reached = reached && (errors[e] != 0 || io_fault_crashed(fault));
            baton_io_close(failing);
            io_fault_free(fault);
            if (r < 0)
                assert_true(error.why[0] != '\0' && error.path[0] != '\0');
            if (r == -EIO || r == BATON_E_NO_SPACE)
                assert_int_equal(r, errors[e] == ENOSPC ? BATON_E_NO_SPACE : -EIO);
            const bool there = access(file, F_OK) == 0;
            assert_true(there || r < 0);
            if (errors[e] != 0) /* it could clean up */
                assert_int_equal(fixture_files(dir.path), there ? 2 : 1);
            if (there) {
                assert_int_equal(import_it(NULL), 0);
                assert_int_equal(baton_snapshot_remove(io, into, 5, 1), 0);
                assert_int_equal(rmdir(into), 0);
                assert_int_equal(unlink(file), 0);
            }
            if (errors[e] == 0) { /* what a dead process leaves is the operator's to delete */
                char command[TEST_PATH_BYTES + 64];
                snprintf(command, sizeof(command), "%s.%ld.partial", file, (long)getpid());
                unlink(command);
            }
            assert_true(n < 200);
        }
    }
}

/* In a container every process has the same number. */
static void what_a_dead_process_of_our_number_left_is_no_obstacle(void **state)
{
    (void)state;
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 90);
    char partial[TEST_PATH_BYTES + 64];
    snprintf(partial, sizeof(partial), "%s.%ld.partial", file, (long)getpid());
    FILE *left = fopen(partial, "w");
    assert_non_null(left);
    fclose(left);
    (void)export_it(&listed, BATON_COMPRESS_RAW);
    assert_int_equal(import_it(NULL), 0);
    assert_int_equal(access(partial, F_OK), 0); /* it may live, on another host */
    assert_int_equal(unlink(partial), 0);
    assert_int_equal(fixture_files(dir.path), 3); /* from, into, file */
}

static void a_failing_import_leaves_a_whole_one_or_none(void **state)
{
    (void)state;
    static const int errors[] = {0, EIO, ENOSPC};
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 90);
    export_it(&listed, BATON_COMPRESS_LZ4);
    assert_int_equal(mkdir(into, 0750), 0);
    for (uint32_t e = 0; e < 3; e++) {
        bool reached = true;
        for (uint64_t n = 1; reached; n++) {
            const failure how = {errors[e], n};
            io_fault *fault = io_fault_new();
            baton_io *failing = failing_io(fault, &how);
            baton_snapshot_info info;
            baton_error error = {0};
            uint32_t removed = 0;
            int r = baton_snapshot_import_with(failing, file, into, NULL, &info, &error);
            reached = io_fault_count(fault) >= n;
            reached = reached && (errors[e] != 0 || io_fault_crashed(fault));
            baton_io_close(failing);
            io_fault_free(fault);
            if (r < 0)
                assert_true(error.why[0] != '\0' && error.path[0] != '\0');
            const uint32_t whole = fixture_whole(io, into);
            assert_true(whole == 1 || r < 0);
            if (errors[e] != 0)
                assert_int_equal(fixture_files(into), 2 * whole);
            assert_int_equal(baton_snapshot_prune_with(io, into, 2, &removed, NULL), 0);
            assert_int_equal(fixture_files(into), 2 * whole);
            if (whole == 1)
                assert_int_equal(baton_snapshot_remove(io, into, 5, 1), 0);
            assert_true(n < 200);
        }
    }
}

/* Over damaged chunks, by force: what is there stays listed at every moment, and a second try
 * makes it whole. */
static void a_failing_replacement_takes_nothing_away(void **state)
{
    (void)state;
    const baton_snapshot_transfer forced = {.force = true};
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 90);
    bool reached = true;
    export_it(&listed, BATON_COMPRESS_LZ4);
    assert_int_equal(import_it(NULL), 0);
    for (uint64_t n = 1; reached; n++) {
        const failure how = {n % 2 == 0 ? EIO : 0, n / 2 + 1};
        io_fault *fault = io_fault_new();
        baton_io *failing = failing_io(fault, &how);
        baton_snapshot_info info;
        uint32_t removed = 0;
        flip(into, CHUNKS, 17);
        int r = baton_snapshot_import_with(failing, file, into, &forced, &info, NULL);
        reached = io_fault_count(fault) >= how.n || n % 2 == 0;
        baton_io_close(failing);
        io_fault_free(fault);
        fixture_listed(io, into, 5); /* its manifest is in order */
        if (r == 0)
            assert_int_equal(fixture_whole(io, into), 1);
        assert_int_equal(baton_snapshot_prune_with(io, into, 2, &removed, NULL), 0);
        assert_int_equal(fixture_files(into), 2);
        assert_int_equal(baton_snapshot_import_with(io, file, into, &forced, &info, NULL), 0);
        assert_int_equal(fixture_whole(io, into), 1);
        assert_true(n < 400);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_comes_back_is_the_same_bytes_under_the_same_root,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_state_travels_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_overwritten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_newer_version_wrote_is_named_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_snapshot_is_not_exported, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strangers_are_kept_apart_unless_forced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(force_replaces_a_damaged_one_and_never_another_one, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_caller_sees_every_byte_and_may_still_say_no, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_failing_export_leaves_a_whole_file_or_none, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_a_dead_process_of_our_number_left_is_no_obstacle,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failing_import_leaves_a_whole_one_or_none, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_failing_replacement_takes_nothing_away, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
