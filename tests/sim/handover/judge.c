/* tests/sim/handover/judge.c: what is demanded.
 *
 * At every moment: a term begins with everything that was ever acknowledged, and under a number above
 * all before it; nothing is released by an earlier term; no effect is released twice. A term that the
 * operator forced may lack what came after its first entry; one that it overruled, and that does not know
 * it yet, is no writer that counts, and releases nothing once it has written down that it is fenced.
 * At rest: one serves; each directory holds the same bytes under the same seq; the state and effects of
 * an uninterrupted run; what was released is what it released; what was acked is there, once. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/handover/handover_run.h"

static sim_released *released_at(world *w, uint64_t seq)
{
    if (seq >= w->released_room) {
        const uint64_t room = 2 * seq + 256;
        w->released = realloc(w->released, room * sizeof(*w->released));
        baton_assert(w->released != NULL);
        memset(w->released + w->released_room, 0, (room - w->released_room) * sizeof(*w->released));
        w->released_room = room;
    }
    return &w->released[seq];
}

void judge_found(sim_life *life, const baton_engine *engine)
{
    world *w = life->w;
    const uint64_t seq = baton_engine_applied_seq(engine);
    const uint64_t promised = w->instances[life->instance].promised;
    if (!life_is_dead(life) && seq < promised)
        world_fail(w, "%s holds %" PRIu64 " entries, and had said that %" PRIu64 " are durable",
                   instance_path(life->instance), seq, promised);
}

void judge_answers(sim_life *life)
{
    json_t *status = life->actions->status(life->actions->context);
    life->w->instances[life->instance].promised =
        (uint64_t)json_integer_value(json_object_get(status, "seq"));
    json_decref(status);
}

/* By force: what was acknowledged behind its first entry is lost, as was said; clients are told. */
static void judge_forced(sim_life *life, uint64_t epoch, uint64_t seq, const sim_state *state)
{
    world *w = life->w;
    const uint32_t other = 1 - life->instance;
    const sim_life *beside = w->instances[other].life;
    if (w->operator_of.instance != life->instance)
        world_fail(w, "%s serves by force in term %" PRIu64 ", and nobody has told it to",
                   instance_path(life->instance), epoch);
    w->totals->forced++;
    w->totals->forced_over += beside != NULL && !life_is_dead(beside);
    w->totals->forced_away += w->highest_released > seq ? w->highest_released - seq : 0;
    w->operator_of.instance = INSTANCES_MAX;
    w->operator_of.forked = true;
    if (!w->instances[other].overruled)
        w->instances[other].fork_seq = seq;
    w->instances[other].overruled = true;
    for (uint64_t at = seq + 1; at <= w->highest_released; at++)
        w->released[at].there = false;
    if (w->highest_released > seq)
        w->highest_released = seq;
    clients_settle(w, state);
}

static bool is_overruled(const world *w, const sim_life *life, uint64_t epoch)
{
    return w->instances[life->instance].overruled && epoch < w->highest_epoch;
}

void judge_serves(sim_life *life)
{
    world *w = life->w;
    const uint64_t epoch = baton_engine_epoch(life->engine);
    const uint64_t seq = baton_engine_applied_seq(life->engine);
    const sim_state *state = baton_engine_state(life->engine);
    if (life_is_dead(life) || is_overruled(w, life, epoch))
        return;
    if (baton_epoch_forced_count(epoch) > baton_epoch_forced_count(w->highest_epoch))
        judge_forced(life, epoch, seq, state);
    if (epoch < w->highest_epoch || (epoch == w->highest_epoch && life->id != w->highest_life))
        world_fail(w, "%s serves in term %" PRIu64 ", and term %" PRIu64 " had begun",
                   instance_path(life->instance), epoch, w->highest_epoch);
    for (uint32_t i = 0; i < w->instances_count && epoch > w->highest_epoch; i++) {
        const sim_life *other = w->instances[i].life;
        if (other != NULL && other != life && !life_is_dead(other) && other->intake &&
            !w->instances[i].overruled)
            world_fail(w, "%s begins term %" PRIu64 ", and %s takes orders in: two serve",
                       instance_path(life->instance), epoch, instance_path(i));
    }
    if (epoch > w->highest_epoch)
        world_note(w, "-- %s serves in term %" PRIu64 " after entry %" PRIu64,
                   instance_path(life->instance), epoch, seq);
    w->instances[life->instance].overruled = false;
    w->highest_epoch = epoch;
    w->highest_life = life->id;
    if (seq < w->highest_released)
        world_fail(w, "%s serves after entry %" PRIu64 ", and %" PRIu64 " was acknowledged",
                   instance_path(life->instance), seq, w->highest_released);
    if (seq == w->highest_released && seq > 0 && w->released[seq].there &&
        !baton_digest_equal(state->chain, w->released[seq].ack.chain))
        world_fail(w, "%s serves after entry %" PRIu64 " with a state that was not acknowledged",
                   instance_path(life->instance), seq);
}

/* R12: what its directory says of it. */
static uint64_t fenced_by(const world *w, uint32_t instance)
{
    char path[64], text[1024] = "";
    (void)snprintf(path, sizeof(path), "%s/PARTNER", instance_path(instance));
    if (baton_sim_look(w->sim, path, text, sizeof(text) - 1, 0) <= 0)
        return 0;
    const char *line = strstr(text, "fenced_by ");
    return line != NULL ? strtoull(line + strlen("fenced_by "), NULL, 10) : 0;
}

bool judge_release(sim_life *life, const baton_effect *effect)
{
    world *w = life->w;
    const uint64_t epoch = baton_engine_epoch(life->engine);
    if (w->hosts == 2 && fenced_by(w, life->instance) > epoch)
        world_fail(w, "%s acknowledges entry %" PRIu64 " in term %" PRIu64 ", and is fenced",
                   instance_path(life->instance), effect->seq, epoch);
    if (is_overruled(w, life, epoch))
        return false;
    sim_released *one = released_at(w, effect->seq);
    if (epoch != w->highest_epoch || life->id != w->highest_life)
        world_fail(w,
                   "%s acknowledges entry %" PRIu64 " in term %" PRIu64 ", and term %" PRIu64
                   " had begun: two serve",
                   instance_path(life->instance), effect->seq, epoch, w->highest_epoch);
    if (one->there)
        world_fail(w,
                   "the effect of entry %" PRIu64 " was released in term %" PRIu64
                   ", and is again in term %" PRIu64,
                   effect->seq, one->epoch, epoch);
    *one = (sim_released){.there = true, .epoch = epoch, .life_id = life->id};
    memcpy(&one->ack, effect->payload, sizeof(one->ack));
    if (effect->seq > w->highest_released)
        w->highest_released = effect->seq;
    return true;
}

/* ---- at rest ---- */

typedef struct {
    sim_order *orders; /* by seq */
    uint64_t *epochs;
    uint64_t last;
} history;

static void read_history(world *w, const char *directory, history *into)
{
    char path[64];
    const baton_reader_options options = {.from_seq = 1};
    baton_reader *reader = NULL;
    baton_error error = {0};
    baton_entry entry;
    uint64_t room = 0;
    (void)snprintf(path, sizeof(path), "%s/journal", directory);
    *into = (history){0};
    int r = baton_reader_open(path, &options, &reader, &error);
    while (r == 0 && (r = baton_reader_next(reader, &entry, &error)) == 1) {
        r = 0;
        if (entry.is_record)
            continue;
        if (entry.seq != into->last + 1 || entry.payload_bytes != sizeof(sim_order))
            world_fail(w, "%s: entry %" PRIu64 " stands behind entry %" PRIu64, path, entry.seq,
                       into->last);
        if (entry.seq >= room) {
            room = 2 * room + 256;
            into->orders = realloc(into->orders, room * sizeof(*into->orders));
            into->epochs = realloc(into->epochs, room * sizeof(*into->epochs));
            baton_assert(into->orders != NULL && into->epochs != NULL);
        }
        memcpy(&into->orders[entry.seq], entry.payload, sizeof(sim_order));
        into->epochs[entry.seq] = entry.epoch;
        into->last = entry.seq;
    }
    baton_reader_close(reader);
    if (r < 0)
        world_fail(w, "%s can't be read: %s: %s", path, baton_status_name(r), error.why);
}

static void compare(world *w, uint32_t a, const history *one, uint32_t b, const history *other)
{
    for (uint64_t seq = 1; seq <= one->last && seq <= other->last; seq++)
        if (memcmp(&one->orders[seq], &other->orders[seq], sizeof(sim_order)) != 0 ||
            one->epochs[seq] != other->epochs[seq])
            world_fail(w,
                       "entry %" PRIu64 " was written twice: in %s in term %" PRIu64
                       ", in %s in term %" PRIu64,
                       seq, instance_path(a), one->epochs[seq], instance_path(b),
                       other->epochs[seq]);
    if (one->last != other->last)
        world_fail(w, "%s ends with entry %" PRIu64 ", %s with %" PRIu64, instance_path(a),
                   one->last, instance_path(b), other->last);
}

/* Up to where it was overruled it has what the authority has. */
static void check_aside(world *w, const sim_aside *aside, const history *all)
{
    history there;
    read_history(w, aside->path, &there);
    for (uint64_t seq = 1; seq <= there.last && seq <= aside->fork_seq && seq <= all->last; seq++)
        if (memcmp(&there.orders[seq], &all->orders[seq], sizeof(sim_order)) != 0)
            world_fail(w, "entry %" PRIu64 " is another one in %s, before it was overruled", seq,
                       aside->path);
    free(there.orders);
    free(there.epochs);
}

static void check_twin(world *w, const history *all, const baton_engine_status *status)
{
    baton_machine twin;
    baton_digest state;
    sim_state clients = {.accepted = 0};
    int r = baton_machine_init(&twin, &sim_service, NULL, NULL);
    for (uint64_t seq = 1; r == 0 && seq <= all->last; seq++) {
        const sim_order *order = &all->orders[seq];
        const baton_entry entry = {.seq = seq,
                                   .epoch = all->epochs[seq],
                                   .type = 1,
                                   .payload = order,
                                   .payload_bytes = sizeof(*order)};
        const uint32_t client = baton_le32_get(order->client);
        const sim_order sent = sim_order_of(w, client, baton_le64_get(order->client_seq));
        if (memcmp(&sent, order, sizeof(sent)) != 0)
            world_fail(w, "entry %" PRIu64 " is no order of any client", seq);
        r = baton_machine_apply(&twin, &entry);
        clients = *(const sim_state *)twin.state;
        const sim_released *one = released_at(w, seq);
        if (one->there && !baton_digest_equal(one->ack.chain, clients.chain))
            world_fail(w, "what was released for entry %" PRIu64 " is not what it says at rest",
                       seq);
    }
    if (r == 0)
        r = baton_machine_digest(&twin, 1, &state);
    baton_assert(r == 0);
    if (!baton_digest_equal(state, status->state_digest) ||
        !baton_digest_equal(twin.effect_digest, status->effect_digest))
        world_fail(w, "entry %" PRIu64 ": not the state of an uninterrupted run", all->last);
    for (uint32_t i = 0; i < CLIENTS; i++)
        if (clients.last[i] != w->clients[i].acked)
            world_fail(w, "client %u was acked %" PRIu64 " orders, and %" PRIu64 " are there", i,
                       w->clients[i].acked, clients.last[i]);
    baton_machine_fini(&twin);
}

void judge_at_rest(world *w, sim_life *serving)
{
    history all[INSTANCES_MAX] = {{0}};
    baton_engine_status status;
    const uint32_t at = serving->instance;
    const int r = baton_engine_status_get(serving->engine, &status);
    baton_assert(r == 0);
    for (uint32_t i = 0; i < w->instances_count; i++) { /* an end of time: all are gone at once */
        baton_sim_kill(w->instances[i].life->process);
        life_bury(w->instances[i].life);
        w->instances[i].life = NULL;
    }
    wrap_become(w->sim, baton_sim_start(w->sim));
    for (uint32_t i = 0; i < w->instances_count; i++)
        read_history(w, instance_path(i), &all[i]);
    for (uint32_t i = 0; i < w->instances_count; i++)
        compare(w, at, &all[at], i, &all[i]);
    if (all[at].last != status.seq)
        world_fail(w, "the journal ends with entry %" PRIu64 ", the state with %" PRIu64,
                   all[at].last, status.seq);
    check_twin(w, &all[at], &status);
    for (uint32_t i = 0; i < w->asides_count; i++)
        check_aside(w, &w->asides[i], &all[at]);
    for (uint32_t i = 0; i < w->instances_count; i++) {
        free(all[i].orders);
        free(all[i].epochs);
    }
}
