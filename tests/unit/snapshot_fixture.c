/* tests/unit/snapshot_fixture.c: see snapshot_fixture.h. */
#include "tests/unit/snapshot_fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNTS 3u

baton_io *fixture_io(baton_io_choice choice)
{
    baton_error error;
    char text[1024];
    baton_io *io = NULL;
    int r = baton_io_open(&(baton_io_options){.choice = choice}, &io, &error);
    if (r < 0)
        fail_msg("%s", baton_error_text(&error, text, sizeof(text)));
    return io;
}

baton_snapshot_info fixture_info(uint64_t seq, uint64_t epoch)
{
    return (baton_snapshot_info){
        .service = "matching-engine",
        .version = "1.6.0",
        .schema = 3,
        .seq = seq,
        .epoch = epoch,
        .journal_id = baton_digest_of("journal", 7),
        .position_epoch = epoch,
        .position_batch = 77,
        .position_seq = seq,
        .entry_time_ns = UINT64_C(1790000000000000000),
        .state_digest = baton_digest_of("state", 5),
        .effect_digest = baton_digest_of("effects", 7),
        .created_wall_ns = UINT64_C(1790000001000000000),
        .taken_ns = 123456,
    };
}

static void order_name(uint32_t row, char name[32])
{
    memset(name, 0, 32); /* more of it than its length is packed as bytes */
    snprintf(name, 32, "client-%08x-é", row * 2654435761u);
}

void fixture_pack(baton_snapshot_writer *writer, uint32_t rows)
{
    baton_pack_section(writer, "orders");
    for (uint32_t i = 0; i < rows; i++) {
        char name[32];
        order_name(i, name);
        baton_pack_row(writer, 4);
        baton_pack_uint(writer, UINT64_C(1000000007) * i);
        baton_pack_int(writer, (int64_t)rows / 2 - (int64_t)i);
        baton_pack_text(writer, name);
        baton_pack_bytes(writer, name, i % 29);
    }
    baton_pack_section(writer, "accounts");
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        baton_pack_row(writer, 1);
        baton_pack_uint(writer, UINT64_MAX - i);
    }
    baton_pack_section(writer, "empty");
}

static void pack_blobs(baton_snapshot_writer *writer, uint32_t mib)
{
    static uint8_t blob[1u << 20];
    baton_pack_section(writer, "blobs");
    for (uint32_t i = 0; i < mib; i++) {
        memset(blob, (int)i + 1, sizeof(blob));
        baton_pack_row(writer, 1);
        baton_pack_bytes(writer, blob, sizeof(blob));
    }
}

baton_snapshot_writer *fixture_writer(const fixture_wish *wish, baton_snapshot_info *ret_info)
{
    const baton_snapshot_options options = {.compress = wish->compress,
                                            .chunk_bytes = wish->chunk_bytes};
    baton_snapshot_writer *writer = NULL;
    assert_int_equal(baton_snapshot_writer_create(&options, &writer), 0);
    fixture_pack(writer, wish->rows);
    if (wish->blobs_mib > 0)
        pack_blobs(writer, wish->blobs_mib);
    *ret_info = fixture_info(wish->seq, wish->epoch);
    assert_int_equal(baton_snapshot_writer_finish(writer, ret_info), 0);
    return writer;
}

void fixture_publish(baton_io *io, const char *directory, const fixture_wish *wish)
{
    baton_snapshot_info info;
    baton_error error;
    char text[1024];
    baton_snapshot_writer *writer = fixture_writer(wish, &info);
    if (baton_snapshot_publish(io, directory, writer, &info, &error) < 0)
        fail_msg("%s", baton_error_text(&error, text, sizeof(text)));
}

baton_snapshot_listed fixture_listed(baton_io *io, const char *directory, uint64_t seq)
{
    baton_snapshot_listed *list = NULL;
    baton_snapshot_listed found = {.status = BATON_E_NOT_FOUND};
    uint32_t count = 0;
    assert_int_equal(baton_snapshot_list_with(io, directory, &list, &count, NULL), 0);
    for (uint32_t i = 0; i < count; i++)
        if (list[i].info.seq == seq)
            found = list[i];
    free(list);
    assert_int_equal(found.status, 0);
    return found;
}

static void check_order(baton_snapshot_reader *reader, uint32_t rows, uint32_t i)
{
    char name[32];
    uint32_t fields = 0;
    uint32_t bytes = 0;
    uint64_t number;
    int64_t difference;
    const char *text;
    const void *blob;
    order_name(i, name);
    assert_int_equal(baton_unpack_row(reader, &fields), 1);
    assert_int_equal(fields, 4);
    assert_int_equal(baton_unpack_uint(reader, &number), 0);
    assert_int_equal(number, UINT64_C(1000000007) * i);
    assert_int_equal(baton_unpack_int(reader, &difference), 0);
    assert_int_equal(difference, (int64_t)rows / 2 - (int64_t)i);
    assert_int_equal(baton_unpack_text(reader, &text, &bytes), 0);
    assert_int_equal(bytes, strlen(name));
    const char *kept = text;
    assert_int_equal(baton_unpack_bytes(reader, &blob, &bytes), 0);
    assert_int_equal(bytes, i % 29);
    assert_memory_equal(blob, name, bytes);
    assert_memory_equal(kept, name, strlen(name)); /* valid until the next row */
}

void fixture_check(baton_snapshot_reader *reader, uint32_t rows)
{
    uint32_t fields = 0;
    uint64_t number;
    assert_int_equal(baton_unpack_section(reader, "orders"), 0);
    for (uint32_t i = 0; i < rows; i++)
        check_order(reader, rows, i);
    assert_int_equal(baton_unpack_row(reader, &fields), 0);

    assert_int_equal(baton_unpack_section(reader, "accounts"), 0);
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        assert_int_equal(baton_unpack_row(reader, &fields), 1);
        assert_int_equal(fields, 1);
        assert_int_equal(baton_unpack_uint(reader, &number), 0);
        assert_int_equal(number, UINT64_MAX - i);
    }
    assert_int_equal(baton_unpack_row(reader, &fields), 0);
    assert_int_equal(baton_unpack_section(reader, "empty"), 0);
    assert_int_equal(baton_unpack_row(reader, &fields), 0);
}

baton_io *fixture_fault_io(io_fault *fault, uint32_t ops_max)
{
    baton_io *io = NULL;
    const baton_io_options options = {
        .custom = io_fault_backend(), .custom_context = fault, .ops_max = ops_max};
    assert_int_equal(baton_io_open(&options, &io, NULL), 0);
    return io;
}

uint32_t fixture_whole(baton_io *io, const char *directory)
{
    baton_snapshot_listed *list = NULL;
    baton_error error = {0};
    char text[1024];
    uint32_t count = 0;
    assert_int_equal(baton_snapshot_list_with(io, directory, &list, &count, NULL), 0);
    for (uint32_t i = 0; i < count; i++)
        if (baton_snapshot_verify_with(io, directory, &list[i], &error) < 0)
            fail_msg("%s", baton_error_text(&error, text, sizeof(text)));
    free(list);
    return count;
}

uint8_t *fixture_read(const char *path, size_t *ret_bytes)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("can not open %s", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const size_t size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(size > 0 ? size : 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, size, file), size);
    fclose(file);
    *ret_bytes = size;
    return bytes;
}

void fixture_write(const char *path, const void *bytes, size_t bytes_count)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        fail_msg("can not write %s", path);
    assert_int_equal(fwrite(bytes, 1, bytes_count, file), bytes_count);
    assert_int_equal(fclose(file), 0);
}

uint32_t fixture_files(const char *directory)
{
    uint32_t count = 0;
    DIR *open = opendir(directory);
    assert_non_null(open);
    for (struct dirent *entry = readdir(open); entry != NULL; entry = readdir(open))
        count += entry->d_name[0] != '.';
    closedir(open);
    return count;
}
