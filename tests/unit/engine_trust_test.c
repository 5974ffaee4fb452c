/* tests/unit/engine_trust_test.c: which snapshot a start believes, and what it falls back on (S1,
 * S2). */
#include "tests/unit/engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/machine.h"
#include "journal/records.h"
#include "snapshot/store.h"

static engine_expected *expected;

/* Entries to 300, snapshots after 100 and 200. */
static void two_generations(engine_fixture *f)
{
    engine_fixture_open(f, &toy_service_v1);
    engine_fixture_submit_stream(f, 1, 100);
    assert_int_equal(engine_fixture_snapshot(f), 0);
    engine_fixture_submit_stream(f, 101, 200);
    assert_int_equal(engine_fixture_snapshot(f), 0);
    engine_fixture_submit_stream(f, 201, 300);
    engine_fixture_settle(f);
}

static void reopen_and_check(engine_fixture *f, uint64_t seq)
{
    engine_fixture_open(f, &toy_service_v1);
    assert_int_equal(baton_engine_applied_seq(f->engine), seq);
    engine_assert_expected(f, expected);
}

static void the_newest_named_snapshot_is_used(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "trust_newest");
    two_generations(&f);
    engine_fixture_close(&f);
    reopen_and_check(&f, 300);
    assert_true(f.report.from_snapshot);
    assert_int_equal(f.report.snapshot_seq, 200);
    assert_int_equal(f.report.replayed_entries, 100);
    assert_int_equal(f.report.snapshots_skipped, 0);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void a_damaged_one_is_named_and_the_one_before_is_used(void **unused)
{
    (void)unused;
    static const struct {
        const char *suffix;
        long offset;
    } places[] = {{"chunks", 20}, {"manifest", 20}, {"manifest", -5}};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        engine_fixture f;
        engine_fixture_make(&f, "trust_damaged");
        two_generations(&f);
        engine_fixture_close(&f);
        engine_damage(engine_snapshot_path(&f, 0, places[i].suffix), places[i].offset);
        reopen_and_check(&f, 300);
        assert_int_equal(f.report.snapshots_skipped, 1);
        assert_true(f.report.snapshot_skipped_why[0] != '\0');
        assert_true(f.report.from_snapshot);
        assert_int_equal(f.report.snapshot_seq, 100);
        assert_int_equal(f.report.replayed_entries, 200);

        /* The damaged one is no generation: two good ones stay beside it. */
        assert_int_equal(engine_fixture_snapshot(&f), 0);
        engine_fixture_submit_stream(&f, 301, 400);
        engine_fixture_settle(&f);
        engine_fixture_turn(&f);
        engine_damage(engine_snapshot_path(&f, 0, "chunks"), 20);
        engine_fixture_close(&f);
        reopen_and_check(&f, 400);
        assert_int_equal(f.report.snapshot_seq, 100);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
    }
}

static void with_all_damaged_the_whole_journal_is_replayed(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "trust_none_left");
    two_generations(&f);
    engine_fixture_close(&f);
    engine_damage(engine_snapshot_path(&f, 0, "chunks"), 20);
    engine_damage(engine_snapshot_path(&f, 1, "chunks"), 20);
    reopen_and_check(&f, 300);
    assert_int_equal(f.report.snapshots_skipped, 2);
    assert_false(f.report.from_snapshot);
    assert_int_equal(f.report.replayed_entries, 300);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

/* Small segments, filled until old ones are retired; ends closed. Returns the last seq. */
static uint64_t retired_journal(engine_fixture *f)
{
    uint64_t taken = 0;
    char first[TEST_PATH_BYTES + 96];
    snprintf(first, sizeof(first), "%s/journal/%016x-%016x.seg", f->path, 1, 1);
    f->options.retire = true;
    f->options.segment_bytes = 1 << 20;
    f->options.snapshot_every = 400;
    engine_fixture_open(f, &toy_service_v1);
    while (taken == 0 || access(first, F_OK) == 0) {
        const int r = engine_fixture_burst(f, 0, 0, 0);
        assert_true(r == 0 || r == BATON_E_FULL);
        taken += r == 0;
        engine_fixture_turn(f); /* mostly a batch of its own: 4 KiB for one entry */
    }
    engine_fixture_settle(f);
    engine_fixture_turn(f);
    engine_fixture_close(f);
    return taken;
}

static void what_retention_removed_is_asked_for_by_name(void **unused)
{
    (void)unused;
    engine_fixture f;
    char journal[TEST_PATH_BYTES + 64];
    baton_journal_summary summary;
    baton_replay_result result;
    engine_fixture_make(&f, "trust_retired");
    const uint64_t last_seq = retired_journal(&f);
    snprintf(journal, sizeof(journal), "%s/journal", f.path);
    assert_int_equal(
        baton_journal_verify(journal, BATON_BACKEND_AUTO, NULL, NULL, &summary, &f.error), 0);
    assert_true(summary.recovery.first_seq > 1);

    f.options.snapshot_every = 0;
    engine_fixture_open(&f, &toy_service_v1); /* starts without what was retired */
    assert_int_equal(baton_engine_applied_seq(f.engine), last_seq);
    engine_fixture_close(&f);
    const baton_replay_options no_snapshots = {.ignore_snapshots = true};
    assert_int_equal(baton_replay(&toy_service_v1, f.path, &no_snapshots, 0, &result, &f.error),
                     BATON_E_GONE);

    const uint32_t count = engine_fixture_snapshots_count(&f);
    for (uint32_t i = 0; i < count; i++)
        engine_damage(engine_snapshot_path(&f, i, "chunks"), 20);
    assert_int_equal(engine_fixture_try_open(&f, &toy_service_v1), BATON_E_DAMAGED);
    assert_non_null(strstr(f.error.path, "snapshots"));
    assert_non_null(strstr(f.error.todo, "put back"));
    engine_fixture_remove(&f);
}

/* A snapshot is on disk, and the journal's disk dies before the record that names it lands. */
static void die_before_naming(engine_fixture *f, io_fault *fault)
{
    const baton_engine_snapshot_state *state = baton_engine_snapshot_status(f->engine);
    const uint32_t before = engine_fixture_snapshots_count(f);
    assert_int_equal(baton_engine_snapshot_begin(f->engine, &f->error), 0);
    io_fault_crash_after(fault, io_fault_count(fault));
    for (int i = 0; i < 10000 && state->running; i++) {
        int r = baton_engine_turn(f->engine, 10000000, &f->error);
        if (r != 0)
            break;
    }
    int r = baton_engine_close(f->engine);
    assert_true(r != 0);
    f->engine = NULL;
    assert_int_equal(engine_fixture_snapshots_count(f), before + 1);
    f->options.io_backend = NULL;
    f->options.io_context = NULL;
}

static void one_that_nothing_durable_names_is_not_used(void **unused)
{
    (void)unused;
    engine_fixture f;
    io_fault *fault = io_fault_new();
    engine_fixture_make(&f, "trust_unnamed");
    f.options.io_backend = io_fault_backend();
    f.options.io_context = fault;
    two_generations(&f);
    /* Nothing may be under way when the disk dies: also the mark that proves the tail. */
    for (int i = 0; i < 20; i++)
        engine_fixture_turn(&f);
    die_before_naming(&f, fault);
    reopen_and_check(&f, 300);
    assert_int_equal(f.report.snapshots_skipped, 1);
    assert_non_null(strstr(f.report.snapshot_skipped_why, "names it"));
    assert_int_equal(f.report.snapshot_seq, 200);
    engine_fixture_submit_stream(&f, 301, 400);
    engine_fixture_close(&f);
    reopen_and_check(&f, 400);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    io_fault_free(fault);
}

static bool is_named(const engine_fixture *f, uint64_t seq)
{
    char path[TEST_PATH_BYTES + 64];
    baton_journal *journal;
    baton_recovery_report report;
    snprintf(path, sizeof(path), "%s/journal", f->path);
    assert_int_equal(baton_journal_open(path, NULL, &journal, &report, NULL), 0);
    const baton_facts *facts = baton_journal_facts(journal);
    bool found = false;
    for (uint32_t i = 0; i < facts->roots_count; i++)
        found |= baton_le64_get(facts->roots[i].seq) == seq;
    baton_journal_abandon(journal);
    return found;
}

static void the_handover_record_vouches_and_the_successor_names(void **unused)
{
    (void)unused;
    engine_fixture f;
    io_fault *fault = io_fault_new();
    engine_fixture_make(&f, "trust_handover");
    f.options.io_backend = io_fault_backend();
    f.options.io_context = fault;
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_submit_stream(&f, 1, 300);
    engine_fixture_hand_over(&f);
    for (int i = 0; i < 20; i++)
        engine_fixture_turn(&f);
    die_before_naming(&f, fault);
    assert_false(is_named(&f, 300));

    reopen_and_check(&f, 300);
    assert_int_equal(f.report.snapshots_skipped, 0);
    assert_true(f.report.from_snapshot);
    assert_int_equal(f.report.snapshot_seq, 300);
    engine_fixture_close(&f);
    assert_true(is_named(&f, 300));
    engine_fixture_remove(&f);
    io_fault_free(fault);
}

/* A snapshot file made by hand: the state after `entries` entries, said to be the one after seq. */
static void forge(const engine_fixture *f, uint64_t entries, uint64_t seq, baton_digest journal_id,
                  bool wrong_digest)
{
    char path[TEST_PATH_BYTES + 64];
    baton_machine *machine = malloc(sizeof(*machine));
    baton_snapshot_writer *writer;
    baton_io *io;
    baton_snapshot_info info = {.service = "toy",
                                .version = "1.0.0",
                                .form = "portable",
                                .schema = 1,
                                .seq = seq,
                                .epoch = 77,
                                .journal_id = journal_id};
    assert_non_null(machine);
    assert_int_equal(baton_machine_init(machine, &toy_service_v1, NULL, NULL), 0);
    for (uint64_t n = 1; n <= entries; n++) {
        const toy_add add = engine_stream_entry(n);
        const baton_entry entry = {
            .seq = n, .epoch = 1, .type = TOY_ADD, .payload = &add, .payload_bytes = sizeof(add)};
        assert_int_equal(baton_machine_apply(machine, &entry), 0);
    }
    assert_int_equal(baton_machine_digest(machine, 1, &info.state_digest), 0);
    info.effect_digest = machine->effect_digest;
    if (wrong_digest)
        info.state_digest.bytes[3] ^= 1;
    assert_int_equal(baton_snapshot_writer_create(&(baton_snapshot_options){0}, &writer), 0);
    assert_int_equal(baton_machine_pack(machine, 1, writer), 0);
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), 0);
    snprintf(path, sizeof(path), "%s/snapshots", f->path);
    assert_int_equal(baton_io_open(&(baton_io_options){.choice = BATON_IO_THREADS}, &io, NULL), 0);
    assert_int_equal(baton_snapshot_publish(io, path, writer, &info, NULL), 0);
    baton_io_close(io);
    baton_machine_fini(machine);
    free(machine);
}

static baton_digest journal_id_of(const engine_fixture *f)
{
    char path[TEST_PATH_BYTES + 64];
    baton_journal_summary summary;
    snprintf(path, sizeof(path), "%s/journal", f->path);
    assert_int_equal(baton_journal_verify(path, BATON_BACKEND_AUTO, NULL, NULL, &summary, NULL), 0);
    return summary.id;
}

static void a_state_that_was_not_the_one_handed_over_is_not_used(void **unused)
{
    (void)unused;
    for (int kind = 0; kind < 3; kind++) {
        engine_fixture f;
        engine_fixture_make(&f, "trust_forged");
        engine_fixture_open(&f, &toy_service_v1);
        engine_fixture_submit_stream(&f, 1, 300);
        engine_fixture_hand_over(&f);
        engine_fixture_close(&f);
        baton_digest id = journal_id_of(&f);
        if (kind == 2)
            id.bytes[0] ^= 1;
        forge(&f, kind == 0 ? 299 : 300, 300, id, kind == 1);
        reopen_and_check(&f, 300);
        static const char *const why[] = {"not the one handed over", "digest", "another journal"};
        assert_int_equal(f.report.snapshots_skipped, 1);
        assert_non_null(strstr(f.report.snapshot_skipped_why, why[kind]));
        assert_int_equal(f.report.replayed_entries, 300);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
    }
}

/* A record that names a successor, as a handover between two instances writes it. */
static void a_directory_that_was_handed_to_another_instance_is_refused(void **unused)
{
    (void)unused;
    engine_fixture f;
    char path[TEST_PATH_BYTES + 64];
    baton_journal *journal;
    baton_recovery_report report;
    engine_fixture_make(&f, "trust_granted");
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_submit_stream(&f, 1, 10);
    engine_fixture_close(&f);
    snprintf(path, sizeof(path), "%s/journal", f.path);
    assert_int_equal(baton_journal_open(path, NULL, &journal, &report, &f.error), 0);
    assert_int_equal(baton_journal_begin(journal, &report, &f.error), 0);
    baton_handover_wire wire = {.epoch = baton_le64_put(baton_journal_epoch(journal)),
                                .last_seq = baton_le64_put(10),
                                .state_schema = baton_le32_put(1),
                                .successor_nonce = {1}};
    memcpy(wire.state_digest, expected[10].state.bytes, sizeof(wire.state_digest));
    memcpy(wire.effect_digest, expected[10].effects.bytes, sizeof(wire.effect_digest));
    assert_int_equal(
        baton_journal_append_record(journal, BATON_RECORD_HANDOVER, &wire, sizeof(wire)), 0);
    assert_int_equal(baton_journal_close(journal), 0);
    assert_int_equal(engine_fixture_try_open(&f, &toy_service_v1), BATON_E_REFUSED);
    assert_non_null(strstr(f.error.why, "epoch 2"));
    engine_fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_named_snapshot_is_used),
        cmocka_unit_test(a_damaged_one_is_named_and_the_one_before_is_used),
        cmocka_unit_test(with_all_damaged_the_whole_journal_is_replayed),
        cmocka_unit_test(what_retention_removed_is_asked_for_by_name),
        cmocka_unit_test(one_that_nothing_durable_names_is_not_used),
        cmocka_unit_test(the_handover_record_vouches_and_the_successor_names),
        cmocka_unit_test(a_state_that_was_not_the_one_handed_over_is_not_used),
        cmocka_unit_test(a_directory_that_was_handed_to_another_instance_is_refused),
    };
    expected = engine_stream_expected(1000);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(expected);
    return failed;
}
