/* tests/sim/handover/world.c: one run: instances, the operator who starts them, the orchestrator who
 * asks for handovers to and fro, accidents, and the end, when nothing goes wrong any more. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "journal/format.h"
#include "tests/sim/handover/handover_run.h"

#define NOTES_MAX         160u
#define NOTE_BYTES        200u
#define NOBODY_NS         (900 * MS)
#define REST_LIMIT        (80000 * MS)
#define HANDOVERS_AT_REST 3u

static char notes[NOTES_MAX][NOTE_BYTES];
static uint64_t notes_count;

uint64_t world_now(const world *w)
{
    return baton_clock_monotonic_ns(baton_sim_clock(w->sim));
}

static world self; /* large */

const char *instance_path(uint32_t instance)
{
    return self.instances[instance].path;
}

const char *instance_directory(const world *w, uint32_t instance)
{
    return w->instances[instance].path + w->instances[instance].path_from;
}

const char *host_name(const world *w, uint32_t instance)
{
    static const char *const names[] = {"one", "two"};
    return w->hosts == 2 ? names[instance] : "one";
}

/* On two hosts the same directory, in half of the runs. */
void world_path(world *w, uint32_t instance)
{
    static const char letters[INSTANCES_MAX] = {'a', 'b', 'c'};
    sim_instance *one = &w->instances[instance];
    const char letter = w->same_path ? 'd' : letters[instance];
    int n =
        w->hosts == 2 ? snprintf(one->path, sizeof(one->path), "/%s", host_name(w, instance)) : 0;
    one->path_from = (uint32_t)n;
    n += snprintf(one->path + n, sizeof(one->path) - (size_t)n, "/%c", letter);
    if (one->set_aside > 0)
        (void)snprintf(one->path + n, sizeof(one->path) - (size_t)n, "%u", one->set_aside);
}

void world_note(world *w, const char *format, ...)
{
    char *note = notes[notes_count++ % NOTES_MAX];
    va_list values;
    int n = snprintf(note, NOTE_BYTES, "%10.3f ms ", (double)world_now(w) / 1e6);
    va_start(values, format);
    (void)vsnprintf(note + n, NOTE_BYTES - (size_t)n, format, values);
    va_end(values);
    run_say(w, "%s", note);
}

noreturn void world_fail(world *w, const char *format, ...)
{
    char text[512];
    va_list values;
    va_start(values, format);
    (void)vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    const uint64_t first = notes_count > NOTES_MAX ? notes_count - NOTES_MAX : 0;
    for (uint64_t i = first; i < notes_count && !w->options.verbose; i++)
        fprintf(stderr, "%s\n", notes[i % NOTES_MAX]);
    run_fail(w, "%s", text);
}

sim_life *world_life(const world *w, uint64_t id)
{
    for (uint32_t i = 0; i < w->instances_count; i++)
        if (w->instances[i].life != NULL && w->instances[i].life->id == id &&
            !life_is_dead(w->instances[i].life))
            return w->instances[i].life;
    return NULL;
}

sim_life *world_serving(const world *w)
{
    for (uint32_t i = 0; i < w->instances_count; i++) {
        sim_life *life = w->instances[i].life;
        if (life != NULL && !life_is_dead(life) && life->engine != NULL &&
            baton_engine_epoch(life->engine) == w->highest_epoch && life->id == w->highest_life &&
            strcmp(life->step, "fenced") != 0)
            return life;
    }
    return NULL;
}

/* ---- the operator ---- */

typedef struct {
    const world *w;
    char directory[64];
} looking;

static int visit_segment(void *context, const char *name)
{
    static union {
        baton_segment_header header;
        uint8_t bytes[sizeof(baton_segment_header)];
    } unit;
    const looking *at = context;
    char path[192];
    uint64_t epoch, index;
    (void)snprintf(path, sizeof(path), "%s/%s", at->directory, name);
    return baton_segment_name_parse(name, &epoch, &index) &&
           baton_sim_look(at->w->sim, path, unit.bytes, sizeof(unit), 0) == (int64_t)sizeof(unit) &&
           baton_segment_header_check(&unit.header) == BATON_UNIT_VALID;
}

/* One without a journal is for a standby: started alone, it would begin another journal. */
bool world_has_journal(const world *w, uint32_t instance)
{
    looking at = {.w = w};
    (void)snprintf(at.directory, sizeof(at.directory), "%s/journal", instance_path(instance));
    return baton_sim_list(w->sim, at.directory, visit_segment, &at) == 1;
}

static uint32_t whom_to_follow(world *w, uint32_t instance)
{
    const sim_life *serving = world_serving(w);
    if (serving != NULL && serving->instance != instance && (w->quiet || !world_one_in(w, 10)))
        return serving->instance;
    const uint32_t other = (uint32_t)world_draw(w, w->instances_count - 1);
    return other < instance ? other : other + 1;
}

void world_start(world *w, uint32_t instance, life_role role)
{
    sim_instance *one = &w->instances[instance];
    const uint32_t of = whom_to_follow(w, instance);
    one->life = life_start(w, instance, role, of);
    one->life->diverges = role == ROLE_STANDBY && w->may_diverge && !w->quiet && world_one_in(w, 2);
    plot_started(w, instance);
    world_note(w, "-- %s starts%s%s%s", instance_path(instance),
               role == ROLE_STANDBY ? " as the standby of " : "",
               role == ROLE_STANDBY ? instance_path(of) : "",
               one->life->diverges ? ", a build that applies otherwise" : "");
}

void world_kill(world *w, uint32_t instance)
{
    sim_life *life = w->instances[instance].life;
    if (life == NULL || life_is_dead(life))
        return;
    world_note(w, "-- %s is killed", instance_path(instance));
    baton_sim_kill(life->process);
}

/* What an operator does about one that has ended. */
static void note_end(world *w, uint32_t instance)
{
    sim_instance *one = &w->instances[instance];
    sim_life *life = one->life;
    const bool died = life_is_dead(life);
    const int status = life->failure.status;
    world_note(w, "-- %s %s%s%s: %s", instance_path(instance), died ? "is dead" : "has ended",
               status < 0 && !died ? ", " : "",
               status < 0 && !died ? baton_status_name(status) : "",
               status < 0 && !died ? life->failure.why : "");
    one->next_role = life->role;
    if (!died && status < 0)
        w->totals->refused++;
    if (!died)
        one->next_role =
            life->role == ROLE_ACTIVE || !world_one_in(w, 4) ? ROLE_STANDBY : ROLE_ACTIVE;
    else if (world_one_in(w, 4))
        one->next_role = life->role == ROLE_ACTIVE ? ROLE_STANDBY : ROLE_ACTIVE;
    if (life->engine != NULL || strcmp(life->step, "serving") == 0)
        one->next_role = died && !world_one_in(w, 4) ? ROLE_ACTIVE : ROLE_STANDBY;
    life_bury(life);
    one->life = NULL;
    one->start_at_ns = world_now(w) + world_draw(w, w->hurry             ? 500000
                                                    : world_one_in(w, 3) ? 300 * MS
                                                                         : 5 * MS);
    if (died && w->plot != PLOT_NONE)
        one->start_at_ns = world_now(w) + plot_start_ns(w, instance);
    if (died && (w->hurry || w->plot != PLOT_NONE))
        one->next_role = ROLE_ACTIVE;
    w->hurry = false;
    baton_sim_crash_at(w->sim, 0, BATON_SIM_KILL);
}

/* Somebody who was started to serve lives, and has not served or been refused: that has to come to an end. */
static bool one_decides(const world *w)
{
    for (uint32_t i = 0; i < w->instances_count; i++) {
        const sim_life *life = w->instances[i].life;
        if (life != NULL && !life_is_dead(life) && life_decides(life))
            return true;
    }
    return false;
}

/* A standby that was told to follow one who only follows, too, waits for nothing. */
static void redirect(world *w)
{
    for (uint32_t i = 0; i < w->instances_count; i++) {
        const sim_life *life = w->instances[i].life;
        if (life == NULL || life->role != ROLE_STANDBY || life_decides(life))
            continue;
        const sim_life *of = w->instances[life->standby_of].life;
        if (of == NULL || !life_decides(of))
            world_kill(w, i);
    }
}

/* Nobody serves. Who waits for another one's word is left alone, and so is that one: they are to find an end by
 * themselves. Where all are standbys nobody can: they are ended, and each is started alone, until one may serve. */
static void by_hand(world *w)
{
    if (world_serving(w) != NULL) {
        w->nobody_since_ns = world_now(w);
        w->by_hand = false;
        return;
    }
    if (!w->by_hand && world_now(w) - w->nobody_since_ns < NOBODY_NS)
        return;
    if (!w->by_hand && one_decides(w)) {
        w->nobody_since_ns = world_now(w);
        redirect(w);
        return;
    }
    bool any = false;
    for (uint32_t i = 0; i < w->instances_count; i++) {
        if (!w->by_hand)
            world_kill(w, i);
        any = any || w->instances[i].life != NULL;
    }
    w->by_hand = true;
    if (any)
        return;
    const uint32_t next = w->by_hand_next++ % w->instances_count;
    if (world_has_journal(w, next) || (w->highest_epoch == 0 && next == 0))
        world_start(w, next, ROLE_ACTIVE);
}

static void operate(world *w)
{
    if (w->hosts == 2) {
        hosts_operate(w);
        return;
    }
    for (uint32_t i = 0; i < w->instances_count; i++) {
        sim_life *life = w->instances[i].life;
        if (life != NULL && (life_is_dead(life) || life->main->finished))
            note_end(w, i);
    }
    by_hand(w);
    if (w->by_hand)
        return;
    for (uint32_t i = 0; i < w->instances_count; i++) {
        sim_instance *one = &w->instances[i];
        if (one->life != NULL || world_now(w) < one->start_at_ns)
            continue;
        const bool first = w->highest_epoch == 0 && i == 0;
        world_start(w, i,
                    first                     ? ROLE_ACTIVE
                    : w->highest_epoch == 0   ? ROLE_STANDBY
                    : world_has_journal(w, i) ? one->next_role
                                              : ROLE_STANDBY);
    }
}

/* ---- time ---- */

static uint64_t next_event(const world *w, uint64_t limit)
{
    uint64_t next = limit;
#define EARLIER(value)                                                                             \
    do {                                                                                           \
        const uint64_t at_ = (value);                                                              \
        next = at_ < next ? at_ : next;                                                            \
    } while (0)
    EARLIER(network_next_ns() > world_now(w) ? network_next_ns() : next);
    EARLIER(baton_sim_next_ns(w->sim));
    EARLIER(clients_next_ns(w));
    for (uint32_t i = 0; i < FIBERS_MAX; i++)
        if (fiber_at(i) != NULL && !fiber_at(i)->finished) {
            const uint64_t woken = fiber_at(i)->life->stopped_until_ns;
            EARLIER(fiber_at(i)->until_ns > woken ? fiber_at(i)->until_ns
                    : woken > world_now(w)        ? woken
                                                  : fiber_at(i)->until_ns);
        }
    for (uint32_t i = 0; i < w->instances_count; i++) {
        const sim_instance *one = &w->instances[i];
        if (one->life == NULL)
            EARLIER(one->start_at_ns > world_now(w) ? one->start_at_ns : next);
        if (one->life != NULL && one->life->stuck_until_ns > world_now(w))
            EARLIER(one->life->stuck_until_ns);
        if (w->held_until_ns[i] > world_now(w))
            EARLIER(w->held_until_ns[i]);
    }
    for (uint32_t i = 0; i < 8; i++)
        if (w->planned[i].at_ns != 0)
            EARLIER(w->planned[i].at_ns);
    EARLIER(world_now(w) + 20 * MS);
#undef EARLIER
    return next;
}

/* Its disk works again: what it queued is to go there. */
static void unstick(world *w)
{
    for (uint32_t i = 0; i < w->instances_count; i++) {
        sim_life *life = w->instances[i].life;
        if (life == NULL || life->stuck_until_ns == 0 || life->stuck_until_ns > world_now(w))
            continue;
        life->stuck_until_ns = 0;
        life->kicked = true;
    }
}

void world_pump(world *w, uint64_t until_ns)
{
    while (world_now(w) < until_ns) {
        accidents_planned(w);
        operate(w);
        network_turn(w);
        unstick(w);
        clients_turn(w);
        sim_fiber *runnable[FIBERS_MAX];
        uint32_t count = 0;
        for (uint32_t i = 0; i < FIBERS_MAX; i++)
            if (fiber_at(i) != NULL && !life_is_dead(fiber_at(i)->life) &&
                fiber_may_run(fiber_at(i)))
                runnable[count++] = fiber_at(i);
        if (count > 0) {
            baton_sim_advance(w->sim, 500 + world_draw(w, 4000));
            fiber_resume(runnable[world_draw(w, count)]);
            continue;
        }
        const uint64_t now = world_now(w), next = next_event(w, until_ns);
        baton_sim_advance(w->sim, next > now ? next - now : 1000);
    }
}

/* ---- the orchestrator ---- */

static void ask(world *w)
{
    static const uint64_t gaps[] = {250, 100, 100, 30};
    sim_life *serving = world_serving(w);
    if (serving == NULL || serving->actions == NULL)
        return;
    w->totals->asked++;
    serving->wants_handover = true;
    serving->wanted_gap_ns = gaps[w->quiet                      ? 0
                                  : w->plot == PLOT_LATE_RECORD ? 3
                                                                : world_draw(w, 4)] *
                             MS;
    serving->kicked = true;
}

static void step(world *w)
{
    world_pump(w, world_now(w) + world_draw(w, world_one_in(w, 6) ? 200 * MS : 25 * MS));
    if (world_one_in(w, 3))
        ask(w);
    if (w->plot == PLOT_NONE && world_one_in(w, 12))
        accident_have(w, accident_draw(w), (uint32_t)world_draw(w, w->instances_count));
    sim_life *serving = world_serving(w);
    if (serving != NULL && serving->actions != NULL && world_one_in(w, 120)) {
        world_note(w, "-- %s is asked to drain", instance_path(serving->instance));
        serving->wants_drain = serving->kicked = true;
    }
}

/* ---- the end ---- */

static bool all_follow(const world *w, const sim_life *serving)
{
    uint32_t count = 0;
    json_t *answer = serving->actions->status(serving->actions->context);
    json_t *followers = json_object_get(answer, "followers");
    const json_int_t seq = json_integer_value(json_object_get(answer, "seq"));
    for (size_t i = 0; i < json_array_size(followers); i++) {
        const json_t *one = json_array_get(followers, i);
        count += json_integer_value(json_object_get(one, "durable_seq")) == seq;
    }
    json_decref(answer);
    return count == w->instances_count - 1;
}

static bool at_rest(const world *w)
{
    const sim_life *serving = world_serving(w);
    if (serving == NULL || !serving->intake || serving->actions == NULL)
        return false;
    for (uint32_t i = 0; i < CLIENTS; i++)
        if (w->clients[i].acked < w->clients[i].sent)
            return false;
    for (uint32_t i = 0; i < w->instances_count; i++)
        if (w->instances[i].life == NULL)
            return false;
    return all_follow(w, serving);
}

/* One that was told to follow somebody who does not serve is told anew. */
static void correct(world *w)
{
    if (w->hosts == 2)
        return;
    const sim_life *serving = world_serving(w);
    for (uint32_t i = 0; i < w->instances_count; i++) {
        const sim_life *life = w->instances[i].life;
        if (serving != NULL && life != NULL && life != serving &&
            life->standby_of != serving->instance)
            world_kill(w, i);
    }
}

static void come_to_rest(world *w, const char *what)
{
    const uint64_t begun = world_now(w);
    uint64_t corrected_ns = begun;
    w->orders_end = true;
    while (!at_rest(w)) {
        if (world_now(w) - begun >= REST_LIMIT)
            world_fail(w, "nothing goes wrong any more, and %s", what);
        if (world_now(w) - corrected_ns >= REST_LIMIT / 8) {
            corrected_ns = world_now(w);
            correct(w);
        }
        world_pump(w, world_now(w) + 50 * MS);
    }
}

static void calm(world *w)
{
    w->quiet = true;
    memset(w->planned, 0, sizeof(w->planned));
    memset(w->held_until_ns, 0, sizeof(w->held_until_ns));
    w->link_up_ns = 0;
    *baton_sim_faults_of(w->sim) = (baton_sim_faults){0};
    baton_sim_crash_at(w->sim, 0, BATON_SIM_KILL);
    for (uint32_t i = 0; i < w->instances_count; i++) {
        sim_life *life = w->instances[i].life;
        if (life == NULL)
            continue;
        life->stopped_until_ns = 0;
        if (life->stuck_until_ns > 0)
            life->stuck_until_ns = 1;
        if (life->diverges)
            world_kill(w, i);
    }
    world_note(w, "-- nothing goes wrong any more");
}

/* A handover that nothing disturbs is done. */
static void hand_over_at_rest(world *w)
{
    const uint64_t term = w->highest_epoch;
    const uint64_t limit = world_now(w) + REST_LIMIT;
    w->orders_end = false;
    while (w->highest_epoch == term) {
        if (world_now(w) >= limit)
            world_fail(w, "nothing goes wrong, and no handover is done");
        ask(w);
        world_pump(w, world_now(w) + 400 * MS);
    }
}

static void finish(world *w)
{
    calm(w);
    come_to_rest(w, "not one serves, with all others behind it, and all orders acked");
    for (uint32_t i = 0; i < HANDOVERS_AT_REST && w->instances_count == 2; i++) {
        hand_over_at_rest(w);
        come_to_rest(w, "after a handover not one serves, with all others behind it");
    }
    world_pump(w, world_now(w) + 100 * MS);
    judge_at_rest(w, world_serving(w));
}

/* ---- the run ---- */

static void set_up(world *w)
{
    w->random.state = w->options.seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    (void)sim_random_next(&w->random);
    wrap_seed(w->options.seed);
    w->sim = baton_sim_new(w->options.seed);
    notes_count = 0;
    network_reset();
    fd_reset();
    sim_listen(&w->options, w->sim);
    w->instances_count = world_one_in(w, 4) ? 3 : 2;
    w->may_diverge = world_one_in(w, 3);
    w->plot = world_one_in(w, 3) ? (world_plot)(1 + world_draw(w, PLOTS - 1)) : PLOT_NONE;
    if (w->options.plot != PLOT_NONE)
        w->plot = (world_plot)w->options.plot;
    w->plot_instance = INSTANCES_MAX;
    w->hosts = w->options.plot == 0 && world_one_in(w, 2) ? 2 : 1;
    if (w->options.hosts != 0)
        w->hosts = w->options.hosts;
    if (w->hosts == 2) /* the plots are about one */
        w->plot = (world_plot)w->options.plot;
    w->same_path = w->hosts == 2 && world_one_in(w, 2);
    if (w->plot != PLOT_NONE || w->hosts == 2)
        w->instances_count = 2;
    for (uint32_t i = 0; i < INSTANCES_MAX; i++)
        world_path(w, i);
    w->totals->far += w->hosts == 2;
    w->operator_of.instance = INSTANCES_MAX;
    const bool errors = w->plot == PLOT_NONE && world_one_in(w, 6);
    *baton_sim_faults_of(w->sim) = (baton_sim_faults){
        .write_error = errors ? 300 : 0,
        .sync_error = errors ? 600 : 0,
        .split = world_one_in(w, 3) ? 20000 : 0,
        .late_lock = world_one_in(w, 2) ? 300000 : 0,
        .unflushed = w->plot == PLOT_UNFLUSHED ? 700000
                     : world_one_in(w, 2)      ? 200000
                                               : 0,
    };
    for (uint32_t i = 1; i < w->instances_count; i++) {
        w->instances[i].next_role = ROLE_STANDBY;
        w->instances[i].start_at_ns = world_draw(w, 100 * MS);
    }
}

void world_seed(const run_options *options, run_totals *totals, baton_digest *ret_trace)
{
    memset(&self, 0, sizeof(self));
    self.options = *options;
    self.totals = totals;
    set_up(&self);
    for (uint32_t i = 0; i < options->steps; i++)
        step(&self);
    finish(&self);
    sim_count_up(&totals->common, options, self.sim);
    *ret_trace = baton_sim_trace(self.sim);
    network_reset();
    baton_sim_free(self.sim);
    free(self.released);
}
