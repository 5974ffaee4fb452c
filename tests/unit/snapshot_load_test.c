/* tests/unit/snapshot_load_test.c: every byte is verified before it is used, and damage is named
 * (S2). */
#include "tests/unit/snapshot_fixture.h"
#include "tests/unit/snapshot_place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/format.h"

#define CHUNKS_NAME   "0000000000000007-0000000000000001.chunks"
#define MANIFEST_NAME "0000000000000007-0000000000000001.manifest"

static const CMFixtureFunction set_up = place_make_auto, tear_down = place_remove;

static baton_snapshot_listed make(baton_compress compress, uint32_t chunk_bytes, uint32_t rows)
{
    const fixture_wish wish = {7, 1, compress, chunk_bytes, rows, 0};
    fixture_publish(io, dir.path, &wish);
    return fixture_listed(io, dir.path, 7);
}

static void flip_every_byte(baton_compress compress, uint32_t rows)
{
    size_t bytes_count;
    const baton_snapshot_listed listed = make(compress, 4096, rows);
    const char *path = test_path(&dir, CHUNKS_NAME);
    uint8_t *bytes = fixture_read(path, &bytes_count);
    assert_int_equal(bytes_count, listed.info.stored_bytes);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    setvbuf(file, NULL, _IONBF, 0);
    for (size_t i = 0; i < bytes_count; i++) {
        baton_error error = {0};
        assert_int_equal(fseek(file, (long)i, SEEK_SET), 0);
        assert_int_equal(fputc(bytes[i] ^ 0x10, file), bytes[i] ^ 0x10);
        if (baton_snapshot_verify_with(io, dir.path, &listed, &error) != BATON_E_DAMAGED)
            fail_msg("byte %zu was changed and not noticed", i);
        assert_string_equal(error.path, path);
        assert_int_equal(error.offset,
                         i & ~(size_t)(BATON_IO_UNIT - 1)); /* here a chunk is a unit */
        assert_int_equal(strncmp(error.what, "load section ", 13), 0);
        assert_string_not_equal(error.todo, "");
        assert_int_equal(fseek(file, (long)i, SEEK_SET), 0);
        assert_int_equal(fputc(bytes[i], file), bytes[i]);
    }
    fclose(file);
    free(bytes);
    assert_int_equal(baton_snapshot_verify_with(io, dir.path, &listed, NULL), 0);
    assert_int_equal(baton_snapshot_remove(io, dir.path, 7, 1), 0);
}

static void every_changed_byte_of_the_chunks_is_refused_with_file_and_offset(void **state)
{
    (void)state;
    flip_every_byte(BATON_COMPRESS_RAW, 70);
    flip_every_byte(BATON_COMPRESS_LZ4, 90);
}

static void every_changed_byte_of_the_manifest_file_is_refused(void **state)
{
    (void)state;
    size_t bytes_count;
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 4096, 10);
    const char *path = test_path(&dir, MANIFEST_NAME);
    uint8_t *bytes = fixture_read(path, &bytes_count);
    for (size_t i = 0; i < bytes_count; i++) {
        baton_error error = {0};
        bytes[i] ^= 0x04;
        fixture_write(path, bytes, bytes_count);
        assert_int_equal(baton_snapshot_verify_with(io, dir.path, &listed, &error),
                         BATON_E_DAMAGED);
        assert_string_equal(error.path, path);
        bytes[i] ^= 0x04;
    }
    free(bytes);
}

static void chunks_of_another_length_are_refused(void **state)
{
    (void)state;
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 4096, 300);
    const char *path = test_path(&dir, CHUNKS_NAME);
    size_t bytes_count;
    uint8_t *bytes = fixture_read(path, &bytes_count);
    baton_error error = {0};
    for (size_t cut = 0; cut < bytes_count; cut += 1000) {
        fixture_write(path, bytes, cut);
        assert_int_equal(baton_snapshot_verify_with(io, dir.path, &listed, &error),
                         BATON_E_DAMAGED);
        assert_string_equal(error.path, path);
        assert_int_equal(error.offset, cut);
    }
    fixture_write(path, bytes, bytes_count);
    assert_int_equal(truncate(path, (off_t)bytes_count + 1), 0);
    assert_int_equal(baton_snapshot_verify_with(io, dir.path, &listed, &error), BATON_E_DAMAGED);
    assert_int_equal(error.offset, bytes_count);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(baton_snapshot_verify_with(io, dir.path, &listed, &error), BATON_E_DAMAGED);
    assert_string_equal(error.path, path);
    free(bytes);
}

static void chunks_that_changed_places_are_refused(void **state)
{
    (void)state;
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 4096, 300);
    const char *path = test_path(&dir, CHUNKS_NAME);
    size_t bytes_count;
    uint8_t *bytes = fixture_read(path, &bytes_count);
    uint8_t unit[BATON_IO_UNIT];
    baton_error error = {0};
    memcpy(unit, bytes, sizeof(unit));
    memcpy(bytes, bytes + BATON_IO_UNIT, sizeof(unit));
    memcpy(bytes + BATON_IO_UNIT, unit, sizeof(unit));
    fixture_write(path, bytes, bytes_count);
    assert_int_equal(baton_snapshot_verify_with(io, dir.path, &listed, &error), BATON_E_DAMAGED);
    assert_int_equal(error.offset, 0);
    free(bytes);
}

static void find_damage(bool helped)
{
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 4096, 1500);
    const char *path = test_path(&dir, CHUNKS_NAME);
    size_t bytes_count;
    uint8_t *bytes = fixture_read(path, &bytes_count);
    bytes[2 * BATON_IO_UNIT + 5] ^= 0xff; /* in "orders", before "accounts" */
    fixture_write(path, bytes, bytes_count);
    free(bytes);

    baton_snapshot_reader *reader = NULL;
    uint32_t fields;
    uint64_t number;
    assert_int_equal(baton_snapshot_reader_open(io, dir.path, &listed, &reader, NULL), 0);
    if (helped)
        baton_snapshot_reader_help(reader);
    assert_int_equal(baton_unpack_section(reader, "accounts"), 0);
    assert_int_equal(baton_unpack_row(reader, &fields), 1); /* of another chunk */
    assert_int_equal(baton_unpack_section(reader, "orders"), 0);
    int r;
    uint32_t rows = 0;
    while ((r = baton_unpack_row(reader, &fields)) == 1)
        rows++;
    assert_int_equal(r, BATON_E_DAMAGED);
    assert_true(rows > 100 && rows < 300);
    const baton_error *error = baton_snapshot_reader_error(reader);
    assert_int_equal(error->status, BATON_E_DAMAGED);
    assert_string_equal(error->path, path);
    assert_int_equal(error->offset, 2 * BATON_IO_UNIT);
    assert_int_equal(baton_unpack_uint(reader, &number), BATON_E_DAMAGED);
    assert_int_equal(baton_unpack_section(reader, "accounts"), BATON_E_DAMAGED);
    baton_snapshot_reader_close(reader);
    assert_int_equal(baton_snapshot_remove(io, dir.path, 7, 1), 0);
}

static void damage_is_found_only_where_it_is_and_stays_found(void **state)
{
    (void)state;
    find_damage(false);
    find_damage(true);
}

/* The first damaged byte of each chunk in turn: what the helper finds is what is found without. */
static void with_a_helper_damage_is_named_alike(void **state)
{
    (void)state;
    const baton_snapshot_listed listed = make(BATON_COMPRESS_LZ4, 4096, 3000);
    const char *path = test_path(&dir, CHUNKS_NAME);
    size_t bytes_count;
    uint8_t *bytes = fixture_read(path, &bytes_count);
    for (size_t at = 0; at < bytes_count; at += BATON_IO_UNIT) {
        uint64_t rows[2] = {0, 0};
        baton_error errors[2];
        bytes[at] ^= 0x40;
        fixture_write(path, bytes, bytes_count);
        bytes[at] ^= 0x40;
        for (uint32_t helped = 0; helped < 2; helped++) {
            baton_snapshot_reader *reader = NULL;
            uint32_t fields;
            int r;
            assert_int_equal(baton_snapshot_reader_open(io, dir.path, &listed, &reader, NULL), 0);
            if (helped == 1)
                baton_snapshot_reader_help(reader);
            r = baton_unpack_section(reader, "orders");
            while (r >= 0 && (r = baton_unpack_row(reader, &fields)) == 1)
                rows[helped]++;
            r = r < 0 ? r : baton_unpack_section(reader, "accounts");
            while (r >= 0 && (r = baton_unpack_row(reader, &fields)) == 1)
                rows[helped]++;
            assert_int_equal(r, BATON_E_DAMAGED);
            errors[helped] = *baton_snapshot_reader_error(reader);
            baton_snapshot_reader_close(reader);
        }
        assert_int_equal(rows[0], rows[1]);
        assert_int_equal(errors[0].offset, at);
        assert_int_equal(errors[1].offset, at);
        assert_string_equal(errors[0].why, errors[1].why);
    }
    free(bytes);
}

/* Close comes while the helper works, and while reads are on their way. */
static void a_reader_with_a_helper_may_be_closed_at_any_row(void **state)
{
    (void)state;
    const baton_snapshot_listed listed = make(BATON_COMPRESS_LZ4, 4096, 3000);
    assert_true(listed.info.chunks_count >= 16); /* else there is none */
    for (uint32_t rows = 0; rows < 3000; rows += 97) {
        baton_snapshot_reader *reader = NULL;
        uint32_t fields;
        assert_int_equal(baton_snapshot_reader_open(io, dir.path, &listed, &reader, NULL), 0);
        baton_snapshot_reader_help(reader);
        assert_int_equal(baton_unpack_section(reader, "orders"), 0);
        for (uint32_t i = 0; i < rows; i++)
            assert_int_equal(baton_unpack_row(reader, &fields), 1);
        baton_snapshot_reader_close(reader);
    }
}

static void a_read_error_is_its_errno_with_file_and_offset(void **state)
{
    (void)state;
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 4096, 1000);
    const uint32_t chunks = listed.info.chunks_count;
    assert_true(chunks > 10);
    for (uint32_t n = 1; n <= chunks; n++) {
        io_fault *fault = io_fault_new();
        baton_io *failing = fixture_fault_io(fault, 0);
        baton_error error = {0};
        io_fault_fail_kind(fault, BATON_IO_READ, n + 1, EIO); /* the first one reads the manifest */
        assert_int_equal(baton_snapshot_verify_with(failing, dir.path, &listed, &error), -EIO);
        assert_string_equal(error.path, test_path(&dir, CHUNKS_NAME));
        assert_int_equal(error.offset, (uint64_t)(n - 1) * BATON_IO_UNIT);
        baton_io_close(failing);
        io_fault_free(fault);
    }
}

static void reads_may_end_in_any_order_and_be_few_at_once(void **state)
{
    (void)state;
    const baton_snapshot_listed listed = make(BATON_COMPRESS_LZ4, 4096, 3000);
    for (uint32_t seed = 0; seed < 18; seed++) {
        io_fault *fault = io_fault_new();
        baton_io *shuffled = fixture_fault_io(fault, seed % 3 == 0 ? 1 : seed % 3 == 1 ? 3 : 0);
        baton_snapshot_reader *reader = NULL;
        io_fault_set_order(fault, seed % 2 == 0 ? IO_FAULT_RANDOM : IO_FAULT_REVERSED, seed);
        assert_int_equal(baton_snapshot_reader_open(shuffled, dir.path, &listed, &reader, NULL), 0);
        if (seed >= 9)
            baton_snapshot_reader_help(reader);
        fixture_check(reader, 3000);
        baton_snapshot_reader_close(reader);
        baton_io_close(shuffled);
        io_fault_free(fault);
    }
}

static void several_reads_are_in_flight_at_once(void **state)
{
    (void)state;
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 4096, 3000);
    io_fault *fault = io_fault_new();
    baton_io *held = fixture_fault_io(fault, 0);
    baton_snapshot_reader *reader = NULL;
    uint32_t fields;
    assert_int_equal(baton_snapshot_reader_open(held, dir.path, &listed, &reader, NULL), 0);
    io_fault_hold(fault, BATON_IO_READ, true);
    assert_int_equal(baton_unpack_section(reader, "orders"), 0);
    assert_int_equal(baton_unpack_row(reader, &fields), 1); /* its wait lets the oldest one go */
    assert_true(io_fault_held(fault) >= 3);
    baton_snapshot_reader_close(
        reader); /* waits for the rest: the kernel owns the buffers until then */
    assert_int_equal(io_fault_held(fault), 0);
    baton_io_close(held);
    io_fault_free(fault);
}

static void leave_sections_early(baton_io *by, bool helped)
{
    baton_snapshot_reader *reader = NULL;
    uint32_t fields;
    uint64_t number;
    const baton_snapshot_listed listed = fixture_listed(by, dir.path, 7);
    assert_int_equal(baton_snapshot_reader_open(by, dir.path, &listed, &reader, NULL), 0);
    if (helped)
        baton_snapshot_reader_help(reader);
    for (uint32_t turn = 0; turn < 20; turn++) {
        assert_int_equal(baton_unpack_section(reader, turn % 2 == 0 ? "orders" : "accounts"), 0);
        for (uint32_t i = 0; i < (turn % 2 == 0 ? turn * 100 : 2); i++)
            assert_int_equal(baton_unpack_row(reader, &fields), 1);
        if (turn % 2 == 0)
            continue;
        assert_int_equal(baton_unpack_uint(reader, &number), 0);
        assert_int_equal(number, UINT64_MAX - 1);
    }
    assert_int_equal(baton_unpack_section(reader, "nobody"), BATON_E_NOT_FOUND);
    assert_int_equal(baton_unpack_row(reader, &fields), 1); /* still where it was */
    fixture_check(reader, 2000);
    baton_snapshot_reader_close(reader);
}

static void sections_may_be_left_early_and_taken_up_again(void **state)
{
    (void)state;
    make(BATON_COMPRESS_AUTO, 4096, 2000);
    leave_sections_early(io, false);
    leave_sections_early(io, true);
    for (uint32_t ops_max = 1; ops_max < 6; ops_max += 2) { /* a ring full of what is left */
        io_fault *fault = io_fault_new();
        baton_io *small = fixture_fault_io(fault, ops_max);
        leave_sections_early(small, false);
        leave_sections_early(small, true);
        baton_io_close(small);
        io_fault_free(fault);
    }
}

static void what_was_listed_and_is_gone_or_replaced_is_said_to_be(void **state)
{
    (void)state;
    baton_snapshot_reader *reader = NULL;
    baton_error error = {0};
    const baton_snapshot_listed listed = make(BATON_COMPRESS_RAW, 4096, 10);
    assert_int_equal(baton_snapshot_remove(io, dir.path, 7, 1), 0);
    assert_int_equal(baton_snapshot_reader_open(io, dir.path, &listed, &reader, &error),
                     BATON_E_GONE);
    make(BATON_COMPRESS_RAW, 4096, 11);
    assert_int_equal(baton_snapshot_reader_open(io, dir.path, &listed, &reader, &error),
                     BATON_E_GONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            every_changed_byte_of_the_chunks_is_refused_with_file_and_offset, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_changed_byte_of_the_manifest_file_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(chunks_of_another_length_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(chunks_that_changed_places_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damage_is_found_only_where_it_is_and_stays_found, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(with_a_helper_damage_is_named_alike, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_with_a_helper_may_be_closed_at_any_row, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_read_error_is_its_errno_with_file_and_offset, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(reads_may_end_in_any_order_and_be_few_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(several_reads_are_in_flight_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sections_may_be_left_early_and_taken_up_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_was_listed_and_is_gone_or_replaced_is_said_to_be,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
