/* tests/sim/handover/directed.c: accidents in the one order that a rule is there for, which chance alone hits too
 * rarely. A run has one of these plots, at its handovers, or none. */
#include <string.h>

#include "tests/sim/handover/handover_run.h"

#define HELD (300 * MS)

/* R4: the record's write takes longer than the gap, and nothing that is said meanwhile arrives. */
static void late_record(sim_life *life)
{
    world *w = life->w;
    life->stuck_until_ns = world_now(w) + 40 * MS + world_draw(w, 60 * MS);
    w->held_until_ns[life->instance] = world_now(w) + HELD;
}

/* R5: dead with the record under way. Who is started again, and when, differs. */
static void dead_with_record(sim_life *life)
{
    world *w = life->w;
    accident_plan(w, 1 + world_draw(w, 60000), ACCIDENT_KILL, life->instance);
    w->plot_instance = life->instance;
    if (w->plot == PLOT_LATE_LANDING) {
        w->hurry = true;
        w->held_until_ns[life->instance] = world_now(w) + HELD;
    }
}

void plot_step(sim_life *life, const char *step)
{
    world *w = life->w;
    if (strcmp(step, "submitted") == 0) {
        w->plot_instance = INSTANCES_MAX;
        if (world_one_in(w, 4))
            return; /* all goes well */
        if (w->plot == PLOT_LATE_RECORD)
            late_record(life);
        else
            dead_with_record(life);
        return;
    }
    if (w->plot_instance == INSTANCES_MAX || strcmp(step, "serving") != 0)
        return;
    if (w->plot == PLOT_UNFLUSHED && life->instance != w->plot_instance) {
        accident_plan(w, world_draw(w, 4 * MS), ACCIDENT_POWER, life->instance);
        w->plot_instance = INSTANCES_MAX;
    }
}

/* A' has looked, and not found the record; its header may land after the successor has looked. */
void plot_started(world *w, uint32_t instance)
{
    if (w->plot != PLOT_LATE_LANDING || w->plot_instance != instance || w->quiet)
        return;
    baton_sim_crash_at_header(w->sim, BATON_SIM_KILL);
    w->plot_instance = INSTANCES_MAX;
}

/* When one that is dead is started again. */
uint64_t plot_start_ns(world *w, uint32_t instance)
{
    if (w->plot == PLOT_UNFLUSHED) /* the others act first; after a power cut this one does */
        return w->plot_instance == instance ? 200 * MS : world_draw(w, 3 * MS);
    return w->plot == PLOT_LATE_LANDING && w->hurry ? world_draw(w, 500000)
           : w->plot == PLOT_LATE_LANDING           ? 100 * MS
                                                    : world_draw(w, 5 * MS);
}
