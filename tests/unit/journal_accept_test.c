/* What recovery does not take for the journal: stale bytes, void bytes, other journals, unknown
 * things; and what it finds besides the end. Each journal is built byte by byte. */
#include <stdio.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/journal_look.h"

typedef struct {
    test_dir dir;
    journal_builder builder;
} accept_fixture;

static int setup(void **state)
{
    static accept_fixture fixture;
    test_dir_make(&fixture.dir, "journal_accept");
    builder_init(&fixture.builder, test_path(&fixture.dir, "j"));
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    accept_fixture *fixture = *state;
    test_dir_remove(&fixture->dir);
    return 0;
}

#define BUILDER(state) (&((accept_fixture *)*(state))->builder)

/* ---- stale and void bytes ---- */

static void bytes_that_a_later_epoch_cuts_off_are_void(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_place place = builder_here(builder);
    builder_batch(builder, 3); /* landed after its writer was dead, and carries high positions */
    builder_batch(builder, 3);
    builder_batch(builder, 3);
    builder_go_back(builder, &place);
    builder_epoch(builder, 2);
    builder_batch(builder, 1);
    builder_mark(builder, BATON_BATCH_CLOSE);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 4);
    assert_int_equal(look.report.torn_cut, 0);
    assert_int_equal(look.report.last.epoch, 2);
}

static void segments_that_a_later_epoch_cuts_off_are_void(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_place place = builder_here(builder);
    builder_roll(builder);
    builder_batch(builder, 3);
    builder_batch(builder, 3);
    builder_go_back(builder, &place);
    builder_epoch(builder, 2);
    builder_batch(builder, 1);
    builder_mark(builder, BATON_BATCH_CLOSE);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 4);
    assert_int_equal(look.voided, 1);
}

static void stale_valid_batch_of_another_epoch_is_not_accepted(void **state)
{
    journal_builder *builder = BUILDER(state);
    uint8_t stale[4096];

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_place place = builder_here(builder);
    uint64_t offset = builder_batch(builder, 3);
    builder_read(builder_path(builder, 1, 1), offset, stale, sizeof(stale));
    builder_go_back(builder, &place);
    builder_epoch(builder, 2);
    builder_write(builder_path(builder, 2, 2), 4096, stale,
                  sizeof(stale)); /* number and chain would fit */
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 3);
    assert_int_equal(look.report.torn_cut, 4096);
}

static void stale_valid_batch_that_breaks_the_chain_is_not_accepted(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder->digest.bytes[0] ^= 1;
    builder_batch(builder, 3);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 3);
    assert_int_equal(look.report.torn_cut, 4096);
}

static void batch_that_claims_to_know_its_own_durability_is_not_accepted(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder->durable = (baton_position){.epoch = 1, .batch = UINT64_MAX, .seq = UINT64_MAX};
    builder_batch(builder, 3);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 3);
    assert_int_equal(look.report.evidence.batch, 0);
}

static void copy_under_another_name_is_no_segment(void **state)
{
    journal_builder *builder = BUILDER(state);
    uint8_t *bytes = test_malloc(BUILDER_SEGMENT_BYTES);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_mark(builder, BATON_BATCH_CLOSE);
    builder_read(builder_path(builder, 1, 1), 0, bytes, BUILDER_SEGMENT_BYTES);
    FILE *file = fopen(builder_path(builder, 1, 9), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, BUILDER_SEGMENT_BYTES, file), BUILDER_SEGMENT_BYTES);
    assert_int_equal(fclose(file), 0);
    test_free(bytes);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 3);
    assert_int_equal(look.recovery.index_highest, 9);
}

static void carried_positions_of_a_followers_segment_are_no_evidence(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder->header.flags = baton_le32_put(BATON_SEGMENT_FOLLOWER);
    baton_segment_header_seal(&builder->header);
    builder_write(builder_path(builder, 1, 1), 0, &builder->header, 4096);
    builder_batch(builder, 3);
    uint64_t offset = builder_batch(builder, 3);
    builder_batch(builder, 3);
    builder_mark(builder, 0);
    builder_flip(builder_path(builder, 1, 1), offset + 100, 1);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 3);
    assert_true(look.report.torn_cut > 0);
}

/* ---- refused ---- */

static void segment_of_another_journal_is_refused(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder->id.bytes[3] ^= 0x55;
    builder_epoch(builder, 2);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, BATON_E_OTHER_JOURNAL);
    assert_string_equal(look.error.path, builder_path(builder, 2, 2));
}

static void journal_of_another_service_is_refused(void **state)
{
    journal_builder *builder = BUILDER(state);
    baton_recover_options options = {.service = "risk-engine"};

    (void)snprintf(builder->service, sizeof(builder->service), "matching-engine");
    builder_epoch(builder, 1);
    journal_look look = look_with(builder->directory, &options);
    assert_int_equal(look.status, BATON_E_OTHER_SERVICE);
    assert_true(strstr(look.error.why, "matching-engine") != NULL);
    options.service = "matching-engine";
    assert_int_equal(look_with(builder->directory, &options).status, 0);
}

static void newer_format_is_refused_by_file_and_version(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    baton_segment_header header = builder->header;
    header.version = baton_le32_put(2);
    baton_segment_header_seal(&header);
    builder_write(builder_path(builder, 1, 1), 0, &header, sizeof(header));
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, BATON_E_NEWER_FORMAT);
    assert_string_equal(look.error.path, builder_path(builder, 1, 1));
    assert_true(strstr(look.error.why, "version 2") != NULL);
}

static void unknown_batch_flags_are_refused_never_cut(void **state)
{
    journal_builder *builder = BUILDER(state);
    uint8_t batch[4096] __attribute__((aligned(16)));

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    uint64_t offset = builder_batch(builder, 3);
    builder_read(builder_path(builder, 1, 1), offset, batch, sizeof(batch));
    ((baton_batch_header *)(void *)batch)->flags = baton_le16_put(8);
    baton_batch_seal((baton_batch_header *)(void *)batch);
    builder_write(builder_path(builder, 1, 1), offset, batch, sizeof(batch));
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, BATON_E_NEWER_FORMAT);
    assert_int_equal(look.error.offset, offset);
}

static void unknown_record_is_refused(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_record(builder, (baton_record_kind)99, "?", 1);
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, BATON_E_NEWER_FORMAT);
    assert_int_equal(look.error.offset, 4096);
}

/* ---- facts, from_seq, large ---- */

static void facts_come_from_the_header_and_the_records_after_it(void **state)
{
    journal_builder *builder = BUILDER(state);
    baton_root_wire first = {.seq = baton_le64_put(2), .root = {1}};
    baton_root_wire second = {.seq = baton_le64_put(4), .root = {2}};
    baton_finalize_wire finalize = {.schema = baton_le32_put(3)};

    builder_epoch(builder, 1);
    builder_batch(builder, 2);
    builder_record(builder, BATON_RECORD_ROOT, &first, sizeof(first));
    builder_roll(builder);
    builder_batch(builder, 2);
    builder_record(builder, BATON_RECORD_ROOT, &second, sizeof(second));
    builder_record(builder, BATON_RECORD_FINALIZE, &finalize, sizeof(finalize));
    assert_int_equal(unlink(builder_path(builder, 1, 1)),
                     0); /* retired: its record is in the header */
    journal_look look = look_at(builder->directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.recovery.facts.roots_count, 2);
    assert_memory_equal(&look.recovery.facts.roots[0], &first, sizeof(first));
    assert_memory_equal(&look.recovery.facts.roots[1], &second, sizeof(second));
    assert_int_equal(look.recovery.facts.finalized_schema, 3);
    assert_int_equal(look.recovery.records_count, 2);
}

static void older_segments_are_not_read_when_a_later_seq_is_asked_for(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    uint64_t offset = builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    builder_mark(builder, BATON_BATCH_CLOSE);
    builder_flip(builder_path(builder, 1, 1), offset + 140, 2);
    assert_int_equal(look_at(builder->directory).status, BATON_E_DAMAGED);
    baton_recover_options options = {.from_seq = 5};
    journal_look look = look_with(builder->directory, &options);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.unchecked, 1);
    assert_int_equal(look.accepted, 2);
    assert_int_equal(look.entries, 5); /* 5 .. 9 */
    assert_int_equal(look.report.last.seq, 9);
    assert_int_equal(look.report.first_seq, 1);
}

static void start_in_a_segment_whose_predecessors_are_unproven_is_moved_back(void **state)
{
    journal_builder *builder = BUILDER(state);

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_all_durable(builder);
    builder->keep_durable = true;
    uint64_t hole = builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3); /* 7 .. 9, landed; 4 .. 6 did not */
    builder_zero(builder_path(builder, 1, 1), hole, 4096);
    builder_zero(builder_path(builder, 1, 1), builder->segment_bytes - 4096, 4096);
    baton_recover_options options = {.from_seq = 8};
    journal_look look = look_with(builder->directory, &options);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.report.last.seq, 3);
    assert_int_equal(look.entries, 0);
}

static void batches_larger_than_a_read_are_read_across_its_ends(void **state)
{
    journal_builder *builder = BUILDER(state);
    io_fault *fault = io_fault_new();
    baton_reader_options options = {.io_backend = io_fault_backend(), .io_context = fault};
    baton_reader *reader;
    baton_entry entry;
    baton_error error;

    builder->segment_bytes = 48u << 20;
    builder_epoch(builder, 1);
    for (uint32_t i = 0; i < 14; i++) /* 0.4 .. 4 MiB, in no rhythm with the reads */
        builder_batch_of(builder, 7 + (i * 37) % 53, 65000);
    builder_batch_of(builder, 63, 65536);
    builder_mark(builder, BATON_BATCH_CLOSE);
    assert_int_equal(baton_reader_open(builder->directory, &options, &reader, &error), 0);
    uint64_t seq = 0;
    while (baton_reader_next(reader, &entry, &error) == 1) {
        const uint8_t *payload = entry.payload;
        assert_int_equal(entry.seq, ++seq);
        for (uint32_t i = 0; i < entry.payload_bytes; i += 4001)
            assert_int_equal(payload[i], seq & 0xff);
        assert_int_equal(payload[entry.payload_bytes - 1], seq & 0xff);
    }
    assert_int_equal(seq, builder->last.seq);
    baton_reader_close(reader);
    io_fault_free(fault);
}

static void failing_read_is_reported_never_taken_for_an_end(void **state)
{
    journal_builder *builder = BUILDER(state);
    io_fault *fault = io_fault_new();
    baton_io_options io_options = {.custom = io_fault_backend(), .custom_context = fault};
    const baton_recover_options options = {0};
    baton_recovery recovery;
    baton_error error;
    baton_io *io;

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_roll(builder);
    builder_batch(builder, 3);
    builder_mark(builder, 0);
    uint64_t reads = 0;
    for (uint64_t n = 0; n <= reads; n++) {
        assert_int_equal(baton_io_open(&io_options, &io, &error), 0);
        uint64_t before = io_fault_count_kind(fault, BATON_IO_READ);
        io_fault_fail_kind(fault, BATON_IO_READ, n, EIO);
        int r = baton_recover(io, builder->directory, &options, &recovery, &error);
        assert_int_equal(r, n == 0 ? 0 : -EIO);
        if (n == 0)
            reads = io_fault_count_kind(fault, BATON_IO_READ) - before;
        baton_recovery_fini(&recovery);
        baton_io_close(io);
    }
    assert_true(reads >= 4);
    io_fault_free(fault);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_that_a_later_epoch_cuts_off_are_void),
        TEST(segments_that_a_later_epoch_cuts_off_are_void),
        TEST(stale_valid_batch_of_another_epoch_is_not_accepted),
        TEST(stale_valid_batch_that_breaks_the_chain_is_not_accepted),
        TEST(batch_that_claims_to_know_its_own_durability_is_not_accepted),
        TEST(copy_under_another_name_is_no_segment),
        TEST(carried_positions_of_a_followers_segment_are_no_evidence),
        TEST(segment_of_another_journal_is_refused),
        TEST(journal_of_another_service_is_refused),
        TEST(newer_format_is_refused_by_file_and_version),
        TEST(unknown_batch_flags_are_refused_never_cut),
        TEST(unknown_record_is_refused),
        TEST(facts_come_from_the_header_and_the_records_after_it),
        TEST(older_segments_are_not_read_when_a_later_seq_is_asked_for),
        TEST(start_in_a_segment_whose_predecessors_are_unproven_is_moved_back),
        TEST(batches_larger_than_a_read_are_read_across_its_ends),
        TEST(failing_read_is_reported_never_taken_for_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
