/* drain/plan.c: the SIGTERM plan over an engine, a program and a clock that the test owns (H1). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drain/plan.h"

#define SECOND   UINT64_C(1000000000)
#define DEADLINE (10 * SECOND)

typedef struct {
    uint64_t now_ns;
    int stopped;
    bool released, sent, durable;
    int record_result;
    int records;
    int snapshot_result;
    bool snapshot_current;
    int snapshots_asked;
    baton_drain_state seen[16];
    unsigned seen_count;
} fake;

static uint64_t fake_now(void *context)
{
    return ((fake *)context)->now_ns;
}
static void fake_stop(void *context)
{
    ((fake *)context)->stopped++;
}
static bool fake_released(void *context)
{
    return ((fake *)context)->released;
}
static bool fake_sent(void *context)
{
    return ((fake *)context)->sent;
}
static int fake_record(void *context, baton_error *error)
{
    fake *f = context;
    assert_true(f->released); /* a grant before everything taken in is durable would lose it */
    f->records++;
    if (f->record_result < 0)
        baton_error_set(error, f->record_result, "handover", NULL, "test");
    return f->record_result;
}
static bool fake_durable(void *context)
{
    return ((fake *)context)->durable;
}
static int fake_snapshot(void *context, bool *ret_was_current, baton_error *error)
{
    fake *f = context;
    assert_true(
        f->durable); /* the record comes first: the snapshot is never needed, the record is */
    f->snapshots_asked++;
    *ret_was_current = f->snapshot_current;
    if (f->snapshot_result < 0)
        baton_error_set(error, f->snapshot_result, "snapshot", NULL, "test");
    return f->snapshot_result;
}
static void fake_reached(void *context, baton_drain_state state, uint64_t since_begin_ns)
{
    fake *f = context;
    (void)since_begin_ns;
    f->seen[f->seen_count++] = state;
}

static fake f;
static baton_drain_actions actions;
static baton_drain_plan plan;

static int setup(void **state)
{
    (void)state;
    f = (fake){.now_ns = 5 * SECOND};
    actions =
        (baton_drain_actions){fake_now,     fake_stop,     fake_released, fake_sent, fake_record,
                              fake_durable, fake_snapshot, fake_reached,  &f};
    baton_drain_plan_init(&plan, &actions, DEADLINE, true);
    return 0;
}

static void nothing_happens_before_it_begins(void **state)
{
    (void)state;
    assert_int_equal(baton_drain_plan_step(&plan), UINT64_MAX);
    assert_int_equal(plan.state, BATON_DRAIN_RUNNING);
    assert_int_equal(f.stopped, 0);
}

static void it_goes_through_all_steps_in_order(void **state)
{
    (void)state;
    assert_true(baton_drain_plan_begin(&plan));
    assert_int_equal(f.stopped, 1);
    assert_int_equal(baton_drain_plan_step(&plan), DEADLINE);
    assert_int_equal(plan.state, BATON_DRAIN_FINISHING);
    assert_int_equal(f.records, 0);

    f.now_ns += SECOND;
    f.released = true;
    baton_drain_plan_step(&plan);
    assert_int_equal(plan.state, BATON_DRAIN_SENDING);
    assert_int_equal(f.records, 0);

    f.sent = true;
    baton_drain_plan_step(&plan);
    assert_int_equal(plan.state, BATON_DRAIN_GRANTING);
    assert_int_equal(f.records, 1);
    assert_int_equal(f.snapshots_asked, 0);

    f.durable = true;
    baton_drain_plan_step(&plan);
    assert_int_equal(plan.state, BATON_DRAIN_SAVING);
    f.snapshot_result = 1;
    assert_int_equal(baton_drain_plan_step(&plan), 0);
    assert_int_equal(plan.state, BATON_DRAIN_CLOSING);
    assert_int_equal(f.records, 1);
    baton_drain_plan_closed(&plan, 0);

    static const baton_drain_state expected[] = {BATON_DRAIN_FINISHING, BATON_DRAIN_SENDING,
                                                 BATON_DRAIN_GRANTING,  BATON_DRAIN_SAVING,
                                                 BATON_DRAIN_CLOSING,   BATON_DRAIN_CLOSED};
    assert_int_equal(f.seen_count, 6);
    assert_memory_equal(f.seen, expected, sizeof(expected));
    assert_int_equal(plan.status, 0);
    assert_true(plan.all_sent && plan.handover_durable);
    assert_int_equal(plan.snapshot, BATON_DRAIN_SNAPSHOT_TAKEN);
    assert_int_equal(plan.reached_ns[BATON_DRAIN_SENDING], SECOND);
}

static void a_quiet_service_drains_in_one_step(void **state)
{
    (void)state;
    f.released = f.sent = f.durable = true;
    f.snapshot_result = 1;
    f.snapshot_current = true;
    baton_drain_plan_begin(&plan);
    baton_drain_plan_step(&plan);
    assert_int_equal(plan.state, BATON_DRAIN_CLOSING);
    assert_int_equal(plan.snapshot, BATON_DRAIN_SNAPSHOT_CURRENT);
}

static void a_second_sigterm_changes_nothing(void **state)
{
    (void)state;
    baton_drain_plan_begin(&plan);
    f.now_ns += 3 * SECOND;
    assert_false(baton_drain_plan_begin(&plan));
    assert_int_equal(f.stopped, 1);
    assert_int_equal(f.seen_count, 1);
    assert_int_equal(baton_drain_plan_step(&plan), DEADLINE - 3 * SECOND);
}

static void a_client_that_does_not_read_gets_half_of_the_deadline(void **state)
{
    (void)state;
    f.released = f.durable = true;
    f.snapshot_result = 1;
    baton_drain_plan_begin(&plan);
    assert_int_equal(baton_drain_plan_step(&plan), DEADLINE / 2);
    f.now_ns += DEADLINE / 2 - 1;
    assert_int_equal(baton_drain_plan_step(&plan), 1);
    assert_int_equal(plan.state, BATON_DRAIN_SENDING);
    f.now_ns += 1;
    baton_drain_plan_step(&plan);
    assert_int_equal(plan.state, BATON_DRAIN_CLOSING);
    assert_int_equal(plan.status, 0);
    assert_false(plan.all_sent);
    assert_true(plan.handover_durable);
}

static void a_record_that_finds_no_room_is_asked_for_again(void **state)
{
    (void)state;
    f.released = f.sent = true;
    f.record_result = BATON_E_FULL;
    baton_drain_plan_begin(&plan);
    baton_drain_plan_step(&plan);
    assert_int_equal(plan.state, BATON_DRAIN_GRANTING);
    f.durable = true; /* of something else: no record has been queued */
    baton_drain_plan_step(&plan);
    assert_int_equal(plan.state, BATON_DRAIN_GRANTING);
    assert_false(plan.handover_durable);
    f.record_result = 0;
    baton_drain_plan_step(&plan);
    assert_int_equal(f.records, 3);
    assert_true(plan.handover_durable);
}

static void without_the_grant_the_deadline_ends_it_with_an_error(void **state)
{
    (void)state;
    f.released = f.sent = true;
    baton_drain_plan_begin(&plan);
    baton_drain_plan_step(&plan);
    f.now_ns += DEADLINE - 1;
    baton_drain_plan_step(&plan);
    assert_int_equal(plan.state, BATON_DRAIN_GRANTING);
    f.now_ns += 1;
    baton_drain_plan_step(&plan);
    assert_int_equal(plan.state, BATON_DRAIN_CLOSING);
    assert_int_equal(plan.status, BATON_E_TIMEOUT);
    assert_false(plan.handover_durable);
    assert_non_null(strstr(plan.error.why, "10000 ms"));
}

static void a_stuck_disk_ends_it_at_the_deadline(void **state)
{
    (void)state;
    baton_drain_plan_begin(&plan);
    f.now_ns += DEADLINE;
    assert_int_equal(baton_drain_plan_step(&plan), 0);
    assert_int_equal(plan.status, BATON_E_TIMEOUT);
    assert_int_equal(f.records, 0);
}

static void a_snapshot_that_takes_too_long_is_left_and_the_drain_is_clean(void **state)
{
    (void)state;
    f.released = f.sent = f.durable = true;
    baton_drain_plan_begin(&plan);
    baton_drain_plan_step(&plan);
    assert_int_equal(plan.state, BATON_DRAIN_SAVING);
    f.now_ns += DEADLINE;
    baton_drain_plan_step(&plan);
    assert_int_equal(plan.state, BATON_DRAIN_CLOSING);
    assert_int_equal(plan.status, 0);
    assert_int_equal(plan.snapshot, BATON_DRAIN_SNAPSHOT_NO_TIME);
}

static void a_snapshot_that_fails_leaves_the_drain_clean(void **state)
{
    (void)state;
    f.released = f.sent = f.durable = true;
    f.snapshot_result = -ENOSPC;
    baton_drain_plan_begin(&plan);
    baton_drain_plan_step(&plan);
    assert_int_equal(plan.status, 0);
    assert_int_equal(plan.snapshot, BATON_DRAIN_SNAPSHOT_FAILED);
    assert_int_equal(plan.snapshot_error.status, -ENOSPC);
}

static void without_snapshot_none_is_asked_for(void **state)
{
    (void)state;
    baton_drain_plan_init(&plan, &actions, DEADLINE, false);
    f.released = f.sent = f.durable = true;
    baton_drain_plan_begin(&plan);
    baton_drain_plan_step(&plan);
    assert_int_equal(plan.state, BATON_DRAIN_CLOSING);
    assert_int_equal(f.snapshots_asked, 0);
    assert_int_equal(plan.snapshot, BATON_DRAIN_SNAPSHOT_OFF);
}

static void a_record_that_fails_ends_it_with_its_error(void **state)
{
    (void)state;
    f.released = f.sent = true;
    f.record_result = BATON_E_BROKEN;
    baton_drain_plan_begin(&plan);
    baton_drain_plan_step(&plan);
    assert_int_equal(plan.state, BATON_DRAIN_CLOSING);
    assert_int_equal(plan.status, BATON_E_BROKEN);
    assert_int_equal(f.snapshots_asked, 0);
}

static void an_engine_that_breaks_fails_the_drain_unless_the_grant_stands(void **state)
{
    (void)state;
    baton_error broken;
    baton_error_set(&broken, BATON_E_BROKEN, "journal", NULL, "test");
    baton_drain_plan_begin(&plan);
    baton_drain_plan_fail(&plan, &broken);
    assert_int_equal(plan.state, BATON_DRAIN_CLOSING);
    assert_int_equal(plan.status, BATON_E_BROKEN);

    setup(state);
    f.released = f.sent = f.durable = true;
    baton_drain_plan_begin(&plan);
    baton_drain_plan_step(&plan);
    baton_drain_plan_fail(&plan, &broken);
    assert_int_equal(plan.state, BATON_DRAIN_CLOSING);
    assert_int_equal(plan.status, 0);
    assert_int_equal(plan.snapshot, BATON_DRAIN_SNAPSHOT_FAILED);
}

static void a_close_that_fails_is_told(void **state)
{
    (void)state;
    f.released = f.sent = f.durable = true;
    f.snapshot_result = 1;
    baton_drain_plan_begin(&plan);
    baton_drain_plan_step(&plan);
    baton_drain_plan_closed(&plan, -EIO);
    assert_int_equal(plan.state, BATON_DRAIN_CLOSED);
    assert_int_equal(plan.status, -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nothing_happens_before_it_begins, setup),
        cmocka_unit_test_setup(it_goes_through_all_steps_in_order, setup),
        cmocka_unit_test_setup(a_quiet_service_drains_in_one_step, setup),
        cmocka_unit_test_setup(a_second_sigterm_changes_nothing, setup),
        cmocka_unit_test_setup(a_client_that_does_not_read_gets_half_of_the_deadline, setup),
        cmocka_unit_test_setup(a_record_that_finds_no_room_is_asked_for_again, setup),
        cmocka_unit_test_setup(without_the_grant_the_deadline_ends_it_with_an_error, setup),
        cmocka_unit_test_setup(a_stuck_disk_ends_it_at_the_deadline, setup),
        cmocka_unit_test_setup(a_snapshot_that_takes_too_long_is_left_and_the_drain_is_clean,
                               setup),
        cmocka_unit_test_setup(a_snapshot_that_fails_leaves_the_drain_clean, setup),
        cmocka_unit_test_setup(without_snapshot_none_is_asked_for, setup),
        cmocka_unit_test_setup(a_record_that_fails_ends_it_with_its_error, setup),
        cmocka_unit_test_setup(an_engine_that_breaks_fails_the_drain_unless_the_grant_stands,
                               setup),
        cmocka_unit_test_setup(a_close_that_fails_is_told, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
