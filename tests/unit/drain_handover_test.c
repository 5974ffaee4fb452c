/* drain/handover_old.c and handover_new.c over a world that the test owns: every order of events that the
 * page's tables have, and some that they have not (docs/handover.md R1-R5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drain/handover_new.h"
#include "drain/handover_old.h"

#define MS  UINT64_C(1000000)
#define GAP (250 * MS)

typedef struct {
    uint64_t now_ns;
    bool there, level, released, durable;
    int record_result;
    unsigned prepared, stopped, offered, recorded, granted, resumed;
    baton_old_state resumed_from;
    baton_engine_point point;
} world;

static world w;
static baton_old_actions old_actions;
static baton_old old;

static uint64_t w_now(void *context)
{
    return ((world *)context)->now_ns;
}
static bool w_prepare(void *context)
{
    ((world *)context)->prepared++;
    return ((world *)context)->there;
}
static bool w_level(void *context)
{
    return ((world *)context)->level;
}
static void w_stop(void *context)
{
    ((world *)context)->stopped++;
}
static bool w_released(void *context)
{
    return ((world *)context)->released;
}
static int w_point(void *context, baton_engine_point *ret_point, baton_error *error)
{
    (void)error;
    *ret_point = ((world *)context)->point;
    return 0;
}
static void w_offer(void *context, const baton_engine_point *point)
{
    (void)point;
    ((world *)context)->offered++;
}
static int w_record(void *context, baton_error *error)
{
    world *own = context;
    own->recorded++;
    if (own->record_result < 0)
        baton_error_set(error, own->record_result, "record", NULL, NULL);
    return own->record_result;
}
static bool w_durable(void *context)
{
    return ((world *)context)->durable;
}
static void w_grant(void *context)
{
    assert_true(((world *)context)->durable); /* never before the record is durable */
    ((world *)context)->granted++;
}
static void w_resume(void *context, baton_old_state from, const baton_error *why)
{
    world *own = context;
    assert_true(why->why[0] != '\0');
    assert_true(from < BATON_OLD_SUBMITTED); /* R4 */
    own->resumed++;
    own->resumed_from = from;
}

static int setup(void **state)
{
    (void)state;
    w = (world){.now_ns = 5000 * MS, .there = true, .level = true};
    w.point = (baton_engine_point){.seq = 7, .position = {1, 9, 7}, .schema = 1};
    w.point.durable = w.point.position;
    w.point.state.bytes[0] = 1;
    old_actions = (baton_old_actions){
        .now_ns = w_now,
        .prepare = w_prepare,
        .level = w_level,
        .stop_intake = w_stop,
        .all_released = w_released,
        .point = w_point,
        .offer = w_offer,
        .record = w_record,
        .record_durable = w_durable,
        .grant = w_grant,
        .resume = w_resume,
        .context = &w,
    };
    baton_old_init(&old, &old_actions);
    return 0;
}

/* Brings it to a state by the straight way. */
static void come_to(baton_old_state state)
{
    assert_true(baton_old_begin(&old, GAP, 1000 * MS));
    if (state >= BATON_OLD_STOPPED) {
        baton_old_on_ready(&old);
        (void)baton_old_step(&old);
    }
    if (state >= BATON_OLD_OFFERED) {
        w.released = true;
        (void)baton_old_step(&old);
    }
    if (state >= BATON_OLD_SUBMITTED) {
        baton_old_on_answer(&old, &w.point);
        (void)baton_old_step(&old);
    }
    if (state >= BATON_OLD_GRANTED) {
        w.durable = true;
        (void)baton_old_step(&old);
    }
    if (state >= BATON_OLD_FENCED)
        baton_old_on_taken(&old);
    assert_int_equal(old.state, state);
}

static void it_goes_through_all_steps_in_order(void **state)
{
    (void)state;
    come_to(BATON_OLD_FENCED);
    assert_int_equal(w.prepared, 1);
    assert_int_equal(w.stopped, 1);
    assert_int_equal(w.offered, 1);
    assert_int_equal(w.recorded, 1);
    assert_int_equal(w.granted, 1);
    assert_int_equal(w.resumed, 0);
    assert_int_equal(old.status, 0);
}

static void clients_notice_nothing_before_the_other_is_ready(void **state)
{
    (void)state;
    w.level = false;
    come_to(BATON_OLD_PREPARING);
    baton_old_on_ready(&old);
    (void)baton_old_step(&old);
    assert_int_equal(w.stopped, 0);
    w.now_ns += 1000 * MS;
    (void)baton_old_step(&old);
    assert_int_equal(old.state, BATON_OLD_SERVING);
    assert_int_equal(w.resumed_from, BATON_OLD_PREPARING);
    assert_int_equal(old.status, BATON_E_TIMEOUT);
    assert_int_equal(w.stopped, 0);
}

static void a_standby_that_has_gone_ends_the_try_at_once(void **state)
{
    (void)state;
    w.there = false;
    assert_true(baton_old_begin(&old, GAP, 1000 * MS));
    assert_int_equal(old.state, BATON_OLD_SERVING);
    assert_int_equal(old.status, BATON_E_NOT_FOUND);
}

enum { BY_TIME, BY_CUT, BY_REFUSAL, BY_ABORT, BY_HELLO, WAYS };

static void end_by(int way)
{
    baton_error why = {0};
    baton_error_set(&why, BATON_E_REFUSED, "test", "it says no", NULL);
    if (way == BY_TIME)
        w.now_ns += 2000 * MS;
    else if (way == BY_CUT)
        baton_old_on_cut(&old);
    else if (way == BY_REFUSAL)
        baton_old_on_refuse(&old, &why);
    else if (way == BY_ABORT)
        baton_old_on_abort(&old, &why);
    else
        baton_old_on_hello(&old);
    (void)baton_old_step(&old);
}

/* R3 and R4, each event in each state. */
static void it_resumes_until_the_record_is_submitted_and_never_after(void **state)
{
    for (int at = BATON_OLD_PREPARING; at <= BATON_OLD_FENCED; at++) {
        for (int way = 0; way < WAYS; way++) {
            setup(state);
            come_to((baton_old_state)at);
            const unsigned granted = w.granted;
            end_by(way);
            if (at < BATON_OLD_SUBMITTED) {
                assert_int_equal(old.state, BATON_OLD_SERVING);
                assert_int_equal(w.resumed, 1);
                assert_int_equal(w.recorded, 0);
                assert_true(old.status < 0);
            } else {
                assert_int_equal(old.state, at);
                assert_int_equal(w.resumed, 0);
                assert_int_equal(w.granted,
                                 granted + (at == BATON_OLD_GRANTED && way == BY_HELLO ? 1 : 0));
            }
        }
    }
}

static void any_fact_that_differs_ends_it(void **state)
{
    for (int which = 0; which < 7; which++) {
        setup(state);
        come_to(BATON_OLD_OFFERED);
        baton_engine_point answer = w.point;
        if (which == 0)
            answer.seq++;
        if (which == 1)
            answer.position.batch--;
        if (which == 2)
            answer.chain.bytes[3] ^= 1;
        if (which == 3)
            answer.schema++;
        if (which == 4)
            answer.state.bytes[5] ^= 1;
        if (which == 5)
            answer.effects.bytes[15] ^= 1;
        if (which == 6)
            answer.durable.batch--;
        baton_old_on_answer(&old, &answer);
        (void)baton_old_step(&old);
        assert_int_equal(old.state, BATON_OLD_SERVING);
        assert_int_equal(old.status, BATON_E_DIVERGED);
        assert_int_equal(w.recorded, 0);
    }
}

static void a_mark_written_since_the_offer_is_no_difference(void **state)
{
    (void)state;
    come_to(BATON_OLD_OFFERED);
    w.point.position.batch++;
    w.point.chain.bytes[0] = 77;
    w.point.durable = w.point.position;
    baton_old_on_answer(&old, &w.point);
    (void)baton_old_step(&old);
    assert_int_equal(old.state, BATON_OLD_SUBMITTED);
}

/* R2: equal, and too late, is too late. */
static void an_answer_past_the_gap_changes_nothing(void **state)
{
    (void)state;
    come_to(BATON_OLD_OFFERED);
    baton_old_on_answer(&old, &w.point);
    w.now_ns += GAP;
    (void)baton_old_step(&old);
    assert_int_equal(old.state, BATON_OLD_SERVING);
    assert_int_equal(w.recorded, 0);
}

static void a_full_journal_is_asked_again_and_a_broken_one_is_not(void **state)
{
    (void)state;
    come_to(BATON_OLD_OFFERED);
    w.record_result = BATON_E_FULL;
    baton_old_on_answer(&old, &w.point);
    (void)baton_old_step(&old);
    (void)baton_old_step(&old);
    assert_int_equal(w.recorded, 2);
    assert_int_equal(old.state, BATON_OLD_OFFERED);
    w.record_result = BATON_E_BROKEN;
    (void)baton_old_step(&old);
    assert_int_equal(old.state, BATON_OLD_SERVING);
}

static void messages_out_of_place_change_nothing(void **state)
{
    (void)state;
    baton_old_on_ready(&old);
    baton_old_on_answer(&old, &w.point);
    baton_old_on_taken(&old);
    baton_old_on_cut(&old);
    assert_int_equal(old.state, BATON_OLD_SERVING);
    come_to(BATON_OLD_PREPARING);
    baton_old_on_answer(&old, &w.point);
    baton_old_on_taken(&old);
    (void)baton_old_step(&old);
    assert_int_equal(old.state, BATON_OLD_PREPARING);
    assert_false(baton_old_begin(&old, GAP, GAP));
}

static void after_a_failed_try_comes_another(void **state)
{
    (void)state;
    come_to(BATON_OLD_OFFERED);
    baton_old_on_cut(&old);
    w.released = false;
    come_to(BATON_OLD_FENCED);
    assert_int_equal(old.tries_count, 2);
}

/* ---- the standby ---- */

typedef struct {
    baton_engine_point point;
    int prepare_result, promote_result;
    bool record_here;
    unsigned ready, refused, answered, promoted, taken;
} standby;

static standby s;
static baton_new_actions new_actions;
static baton_new own;

static int s_point(void *context, uint32_t schema, baton_engine_point *ret_point,
                   baton_error *error)
{
    (void)schema;
    (void)error;
    *ret_point = ((standby *)context)->point;
    return 0;
}
static int s_prepare(void *context, uint32_t schema, baton_error *error)
{
    (void)schema;
    const int r = ((standby *)context)->prepare_result;
    return r < 0 ? baton_error_set(error, r, "prepare", NULL, NULL) : 0;
}
static void s_ready(void *context)
{
    ((standby *)context)->ready++;
}
static void s_refuse(void *context, const baton_error *why)
{
    assert_true(why->status < 0);
    ((standby *)context)->refused++;
}
static void s_answer(void *context, const baton_engine_point *point)
{
    (void)point;
    ((standby *)context)->answered++;
}
static bool s_record_here(void *context)
{
    return ((standby *)context)->record_here;
}
static int s_promote(void *context, baton_error *error)
{
    standby *self = context;
    assert_true(self->record_here || own.epoch != 0); /* R5, or a leave */
    self->promoted++;
    return self->promote_result < 0
               ? baton_error_set(error, self->promote_result, "promote", NULL, NULL)
               : 0;
}
static void s_taken(void *context)
{
    ((standby *)context)->taken++;
}

static int setup_new(void **state)
{
    setup(state);
    s = (standby){.point = w.point};
    new_actions = (baton_new_actions){
        .point = s_point,
        .prepare = s_prepare,
        .ready = s_ready,
        .refuse = s_refuse,
        .answer = s_answer,
        .record_here = s_record_here,
        .promote = s_promote,
        .taken = s_taken,
        .context = &s,
    };
    baton_new_init(&own, &new_actions);
    return 0;
}

static void step(void)
{
    baton_error error = {0};
    assert_int_equal(baton_new_step(&own, &error), 0);
}

static void come_to_answered(void)
{
    baton_new_on_prepare(&own, 3, 1);
    baton_new_on_final(&own, 3, &w.point);
    step();
    assert_int_equal(own.state, BATON_NEW_ANSWERED);
}

static void it_takes_what_is_granted(void **state)
{
    (void)state;
    come_to_answered();
    assert_int_equal(s.ready, 1);
    assert_int_equal(s.answered, 1);
    baton_new_on_grant(&own, 3);
    step();
    assert_int_equal(own.state, BATON_NEW_ANSWERED); /* the record is not durable here yet */
    s.record_here = true;
    step();
    assert_int_equal(own.state, BATON_NEW_SERVING);
    assert_int_equal(s.taken, 1);
    baton_new_on_grant(&own, 3);
    assert_int_equal(s.taken, 2); /* M8 again */
}

static void without_a_grant_it_takes_nothing(void **state)
{
    (void)state;
    s.record_here = true;
    come_to_answered();
    step();
    assert_int_equal(s.promoted, 0);
    baton_new_on_grant(&own, 2); /* of another try */
    step();
    assert_int_equal(s.promoted, 0);
    setup_new(state);
    s.record_here = true;
    baton_new_on_grant(&own, 3); /* of none */
    baton_new_on_prepare(&own, 3, 1);
    baton_new_on_grant(&own, 3); /* before its answer */
    step();
    assert_int_equal(own.state, BATON_NEW_READY);
    assert_int_equal(s.promoted, 0);
}

static void it_answers_when_all_of_it_is_durable_here(void **state)
{
    (void)state;
    baton_new_on_prepare(&own, 3, 1);
    baton_new_on_final(&own, 3, &w.point);
    s.point.seq = 6;
    step();
    s.point.seq = 7;
    s.point.durable.batch--;
    step();
    assert_int_equal(s.answered, 0);
    s.point.durable.batch++;
    step();
    assert_int_equal(s.answered, 1);
}

static void an_abort_leads_back_and_a_cut_only_before_the_answer(void **state)
{
    (void)state;
    baton_new_on_prepare(&own, 3, 1);
    baton_new_on_cut(&own);
    assert_int_equal(own.state, BATON_NEW_FOLLOWING);
    baton_new_on_final(&own, 3, &w.point); /* late: of the try that is over */
    step();
    assert_int_equal(s.answered, 0);
    come_to_answered();
    baton_new_on_cut(&own);
    assert_int_equal(own.state, BATON_NEW_ANSWERED); /* the promise stands */
    baton_new_on_abort(&own, 2);
    assert_int_equal(own.state, BATON_NEW_ANSWERED);
    baton_new_on_abort(&own, 3);
    assert_int_equal(own.state, BATON_NEW_FOLLOWING);
}

static void it_refuses_what_it_can_not_be(void **state)
{
    (void)state;
    s.prepare_result = BATON_E_SCHEMA;
    baton_new_on_prepare(&own, 3, 1);
    assert_int_equal(own.state, BATON_NEW_FOLLOWING);
    assert_int_equal(s.refused, 1);
    assert_int_equal(s.ready, 0);
}

static void a_promotion_is_asked_again_or_fails(void **state)
{
    baton_error error = {0};
    (void)state;
    s.record_here = true;
    come_to_answered();
    s.promote_result = BATON_E_AGAIN;
    baton_new_on_grant(&own, 3);
    step();
    assert_int_equal(own.state, BATON_NEW_TAKING);
    baton_new_on_abort(&own, 3); /* too late for that */
    assert_int_equal(own.state, BATON_NEW_TAKING);
    s.promote_result = BATON_E_BROKEN;
    assert_int_equal(baton_new_step(&own, &error), BATON_E_BROKEN);
    assert_int_equal(s.taken, 0);
}

/* Whatever it is in, a higher epoch ends it: nothing is asked of anybody, and nothing leads back. */
static void a_higher_epoch_fences_in_every_state(void **state)
{
    for (int at = BATON_OLD_SERVING; at < BATON_OLD_STATES; at++) {
        setup(state);
        if (at != BATON_OLD_SERVING)
            come_to((baton_old_state)at);
        const unsigned resumed = w.resumed, granted = w.granted;
        baton_old_on_higher(&old);
        assert_int_equal(old.state, BATON_OLD_FENCED);
        baton_old_on_ready(&old);
        baton_old_on_answer(&old, &w.point);
        baton_old_on_hello(&old);
        baton_old_on_cut(&old);
        baton_old_on_taken(&old);
        w.now_ns += 10 * GAP;
        (void)baton_old_step(&old);
        assert_int_equal(old.state, BATON_OLD_FENCED);
        assert_int_equal(w.resumed, resumed);
        assert_int_equal(w.granted, granted);
        assert_false(baton_old_begin(&old, GAP, GAP));
    }
}

/* R7: it repeats the grant to the one that it named, waits as long as it takes, and ends by one of three. */
static void a_grant_that_was_found_waits(void **state)
{
    (void)state;
    baton_error why = {.status = BATON_E_NOT_FOUND};
    w.durable = true;
    for (int end = 0; end < 3; end++) {
        setup(state);
        w.durable = true;
        baton_old_found(&old);
        w.now_ns += 1000 * GAP;
        (void)baton_old_step(&old);
        assert_int_equal(w.granted, 0);
        baton_old_on_hello(&old);
        baton_old_on_hello(&old);
        assert_int_equal(w.granted, 2);
        if (end == 0)
            baton_old_on_taken(&old);
        else if (end == 1)
            baton_old_on_higher(&old);
        else
            baton_old_on_fallen_back(&old, &why);
        assert_int_equal(old.state, end == 2 ? BATON_OLD_SERVING : BATON_OLD_FENCED);
        assert_int_equal(w.resumed, 0);
    }
}

/* By force, or by the leave of one that is fenced: from each state before it begins, once. */
static void a_leave_begins_a_term_without_a_grant(void **state)
{
    for (int at = BATON_NEW_FOLLOWING; at <= BATON_NEW_ANSWERED; at++) {
        setup_new(state);
        if (at >= BATON_NEW_READY)
            baton_new_on_prepare(&own, 3, 1);
        if (at == BATON_NEW_ANSWERED) {
            baton_new_on_final(&own, 3, &w.point);
            step();
        }
        assert_int_equal(own.state, at);
        assert_true(baton_new_on_leave(&own, BATON_EPOCH_FORCED + 7));
        baton_new_on_abort(&own, 3);
        baton_new_on_cut(&own);
        step();
        assert_int_equal(own.state, BATON_NEW_SERVING);
        assert_true(own.epoch == BATON_EPOCH_FORCED + 7);
        assert_false(baton_new_on_leave(&own, 9));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_goes_through_all_steps_in_order, setup),
        cmocka_unit_test_setup(clients_notice_nothing_before_the_other_is_ready, setup),
        cmocka_unit_test_setup(a_standby_that_has_gone_ends_the_try_at_once, setup),
        cmocka_unit_test_setup(it_resumes_until_the_record_is_submitted_and_never_after, setup),
        cmocka_unit_test_setup(any_fact_that_differs_ends_it, setup),
        cmocka_unit_test_setup(a_mark_written_since_the_offer_is_no_difference, setup),
        cmocka_unit_test_setup(an_answer_past_the_gap_changes_nothing, setup),
        cmocka_unit_test_setup(a_full_journal_is_asked_again_and_a_broken_one_is_not, setup),
        cmocka_unit_test_setup(messages_out_of_place_change_nothing, setup),
        cmocka_unit_test_setup(after_a_failed_try_comes_another, setup),
        cmocka_unit_test_setup(it_takes_what_is_granted, setup_new),
        cmocka_unit_test_setup(without_a_grant_it_takes_nothing, setup_new),
        cmocka_unit_test_setup(it_answers_when_all_of_it_is_durable_here, setup_new),
        cmocka_unit_test_setup(an_abort_leads_back_and_a_cut_only_before_the_answer, setup_new),
        cmocka_unit_test_setup(it_refuses_what_it_can_not_be, setup_new),
        cmocka_unit_test_setup(a_promotion_is_asked_again_or_fails, setup_new),
        cmocka_unit_test_setup(a_higher_epoch_fences_in_every_state, setup),
        cmocka_unit_test_setup(a_grant_that_was_found_waits, setup),
        cmocka_unit_test_setup(a_leave_begins_a_term_without_a_grant, setup_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
