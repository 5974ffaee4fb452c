/* tests/sim/handover/hosts.c: two hosts (R12), an instance on each, and the operator of both. What has ended he
 * starts again; what waits he leaves alone while the two can see each other. When they can not, he reads both
 * screens, and waits on for the link, or promotes one by force: after he has ended the other one, as
 * docs/handover.md tells him, or, seldom, while it lives. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/handover/handover_run.h"

#define LOOK_NS  (100 * MS)
#define FRESH_NS (500 * MS)
#define DUMB_NS  (16000 * MS) /* longer than a dead connection takes to be noticed */
#define STUCK_NS (2500 * MS)

static uint32_t other_of(uint32_t instance)
{
    return 1 - instance;
}

void hosts_down(world *w, bool noticed)
{
    const uint64_t spans[] = {60 * MS, 400 * MS, 400 * MS, 3000 * MS, 3000 * MS, 14000 * MS};
    const uint64_t ns = 1 + world_draw(w, spans[world_draw(w, world_one_in(w, 4) ? 6 : 5)]);
    world_note(w, "-- the hosts do not see each other for %.1f ms%s", (double)ns / 1e6,
               noticed ? ", and know it" : "");
    network_link_down(w, world_now(w) + ns, noticed);
    if (world_one_in(w, 6))
        w->operator_of.panics_at_ns = world_now(w) + 1 + world_draw(w, 400 * MS);
}

/* ---- what he sees ---- */

static bool is_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL && text[0] != '\0';
}

/* By its address alone: one that was to be followed, and was overruled by force before it was heard. */
static bool was_never_heard(const json_t *other)
{
    const char *nonce = json_string_value(json_object_get(other, "nonce"));
    return json_is_null(json_object_get(other, "heard_ms_ago")) && nonce != NULL &&
           strspn(nonce, "0") == strlen(nonce);
}

/* Both sides, and what can be chosen, are on the screen. */
static void check_undecided(const sim_life *life, const json_t *undecided)
{
    const json_t *here = json_object_get(undecided, "here");
    const json_t *other = json_object_get(undecided, "other");
    const json_t *choices = json_object_get(undecided, "choices");
    bool all = is_text(undecided, "why") && json_array_size(choices) == 3 &&
               is_text(here, "host") && is_text(here, "address") && is_text(here, "directory") &&
               json_integer_value(json_object_get(here, "epoch")) > 0 &&
               json_is_integer(json_object_get(here, "seq")) && is_text(other, "address") &&
               (was_never_heard(other) || (is_text(other, "host") && is_text(other, "directory")));
    for (size_t i = 0; i < json_array_size(choices); i++)
        all = all && is_text(json_array_get(choices, i), "do") &&
              is_text(json_array_get(choices, i), "then");
    char *text = all ? NULL : json_dumps(undecided, JSON_COMPACT);
    if (!all)
        world_fail(life->w, "%s is undecided, and the operator can't see enough: %s",
                   instance_path(life->instance), text != NULL ? text : "nothing");
}

static void look(sim_life *life)
{
    world *w = life->w;
    json_t *status = life->actions->status(life->actions->context);
    const char *phase = json_string_value(json_object_get(status, "phase"));
    const json_t *follow = json_object_get(status, "follow");
    const json_t *undecided = json_object_get(status, "undecided");
    const char *state = json_string_value(json_object_get(follow, "state"));
    const bool connected = json_is_true(json_object_get(follow, "connected"));
    const bool before = life->screen.undecided;
    baton_assert(phase != NULL);
    life->screen.at_ns = world_now(w);
    life->screen.connected = connected;
    const char *why = json_string_value(json_object_get(json_object_get(follow, "error"), "why"));
    life->screen.nobody_there = why != NULL && strcmp(why, "no active instance answers there") == 0;
    life->screen.undecided = strcmp(phase, "undecided") == 0;
    if (life->screen.undecided)
        check_undecided(life, undecided);
    if (life->screen.undecided && !before) {
        w->totals->undecided++;
        world_note(w, "-- %s shows that it is undecided", instance_path(life->instance));
    }
    const bool should_say =
        !life->screen.undecided &&
        ((strcmp(phase, "following") == 0 && state != NULL && strcmp(state, "answered") == 0 &&
          !connected) ||
         (strcmp(phase, "handing over") == 0 && strcmp(life->step, "granted") == 0 &&
          json_array_size(json_object_get(status, "followers")) == 0));
    if (!should_say)
        life->screen.dumb_since_ns = 0;
    else if (life->screen.dumb_since_ns == 0)
        life->screen.dumb_since_ns = world_now(w);
    else if (world_now(w) - life->screen.dumb_since_ns > DUMB_NS)
        world_fail(w, "%s waits for the other one, and does not say that it is undecided",
                   instance_path(life->instance));
    json_decref(status);
}

void hosts_asked(sim_life *life)
{
    world *w = life->w;
    baton_error error = {0};
    if (life->wants_promote) {
        life->wants_promote = false;
        const int r = life->actions->promote(life->actions->context, &error);
        world_note(w, "-- %s is promoted by force: %s %s", instance_path(life->instance),
                   baton_status_name(r), r < 0 ? error.why : "");
        if (r < 0 && w->operator_of.instance == life->instance && !w->operator_of.said)
            w->operator_of.instance = INSTANCES_MAX;
        w->operator_of.said = w->operator_of.said || r == 0;
        life->was_promoted = r == 0;
    }
    if (life->wants_look) {
        life->wants_look = false;
        look(life);
    }
}

/* ---- what he does ---- */

static bool can_be_asked(const world *w, uint32_t instance)
{
    const sim_life *life = w->instances[instance].life;
    return life != NULL && !life_is_dead(life) && !life_is_stopped(life) && life->actions != NULL &&
           life->screen.at_ns != 0 && world_now(w) - life->screen.at_ns < FRESH_NS;
}

static void promote(world *w, uint32_t instance)
{
    sim_life *life = w->instances[instance].life;
    w->operator_of.asked_ns = world_now(w);
    life->wants_promote = life->kicked = true;
}

static void force(world *w, uint32_t instance, bool over_living)
{
    const sim_life *other = w->instances[other_of(instance)].life;
    over_living = over_living && other != NULL && !life_is_dead(other);
    world_note(w, "-- the operator decides for %s%s", instance_path(instance),
               over_living ? ", and the other one lives" : "");
    w->operator_of.instance = instance;
    w->operator_of.said = false;
    w->operator_of.over_living = over_living;
    if (!over_living)
        world_kill(w, other_of(instance));
    promote(w, instance);
}

/* His word stands until it is done: the other one stays dead meanwhile. */
static bool is_barred(const world *w, uint32_t instance)
{
    return w->operator_of.instance == other_of(instance) && !w->operator_of.over_living;
}

/* A directory that has what the authority has not: it stays as it is, and an empty one is begun. */
static void set_aside(world *w, uint32_t instance)
{
    sim_instance *one = &w->instances[instance];
    baton_assert(w->asides_count < ASIDES_MAX);
    sim_aside *aside = &w->asides[w->asides_count++];
    memcpy(aside->path, one->path, sizeof(aside->path));
    aside->fork_seq = one->fork_seq;
    one->set_aside++;
    one->promised = 0;
    one->overruled = false;
    one->next_role = ROLE_STANDBY;
    world_path(w, instance);
    w->totals->set_aside++;
    world_note(w, "-- %s is set aside: %s is begun", aside->path, one->path);
}

static life_role next_role(world *w, const sim_life *life, bool died)
{
    const bool served = life->engine != NULL || strcmp(life->step, "serving") == 0;
    if (w->instances[life->instance].overruled)
        return ROLE_STANDBY;
    if (served)
        return died && !world_one_in(w, 4) ? ROLE_ACTIVE : ROLE_STANDBY;
    if (!died && life->role == ROLE_STANDBY)
        return world_one_in(w, 4) ? ROLE_ACTIVE : ROLE_STANDBY;
    if (!died || world_one_in(w, 4))
        return life->role == ROLE_ACTIVE ? ROLE_STANDBY : ROLE_ACTIVE;
    return life->role;
}

static void note_end(world *w, uint32_t instance)
{
    sim_instance *one = &w->instances[instance];
    sim_life *life = one->life;
    const bool died = life_is_dead(life);
    const bool refused = !died && life->failure.status < 0;
    const bool fenced = refused && strncmp(life->failure.why, "fenced", 6) == 0;
    world_note(w, "-- %s %s%s%s: %s", instance_path(instance), died ? "is dead" : "has ended",
               refused ? ", " : "", refused ? baton_status_name(life->failure.status) : "",
               refused ? life->failure.why : "");
    w->totals->refused += refused;
    w->totals->fenced += fenced;
    if (fenced && strcmp(life->failure.what, "serve") == 0 && !w->operator_of.forked)
        world_fail(w, "%s is fenced, and nobody was promoted by force", instance_path(instance));
    one->next_role = next_role(w, life, died);
    one->start_at_ns = world_now(w) + world_draw(w, world_one_in(w, 3) ? 300 * MS : 5 * MS);
    const bool has_more = fenced && strstr(life->failure.why, "stand only here") != NULL;
    const bool turned_away = refused && one->overruled && life->role == ROLE_STANDBY &&
                             w->highest_life != 0 && world_serving(w) != NULL;
    if (refused && w->operator_of.instance == instance && w->operator_of.said && life->was_promoted)
        world_fail(w, "%s said that it would serve by force, and ended: %s",
                   instance_path(instance), life->failure.why);
    life_bury(life);
    one->life = NULL;
    if (w->operator_of.instance == instance && (!w->operator_of.said || w->operator_of.over_living))
        w->operator_of.instance = INSTANCES_MAX;
    if (one->overruled && (has_more || turned_away))
        set_aside(w, instance);
    w->hurry = false;
    baton_sim_crash_at(w->sim, 0, BATON_SIM_KILL);
}

/* One was started as a standby, and the other one says that it is none's active: it was for the first to begin. */
static void start_as_active(world *w)
{
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t instance = w->by_hand_next++ % 2;
        sim_instance *one = &w->instances[instance];
        if (one->overruled || !world_has_journal(w, instance) || !can_be_asked(w, instance) ||
            one->life->role != ROLE_STANDBY || one->life->screen.undecided ||
            !one->life->screen.nobody_there)
            continue;
        world_kill(w, instance);
        one->by_hand = true;
        return;
    }
}

/* Nobody serves for longer than he is willing to wait. */
static void decide(world *w)
{
    const bool both = can_be_asked(w, 0) && can_be_asked(w, 1);
    const bool any = can_be_asked(w, 0) || can_be_asked(w, 1);
    const sim_life *const lives[] = {w->instances[0].life, w->instances[1].life};
    const uint32_t last = w->operator_of.instance;
    w->operator_of.patience_ns += 200 * MS + world_draw(w, 1500 * MS);
    if (last != INSTANCES_MAX) {
        if (can_be_asked(w, last) && !lives[last]->wants_promote)
            promote(w, last);
        return;
    }
    const bool one_is_empty = !world_has_journal(w, 0) || !world_has_journal(w, 1);
    if ((both || one_is_empty) && !link_is_down(w)) {
        if (world_now(w) - w->operator_of.waits_since_ns > STUCK_NS)
            start_as_active(w);
        return; /* they see each other, and go on by themselves */
    }
    if (w->quiet || !any || world_one_in(w, 2))
        return;
    const uint32_t chosen = !can_be_asked(w, 0)   ? 1
                            : !can_be_asked(w, 1) ? 0
                                                  : (uint32_t)world_draw(w, 2);
    if (w->instances[chosen].overruled) /* he has decided for the other one before */
        return;
    if (lives[chosen]->screen.undecided || world_one_in(w, 3))
        force(w, chosen, world_one_in(w, 6));
}

/* One serves, and the other one can't be seen: he takes it for dead. */
static void panic(world *w, const sim_life *serving)
{
    const uint32_t instance = serving != NULL ? other_of(serving->instance) : INSTANCES_MAX;
    w->operator_of.panics_at_ns = 0;
    if (serving == NULL || w->quiet || w->operator_of.instance != INSTANCES_MAX || !link_is_down(w))
        return;
    const sim_life *life = w->instances[instance].life;
    if (life != NULL && !life_is_dead(life) && life->actions != NULL &&
        !w->instances[instance].overruled)
        force(w, instance, world_one_in(w, 2));
}

/* One that has what the authority has not, and is told so again and again. */
static void look_at_overruled(world *w)
{
    for (uint32_t i = 0; i < 2; i++) {
        sim_instance *one = &w->instances[i];
        if (!one->overruled || one->life == NULL || one->life->role != ROLE_STANDBY ||
            !can_be_asked(w, i) || one->life->screen.connected || link_is_down(w)) {
            one->turned_away_ns = world_now(w);
            continue;
        }
        if (world_now(w) - one->turned_away_ns < 2 * STUCK_NS)
            continue;
        one->turned_away_ns = world_now(w);
        world_kill(w, i);
        note_end(w, i);
        set_aside(w, i);
    }
}

static void watch(world *w)
{
    const sim_life *serving = world_serving(w);
    const bool overruled = w->instances[0].overruled || w->instances[1].overruled;
    if (w->operator_of.panics_at_ns != 0 && world_now(w) >= w->operator_of.panics_at_ns)
        panic(w, serving);
    if (serving != NULL && w->operator_of.instance == INSTANCES_MAX)
        w->operator_of.waits_since_ns = 0;
    if ((serving != NULL && !overruled && w->operator_of.instance == INSTANCES_MAX) ||
        world_now(w) - w->operator_of.looked_ns < LOOK_NS)
        return;
    w->operator_of.looked_ns = world_now(w);
    for (uint32_t i = 0; i < 2; i++)
        if (w->instances[i].life != NULL && w->instances[i].life->actions != NULL)
            w->instances[i].life->wants_look = w->instances[i].life->kicked = true;
    if (serving != NULL && overruled)
        look_at_overruled(w);
    if (serving != NULL && w->operator_of.instance == INSTANCES_MAX)
        return;
    if (w->operator_of.waits_since_ns == 0) {
        w->operator_of.waits_since_ns = world_now(w);
        w->operator_of.patience_ns = 300 * MS + world_draw(w, 1500 * MS);
    }
    if (world_now(w) - w->operator_of.waits_since_ns >= w->operator_of.patience_ns)
        decide(w);
}

void hosts_operate(world *w)
{
    for (uint32_t i = 0; i < 2; i++) {
        const sim_life *life = w->instances[i].life;
        if (life != NULL && (life_is_dead(life) || life->main->finished))
            note_end(w, i);
    }
    watch(w);
    for (uint32_t i = 0; i < 2; i++) {
        sim_instance *one = &w->instances[i];
        if (one->life != NULL || world_now(w) < one->start_at_ns || is_barred(w, i))
            continue;
        life_role role = one->by_hand     ? ROLE_ACTIVE
                         : one->overruled ? ROLE_STANDBY
                                          : one->next_role;
        if (!world_has_journal(w, i))
            role = ROLE_STANDBY;
        if (w->highest_epoch == 0)
            role = i == 0 ? ROLE_ACTIVE : ROLE_STANDBY;
        one->by_hand = false;
        world_start(w, i, role);
    }
}
