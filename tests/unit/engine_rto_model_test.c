/* tests/unit/engine_rto_model_test.c: the predicted RTO is the formula of engine/rto.h, to the
 * digit, over a clock that the test turns (S7). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/rto.h"
#include "tests/support/toy_service.h"

#define NS_PER_S UINT64_C(1000000000)
#define MIB      (UINT64_C(1) << 20)

typedef struct {
    baton_clock clock; /* first: the functions get a pointer to it */
    uint64_t now_ns;
    uint64_t reading_ns; /* a reading of the clock takes so long */
} hand_clock;

static uint64_t hand_clock_ns(const baton_clock *clock)
{
    hand_clock *self = (hand_clock *)(uintptr_t)clock;
    self->now_ns += self->reading_ns;
    return self->now_ns;
}

static hand_clock hand_clock_make(void)
{
    return (hand_clock){.clock = {.monotonic_ns = hand_clock_ns, .wall_ns = hand_clock_ns},
                        .now_ns = 1};
}

/* Apply so many entries of the type that cost so much each. */
static void apply(baton_rto *rto, hand_clock *clock, uint16_t type, uint64_t count,
                  uint64_t cost_ns)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t begin_ns = 0;
        baton_type_rate *timed = baton_rates_begin(&rto->rates, type, &begin_ns);
        clock->now_ns += cost_ns;
        if (timed != NULL)
            baton_rates_end(&rto->rates, timed, begin_ns);
    }
}

static void assert_ns(double is, double should)
{
    const double difference = is - should;
    if (difference > 0.5 || difference < -0.5)
        fail_msg("%.1f ns, expected %.1f ns", is, should);
}

/* A start that loaded 10 MiB at entry 1000 in 20 ms, and replayed 4 MiB with 6400 ADD of 300 ns and
 * 640 TICK of 5000 ns in their time and 8 ms for reading. */
static void start_measured(baton_rto *rto, hand_clock *clock, uint64_t target_ns)
{
    assert_int_equal(baton_rto_init(rto, &toy_service_v1, &clock->clock, target_ns), 0);
    apply(rto, clock, TOY_ADD, 6400, 300);
    apply(rto, clock, TOY_TICK, 640, 5000);
    const baton_rto_start start = {
        .total_ns = 100000000,
        .recover_ns = 75000000 + 6000000,
        .load_ns = 20000000,
        .load_bytes = 10 * MIB,
        .replay_ns = 6400 * 300 + 640 * 5000 + 8000000,
        .replay_bytes = 4 * MIB,
        .replay_entries = 7040,
        .snapshot_seq = 1000,
        .before_seq = 500,
    };
    baton_rto_started(rto, &start);
}

static void what_a_start_measured_is_what_the_same_start_would_take_again(void **unused)
{
    (void)unused;
    hand_clock clock = hand_clock_make();
    baton_rto rto;
    baton_rto_prediction p;
    start_measured(&rto, &clock, 0);
    baton_rto_predict(&rto, &p);
    assert_ns(p.total_ns, 100000000);
    assert_ns(p.load_ns, 20000000);
    assert_ns(p.read_ns, 8000000);
    assert_ns(p.apply_ns, 6400 * 300 + 640 * 5000);
    assert_true(p.load_measured && p.read_measured);
    assert_int_equal(p.snapshot_seq, 1000);
    assert_int_equal(p.tail_entries, 7040);
    assert_int_equal(p.tail_bytes, 4 * MIB);
    assert_ns(p.recover_ns, 6000000); /* what is left of it without the wait for the lock */
    baton_rto_ready(&rto, 103000000, 100000000); /* 3 ms of the process were not the engine's */
    baton_rto_predict(&rto, &p);
    assert_ns(p.total_ns, 103000000);
    baton_rto_fini(&rto);
}

static void it_grows_with_the_entries_of_each_type_and_the_bytes_of_the_journal(void **unused)
{
    (void)unused;
    hand_clock clock = hand_clock_make();
    baton_rto rto;
    baton_rto_prediction before, after;
    start_measured(&rto, &clock, 0);
    baton_rto_predict(&rto, &before);
    /* Live, everything costs three times as much: of a replay that says nothing new. */
    apply(&rto, &clock, TOY_ADD, 64000, 900);
    apply(&rto, &clock, TOY_TICK, 6400, 15000);
    baton_rto_progress(&rto, 8040 + 70400, 32 * MIB);
    baton_rto_predict(&rto, &after);
    assert_ns(after.apply_ns - before.apply_ns, 64000 * 300 + 6400 * 5000);
    assert_ns(after.read_ns - before.read_ns, 8 * 8000000);
    /* Recovery began 500 entries before the snapshot. */
    assert_ns(after.recover_ns - before.recover_ns, 8 * 6000000 * 7040.0 / 7540.0);
    assert_ns(after.load_ns, before.load_ns);
    assert_ns(after.fixed_ns, before.fixed_ns);
    assert_int_equal(after.tail_entries, 7040 + 70400);
    baton_rto_fini(&rto);
}

static void an_apply_that_became_dearer_is_dearer_in_a_replay_too(void **unused)
{
    (void)unused;
    hand_clock clock = hand_clock_make();
    baton_rto rto;
    baton_rto_prediction p;
    start_measured(&rto, &clock, 0);
    apply(&rto, &clock, TOY_ADD, BATON_RATES_EVERY * BATON_RATES_MEMORY, 900);
    for (int i = 0; i < 12; i++) /* the old samples fade out */
        apply(&rto, &clock, TOY_ADD, (uint64_t)BATON_RATES_EVERY * BATON_RATES_MEMORY, 1800);
    const uint64_t adds = 6400 + BATON_RATES_EVERY * BATON_RATES_MEMORY +
                          12 * (uint64_t)BATON_RATES_EVERY * BATON_RATES_MEMORY;
    baton_rto_predict(&rto, &p);
    const double each = (p.apply_ns - 640 * 5000) / (double)adds;
    assert_true(each > 599 && each < 601);
    baton_rto_fini(&rto);
}

static void the_clock_s_own_cost_is_not_the_entry_s(void **unused)
{
    (void)unused;
    hand_clock clock = hand_clock_make();
    clock.reading_ns = 40;
    baton_rto rto;
    baton_rto_prediction p;
    assert_int_equal(baton_rto_init(&rto, &toy_service_v1, &clock.clock, 0), 0);
    apply(&rto, &clock, TOY_ADD, 1000, 250);
    baton_rto_predict(&rto, &p);
    assert_ns(p.apply_ns, 1000 * 250); /* a replay, until it is said to be started */
    baton_rto_fini(&rto);
}

static void a_pause_of_the_machine_is_not_the_cost_of_an_entry(void **unused)
{
    (void)unused;
    hand_clock clock = hand_clock_make();
    baton_rto rto;
    baton_rto_prediction p;
    assert_int_equal(baton_rto_init(&rto, &toy_service_v1, &clock.clock, 0), 0);
    apply(&rto, &clock, TOY_ADD, 64 * 999, 300);
    apply(&rto, &clock, TOY_ADD, 1, NS_PER_S); /* the 1000th sample: counts as 10 us */
    baton_rto_predict(&rto, &p);
    assert_ns(p.apply_ns, (64 * 999 + 1) * (300.0 * 999 + 10000) / 1000.0);
    baton_rto_fini(&rto);
}

static void a_snapshot_that_is_published_takes_away_the_tail_of_the_moment_it_began(void **unused)
{
    (void)unused;
    hand_clock clock = hand_clock_make();
    baton_rto rto;
    baton_rto_prediction p;
    start_measured(&rto, &clock, 0);
    apply(&rto, &clock, TOY_ADD, 6400, 300);
    baton_rto_progress(&rto, 14440, 4 * MIB);
    baton_rto_snapshot_begun(&rto);
    apply(&rto, &clock, TOY_TICK, 640, 5000); /* while it is taken */
    baton_rto_progress(&rto, 15080, 5 * MIB);
    const baton_rto_taken taken = {
        .raw_bytes = 20 * MIB, .took_ns = 500000000, .packed_ns = 60000000, .device_ns = 20000000};
    baton_rto_snapshot_taken(&rto, &taken);
    baton_rto_predict(&rto, &p);
    assert_int_equal(p.snapshot_seq, 14440);
    assert_int_equal(p.tail_entries, 640);
    assert_int_equal(p.tail_bytes, 1 * MIB);
    assert_ns(p.apply_ns, 640 * 5000);
    assert_ns(p.read_ns, 2000000);
    assert_ns(p.recover_ns,
              9 * 1500000 * 7040.0 / 7540.0); /* from the one before on: 4 + 4 + 1 MiB */
    assert_ns(p.load_ns, 40000000);           /* twice the bytes at the rate of the load */
    baton_rto_fini(&rto);
}

/* Rows are rebuilt, pages are read: what one form took says nothing about the other. */
static void each_form_is_loaded_at_its_own_rate(void **unused)
{
    (void)unused;
    hand_clock clock = hand_clock_make();
    baton_rto rto;
    baton_rto_prediction p;
    start_measured(&rto, &clock, 0); /* of rows: 2 ms a MiB */
    baton_rto_snapshot_begun(&rto);
    baton_rto_taken taken = {.raw_bytes = 40 * MIB,
                             .image = true,
                             .adds = true,
                             .took_ns = 5000000,
                             .packed_ns = 1000000,
                             .device_ns = 1000000};
    baton_rto_snapshot_taken(&rto, &taken);
    baton_rto_predict(&rto, &p);
    assert_ns(p.load_ns, 40 * MIB * BATON_RTO_NS_PER_BYTE); /* an increment tells nothing */
    assert_false(p.load_measured);

    taken.adds = false;
    taken.packed_ns = 30000000;
    taken.device_ns = 10000000;
    baton_rto_snapshot_begun(&rto);
    baton_rto_snapshot_taken(&rto, &taken);
    baton_rto_predict(&rto, &p);
    assert_ns(p.load_ns, 40000000);

    taken.image = false;
    taken.raw_bytes = 10 * MIB;
    baton_rto_snapshot_begun(&rto);
    baton_rto_snapshot_taken(&rto, &taken);
    baton_rto_predict(&rto, &p);
    assert_ns(p.load_ns, 20000000); /* rows again: as measured */
    assert_true(p.load_measured);
    baton_rto_fini(&rto);
}

static void before_anything_was_loaded_taking_a_snapshot_stands_for_it(void **unused)
{
    (void)unused;
    hand_clock clock = hand_clock_make();
    baton_rto rto;
    baton_rto_prediction p;
    assert_int_equal(baton_rto_init(&rto, &toy_service_v1, &clock.clock, 0), 0);
    const baton_rto_start start = {.total_ns = 7000000};
    baton_rto_started(&rto, &start);
    apply(&rto, &clock, TOY_ADD, 6400, 300);
    baton_rto_progress(&rto, 6400, 4 * MIB);
    baton_rto_predict(&rto, &p);
    assert_ns(p.fixed_ns, 7000000);
    assert_ns(p.apply_ns, 6400 * 300 * BATON_RATES_RATIO);
    assert_ns(p.read_ns, 4 * MIB * BATON_RTO_NS_PER_BYTE);
    assert_false(p.load_measured || p.read_measured);
    baton_rto_snapshot_begun(&rto);
    const baton_rto_taken taken = {
        .raw_bytes = 2 * MIB, .took_ns = 500000000, .packed_ns = 60000000, .device_ns = 20000000};
    baton_rto_snapshot_taken(&rto, &taken);
    baton_rto_predict(&rto, &p);
    assert_ns(p.load_ns, 80000000);
    assert_ns(p.recover_ns, 4 * MIB * BATON_RTO_NS_PER_BYTE); /* there is none before it */
    assert_ns(p.total_ns, 7000000 + 80000000 + 4 * MIB * BATON_RTO_NS_PER_BYTE);
    baton_rto_fini(&rto);
}

static void a_snapshot_is_due_so_early_that_it_is_done_before_the_target(void **unused)
{
    (void)unused;
    hand_clock clock = hand_clock_make();
    baton_rto rto;
    baton_rto_prediction p;
    start_measured(&rto, &clock, NS_PER_S);
    baton_rto_snapshot_begun(&rto); /* to take one takes 200 ms */
    const baton_rto_taken taken = {.raw_bytes = 10 * MIB, .took_ns = 200000000};
    baton_rto_snapshot_taken(&rto, &taken);
    /* 1 MiB a tenth of a second: 1.4 ms to check and 2 ms to read it. */
    uint64_t now_ns = NS_PER_S;
    uint64_t bytes = 0;
    uint64_t seq = 8040;
    bool due = false;
    while (!due) {
        seq += 100;
        bytes += MIB;
        now_ns += BATON_RTO_GROWTH_NS;
        baton_rto_progress(&rto, seq, bytes);
        due = baton_rto_is_due(&rto, now_ns, &p);
        assert_true(now_ns < 1000 * NS_PER_S);
        const double then_ns = p.total_ns + p.ns_per_s * 0.2;
        assert_int_equal(due, then_ns >= 1e9 && p.read_ns + p.apply_ns >= 2e8);
    }
    assert_ns(p.ns_per_s, 10 * (1500000 * 7040.0 / 7540.0 + 2000000));
    assert_true(p.total_ns < 1e9 && p.total_ns > 0.9e9);
    baton_rto_snapshot_failed(&rto, now_ns); /* a full disk: not again at once */
    baton_rto_progress(&rto, seq, bytes + 100 * MIB);
    assert_false(baton_rto_is_due(&rto, now_ns + BATON_RTO_RETRY_NS - 1, &p));
    assert_true(baton_rto_is_due(&rto, now_ns + BATON_RTO_RETRY_NS, &p));
    baton_rto_fini(&rto);
}

static void no_target_is_never_due_and_a_target_below_the_load_is_told_once(void **unused)
{
    (void)unused;
    hand_clock clock = hand_clock_make();
    baton_rto rto;
    baton_rto_prediction p;
    start_measured(&rto, &clock, 0);
    baton_rto_progress(&rto, 1000000, 1000000 * MIB);
    assert_false(baton_rto_is_due(&rto, NS_PER_S, &p));
    assert_true(p.total_ns > 1e12);
    assert_false(baton_rto_tells_unreachable(&rto, &p));
    baton_rto_fini(&rto);

    start_measured(&rto, &clock, 19000000); /* the load alone takes 20 ms */
    baton_rto_predict(&rto, &p);
    assert_true(baton_rto_tells_unreachable(&rto, &p));
    assert_false(baton_rto_tells_unreachable(&rto, &p));
    /* Taking one after another would not help: only when the replay costs more than that. */
    baton_rto_snapshot_begun(&rto);
    const baton_rto_taken taken = {.raw_bytes = 10 * MIB, .took_ns = 200000000};
    baton_rto_snapshot_taken(&rto, &taken);
    baton_rto_progress(&rto, 8040 + 10, 99 * MIB);
    assert_false(baton_rto_is_due(&rto, NS_PER_S, &p));
    baton_rto_progress(&rto, 8040 + 20, 101 * MIB);
    assert_true(baton_rto_is_due(&rto, 2 * NS_PER_S, &p));
    baton_rto_fini(&rto);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_start_measured_is_what_the_same_start_would_take_again),
        cmocka_unit_test(it_grows_with_the_entries_of_each_type_and_the_bytes_of_the_journal),
        cmocka_unit_test(an_apply_that_became_dearer_is_dearer_in_a_replay_too),
        cmocka_unit_test(the_clock_s_own_cost_is_not_the_entry_s),
        cmocka_unit_test(a_pause_of_the_machine_is_not_the_cost_of_an_entry),
        cmocka_unit_test(a_snapshot_that_is_published_takes_away_the_tail_of_the_moment_it_began),
        cmocka_unit_test(each_form_is_loaded_at_its_own_rate),
        cmocka_unit_test(before_anything_was_loaded_taking_a_snapshot_stands_for_it),
        cmocka_unit_test(a_snapshot_is_due_so_early_that_it_is_done_before_the_target),
        cmocka_unit_test(no_target_is_never_due_and_a_target_below_the_load_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
