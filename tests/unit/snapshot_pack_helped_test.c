/* tests/unit/snapshot_pack_helped_test.c: a helper changes when chunks are encoded, and nothing
 * else. */
#include "tests/unit/snapshot_fixture.h"
#include "tests/unit/snapshot_place.h"

#include <stdlib.h>
#include <string.h>

#include "snapshot/format.h"

static const CMFixtureFunction set_up = place_make_auto, tear_down = place_remove;

static void pack_a_mix(baton_snapshot_writer *writer, uint32_t rows)
{
    static uint8_t blob[5000];
    uint64_t random = 1;
    fixture_pack(writer, rows);
    baton_pack_section(writer, "blobs"); /* every other kilobyte can't be compressed */
    for (uint32_t i = 0; i < rows; i++) {
        for (uint32_t k = 0; k < sizeof(blob); k++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            blob[k] = i / 64 % 2 == 0 ? (uint8_t)(random >> 56) : (uint8_t)(k / 100);
        }
        baton_pack_row(writer, 2);
        baton_pack_uint(writer, i);
        baton_pack_bytes(writer, blob, i * 37 % sizeof(blob));
    }
}

/* The files of one state, packed with a helper or without. */
static void publish_mix(const baton_snapshot_options *options, uint32_t rows, uint8_t *ret_files[2],
                        size_t ret_bytes[2])
{
    baton_snapshot_info info = fixture_info(9, 1);
    baton_snapshot_writer *writer = NULL;
    assert_int_equal(baton_snapshot_writer_create(options, &writer), 0);
    pack_a_mix(writer, rows);
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), 0);
    assert_int_equal(baton_snapshot_publish(io, dir.path, writer, &info, NULL), 0);
    ret_files[0] =
        fixture_read(test_path(&dir, "0000000000000009-0000000000000001.chunks"), &ret_bytes[0]);
    ret_files[1] =
        fixture_read(test_path(&dir, "0000000000000009-0000000000000001.manifest"), &ret_bytes[1]);
    assert_int_equal(baton_snapshot_remove(io, dir.path, 9, 1), 0);
}

/* The plain path is the oracle of the helped one: both files, byte for byte. */
static void with_a_helper_the_files_are_the_same_bytes(void **state)
{
    (void)state;
    static const uint32_t rows[] = {0, 1, 90, 700, 3000};
    for (uint32_t i = 0; i < 2 * 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        baton_snapshot_options options = {
            .compress = i % 2 == 0 ? BATON_COMPRESS_RAW : BATON_COMPRESS_LZ4,
            .chunk_bytes = i / 2 % 2 == 0 ? 4096 : 256u << 10,
        };
        uint8_t *files[2][2];
        size_t bytes[2][2];
        for (uint32_t helped = 0; helped < 2; helped++) {
            options.helped = helped == 1;
            publish_mix(&options, rows[i / 4], files[helped], bytes[helped]);
        }
        for (uint32_t k = 0; k < 2; k++) {
            assert_int_equal(bytes[0][k], bytes[1][k]);
            assert_memory_equal(files[0][k], files[1][k], bytes[0][k]);
            free(files[0][k]);
            free(files[1][k]);
        }
    }
}

static void a_helper_s_error_ends_the_packing(void **state)
{
    (void)state;
    const baton_snapshot_options options = {
        .compress = BATON_COMPRESS_RAW, .chunk_bytes = 4096, .bytes_max = 8 * 4096, .helped = true};
    baton_snapshot_writer *writer = NULL;
    baton_snapshot_info info = fixture_info(1, 1);
    assert_int_equal(baton_snapshot_writer_create(&options, &writer), 0);
    fixture_pack(writer, 10000); /* so many more that it shows while packing */
    assert_int_equal(baton_pack_error(writer), BATON_E_TOO_LARGE);
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), BATON_E_TOO_LARGE);
    baton_snapshot_writer_destroy(writer);

    assert_int_equal(baton_snapshot_writer_create(&options, &writer), 0);
    baton_pack_section(writer, "a");
    for (uint32_t i = 0; i < 9; i++) { /* so few that finish may be the first to know */
        static const uint8_t bytes[4096];
        baton_pack_row(writer, 1);
        baton_pack_bytes(writer, bytes, sizeof(bytes));
    }
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), BATON_E_TOO_LARGE);
    baton_snapshot_writer_destroy(writer);

    assert_int_equal(baton_snapshot_writer_create(&options, &writer), 0);
    fixture_pack(writer, 200);
    baton_snapshot_writer_destroy(writer); /* in the middle */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(with_a_helper_the_files_are_the_same_bytes, set_up,
                                        tear_down),
        cmocka_unit_test(a_helper_s_error_ends_the_packing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
