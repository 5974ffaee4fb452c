/* tests/unit/snapshot_pack_test.c: rows in, rows out. */
#include "tests/unit/snapshot_fixture.h"
#include "tests/unit/snapshot_place.h"

#include "snapshot/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/writer.h"

#define BIG_BYTES (16u << 20)

static const CMFixtureFunction set_up = place_make_auto, tear_down = place_remove;

static baton_snapshot_writer *writer_of(uint32_t chunk_bytes, baton_compress compress)
{
    baton_snapshot_writer *writer = NULL;
    const baton_snapshot_options options = {.compress = compress, .chunk_bytes = chunk_bytes};
    assert_int_equal(baton_snapshot_writer_create(&options, &writer), 0);
    return writer;
}

/* Finishes, publishes and opens it again. */
static baton_snapshot_reader *through_the_disk(baton_snapshot_writer *writer)
{
    baton_snapshot_info info = fixture_info(9, 1);
    baton_snapshot_reader *reader = NULL;
    baton_error error = {0};
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), 0);
    assert_int_equal(baton_snapshot_publish(io, dir.path, writer, &info, &error), 0);
    const baton_snapshot_listed listed = fixture_listed(io, dir.path, 9);
    assert_int_equal(baton_snapshot_reader_open(io, dir.path, &listed, &reader, &error), 0);
    return reader;
}

static void every_kind_of_field_comes_back(void **state)
{
    static const uint64_t numbers[] = {0,          1,           0x7f,      0x80,
                                       0xff,       0x100,       0xffff,    0x10000,
                                       0xffffffff, 0x100000000, INT64_MAX, UINT64_MAX};
    static const int64_t signed_numbers[] = {
        0,      -1,     -32,       -33,       -128,      -129,
        -32768, -32769, INT32_MIN, INT64_MIN, INT64_MAX, (int64_t)INT32_MIN - 1};
    static const uint32_t lengths[] = {0, 1, 31, 32, 255, 256, 4095, 4096, 65535, 65536};
    (void)state;
    char *text = calloc(1, 65537);
    assert_non_null(text);
    baton_snapshot_writer *writer = writer_of(4096, BATON_COMPRESS_RAW);
    baton_pack_section(writer, "numbers");
    for (uint32_t i = 0; i < 12; i++) {
        baton_pack_row(writer, 2);
        baton_pack_uint(writer, numbers[i]);
        baton_pack_int(writer, signed_numbers[i]);
    }
    baton_pack_section(writer, "texts");
    for (uint32_t i = 0; i < 10; i++) {
        memset(text, 'a' + (int)i, lengths[i]);
        text[lengths[i]] = '\0';
        baton_pack_row(writer, 2);
        baton_pack_text(writer, text);
        baton_pack_bytes(writer, text, lengths[i]);
    }
    baton_snapshot_reader *reader = through_the_disk(writer);

    uint32_t fields;
    uint32_t bytes;
    const char *found;
    const void *blob;
    assert_int_equal(baton_unpack_section(reader, "texts"), 0);
    for (uint32_t i = 0; i < 10; i++) {
        memset(text, 'a' + (int)i, lengths[i]);
        assert_int_equal(baton_unpack_row(reader, &fields), 1);
        assert_int_equal(baton_unpack_text(reader, &found, &bytes), 0);
        assert_int_equal(bytes, lengths[i]);
        assert_memory_equal(found, text, bytes);
        assert_int_equal(baton_unpack_bytes(reader, &blob, &bytes), 0);
        assert_int_equal(bytes, lengths[i]);
        assert_memory_equal(blob, text, bytes);
    }
    assert_int_equal(baton_unpack_section(reader, "numbers"), 0); /* in any order */
    for (uint32_t i = 0; i < 12; i++) {
        uint64_t number;
        int64_t signed_number;
        assert_int_equal(baton_unpack_row(reader, &fields), 1);
        assert_int_equal(baton_unpack_uint(reader, &number), 0);
        assert_true(number == numbers[i]);
        assert_int_equal(baton_unpack_int(reader, &signed_number), 0);
        assert_true(signed_number == signed_numbers[i]);
    }
    baton_snapshot_reader_close(reader);
    free(text);
}

static void a_field_of_16_mib_comes_back_and_a_larger_one_is_refused(void **state)
{
    (void)state;
    uint8_t *big = malloc(BIG_BYTES + 1);
    assert_non_null(big);
    for (uint32_t i = 0; i <= BIG_BYTES; i++)
        big[i] = (uint8_t)(i * 2654435761u >> 24);
    baton_snapshot_writer *writer = writer_of(0, BATON_COMPRESS_AUTO);
    baton_pack_section(writer, "big");
    baton_pack_row(writer, 2);
    baton_pack_bytes(writer, big, BIG_BYTES);
    baton_pack_uint(writer, 5);
    baton_snapshot_reader *reader = through_the_disk(writer);
    uint32_t fields;
    uint32_t bytes;
    uint64_t number;
    const void *blob;
    assert_int_equal(baton_unpack_section(reader, "big"), 0);
    assert_int_equal(baton_unpack_row(reader, &fields), 1);
    assert_int_equal(baton_unpack_bytes(reader, &blob, &bytes), 0);
    assert_int_equal(bytes, BIG_BYTES);
    assert_int_equal(memcmp(blob, big, BIG_BYTES), 0);
    assert_int_equal(baton_unpack_uint(reader, &number), 0);
    baton_snapshot_reader_close(reader);

    writer = writer_of(0, BATON_COMPRESS_AUTO);
    baton_pack_section(writer, "big");
    baton_pack_row(writer, 1);
    baton_pack_bytes(writer, big, BIG_BYTES + 1);
    assert_int_equal(baton_pack_error(writer), BATON_E_TOO_LARGE);
    baton_snapshot_writer_destroy(writer);
    free(big);
}

static void round_trip(baton_compress compress, uint32_t chunk_bytes, uint32_t rows)
{
    baton_snapshot_writer *writer = writer_of(chunk_bytes, compress);
    fixture_pack(writer, rows);
    baton_snapshot_reader *reader = through_the_disk(writer);
    const baton_snapshot_info *info = baton_snapshot_reader_info(reader);
    assert_true(info->chunks_count > 20);
    assert_int_equal(info->sections_count, 3);
    if (compress == BATON_COMPRESS_LZ4)
        assert_true(info->stored_bytes < info->raw_bytes);
    else if (compress == BATON_COMPRESS_RAW)
        assert_true(info->stored_bytes >= info->raw_bytes);
    fixture_check(reader, rows);
    fixture_check(reader, rows); /* and once more, from the beginning */
    baton_snapshot_reader_close(reader);
    assert_int_equal(baton_snapshot_remove(io, dir.path, 9, 1), 0);
}

static void rows_over_many_chunks_come_back_from_both_codecs(void **state)
{
    (void)state;
    round_trip(BATON_COMPRESS_RAW, 4096, 20000);
    round_trip(BATON_COMPRESS_LZ4, 65536, 50000);
    round_trip(BATON_COMPRESS_AUTO, 16384, 20000);
}

static void an_empty_snapshot_is_one(void **state)
{
    (void)state;
    baton_snapshot_reader *reader = through_the_disk(writer_of(0, BATON_COMPRESS_LZ4));
    assert_int_equal(baton_snapshot_reader_info(reader)->chunks_count, 0);
    assert_null(baton_snapshot_reader_section_name(reader, 0));
    assert_int_equal(baton_unpack_section(reader, "orders"), BATON_E_NOT_FOUND);
    uint32_t fields;
    assert_int_equal(baton_unpack_row(reader, &fields), BATON_E_INVALID);
    baton_snapshot_reader_close(reader);
}

static void unread_fields_are_skipped_and_another_kind_is_a_schema_error(void **state)
{
    (void)state;
    baton_snapshot_writer *writer = writer_of(4096, BATON_COMPRESS_RAW);
    baton_pack_section(writer, "mixed");
    for (uint32_t i = 0; i < 1000; i++) {
        baton_pack_row(writer, 3);
        baton_pack_int(writer, -5);
        baton_pack_text(writer, "skipped, mostly");
        baton_pack_uint(writer, UINT64_MAX);
    }
    baton_snapshot_reader *reader = through_the_disk(writer);
    uint32_t fields;
    uint32_t bytes;
    uint64_t number;
    int64_t difference;
    const char *text;
    const void *blob;
    assert_int_equal(baton_unpack_section(reader, "mixed"), 0);
    for (uint32_t i = 0; i < 500; i++)
        assert_int_equal(baton_unpack_row(reader, &fields), 1);
    assert_int_equal(baton_unpack_uint(reader, &number), BATON_E_SCHEMA); /* negative */
    assert_int_equal(baton_unpack_text(reader, &text, &bytes), BATON_E_SCHEMA);
    assert_int_equal(baton_unpack_int(reader, &difference), 0); /* what failed was not taken */
    assert_int_equal(difference, -5);
    assert_int_equal(baton_unpack_bytes(reader, &blob, &bytes), BATON_E_SCHEMA);
    assert_int_equal(baton_unpack_text(reader, &text, &bytes), 0);
    assert_int_equal(baton_unpack_int(reader, &difference), BATON_E_SCHEMA); /* too large */
    assert_int_equal(baton_unpack_uint(reader, &number), 0);
    assert_int_equal(baton_unpack_uint(reader, &number), BATON_E_SCHEMA); /* no more fields */
    for (uint32_t i = 500; i < 1000; i++)
        assert_int_equal(baton_unpack_row(reader, &fields), 1);
    assert_int_equal(baton_unpack_row(reader, &fields), 0);
    assert_int_equal(baton_unpack_row(reader, &fields), 0);
    baton_snapshot_reader_close(reader);
}

/* ---- misuse ---- */

typedef void (*misuse)(baton_snapshot_writer *writer);

static void row_without_section(baton_snapshot_writer *writer)
{
    baton_pack_row(writer, 1);
}

static void field_without_row(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "a");
    baton_pack_uint(writer, 1);
}

static void one_field_too_many(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "a");
    baton_pack_row(writer, 1);
    baton_pack_uint(writer, 1);
    baton_pack_uint(writer, 1);
}

static void one_field_too_few(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "a");
    baton_pack_row(writer, 2);
    baton_pack_uint(writer, 1);
    baton_pack_row(writer, 1);
}

static void section_in_a_row(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "a");
    baton_pack_row(writer, 1);
    baton_pack_section(writer, "b");
}

static void row_of_no_fields(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "a");
    baton_pack_row(writer, 0);
}

static void row_of_257_fields(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "a");
    baton_pack_row(writer, 257);
}

static void section_twice(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "a");
    baton_pack_section(writer, "a");
}

static void section_with_a_space(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "a b");
}

static void section_of_48_letters(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuv");
}

static void section_without_a_name(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "");
}

static void text_that_is_not_utf8(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "a");
    baton_pack_row(writer, 1);
    baton_pack_text(writer, "\xc3(");
}

static void text_that_is_null(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "a");
    baton_pack_row(writer, 1);
    baton_pack_text(writer, NULL);
}

static void bytes_that_are_null(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "a");
    baton_pack_row(writer, 1);
    baton_pack_bytes(writer, NULL, 1);
}

static void misuse_is_a_sticky_error(void **state)
{
    static const misuse cases[] = {
        row_without_section,  field_without_row,     one_field_too_many,     one_field_too_few,
        section_in_a_row,     row_of_no_fields,      row_of_257_fields,      section_twice,
        section_with_a_space, section_of_48_letters, section_without_a_name, text_that_is_not_utf8,
        text_that_is_null,    bytes_that_are_null,
    };
    (void)state;
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        baton_snapshot_writer *writer = writer_of(0, BATON_COMPRESS_RAW);
        baton_snapshot_info info = fixture_info(1, 1);
        cases[i](writer);
        assert_int_equal(baton_pack_error(writer), BATON_E_INVALID);
        baton_pack_section(writer, "after");
        assert_int_equal(baton_snapshot_writer_finish(writer, &info), BATON_E_INVALID);
        baton_snapshot_writer_destroy(writer);
    }
}

static void finishing_needs_a_whole_row_and_works_once(void **state)
{
    (void)state;
    baton_snapshot_info info = fixture_info(1, 1);
    baton_snapshot_writer *writer = writer_of(0, BATON_COMPRESS_RAW);
    baton_pack_section(writer, "a");
    baton_pack_row(writer, 1);
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), BATON_E_INVALID);
    baton_snapshot_writer_destroy(writer);

    writer = writer_of(0, BATON_COMPRESS_RAW);
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), 0);
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), BATON_E_INVALID);
    baton_snapshot_writer_destroy(writer);

    writer = writer_of(0, BATON_COMPRESS_RAW);
    memset(info.service, 'x', sizeof(info.service)); /* no terminator */
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), BATON_E_INVALID);
    baton_snapshot_writer_destroy(writer);
}

static void more_than_bytes_max_is_too_large(void **state)
{
    (void)state;
    const baton_snapshot_options options = {
        .compress = BATON_COMPRESS_RAW, .chunk_bytes = 4096, .bytes_max = 8 * 4096};
    baton_snapshot_writer *writer = NULL;
    assert_int_equal(baton_snapshot_writer_create(&options, &writer), 0);
    fixture_pack(writer, 10000);
    baton_snapshot_info info = fixture_info(1, 1);
    assert_int_equal(baton_pack_error(writer), BATON_E_TOO_LARGE);
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), BATON_E_TOO_LARGE);
    baton_snapshot_writer_destroy(writer);

    for (uint32_t i = 0; i < 3; i++) {
        static const uint32_t sizes[] = {1024, 4097, 8u << 20};
        const baton_snapshot_options odd = {.chunk_bytes = sizes[i]};
        assert_int_equal(baton_snapshot_writer_create(&odd, &writer), BATON_E_INVALID);
    }
}

/* ---- the bytes ---- */

static void the_raw_stream_is_msgpack_as_others_read_it(void **state)
{
    (void)state;
    baton_snapshot_info info;
    const fixture_wish wish = {1, 1, BATON_COMPRESS_RAW, 4u << 20, 1000, 0};
    baton_snapshot_writer *writer = fixture_writer(&wish, &info);
    assert_int_equal(info.chunks_count, 1);
    const char *stream = (const char *)writer->slabs[0].bytes;
    msgpack_unpacked row;
    size_t at = 0;
    uint32_t rows = 0;
    msgpack_unpacked_init(&row);
    while (at < info.raw_bytes) {
        assert_int_equal(msgpack_unpack_next(&row, stream, info.raw_bytes, &at),
                         MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(row.data.type, MSGPACK_OBJECT_ARRAY);
        if (rows < 1000) {
            const msgpack_object *field = row.data.via.array.ptr;
            assert_int_equal(row.data.via.array.size, 4);
            assert_int_equal(field[0].via.u64, UINT64_C(1000000007) * rows);
            assert_true(field[1].via.i64 == 500 - (int64_t)rows);
            assert_int_equal(field[2].type, MSGPACK_OBJECT_STR);
            assert_int_equal(field[3].type, MSGPACK_OBJECT_BIN);
        }
        rows++;
    }
    assert_int_equal(rows, 1003);
    msgpack_unpacked_destroy(&row);
    baton_snapshot_writer_destroy(writer);
}

static void the_same_state_gives_the_same_root(void **state)
{
    (void)state;
    baton_snapshot_info first;
    baton_snapshot_info second;
    fixture_wish wish = {5, 2, BATON_COMPRESS_LZ4, 8192, 3000, 0};
    baton_snapshot_writer_destroy(fixture_writer(&wish, &first));
    baton_snapshot_writer_destroy(fixture_writer(&wish, &second));
    assert_true(baton_digest_equal(first.root, second.root));
    wish.rows++;
    baton_snapshot_writer_destroy(fixture_writer(&wish, &second));
    assert_false(baton_digest_equal(first.root, second.root));
}

static int give_piece(void *context, const uint8_t **ret_bytes, uint64_t *ret_bytes_count)
{
    (void)context;
    static const uint8_t row[] = {0x92, 0x01, 0xa2, 0xc3, 0x28}; /* [1, a text that is no UTF-8] */
    *ret_bytes = row;
    *ret_bytes_count = sizeof(row);
    return 0;
}

/* Verifying reads no field: it must not call good what a restore then can not read. */
static void a_text_that_nobody_looks_at_must_be_utf8_too(void **state)
{
    (void)state;
    uint32_t fields_count = 0;
    baton_rows rows = {.more = give_piece};
    baton_rows_begin(&rows, 5, 1);
    assert_int_equal(baton_rows_next(&rows, &fields_count), 1);
    assert_int_equal(baton_rows_next(&rows, &fields_count), BATON_E_DAMAGED);
    assert_string_equal(rows.fault, "a text is not UTF-8");
    baton_rows_fini(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_that_nobody_looks_at_must_be_utf8_too),
        cmocka_unit_test_setup_teardown(every_kind_of_field_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_field_of_16_mib_comes_back_and_a_larger_one_is_refused,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(rows_over_many_chunks_come_back_from_both_codecs, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_empty_snapshot_is_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            unread_fields_are_skipped_and_another_kind_is_a_schema_error, set_up, tear_down),
        cmocka_unit_test(misuse_is_a_sticky_error),
        cmocka_unit_test(finishing_needs_a_whole_row_and_works_once),
        cmocka_unit_test(more_than_bytes_max_is_too_large),
        cmocka_unit_test(the_raw_stream_is_msgpack_as_others_read_it),
        cmocka_unit_test(the_same_state_gives_the_same_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
