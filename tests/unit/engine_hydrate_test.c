/* tests/unit/engine_hydrate_test.c: a start gives the state of the run that was never interrupted,
 * or refuses (E2, E7). */
#include "tests/unit/engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define STREAM_ENTRIES 3000u

static engine_expected *expected;

static uint32_t random_below(uint64_t *seed, uint32_t limit)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % limit;
}

/* Ends a run in one of the ways a run ends. */
static void cut(engine_fixture *f, uint32_t way)
{
    switch (way) {
    case 0: /* closed without a word */
        break;
    case 1:
        engine_fixture_settle(f);
        break;
    case 2:
        engine_fixture_hand_over(f);
        break;
    case 3:
        engine_fixture_hand_over(f);
        assert_int_equal(engine_fixture_snapshot(f), 0);
        break;
    default:
        assert_int_equal(engine_fixture_snapshot(f), 0);
        break;
    }
    engine_fixture_close(f);
}

static void any_cut_ends_like_the_uninterrupted_run(void **unused)
{
    (void)unused;
    for (uint64_t first_seed = 1; first_seed <= 3; first_seed++) {
        uint64_t seed = first_seed;
        engine_fixture f;
        print_message("seed %llu\n", (unsigned long long)seed);
        engine_fixture_make(&f, "hydrate_cuts");
        f.options.checkpoint_every = 37;
        f.options.snapshot_every = first_seed == 2 ? 150 : 0;
        f.options.retire = first_seed == 2;
        f.options.mode = first_seed == 3 ? BATON_MODE_WRITTEN : BATON_MODE_DURABLE;
        f.options.backend = first_seed == 2 ? BATON_BACKEND_THREADS : BATON_BACKEND_AUTO;
        uint64_t n = 0;
        while (n < STREAM_ENTRIES) {
            engine_fixture_open(&f, &toy_service_v1);
            assert_int_equal(baton_engine_applied_seq(f.engine), n);
            engine_assert_expected(&f, expected);
            assert_int_equal(f.report.recovery.acked_lost, 0);
            uint64_t to = n + 1 + random_below(&seed, 400);
            to = to < STREAM_ENTRIES ? to : STREAM_ENTRIES;
            while (n < to) {
                const uint64_t some = 1 + random_below(&seed, 60);
                const uint64_t end = n + some < to ? n + some : to;
                engine_fixture_submit_stream(&f, n + 1, end);
                engine_fixture_turn(&f);
                n = end;
            }
            engine_assert_expected(&f, expected);
            cut(&f, random_below(&seed, 5));
        }
        engine_fixture_open(&f, &toy_service_v1);
        engine_assert_expected(&f, expected);
        assert_int_equal(baton_engine_applied_seq(f.engine), STREAM_ENTRIES);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
    }
}

static void fill(engine_fixture *f, uint64_t entries_count)
{
    engine_fixture_open(f, &toy_service_v1);
    for (uint64_t n = 1; n <= entries_count; n += 100) {
        engine_fixture_submit_stream(f, n, n + 99 < entries_count ? n + 99 : entries_count);
        engine_fixture_turn(f);
    }
    engine_fixture_settle(f);
}

static void replay_at_rest_gives_the_state_after_any_entry(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "hydrate_at_rest");
    f.options.checkpoint_every = 100;
    fill(&f, 400);
    assert_int_equal(engine_fixture_snapshot(&f), 0);
    engine_fixture_submit_stream(&f, 401, 1000);
    engine_fixture_hand_over(&f);
    engine_fixture_close(&f);
    static const uint64_t seqs[] = {1, 2, 99, 100, 399, 400, 401, 777, 999, 1000, 0};
    for (size_t i = 0; i < sizeof(seqs) / sizeof(seqs[0]); i++) {
        for (int ignore = 0; ignore < 2; ignore++) {
            const baton_replay_options options = {.to_seq = seqs[i],
                                                  .ignore_snapshots = ignore == 1};
            baton_replay_result result;
            const uint64_t seq = seqs[i] != 0 ? seqs[i] : 1000;
            assert_int_equal(baton_replay(&toy_service_v1, f.path, &options, 0, &result, &f.error),
                             0);
            assert_int_equal(result.seq, seq);
            assert_memory_equal(&result.state_digest, &expected[seq].state, sizeof(baton_digest));
            assert_memory_equal(&result.effect_digest, &expected[seq].effects,
                                sizeof(baton_digest));
            assert_int_equal(result.effects_count, expected[seq].effects_count);
            assert_int_equal(result.hydrate.from_snapshot, ignore == 0 && seq >= 400);
            assert_int_equal(result.epoch, 1);
        }
    }
    baton_replay_result result;
    assert_int_equal(baton_replay(&toy_service_v1, f.path, NULL, 7, &result, &f.error),
                     BATON_E_SCHEMA);
    engine_fixture_remove(&f);
}

typedef struct {
    uint64_t entries;
    uint64_t effects;
    uint64_t last_seq;
} heard;

static void hear_entry(void *context, const baton_entry *entry)
{
    heard *h = context;
    h->entries++;
    assert_int_equal(entry->seq, h->last_seq + 1);
    h->last_seq = entry->seq;
}

static void hear_effect(void *context, const baton_effect *effect)
{
    heard *h = context;
    h->effects++;
    assert_int_equal(effect->seq, h->last_seq);
}

static void replay_shows_every_entry_and_effect(void **unused)
{
    (void)unused;
    engine_fixture f;
    heard h = {0};
    engine_fixture_make(&f, "hydrate_shows");
    fill(&f, 300);
    engine_fixture_close(&f);
    const baton_replay_options options = {
        .on_effect = hear_effect, .on_entry = hear_entry, .context = &h};
    baton_replay_result result;
    assert_int_equal(baton_replay(&toy_service_v1, f.path, &options, 1, &result, &f.error), 0);
    assert_int_equal(h.entries, 300);
    assert_int_equal(h.effects, expected[300].effects_count);
    engine_fixture_remove(&f);
}

static void an_absent_directory_replays_as_empty(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "hydrate_absent");
    baton_replay_result result;
    assert_int_equal(baton_replay(&toy_service_v1, f.path, NULL, 0, &result, &f.error), 0);
    assert_int_equal(result.seq, 0);
    assert_memory_equal(&result.state_digest, &expected[0].state, sizeof(baton_digest));
    assert_int_equal(access(f.path, F_OK), -1); /* reading makes nothing */
    engine_fixture_remove(&f);
}

static void a_checkpoint_that_differs_is_named_with_its_interval(void **unused)
{
    (void)unused;
    for (int kind = TOY_SKEW_STATE; kind <= TOY_SKEW_EFFECT; kind++) {
        engine_fixture f;
        engine_fixture_make(&f, "hydrate_diverged");
        f.options.checkpoint_every = 10;
        fill(&f, 95);
        engine_fixture_close(&f);
        toy_set_skew((toy_skew)kind, 42);
        assert_int_equal(engine_fixture_try_open(&f, &toy_service_v1), BATON_E_DIVERGED);
        assert_non_null(strstr(f.error.why, "entries 41 to 50"));
        assert_non_null(
            strstr(f.error.why, kind == TOY_SKEW_STATE ? "state digest" : "effect digest"));
        toy_set_skew(TOY_WELL, 0);
        engine_fixture_open(&f, &toy_service_v1); /* the refusal changed nothing */
        assert_int_equal(baton_engine_epoch(f.engine), 2);
        assert_int_equal(f.report.checkpoints_compared, 9);
        engine_assert_expected(&f, expected);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
    }
}

static void the_handover_record_is_compared_too(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "hydrate_handover");
    f.options.checkpoint_every = 10;
    fill(&f, 95);
    engine_fixture_hand_over(&f);
    engine_fixture_close(&f);
    toy_set_skew(TOY_SKEW_STATE, 93);
    assert_int_equal(engine_fixture_try_open(&f, &toy_service_v1), BATON_E_DIVERGED);
    assert_non_null(strstr(f.error.why, "entries 91 to 95"));
    toy_set_skew(TOY_WELL, 0);
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void an_unknown_entry_type_stops_the_replay(void **unused)
{
    (void)unused;
    static const baton_entry_type only_add[] = {{TOY_ADD, 1}};
    baton_service poorer = toy_service_v1;
    poorer.entry_types = only_add;
    poorer.entry_types_count = 1;
    engine_fixture f;
    engine_fixture_make(&f, "hydrate_unknown");
    fill(&f, 10);
    const toy_tick tick = {baton_le64_put(5)};
    uint64_t seq;
    assert_int_equal(baton_engine_submit(f.engine, TOY_TICK, &tick, sizeof(tick), &seq), 0);
    engine_fixture_close(&f);
    assert_int_equal(engine_fixture_try_open(&f, &poorer), BATON_E_UNKNOWN_TYPE);
    assert_non_null(strstr(f.error.why, "type 4 of entry 11"));
    engine_fixture_open(&f, &toy_service_v1);
    assert_int_equal(baton_engine_epoch(f.engine), 2);
    assert_int_equal(toy_ticks(baton_engine_state(f.engine)), 1);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void another_service_is_refused(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "hydrate_other");
    fill(&f, 10);
    engine_fixture_close(&f);
    baton_replay_result result;
    assert_int_equal(engine_fixture_try_open(&f, &toy_service_other), BATON_E_OTHER_SERVICE);
    assert_int_equal(baton_replay(&toy_service_other, f.path, NULL, 0, &result, &f.error),
                     BATON_E_OTHER_SERVICE);
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void move_away(const engine_fixture *f, const char *name)
{
    char from[TEST_PATH_BYTES + 64];
    char to[TEST_PATH_BYTES + 64];
    snprintf(from, sizeof(from), "%s/%s", f->path, name);
    snprintf(to, sizeof(to), "%s/moved-%s", f->dir.path, name);
    assert_int_equal(rename(from, to), 0);
}

static void snapshots_without_their_journal_are_refused(void **unused)
{
    (void)unused;
    engine_fixture f;
    baton_replay_result result;
    engine_fixture_make(&f, "hydrate_no_journal");
    fill(&f, 10);
    assert_int_equal(engine_fixture_snapshot(&f), 0);
    engine_fixture_close(&f);
    move_away(&f, "journal");
    assert_int_equal(engine_fixture_try_open(&f, &toy_service_v1), BATON_E_UNTRUSTED);
    assert_true(f.error.todo[0] != '\0');
    assert_int_equal(baton_replay(&toy_service_v1, f.path, NULL, 0, &result, &f.error),
                     BATON_E_UNTRUSTED);
    engine_fixture_remove(&f);
}

static void a_journal_that_lost_what_a_manifest_proves_is_damaged(void **unused)
{
    (void)unused;
    engine_fixture f;
    char journal[TEST_PATH_BYTES + 64];
    char old_copy[TEST_PATH_BYTES + 64];
    baton_replay_result result;
    engine_fixture_make(&f, "hydrate_lost_tail");
    snprintf(journal, sizeof(journal), "%s/journal", f.path);
    snprintf(old_copy, sizeof(old_copy), "%s/old-journal", f.dir.path);
    fill(&f, 50);
    engine_copy_directory(journal, old_copy); /* as a restored disk would look */
    engine_fixture_submit_stream(&f, 51, 200);
    assert_int_equal(engine_fixture_snapshot(&f), 0);
    engine_fixture_close(&f);
    move_away(&f, "journal");
    assert_int_equal(rename(old_copy, journal), 0);
    assert_int_equal(engine_fixture_try_open(&f, &toy_service_v1), BATON_E_DAMAGED);
    assert_true(f.error.path[0] != '\0');
    assert_int_equal(baton_replay(&toy_service_v1, f.path, NULL, 0, &result, &f.error),
                     BATON_E_DAMAGED);
    engine_fixture_remove(&f);
}

static void a_bad_option_is_refused_before_anything_is_made(void **unused)
{
    (void)unused;
    engine_fixture f;
    const char *values[] = {"ten"};
    engine_fixture_make(&f, "hydrate_option");
    f.options.config.values = values;
    assert_int_equal(engine_fixture_try_open(&f, &toy_service_v1), BATON_E_INVALID);
    assert_non_null(strstr(f.error.why, "ten"));
    f.options.config.values = NULL;
    f.options.snapshots_keep = 1;
    assert_int_equal(engine_fixture_try_open(&f, &toy_service_v1), BATON_E_INVALID);
    assert_int_equal(access(f.path, F_OK), -1);
    engine_fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_cut_ends_like_the_uninterrupted_run),
        cmocka_unit_test(replay_at_rest_gives_the_state_after_any_entry),
        cmocka_unit_test(replay_shows_every_entry_and_effect),
        cmocka_unit_test(an_absent_directory_replays_as_empty),
        cmocka_unit_test(a_checkpoint_that_differs_is_named_with_its_interval),
        cmocka_unit_test(the_handover_record_is_compared_too),
        cmocka_unit_test(an_unknown_entry_type_stops_the_replay),
        cmocka_unit_test(another_service_is_refused),
        cmocka_unit_test(snapshots_without_their_journal_are_refused),
        cmocka_unit_test(a_journal_that_lost_what_a_manifest_proves_is_damaged),
        cmocka_unit_test(a_bad_option_is_refused_before_anything_is_made),
    };
    expected = engine_stream_expected(STREAM_ENTRIES);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(expected);
    return failed;
}
