/* tests/unit/snapshot_image_chain_test.c: images that add to one another: what prune leaves, and
 * what a manifest of one may say. */
#include "tests/unit/snapshot_image_fixture.h"
#include "tests/unit/snapshot_place.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/chain.h"
#include "snapshot/export.h"

#define MIB (UINT64_C(1) << 20)

static image_region region;

static const CMFixtureFunction set_up = place_make, tear_down = place_remove;

/* Generations first .. first + count - 1, every full_every-th of them full. */
static void take_generations_from(uint64_t first, uint32_t count, uint32_t full_every,
                                  uint8_t **ret_copies)
{
    image_region_make(&region, 2 * MIB, REGION_PRIVATE, 11);
    baton_image_source *source = image_source(&region, image_tracker(), full_every);
    for (uint32_t i = 0; i < count; i++) {
        const baton_image_options options = image_wish(dir.path, first + i);
        image_scribble(&region, 20, region.pages);
        ret_copies[i] = image_copy(&region, region.bytes);
        image_take(io, source, &options, region.bytes, NULL);
    }
    baton_image_source_close(source);
}

static void take_generations(uint32_t count, uint32_t full_every, uint8_t **ret_copies)
{
    take_generations_from(1, count, full_every, ret_copies);
}

static uint32_t list_bits(void)
{
    baton_snapshot_listed *list = NULL;
    uint32_t count;
    uint32_t bits = 0;
    assert_int_equal(baton_snapshot_list_with(io, dir.path, &list, &count, NULL), 0);
    for (uint32_t i = 0; i < count; i++)
        bits |= 1u << list[i].info.seq;
    free(list);
    return bits;
}

#define SEQ(n) (1u << (n))

static void prune_keeps_what_the_newest_need_and_a_second_chain(void **state)
{
    uint8_t *copies[8];
    uint32_t removed;
    (void)state;
    take_generations(8, 3, copies); /* 1: 2 3, 4: 5 6, 7: 8 */
    assert_int_equal(baton_snapshot_prune_with(io, dir.path, 2, &removed, NULL), 0);
    assert_int_equal(list_bits(), SEQ(8) | SEQ(7) | SEQ(6) | SEQ(5) | SEQ(4));
    assert_int_equal(removed, 3);
    assert_int_equal(baton_snapshot_prune_with(io, dir.path, 2, &removed, NULL), 0);
    assert_int_equal(removed, 0);
    image_check(io, dir.path, 8, &region, copies[7], region.bytes);
    image_check(io, dir.path, 6, &region, copies[5], region.bytes);
    image_check(io, dir.path, 5, &region, copies[4], region.bytes);
    for (uint32_t i = 0; i < 8; i++)
        free(copies[i]);
    image_region_free(&region);
}

static void a_pinned_increment_keeps_what_it_adds_to(void **state)
{
    uint8_t *copies[8];
    uint32_t removed;
    (void)state;
    take_generations(8, 3, copies); /* 1: 2 3, 4: 5 6, 7: 8 */
    assert_int_equal(baton_snapshot_pin(dir.path, 2, 1, NULL), 0);
    assert_int_equal(baton_snapshot_prune_with(io, dir.path, 2, &removed, NULL), 0);
    assert_int_equal(list_bits(), SEQ(8) | SEQ(7) | SEQ(6) | SEQ(5) | SEQ(4) | SEQ(2) | SEQ(1));
    image_check(io, dir.path, 2, &region, copies[1], region.bytes);
    assert_int_equal(baton_snapshot_unpin(dir.path, 2, 1, NULL), 0);
    assert_int_equal(baton_snapshot_prune_with(io, dir.path, 2, &removed, NULL), 0);
    assert_int_equal(removed, 2);
    for (uint32_t i = 0; i < 8; i++)
        free(copies[i]);
    image_region_free(&region);
}

static void a_full_image_travels_and_an_increment_does_not(void **state)
{
    static const baton_compress kinds[] = {BATON_COMPRESS_RAW, BATON_COMPRESS_LZ4};
    uint8_t *copies[2];
    (void)state;
    take_generations(2, 8, copies);
    char *file = strdup(test_path(&dir, "file"));
    char *into = strdup(test_path(&dir, "into"));
    const baton_snapshot_listed full = fixture_listed(io, dir.path, 1);
    const baton_snapshot_listed more = fixture_listed(io, dir.path, 2);
    baton_snapshot_info info;
    baton_error error = {0};
    uint64_t bytes;
    for (uint32_t i = 0; i < 2; i++) {
        const baton_snapshot_transfer transfer = {.compress = kinds[i]};
        assert_int_equal(
            baton_snapshot_export_with(io, dir.path, &full, file, &transfer, &bytes, NULL), 0);
        assert_int_equal(baton_snapshot_import_with(io, file, into, NULL, &info, NULL), 0);
        assert_true(baton_digest_equal(info.root, full.info.root));
        image_check(io, into, 1, &region, copies[0], region.bytes);
        assert_int_equal(baton_snapshot_remove(io, into, 1, 1), 0);
        assert_int_equal(remove(file), 0);
    }
    assert_int_equal(baton_snapshot_export_with(io, dir.path, &more, file, NULL, &bytes, &error),
                     BATON_E_INVALID);
    assert_non_null(strstr(error.why, "adds to another one"));
    for (uint32_t i = 0; i < 2; i++)
        free(copies[i]);
    free(file);
    free(into);
    image_region_free(&region);
}

static void one_chain_alone_stays_whole(void **state)
{
    uint8_t *copies[4];
    uint32_t removed;
    (void)state;
    take_generations(4, 8, copies);
    assert_int_equal(baton_snapshot_prune_with(io, dir.path, 2, &removed, NULL), 0);
    assert_int_equal(list_bits(), SEQ(4) | SEQ(3) | SEQ(2) | SEQ(1));
    for (uint32_t i = 0; i < 4; i++) {
        image_check(io, dir.path, i + 1, &region, copies[i], region.bytes);
        free(copies[i]);
    }
    image_region_free(&region);
}

static void a_chain_with_a_hole_is_not_counted_and_not_removed(void **state)
{
    uint8_t *copies[8];
    uint32_t removed;
    (void)state;
    take_generations(8, 3, copies);
    assert_int_equal(baton_snapshot_remove(io, dir.path, 4, 1), 0); /* 5 and 6 hang in the air */
    assert_int_equal(baton_snapshot_prune_with(io, dir.path, 2, &removed, NULL), 0);
    assert_int_equal(list_bits(), SEQ(8) | SEQ(7) | SEQ(6) | SEQ(5) | SEQ(3) | SEQ(2) | SEQ(1));
    for (uint32_t i = 0; i < 8; i++)
        free(copies[i]);
    image_region_free(&region);
}

static void portable_and_image_generations_stay_side_by_side(void **state)
{
    uint8_t *copies[3];
    uint32_t removed;
    (void)state;
    take_generations(3, 8, copies);
    for (uint64_t seq = 4; seq <= 5; seq++)
        fixture_publish(io, dir.path, &(fixture_wish){seq, 1, BATON_COMPRESS_RAW, 4096, 100, 0});
    assert_int_equal(baton_snapshot_prune_with(io, dir.path, 3, &removed, NULL), 0);
    assert_int_equal(list_bits(), SEQ(5) | SEQ(4) | SEQ(3) | SEQ(2) | SEQ(1));
    assert_int_equal(baton_snapshot_prune_with(io, dir.path, 2, &removed, NULL), 0);
    assert_int_equal(list_bits(), SEQ(5) | SEQ(4));
    for (uint32_t i = 0; i < 3; i++)
        free(copies[i]);
    image_region_free(&region);
}

/* To a build with another layout they are all that there is, and the journal before the second was
 * let go. */
static void beside_images_the_two_newest_whole_portable_ones_stay(void **state)
{
    uint8_t *copies[5];
    uint32_t removed;
    (void)state;
    for (uint64_t seq = 1; seq <= 4; seq++)
        fixture_publish(io, dir.path, &(fixture_wish){seq, 1, BATON_COMPRESS_RAW, 4096, 100, 0});
    take_generations_from(5, 5, 1, copies);
    assert_int_equal(truncate(test_path(&dir, "0000000000000003-0000000000000001.chunks"), 1), 0);
    assert_int_equal(baton_snapshot_prune_with(io, dir.path, 2, &removed, NULL), 0);
    assert_int_equal(list_bits(), SEQ(9) | SEQ(8) | SEQ(4) | SEQ(3) | SEQ(2));
    assert_int_equal(removed, 4);
    for (uint32_t i = 0; i < 5; i++)
        free(copies[i]);
    image_region_free(&region);
}

/* ---- the manifest ---- */

static baton_snapshot_manifest manifest_of(uint64_t seq)
{
    baton_snapshot_manifest manifest;
    const baton_snapshot_listed listed = fixture_listed(io, dir.path, seq);
    assert_int_equal(
        baton_snapshot_manifest_load(io, listed.manifest_path, seq, 1, &manifest, NULL), 0);
    return manifest;
}

static void an_images_manifest_says_all_and_asks_for_reader_2(void **state)
{
    uint8_t *copies[2];
    (void)state;
    take_generations(2, 8, copies);
    baton_snapshot_manifest full = manifest_of(1);
    baton_snapshot_manifest more = manifest_of(2);
    assert_string_equal(full.info.form, "image");
    assert_ptr_equal((void *)(uintptr_t)full.image.address, region.base);
    assert_int_equal(full.image.region_bytes, region.bytes);
    assert_int_equal(full.image.page_bytes, region.page_bytes);
    assert_true(full.image.rounds >= 2);
    assert_string_equal(full.image.taken_by, "live");
    assert_string_equal(full.image.taken_why, "");
    assert_true(baton_digest_is_zero(full.info.parent));
    assert_true(baton_digest_equal(more.info.parent, full.info.root));
    assert_true(baton_digest_equal(more.image.layout, full.image.layout));
    assert_true(more.info.raw_bytes <= 20 * (uint64_t)region.page_bytes);
    assert_true(more.info.taken_ns > 0);

    size_t count;
    uint8_t *bytes =
        fixture_read(test_path(&dir, "0000000000000001-0000000000000001.manifest"), &count);
    baton_manifest_header header;
    memcpy(&header, bytes, sizeof(header));
    assert_int_equal(baton_le32_get(header.version), 2);
    assert_int_equal(baton_le32_get(header.min_reader), 2);
    free(bytes);
    baton_snapshot_manifest_free(&full);
    baton_snapshot_manifest_free(&more);
    for (uint32_t i = 0; i < 2; i++)
        free(copies[i]);
    image_region_free(&region);
}

static void every_flipped_bit_and_every_other_length_of_it_is_refused(void **state)
{
    uint8_t *copies[2];
    size_t count;
    (void)state;
    take_generations(2, 8, copies);
    uint8_t *bytes =
        fixture_read(test_path(&dir, "0000000000000002-0000000000000001.manifest"), &count);
    for (size_t i = 0; i < 8 * count; i++) {
        baton_snapshot_manifest manifest;
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(baton_snapshot_manifest_decode(bytes, count, "x", &manifest, NULL),
                         BATON_E_DAMAGED);
        /* Below the digest: whatever it says must not be believed further than it is checked. */
        if (i >= 8 * sizeof(baton_manifest_header) &&
            baton_snapshot_manifest_decode_body(bytes + sizeof(baton_manifest_header),
                                                count - sizeof(baton_manifest_header), "x",
                                                &manifest, NULL) == 0)
            baton_snapshot_manifest_free(&manifest);
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t length = 0; length < count; length++) {
        baton_snapshot_manifest manifest;
        uint8_t *cut = malloc(length > 0 ? length : 1);
        assert_non_null(cut);
        memcpy(cut, bytes, length);
        assert_int_equal(baton_snapshot_manifest_decode(cut, length, "x", &manifest, NULL),
                         BATON_E_DAMAGED);
        free(cut);
    }
    free(bytes);
    for (uint32_t i = 0; i < 2; i++)
        free(copies[i]);
    image_region_free(&region);
}

typedef struct {
    const char *what;
    size_t at; /* in baton_snapshot_manifest */
    size_t bytes;
    uint64_t value;
} number_case;

#define NUMBER(member, value)                                                                      \
    {                                                                                              \
#member " = " #value, offsetof(baton_snapshot_manifest, member),                           \
            sizeof(((baton_snapshot_manifest *)0)->member), value                                  \
    }

static void numbers_that_do_not_fit_the_region_are_refused(void **state)
{
    static const number_case cases[] = {
        NUMBER(image.address, 0),
        NUMBER(image.address, 4097),
        NUMBER(image.address, UINT64_MAX - 4095),
        NUMBER(image.region_bytes, 0),
        NUMBER(image.region_bytes, 4096),
        NUMBER(image.region_bytes, 2 * MIB + 1),
        NUMBER(image.region_bytes, UINT64_MAX - 4095),
        NUMBER(image.page_bytes, 0),
        NUMBER(image.page_bytes, 512),
        NUMBER(image.page_bytes, 8192),
        NUMBER(image.page_bytes, 12288),
        NUMBER(image.page_bytes, 1u << 31),
        NUMBER(image.rounds, 0),
        NUMBER(image.rounds, 65),
        NUMBER(info.raw_bytes, 4096),
        NUMBER(info.stored_bytes, 4096),
        NUMBER(info.sections_count, 1),
        NUMBER(chunk_bytes, 4096),
        NUMBER(pages_count, 1),
    };
    uint8_t *copies[2];
    (void)state;
    take_generations(2, 8, copies);
    baton_snapshot_manifest manifest = manifest_of(1);
    assert_null(baton_snapshot_manifest_fault(&manifest));
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t before = 0;
        uint8_t *member = (uint8_t *)&manifest + cases[i].at;
        memcpy(&before, member, cases[i].bytes); /* little-endian: a low part is a smaller number */
        memcpy(member, &cases[i].value, cases[i].bytes);
        if (baton_snapshot_manifest_fault(&manifest) == NULL)
            fail_msg("%s was not refused", cases[i].what);
        memcpy(member, &before, cases[i].bytes);
    }
    baton_page_run *runs = manifest.runs;
    const baton_page_run first = runs[0];
    const baton_page_run bad[] = {{0, 0}, {0, first.pages_count + 1}, {UINT32_MAX, 256}, {1, 256}};
    for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        runs[0] = bad[i];
        if (baton_snapshot_manifest_fault(&manifest) == NULL)
            fail_msg("run %" PRIu32 " was not refused", i);
    }
    runs[0] = first;
    manifest.pages[0].round = 1; /* before a chunk of round 0 */
    assert_non_null(baton_snapshot_manifest_fault(&manifest));
    manifest.pages[0].round = 0;
    manifest.pages[manifest.pages_count - 1].round = manifest.image.rounds;
    assert_non_null(baton_snapshot_manifest_fault(&manifest));
    manifest.pages[manifest.pages_count - 1].round = manifest.image.rounds - 1;
    assert_null(baton_snapshot_manifest_fault(&manifest));
    snprintf(manifest.image.taken_by, sizeof(manifest.image.taken_by), "magic");
    assert_non_null(baton_snapshot_manifest_fault(&manifest));
    baton_snapshot_manifest_free(&manifest);
    for (uint32_t i = 0; i < 2; i++)
        free(copies[i]);
    image_region_free(&region);
}

static void the_format_page_names_every_key(void **state)
{
    char path[TEST_PATH_BYTES];
    char key[64];
    size_t count;
    (void)state;
    const char *source = getenv("BATON_SOURCE");
    if (source == NULL)
        skip();
    snprintf(path, sizeof(path), "%s/docs/format/snapshot.md", source);
    char *page = (char *)fixture_read(path, &count);
    for (uint32_t i = 0; i < BATON_MANIFEST_ALL_KEYS; i++) {
        snprintf(key, sizeof(key), "`%s`", baton_manifest_keys[i].name);
        if (memmem(page, count, key, strlen(key)) == NULL)
            fail_msg("docs/format/snapshot.md does not have %s", key);
    }
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(prune_keeps_what_the_newest_need_and_a_second_chain, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_pinned_increment_keeps_what_it_adds_to, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_full_image_travels_and_an_increment_does_not, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_chain_alone_stays_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_chain_with_a_hole_is_not_counted_and_not_removed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(portable_and_image_generations_stay_side_by_side, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(beside_images_the_two_newest_whole_portable_ones_stay,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_images_manifest_says_all_and_asks_for_reader_2, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(every_flipped_bit_and_every_other_length_of_it_is_refused,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_that_do_not_fit_the_region_are_refused, set_up,
                                        tear_down),
        cmocka_unit_test(the_format_page_names_every_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
