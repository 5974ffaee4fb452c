/* base/sim_machine.c: the simulated machine itself: its time, its processes, its open files, what it
 * counts and traces. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/io_sim_private.h"

#define BEGIN_NS      UINT64_C(1000000000)
#define BEGIN_WALL_NS INT64_C(1700000000000000000)

/* ---- the machine ---- */

static uint64_t sim_monotonic_ns(const baton_clock *clock)
{
    return ((const sim_clock *)(const void *)clock)->sim->now_ns;
}

static uint64_t sim_wall_ns(const baton_clock *clock)
{
    const baton_sim *sim = ((const sim_clock *)(const void *)clock)->sim;
    return (uint64_t)(sim->wall_ns + (int64_t)sim->now_ns);
}

baton_sim *baton_sim_new(uint64_t seed)
{
    baton_sim *sim = calloc(1, sizeof(*sim));
    baton_assert(sim != NULL);
    sim->random.state = seed;
    sim->now_ns = BEGIN_NS;
    sim->wall_ns = BEGIN_WALL_NS;
    sim->clock = (sim_clock){.clock = {.monotonic_ns = sim_monotonic_ns, .wall_ns = sim_wall_ns},
                             .sim = sim};
    sim->slowness = (uint32_t)sim_random_below(&sim->random, 8);
    sim_disk_init(&sim->disk, &sim->random);
    return sim;
}

void baton_sim_free(baton_sim *sim)
{
    if (sim == NULL)
        return;
    baton_assert(sim->ios == NULL && sim->maps == NULL);
    while (sim->flights != NULL) {
        sim_flight *flight = sim->flights;
        sim->flights = flight->next;
        sim_flight_free(sim, flight);
    }
    while (sim->processes != NULL) {
        baton_sim_process *process = sim->processes;
        sim->processes = process->next;
        free(process);
    }
    sim_disk_fini(&sim->disk);
    free(sim);
}

const baton_clock *baton_sim_clock(const baton_sim *sim)
{
    return &sim->clock.clock;
}

void baton_sim_advance(baton_sim *sim, uint64_t ns)
{
    sim_run_until(sim, sim->now_ns + ns);
}

uint64_t baton_sim_next_ns(const baton_sim *sim)
{
    return sim->flights != NULL ? sim->flights->due_ns : UINT64_MAX;
}

void baton_sim_step_wall(baton_sim *sim, int64_t ns)
{
    sim->wall_ns += ns;
}

uint64_t baton_sim_draw(baton_sim *sim, uint64_t below)
{
    return sim_random_below(&sim->random, below);
}

baton_sim_process *baton_sim_start(baton_sim *sim)
{
    return baton_sim_start_on(sim, NULL);
}

baton_sim_process *baton_sim_start_on(baton_sim *sim, const char *machine)
{
    int r = 0;
    sim_node *root =
        machine != NULL ? sim_disk_find(&sim->disk, sim->disk.root, machine, &r) : sim->disk.root;
    baton_sim_process *process = calloc(1, sizeof(*process));
    baton_assert(process != NULL);
    *process =
        (baton_sim_process){.next = sim->processes, .sim = sim, .id = ++sim->processes_count};
    process->root = root != NULL ? root : sim_disk_machine(&sim->disk, machine);
    sim->processes = process;
    return process;
}

bool baton_sim_is_dead(const baton_sim_process *process)
{
    return process->dead;
}

void baton_sim_crash_at(baton_sim *sim, uint64_t n, baton_sim_crash how)
{
    sim->crash_at = n;
    sim->crash_how = how;
    sim->crash_at_header = false;
}

void baton_sim_crash_at_header(baton_sim *sim, baton_sim_crash how)
{
    sim->crash_at = 0;
    sim->crash_how = how;
    sim->crash_at_header = true;
}

void baton_sim_hold_crash(baton_sim *sim, bool hold)
{
    sim->crash_held = hold;
}

baton_sim_faults *baton_sim_faults_of(baton_sim *sim)
{
    return &sim->faults;
}

void baton_sim_fail_at(baton_sim *sim, uint64_t n, int error)
{
    sim->fail_at = n;
    sim->fail_error = error;
}

void baton_sim_set_room(baton_sim *sim, uint64_t bytes)
{
    const uint64_t units = bytes / BATON_IO_UNIT;
    sim->disk.units_max = bytes == UINT64_MAX ? UINT64_MAX : sim->disk.units_used + units;
}

const baton_sim_counts *baton_sim_counts_of(const baton_sim *sim)
{
    return &sim->counts;
}

baton_digest baton_sim_trace(const baton_sim *sim)
{
    return sim->trace;
}

void baton_sim_set_tell(baton_sim *sim, baton_sim_tell tell, void *context)
{
    sim->tell = tell;
    sim->tell_context = context;
}

void sim_trace(baton_sim *sim, const char *what, const uint64_t *words, uint32_t count)
{
    sim->trace = baton_digest_chain(sim->trace, words, count * sizeof(words[0]));
    if (sim->tell == NULL || strcmp(what, "op") == 0)
        return;
    char line[SIM_LINE_BYTES];
    int length = snprintf(line, sizeof(line), "%12.6f ms %s", (double)sim->now_ns / 1e6, what);
    for (uint32_t i = 0; i < count && length > 0 && (size_t)length < sizeof(line); i++)
        length += snprintf(line + length, sizeof(line) - (size_t)length, " %llu",
                           (unsigned long long)words[i]);
    sim->tell(sim->tell_context, line);
}

int64_t baton_sim_look(const baton_sim *sim, const char *path, void *buffer, uint64_t bytes,
                       uint64_t offset)
{
    int r;
    const sim_node *node = sim_disk_find(&sim->disk, sim->disk.root, path, &r);
    return node == NULL ? r : sim_file_read(&node->file, buffer, bytes, offset);
}

int baton_sim_list(const baton_sim *sim, const char *path, baton_io_visit visit, void *context)
{
    int r;
    const sim_node *node = sim_disk_find(&sim->disk, sim->disk.root, path, &r);
    return node == NULL ? r : sim_disk_list(&sim->disk, node, visit, context);
}

/* ---- handles ---- */

sim_handle *sim_handle_of(const baton_sim *sim, baton_io_file file)
{
    const int64_t at = (int64_t)file - SIM_HANDLE_FIRST;
    if (at < 0 || at >= (int64_t)SIM_HANDLES_MAX || sim->handles[at].node == NULL)
        return NULL;
    return (sim_handle *)(uintptr_t)&sim->handles[at];
}

void sim_handle_close(baton_sim *sim, sim_handle *handle)
{
    sim_node *node = handle->node;
    *handle = (sim_handle){0};
    sim_disk_unref(&sim->disk, node);
}
