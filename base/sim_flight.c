/* base/sim_flight.c: operations that the simulated kernel has: when they finish, what they do to the
 * disk, and what goes wrong with them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/io_sim_private.h"

#define SMALL_BYTES 65536u /* up to here a write's bytes are compared, entered and landed */

static bool is_write(baton_io_kind kind)
{
    return kind == BATON_IO_WRITE || kind == BATON_IO_WRITE_DURABLE;
}

/* ---- time ---- */

/* Microseconds, with now and then one that takes much longer: that is what reorders. */
static uint64_t latency_ns(baton_sim *sim, baton_io_kind kind)
{
    static const uint16_t usual_us[BATON_IO_KINDS] = {
        [BATON_IO_READ] = 60,       [BATON_IO_WRITE] = 80,    [BATON_IO_WRITE_DURABLE] = 120,
        [BATON_IO_SYNC_DATA] = 300, [BATON_IO_SYNC] = 400,    [BATON_IO_OPEN] = 30,
        [BATON_IO_CLOSE] = 3,       [BATON_IO_RENAME] = 40,   [BATON_IO_UNLINK] = 40,
        [BATON_IO_ALLOCATE] = 40,   [BATON_IO_TRUNCATE] = 30,
    };
    const uint64_t us = usual_us[kind];
    uint64_t ns = sim_random_between(&sim->random, us * 500, us * 1500);
    if (sim_random_below(&sim->random, 32) < sim->slowness)
        ns *= sim_random_between(&sim->random, 2, 40);
    return ns;
}

void sim_flight_insert(baton_sim *sim, sim_flight *flight)
{
    sim_flight **at = &sim->flights;
    while (*at != NULL && (*at)->due_ns <= flight->due_ns)
        at = &(*at)->next;
    flight->next = *at;
    *at = flight;
}

/* ---- taking off ---- */

static baton_digest content_of(const baton_io_op *call)
{
    if (!is_write(call->kind) || call->bytes > SMALL_BYTES)
        return (baton_digest){{0}};
    return baton_digest_of(call->buffer, call->bytes);
}

static void number_it(baton_sim *sim, sim_flight *flight)
{
    flight->number = ++sim->counts.operations;
    const bool header = sim->crash_at_header && is_write(flight->call.kind) &&
                        flight->call.offset == 0 && flight->call.bytes == BATON_IO_UNIT;
    const bool numbered = sim->crash_at != 0 && flight->number >= sim->crash_at;
    if (sim->crash_held || (!numbered && !header))
        return;
    sim->crash_at = 0;
    sim->crash_at_header = false;
    sim_crash_now(flight->process, sim->crash_how);
}

sim_flight *sim_flight_start(baton_sim *sim, baton_sim_process *process, sim_io *io,
                             baton_io_op *op)
{
    sim_flight *flight = calloc(1, sizeof(*flight));
    baton_assert(flight != NULL);
    *flight =
        (sim_flight){.process = process, .io = io, .op = op, .call = *op, .blocking = io == NULL};
    flight->call.done_bytes = 0;
    const sim_handle *handle = sim_handle_of(sim, op->file);
    const bool by_path =
        op->kind == BATON_IO_OPEN || op->kind == BATON_IO_RENAME || op->kind == BATON_IO_UNLINK;
    if (!by_path && handle != NULL && handle->process == process) {
        flight->node = handle->node;
        flight->node->refs++;
        flight->handle_flags = handle->flags;
        flight->sync_size = handle->node->file.size;
    }
    flight->sync_change = sim->disk.change;
    if (flight->node != NULL)
        flight->content = content_of(&flight->call);
    flight->due_ns = sim->now_ns + latency_ns(sim, op->kind);
    sim_flight_insert(sim, flight);
    if (op->kind != BATON_IO_CLOSE)
        number_it(sim, flight);
    return process->dead ? NULL : flight;
}

void sim_flight_free(baton_sim *sim, sim_flight *flight)
{
    if (flight->node != NULL)
        sim_disk_unref(&sim->disk, flight->node);
    if (flight->call_owned) {
        free(flight->call.buffer);
        free((void *)(uintptr_t)flight->call.path);
        free((void *)(uintptr_t)flight->call.path_to);
    }
    free(flight);
}

/* ---- what one call does ---- */

static int64_t do_open(baton_sim *sim, sim_flight *flight)
{
    const baton_io_op *call = &flight->call;
    int r;
    sim_node *node = sim_disk_find(&sim->disk, flight->process->root, call->path, &r);
    const bool creates = (call->open_flags & (BATON_IO_CREATE | BATON_IO_CREATE_OR_OPEN)) != 0;
    if (node == NULL && (r != -ENOENT || !creates))
        return r;
    if (node != NULL && (call->open_flags & BATON_IO_CREATE))
        return -EEXIST;
    if (node == NULL) {
        r = sim_disk_create(&sim->disk, flight->process->root, call->path, false, &node);
        if (r < 0)
            return r;
    }
    if ((call->open_flags & BATON_IO_DIRECTORY) && !node->is_directory)
        return -ENOTDIR;
    if (node->is_directory && (call->open_flags & BATON_IO_FOR_WRITE))
        return -EISDIR;
    if (flight->process->dead)
        return 0; /* nobody gets a file of it */
    for (uint32_t i = 0; i < SIM_HANDLES_MAX; i++) {
        if (sim->handles[i].node != NULL)
            continue;
        node->refs++;
        sim->handles[i] =
            (sim_handle){.node = node, .process = flight->process, .flags = call->open_flags};
        return (int64_t)i + SIM_HANDLE_FIRST;
    }
    return -EMFILE;
}

/* A durable write may lie about it, and any may go astray. */
static int64_t do_write(baton_sim *sim, const sim_flight *flight, const baton_io_part *part)
{
    sim_node *node = flight->node;
    uint64_t offset = part->offset;
    bool durable = flight->call.kind == BATON_IO_WRITE_DURABLE;
    const bool buffered = (flight->handle_flags & BATON_IO_DIRECT) == 0;

    if (durable && sim_random_chance(&sim->random, sim->faults.lying)) {
        durable = false;
        sim->counts.lies++;
    }
    if (sim_random_chance(&sim->random, sim->faults.misdirected) &&
        sim_misdirect(sim, flight, &node, &offset))
        sim->counts.misdirected++;
    int r = sim_disk_write(&sim->disk, node, part->address, part->bytes, offset, durable, buffered);
    sim->counts.no_space += r == -ENOSPC;
    return r < 0 ? r : (int64_t)part->bytes;
}

static int64_t do_transfer(baton_sim *sim, sim_flight *flight)
{
    baton_io_part part = baton_io_op_part(&flight->call);
    const bool reads = flight->call.kind == BATON_IO_READ;
    const uint32_t needs = reads ? BATON_IO_FOR_READ : BATON_IO_FOR_WRITE;

    if ((flight->handle_flags & needs) == 0)
        return -EBADF;
    if (flight->node->is_directory)
        return -EISDIR;
    if ((flight->handle_flags & BATON_IO_DIRECT) && flight->number != 0 &&
        flight->call.done_bytes == 0 &&
        (part.offset % BATON_IO_UNIT != 0 || part.bytes % BATON_IO_UNIT != 0 ||
         (uintptr_t)part.address % BATON_IO_UNIT != 0))
        return -EINVAL;
    if (sim_random_chance(&sim->random, sim->faults.split)) {
        sim->counts.splits++;
        if (sim_random_below(&sim->random, 4) == 0)
            return -EINTR;
        const uint64_t sectors = part.bytes / SIM_SECTOR_BYTES;
        if (sectors > 1)
            part.bytes =
                (uint32_t)((1 + sim_random_below(&sim->random, sectors - 1)) * SIM_SECTOR_BYTES);
    }
    if (reads)
        return sim_file_read(&flight->node->file, part.address, part.bytes, part.offset);
    return do_write(sim, flight, &part);
}

static int64_t do_sync(baton_sim *sim, const sim_flight *flight)
{
    if (sim_random_chance(&sim->random, sim->faults.lying)) {
        sim->counts.lies++;
        return 0;
    }
    if (flight->node->is_directory)
        sim_disk_sync_names(&sim->disk, flight->node, flight->sync_change);
    else
        sim_file_sync(&flight->node->file, flight->sync_change, flight->sync_size);
    return 0;
}

static int64_t do_allocate(baton_sim *sim, const sim_flight *flight)
{
    const baton_io_op *call = &flight->call;
    if (flight->node->is_directory || (flight->handle_flags & BATON_IO_FOR_WRITE) == 0)
        return -EBADF;
    if (call->bytes == 0)
        return -EINVAL;
    int r = sim_disk_allocate(&sim->disk, flight->node, call->offset, call->bytes);
    sim->counts.no_space += r == -ENOSPC;
    if (r == 0)
        sim_file_allocate(&flight->node->file, call->offset, call->bytes, true);
    return r;
}

static int64_t do_truncate(baton_sim *sim, const sim_flight *flight)
{
    if (flight->node->is_directory || (flight->handle_flags & BATON_IO_FOR_WRITE) == 0)
        return -EINVAL;
    sim_disk_truncate(&sim->disk, flight->node, flight->call.offset);
    return 0;
}

static int64_t do_close(baton_sim *sim, const sim_flight *flight)
{
    sim_handle *handle = sim_handle_of(sim, flight->call.file);
    if (handle == NULL || handle->process != flight->process)
        return -EBADF;
    sim_handle_close(sim, handle);
    return 0;
}

static int64_t call_once(baton_sim *sim, sim_flight *flight)
{
    const baton_io_op *call = &flight->call;
    sim_node *made;

    if (flight->makes_directory)
        return sim_disk_create(&sim->disk, flight->process->root, call->path, true, &made);
    if (call->kind == BATON_IO_OPEN)
        return do_open(sim, flight);
    if (call->kind == BATON_IO_RENAME)
        return sim_disk_rename(&sim->disk, flight->process->root, call->path, call->path_to);
    if (call->kind == BATON_IO_UNLINK)
        return sim_disk_unlink(&sim->disk, flight->process->root, call->path);
    if (flight->node == NULL)
        return -EBADF;
    switch (call->kind) {
    case BATON_IO_READ:
    case BATON_IO_WRITE:
    case BATON_IO_WRITE_DURABLE:
        return do_transfer(sim, flight);
    case BATON_IO_SYNC_DATA:
    case BATON_IO_SYNC:
        return do_sync(sim, flight);
    case BATON_IO_CLOSE:
        return do_close(sim, flight);
    case BATON_IO_ALLOCATE:
        return do_allocate(sim, flight);
    case BATON_IO_TRUNCATE:
        return do_truncate(sim, flight);
    case BATON_IO_OPEN:
    case BATON_IO_RENAME:
    case BATON_IO_UNLINK:
    case BATON_IO_KINDS:
        break;
    }
    return -EINVAL;
}

/* ---- what goes wrong ---- */

static uint32_t error_rate(const baton_sim *sim, const sim_flight *flight)
{
    switch (flight->call.kind) {
    case BATON_IO_READ:
        return sim->faults.read_error;
    case BATON_IO_WRITE:
    case BATON_IO_WRITE_DURABLE:
        return sim->faults.write_error;
    case BATON_IO_SYNC_DATA:
    case BATON_IO_SYNC:
        return sim->faults.sync_error;
    case BATON_IO_OPEN:
    case BATON_IO_RENAME:
    case BATON_IO_UNLINK:
    case BATON_IO_ALLOCATE:
    case BATON_IO_TRUNCATE:
        return sim->faults.name_error;
    case BATON_IO_CLOSE:
    case BATON_IO_KINDS:
        break;
    }
    return 0;
}

/* The disk says no; how much of a write it did, nobody knows. */
static void fail_halfway(baton_sim *sim, sim_flight *flight)
{
    const baton_io_kind kind = flight->call.kind;
    const bool is_file = flight->node != NULL && !flight->node->is_directory;

    if (is_file && (is_write(kind) || kind == BATON_IO_SYNC || kind == BATON_IO_SYNC_DATA))
        sim->counts.segment_errors += !flight->process->dead &&
                                      (flight->handle_flags & BATON_IO_FOR_WRITE) != 0 &&
                                      sim_node_is_named(sim, flight->node, ".seg");
    if (is_file && is_write(kind)) {
        const baton_io_part part = baton_io_op_part(&flight->call);
        const uint64_t sectors = sim_random_below(&sim->random, part.bytes / SIM_SECTOR_BYTES + 1);
        if (sectors > 0)
            (void)sim_disk_write(&sim->disk, flight->node, part.address, sectors * SIM_SECTOR_BYTES,
                                 part.offset, false, false);
    }
    if (is_file && (kind == BATON_IO_SYNC || kind == BATON_IO_SYNC_DATA))
        sim_file_sync_failed(&flight->node->file, &sim->random);
}

int64_t sim_flight_attempt(baton_sim *sim, sim_flight *flight)
{
    const bool by_rule = flight->number != 0 && flight->number == sim->fail_at;
    if (by_rule || sim_random_chance(&sim->random, error_rate(sim, flight))) {
        sim->counts.errors++;
        fail_halfway(sim, flight);
        return by_rule ? -sim->fail_error : -EIO;
    }
    return call_once(sim, flight);
}

/* ---- landing ---- */

static void trace_flight(baton_sim *sim, const sim_flight *flight, int64_t r)
{
    const baton_io_op *call = &flight->call;
    uint64_t words[9] = {flight->number,   call->kind,  call->offset, call->bytes,
                         call->done_bytes, (uint64_t)r, sim->now_ns,  flight->process->id};
    if (flight->node != NULL) {
        words[8] = flight->node->id;
    } else if (call->path != NULL) {
        words[8] = baton_digest_low64(baton_digest_of(call->path, strlen(call->path)));
    }
    sim_trace(sim, "op", words, 9);
    if (is_write(call->kind))
        sim->trace = baton_digest_chain(sim->trace, flight->content.bytes, 16);
    if (sim->tell != NULL) {
        static const char *const names[] = {"read",   "write",    "write-durable", "sync-data",
                                            "sync",   "open",     "close",         "rename",
                                            "unlink", "allocate", "truncate"};
        char line[SIM_LINE_BYTES];
        snprintf(line, sizeof(line), "%12.6f ms %s%s %s node %llu at %llu + %llu -> %lld%s",
                 (double)sim->now_ns / 1e6, flight->process->dead ? "dead " : "", names[call->kind],
                 call->path != NULL ? call->path : "",
                 (unsigned long long)(flight->node != NULL ? flight->node->id : 0),
                 (unsigned long long)call->offset, (unsigned long long)call->bytes, (long long)r,
                 flight->number == 0 ? " (late)" : "");
        sim->tell(sim->tell_context, line);
    }
}

/* One call's worth of it. False: it goes on later. */
static bool land(baton_sim *sim, sim_flight *flight)
{
    if (flight->node != NULL && is_write(flight->call.kind) && flight->number != 0) {
        const baton_digest now = content_of(&flight->call);
        baton_assert(baton_digest_equal(now, flight->content)); /* B3: changed while in flight */
    }
    const int64_t r = sim_flight_attempt(sim, flight);
    trace_flight(sim, flight, r);
    if (!baton_io_op_is_final(&flight->call, r)) {
        baton_io_op_continue(&flight->call, r);
        flight->due_ns = sim->now_ns + latency_ns(sim, flight->call.kind) / 2;
        sim_flight_insert(sim, flight);
        return false;
    }
    flight->call.result = baton_io_op_result(&flight->call, r);
    return true;
}

bool sim_land_next(baton_sim *sim)
{
    sim_flight *flight = sim->flights;
    if (flight == NULL)
        return false;
    sim->flights = flight->next;
    if (flight->due_ns > sim->now_ns)
        sim->now_ns = flight->due_ns;
    if (!land(sim, flight))
        return true;
    sim->counts.landed_late += flight->process->dead;
    if (flight->blocking && !flight->process->dead) {
        flight->finished = true; /* its caller frees it */
        return true;
    }
    if (flight->io != NULL)
        sim_io_finish(flight->io, flight->op, flight->call.result);
    sim_flight_free(sim, flight);
    return true;
}

void sim_run_until(baton_sim *sim, uint64_t ns)
{
    while (sim->flights != NULL && sim->flights->due_ns <= ns)
        (void)sim_land_next(sim);
    if (ns > sim->now_ns)
        sim->now_ns = ns;
}
