/* tests/unit/engine_schema_test.c: pinned until finalized (E4), and what is refused by name
 * (E7). */
#include "tests/unit/engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static int add_extra(engine_fixture *f, uint32_t amount)
{
    const toy_extra extra = {baton_le32_put(amount)};
    uint64_t seq;
    return baton_engine_submit(f->engine, TOY_EXTRA, &extra, sizeof(extra), &seq);
}

static uint32_t newest_snapshot_schema(const engine_fixture *f)
{
    char path[TEST_PATH_BYTES + 32];
    baton_snapshot_listed *listed;
    uint32_t count;
    snprintf(path, sizeof(path), "%s/snapshots", f->path);
    assert_int_equal(baton_snapshot_list(path, &listed, &count, NULL), 0);
    assert_true(count > 0);
    const uint32_t schema = listed[0].info.schema;
    free(listed);
    return schema;
}

/* Old data under the new build: 100 entries by version 1, then 100 by version 2. */
static const baton_service *newer = &toy_service_v2;

static void begin_old_go_on_new(engine_fixture *f)
{
    engine_fixture_open(f, &toy_service_v1);
    engine_fixture_submit_stream(f, 1, 100);
    engine_fixture_hand_over(f);
    assert_int_equal(engine_fixture_snapshot(f), 0);
    engine_fixture_close(f);
    engine_fixture_open(f, newer);
    engine_fixture_submit_stream(f, 101, 200);
    engine_fixture_settle(f);
}

static void go_back_to_the_old_build(void)
{
    engine_expected *expected = engine_stream_expected(300);
    engine_fixture f;
    engine_fixture_make(&f, "schema_back");
    begin_old_go_on_new(&f);
    assert_int_equal(engine_fixture_status(&f).schema, 1);
    engine_assert_expected(&f, expected);
    assert_int_equal(add_extra(&f, 1), BATON_E_SCHEMA);
    assert_int_equal(engine_fixture_snapshot(&f), 0);
    assert_int_equal(newest_snapshot_schema(&f), 1);
    engine_fixture_submit_stream(&f, 201, 250);
    engine_fixture_hand_over(&f);
    engine_fixture_close(&f);

    engine_fixture_open(&f, &toy_service_v1);
    assert_true(f.report.from_snapshot);
    assert_int_equal(f.report.snapshot_seq, 200);
    engine_assert_expected(&f, expected);
    engine_fixture_submit_stream(&f, 251, 300);
    engine_fixture_close(&f);
    engine_fixture_open(&f, newer);
    engine_assert_expected(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    free(expected);
}

static void finalize_the_new_schema(void)
{
    engine_fixture f;
    baton_replay_result result;
    engine_fixture_make(&f, "schema_finalize");
    begin_old_go_on_new(&f);
    assert_int_equal(baton_engine_finalize(f.engine, &f.error), BATON_E_AGAIN);
    assert_int_equal(engine_fixture_status(&f).schema, 1); /* the old one until it is durable */
    assert_int_equal(engine_fixture_finalize(&f), 0);
    assert_int_equal(baton_engine_finalize(f.engine, &f.error), 0);
    assert_int_equal(engine_fixture_status(&f).schema, 2);
    assert_int_equal(add_extra(&f, 5), 0);
    assert_int_equal(engine_fixture_snapshot(&f), 0);
    assert_int_equal(newest_snapshot_schema(&f), 2);
    const baton_engine_status before = engine_fixture_status(&f);
    engine_fixture_close(&f);

    assert_int_equal(engine_fixture_try_open(&f, &toy_service_v1), BATON_E_SCHEMA);
    assert_non_null(strstr(f.error.why, "schema is 2"));
    assert_non_null(strstr(f.error.why, "reads 1 to 1"));
    assert_int_equal(baton_replay(&toy_service_v1, f.path, NULL, 0, &result, &f.error),
                     BATON_E_SCHEMA);

    engine_fixture_open(&f, newer); /* a restarted build obeys the fact */
    const baton_engine_status after = engine_fixture_status(&f);
    assert_int_equal(after.schema, 2);
    assert_memory_equal(&after.state_digest, &before.state_digest, sizeof(baton_digest));
    assert_int_equal(toy_extra_sum(baton_engine_state(f.engine)), 5);
    assert_int_equal(add_extra(&f, 5), 0);
    engine_fixture_close(&f);
    engine_fixture_open(&f, &toy_service_v3);
    assert_int_equal(toy_extra_sum(baton_engine_state(f.engine)), 10);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

/* Both by functions that know each schema, and by declared sections. */
static void not_finalized_is_pinned_and_the_old_build_can_come_back(void **unused)
{
    (void)unused;
    go_back_to_the_old_build();
    newer = &toy_service_v2_declared;
    go_back_to_the_old_build();
    newer = &toy_service_v2;
}

static void finalize_opens_the_new_schema_and_shuts_the_old_build_out(void **unused)
{
    (void)unused;
    finalize_the_new_schema();
    newer = &toy_service_v2_declared;
    finalize_the_new_schema();
    newer = &toy_service_v2;
}

/* The handover's record ends the epoch: what the successor does not know of must not stand behind. */
static void nothing_is_finalized_behind_the_handover(void **unused)
{
    (void)unused;
    engine_fixture f;
    int r;
    engine_fixture_make(&f, "schema_finalize_late");
    begin_old_go_on_new(&f);
    baton_engine_seal(f.engine);
    while ((r = baton_engine_handover_record(f.engine, &f.error)) == BATON_E_AGAIN)
        engine_fixture_turn(&f);
    assert_int_equal(r, 0);
    assert_int_equal(baton_engine_finalize(f.engine, &f.error), BATON_E_SEALED);
    engine_fixture_close(&f);
    engine_fixture_open(&f, &toy_service_v2);
    assert_int_equal(engine_fixture_status(&f).schema, 1);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void a_finalize_that_was_answered_survives_the_disk_s_death(void **unused)
{
    (void)unused;
    engine_fixture f;
    io_fault *fault = io_fault_new();
    engine_fixture_make(&f, "schema_finalize_durable");
    f.options.io_backend = io_fault_backend();
    f.options.io_context = fault;
    begin_old_go_on_new(&f);
    assert_int_equal(engine_fixture_finalize(&f), 0);
    io_fault_crash_after(fault, io_fault_count(fault));
    assert_int_not_equal(baton_engine_close(f.engine), 0);
    f.engine = NULL;
    f.options.io_backend = NULL;
    f.options.io_context = NULL;
    assert_int_equal(engine_fixture_try_open(&f, &toy_service_v1), BATON_E_SCHEMA);
    engine_fixture_open(&f, &toy_service_v2);
    assert_int_equal(engine_fixture_status(&f).schema, 2);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    io_fault_free(fault);
}

static void a_build_that_no_longer_reads_the_schema_refuses_by_name(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "schema_too_old");
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_submit_stream(&f, 1, 10);
    engine_fixture_close(&f);
    assert_int_equal(engine_fixture_try_open(&f, &toy_service_v3), BATON_E_SCHEMA);
    assert_non_null(strstr(f.error.why, "schema is 1"));
    assert_non_null(strstr(f.error.why, "reads 2 to 2"));
    engine_fixture_open(&f, &toy_service_v1);
    assert_int_equal(baton_engine_epoch(f.engine), 2);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void fresh_data_of_a_new_build_is_written_in_its_newest_schema(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "schema_fresh");
    engine_fixture_open(&f, &toy_service_v2);
    assert_int_equal(engine_fixture_status(&f).schema, 2);
    assert_int_equal(add_extra(&f, 3), 0);
    engine_fixture_close(&f);
    assert_int_equal(engine_fixture_try_open(&f, &toy_service_v1), BATON_E_SCHEMA);
    engine_fixture_remove(&f);
}

static void fresh_data_can_be_pinned_for_an_older_build(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "schema_pin");
    f.options.pin_schema = 3;
    assert_int_equal(engine_fixture_try_open(&f, &toy_service_v2), BATON_E_SCHEMA);
    f.options.pin_schema = 1;
    engine_fixture_open(&f, &toy_service_v2);
    assert_int_equal(engine_fixture_status(&f).schema, 1);
    assert_int_equal(add_extra(&f, 3), BATON_E_SCHEMA);
    engine_fixture_submit_stream(&f, 1, 10);
    engine_fixture_close(&f);
    f.options.pin_schema = 0;
    engine_fixture_open(&f, &toy_service_v1);
    assert_int_equal(baton_engine_applied_seq(f.engine), 10);
    engine_fixture_close(&f);
    f.options.pin_schema = 2; /* only downward: what is not finalized can not be pinned open */
    assert_int_equal(engine_fixture_try_open(&f, &toy_service_v2), BATON_E_SCHEMA);
    engine_fixture_remove(&f);
}

/* ---- what a snapshot must not lose ---- */

static int snapshot_and_more(const void *state, uint32_t schema, baton_snapshot_writer *writer)
{
    int r = toy_service_v1.snapshot(state, schema, writer);
    baton_pack_section(writer, "later");
    baton_pack_row(writer, 1);
    baton_pack_uint(writer, 7);
    return r;
}

static void a_section_that_nobody_reads_is_refused_by_name(void **unused)
{
    (void)unused;
    baton_service later = toy_service_v1;
    engine_expected *expected = engine_stream_expected(100);
    engine_fixture f;
    later.snapshot = snapshot_and_more;
    engine_fixture_make(&f, "schema_section");
    engine_fixture_open(&f, &later);
    engine_fixture_submit_stream(&f, 1, 100);
    engine_fixture_settle(&f);
    assert_int_equal(engine_fixture_snapshot(&f), 0);
    engine_fixture_close(&f);
    engine_fixture_open(&f, &toy_service_v1); /* the journal is whole: it is replayed instead */
    assert_int_equal(f.report.snapshots_skipped, 1);
    assert_non_null(strstr(f.report.snapshot_skipped_why, "section later"));
    engine_assert_expected(&f, expected);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    free(expected);
}

static void a_declared_build_refuses_an_unknown_section_by_name(void **unused)
{
    (void)unused;
    baton_service later = toy_service_v2;
    engine_fixture f;
    later.snapshot = snapshot_and_more;
    engine_fixture_make(&f, "schema_declared_section");
    engine_fixture_open(&f, &later);
    engine_fixture_submit_stream(&f, 1, 100);
    engine_fixture_settle(&f);
    assert_int_equal(engine_fixture_snapshot(&f), 0);
    engine_fixture_close(&f);
    engine_fixture_open(&f, &toy_service_v2_declared);
    assert_int_equal(f.report.snapshots_skipped, 1);
    assert_non_null(strstr(f.report.snapshot_skipped_why, "does not know its section later"));
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

typedef struct {
    uint32_t schemas_count;
    uint64_t section_rows;
    baton_round_trip_result last;
} seen_trips;

static void on_section(void *context, uint32_t schema, const baton_snapshot_section_size *section)
{
    (void)schema;
    ((seen_trips *)context)->section_rows += section->rows_count;
}

static void on_schema(void *context, const baton_round_trip_result *result)
{
    seen_trips *seen = context;
    seen->schemas_count++;
    seen->last = *result;
    assert_int_equal(seen->section_rows, result->rows_count);
    seen->section_rows = 0;
}

static void export_chunks(engine_fixture *f, const baton_service *service, uint32_t schema,
                          uint8_t *ret_bytes, size_t room, size_t *ret_count)
{
    char to[TEST_PATH_BYTES + 64];
    char path[sizeof(to) + 64];
    baton_snapshot_info info;
    snprintf(to, sizeof(to), "%s/%s-%u", f->dir.path, service->version, schema);
    assert_int_equal(baton_state_export(service, f->path, NULL, schema, to, &info, &f->error), 0);
    assert_int_equal(info.schema, schema);
    snprintf(path, sizeof(path), "%s/%016llx-%016llx.chunks", to, (unsigned long long)info.seq,
             (unsigned long long)info.epoch);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    *ret_count = fread(ret_bytes, 1, room, file);
    fclose(file);
    assert_true(*ret_count > 0 && *ret_count < room);
}

/* Each schema's snapshot is byte for byte what the functions that know it write. */
static void declared_sections_give_the_snapshots_of_each_schema(void **unused)
{
    (void)unused;
    static uint8_t by_hand[1u << 20];
    static uint8_t declared[1u << 20];
    engine_fixture f;
    engine_fixture_make(&f, "schema_declared");
    begin_old_go_on_new(&f);
    assert_int_equal(engine_fixture_finalize(&f), 0);
    engine_fixture_close(&f);
    for (uint32_t schema = 1; schema <= 2; schema++) {
        size_t by_hand_bytes;
        size_t declared_bytes;
        export_chunks(&f, &toy_service_v2, schema, by_hand, sizeof(by_hand), &by_hand_bytes);
        export_chunks(&f, &toy_service_v2_declared, schema, declared, sizeof(declared),
                      &declared_bytes);
        assert_int_equal(by_hand_bytes, declared_bytes);
        assert_memory_equal(by_hand, declared, declared_bytes);
    }
    seen_trips seen = {0};
    const baton_round_trip_options options = {.work_directory = f.dir.path,
                                              .on_section = on_section,
                                              .on_schema = on_schema,
                                              .context = &seen};
    assert_int_equal(baton_round_trip(&toy_service_v2_declared, f.path, NULL, &options, &f.error),
                     0);
    assert_int_equal(seen.schemas_count, 2);
    assert_true(seen.last.canonical);
    engine_fixture_remove(&f);
}

static int empty_in_schema_1(const void *state, uint32_t schema, baton_snapshot_writer *writer)
{
    void *empty = NULL;
    baton_error error;
    if (schema != 1)
        return toy_service_v2.snapshot(state, schema, writer);
    const char *const start = "0";
    int r = toy_service_v2.create(&(baton_service_config){.values = &start}, &empty, &error);
    if (r == 0)
        r = toy_service_v2.snapshot(empty, schema, writer);
    toy_service_v2.destroy(empty);
    return r;
}

static void a_round_trip_finds_what_a_schema_loses(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "schema_round_trip");
    begin_old_go_on_new(&f);
    const baton_engine_status status = engine_fixture_status(&f);
    engine_fixture_close(&f);
    seen_trips seen = {0};
    const baton_round_trip_options options = {.work_directory = f.dir.path,
                                              .on_section = on_section,
                                              .on_schema = on_schema,
                                              .context = &seen};
    assert_int_equal(baton_round_trip(&toy_service_v2, f.path, NULL, &options, &f.error), 0);
    assert_int_equal(seen.schemas_count, 2);
    assert_int_equal(seen.last.schema, 2);
    assert_int_equal(seen.last.seq, 200);
    assert_true(seen.last.canonical);

    seen = (seen_trips){0};
    assert_int_equal(baton_round_trip(&toy_service_v1, f.path, NULL, &options, &f.error), 0);
    assert_int_equal(seen.schemas_count, 1);
    assert_memory_equal(&seen.last.state_digest, &status.state_digest, sizeof(baton_digest));

    baton_service lossy = toy_service_v2;
    lossy.snapshot = empty_in_schema_1;
    seen = (seen_trips){0};
    assert_int_equal(baton_round_trip(&lossy, f.path, NULL, &options, &f.error), BATON_E_DIVERGED);
    assert_int_equal(seen.schemas_count, 0);
    engine_fixture_remove(&f);
}

static void a_table_that_is_not_whole_is_refused(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "schema_table");
    baton_service bad = toy_service_v1;
    bad.name = "Bad Name";
    assert_int_equal(engine_fixture_try_open(&f, &bad), BATON_E_INVALID);
    bad = toy_service_v1;
    bad.schema.read_min = 2;
    assert_int_equal(engine_fixture_try_open(&f, &bad), BATON_E_INVALID);
    bad = toy_service_v1;
    bad.digest = NULL;
    assert_int_equal(engine_fixture_try_open(&f, &bad), BATON_E_INVALID);
    bad = toy_service_v1;
    bad.entry_types_count = 0;
    assert_int_equal(engine_fixture_try_open(&f, &bad), BATON_E_INVALID);
    bad = toy_service_v2_declared;
    bad.schema = toy_service_v1.schema;
    const baton_section from_2 = {
        .name = "totals", .since_schema = 2, .fields_required = 1, .fields_known = 1};
    bad.sections = &from_2;
    bad.sections_count = 1;
    assert_int_equal(engine_fixture_try_open(&f, &bad), BATON_E_INVALID);
    engine_fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_finalized_is_pinned_and_the_old_build_can_come_back),
        cmocka_unit_test(finalize_opens_the_new_schema_and_shuts_the_old_build_out),
        cmocka_unit_test(nothing_is_finalized_behind_the_handover),
        cmocka_unit_test(a_finalize_that_was_answered_survives_the_disk_s_death),
        cmocka_unit_test(a_build_that_no_longer_reads_the_schema_refuses_by_name),
        cmocka_unit_test(fresh_data_of_a_new_build_is_written_in_its_newest_schema),
        cmocka_unit_test(fresh_data_can_be_pinned_for_an_older_build),
        cmocka_unit_test(a_section_that_nobody_reads_is_refused_by_name),
        cmocka_unit_test(a_declared_build_refuses_an_unknown_section_by_name),
        cmocka_unit_test(declared_sections_give_the_snapshots_of_each_schema),
        cmocka_unit_test(a_round_trip_finds_what_a_schema_loses),
        cmocka_unit_test(a_table_that_is_not_whole_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
