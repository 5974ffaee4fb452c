/* tests/unit/engine_crash_test.c: the journal's disk dies after its n-th operation, for all n; or
 * one operation fails. What was released is there at the next start, and the state is that of the
 * uninterrupted run. */
#include "tests/unit/engine_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define ENTRIES 120u

static engine_expected *expected;

typedef struct {
    uint64_t released_seq; /* what the world has seen */
    uint64_t submitted_seq;
    bool opened;
    uint64_t ops; /* done in all */
} outcome;

typedef enum { DIE, TEAR_AND_DIE, FAIL_ONE } fault_kind;

static bool go_on(engine_fixture *f, outcome *out, int r)
{
    out->released_seq = baton_engine_released_seq(f->engine);
    return r == 0;
}

/* One life: open, 120 entries in small batches, checkpoints, confirmations, a snapshot, handover,
 * close. Any step may fail. */
static void live(engine_fixture *f, outcome *out)
{
    uint64_t n = 0;
    if (engine_fixture_try_open(f, &toy_service_v1) != 0)
        return;
    out->opened = true;
    n = baton_engine_applied_seq(f->engine);
    const uint64_t to = n + ENTRIES;
    int r = 0;
    while (r == 0 && n < to) {
        const toy_add add = engine_stream_entry(n + 1);
        uint64_t seq;
        r = baton_engine_submit(f->engine, TOY_ADD, &add, sizeof(add), &seq);
        if (r == 0)
            out->submitted_seq = ++n;
        else if (r == BATON_E_FULL)
            r = 0;
        if (n % 5 == 0 && !go_on(f, out, baton_engine_turn(f->engine, 1000000, &f->error)))
            break;
        if (n % 20 == 10 && f->seen_count > 0 && f->seen[f->seen_count - 1].consumer != 0) {
            const engine_seen *last = &f->seen[f->seen_count - 1];
            int confirmed = baton_engine_confirm(f->engine, last->consumer, last->epoch, last->seq,
                                                 last->index);
            (void)confirmed;
        }
        if (n == to - ENTRIES / 2 && r == 0)
            (void)!baton_engine_snapshot_begin(f->engine, NULL);
    }
    baton_engine_seal(f->engine);
    for (int i = 0; i < 2000 && !baton_engine_handover_durable(f->engine); i++) {
        if (!go_on(f, out, baton_engine_turn(f->engine, 1000000, &f->error)))
            break;
        (void)!baton_engine_handover_record(f->engine, NULL);
    }
    r = baton_engine_close(f->engine);
    f->engine = NULL;
}

static outcome one_life(engine_fixture *f, fault_kind kind, uint64_t n)
{
    io_fault *fault = io_fault_new();
    outcome out = {0};
    if (kind == FAIL_ONE)
        io_fault_fail(fault, n, EIO);
    else
        io_fault_crash_after(fault, n);
    if (kind == TEAR_AND_DIE)
        io_fault_tear(fault, n, 4096);
    f->seen_count = 0;
    f->options.io_backend = io_fault_backend();
    f->options.io_context = fault;
    live(f, &out);
    f->options.io_backend = NULL;
    f->options.io_context = NULL;
    out.ops = io_fault_count(fault);
    io_fault_free(fault);
    return out;
}

static void check_after(engine_fixture *f, const outcome *out, uint64_t before_seq, fault_kind kind,
                        uint64_t n)
{
    if (engine_fixture_try_open(f, &toy_service_v1) != 0) {
        char text[1024];
        fail_msg("kind %d, operation %llu: %s", (int)kind, (unsigned long long)n,
                 baton_error_text(&f->error, text, sizeof(text)));
    }
    const uint64_t seq = baton_engine_applied_seq(f->engine);
    const uint64_t least = out->released_seq > before_seq ? out->released_seq : before_seq;
    const uint64_t most = out->submitted_seq > before_seq ? out->submitted_seq : before_seq;
    if (seq < least || seq > most)
        fail_msg("kind %d, operation %llu: entry %llu, released %llu, submitted %llu", (int)kind,
                 (unsigned long long)n, (unsigned long long)seq, (unsigned long long)least,
                 (unsigned long long)most);
    engine_assert_expected(f, expected);
    engine_fixture_close(f);
}

static void sweep(fault_kind kind)
{
    const uint64_t stride = engine_sweep_stride();
    uint64_t last = UINT64_MAX;
    uint64_t rounds = 0;
    for (uint64_t n = 1 + kind % stride; n <= last; n += stride) {
        engine_fixture f;
        engine_fixture_make(&f, "crash_sweep");
        f.options.checkpoint_every = 7;
        f.options.retire = true;
        const outcome out = one_life(&f, kind, n);
        assert_int_equal(f.durable_broken_count, 0);
        check_after(&f, &out, 0, kind, n);
        if (out.ops < n)
            last = n; /* the whole life took fewer operations */
        rounds++;
        engine_fixture_remove(&f);
    }
    print_message("%llu rounds\n", (unsigned long long)rounds);
    assert_true(rounds * stride > 40);
}

static void dying_after_any_operation_loses_nothing_released(void **unused)
{
    (void)unused;
    sweep(DIE);
}

static void a_torn_last_operation_loses_nothing_released(void **unused)
{
    (void)unused;
    sweep(TEAR_AND_DIE);
}

static void any_failing_operation_loses_nothing_released(void **unused)
{
    (void)unused;
    sweep(FAIL_ONE);
}

static void many_deaths_of_one_directory_lose_nothing_released(void **unused)
{
    (void)unused;
    engine_fixture f;
    uint64_t seq = 0;
    uint64_t random = 99;
    print_message("seed %llu\n", (unsigned long long)random);
    engine_fixture_make(&f, "crash_many");
    f.options.checkpoint_every = 7;
    f.options.snapshot_every = 100;
    const int lives = engine_sweep_stride() > 1 ? 10 : 25;
    for (int life = 0; life < lives; life++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        const uint64_t n = 10 + (random >> 40) % 80;
        const outcome out = one_life(&f, life % 2 ? DIE : TEAR_AND_DIE, n);
        check_after(&f, &out, seq, DIE, n);
        engine_fixture_open(&f, &toy_service_v1);
        seq = baton_engine_applied_seq(f.engine);
        engine_fixture_close(&f);
    }
    assert_true(seq > 100);
    engine_fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dying_after_any_operation_loses_nothing_released),
        cmocka_unit_test(a_torn_last_operation_loses_nothing_released),
        cmocka_unit_test(any_failing_operation_loses_nothing_released),
        cmocka_unit_test(many_deaths_of_one_directory_lose_nothing_released),
    };
    expected = engine_stream_expected(ENTRIES * 30);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(expected);
    return failed;
}
