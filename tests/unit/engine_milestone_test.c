/* tests/unit/engine_milestone_test.c: a start that is killed in its replay leaves what it had come
 * to, and the next one goes on from there (S1, S2). */
#include "tests/unit/engine_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "journal/records.h"

#define ENTRIES 1000u

static engine_expected *expected;

static int make_expected(void **unused)
{
    (void)unused;
    expected = engine_stream_expected(2 * ENTRIES);
    return 0;
}

static int free_expected(void **unused)
{
    (void)unused;
    free(expected);
    return 0;
}

/* ---- the rig ---- */

static const baton_service *served;
static uint64_t die_at; /* apply kills its process at this entry */

static int dying_apply(void *state, const baton_entry *entry, baton_effects *effects)
{
    if (entry->seq == die_at)
        (void)kill(getpid(), SIGKILL);
    return served->apply(state, entry, effects);
}

/* A process of its own opens the engine and is killed when it comes to that entry. */
static void open_and_die(engine_fixture *f, const baton_service *service, uint64_t at)
{
    int status = 0;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        baton_service dying = *service;
        served = service;
        die_at = at;
        dying.apply = dying_apply;
        const int r = engine_fixture_try_open(f, &dying);
        _exit(r == 0 ? 1 : 2); /* it should not have come so far */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

/* Entries 1 to ENTRIES with a checkpoint every 100, closed. */
static void fill(engine_fixture *f, const char *name, const baton_service *service)
{
    engine_fixture_make(f, name);
    f->options.checkpoint_every = 100;
    f->options.hydrate_snapshot_every = 200;
    engine_fixture_open(f, service);
    for (uint64_t n = 1; n <= ENTRIES; n += 100) {
        engine_fixture_submit_stream(f, n, n + 99);
        engine_fixture_settle(f);
    }
    engine_fixture_close(f);
}

static void open_and_check(engine_fixture *f, const baton_service *service, uint64_t snapshot_seq,
                           uint64_t resumed_seq)
{
    engine_fixture_open(f, service);
    assert_int_equal(baton_engine_applied_seq(f->engine), ENTRIES);
    engine_assert_uninterrupted(f, expected);
    assert_int_equal(f->report.snapshot_seq, snapshot_seq);
    assert_int_equal(f->report.resumed_seq, resumed_seq);
    assert_int_equal(f->report.replayed_entries, ENTRIES - snapshot_seq);
}

/* ---- claims ---- */

static void killed_and_next(const baton_service *service, baton_snapshot_form form,
                            const char *kept_form)
{
    engine_fixture f;
    fill(&f, "milestone_kill", service);
    f.options.snapshot_form = form;
    open_and_die(&f, service, 777);
    assert_int_equal(engine_fixture_snapshots_count(&f), 1); /* each took the place of the last */

    open_and_check(&f, service, 600, 600);
    assert_int_equal(f.report.kept_count, 1);
    assert_int_equal(f.report.kept_seq, 800);
    assert_string_equal(f.report.snapshot_form, kept_form);
    engine_fixture_close(&f);

    /* Both were named: generations as any other. */
    open_and_check(&f, service, 800, 0);
    engine_fixture_close(&f);
    engine_damage(engine_snapshot_path(&f, 0, "chunks"), 20);
    open_and_check(&f, service, 600, 0);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void a_killed_replay_is_gone_on_from_where_it_had_come_to(void **unused)
{
    (void)unused;
    killed_and_next(&toy_service_v1, BATON_FORM_AUTO, "portable");
    killed_and_next(&toy_service_arena, BATON_FORM_PORTABLE, "portable");
}

static void so_is_one_that_keeps_images(void **unused)
{
    (void)unused;
    killed_and_next(&toy_service_arena, BATON_FORM_IMAGE, "image");
    killed_and_next(&toy_service_arena, BATON_FORM_AUTO, "image");
}

static void killed_again_and_again_it_comes_to_the_end(void **unused)
{
    (void)unused;
    engine_fixture f;
    fill(&f, "milestone_again", &toy_service_v1);
    for (uint64_t at = 250; at < ENTRIES; at += 200)
        open_and_die(&f, &toy_service_v1, at);
    open_and_check(&f, &toy_service_v1, 800, 800);
    assert_int_equal(f.report.kept_count, 0); /* nothing lies ahead */
    engine_fixture_submit_stream(&f, ENTRIES + 1, ENTRIES + 100);
    engine_fixture_settle(&f);
    for (int i = 0; i < 20; i++)
        engine_fixture_turn(&f);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void a_damaged_one_falls_back_to_what_the_journal_names(void **unused)
{
    (void)unused;
    static const struct {
        const char *suffix;
        long offset;
    } places[] = {{"chunks", 20}, {"manifest", 20}, {"manifest", -5}};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        engine_fixture f;
        fill(&f, "milestone_damaged", &toy_service_v1);
        open_and_die(&f, &toy_service_v1, 777);
        engine_damage(engine_snapshot_path(&f, 0, places[i].suffix), places[i].offset);
        open_and_check(&f, &toy_service_v1, 0, 0);
        assert_int_equal(f.report.snapshots_skipped, 1);
        assert_int_equal(f.report.kept_seq, 800);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
    }
}

static void a_refused_start_leaves_nothing_of_it(void **unused)
{
    (void)unused;
    engine_fixture f;
    fill(&f, "milestone_refused", &toy_service_v1);
    toy_set_skew(TOY_SKEW_STATE, 850);
    const int r = engine_fixture_try_open(&f, &toy_service_v1);
    toy_set_skew(TOY_WELL, 0);
    assert_int_equal(r, BATON_E_DIVERGED);
    assert_int_equal(engine_fixture_snapshots_count(&f), 0);
    open_and_check(&f, &toy_service_v1, 0, 0);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

/* A digest that sees nothing until so much was counted: the state may be wrong before. */
static uint64_t blind_up_to;

static int blind_digest(const void *state, uint32_t schema, baton_digest *ret_digest)
{
    uint64_t sum = 0;
    for (uint32_t key = 0; key < TOY_KEYS; key++)
        sum += toy_counter(state, key);
    *ret_digest = (baton_digest){{1}};
    return sum <= blind_up_to ? 0 : toy_service_v1.digest(state, schema, ret_digest);
}

static uint64_t applied_entries(const engine_fixture *f)
{
    const baton_rates *rates = baton_engine_rates(f->engine);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < rates->types_count; i++)
        sum += rates->types[i].applied;
    return sum;
}

static void what_no_digest_saw_is_taken_back_when_it_shows(void **unused)
{
    (void)unused;
    engine_fixture f;
    baton_service blind = toy_service_v1;
    blind.digest = blind_digest;
    blind_up_to = 0;
    for (uint64_t n = 1; n <= 850; n++)
        blind_up_to += baton_le32_get(engine_stream_entry(n).amount);
    fill(&f, "milestone_blind", &blind);

    toy_set_skew(TOY_SKEW_STATE, 150); /* another build, and it does not live to be found out */
    open_and_die(&f, &blind, 777);
    toy_set_skew(TOY_WELL, 0);
    f.options.hydrate_snapshot_every = UINT64_MAX;
    open_and_check(&f, &blind, 0, 0);
    assert_int_equal(f.report.snapshots_skipped, 1);
    assert_non_null(strstr(f.report.snapshot_skipped_why, "digest is"));
    assert_int_equal(f.report.kept_count, 0);
    assert_int_equal(applied_entries(&f), ENTRIES); /* of the replay that was good: for the RTO */
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

/* By the times: what a clock that stands still never asks for, and a fast one always. */
static uint64_t clock_now_ns, clock_step_ns;

static uint64_t clock_reads(const baton_clock *clock)
{
    (void)clock;
    return clock_now_ns += clock_step_ns;
}

static void the_target_says_how_often(void **unused)
{
    (void)unused;
    const baton_clock clock = {.monotonic_ns = clock_reads, .wall_ns = clock_reads};
    static const struct {
        uint64_t step_ns, target_ns;
        bool keeps;
    } cases[] = {
        {0, 1, false},                                        /* no time passes */
        {UINT64_C(100000000), UINT64_C(4000000000), true},    /* a second comes in time */
        {UINT64_C(100000000), UINT64_C(400000000000), false}, /* it never takes 100 s */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        engine_fixture f;
        fill(&f, "milestone_times", &toy_service_v1);
        f.options.hydrate_snapshot_every = 0;
        f.options.clock = &clock;
        f.options.rto_target_ns = cases[i].target_ns;
        clock_step_ns = cases[i].step_ns;
        open_and_check(&f, &toy_service_v1, 0, 0);
        assert_int_equal(f.report.kept_count > 0, cases[i].keeps);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
    }
}

/* The next start begins with it: so the prediction does, too. */
static void the_prediction_counts_from_it(void **unused)
{
    (void)unused;
    engine_fixture f;
    baton_rto_prediction prediction;
    fill(&f, "milestone_rto", &toy_service_v1);
    engine_fixture_open(&f, &toy_service_v1);
    assert_int_equal(f.report.kept_seq, 800);
    assert_int_equal(f.report.kept_count, 4);
    assert_true(f.report.kept_ns > 0);
    baton_engine_rto_get(f.engine, &prediction);
    assert_int_equal(prediction.snapshot_seq, 800);
    assert_int_equal(prediction.tail_entries, 200);
    assert_true(prediction.tail_bytes > 0 && prediction.tail_bytes < f.report.replayed_bytes / 2);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_replay_is_gone_on_from_where_it_had_come_to),
        cmocka_unit_test(so_is_one_that_keeps_images),
        cmocka_unit_test(killed_again_and_again_it_comes_to_the_end),
        cmocka_unit_test(a_damaged_one_falls_back_to_what_the_journal_names),
        cmocka_unit_test(a_refused_start_leaves_nothing_of_it),
        cmocka_unit_test(what_no_digest_saw_is_taken_back_when_it_shows),
        cmocka_unit_test(the_target_says_how_often),
        cmocka_unit_test(the_prediction_counts_from_it),
    };
    return cmocka_run_group_tests(tests, make_expected, free_expected);
}
