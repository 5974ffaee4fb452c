/* tests/independent/snapshot_rows.c: what this library reads out of snapshots, for
 * snapshot_read_test.py, which holds a second implementation (tools/snapshot_read.py) against it.
 *
 *     snapshot_rows DIR                   each snapshot's verdict and rows, as the other one prints them
 *     snapshot_rows --make DIR SEED N     N snapshots of random rows
 *     snapshot_rows --shapes DIR          one snapshot of each shape: tests/golden/snapshot-v1-shapes */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/io.h"
#include "snapshot/store.h"

#define VALUE_BYTES_MAX 70000u

static uint64_t random_state;

static uint32_t below(uint32_t limit) /* splitmix64 */
{
    uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) % limit);
}

/* ---- printing ---- */

static void print_hex(char kind, const void *bytes, uint32_t count)
{
    const uint8_t *at = bytes;
    printf("\t%c", kind);
    for (uint32_t i = 0; i < count; i++)
        printf("%02x", at[i]);
}

static int print_field(baton_snapshot_reader *reader)
{
    baton_value field;
    int r = baton_unpack_value(reader, &field);
    if (r < 0)
        return r;
    switch (field.kind) {
    case BATON_VALUE_UINT:
        printf("\tu%" PRIu64, field.number);
        break;
    case BATON_VALUE_INT:
        printf("\ti%" PRId64, field.negative);
        break;
    case BATON_VALUE_TEXT:
        print_hex('t', field.bytes, field.bytes_count);
        break;
    case BATON_VALUE_BYTES:
        print_hex('b', field.bytes, field.bytes_count);
        break;
    }
    return 0;
}

static int print_rows(baton_snapshot_reader *reader)
{
    const char *name;
    for (uint32_t i = 0; (name = baton_snapshot_reader_section_name(reader, i)) != NULL; i++) {
        uint32_t fields;
        int r = baton_unpack_section(reader, name);
        while (r == 0 && (r = baton_unpack_row(reader, &fields)) == 1) {
            printf("%s", name);
            for (r = 0; r == 0 && fields > 0; fields--)
                r = print_field(reader);
            printf("\n");
        }
        if (r < 0)
            return r;
    }
    return 0;
}

static void print_one(baton_io *io, const char *directory, const baton_snapshot_listed *listed)
{
    baton_snapshot_reader *reader = NULL;
    baton_error error = {0};
    int r = listed->status;
    if (r == 0)
        r = baton_snapshot_verify_with(io, directory, listed, &error);
    printf("snapshot %" PRIu64 " %" PRIu64 " %s\n", listed->info.seq, listed->info.epoch,
           baton_status_name(r));
    if (r < 0)
        return;
    r = baton_snapshot_reader_open(io, directory, listed, &reader, &error);
    if (r == 0)
        r = print_rows(reader);
    baton_snapshot_reader_close(reader);
    baton_assert(r == 0); /* it was verified */
}

static int print_all(baton_io *io, const char *directory)
{
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    if (baton_snapshot_list_with(io, directory, &list, &count, NULL) < 0)
        return 1;
    for (uint32_t i = 0; i < count; i++)
        print_one(io, directory, &list[i]);
    free(list);
    return 0;
}

/* ---- making ---- */

static baton_snapshot_writer *writer_new(baton_compress compress, uint32_t chunk_bytes)
{
    const baton_snapshot_options options = {.compress = compress, .chunk_bytes = chunk_bytes};
    baton_snapshot_writer *writer = NULL;
    const int r = baton_snapshot_writer_create(&options, &writer);
    baton_assert(r == 0);
    return writer;
}

static int publish(baton_io *io, const char *directory, baton_snapshot_writer *writer, uint64_t seq)
{
    baton_snapshot_info info = {.service = "golden",
                                .version = "1.0",
                                .schema = (uint32_t)seq % 3 + 1,
                                .seq = seq,
                                .epoch = seq / 4 + 1,
                                .journal_id = baton_digest_of("journal", 7),
                                .state_digest = baton_digest_of("state", 5),
                                .created_wall_ns = UINT64_C(1790000001000000000),
                                .taken_ns = seq * 1000};
    if (seq % 2 == 0) /* else there was no evidence: all 0 */
        info.position_epoch = info.position_batch = info.position_seq = seq;
    int r = baton_snapshot_writer_finish(writer, &info);
    baton_assert(r == 0);
    return baton_snapshot_publish(io, directory, writer, &info, NULL);
}

static void pack_text(baton_snapshot_writer *writer, uint32_t count, char letter)
{
    static char text[VALUE_BYTES_MAX + 1];
    memset(text, letter, count);
    text[count] = '\0';
    baton_pack_text(writer, text);
}

static void pack_random(baton_snapshot_writer *writer, uint32_t count)
{
    static uint8_t bytes[VALUE_BYTES_MAX];
    for (uint32_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)below(256);
    baton_pack_bytes(writer, bytes, count);
}

static void pack_random_field(baton_snapshot_writer *writer)
{
    const uint32_t bits = below(64);
    const uint64_t number = (uint64_t)below(1u << 31) << 33 | (uint64_t)below(1u << 31) << 2;
    switch (below(5)) {
    case 0:
        baton_pack_uint(writer, number >> bits);
        break;
    case 1:
        baton_pack_int(writer, -(int64_t)(number >> 1 >> bits));
        break;
    case 2:
        pack_text(writer, below(below(20) == 0 ? 3000 : 40), (char)('a' + below(26)));
        break;
    case 3:
        pack_random(writer, below(below(20) == 0 ? 3000 : 40));
        break;
    default:
        baton_pack_text(writer, "Zürich, 東京, 🏦");
        break;
    }
}

static int make_random(baton_io *io, const char *directory, uint64_t seed, uint64_t count)
{
    static const baton_compress compress[] = {BATON_COMPRESS_RAW, BATON_COMPRESS_LZ4};
    random_state = seed;
    int r = 0;
    for (uint64_t seq = 1; r == 0 && seq <= count; seq++) {
        baton_snapshot_writer *writer = writer_new(compress[below(2)], 4096 * (1 + below(4)));
        const uint32_t sections = below(4);
        for (uint32_t i = 0; i < sections; i++) {
            char name[8] = {(char)('a' + i), '.', (char)('0' + below(10)), '\0'};
            baton_pack_section(writer, name);
            for (uint32_t rows = below(below(3) == 0 ? 120 : 12); rows > 0; rows--) {
                uint32_t fields = 1 + below(below(30) == 0 ? 256 : 6);
                baton_pack_row(writer, fields);
                while (fields-- > 0)
                    pack_random_field(writer);
            }
        }
        r = publish(io, directory, writer, seq);
    }
    return r < 0;
}

/* ---- one of each shape ---- */

static void shape_no_section(baton_snapshot_writer *writer)
{
    (void)writer;
}

static void shape_empty_sections(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "first");
    baton_pack_section(writer, "a-name.of_forty-seven.bytes-which-is-the-longes");
}

static void shape_numbers(baton_snapshot_writer *writer)
{
    static const uint64_t edges[] = {
        0, 1, 127, 128, 255, 256, 0xffff, 0x10000u, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX};
    static const int64_t below_zero[] = {
        -1, -32, -33, -128, -129, -32768, INT32_MIN, INT32_MIN - 1LL, INT64_MIN};
    baton_pack_section(writer, "numbers");
    baton_pack_row(writer, 12);
    for (uint32_t i = 0; i < 12; i++)
        baton_pack_uint(writer, edges[i]);
    baton_pack_row(writer, 11);
    for (uint32_t i = 0; i < 11; i++)
        baton_pack_int(writer, (int64_t)edges[i]);
    baton_pack_row(writer, 9);
    for (uint32_t i = 0; i < 9; i++)
        baton_pack_int(writer, below_zero[i]);
}

static void shape_lengths(baton_snapshot_writer *writer)
{
    static const uint32_t lengths[] = {0, 1, 31, 32, 255, 256, 65535, 65536};
    static const uint8_t same[65536] = {0};
    baton_pack_section(writer, "texts");
    for (uint32_t i = 0; i < 8; i++) {
        baton_pack_row(writer, 1);
        pack_text(writer, lengths[i], 'x');
    }
    baton_pack_section(writer, "bins");
    for (uint32_t i = 0; i < 8; i++) {
        baton_pack_row(writer, 1);
        baton_pack_bytes(writer, same, lengths[i]);
    }
    baton_pack_section(writer, "utf-8");
    baton_pack_row(writer, 4);
    baton_pack_text(writer, "\x7f");
    baton_pack_text(writer, "\xc2\x80\xdf\xbf");
    baton_pack_text(writer, "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf");
    baton_pack_text(writer, "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf");
}

static void shape_wide_rows(baton_snapshot_writer *writer)
{
    static const uint32_t widths[] = {1, 15, 16, 255, 256};
    baton_pack_section(writer, "wide");
    for (uint32_t i = 0; i < 5; i++) {
        baton_pack_row(writer, widths[i]);
        for (uint32_t field = 0; field < widths[i]; field++)
            baton_pack_uint(writer, field);
    }
}

/* With LZ4: a chunk that packs, one that does not and is raw, one of a few bytes. */
static void shape_mixed_chunks(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "packs");
    baton_pack_row(writer, 1);
    pack_text(writer, 4090, 'y'); /* with the headers 4,094 bytes: the next row spans two chunks */
    baton_pack_section(writer, "does-not");
    baton_pack_row(writer, 2);
    pack_random(writer, 4096);
    baton_pack_uint(writer, UINT64_MAX);
}

/* The raw stream ends with its chunk, and one byte behind it. */
static void shape_full_chunk(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "full");
    baton_pack_row(writer, 1);
    pack_text(writer, 4092, 'z');
}

static void shape_one_byte_more(baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "more");
    baton_pack_row(writer, 1);
    pack_text(writer, 4093, 'z');
}

static const struct {
    baton_compress compress;
    uint32_t chunk_bytes;
    void (*pack)(baton_snapshot_writer *writer);
} shapes[] = {
    {BATON_COMPRESS_RAW, 4096, shape_no_section},
    {BATON_COMPRESS_RAW, 4u << 20, shape_empty_sections},
    {BATON_COMPRESS_RAW, 4096, shape_numbers},
    {BATON_COMPRESS_LZ4, 65536, shape_lengths},
    {BATON_COMPRESS_RAW, 4096, shape_wide_rows},
    {BATON_COMPRESS_LZ4, 4096, shape_mixed_chunks},
    {BATON_COMPRESS_RAW, 4096, shape_full_chunk},
    {BATON_COMPRESS_RAW, 4096, shape_one_byte_more},
    {BATON_COMPRESS_LZ4, 4096, shape_wide_rows},
};

static int make_shapes(baton_io *io, const char *directory)
{
    int r = 0;
    random_state = 1;
    for (uint32_t i = 0; r == 0 && i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        baton_snapshot_writer *writer = writer_new(shapes[i].compress, shapes[i].chunk_bytes);
        shapes[i].pack(writer);
        r = publish(io, directory, writer, i + 1);
    }
    return r < 0;
}

int main(int argc, char **argv)
{
    baton_io *io = NULL;
    int code = 2;
    if (baton_io_open(&(baton_io_options){.choice = BATON_IO_THREADS}, &io, NULL) < 0)
        return 1;
    if (argc == 2)
        code = print_all(io, argv[1]);
    else if (argc == 3 && strcmp(argv[1], "--shapes") == 0)
        code = make_shapes(io, argv[2]);
    else if (argc == 5 && strcmp(argv[1], "--make") == 0)
        code = make_random(io, argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
    baton_io_close(io);
    return code;
}
