/* tests/unit/engine_pair.c */
#include "tests/unit/engine_pair.h"

#include <stdio.h>

#include <baton/clock.h>

static void must(int r, const baton_error *error, const char *what)
{
    char text[1024];
    if (r < 0)
        fail_msg("%s: %s: %s", what, baton_status_name(r),
                 baton_error_text(error, text, sizeof(text)));
}

static uint64_t now_ns(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}

void engine_pair_make(engine_fixture *active, engine_fixture *standby, const char *name)
{
    char both[2][64];
    snprintf(both[0], sizeof(both[0]), "%s_a", name);
    snprintf(both[1], sizeof(both[1]), "%s_b", name);
    engine_fixture_make(active, both[0]);
    engine_fixture_make(standby, both[1]);
}

void engine_pair_remove(engine_fixture *active, engine_fixture *standby)
{
    toy_set_skew(TOY_WELL, 0);
    engine_fixture_remove(active);
    engine_fixture_remove(standby);
}

void engine_feed_open(engine_feed *feed, engine_fixture *from, engine_fixture *to)
{
    char journal[TEST_PATH_BYTES + 32];
    baton_position end;
    baton_digest digest;
    bool needs_start;
    baton_error error = {0};
    snprintf(journal, sizeof(journal), "%s/journal", from->path);
    baton_engine_follow_end(to->engine, &end, &digest, &needs_start);
    const baton_reader_options options = {
        .from_seq = needs_start ? feed->from_seq : 0,
        .live = from->engine != NULL,
        .backend = BATON_BACKEND_THREADS,
    };
    feed->from = from;
    feed->to = to;
    must(baton_reader_open_after(journal, &options, end, digest, &feed->reader, &error), &error,
         "open a feed");
}

void engine_feed_close(engine_feed *feed)
{
    baton_reader_close(feed->reader);
    *feed = (engine_feed){0};
}

static int start(engine_feed *feed)
{
    engine_fixture *to = feed->to;
    baton_position end;
    baton_digest digest;
    bool needs_start;
    baton_follow_start begins;
    baton_engine_follow_end(to->engine, &end, &digest, &needs_start);
    if (!needs_start)
        return 0;
    baton_reader_follow_start(feed->reader, &begins);
    return baton_engine_follow_start(to->engine, &begins, &to->error);
}

static int give(engine_feed *feed, const baton_batch_header *batch)
{
    engine_fixture *to = feed->to;
    const uint64_t bytes = baton_le32_get(batch->batch_bytes);
    const uint64_t begin_ns = now_ns();
    int r = start(feed);
    if (r < 0)
        return r;
    while ((r = baton_engine_follow(to->engine, batch, bytes, &to->error)) == BATON_E_FULL) {
        r = baton_engine_turn(to->engine, 10000000, &to->error);
        if (r < 0)
            return r;
        assert_true(now_ns() - begin_ns < FIXTURE_HANG_NS);
    }
    return r;
}

int engine_feed_pump(engine_feed *feed, uint64_t most)
{
    const baton_batch_header *batch;
    int r = 0;
    for (uint64_t n = 0; n < most; n++) {
        r = baton_reader_next_batch(feed->reader, &batch, &feed->to->error);
        if (r <= 0)
            return r;
        r = give(feed, batch);
        if (r < 0)
            return r;
        feed->batches_count++;
    }
    return 0;
}

static bool is_behind(const engine_feed *feed)
{
    baton_engine_point point = {0};
    must(baton_engine_digests(feed->to->engine, 0, &point, NULL), NULL, "digests");
    if (baton_position_compare(point.durable, point.position) != 0)
        return true;
    if (feed->from->engine == NULL)
        return false;
    baton_engine_point other = {0};
    must(baton_engine_digests(feed->from->engine, 0, &other, NULL), NULL, "digests");
    return baton_position_compare(point.position, other.durable) < 0;
}

void engine_feed_catch_up(engine_feed *feed)
{
    const uint64_t begin_ns = now_ns();
    do {
        must(engine_feed_pump(feed, UINT64_MAX), &feed->to->error, "follow");
        engine_fixture_turn(feed->to);
        assert_true(now_ns() - begin_ns < FIXTURE_HANG_NS);
    } while (is_behind(feed));
}

void engine_pair_assert_equal(engine_feed *feed)
{
    baton_engine_point a = {0};
    baton_engine_point b = {0};
    engine_fixture_settle(feed->from);
    engine_feed_catch_up(feed); /* nobody turns the other one now: no mark comes between */
    const uint32_t schema = engine_fixture_status(feed->to).schema;
    must(baton_engine_digests(feed->from->engine, schema, &a, NULL), NULL, "digests");
    must(baton_engine_digests(feed->to->engine, schema, &b, NULL), NULL, "digests");
    assert_int_equal(a.seq, b.seq);
    assert_memory_equal(&a.state, &b.state, sizeof(a.state));
    assert_memory_equal(&a.effects, &b.effects, sizeof(a.effects));
    if (baton_position_compare(a.durable, a.position) == 0) {
        assert_int_equal(baton_position_compare(a.position, b.position), 0);
        assert_memory_equal(&a.chain, &b.chain, sizeof(a.chain));
    }
    const baton_engine_status active = engine_fixture_status(feed->from);
    const baton_engine_status standby = engine_fixture_status(feed->to);
    assert_int_equal(active.effects_count, standby.effects_count);
    assert_int_equal(active.outbox_effects, standby.outbox_effects);
    assert_int_equal(active.outbox_bytes, standby.outbox_bytes);
}

void engine_pair_open_standby(engine_fixture *fixture, const baton_service *service)
{
    fixture->options.standby = true;
    engine_fixture_open(fixture, service);
    fixture->options.standby = false;
    assert_true(baton_engine_is_standby(fixture->engine));
}

void engine_pair_grant(engine_fixture *active, uint8_t nonce)
{
    const uint8_t nonce_bytes[16] = {nonce};
    const uint64_t begin_ns = now_ns();
    baton_engine_seal(active->engine);
    engine_fixture_settle(active);
    must(baton_engine_handover_record_to(active->engine, nonce_bytes, &active->error),
         &active->error, "name the successor");
    while (!baton_engine_handover_durable(active->engine)) {
        engine_fixture_turn(active);
        assert_true(now_ns() - begin_ns < FIXTURE_HANG_NS);
    }
}

void engine_pair_promote(engine_fixture *standby, uint64_t epoch)
{
    must(baton_engine_prepare_promotion(standby->engine, epoch, &standby->error), &standby->error,
         "prepare the promotion");
    must(baton_engine_promote(standby->engine, epoch, &standby->error), &standby->error, "promote");
    assert_false(baton_engine_is_standby(standby->engine));
    assert_int_equal(baton_engine_epoch(standby->engine), epoch);
}

typedef struct {
    baton_digest digest;
    uint64_t count;
} resent;

static int visit(void *context, const baton_effect *effect)
{
    resent *self = context;
    const struct {
        baton_digest before;
        baton_digest payload;
        uint64_t epoch;
        uint64_t seq;
        uint64_t index;
        uint64_t type;
    } item = {self->digest,  baton_digest_of(effect->payload, effect->payload_bytes),
              effect->epoch, effect->seq,
              effect->index, effect->type};
    self->digest = baton_digest_of(&item, sizeof(item));
    self->count++;
    return 0;
}

baton_digest engine_pair_resend_digest(const engine_fixture *fixture, uint32_t consumer,
                                       uint64_t *ret_count)
{
    resent self = {0};
    assert_int_equal(baton_engine_resend(fixture->engine, consumer, visit, &self), 0);
    *ret_count = self.count;
    return self.digest;
}

void engine_pair_follow(engine_feed *feed, engine_fixture *active, engine_fixture *standby)
{
    engine_fixture_open(active, &toy_service_v1);
    engine_pair_open_standby(standby, &toy_service_v1);
    engine_feed_open(feed, active, standby);
    engine_fixture_submit_stream(active, 1, 500);
    engine_pair_assert_equal(feed);
}

void engine_pair_assert_one_chain(const engine_fixture *from, const engine_fixture *to)
{
    char first[TEST_PATH_BYTES + 32];
    char then[TEST_PATH_BYTES + 32];
    char text[1024];
    baton_error error = {0};
    snprintf(first, sizeof(first), "%s/journal", from->path);
    snprintf(then, sizeof(then), "%s/journal", to->path);
    if (baton_journal_verify_continues(first, then, BATON_BACKEND_THREADS, &error) < 0)
        fail_msg("%s", baton_error_text(&error, text, sizeof(text)));
}
