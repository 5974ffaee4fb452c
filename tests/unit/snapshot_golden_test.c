/* tests/unit/snapshot_golden_test.c: snapshots of released formats are read for ever, and v1 is
 * still written as it was.
 *
 * tests/golden/snapshot-v1 holds seq 1 (raw) and seq 2 (LZ4), written by this program:
 * `snapshot_golden_test --write DIR`. The LZ4 one is only read: another version of the library
 * may compress the same bytes in another way. */
#include "tests/unit/snapshot_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 220u

static const fixture_wish wishes[] = {
    {1, 1, BATON_COMPRESS_RAW, 4096, ROWS, 0},
    {2, 1, BATON_COMPRESS_LZ4, 8192, ROWS, 0},
};

static char golden[TEST_PATH_BYTES];
static baton_io *io;

static void every_golden_snapshot_is_read(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        baton_snapshot_reader *reader = NULL;
        const baton_snapshot_listed listed = fixture_listed(io, golden, wishes[i].seq);
        assert_string_equal(listed.info.service, "matching-engine");
        assert_int_equal(listed.info.position_batch, 77);
        assert_int_equal(baton_snapshot_verify_with(io, golden, &listed, NULL), 0);
        assert_int_equal(baton_snapshot_reader_open(io, golden, &listed, &reader, NULL), 0);
        fixture_check(reader, ROWS);
        baton_snapshot_reader_close(reader);
    }
}

static void the_raw_one_is_written_byte_for_byte(void **state)
{
    static const char *const names[] = {"0000000000000001-0000000000000001.chunks",
                                        "0000000000000001-0000000000000001.manifest"};
    (void)state;
    test_dir dir;
    test_dir_make(&dir, "snapshot-golden");
    fixture_publish(io, dir.path, &wishes[0]);
    for (uint32_t i = 0; i < 2; i++) {
        char path[TEST_PATH_BYTES + 64];
        size_t kept_bytes;
        size_t written_bytes;
        snprintf(path, sizeof(path), "%s/%s", golden, names[i]);
        uint8_t *kept = fixture_read(path, &kept_bytes);
        uint8_t *written = fixture_read(test_path(&dir, names[i]), &written_bytes);
        assert_int_equal(written_bytes, kept_bytes);
        assert_memory_equal(written, kept, kept_bytes);
        free(written);
        free(kept);
    }
    test_dir_remove(&dir);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_golden_snapshot_is_read),
        cmocka_unit_test(the_raw_one_is_written_byte_for_byte),
    };
    const char *source = getenv("BATON_SOURCE");
    io = fixture_io(BATON_IO_AUTO);
    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        for (uint32_t i = 0; i < 2; i++)
            fixture_publish(io, argv[2], &wishes[i]);
        baton_io_close(io);
        return 0;
    }
    if (source == NULL) {
        printf("BATON_SOURCE is not set: nowhere to find the golden files\n");
        baton_io_close(io);
        return 77;
    }
    snprintf(golden, sizeof(golden), "%s/tests/golden/snapshot-v1", source);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    baton_io_close(io);
    return failed;
}
