/* tests/sim/handover/accidents.c: what goes wrong, and when: at any time, and at the steps of a handover. */
#include <string.h>

#include "tests/sim/handover/handover_run.h"

enum {
    KILL = ACCIDENT_KILL,
    POWER = ACCIDENT_POWER,
    STOP = ACCIDENT_OTHERS,
    CUT,
    HOLD,
    CRASH_AT,
    STUCK,
    CRASH_POWER,
    LINK
};

void accident_have(world *w, uint32_t kind, uint32_t instance)
{
    sim_life *life = w->instances[instance].life;
    const uint64_t now = world_now(w);
    const uint64_t operations = baton_sim_counts_of(w->sim)->operations;
    const uint64_t a_while = world_draw(w, world_one_in(w, 3) ? 400 * MS : 60 * MS);
    switch (kind) {
    case KILL:
        world_kill(w, instance);
        break;
    case POWER:
        if (life == NULL || world_one_in(w, 6)) {
            world_note(w, "-- power cut");
            baton_sim_power_cut(w->sim);
        } else {
            world_note(w, "-- power cut of %s's host", instance_path(instance));
            baton_sim_power_cut_of(life->process);
        }
        break;
    case STOP:
        if (life == NULL || life_is_dead(life))
            break;
        world_note(w, "-- %s is stopped for %.1f ms", instance_path(instance),
                   (double)a_while / 1e6);
        life->stopped_until_ns = now + a_while;
        w->totals->stops++;
        break;
    case CUT:
        network_cut(w);
        break;
    case HOLD:
        world_note(w, "-- nothing comes to %s for %.1f ms", instance_path(instance),
                   (double)a_while / 1e6);
        w->held_until_ns[instance] = now + a_while;
        break;
    case CRASH_AT:
    case CRASH_POWER:
        baton_sim_crash_at(w->sim, operations + 1 + world_draw(w, 12),
                           kind == CRASH_AT ? BATON_SIM_KILL : BATON_SIM_POWER_CUT);
        break;
    case STUCK:
        if (life == NULL)
            break;
        world_note(w, "-- the disk of %s hangs for %.1f ms", instance_path(instance),
                   (double)a_while / 1e6);
        life->stuck_until_ns = now + a_while;
        break;
    case LINK:
        hosts_down(w, world_one_in(w, 2));
        break;
    default:
        break;
    }
}

void accident_plan(world *w, uint64_t in_ns, uint32_t kind, uint32_t instance)
{
    for (uint32_t i = 0; i < 8; i++)
        if (w->planned[i].at_ns == 0) {
            w->planned[i].at_ns = world_now(w) + 1 + in_ns;
            w->planned[i].kind = kind;
            w->planned[i].instance = instance;
            return;
        }
}

static void plan(world *w, uint64_t within_ns, uint32_t kind, uint32_t instance)
{
    accident_plan(w, within_ns > 0 ? world_draw(w, within_ns) : 0, kind, instance);
}

uint32_t accident_draw(world *w)
{
    static const uint32_t kinds[] = {KILL, KILL, KILL, POWER,    POWER,    STOP,  STOP,       CUT,
                                     CUT,  HOLD, HOLD, CRASH_AT, CRASH_AT, STUCK, CRASH_POWER};
    if (w->hosts == 2 && world_one_in(w, 4))
        return LINK;
    return kinds[world_draw(w, sizeof(kinds) / sizeof(kinds[0]))];
}

void accidents_planned(world *w)
{
    for (uint32_t i = 0; i < 8; i++) {
        if (w->planned[i].at_ns == 0 || w->planned[i].at_ns > world_now(w))
            continue;
        w->planned[i].at_ns = 0;
        accident_have(w, w->planned[i].kind, w->planned[i].instance);
        if (w->plot == PLOT_NONE && world_one_in(w, 3))
            plan(w, world_one_in(w, 2) ? 60 * MS : 2 * MS, accident_draw(w),
                 (uint32_t)world_draw(w, w->instances_count));
    }
}

/* What the rules are there for: a record that lands late, or never; one that is found, and not flushed. */
static bool has_worst(sim_life *life, const char *step)
{
    world *w = life->w;
    if (w->hosts == 2 && strcmp(step, "stopped") != 0 && world_one_in(w, 10)) {
        plan(w, world_one_in(w, 2) ? 100000 : 0, LINK, life->instance);
        return world_one_in(w, 2);
    }
    if (strcmp(step, "submitted") == 0 && world_one_in(w, 4)) {
        plan(w, 100000, KILL, life->instance);
        w->hurry = true;
        if (world_one_in(w, 2))
            plan(w, 80 * MS, KILL, life->instance);
        return true;
    }
    if (strcmp(step, "submitted") == 0 && world_one_in(w, 4)) {
        life->stopped_until_ns = world_now(w) + 20 * MS + world_draw(w, 400 * MS);
        w->totals->stops++;
        return true;
    }
    if (strcmp(step, "submitted") == 0 && world_one_in(w, 5)) {
        life->stuck_until_ns = world_now(w) + 20 * MS + world_draw(w, 400 * MS);
        return true;
    }
    if (strcmp(step, "serving") == 0 && world_one_in(w, 6)) {
        plan(w, 6 * MS, POWER, life->instance);
        return true;
    }
    return false;
}

void world_step_reached(sim_life *life, const char *step)
{
    world *w = life->w;
    world_note(w, "   %s: %s", instance_path(life->instance), step);
    if (strcmp(step, "answered") == 0)
        judge_answers(life);
    if (strcmp(step, "fenced") == 0)
        w->totals->handed_over++;
    if (w->quiet)
        return;
    if (w->plot != PLOT_NONE) {
        plot_step(life, step);
        return;
    }
    if (has_worst(life, step) || !world_one_in(w, 5))
        return;
    const uint32_t instance =
        world_one_in(w, 3) ? (uint32_t)world_draw(w, w->instances_count) : life->instance;
    static const uint64_t within[] = {0, 100000, MS, 5 * MS};
    plan(w, within[world_draw(w, 4)], accident_draw(w), instance);
}
