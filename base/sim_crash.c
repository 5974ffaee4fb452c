/* base/sim_crash.c: deaths and accidents. What was in flight when a process dies is still on its way
 * (J10); what was in flight when the power goes is drawn like everything that no flush covered. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/io_sim_private.h"

#define LATE_NS_MAX      UINT64_C(60000000) /* a dead process's write lands this late at most */
#define LATE_LOCK_NS_MAX UINT64_C(75000000) /* as seen on real machines: base/README.md */

static bool is_write(const sim_flight *flight)
{
    return flight->call.kind == BATON_IO_WRITE || flight->call.kind == BATON_IO_WRITE_DURABLE;
}

/* ---- what is in flight ---- */

static char *copy_text(const char *text)
{
    char *copy = text == NULL ? NULL : strdup(text);
    baton_assert(text == NULL || copy != NULL);
    return copy;
}

/* From here on nothing of its owner is needed. */
static void flight_orphan(sim_flight *flight)
{
    baton_io_op *call = &flight->call;
    flight->io = NULL;
    flight->op = NULL;
    flight->blocking = false;
    flight->number = 0;
    if (flight->call_owned)
        return;
    flight->call_owned = true;
    call->path = copy_text(call->path);
    call->path_to = copy_text(call->path_to);
    if (is_write(flight)) {
        void *bytes = malloc(call->bytes);
        baton_assert(bytes != NULL);
        memcpy(bytes, call->buffer, call->bytes);
        call->buffer = bytes;
    } else {
        call->buffer = NULL;
    }
}

/* The front of a write that lands for itself; the flight keeps the rest. */
static sim_flight *flight_split(baton_sim *sim, sim_flight *flight)
{
    const uint64_t left = flight->call.bytes - flight->call.done_bytes;
    if (!is_write(flight) || left < 2 * SIM_SECTOR_BYTES)
        return NULL;
    const uint64_t front =
        (1 + sim_random_below(&sim->random, left / SIM_SECTOR_BYTES - 1)) * SIM_SECTOR_BYTES;
    sim_flight *first = calloc(1, sizeof(*first));
    baton_assert(first != NULL);
    *first = *flight;
    first->node->refs++;
    first->call.path = NULL;
    first->call.path_to = NULL;
    first->call.bytes = flight->call.done_bytes + front;
    first->call.buffer = malloc(first->call.bytes);
    baton_assert(first->call.buffer != NULL);
    memcpy(first->call.buffer, flight->call.buffer, first->call.bytes);
    flight->call.done_bytes += front;
    return first;
}

static void land_late(baton_sim *sim, sim_flight *flight)
{
    static const uint64_t spans_ns[] = {200000, 2000000, 20000000, LATE_NS_MAX};
    flight->due_ns =
        sim->now_ns + sim_random_below(&sim->random, spans_ns[sim_random_below(&sim->random, 4)]);
    sim_flight_insert(sim, flight);
}

/* One of a killed process: done now, later, in two parts, or never. A blocking call is over before
 * its process is: only what the ring had can be late. */
static void flight_outlive(baton_sim *sim, sim_flight *flight)
{
    const uint64_t draw = sim_random_below(&sim->random, 8);
    const bool blocking = flight->blocking;
    flight_orphan(flight);
    if (flight->call.kind == BATON_IO_WRITE_DURABLE && sim->faults.unflushed > 0 &&
        sim_random_chance(&sim->random, sim->faults.unflushed))
        flight->call.kind = BATON_IO_WRITE;
    if (flight->call.kind == BATON_IO_READ || flight->call.kind == BATON_IO_CLOSE || draw == 0) {
        sim_flight_free(sim, flight);
        return;
    }
    sim_flight *first = draw >= 5 ? flight_split(sim, flight) : NULL;
    if (blocking || draw == 1) {
        sim_flight *whole = first != NULL ? first : flight;
        if (first != NULL) /* interrupted */
            sim_flight_free(sim, flight);
        whole->due_ns = sim->now_ns;
        sim_flight_insert(sim, whole);
        return;
    }
    if (first != NULL)
        land_late(sim, first);
    land_late(sim, flight);
}

/* One that the power cut met: what it did so far is as volatile as the rest. */
static void flight_cut(baton_sim *sim, sim_flight *flight)
{
    const uint64_t draw = sim_random_below(&sim->random, 4);
    const baton_io_part part = baton_io_op_part(&flight->call);
    flight_orphan(flight);
    if (is_write(flight) && flight->node != NULL) {
        if (draw != 0)
            (void)sim_disk_write(&sim->disk, flight->node,
                                 (char *)flight->call.buffer + flight->call.done_bytes, part.bytes,
                                 part.offset, false, false);
    } else if (flight->call.kind != BATON_IO_READ && draw >= 2) {
        (void)sim_flight_attempt(sim, flight);
    }
    sim_flight_free(sim, flight);
}

/* ---- deaths ---- */

static void fail_all_of(baton_sim *sim, const baton_sim_process *process)
{
    for (sim_io *io = sim->ios; io != NULL; io = io->next) {
        if (io->process != process)
            continue;
        while (io->queued != NULL) { /* never reached the kernel */
            baton_io_op *op = io->queued;
            io->queued = op->next;
            sim_io_finish(io, op, -EIO);
        }
        io->queued_last = NULL;
    }
}

/* Its memory is gone: what the code of the dead process still writes there reaches nobody. */
static void unshare_maps(baton_sim *sim, const baton_sim_process *process)
{
    for (sim_map *map = sim->maps; map != NULL; map = map->next) {
        if (map->process != process)
            continue;
        const int access = map->writable ? PROT_READ | PROT_WRITE : PROT_READ;
        void *address = mmap(map->address, map->bytes, access, MAP_PRIVATE | MAP_FIXED,
                             map->node->shared_memory, 0);
        baton_assert(address == map->address);
    }
}

/* process NULL: all of that machine. */
static void handles_drop(baton_sim *sim, const baton_sim_process *process, uint32_t machine)
{
    const bool power = process == NULL;
    for (uint32_t i = 0; i < SIM_HANDLES_MAX; i++) {
        sim_handle *handle = &sim->handles[i];
        if (handle->node == NULL || (!power && handle->process != process) ||
            (power && !sim_disk_is_of(machine, handle->node)))
            continue;
        const bool late = !power && handle->locked && handle->held &&
                          sim_random_chance(&sim->random, sim->faults.late_lock);
        if (late) {
            handle->process = NULL;
            handle->until_ns = sim->now_ns + sim_random_below(&sim->random, LATE_LOCK_NS_MAX);
            continue;
        }
        sim_handle_close(sim, handle);
    }
}

/* Ends one process: its operations are answered with -EIO, `fate` has what the kernel had. */
static void end_process(baton_sim *sim, baton_sim_process *process,
                        void (*fate)(baton_sim *sim, sim_flight *flight))
{
    const bool lived = !process->dead;
    process->dead = true;
    fail_all_of(sim, process);
    sim_flight *all = sim->flights;
    sim->flights = NULL;
    sim_flight *later = NULL;
    while (all != NULL) {
        sim_flight *flight = all;
        all = flight->next;
        if (flight->process != process) {
            flight->next = later;
            later = flight;
            continue;
        }
        if (flight->io != NULL)
            sim_io_finish(flight->io, flight->op, -EIO);
        fate(sim, flight);
    }
    while (later != NULL) { /* back in, the last one first: equal times keep their order */
        sim_flight *flight = later;
        later = flight->next;
        sim_flight **at = &sim->flights;
        while (*at != NULL && (*at)->due_ns < flight->due_ns)
            at = &(*at)->next;
        flight->next = *at;
        *at = flight;
    }
    if (lived)
        unshare_maps(sim, process);
}

void baton_sim_kill(baton_sim_process *process)
{
    baton_sim *sim = process->sim;
    if (process->dead)
        return;
    sim->counts.kills++;
    sim_trace(sim, "kill", &process->id, 1);
    end_process(sim, process, flight_outlive);
    handles_drop(sim, process, SIM_ALL_MACHINES);
}

static void cut_power(baton_sim *sim, uint32_t machine)
{
    sim->counts.power_cuts++;
    for (baton_sim_process *process = sim->processes; process != NULL; process = process->next)
        if (sim_disk_is_of(machine, process->root))
            end_process(sim, process, flight_cut);
    handles_drop(sim, NULL, machine);
    const sim_cut cut = (sim_cut)sim_random_below(&sim->random, SIM_CUTS);
    const uint64_t words[] = {cut, sim->disk.changes_count};
    sim_trace(sim, "power cut", words, 2);
    sim_disk_power_cut(&sim->disk, machine, cut);
    for (sim_node *node = sim->disk.nodes; node != NULL; node = node->next) {
        if (node->shared_memory < 0 || !sim_disk_is_of(machine, node) ||
            sim_random_below(&sim->random, 2) == 0)
            continue;
        close(node->shared_memory); /* a page that was never written back is zeros */
        node->shared_memory = -1;
    }
}

void baton_sim_power_cut(baton_sim *sim)
{
    cut_power(sim, SIM_ALL_MACHINES);
}

void baton_sim_power_cut_of(baton_sim_process *process)
{
    cut_power(process->sim, process->root->machine);
}

void sim_crash_now(baton_sim_process *process, baton_sim_crash how)
{
    if (how == BATON_SIM_KILL)
        baton_sim_kill(process);
    else
        baton_sim_power_cut_of(process);
}

/* ---- accidents ---- */

bool sim_node_is_named(const baton_sim *sim, const sim_node *node, const char *name_end)
{
    const size_t length = strlen(name_end);
    for (uint32_t i = 0; i < sim->disk.now.count; i++) {
        const sim_name *name = &sim->disk.now.list[i];
        const size_t all = strlen(name->name);
        if (name->node == node && all >= length && strcmp(name->name + all - length, name_end) == 0)
            return true;
    }
    return false;
}

/* The unit number `wanted` among the written ones of all such files; the count of them when there
 * are fewer. */
static uint64_t written_unit(const baton_sim *sim, const char *name_end, uint64_t wanted,
                             sim_node **ret_node, uint64_t *ret_unit)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < sim->disk.now.count; i++) {
        sim_node *node = sim->disk.now.list[i].node;
        if (node->is_directory || !sim_node_is_named(sim, node, name_end))
            continue;
        for (uint64_t unit = 0; unit < node->file.units_count; unit++) {
            if (!sim_file_is_written(&node->file, unit))
                continue;
            if (count++ == wanted) {
                *ret_node = node;
                *ret_unit = unit;
            }
        }
    }
    return count;
}

/* Any written unit; half of the time one of the last of its file, where what is young stands. */
static bool draw_unit(baton_sim *sim, const char *name_end, sim_node **ret_node, uint64_t *ret_unit)
{
    const uint64_t count = written_unit(sim, name_end, UINT64_MAX, ret_node, ret_unit);
    if (count == 0)
        return false;
    (void)written_unit(sim, name_end, sim_random_below(&sim->random, count), ret_node, ret_unit);
    if (sim_random_below(&sim->random, 2) == 0)
        return true;
    uint64_t skip = sim_random_below(&sim->random, 4);
    for (uint64_t unit = (*ret_node)->file.units_count; unit-- > 0;) {
        if (sim_file_is_written(&(*ret_node)->file, unit) && skip-- == 0) {
            *ret_unit = unit;
            break;
        }
    }
    return true;
}

bool baton_sim_rot(baton_sim *sim, const char *name_end)
{
    sim_node *node;
    uint64_t unit;
    if (!draw_unit(sim, name_end, &node, &unit))
        return false;
    /* Headers stand at the beginning of a unit: as likely as all the rest of it. */
    const uint64_t within = sim_random_below(
        &sim->random, sim_random_below(&sim->random, 2) == 0 ? 128 : BATON_IO_UNIT);
    const uint64_t words[] = {node->id, unit, within};
    sim_trace(sim, "rot", words, 3);
    sim->counts.rotten++;
    return sim_file_rot(&node->file, unit * BATON_IO_UNIT + within,
                        (unsigned)sim_random_below(&sim->random, 8));
}

bool baton_sim_spoil(baton_sim *sim, const char *name_end)
{
    sim_node *node;
    uint64_t unit;
    if (!draw_unit(sim, name_end, &node, &unit))
        return false;
    const uint64_t words[] = {node->id, unit};
    sim_trace(sim, "spoil", words, 2);
    sim->counts.spoiled++;
    node->file.units[unit].unreadable = true;
    return true;
}

void baton_sim_heal(baton_sim *sim)
{
    for (sim_node *node = sim->disk.nodes; node != NULL; node = node->next) {
        for (uint64_t unit = 0; unit < node->file.units_count; unit++)
            node->file.units[unit].unreadable = false;
    }
}

bool baton_sim_flip(baton_sim *sim, const char *path, uint64_t bit)
{
    int r;
    sim_node *node = sim_disk_find(&sim->disk, sim->disk.root, path, &r);
    return node != NULL && sim_file_rot(&node->file, bit / 8, (unsigned)(bit % 8));
}

/* Where a write goes that goes astray: to the place of another one in flight, or over something
 * that stands in a file already. It never makes a file longer. */
bool sim_misdirect(baton_sim *sim, const sim_flight *flight, sim_node **ret_node,
                   uint64_t *ret_offset)
{
    const uint64_t bytes = flight->call.bytes - flight->call.done_bytes;
    sim_node *node = NULL;
    uint64_t offset = 0;
    const sim_flight *other = sim->flights;
    while (other != NULL && (!is_write(other) || other->node == NULL))
        other = other->next;
    if (other != NULL && sim_random_below(&sim->random, 2) == 0) {
        node = other->node;
        offset = other->call.offset;
    } else {
        uint64_t unit = 0;
        if (!draw_unit(sim, "", &node, &unit))
            return false;
        offset = unit * BATON_IO_UNIT;
    }
    if (node == NULL || node->is_directory || offset + bytes > node->file.size)
        return false;
    const uint64_t words[] = {node->id, offset, bytes};
    sim_trace(sim, "misdirected", words, 3);
    *ret_node = node;
    *ret_offset = offset;
    return true;
}
