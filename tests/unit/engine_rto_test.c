/* tests/unit/engine_rto_test.c: an engine measures, predicts and takes snapshots by it (S7), with a
 * clock that only applying moves. */
#include "tests/unit/engine_fixture.h"

#include <baton/clock.h>

#include <stdio.h>
#include <stdlib.h>

#define MS UINT64_C(1000000)

static uint64_t now_ns; /* of the test's clock */

static uint64_t stopped_ns(const baton_clock *clock)
{
    (void)clock;
    return now_ns;
}

static const baton_clock stopped_clock = {.monotonic_ns = stopped_ns, .wall_ns = stopped_ns};

static int slow_apply(void *state, const baton_entry *entry, baton_effects *effects)
{
    now_ns += entry->type == TOY_TICK ? 5 * MS : MS;
    return toy_service_v1.apply(state, entry, effects);
}

static baton_service slow_service(void)
{
    baton_service service = toy_service_v1;
    service.apply = slow_apply;
    return service;
}

static void make(engine_fixture *f, const char *name, uint64_t target_ns)
{
    engine_fixture_make(f, name);
    f->options.clock = &stopped_clock;
    f->options.rto_target_ns = target_ns;
    now_ns = 1;
}

static void submit_ticks(engine_fixture *f, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const toy_tick tick = {baton_le64_put(i)};
        assert_int_equal(baton_engine_submit(f->engine, TOY_TICK, &tick, sizeof(tick), NULL), 0);
        if (i % 100 == 99)
            engine_fixture_settle(f);
    }
}

static baton_rto_prediction predicted(const engine_fixture *f)
{
    baton_rto_prediction p;
    baton_engine_rto_get(f->engine, &p);
    assert_true(p.total_ns - (p.fixed_ns + p.load_ns + p.recover_ns + p.read_ns + p.apply_ns) == 0);
    return p;
}

static void the_tail_counts_by_the_cost_of_its_types(void **unused)
{
    (void)unused;
    const baton_service slow = slow_service();
    engine_fixture f;
    make(&f, "rto_types", 0);
    engine_fixture_open(&f, &slow);
    engine_fixture_submit_stream(&f, 1, 300);
    submit_ticks(&f, 100);
    engine_fixture_settle(&f);
    baton_rto_prediction p = predicted(&f);
    assert_true(p.apply_ns == 300 * ((double)MS * BATON_RATES_RATIO) +
                                  100 * (5.0 * (double)MS * BATON_RATES_RATIO));
    assert_int_equal(p.tail_entries, 400);
    assert_in_range(p.tail_bytes, 400 * 20, 400 * 4096 + 16 * 4096);
    assert_true(p.read_ns == (double)p.tail_bytes * BATON_RTO_NS_PER_BYTE);
    engine_fixture_close(&f);

    engine_fixture_open(&f, &slow); /* now a replay has measured it */
    p = predicted(&f);
    assert_true(p.apply_ns == (300 * 1.0 + 100 * 5.0) * (double)MS);
    assert_true(f.report.replay_ns == (300 + 100 * 5) * MS);
    assert_true(p.tail_bytes == f.report.replayed_bytes);
    assert_int_equal(p.tail_entries, 400);

    assert_int_equal(engine_fixture_snapshot(&f), 0); /* it takes the tail away */
    p = predicted(&f);
    assert_true(p.apply_ns == 0);
    assert_int_equal(p.snapshot_seq, 400);
    engine_fixture_submit_stream(&f, 401, 410);
    assert_true(predicted(&f).apply_ns == 10.0 * (double)MS);
    engine_fixture_close(&f);

    engine_fixture_open(&f, &slow);
    assert_int_equal(f.report.snapshot_seq, 400);
    p = predicted(&f);
    assert_true(p.apply_ns == 10.0 * (double)MS);
    assert_int_equal(p.snapshot_seq, 400);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void what_a_start_reads_is_what_was_written(void **unused)
{
    (void)unused;
    engine_fixture f;
    make(&f, "rto_bytes", 0);
    engine_fixture_open(&f, &toy_service_v1);
    for (uint64_t n = 1; n <= 2000; n += 50) { /* batches of every size */
        engine_fixture_submit_stream(&f, n, n + (n % 3 == 0 ? 49 : 9));
        if (n % 3 != 0)
            engine_fixture_settle(&f);
        if (n % 3 != 0)
            engine_fixture_submit_stream(&f, n + 10, n + 49);
    }
    engine_fixture_settle(&f);
    const double written = (double)predicted(&f).tail_bytes;
    engine_fixture_close(&f);
    engine_fixture_open(&f, &toy_service_v1);
    const double read = (double)f.report.replayed_bytes;
    print_message("%.0f bytes written, %.0f read\n", written, read);
    assert_true(read > 0.8 * written && read < 1.2 * written); /* marks at the ends may differ */
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void a_damaged_snapshot_leaves_the_tail_of_the_one_before(void **unused)
{
    (void)unused;
    const baton_service slow = slow_service();
    engine_fixture f;
    make(&f, "rto_damaged", 0);
    engine_fixture_open(&f, &slow);
    for (uint64_t n = 1; n <= 200; n += 100) {
        engine_fixture_submit_stream(&f, n, n + 99);
        assert_int_equal(engine_fixture_snapshot(&f), 0);
    }
    engine_fixture_submit_stream(&f, 201, 220);
    engine_fixture_close(&f);
    engine_damage(engine_snapshot_path(&f, 0, "chunks"), 10);
    engine_fixture_open(&f, &slow);
    const baton_rto_prediction p = predicted(&f);
    assert_int_equal(p.snapshot_seq, 100);
    assert_int_equal(p.tail_entries, 120);
    assert_true(p.apply_ns == 120.0 * (double)MS);
    assert_true(p.recover_ns == p.read_ns); /* recovery begins at that snapshot, too */
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void a_snapshot_is_taken_when_the_prediction_passes_the_target(void **unused)
{
    (void)unused;
    const baton_service slow = slow_service();
    engine_fixture f;
    make(&f, "rto_target", 1000 * MS); /* 1667 entries, at 0.6 of 1 ms each */
    engine_fixture_open(&f, &slow);
    const baton_engine_snapshot_state *state = baton_engine_snapshot_status(f.engine);
    uint64_t n = 0;
    double highest_ns = 0;
    while (state->taken_count < 2 && n < 20000) {
        engine_fixture_submit_stream(&f, n + 1, n + 50);
        n += 50;
        engine_fixture_settle(&f);
        const baton_rto_prediction p = predicted(&f);
        highest_ns = p.total_ns > highest_ns ? p.total_ns : highest_ns;
        while (state->running)
            engine_fixture_turn(&f);
    }
    assert_int_equal(state->taken_count, 2);
    assert_true(highest_ns <= 1100.0 * (double)MS); /* the step of this loop beyond it at most */
    assert_in_range(state->last_seq, 3000, 3600);
    assert_true(predicted(&f).total_ns < 200.0 * (double)MS);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void without_a_target_only_the_count_decides(void **unused)
{
    (void)unused;
    const baton_service slow = slow_service();
    engine_fixture f;
    make(&f, "rto_none", 0);
    engine_fixture_open(&f, &slow);
    for (uint64_t n = 1; n <= 4000; n += 500) {
        engine_fixture_submit_stream(&f, n, n + 499);
        engine_fixture_settle(&f);
    }
    assert_int_equal(baton_engine_snapshot_status(f.engine)->taken_count, 0);
    assert_true(predicted(&f).total_ns > 2000.0 * (double)MS);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void it_is_a_metric(void **unused)
{
    (void)unused;
    const baton_service slow = slow_service();
    engine_fixture f;
    char *text;
    size_t bytes;
    make(&f, "rto_metric", 7000 * MS);
    engine_fixture_open(&f, &slow);
    engine_fixture_submit_stream(&f, 1, 1000);
    engine_fixture_settle(&f);
    engine_fixture_turn(&f);
    assert_int_equal(baton_metrics_print(baton_engine_metrics(f.engine), &text, &bytes), 0);
    assert_non_null(strstr(text, "\nbaton_rto_target_seconds 7\n"));
    const char *line = strstr(text, "\nbaton_predicted_rto_seconds 0.6");
    assert_non_null(line);
    free(text);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

/* Until one was loaded: how long the one that is there took, of which its writing is a part. */
static void what_was_written_while_it_was_taken_counts_once(void **unused)
{
    (void)unused;
    static const struct {
        baton_snapshot_form form;
        uint32_t pin_schema;
    } cases[] = {{BATON_FORM_IMAGE, 0}, {BATON_FORM_AUTO, 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        engine_fixture f;
        baton_snapshot_listed *list = NULL;
        uint32_t count = 0;
        char path[TEST_PATH_BYTES + 64];
        engine_fixture_make(&f, "rto_written");
        f.options.snapshot_form = cases[i].form;
        f.options.pin_schema = cases[i].pin_schema;
        engine_fixture_open(&f, &toy_service_arena_v2);
        for (int n = 0; n < 10; n++)
            assert_int_equal(engine_fixture_burst(&f, 100, 4000, 1), 0); /* into the outbox */
        engine_fixture_settle(&f);
        assert_int_equal(engine_fixture_snapshot(&f), 0);
        snprintf(path, sizeof(path), "%s/snapshots", f.path);
        assert_int_equal(baton_snapshot_list(path, &list, &count, &f.error), 0);
        assert_int_equal(count, 1);
        const baton_rto_prediction p = predicted(&f);
        const double difference = p.load_ns - (double)list[0].info.taken_ns;
        print_message("%s: %.3f ms\n", list[0].info.form, p.load_ns / (double)MS);
        assert_true(list[0].info.raw_bytes >= BATON_RTO_MEASURE_BYTES);
        assert_true(difference < 1 && difference > -1);
        free(list);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tail_counts_by_the_cost_of_its_types),
        cmocka_unit_test(what_a_start_reads_is_what_was_written),
        cmocka_unit_test(a_damaged_snapshot_leaves_the_tail_of_the_one_before),
        cmocka_unit_test(a_snapshot_is_taken_when_the_prediction_passes_the_target),
        cmocka_unit_test(without_a_target_only_the_count_decides),
        cmocka_unit_test(it_is_a_metric),
        cmocka_unit_test(what_was_written_while_it_was_taken_counts_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
