/* tests/unit/engine_outbox_test.c: effects stay until their consumer confirms them, across restarts
 * (E6). */
#include "tests/unit/engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#define CONSUMER 1u

typedef struct {
    engine_seen keys[4096];
    uint32_t count;
    uint32_t stop_after; /* 0: never */
    uint64_t sum;        /* of the payload bytes */
} resent;

static int visit(void *context, const baton_effect *effect)
{
    resent *to = context;
    assert_true(effect->resent);
    to->keys[to->count++] = (engine_seen){.epoch = effect->epoch,
                                          .seq = effect->seq,
                                          .index = effect->index,
                                          .consumer = effect->consumer,
                                          .type = effect->type};
    for (uint32_t i = 0; i < effect->payload_bytes; i++)
        to->sum += ((const uint8_t *)effect->payload)[i] * (i + 1u);
    return to->stop_after != 0 && to->count == to->stop_after ? 42 : 0;
}

static resent all_of(engine_fixture *f, uint32_t consumer)
{
    resent to = {0};
    assert_int_equal(baton_engine_resend(f->engine, consumer, visit, &to), 0);
    return to;
}

static int confirm(engine_fixture *f, const engine_seen *key)
{
    return baton_engine_confirm(f->engine, key->consumer, key->epoch, key->seq, key->index);
}

static void assert_same(const resent *a, const resent *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->sum, b->sum);
    assert_memory_equal(a->keys, b->keys, a->count * sizeof(a->keys[0]));
}

static void unconfirmed_effects_are_resent_in_order_until_confirmed(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "outbox_resend");
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_submit_stream(&f, 1, 100);
    assert_int_equal(all_of(&f, CONSUMER).count, 0); /* nothing of it has been released yet */
    engine_fixture_settle(&f);
    const resent before = all_of(&f, CONSUMER);
    uint32_t released = 0;
    for (uint32_t i = 0; i < f.seen_count; i++) {
        if (f.seen[i].consumer != CONSUMER)
            continue;
        assert_memory_equal(&f.seen[i], &before.keys[released], sizeof(engine_seen));
        released++;
    }
    assert_int_equal(released, before.count);
    assert_true(before.count > 20);

    assert_int_equal(confirm(&f, &before.keys[9]), 0);
    assert_int_equal(confirm(&f, &before.keys[9]), 0);
    assert_int_equal(confirm(&f, &before.keys[3]), 0); /* older: nothing happens */
    const resent after = all_of(&f, CONSUMER);
    assert_int_equal(after.count, before.count - 10);
    assert_memory_equal(after.keys, before.keys + 10, after.count * sizeof(engine_seen));

    resent stopped = {.stop_after = 3};
    assert_int_equal(baton_engine_resend(f.engine, CONSUMER, visit, &stopped), 42);
    assert_int_equal(stopped.count, 3);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void what_was_never_released_can_not_be_confirmed(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "outbox_invalid");
    engine_fixture_open(&f, &toy_service_v1);
    assert_int_equal(engine_fixture_add(&f, 1, 1), 0); /* consumer 1 */
    assert_int_equal(baton_engine_confirm(f.engine, CONSUMER, 1, 1, 1),
                     BATON_E_INVALID); /* not durable yet */
    engine_fixture_settle(&f);
    assert_int_equal(baton_engine_confirm(f.engine, CONSUMER, 1, 1, 0),
                     BATON_E_INVALID); /* not to this consumer */
    assert_int_equal(baton_engine_confirm(f.engine, CONSUMER, 2, 1, 1),
                     BATON_E_INVALID); /* another epoch */
    assert_int_equal(baton_engine_confirm(f.engine, CONSUMER, 1, 2, 0), BATON_E_INVALID);
    assert_int_equal(baton_engine_confirm(f.engine, 0, 1, 1, 1), BATON_E_INVALID);
    assert_int_equal(baton_engine_confirm(f.engine, 9, 1, 1, 1), BATON_E_INVALID);
    assert_int_equal(baton_engine_resend(f.engine, 9, visit, NULL), BATON_E_INVALID);
    assert_int_equal(baton_engine_confirm(f.engine, CONSUMER, 1, 1, 1), 0);
    assert_int_equal(engine_fixture_status(&f).outbox_effects, 0);
    assert_int_equal(engine_fixture_status(&f).outbox_bytes, 0);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

/* By replay alone, by snapshot alone, and by a snapshot with a confirmation after it. */
static void a_restart_resends_exactly_what_was_unconfirmed(void **unused)
{
    (void)unused;
    for (int way = 0; way < 3; way++) {
        engine_fixture f;
        engine_fixture_make(&f, "outbox_restart");
        engine_fixture_open(&f, &toy_service_v1);
        engine_fixture_submit_stream(&f, 1, 200);
        engine_fixture_settle(&f);
        resent all = all_of(&f, CONSUMER);
        assert_int_equal(confirm(&f, &all.keys[20]), 0);
        if (way > 0)
            assert_int_equal(engine_fixture_snapshot(&f), 0);
        if (way == 2)
            assert_int_equal(confirm(&f, &all.keys[30]),
                             0); /* between entry 200 and the next one */
        const resent before[] = {all_of(&f, 1), all_of(&f, 2)};
        const baton_engine_status status = engine_fixture_status(&f);
        engine_fixture_close(&f);

        for (int again = 0; again < 2; again++) {
            f.seen_count = 0;
            engine_fixture_open(&f, &toy_service_v1);
            assert_int_equal(f.report.from_snapshot, way > 0);
            const resent after[] = {all_of(&f, 1), all_of(&f, 2)};
            assert_same(&after[0], &before[0]);
            assert_same(&after[1], &before[1]);
            assert_int_equal(engine_fixture_status(&f).outbox_bytes, status.outbox_bytes);
            assert_int_equal(engine_fixture_status(&f).outbox_effects, status.outbox_effects);
            assert_int_equal(f.seen_count, 0); /* nothing is released a second time by itself */
            assert_int_equal(confirm(&f, &all.keys[5]), 0);
            engine_fixture_close(&f);
        }
        engine_fixture_open(&f, &toy_service_v1);
        assert_int_equal(confirm(&f, &all.keys[all.count - 1]),
                         0); /* released by the process before */
        assert_int_equal(all_of(&f, CONSUMER).count, 0);
        engine_fixture_submit_stream(&f, 201, 260);
        engine_fixture_settle(&f);
        const resent more = all_of(&f, CONSUMER);
        assert_true(more.count > 0);
        assert_int_equal(more.keys[0].epoch, 4);
        engine_fixture_close(&f);
        engine_fixture_remove(&f);
    }
}

/* What a snapshot at entry 100 keeps in its outbox, beside the running service. */
static uint64_t exported_effects(engine_fixture *f, uint64_t to_seq, bool alone)
{
    char to[TEST_PATH_BYTES + 32];
    uint64_t rows_count = 0;
    baton_snapshot_info info;
    baton_snapshot_listed *list;
    uint32_t count;
    baton_snapshot_layout layout;
    const baton_replay_options options = {.to_seq = to_seq, .to_entry_alone = alone};
    snprintf(to, sizeof(to), "%s/as-it-was-%d", f->dir.path, alone);
    assert_int_equal(
        baton_state_export(&toy_service_v1, f->path, &options, 0, to, &info, &f->error), 0);
    assert_int_equal(info.seq, to_seq);
    assert_int_equal(baton_snapshot_list(to, &list, &count, &f->error), 0);
    assert_int_equal(count, 1);
    assert_int_equal(baton_snapshot_layout_read(list, &layout, &f->error), 0);
    for (uint32_t i = 0; i < layout.sections_count; i++)
        if (strcmp(layout.sections[i].name, "baton.outbox") == 0)
            rows_count = layout.sections[i].rows_count;
    baton_snapshot_layout_free(&layout);
    free(list);
    return rows_count;
}

static void the_state_at_an_entry_keeps_what_was_confirmed_behind_it(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "outbox_at_entry");
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_submit_stream(&f, 1, 100);
    engine_fixture_settle(&f);
    const resent all = all_of(&f, CONSUMER);
    const uint64_t kept = engine_fixture_status(&f).outbox_effects;
    assert_int_equal(confirm(&f, &all.keys[5]), 0);
    assert_int_equal(engine_fixture_snapshot(&f), 0); /* of entry 100, too, and without them */
    assert_int_equal(confirm(&f, &all.keys[10]), 0);
    engine_fixture_submit_stream(&f, 101, 160);
    engine_fixture_settle(&f);
    assert_int_equal(exported_effects(&f, 100, true), kept);
    assert_int_equal(exported_effects(&f, 100, false), kept - 11);

    baton_snapshot_info info;
    const baton_replay_options beyond = {.to_seq = 161, .to_entry_alone = true};
    assert_int_equal(
        baton_state_export(&toy_service_v1, f.path, &beyond, 0, f.dir.path, &info, &f.error),
        BATON_E_NOT_FOUND);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void a_consumer_that_lags_stops_the_intake_until_it_confirms(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "outbox_lagging");
    f.options.outbox_bytes_max = 64 * 1024;
    engine_fixture_open(&f, &toy_service_v1);
    int r = 0;
    uint32_t taken = 0;
    while (taken < 1000 && (r = engine_fixture_burst(&f, 1, 1000, 5)) == 0)
        taken++;
    assert_int_equal(r, BATON_E_LAGGING);
    assert_in_range(taken, 50, 70);
    engine_fixture_settle(&f);
    assert_int_equal(engine_fixture_burst(&f, 0, 0, 0), BATON_E_LAGGING);
    engine_fixture_close(&f);

    engine_fixture_open(&f, &toy_service_v1); /* lagging is part of the state */
    assert_int_equal(engine_fixture_burst(&f, 0, 0, 0), BATON_E_LAGGING);
    const resent all = all_of(&f, 5);
    assert_int_equal(all.count, taken);
    assert_int_equal(confirm(&f, &all.keys[taken / 2]), 0);
    assert_int_equal(engine_fixture_burst(&f, 0, 0, 0), 0);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static void confirm_on_release(void *context, const baton_effect *effect)
{
    engine_fixture *f = context;
    if (effect->consumer != 0)
        assert_int_equal(baton_engine_confirm(f->engine, effect->consumer, effect->epoch,
                                              effect->seq, effect->index),
                         0);
}

static void release_may_confirm(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "outbox_release");
    f.on_release = confirm_on_release;
    f.on_release_context = &f;
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_submit_stream(&f, 1, 500);
    engine_fixture_settle(&f);
    assert_int_equal(engine_fixture_status(&f).outbox_effects, 0);
    engine_fixture_close(&f);
    engine_fixture_open(&f, &toy_service_v1);
    assert_int_equal(engine_fixture_status(&f).outbox_effects, 0);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

static int confirm_visited(void *context, const baton_effect *effect)
{
    engine_fixture *f = context;
    uint8_t first = effect->payload_bytes > 0 ? *(const uint8_t *)effect->payload : 0;
    assert_int_equal(baton_engine_confirm(f->engine, effect->consumer, effect->epoch, effect->seq,
                                          effect->index),
                     0);
    assert_int_equal(engine_fixture_burst(f, 3, 4096, CONSUMER),
                     0); /* grows the outbox during the walk */
    assert_int_equal(effect->payload_bytes > 0 ? *(const uint8_t *)effect->payload : 0, first);
    return 0;
}

static void a_visit_may_confirm_and_submit(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "outbox_visit");
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_submit_stream(&f, 1, 300);
    engine_fixture_settle(&f);
    const uint32_t count = all_of(&f, CONSUMER).count;
    assert_int_equal(baton_engine_resend(f.engine, CONSUMER, confirm_visited, &f), 0);
    engine_fixture_settle(&f);
    assert_int_equal(all_of(&f, CONSUMER).count, 3 * count);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

/* Two instances compare the last batch of the journal (H2): a confirmation puts none behind it. */
static void a_confirmation_waits_while_intake_is_stopped(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "outbox_sealed");
    engine_fixture_open(&f, &toy_service_v1);
    engine_fixture_submit_stream(&f, 1, 100);
    engine_fixture_settle(&f);
    const resent all = all_of(&f, CONSUMER);
    assert_int_equal(confirm(&f, &all.keys[1]), 0);
    baton_engine_seal(f.engine);
    assert_false(baton_engine_all_released(f.engine)); /* its record is not durable yet */
    while (!baton_engine_all_released(f.engine))
        assert_int_equal(baton_engine_turn(f.engine, 10000000, NULL), 0);
    assert_int_equal(confirm(&f, &all.keys[5]), 0);
    assert_true(baton_engine_all_released(f.engine)); /* nothing was queued */
    assert_int_equal(all_of(&f, CONSUMER).count, all.count - 2);

    assert_int_equal(baton_engine_unseal(f.engine, NULL), 0); /* it serves on */
    assert_int_equal(all_of(&f, CONSUMER).count, all.count - 6);
    engine_fixture_settle(&f);
    engine_fixture_close(&f);
    engine_fixture_open(&f, &toy_service_v1);
    assert_int_equal(all_of(&f, CONSUMER).count, all.count - 6);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_confirmation_waits_while_intake_is_stopped),
        cmocka_unit_test(unconfirmed_effects_are_resent_in_order_until_confirmed),
        cmocka_unit_test(what_was_never_released_can_not_be_confirmed),
        cmocka_unit_test(a_restart_resends_exactly_what_was_unconfirmed),
        cmocka_unit_test(the_state_at_an_entry_keeps_what_was_confirmed_behind_it),
        cmocka_unit_test(a_consumer_that_lags_stops_the_intake_until_it_confirms),
        cmocka_unit_test(release_may_confirm),
        cmocka_unit_test(a_visit_may_confirm_and_submit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
