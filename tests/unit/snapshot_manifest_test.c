/* tests/unit/snapshot_manifest_test.c: the manifest as bytes: what is accepted, and that nothing
 * else is. */
#include "tests/unit/snapshot_fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/writer.h"

#define PATH "some.manifest"

typedef struct {
    uint8_t *bytes;
    uint64_t count;
    baton_snapshot_info info;
} file;

/* Two sections over three chunks. */
static file file_make(void)
{
    baton_snapshot_info info;
    const fixture_wish wish = {0x1234, 7, BATON_COMPRESS_LZ4, 4096, 200, 0};
    baton_snapshot_writer *writer = fixture_writer(&wish, &info);
    assert_int_equal(info.chunks_count, 3);
    file made = {.count = writer->manifest_file_bytes, .info = info};
    made.bytes = malloc(made.count);
    assert_non_null(made.bytes);
    memcpy(made.bytes, writer->manifest_file, made.count);
    baton_snapshot_writer_destroy(writer);
    return made;
}

static int decode(const uint8_t *bytes, uint64_t count, baton_error *error)
{
    baton_snapshot_manifest manifest;
    int r = baton_snapshot_manifest_decode(bytes, count, PATH, &manifest, error);
    baton_snapshot_manifest_free(&manifest);
    return r;
}

static void what_is_written_comes_back(void **state)
{
    (void)state;
    file made = file_make();
    baton_snapshot_manifest manifest;
    assert_int_equal(baton_snapshot_manifest_decode(made.bytes, made.count, PATH, &manifest, NULL),
                     0);
    const baton_snapshot_info *info = &manifest.info;
    assert_string_equal(info->service, "matching-engine");
    assert_string_equal(info->version, "1.6.0");
    assert_string_equal(info->form, "portable");
    assert_int_equal(info->schema, 3);
    assert_int_equal(info->seq, 0x1234);
    assert_int_equal(info->epoch, 7);
    assert_int_equal(info->position_epoch, 7);
    assert_int_equal(info->position_batch, 77);
    assert_int_equal(info->position_seq, 0x1234);
    assert_int_equal(info->entry_time_ns, made.info.entry_time_ns);
    assert_int_equal(info->created_wall_ns, made.info.created_wall_ns);
    assert_int_equal(info->taken_ns, 123456);
    assert_int_equal(info->raw_bytes, made.info.raw_bytes);
    assert_int_equal(info->stored_bytes, made.info.stored_bytes);
    assert_true(baton_digest_equal(info->journal_id, made.info.journal_id));
    assert_true(baton_digest_equal(info->state_digest, made.info.state_digest));
    assert_true(baton_digest_equal(info->effect_digest, made.info.effect_digest));
    assert_true(baton_digest_equal(info->root, made.info.root));
    assert_int_equal(info->sections_count, 3);
    assert_string_equal(manifest.sections[0].name, "orders");
    assert_int_equal(manifest.sections[0].rows_count, 200);
    assert_int_equal(manifest.sections[1].first_byte, manifest.sections[0].bytes);
    baton_snapshot_manifest_free(&manifest);
    free(made.bytes);
}

static void every_flipped_bit_is_refused_with_file_and_offset(void **state)
{
    (void)state;
    file made = file_make();
    for (uint64_t i = 0; i < made.count * 8; i++) {
        baton_error error = {0};
        made.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(decode(made.bytes, made.count, &error), BATON_E_DAMAGED);
        assert_string_equal(error.path, PATH);
        assert_true(error.offset <= made.count);
        made.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    assert_int_equal(decode(made.bytes, made.count, NULL), 0);
    free(made.bytes);
}

static void every_other_length_is_refused(void **state)
{
    (void)state;
    file made = file_make();
    for (uint64_t count = 0; count < made.count; count++) {
        uint8_t *cut = malloc(count > 0 ? count : 1); /* exactly as long, for the sanitizer */
        assert_non_null(cut);
        memcpy(cut, made.bytes, count);
        assert_int_equal(decode(cut, count, NULL), BATON_E_DAMAGED);
        free(cut);
    }
    uint8_t *longer = calloc(1, made.count + 8);
    assert_non_null(longer);
    memcpy(longer, made.bytes, made.count);
    for (uint64_t more = 1; more <= 8; more++)
        assert_int_equal(decode(longer, made.count + more, NULL), BATON_E_DAMAGED);
    free(longer);
    free(made.bytes);
}

/* ---- with a root that fits ---- */

static void set_root(uint8_t *bytes, uint64_t count)
{
    baton_manifest_header header;
    baton_digest_stream stream;
    memcpy(&header, bytes, sizeof(header));
    baton_digest_init(&stream);
    baton_digest_update(&stream, &header, offsetof(baton_manifest_header, root));
    baton_digest_update(&stream, bytes + sizeof(header), count - sizeof(header));
    header.root = baton_digest_final(&stream);
    memcpy(bytes, &header, sizeof(header));
}

static void a_newer_format_is_named_and_so_are_unknown_flags(void **state)
{
    (void)state;
    file made = file_make();
    baton_manifest_header header;
    baton_error error = {0};
    memcpy(&header, made.bytes, sizeof(header));

    header.version = baton_le32_put(9); /* written by a newer one, readable by us */
    memcpy(made.bytes, &header, sizeof(header));
    set_root(made.bytes, made.count);
    assert_int_equal(decode(made.bytes, made.count, NULL), 0);

    header.min_reader = baton_le32_put(BATON_SNAPSHOT_VERSION + 1);
    memcpy(made.bytes, &header, sizeof(header));
    set_root(made.bytes, made.count);
    assert_int_equal(decode(made.bytes, made.count, &error), BATON_E_NEWER_FORMAT);
    assert_int_equal(error.offset, 12);

    header.min_reader = baton_le32_put(1);
    header.flags = baton_le64_put(UINT64_C(1) << 63);
    memcpy(made.bytes, &header, sizeof(header));
    set_root(made.bytes, made.count);
    assert_int_equal(decode(made.bytes, made.count, &error), BATON_E_UNKNOWN_TYPE);
    assert_int_equal(error.offset, 24);
    free(made.bytes);
}

/* ---- bodies that were never written: unpacked by msgpack-c, changed, packed again ---- */

typedef struct {
    msgpack_unpacked tree;
    file made;
} body;

static body body_open(void)
{
    body opened = {.made = file_make()};
    msgpack_unpacked_init(&opened.tree);
    size_t at = sizeof(baton_manifest_header);
    assert_int_equal(
        msgpack_unpack_next(&opened.tree, (const char *)opened.made.bytes, opened.made.count, &at),
        MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(at, opened.made.count);
    assert_int_equal(opened.tree.data.type, MSGPACK_OBJECT_MAP);
    assert_int_equal(opened.tree.data.via.map.size, BATON_MANIFEST_KEYS);
    return opened;
}

static msgpack_object_kv *body_pair(body *opened, const char *key)
{
    msgpack_object_map *map = &opened->tree.data.via.map;
    for (uint32_t i = 0; i < map->size; i++)
        if (map->ptr[i].key.via.str.size == strlen(key) &&
            memcmp(map->ptr[i].key.via.str.ptr, key, strlen(key)) == 0)
            return &map->ptr[i];
    fail_msg("no key %s", key);
    return NULL;
}

static msgpack_object *body_value(body *opened, const char *key)
{
    return &body_pair(opened, key)->val;
}

/* The field of an item of "sections" or "chunks". */
static msgpack_object *body_item(body *opened, const char *key, uint32_t item, uint32_t field)
{
    return &body_value(opened, key)->via.array.ptr[item].via.array.ptr[field];
}

/* Packs it, decodes that, and frees it all. */
static int body_decode(body *opened, baton_error *error)
{
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    baton_snapshot_manifest manifest;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    assert_int_equal(msgpack_pack_object(&packer, opened->tree.data), 0);
    uint8_t *exact = malloc(buffer.size);
    assert_non_null(exact);
    memcpy(exact, buffer.data, buffer.size);
    int r = baton_snapshot_manifest_decode_body(exact, buffer.size, PATH, &manifest, error);
    baton_snapshot_manifest_free(&manifest);
    free(exact);
    msgpack_sbuffer_destroy(&buffer);
    msgpack_unpacked_destroy(&opened->tree);
    free(opened->made.bytes);
    return r;
}

static void an_unchanged_body_packed_by_others_is_read(void **state)
{
    (void)state;
    body opened = body_open();
    assert_int_equal(body_decode(&opened, NULL), 0);
}

static void every_key_must_be_there_once_with_a_value_of_its_kind(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < BATON_MANIFEST_KEYS; i++) {
        body opened = body_open();
        msgpack_object_map *map = &opened.tree.data.via.map;
        map->ptr[i] = map->ptr[--map->size];
        assert_int_equal(body_decode(&opened, NULL), BATON_E_DAMAGED); /* gone */

        opened = body_open();
        map = &opened.tree.data.via.map;
        map->ptr[i] = map->ptr[(i + 1) % map->size];
        assert_int_equal(body_decode(&opened, NULL), BATON_E_DAMAGED); /* twice */

        opened = body_open();
        opened.tree.data.via.map.ptr[i].val =
            (msgpack_object){.type = MSGPACK_OBJECT_BOOLEAN, .via = {.boolean = true}};
        assert_int_equal(body_decode(&opened, NULL), BATON_E_DAMAGED);
    }
}

static void an_unknown_key_is_refused_and_an_ignorable_one_skipped(void **state)
{
    static msgpack_object_kv inner[2];
    static msgpack_object list[3];
    (void)state;
    const msgpack_object text = {.type = MSGPACK_OBJECT_STR,
                                 .via = {.str = {.size = 3, .ptr = "new"}}};
    const msgpack_object number = {.type = MSGPACK_OBJECT_NEGATIVE_INTEGER, .via = {.i64 = -7}};
    baton_error error = {0};
    for (uint32_t i = 0; i < 3; i++)
        list[i] = i == 1 ? number : (msgpack_object){.type = MSGPACK_OBJECT_NIL};
    inner[0] = (msgpack_object_kv){
        text, {.type = MSGPACK_OBJECT_ARRAY, .via = {.array = {.size = 3, .ptr = list}}}};
    inner[1] = (msgpack_object_kv){text, {.type = MSGPACK_OBJECT_FLOAT64, .via = {.f64 = 0.1}}};

    for (uint32_t known = 0; known < 2; known++) {
        body opened = body_open();
        msgpack_object_kv pairs[BATON_MANIFEST_KEYS + 1];
        memcpy(pairs, opened.tree.data.via.map.ptr, sizeof(pairs) - sizeof(pairs[0]));
        const msgpack_object key = {
            .type = MSGPACK_OBJECT_STR,
            .via = {.str = {.size = known ? 9 : 3, .ptr = known ? "ignorable" : "new"}}};
        pairs[BATON_MANIFEST_KEYS] =
            (msgpack_object_kv){key, {.type = MSGPACK_OBJECT_MAP, .via = {.map = {2, inner}}}};
        opened.tree.data.via.map.ptr = pairs;
        opened.tree.data.via.map.size++;
        assert_int_equal(body_decode(&opened, &error), known ? 0 : BATON_E_UNKNOWN_TYPE);
    }
    assert_string_equal(error.path, PATH);
}

static void another_form_is_refused(void **state)
{
    (void)state;
    body opened = body_open();
    body_value(&opened, "form")->via.str = (msgpack_object_str){5, "other"};
    assert_int_equal(body_decode(&opened, NULL), BATON_E_UNKNOWN_TYPE);
}

/* key[item][field] = value, or the plain value of key when field is UINT32_MAX. */
typedef struct {
    const char *key;
    uint32_t item;
    uint32_t field;
    uint64_t value;
} numbers_case;

static void numbers_that_do_not_fit_one_another_are_refused(void **state)
{
    static const uint32_t plain = UINT32_MAX;
    const numbers_case cases[] = {
        {"schema", 0, plain, UINT64_C(1) << 32},
        {"raw_bytes", 0, plain, 0},
        {"raw_bytes", 0, plain, UINT64_MAX},
        {"stored_bytes", 0, plain, 0},
        {"stored_bytes", 0, plain, UINT64_MAX},
        {"chunk_bytes", 0, plain, 0},
        {"chunk_bytes", 0, plain, 4095},
        {"chunk_bytes", 0, plain, 8192},
        {"chunk_bytes", 0, plain, UINT64_MAX},
        {"chunk_bytes", 0, plain, (UINT64_C(1) << 32) + 4096},
        {"sections", 0, 1, 1}, /* first byte */
        {"sections", 1, 1, 0},
        {"sections", 1, 1, UINT64_MAX},
        {"sections", 0, 2, UINT64_MAX}, /* bytes */
        {"sections", 0, 2, 0},
        {"sections", 0, 3, UINT64_MAX}, /* rows */
        {"sections", 0, 3, 0},
        {"sections", 2, 3, 1},
        {"chunks", 0, 0, 4096}, /* offset */
        {"chunks", 1, 0, 0},
        {"chunks", 2, 0, UINT64_MAX - 4095},
        {"chunks", 0, 1, 0}, /* stored bytes */
        {"chunks", 0, 1, 4096},
        {"chunks", 0, 1, UINT32_MAX},
        {"chunks", 0, 1, UINT64_C(1) << 32},
        {"chunks", 0, 2, 4095}, /* raw bytes */
        {"chunks", 2, 2, 4096},
        {"chunks", 1, 3, 2}, /* codec */
        {"chunks", 1, 3, 0}, /* raw, and shorter than its raw size */
    };
    (void)state;
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        body opened = body_open();
        msgpack_object *value = cases[i].field == plain ? body_value(&opened, cases[i].key)
                                                        : body_item(&opened, cases[i].key,
                                                                    cases[i].item, cases[i].field);
        assert_int_equal(value->type, MSGPACK_OBJECT_POSITIVE_INTEGER);
        value->via.u64 = cases[i].value;
        if (body_decode(&opened, NULL) != BATON_E_DAMAGED)
            fail_msg("%s[%" PRIu32 "][%" PRIu32 "] = %" PRIu64 " was not refused", cases[i].key,
                     cases[i].item, cases[i].field, cases[i].value);
    }
}

static void texts_that_could_mislead_are_refused(void **state)
{
    static const msgpack_object_str bad[] = {
        {3, "a\0b"},  {2, "\x1b["}, {1, "\x7f"},
        {2, "\xc3("}, {0, ""},      {48, "012345678901234567890123456789012345678901234567"}};
    (void)state;
    for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        body opened = body_open();
        body_value(&opened, "service")->via.str = bad[i];
        assert_int_equal(body_decode(&opened, NULL), BATON_E_DAMAGED);
        opened = body_open();
        body_item(&opened, "sections", 0, 0)->via.str = bad[i];
        assert_int_equal(body_decode(&opened, NULL), BATON_E_DAMAGED);
    }
    body opened = body_open();
    *body_item(&opened, "sections", 0, 0) = *body_item(&opened, "sections", 1, 0);
    assert_int_equal(body_decode(&opened, NULL), BATON_E_DAMAGED); /* one name twice */
}

static void a_length_is_not_believed_before_its_bytes_are_there(void **state)
{
    /* array 32 and map 32 of 2^32 - 1 items, str 32 of 2^32 - 1 bytes, as the value of the first
     * key */
    static const uint8_t bodies[][15] = {
        {0x81, 0xa6, 'c', 'h', 'u', 'n', 'k', 's', 0xdd, 0xff, 0xff, 0xff, 0xff},
        {0x81, 0xa8, 's', 'e', 'c', 't', 'i', 'o', 'n', 's', 0xdd, 0xff, 0xff, 0xff, 0xff},
        {0x81, 0xa4, 'f', 'o', 'r', 'm', 0xdb, 0xff, 0xff, 0xff, 0xff},
        {0x81, 0xa9, 'i', 'g', 'n', 'o', 'r', 'a', 'b', 'l', 'e', 0xdf, 0xff, 0xff, 0xff},
        {0xdf, 0xff, 0xff, 0xff, 0xff},
    };
    (void)state;
    for (uint32_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        baton_snapshot_manifest manifest;
        assert_int_equal(baton_snapshot_manifest_decode_body(bodies[i], sizeof(bodies[i]), PATH,
                                                             &manifest, NULL),
                         BATON_E_DAMAGED);
        assert_null(manifest.chunks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_comes_back),
        cmocka_unit_test(every_flipped_bit_is_refused_with_file_and_offset),
        cmocka_unit_test(every_other_length_is_refused),
        cmocka_unit_test(a_newer_format_is_named_and_so_are_unknown_flags),
        cmocka_unit_test(an_unchanged_body_packed_by_others_is_read),
        cmocka_unit_test(every_key_must_be_there_once_with_a_value_of_its_kind),
        cmocka_unit_test(an_unknown_key_is_refused_and_an_ignorable_one_skipped),
        cmocka_unit_test(another_form_is_refused),
        cmocka_unit_test(numbers_that_do_not_fit_one_another_are_refused),
        cmocka_unit_test(texts_that_could_mislead_are_refused),
        cmocka_unit_test(a_length_is_not_believed_before_its_bytes_are_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
