/* What the simulator found in the journal, each as a test of its own. Where the fault needs one order
 * of events among many, a test tries many seeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <baton/journal.h>

#include "base/io_sim.h"

#define SEEDS 200u

typedef struct {
    baton_sim *sim;
    baton_sim_process *process;
    baton_journal_options options;
    baton_journal *journal;
} machine;

static machine machine_new(uint64_t seed)
{
    machine m = {.sim = baton_sim_new(seed)};
    m.options = (baton_journal_options){.service = "found",
                                        .segment_bytes = UINT64_C(1) << 20,
                                        .first_segment_bytes = UINT64_C(256) << 10,
                                        .batch_bytes_max = 128 << 10,
                                        .no_ballast = true,
                                        .clock = baton_sim_clock(m.sim),
                                        .io_backend = baton_sim_backend()};
    return m;
}

/* open, as a new process; the result. */
static int try_open(machine *m, baton_recovery_report *report)
{
    baton_error error;
    m->process = baton_sim_start(m->sim);
    m->options.io_context = m->process;
    return baton_journal_open("/j", &m->options, &m->journal, report, &error);
}

static void begin(machine *m)
{
    baton_recovery_report report;
    assert_int_equal(try_open(m, &report), 0);
    assert_int_equal(baton_journal_begin(m->journal, &report, NULL), 0);
}

/* Entries of 60 KB until the journal has gone on to its next segment so many times. */
static void fill_segments(machine *m, uint32_t rolls)
{
    static const uint8_t payload[60000];
    uint64_t bytes = 0;
    while (bytes < (uint64_t)rolls << 20) {
        int r = baton_journal_append(m->journal, 1, payload, sizeof(payload), NULL);
        assert_true(r == 0 || r == BATON_E_FULL);
        bytes += r == 0 ? sizeof(payload) : 0;
        assert_int_equal(baton_journal_poll(m->journal), 0);
        baton_sim_advance(m->sim, 100000);
    }
    assert_int_equal(baton_journal_flush(m->journal), 0);
}

/* The idle mark took the only slot while close waited for a trailer. */
static void a_close_with_one_batch_in_flight_waits_for_an_idle_mark(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        machine m = machine_new(seed);
        m.options.batches_in_flight_max = 1;
        m.options.idle_mark_ns = 1;
        begin(&m);
        fill_segments(&m, 1);
        assert_int_equal(baton_journal_close(m.journal), 0);
        baton_sim_free(m.sim);
    }
}

/* Of two removals that were not synced, a power cut may keep any one. */
static void a_power_cut_in_a_retirement_leaves_no_hole(void **state)
{
    (void)state;
    uint32_t died = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        machine m = machine_new(seed);
        uint32_t removed = 0;
        baton_recovery_report report;
        begin(&m);
        fill_segments(&m, 4);
        const uint64_t last_seq = baton_journal_last_seq(m.journal);
        baton_sim_crash_at(m.sim, baton_sim_counts_of(m.sim)->operations + 1 + seed % 30,
                           BATON_SIM_POWER_CUT);
        (void)!baton_journal_retire(m.journal, last_seq, &removed);
        baton_sim_crash_at(m.sim, 0, BATON_SIM_POWER_CUT);
        baton_sim_power_cut(m.sim);
        died += removed > 0;
        baton_journal_abandon(m.journal);
        assert_int_equal(try_open(&m, &report), 0);
        assert_int_equal(report.last.seq, last_seq);
        baton_journal_abandon(m.journal);
        baton_sim_free(m.sim);
    }
    assert_true(died > SEEDS / 10);
}

/* A segment that found the disk full was just being taken away again. */
static void a_retirement_beside_a_full_disk_goes_on(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        machine m = machine_new(seed);
        uint32_t removed;
        begin(&m);
        baton_sim_set_room(m.sim, UINT64_C(64) << 10); /* a name fits, a segment does not */
        for (uint32_t i = 0; i < 20; i++) {
            assert_int_equal(baton_journal_poll(m.journal), 0);
            assert_int_equal(baton_journal_retire(m.journal, 1, &removed), 0);
            baton_sim_advance(m.sim, 20000000);
        }
        assert_int_equal(baton_journal_close(m.journal), 0);
        baton_sim_free(m.sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_close_with_one_batch_in_flight_waits_for_an_idle_mark),
        cmocka_unit_test(a_power_cut_in_a_retirement_leaves_no_hole),
        cmocka_unit_test(a_retirement_beside_a_full_disk_goes_on),
    };
    return cmocka_run_group_tests_name("journal, found by the simulator", tests, NULL, NULL);
}
