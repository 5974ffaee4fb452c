/* tests/unit/engine_release_test.c: submit, apply, release: what may run ahead of durability and
 * what may not (E8). */
#include "tests/unit/engine_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void effects_wait_until_their_entry_is_durable(void **unused)
{
    (void)unused;
    engine_fixture f;
    io_fault *fault = io_fault_new();
    engine_fixture_make(&f, "release_held");
    f.options.io_backend = io_fault_backend();
    f.options.io_context = fault;
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_submit_stream(&f, 1, 1);
    engine_fixture_settle(&f);
    f.seen_count = 0;

    io_fault_hold(fault, BATON_IO_WRITE_DURABLE, true);
    engine_fixture_submit_stream(&f, 2, 50);
    for (int i = 0; i < 20; i++)
        assert_int_equal(baton_engine_turn(f.engine, 1000000, &f.error), 0);
    /* Applied, and seen by nobody. */
    assert_int_equal(baton_engine_applied_seq(f.engine), 50);
    assert_true(baton_engine_released_seq(f.engine) < 50);
    assert_int_equal(f.seen_count, 0);
    assert_false(baton_engine_all_released(f.engine));

    io_fault_hold(fault, BATON_IO_WRITE_DURABLE, false);
    io_fault_release_all(fault);
    engine_fixture_settle(&f);
    assert_int_equal(baton_engine_released_seq(f.engine), 50);
    assert_int_equal(f.seen[0].seq, 2);
    assert_int_equal(f.seen[f.seen_count - 1].seq, 50);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    io_fault_free(fault);
}

/* However it is written: applied at once, released when it is durable, in its order. */
static void an_unhurried_entry_is_released_too(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "release_unhurried");
    engine_fixture_open(&f, &toy_service_v1);
    for (uint64_t n = 1; n <= 50; n++) {
        const toy_add add = engine_stream_entry(n);
        const bool hurried = n % 8 == 0;
        int r = hurried ? baton_engine_submit(f.engine, TOY_ADD, &add, sizeof(add), NULL)
                        : baton_engine_submit_unhurried(f.engine, TOY_ADD, &add, sizeof(add), NULL);
        assert_int_equal(r, 0);
        assert_int_equal(baton_engine_applied_seq(f.engine), n);
        if (hurried)
            engine_fixture_turn(&f);
    }
    engine_fixture_settle(&f); /* nothing hurried comes behind the last ones */
    assert_int_equal(baton_engine_released_seq(f.engine), 50);
    assert_int_equal(f.durable_broken_count, 0);
    assert_int_equal(f.seen[f.seen_count - 1].seq, 50);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

/* Or a handover compares a state of before the record with a journal that has it. */
static void nothing_is_all_released_while_a_record_waits_for_its_write(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "release_record");
    engine_fixture_open(&f, &toy_service_v1);
    assert_int_equal(engine_fixture_burst(&f, 2, 10, 1), 0);
    engine_fixture_settle(&f);
    assert_true(baton_engine_all_released(f.engine));
    assert_int_equal(baton_engine_confirm(f.engine, 1, f.seen[0].epoch, f.seen[0].seq, 0), 0);
    baton_engine_seal(f.engine);
    assert_false(baton_engine_all_released(f.engine));

    baton_engine_point before, after;
    engine_fixture_settle(&f);
    assert_int_equal(baton_engine_digests(f.engine, 0, &before, &f.error), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(baton_engine_turn(f.engine, 0, &f.error), 0);
    assert_int_equal(baton_engine_digests(f.engine, 0, &after, &f.error), 0);
    assert_true(after.position.batch <= before.position.batch + 1); /* a mark, at most */
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void check_order(const engine_fixture *f, uint64_t first_seq, uint64_t last_seq)
{
    uint64_t seq = first_seq - 1;
    uint32_t index = 0;
    for (uint32_t i = 0; i < f->seen_count; i++) {
        if (f->seen[i].seq != seq) {
            assert_int_equal(f->seen[i].seq, seq + 1); /* every entry of the stream has an effect */
            seq++;
            index = 0;
        }
        assert_int_equal(f->seen[i].index, index);
        assert_false(f->seen[i].resent);
        index++;
    }
    assert_int_equal(seq, last_seq);
}

static void effects_come_in_order_whatever_order_the_writes_end_in(void **unused)
{
    (void)unused;
    for (int order = 0; order < 3; order++) {
        engine_fixture f;
        io_fault *fault = io_fault_new();
        engine_fixture_make(&f, "release_order");
        f.options.io_backend = io_fault_backend();
        f.options.io_context = fault;
        engine_fixture_open(&f, &toy_service_v1);
        io_fault_set_order(fault, (io_fault_order)order, 42);
        for (uint64_t n = 1; n <= 400; n++) {
            engine_fixture_submit_stream(&f, n, n);
            if (n % 3 == 0) /* many small batches in flight */
                assert_int_equal(baton_engine_turn(f.engine, 0, &f.error), 0);
        }
        engine_fixture_settle(&f);
        check_order(&f, 1, 400);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
        io_fault_free(fault);
    }
}

static void both_backends_release_everything(void **unused)
{
    (void)unused;
    for (int backend = BATON_BACKEND_AUTO; backend <= BATON_BACKEND_THREADS; backend++) {
        if (backend == BATON_BACKEND_URING)
            continue; /* AUTO takes it where it is allowed */
        engine_fixture f;
        engine_fixture_make(&f, "release_backend");
        f.options.backend = (baton_backend)backend;
        engine_fixture_open(&f, &toy_service_v1);
        for (uint64_t n = 1; n <= 2000; n += 100) {
            engine_fixture_submit_stream(&f, n, n + 99);
            engine_fixture_turn(&f);
        }
        engine_fixture_settle(&f);
        check_order(&f, 1, 2000);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
    }
}

static void what_is_wrong_is_refused_and_nothing_happened(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "release_refused");
    engine_fixture_open(&f, &toy_service_v1);
    static uint8_t large[BATON_ENTRY_BYTES_MAX + 1];
    uint64_t seq = 77;
    const toy_extra extra = {baton_le32_put(1)};
    assert_int_equal(baton_engine_submit(f.engine, 99, "x", 1, &seq), BATON_E_UNKNOWN_TYPE);
    assert_int_equal(baton_engine_submit(f.engine, TOY_EXTRA, &extra, sizeof(extra), &seq),
                     BATON_E_UNKNOWN_TYPE);
    assert_int_equal(baton_engine_submit(f.engine, TOY_ADD, large, sizeof(large), &seq),
                     BATON_E_TOO_LARGE);
    assert_int_equal(seq, 77);
    assert_int_equal(baton_engine_applied_seq(f.engine), 0);
    engine_fixture_submit_stream(&f, 1, 1);
    baton_engine_seal(f.engine);
    assert_int_equal(engine_fixture_add(&f, 1, 1), BATON_E_SEALED);
    engine_fixture_settle(&f);
    assert_int_equal(baton_engine_applied_seq(f.engine), 1);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void too_many_held_effects_answer_full_and_room_comes_back(void **unused)
{
    (void)unused;
    engine_fixture f;
    io_fault *fault = io_fault_new();
    engine_fixture_make(&f, "release_full");
    f.options.io_backend = io_fault_backend();
    f.options.io_context = fault;
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_settle(&f);
    io_fault_hold(fault, BATON_IO_WRITE_DURABLE, true);
    int r = 0;
    uint32_t taken = 0;
    while (taken < 10000 && (r = engine_fixture_burst(&f, 16, 4096, 0)) == 0)
        taken++;
    assert_int_equal(r, BATON_E_FULL);
    assert_in_range(taken, 100, 2000); /* about 64 MiB of effects */
    assert_int_equal(baton_engine_applied_seq(f.engine), taken);

    io_fault_hold(fault, BATON_IO_WRITE_DURABLE, false);
    io_fault_release_all(fault);
    engine_fixture_settle(&f);
    assert_int_equal(engine_fixture_burst(&f, 16, 4096, 0), 0);
    engine_fixture_settle(&f);
    assert_int_equal(f.seen_count, (taken + 1) * 16);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    io_fault_free(fault);
}

static void an_entry_that_apply_refuses_never_reaches_the_disk(void **unused)
{
    (void)unused;
    const struct {
        uint16_t type;
        toy_burst burst;
        int error;
    } poisons[] = {
        {TOY_POISON, {baton_le32_put(0), baton_le32_put(0), baton_le32_put(0)}, BATON_E_REFUSED},
        {TOY_BURST,
         {baton_le32_put(1), baton_le32_put(5000), baton_le32_put(0)},
         BATON_E_TOO_LARGE},
        {TOY_BURST,
         {baton_le32_put(70000), baton_le32_put(0), baton_le32_put(0)},
         BATON_E_TOO_LARGE},
        {TOY_BURST, {baton_le32_put(1), baton_le32_put(5), baton_le32_put(9)}, BATON_E_INVALID},
    };
    for (size_t i = 0; i < sizeof(poisons) / sizeof(poisons[0]); i++) {
        engine_fixture f;
        uint64_t seq;
        engine_fixture_make(&f, "release_poison");
        engine_fixture_open(&f, &toy_service_v1);
        engine_fixture_submit_stream(&f, 1, 10);
        engine_fixture_settle(&f);
        assert_int_equal(baton_engine_submit(f.engine, poisons[i].type, &poisons[i].burst,
                                             sizeof(toy_burst), &seq),
                         BATON_E_BROKEN);
        assert_int_equal(engine_fixture_add(&f, 1, 1), BATON_E_BROKEN);
        assert_int_equal(baton_engine_turn(f.engine, 0, &f.error), poisons[i].error);
        assert_non_null(strstr(f.error.why, "entry 11"));
        assert_int_equal(baton_engine_snapshot_begin(f.engine, &f.error), BATON_E_BROKEN);
        assert_int_equal(baton_engine_close(f.engine), poisons[i].error);
        f.engine = NULL;

        engine_fixture_open(&f, &toy_service_v1);
        assert_int_equal(baton_engine_applied_seq(f.engine), 10);
        assert_int_equal(f.report.recovery.acked_lost, 0);
        engine_fixture_submit_stream(&f, 11, 12);
        engine_fixture_settle(&f);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
    }
}

static void submit_one(void *context, const baton_effect *effect)
{
    engine_fixture *f = context;
    if (effect->index == 0 && effect->seq < 300)
        assert_int_equal(engine_fixture_add(f, (uint32_t)effect->seq % TOY_KEYS, 1), 0);
}

static void release_may_submit(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "release_submit");
    f.on_release = submit_one;
    f.on_release_context = &f;
    engine_fixture_open(&f, &toy_service_v1);
    assert_int_equal(engine_fixture_add(&f, 1, 1), 0);
    engine_fixture_settle(&f);
    assert_int_equal(baton_engine_applied_seq(f.engine), 300);
    check_order(&f, 1, 300);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void a_failed_write_stops_the_engine_and_releases_nothing_more(void **unused)
{
    (void)unused;
    engine_fixture f;
    io_fault *fault = io_fault_new();
    engine_fixture_make(&f, "release_broken");
    f.options.io_backend = io_fault_backend();
    f.options.io_context = fault;
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_submit_stream(&f, 1, 5);
    engine_fixture_settle(&f);
    const uint32_t seen = f.seen_count;
    io_fault_fail_all(fault, BATON_IO_WRITE_DURABLE, EIO);
    engine_fixture_submit_stream(&f, 6, 9);
    int r = 0;
    for (int i = 0; i < 100 && r == 0; i++)
        r = baton_engine_turn(f.engine, 1000000, &f.error);
    assert_int_equal(r, BATON_E_BROKEN);
    assert_true(f.error.todo[0] != '\0');
    assert_int_equal(f.seen_count, seen);
    assert_int_equal(engine_fixture_add(&f, 1, 1), BATON_E_BROKEN);
    assert_int_equal(baton_engine_close(f.engine), BATON_E_BROKEN);
    f.engine = NULL;
    engine_fixture_remove(&f);
    io_fault_free(fault);
}

static void a_full_disk_is_back_pressure_and_goes_on_when_there_is_room(void **unused)
{
    (void)unused;
    engine_fixture f;
    io_fault *fault = io_fault_new();
    engine_fixture_make(&f, "release_no_space");
    f.options.io_backend = io_fault_backend();
    f.options.io_context = fault;
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_settle(&f);
    io_fault_fail_all(fault, BATON_IO_ALLOCATE, ENOSPC);
    int r = 0;
    uint32_t taken = 0;
    for (uint32_t turns = 0; turns < 200000 && r != BATON_E_NO_SPACE; turns++) {
        r = engine_fixture_burst(&f, 0, 0, 0);
        taken += r == 0;
        if (r != 0 || taken % 64 == 0)
            assert_int_equal(baton_engine_turn(f.engine, 1000000, &f.error), 0);
    }
    assert_int_equal(r, BATON_E_NO_SPACE);
    engine_fixture_settle(&f); /* what was taken in is still made durable */

    io_fault_fail_all(fault, BATON_IO_ALLOCATE, 0);
    for (int i = 0; i < 10000 && r != 0; i++) {
        engine_fixture_turn(&f);
        r = engine_fixture_burst(&f, 0, 0, 0);
    }
    assert_int_equal(r, 0);
    engine_fixture_settle(&f);
    assert_int_equal(baton_engine_released_seq(f.engine), taken + 1);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    io_fault_free(fault);
}

static void metrics_and_status_say_what_happened(void **unused)
{
    (void)unused;
    engine_fixture f;
    char *text;
    size_t bytes;
    engine_fixture_make(&f, "release_metrics");
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_submit_stream(&f, 1, 100);
    engine_fixture_settle(&f);
    engine_fixture_turn(&f);
    assert_int_equal(baton_metrics_print(baton_engine_metrics(f.engine), &text, &bytes), 0);
    assert_non_null(strstr(text, "build_info{service=\"toy\",version=\"1.0.0\"} 1"));
    assert_non_null(strstr(text, "baton_applied_seq 100"));
    assert_non_null(strstr(text, "baton_durable_seq 100"));
    assert_non_null(strstr(text, "baton_released_seq 100"));
    free(text);
    const baton_engine_status status = engine_fixture_status(&f);
    assert_int_equal(status.seq, 100);
    assert_int_equal(status.epoch, 1);
    assert_int_equal(status.schema, 1);
    assert_true(status.commit_primitive[0] != '\0');
    assert_true(f.turns_count > 0);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(effects_wait_until_their_entry_is_durable),
        cmocka_unit_test(an_unhurried_entry_is_released_too),
        cmocka_unit_test(nothing_is_all_released_while_a_record_waits_for_its_write),
        cmocka_unit_test(effects_come_in_order_whatever_order_the_writes_end_in),
        cmocka_unit_test(both_backends_release_everything),
        cmocka_unit_test(what_is_wrong_is_refused_and_nothing_happened),
        cmocka_unit_test(too_many_held_effects_answer_full_and_room_comes_back),
        cmocka_unit_test(an_entry_that_apply_refuses_never_reaches_the_disk),
        cmocka_unit_test(release_may_submit),
        cmocka_unit_test(a_failed_write_stops_the_engine_and_releases_nothing_more),
        cmocka_unit_test(a_full_disk_is_back_pressure_and_goes_on_when_there_is_room),
        cmocka_unit_test(metrics_and_status_say_what_happened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
