/* engine/turn.c: one turn: sleep, dispatch, tick, journal, release, the program's turn, the
 * snapshot.
 *
 * Waiting blocks in epoll and never spins (J9). What callbacks submitted goes to the kernel in the
 * same turn, as one batch. */
#include <baton/clock.h>
#include <baton/log.h>

#include "base/assert.h"
#include "engine/engine_private.h"

static uint64_t now_ns(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}

int baton_engine_fail(baton_engine *engine, int r, const char *what, const char *why,
                      const char *todo)
{
    if (engine->failed != 0)
        return engine->failed;
    baton_error_set(&engine->failure, r, what, why, todo);
    baton_error_at(&engine->failure, engine->paths.root, UINT64_MAX);
    engine->failed = r;
    return r;
}

/* E8: applied and durable, in the order of the entries. */
static bool release(baton_engine *engine)
{
    const uint64_t durable_seq = baton_journal_durable_seq(engine->journal);
    baton_machine *machine = &engine->machine;
    baton_effect effect;
    bool progress = false;
    while (engine->failed == 0 && baton_effect_queue_front(&machine->held, &effect) &&
           effect.seq <= durable_seq) {
        baton_assert(effect.seq > engine->released_seq);
        baton_outbox_note_released(&machine->outbox, &effect);
        if (engine->hooks.release != NULL)
            engine->hooks.release(engine->hooks.context, &effect);
        baton_effect_queue_pop(&machine->held);
        progress = true;
    }
    if (engine->failed == 0 && durable_seq > engine->released_seq) {
        engine->released_seq = durable_seq;
        progress = true;
    }
    return progress;
}

/* The journal's turn and what it sets free. */
static int drive(baton_engine *engine)
{
    if (engine->failed != 0)
        return engine->failed;
    baton_journal_note_applied(engine->journal, engine->machine.seq, engine->machine.effect_digest);
    engine->unpolled = false;
    int r = baton_journal_poll(engine->journal);
    if (r < 0)
        return baton_engine_fail(
            engine, r, "write the journal", "an earlier write or flush failed",
            "look at the log and the disk, then start again: nothing acknowledged is lost");
    const bool proven = baton_engine_prove_records(engine);
    const bool progress =
        engine->standby.following ? baton_engine_followed_some(engine) : release(engine);
    if (progress || proven)
        engine->released_some = true;
    return engine->failed;
}

static bool ticks(const baton_engine *engine)
{
    return engine->tick_interval_ns != 0 && !engine->sealed && !engine->standby.following;
}

static uint64_t sleep_limit_ns(const baton_engine *engine, uint64_t timeout_ns)
{
    uint64_t limit_ns = baton_journal_poll_within_ns(engine->journal);
    if (timeout_ns < limit_ns)
        limit_ns = timeout_ns;
    if (ticks(engine)) {
        uint64_t now = now_ns();
        uint64_t left_ns = engine->tick_next_ns > now ? engine->tick_next_ns - now : 0;
        if (left_ns < limit_ns)
            limit_ns = left_ns;
    }
    if (engine->snapshot.state == TASK_PUBLISHING && engine->snapshot.retry &&
        limit_ns > ENGINE_RETRY_NS)
        limit_ns = ENGINE_RETRY_NS;
    if ((engine->snapshot.state == TASK_IMAGING || engine->snapshot.state == TASK_PACKING) &&
        limit_ns > ENGINE_IMAGE_POLL_NS)
        limit_ns = ENGINE_IMAGE_POLL_NS;
    return limit_ns;
}

static void tick_when_due(baton_engine *engine)
{
    if (!ticks(engine) || engine->failed != 0)
        return;
    uint64_t now = now_ns();
    if (now < engine->tick_next_ns)
        return;
    engine->tick_next_ns += engine->tick_interval_ns;
    if (engine->tick_next_ns <= now) /* late: no burst of ticks to catch up */
        engine->tick_next_ns = now + engine->tick_interval_ns;
    engine->tick(engine->tick_context);
}

static int turn(baton_engine *engine, uint64_t timeout_ns)
{
    int r;
    if (engine->unpolled) { /* submitted between two turns: on its way before the sleep */
        r = drive(engine);
        if (r < 0)
            return r;
    }
    r = baton_loop_turn(&engine->loop,
                        engine->released_some ? 0 : sleep_limit_ns(engine, timeout_ns));
    if (r < 0)
        return baton_engine_fail(engine, r, "wait for events", NULL, "start again");
    tick_when_due(engine);
    r = drive(engine);
    if (r < 0)
        return r;
    engine->released_some = false;
    if (engine->hooks.turn != NULL)
        engine->hooks.turn(engine->hooks.context);
    if (engine->failed != 0)
        return engine->failed;
    if (engine->standby.following)
        baton_snapshot_task_rest(engine);
    else
        baton_snapshot_task_turn(engine);
    return engine->unpolled ? drive(engine) : 0;
}

int baton_engine_turn(baton_engine *engine, uint64_t timeout_ns, baton_error *error)
{
    const bool was_well = engine->failed == 0;
    int r = was_well ? turn(engine, timeout_ns) : engine->failed;
    baton_engine_metrics_update(engine);
    if (r >= 0)
        return 0;
    if (was_well)
        baton_log(ERROR, "engine.failed",
                  BATON_LOG_TEXT("status", baton_status_name(engine->failed)),
                  BATON_LOG_TEXT("what", engine->failure.what),
                  BATON_LOG_TEXT("why", engine->failure.why),
                  BATON_LOG_NUMBER("seq", engine->machine.seq));
    if (error != NULL)
        *error = engine->failure;
    return r;
}

/* ---- what a program sets up ---- */

int baton_engine_watch(baton_engine *engine, int fd, uint32_t events, baton_watch watch,
                       void *context)
{
    return baton_loop_watch_fd(&engine->loop, fd, events, watch, context);
}

void baton_engine_unwatch(baton_engine *engine, int fd)
{
    baton_loop_unwatch_fd(&engine->loop, fd);
}

void baton_engine_tick_every(baton_engine *engine, uint64_t interval_ns,
                             void (*tick)(void *context), void *context)
{
    if (interval_ns != 0 && interval_ns < ENGINE_TICK_NS_MIN)
        interval_ns = ENGINE_TICK_NS_MIN;
    engine->tick_interval_ns = tick != NULL ? interval_ns : 0;
    engine->tick = tick;
    engine->tick_context = context;
    engine->tick_next_ns = now_ns() + interval_ns;
}
