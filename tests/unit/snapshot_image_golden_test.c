/* tests/unit/snapshot_image_golden_test.c: images of released formats are read for ever, and v2 is
 * still written as it was.
 *
 * tests/golden/snapshot-v2 holds seq 1 (full, raw) and seq 2 (adds to it, LZ4), written by this
 * program: `snapshot_image_golden_test --write DIR`. The LZ4 one is only read: another version of
 * the library may compress the same bytes in another way. */
#include "tests/unit/snapshot_image_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGES 16u
#define SEED  UINT64_C(2026)

static char golden[TEST_PATH_BYTES];
static baton_io *io;

/* It stands still: how long things took is in the manifest. */
static uint64_t still_ns(const baton_clock *clock)
{
    (void)clock;
    return UINT64_C(1790000000000000000);
}

/* The two generations; *ret_copies are what the region was. */
static void write_both(const char *directory, uint8_t *ret_copies[2])
{
    static const baton_clock still = {still_ns, still_ns};
    image_region region;
    image_region_make(&region, PAGES * UINT64_C(4096), REGION_PRIVATE, SEED);
    memset(region.base + UINT64_C(4096), 'b', 4 * UINT64_C(4096)); /* LZ4 has something to do */
    baton_image_source *source = image_source(&region, image_tracker(), 0);
    for (uint32_t i = 0; i < 2; i++) {
        baton_image_options options = image_wish(directory, i + 1);
        options.no_thread = true;
        options.io = (baton_io_options){.choice = BATON_IO_THREADS, .clock = &still};
        options.compress = i == 0 ? BATON_COMPRESS_RAW : BATON_COMPRESS_LZ4;
        if (i == 1) {
            image_touch(&region, 2, 'c');
            image_touch(&region, 3, 'd');
            image_touch(&region, 9, 'e');
        }
        ret_copies[i] = image_copy(&region, region.bytes);
        image_take(io, source, &options, region.bytes, NULL);
    }
    baton_image_source_close(source);
    image_region_free(&region);
}

static void both_golden_images_are_read_and_the_first_is_written_byte_for_byte(void **state)
{
    static const char *const names[] = {"0000000000000001-0000000000000001.chunks",
                                        "0000000000000001-0000000000000001.manifest"};
    (void)state;
    test_dir dir;
    uint8_t *copies[2];
    image_region region;
    test_dir_make(&dir, "snapshot-image-golden");
    write_both(dir.path, copies);
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
    image_region_make(&region, PAGES * UINT64_C(4096), REGION_PRIVATE, SEED);
    for (uint32_t i = 0; i < 2; i++) {
        const baton_snapshot_listed listed = fixture_listed(io, golden, i + 1);
        assert_string_equal(listed.info.service, "matching-engine");
        assert_int_equal(baton_digest_is_zero(listed.info.parent), i == 0);
        assert_int_equal(baton_snapshot_verify_with(io, golden, &listed, NULL), 0);
        image_check(io, golden, i + 1, &region, copies[i], region.bytes);
        free(copies[i]);
    }
    image_region_free(&region);
    test_dir_remove(&dir);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_golden_images_are_read_and_the_first_is_written_byte_for_byte),
    };
    const char *source = getenv("BATON_SOURCE");
    int failed = 77;
    io = fixture_io(BATON_IO_AUTO);
    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        uint8_t *copies[2];
        write_both(argv[2], copies);
        free(copies[0]);
        free(copies[1]);
        failed = 0;
    } else if (source == NULL) {
        printf("BATON_SOURCE is not set: nowhere to find the golden files\n");
    } else if (baton_page_bytes() != 4096) {
        printf("the golden images are of 4 KiB pages, which this machine has not\n");
    } else {
        snprintf(golden, sizeof(golden), "%s/tests/golden/snapshot-v2", source);
        failed = cmocka_run_group_tests(tests, NULL, NULL);
    }
    baton_io_close(io);
    return failed;
}
