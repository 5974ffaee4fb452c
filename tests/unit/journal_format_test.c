/* Format v1 from its bytes alone: what a decoder takes, and that it takes nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/io.h"
#include "journal/records.h"

typedef struct {
    uint8_t bytes[3 * BATON_IO_UNIT] __attribute__((aligned(16)));
} batch_units;

#define BATCH(units) ((baton_batch_header *)(void *)(units)->bytes)

/* ---- names ---- */

static void segment_names_go_back_and_forth(void **state)
{
    const uint64_t numbers[] = {1, 2, 0xdeadbeef, UINT64_C(1) << 32, UINT64_MAX};
    (void)state;

    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < 5; j++) {
            char name[BATON_SEGMENT_NAME_BYTES];
            uint64_t epoch, index;
            baton_segment_name(numbers[i], numbers[j], name);
            assert_int_equal(strlen(name), 37);
            assert_true(baton_segment_name_parse(name, &epoch, &index));
            assert_int_equal(epoch, numbers[i]);
            assert_int_equal(index, numbers[j]);
        }
    }
    char name[BATON_SEGMENT_NAME_BYTES];
    baton_segment_name(0x2a, 7, name);
    assert_string_equal(name, "000000000000002a-0000000000000007.seg");
}

static void other_names_are_no_segments(void **state)
{
    const char *names[] = {"",
                           "LOCK",
                           "000000000000002a-0000000000000007",
                           "000000000000002a-0000000000000007.se",
                           "000000000000002a-0000000000000007.segx",
                           "000000000000002a-000000000000007.seg",
                           "000000000000002A-0000000000000007.seg",
                           "000000000000002a_0000000000000007.seg",
                           "000000000000002g-0000000000000007.seg",
                           "0000000000000000-0000000000000007.seg",
                           "000000000000002a-0000000000000000.seg",
                           "./00000000000002a-000000000000007.seg"};
    (void)state;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        uint64_t epoch, index;
        assert_false(baton_segment_name_parse(names[i], &epoch, &index));
    }
}

/* ---- segment header and trailer ---- */

static baton_segment_header good_header(void)
{
    baton_segment_header header = {
        .version = baton_le32_put(1),
        .journal_id = {1},
        .epoch = baton_le64_put(3),
        .index = baton_le64_put(9),
        .segment_bytes = baton_le64_put(1 << 20),
        .first_batch = baton_le64_put(6),
        .first_seq = baton_le64_put(21),
        .continues = baton_position_put((baton_position){.epoch = 2, .batch = 5, .seq = 20}),
        .continues_digest = {7},
        .continues_index = baton_le64_put(8),
        .continues_offset = baton_le64_put(8192),
        .service = "matching-engine",
    };
    memcpy(header.magic, BATON_SEGMENT_MAGIC, 8);
    baton_segment_header_seal(&header);
    return header;
}

static void assert_header(baton_segment_header header, baton_unit_verdict verdict)
{
    baton_segment_header_seal(&header);
    assert_int_equal(baton_segment_header_check(&header), verdict);
}

static void every_flipped_byte_of_a_header_is_seen(void **state)
{
    baton_segment_header header = good_header();
    uint8_t *bytes = (uint8_t *)&header;
    (void)state;

    assert_int_equal(baton_segment_header_check(&header), BATON_UNIT_VALID);
    for (size_t i = 0; i < sizeof(header); i++) {
        bytes[i] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(baton_segment_header_check(&header), BATON_UNIT_INVALID);
        bytes[i] ^= (uint8_t)(1u << i % 8);
    }
}

static void header_is_zero_newer_or_out_of_range(void **state)
{
    baton_segment_header header = {0};
    (void)state;

    assert_int_equal(baton_segment_header_check(&header), BATON_UNIT_ZERO);
#define WITH(field, value, verdict)                                                                \
    do {                                                                                           \
        header = good_header();                                                                    \
        header.field = value;                                                                      \
        assert_header(header, verdict);                                                            \
    } while (0)
    WITH(version, baton_le32_put(2), BATON_UNIT_NEWER);
    WITH(version, baton_le32_put(0), BATON_UNIT_INVALID);
    WITH(flags, baton_le32_put(8), BATON_UNIT_NEWER);
    WITH(flags, baton_le32_put(BATON_SEGMENT_FLAGS_KNOWN), BATON_UNIT_VALID);
    WITH(epoch, baton_le64_put(0), BATON_UNIT_INVALID);
    WITH(epoch, baton_le64_put(1), BATON_UNIT_INVALID); /* continues a later one */
    WITH(index, baton_le64_put(0), BATON_UNIT_INVALID);
    WITH(index, baton_le64_put(8), BATON_UNIT_INVALID); /* continues itself */
    WITH(segment_bytes, baton_le64_put(1 << 20 | 1), BATON_UNIT_INVALID);
    WITH(segment_bytes, baton_le64_put(8192), BATON_UNIT_INVALID);
    WITH(first_batch, baton_le64_put(7), BATON_UNIT_INVALID);
    WITH(first_seq, baton_le64_put(20), BATON_UNIT_INVALID);
    WITH(continues_offset, baton_le64_put(4096), BATON_UNIT_INVALID);
    WITH(continues_offset, baton_le64_put(8193), BATON_UNIT_INVALID);
    WITH(continues_index, baton_le64_put(0), BATON_UNIT_INVALID);
    WITH(roots_count, baton_le32_put(65), BATON_UNIT_INVALID);
    WITH(roots_count, baton_le32_put(UINT32_MAX), BATON_UNIT_INVALID);
    WITH(roots[0].root[3], 1, BATON_UNIT_INVALID); /* not counted, not zero */
    WITH(zero[2287], 1, BATON_UNIT_INVALID);
    WITH(handover.zero[0], 1, BATON_UNIT_INVALID);
    WITH(journal_id[0], 0, BATON_UNIT_INVALID);
    WITH(service[31], 'x', BATON_UNIT_INVALID); /* bytes behind the name's end */
#undef WITH
    header = good_header();
    memset(header.service, 'x', sizeof(header.service));
    assert_header(header, BATON_UNIT_INVALID);
}

static void header_of_a_beginning_continues_nothing(void **state)
{
    baton_segment_header header = good_header();
    (void)state;

    header.first_batch = baton_le64_put(1);
    header.first_seq = baton_le64_put(1);
    header.continues = (baton_position_wire){0};
    header.continues_index = header.continues_offset = baton_le64_put(0);
    assert_header(header, BATON_UNIT_INVALID); /* a digest of nothing */
    memset(header.continues_digest, 0, 16);
    assert_header(header, BATON_UNIT_VALID);
}

static void every_flipped_byte_of_a_trailer_is_seen(void **state)
{
    baton_segment_trailer trailer = {
        .version = baton_le32_put(1), .epoch = baton_le64_put(1), .index = baton_le64_put(1)};
    uint8_t *bytes = (uint8_t *)&trailer;
    (void)state;

    const baton_segment_trailer zero = {.version = baton_le32_put(0)};
    assert_int_equal(baton_segment_trailer_check(&zero), BATON_UNIT_ZERO);
    memcpy(trailer.magic, BATON_TRAILER_MAGIC, 8);
    baton_segment_trailer_seal(&trailer);
    assert_int_equal(baton_segment_trailer_check(&trailer), BATON_UNIT_VALID);
    for (size_t i = 0; i < sizeof(trailer); i++) {
        bytes[i] ^= 0x10;
        assert_int_equal(baton_segment_trailer_check(&trailer), BATON_UNIT_INVALID);
        bytes[i] ^= 0x10;
    }
    trailer.flags = baton_le32_put(1);
    baton_segment_trailer_seal(&trailer);
    assert_int_equal(baton_segment_trailer_check(&trailer), BATON_UNIT_NEWER);
    trailer.flags = baton_le32_put(BATON_BATCH_CLOSE);
    trailer.zero[0] = 1;
    baton_segment_trailer_seal(&trailer);
    assert_int_equal(baton_segment_trailer_check(&trailer), BATON_UNIT_INVALID);
}

/* ---- batches ---- */

static uint32_t put_frame(batch_units *units, uint32_t at, uint16_t type, uint16_t flags,
                          const char *payload, uint32_t payload_bytes)
{
    baton_frame_header frame = {.payload_bytes = baton_le32_put(payload_bytes),
                                .type = baton_le16_put(type),
                                .flags = baton_le16_put(flags),
                                .time_ns = baton_le64_put(1000u + at)};
    memcpy(units->bytes + at, &frame, sizeof(frame));
    memcpy(units->bytes + at + sizeof(frame), payload, payload_bytes);
    return at + baton_frame_bytes(payload_bytes);
}

/* Entries "a", "" and "bcdefghi", a record between the first two. Two units. */
static void good_batch(batch_units *units)
{
    memset(units, 0, sizeof(*units));
    uint32_t used = sizeof(baton_batch_header);
    used = put_frame(units, used, 1, 0, "a", 1);
    used = put_frame(units, used, 2, BATON_FRAME_RECORD, "record", 6);
    used = put_frame(units, used, 3, 0, "", 0);
    used = put_frame(units, used, 4, 0, "bcdefghi", 8);
    *BATCH(units) = (baton_batch_header){.version = baton_le16_put(1),
                                         .entry_count = baton_le32_put(3),
                                         .batch_bytes = baton_le32_put(2 * BATON_IO_UNIT),
                                         .used_bytes = baton_le32_put(used),
                                         .epoch = baton_le64_put(1),
                                         .batch = baton_le64_put(1),
                                         .first_seq = baton_le64_put(11)};
    baton_batch_seal(BATCH(units));
}

static void frames_come_back_with_seq_time_and_payload(void **state)
{
    const char *payloads[] = {"a", "record", "", "bcdefghi"};
    const uint64_t seqs[] = {11, 11, 12, 13};
    batch_units units;
    baton_digest digest;
    baton_entry entry;
    uint32_t offset = sizeof(baton_batch_header);
    uint64_t next_seq = 11;
    (void)state;

    good_batch(&units);
    assert_int_equal(baton_batch_check(units.bytes, 2 * BATON_IO_UNIT, &digest), BATON_UNIT_VALID);
    assert_memory_equal(digest.bytes, BATCH(&units)->digest, 16);
    for (uint16_t i = 0; i < 4; i++) {
        assert_true(baton_batch_next(BATCH(&units), &offset, &next_seq, &entry));
        assert_int_equal(entry.seq, seqs[i]);
        assert_int_equal(entry.type, i + 1);
        assert_int_equal(entry.is_record, i == 1);
        assert_int_equal(entry.payload_bytes, strlen(payloads[i]));
        assert_memory_equal(entry.payload, payloads[i], entry.payload_bytes);
    }
    assert_false(baton_batch_next(BATCH(&units), &offset, &next_seq, &entry));
    assert_int_equal(next_seq, 14);
}

static void every_flipped_byte_of_a_batch_is_seen_padding_included(void **state)
{
    batch_units units;
    baton_digest digest;
    (void)state;

    good_batch(&units);
    for (size_t i = 0; i < 2 * BATON_IO_UNIT; i++) {
        for (unsigned bit = 0; bit < 8; bit += 7) {
            units.bytes[i] ^= (uint8_t)(1u << bit);
            assert_int_equal(baton_batch_check(units.bytes, sizeof(units.bytes), &digest),
                             BATON_UNIT_INVALID);
            units.bytes[i] ^= (uint8_t)(1u << bit);
        }
    }
    assert_int_equal(baton_batch_check(units.bytes, sizeof(units.bytes), &digest),
                     BATON_UNIT_VALID);
}

static void part_of_a_batch_is_invalid_and_zeros_are_zero(void **state)
{
    batch_units units;
    baton_digest digest;
    (void)state;

    good_batch(&units);
    assert_int_equal(baton_batch_check(units.bytes, 0, &digest), BATON_UNIT_INVALID);
    assert_int_equal(baton_batch_check(units.bytes, 4095, &digest), BATON_UNIT_INVALID);
    assert_int_equal(baton_batch_check(units.bytes, 4096, &digest), BATON_UNIT_INVALID);
    memset(units.bytes, 0, BATON_IO_UNIT);
    assert_int_equal(baton_batch_check(units.bytes, sizeof(units.bytes), &digest), BATON_UNIT_ZERO);
}

/* A batch whose digest is right and whose contents are not. */
static baton_unit_verdict check_resealed(batch_units *units)
{
    baton_digest digest = baton_digest_of("", 0);
    baton_batch_header *batch = BATCH(units);
    uint32_t batch_bytes = baton_le32_get(batch->batch_bytes);

    if (batch_bytes > sizeof(units->bytes))
        return baton_batch_check(units->bytes, sizeof(units->bytes), &digest);
    memset(batch->digest, 0, 16); /* baton_batch_seal would also clear the padding */
    digest = baton_digest_of(units->bytes, batch_bytes);
    memcpy(batch->digest, digest.bytes, 16);
    return baton_batch_check(units->bytes, sizeof(units->bytes), &digest);
}

/* A record alone, or nothing, under these flags. */
static baton_unit_verdict check_mark(uint16_t flags, bool with_record)
{
    batch_units units;

    good_batch(&units);
    memset(units.bytes + sizeof(baton_batch_header), 0,
           sizeof(units.bytes) - sizeof(baton_batch_header));
    uint32_t used = sizeof(baton_batch_header);
    if (with_record)
        used = put_frame(&units, used, 2, BATON_FRAME_RECORD, "record", 6);
    BATCH(&units)->flags = baton_le16_put(flags);
    BATCH(&units)->entry_count = baton_le32_put(0);
    BATCH(&units)->used_bytes = baton_le32_put(used);
    return check_resealed(&units);
}

static void mark_has_no_frames_and_close_is_a_mark(void **state)
{
    (void)state;
    assert_int_equal(check_mark(0, true), BATON_UNIT_VALID);
    assert_int_equal(check_mark(BATON_BATCH_MARK, false), BATON_UNIT_VALID);
    assert_int_equal(check_mark(BATON_BATCH_MARK | BATON_BATCH_CLOSE, false), BATON_UNIT_VALID);
    assert_int_equal(check_mark(BATON_BATCH_MARK, true), BATON_UNIT_INVALID);
    assert_int_equal(check_mark(BATON_BATCH_CLOSE, false), BATON_UNIT_INVALID);
}

static void right_digest_over_wrong_contents_is_refused(void **state)
{
    batch_units units;
    (void)state;

#define WITH(field, value, verdict)                                                                \
    do {                                                                                           \
        good_batch(&units);                                                                        \
        BATCH(&units)->field = value;                                                              \
        assert_int_equal(check_resealed(&units), verdict);                                         \
    } while (0)
    WITH(version, baton_le16_put(1), BATON_UNIT_VALID);
    WITH(version, baton_le16_put(2), BATON_UNIT_NEWER);
    WITH(version, baton_le16_put(0), BATON_UNIT_INVALID);
    WITH(flags, baton_le16_put(4), BATON_UNIT_NEWER);
    WITH(flags, baton_le16_put(BATON_BATCH_MARK), BATON_UNIT_INVALID); /* with entries */
    WITH(flags, baton_le16_put(BATON_BATCH_CLOSE), BATON_UNIT_INVALID);
    WITH(entry_count, baton_le32_put(2), BATON_UNIT_INVALID);
    WITH(entry_count, baton_le32_put(4), BATON_UNIT_INVALID);
    WITH(entry_count, baton_le32_put(UINT32_MAX), BATON_UNIT_INVALID);
    WITH(used_bytes, baton_le32_put(127), BATON_UNIT_INVALID);
    WITH(used_bytes, baton_le32_put(136), BATON_UNIT_INVALID);
    WITH(used_bytes, baton_le32_put(2 * BATON_IO_UNIT), BATON_UNIT_INVALID);
    WITH(used_bytes, baton_le32_put(UINT32_MAX), BATON_UNIT_INVALID);
    WITH(batch_bytes, baton_le32_put(0), BATON_UNIT_INVALID);
    WITH(batch_bytes, baton_le32_put(4095), BATON_UNIT_INVALID);
    WITH(batch_bytes, baton_le32_put(0xfffff000), BATON_UNIT_INVALID);
    WITH(epoch, baton_le64_put(0), BATON_UNIT_INVALID);
    WITH(batch, baton_le64_put(0), BATON_UNIT_INVALID);
    WITH(first_seq, baton_le64_put(0), BATON_UNIT_INVALID);
#undef WITH
    const uint32_t first = sizeof(baton_batch_header);
    good_batch(&units);
    units.bytes[first + 6] = 2; /* an unknown frame flag */
    assert_int_equal(check_resealed(&units), BATON_UNIT_NEWER);
    good_batch(&units);
    units.bytes[first + sizeof(baton_frame_header) + 1] = 1; /* behind "a" */
    assert_int_equal(check_resealed(&units), BATON_UNIT_INVALID);
    good_batch(&units);
    units.bytes[2 * BATON_IO_UNIT - 1] = 1; /* padding of the batch */
    assert_int_equal(check_resealed(&units), BATON_UNIT_INVALID);
    const uint32_t sizes[] = {65537, 0x7fffffff, UINT32_MAX, UINT32_MAX - 15, 0xfffffff0};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        baton_le32 size = baton_le32_put(sizes[i]);
        good_batch(&units);
        memcpy(units.bytes + first, &size, sizeof(size));
        assert_int_equal(check_resealed(&units), BATON_UNIT_INVALID);
    }
}

/* ---- facts ---- */

static void roots_are_kept_once_in_order_and_the_oldest_goes(void **state)
{
    baton_facts facts = {0};
    (void)state;

    for (uint64_t seq = 1; seq <= BATON_SEGMENT_ROOTS_MAX + 1; seq++) {
        baton_root_wire root = {.seq = baton_le64_put(seq)};
        baton_facts_apply(&facts, BATON_RECORD_ROOT, &root, sizeof(root));
        baton_facts_apply(&facts, BATON_RECORD_ROOT, &root, sizeof(root));
    }
    assert_int_equal(facts.roots_count, BATON_SEGMENT_ROOTS_MAX);
    assert_int_equal(baton_le64_get(facts.roots[0].seq), 2);
    assert_int_equal(baton_le64_get(facts.roots[63].seq), 65);
    baton_root_wire gone = {.seq = baton_le64_put(3)};
    baton_facts_apply(&facts, BATON_RECORD_ROOT_GONE, &gone, sizeof(gone));
    assert_int_equal(facts.roots_count, 63);
    assert_int_equal(baton_le64_get(facts.roots[1].seq), 4);
    static const baton_root_wire zero;
    assert_memory_equal(&facts.roots[63], &zero, sizeof(zero));
    gone.root[0] = 1; /* another snapshot of the same seq */
    gone.seq = baton_le64_put(4);
    baton_facts_apply(&facts, BATON_RECORD_ROOT_GONE, &gone, sizeof(gone));
    assert_int_equal(facts.roots_count, 63);
}

static void handover_and_finalize_replace_what_was_there(void **state)
{
    baton_facts facts = {0};
    baton_handover_wire handover = {.epoch = baton_le64_put(4), .last_seq = baton_le64_put(99)};
    baton_finalize_wire finalize = {.schema = baton_le32_put(2)};
    (void)state;

    baton_facts_apply(&facts, BATON_RECORD_HANDOVER, &handover, sizeof(handover));
    baton_facts_apply(&facts, BATON_RECORD_FINALIZE, &finalize, sizeof(finalize));
    assert_memory_equal(&facts.handover, &handover, sizeof(handover));
    assert_int_equal(facts.finalized_schema, 2);
    baton_facts_apply(&facts, BATON_RECORD_FINALIZE, &finalize, sizeof(finalize) - 1);
    baton_facts_apply(&facts, 77, &finalize, sizeof(finalize));
    assert_int_equal(facts.finalized_schema, 2);
}

static void records_of_unknown_kind_or_wrong_size_are_refused(void **state)
{
    uint8_t zero[128] = {0};
    const uint32_t sizes[] = {0, 48, 24, 24, 24, 72, 8, 0};
    (void)state;

    for (uint16_t kind = 0; kind < 8; kind++) {
        for (uint32_t size = 0; size <= sizeof(zero); size++) {
            bool known = kind >= 1 && kind <= 6 && size == sizes[kind];
            assert_int_equal(baton_record_check(kind, zero, size), known);
        }
    }
    zero[4] = 1;
    assert_false(baton_record_check(BATON_RECORD_FINALIZE, zero, 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segment_names_go_back_and_forth),
        cmocka_unit_test(other_names_are_no_segments),
        cmocka_unit_test(every_flipped_byte_of_a_header_is_seen),
        cmocka_unit_test(header_is_zero_newer_or_out_of_range),
        cmocka_unit_test(header_of_a_beginning_continues_nothing),
        cmocka_unit_test(every_flipped_byte_of_a_trailer_is_seen),
        cmocka_unit_test(frames_come_back_with_seq_time_and_payload),
        cmocka_unit_test(every_flipped_byte_of_a_batch_is_seen_padding_included),
        cmocka_unit_test(part_of_a_batch_is_invalid_and_zeros_are_zero),
        cmocka_unit_test(mark_has_no_frames_and_close_is_a_mark),
        cmocka_unit_test(right_digest_over_wrong_contents_is_refused),
        cmocka_unit_test(roots_are_kept_once_in_order_and_the_oldest_goes),
        cmocka_unit_test(handover_and_finalize_replace_what_was_there),
        cmocka_unit_test(records_of_unknown_kind_or_wrong_size_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
