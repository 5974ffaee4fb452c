/* base/io_sim.c: the simulated machine behind the seam's table of functions. See io_sim.h. */
#include "base/io_sim.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/io_sim_private.h"

#define ENTER_NS UINT64_C(1500) /* what a system call costs */

/* The handle, of this process. */
static sim_handle *handle_for(sim_io *io, baton_io_file file)
{
    sim_handle *handle = sim_handle_of(io->sim, file);
    return handle != NULL && handle->process == io->process ? handle : NULL;
}

/* ---- life ---- */

static int sim_open(const baton_io_options *options, void *region, uint64_t region_bytes,
                    void **ret_self, baton_error *error)
{
    (void)region;
    (void)region_bytes;
    baton_sim_process *process = options->custom_context;
    if (process->dead)
        return baton_error_set(error, -EIO, "open the simulator", "its process is dead", NULL);
    sim_io *io = calloc(1, sizeof(*io));
    baton_assert(io != NULL);
    *io = (sim_io){
        .next = process->sim->ios, .sim = process->sim, .process = process, .event_fd = -1};
    process->sim->ios = io;
    *ret_self = io;
    return 0;
}

static void sim_close(void *self)
{
    sim_io *io = self;
    sim_io **at = &io->sim->ios;
    while (*at != io)
        at = &(*at)->next;
    *at = io->next;
    if (io->event_fd >= 0)
        close(io->event_fd);
    free(io);
}

/* ---- without blocking ---- */

/* The eventfd says what reap would do. */
static void event_update(sim_io *io)
{
    const bool wanted = io->done != NULL;
    uint64_t value = 1;
    if (io->event_fd < 0 || wanted == io->signalled)
        return;
    ssize_t n = wanted ? write(io->event_fd, &value, sizeof(value))
                       : read(io->event_fd, &value, sizeof(value));
    baton_assert(n == sizeof(value));
    io->signalled = wanted;
}

static void push(baton_io_op **first, baton_io_op **last, baton_io_op *op)
{
    op->next = NULL;
    if (*first == NULL)
        *first = op;
    else
        (*last)->next = op;
    *last = op;
}

void sim_io_finish(sim_io *io, baton_io_op *op, int64_t result)
{
    op->result = result;
    push(&io->done, &io->done_last, op);
    event_update(io);
}

static int sim_submit(void *self, baton_io_op *op)
{
    sim_io *io = self;
    push(&io->queued, &io->queued_last, op);
    return 0;
}

static int sim_enter(void *self)
{
    sim_io *io = self;
    if (io->queued == NULL)
        return 0;
    if (!io->process->dead)
        sim_run_until(io->sim, io->sim->now_ns + ENTER_NS);
    while (io->queued != NULL) {
        baton_io_op *op = io->queued;
        io->queued = op->next;
        if (io->process->dead)
            sim_io_finish(io, op, -EIO);
        else
            (void)sim_flight_start(io->sim, io->process, io, op);
    }
    return 0;
}

static baton_io_op *sim_reap(void *self)
{
    sim_io *io = self;
    sim_run_until(io->sim, io->sim->now_ns);
    baton_io_op *op = io->done;
    if (op != NULL)
        io->done = op->next;
    event_update(io);
    return op;
}

static bool has_flight(const sim_io *io)
{
    for (const sim_flight *flight = io->sim->flights; flight != NULL; flight = flight->next) {
        if (flight->io == io)
            return true;
    }
    return false;
}

static int sim_wait(void *self, uint64_t timeout_ns)
{
    sim_io *io = self;
    baton_sim *sim = io->sim;
    int r = sim_enter(self);
    if (r < 0)
        return r;
    const uint64_t end_ns =
        timeout_ns > UINT64_MAX - sim->now_ns ? UINT64_MAX : sim->now_ns + timeout_ns;
    while (io->done == NULL && has_flight(io)) {
        if (sim->flights->due_ns > end_ns) {
            sim_run_until(sim, end_ns);
            return BATON_E_TIMEOUT;
        }
        (void)sim_land_next(sim);
    }
    return io->done == NULL ? BATON_E_TIMEOUT : 0;
}

static int sim_event_fd(void *self)
{
    sim_io *io = self;
    if (io->event_fd < 0)
        io->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    event_update(io);
    return io->event_fd;
}

/* ---- blocking ---- */

static int64_t run_flight(baton_sim *sim, sim_flight *flight)
{
    if (flight == NULL)
        return -EIO;
    while (!flight->finished) {
        const bool any = sim_land_next(sim);
        baton_assert(any);
    }
    const int64_t r = flight->call.result;
    sim_flight_free(sim, flight);
    return r;
}

static int64_t sim_run(void *self, baton_io_op *op)
{
    sim_io *io = self;
    if (io->process->dead) /* closing what is closed already is no error of the caller */
        return op->kind == BATON_IO_CLOSE ? 0 : -EIO;
    op->result = run_flight(io->sim, sim_flight_start(io->sim, io->process, NULL, op));
    return op->result;
}

static int sim_directory_make(void *self, const char *path)
{
    sim_io *io = self;
    int r;
    if (io->process->dead)
        return -EIO;
    const sim_node *there = sim_disk_find(&io->sim->disk, io->process->root, path, &r);
    if (there != NULL)
        return there->is_directory ? 0 : -ENOTDIR;
    baton_io_op op = {.kind = BATON_IO_OPEN, .path = path, .file = BATON_IO_NO_FILE};
    sim_flight *flight = sim_flight_start(io->sim, io->process, NULL, &op);
    if (flight != NULL)
        flight->makes_directory = true;
    return (int)run_flight(io->sim, flight);
}

static int sim_file_size(void *self, baton_io_file file, uint64_t *ret_bytes)
{
    sim_io *io = self;
    const sim_handle *handle = handle_for(io, file);
    if (handle == NULL)
        return io->process->dead ? -EIO : -EBADF;
    *ret_bytes = handle->node->file.size;
    return 0;
}

static int sim_directory_list(void *self, const char *path, baton_io_visit visit, void *context)
{
    sim_io *io = self;
    int r;
    if (io->process->dead)
        return -EIO;
    const sim_node *node = sim_disk_find(&io->sim->disk, io->process->root, path, &r);
    return node == NULL ? r : sim_disk_list(&io->sim->disk, node, visit, context);
}

/* Somebody else's lock on the same file, if its time is not over. */
static const sim_handle *other_lock(baton_sim *sim, const sim_handle *mine)
{
    for (uint32_t i = 0; i < SIM_HANDLES_MAX; i++) {
        sim_handle *handle = &sim->handles[i];
        if (handle == mine || handle->node != mine->node || !handle->locked)
            continue;
        if (handle->process != NULL || handle->until_ns > sim->now_ns)
            return handle;
        sim_handle_close(sim, handle);
    }
    return NULL;
}

static int sim_file_lock(void *self, baton_io_file file)
{
    sim_io *io = self;
    sim_handle *handle = handle_for(io, file);
    if (handle == NULL)
        return io->process->dead ? -EIO : -EBADF;
    if (other_lock(io->sim, handle) != NULL)
        return BATON_E_LOCKED;
    handle->locked = true;
    return 0;
}

static int sim_file_is_locked(void *self, baton_io_file file)
{
    sim_io *io = self;
    const sim_handle *handle = handle_for(io, file);
    if (handle == NULL)
        return io->process->dead ? -EIO : -EBADF;
    return other_lock(io->sim, handle) != NULL;
}

static int sim_file_hold(void *self, baton_io_file file)
{
    sim_handle *handle = handle_for(self, file);
    if (handle != NULL)
        handle->held = true;
    return 0;
}

static void sim_file_register(void *self, baton_io_file file)
{
    (void)self;
    (void)file;
}

/* Real shared memory, so that several processes of the simulation see each other's stores. It is
 * apart from the file's bytes: a file that is mapped is not read. */
static int sim_map_file(void *self, baton_io_file file, uint64_t bytes, bool writable,
                        void **ret_address)
{
    sim_io *io = self;
    const sim_handle *handle = handle_for(io, file);
    if (handle == NULL)
        return io->process->dead ? -EIO : -EBADF;
    sim_node *node = handle->node;
    if (node->shared_memory < 0) {
        node->shared_memory = memfd_create("baton-sim", MFD_CLOEXEC);
        if (node->shared_memory < 0 || ftruncate(node->shared_memory, (off_t)bytes) < 0)
            return -errno;
    }
    sim_map *map = calloc(1, sizeof(*map));
    baton_assert(map != NULL);
    const int access = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    *map = (sim_map){.next = io->sim->maps,
                     .process = io->process,
                     .node = node,
                     .address = mmap(NULL, bytes, access, MAP_SHARED, node->shared_memory, 0),
                     .bytes = bytes,
                     .writable = writable};
    if (map->address == MAP_FAILED) {
        free(map);
        return -errno;
    }
    io->sim->maps = map;
    *ret_address = map->address;
    return 0;
}

static void sim_unmap(void *self, void *address, uint64_t bytes)
{
    sim_io *io = self;
    if (address == NULL)
        return;
    sim_map **at = &io->sim->maps;
    while ((*at)->address != address)
        at = &(*at)->next;
    sim_map *map = *at;
    *at = map->next;
    (void)munmap(address, bytes);
    free(map);
}

static int sim_probe_directory(void *self, const char *path, baton_io_probe *ret_probe)
{
    sim_io *io = self;
    int r;
    if (io->process->dead)
        return -EIO;
    const sim_node *node = sim_disk_find(&io->sim->disk, io->process->root, path, &r);
    if (node == NULL)
        return r;
    if (!node->is_directory)
        return -ENOTDIR;
    const sim_disk *disk = &io->sim->disk;
    *ret_probe = (baton_io_probe){.file_system = "sim",
                                  .write_cache = "write back",
                                  .direct_io = true,
                                  .write_durable = true,
                                  .direct_alignment = SIM_SECTOR_BYTES,
                                  .free_bytes = UINT64_MAX};
    if (disk->units_max != UINT64_MAX)
        ret_probe->free_bytes = (disk->units_max - disk->units_used) * BATON_IO_UNIT;
    return 0;
}

const baton_io_backend *baton_sim_backend(void)
{
    static const baton_io_backend backend = {
        .name = "sim",
        .open = sim_open,
        .close = sim_close,
        .submit = sim_submit,
        .enter = sim_enter,
        .reap = sim_reap,
        .wait = sim_wait,
        .event_fd = sim_event_fd,
        .run = sim_run,
        .file_size = sim_file_size,
        .directory_make = sim_directory_make,
        .directory_list = sim_directory_list,
        .file_lock = sim_file_lock,
        .file_is_locked = sim_file_is_locked,
        .file_hold = sim_file_hold,
        .file_register = sim_file_register,
        .map = sim_map_file,
        .unmap = sim_unmap,
        .probe_directory = sim_probe_directory,
    };
    return &backend;
}
