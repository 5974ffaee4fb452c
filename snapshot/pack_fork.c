/* snapshot/pack_fork.c: see pack_fork.h. */
#include "snapshot/pack_fork.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "snapshot/child.h"
#include "snapshot/names.h"
#include "snapshot/writer.h"

#define BACKGROUND_NICE 10

static const char *const what = "write a snapshot";

/* Where the child leaves what the parent must know. Shared, reserved in full, and only what is
 * written takes memory. */
typedef struct {
    bool whole;
    baton_error error;
    baton_digest state_digest;
    uint64_t raw_bytes;
    uint64_t stored_bytes;
    uint64_t chunk_bytes;
    uint64_t device_ns; /* in writes and the flush */
    uint32_t chunks_count;
    uint32_t sections_count;
    baton_snapshot_section sections[BATON_SNAPSHOT_SECTIONS_MAX];
    baton_snapshot_chunk chunks[BATON_SNAPSHOT_CHUNKS_MAX];
} pack_report;

struct baton_pack_fork {
    pid_t child; /* 0: waited for */
    bool handed_over;
    baton_io_options io;
    char directory[BATON_SNAPSHOT_PATH_BYTES];
    char path[BATON_SNAPSHOT_PATH_BYTES];
    pack_report *report;
};

/* ---- the child ---- */

typedef struct {
    const baton_pack_fork *fork;
    baton_io *io;
    baton_io_file file;
    bool created;
    uint64_t offset;
    uint64_t device_ns;
} packing;

static uint64_t now_ns(const packing *self)
{
    return baton_clock_monotonic_ns(baton_io_clock(self->io));
}

static int write_slab(void *context, const baton_snapshot_slab *slab)
{
    packing *self = context;
    const uint64_t begin_ns = now_ns(self);
    int r = baton_io_file_write(self->io, self->file, slab->bytes, slab->used, self->offset);
    self->device_ns += now_ns(self) - begin_ns;
    if (r == 0)
        self->offset += slab->used;
    return r;
}

static int sync_chunks(packing *self)
{
    const uint64_t begin_ns = now_ns(self);
    baton_io_op sync = {.kind = BATON_IO_SYNC_DATA, .file = self->file};
    const int r = (int)baton_io_run(self->io, &sync);
    self->device_ns += now_ns(self) - begin_ns;
    return r;
}

/* A new inode (J10). */
static int create_file(packing *self)
{
    const char *path = self->fork->path;
    uint32_t flags = BATON_IO_FOR_WRITE | BATON_IO_CREATE | BATON_IO_DIRECT;
    int r = 0;
    for (int i = 0; i < 2; i++) {
        r = baton_io_unlink(self->io, path);
        if (r == 0 || r == -ENOENT)
            r = baton_io_file_open(self->io, path, flags, &self->file);
        if (r != -EINVAL)
            break;
        flags &= ~(uint32_t)BATON_IO_DIRECT; /* none here; the attempt may have created the file */
    }
    self->created = r == 0;
    return r;
}

static int open_file(packing *self)
{
    baton_io_options options = self->fork->io;
    baton_io_file directory = BATON_IO_NO_FILE;
    int r = baton_io_open(&options, &self->io, &self->fork->report->error);
    if (r < 0)
        return r;
    r = baton_snapshot_directory_open(self->io, self->fork->directory, &directory);
    if (r == 0)
        r = create_file(self);
    baton_io_file_close(self->io, directory);
    return r;
}

static int pack(packing *self, const baton_pack_fork_options *options,
                baton_snapshot_writer **ret_writer)
{
    pack_report *report = self->fork->report;
    const baton_snapshot_options writer_options = {.compress = options->compress};
    int r = baton_snapshot_writer_create(&writer_options, ret_writer);
    if (r < 0)
        return r;
    (*ret_writer)->sink = write_slab;
    (*ret_writer)->sink_context = self;
    r = options->pack(options->context, *ret_writer, &report->state_digest, &report->error);
    const int refused = (*ret_writer)->error;
    if (refused != 0)
        r = refused;
    if (baton_status_class(refused) ==
        BATON_CLASS_SYSTEM) /* the disk's word, and not the service's */
        report->error = (baton_error){.offset = UINT64_MAX};
    if (r == 0)
        r = baton_snapshot_writer_end(*ret_writer);
    return r == 0 ? sync_chunks(self) : r;
}

static void fill_report(const packing *self, const baton_snapshot_writer *writer)
{
    pack_report *report = self->fork->report;
    const baton_snapshot_manifest *manifest = &writer->manifest;
    report->raw_bytes = manifest->info.raw_bytes;
    report->stored_bytes = manifest->info.stored_bytes;
    report->chunk_bytes = manifest->chunk_bytes;
    report->chunks_count = manifest->info.chunks_count;
    report->sections_count = manifest->info.sections_count;
    report->device_ns = self->device_ns;
    memcpy(report->sections, manifest->sections,
           report->sections_count * sizeof(report->sections[0]));
    if (report->chunks_count > 0)
        memcpy(report->chunks, manifest->chunks, report->chunks_count * sizeof(report->chunks[0]));
}

static void tell_failure(const packing *self, int r)
{
    baton_error *error = &self->fork->report->error;
    if (error->status != 0)
        return;
    const bool full = baton_io_is_full_disk(r);
    baton_error_set(error, full ? BATON_E_NO_SPACE : r, what, NULL,
                    full ? "free space on its file system; nothing of it is left there"
                         : "check the directory's rights and the disk");
    baton_error_at(error, self->fork->path, self->offset);
}

static _Noreturn void run_child(const baton_pack_fork *fork, const baton_pack_fork_options *options)
{
    packing self = {.fork = fork, .file = BATON_IO_NO_FILE};
    baton_snapshot_writer *writer = NULL;
    if (options->background)
        (void)setpriority(PRIO_PROCESS, 0, BACKGROUND_NICE);
    int r = open_file(&self);
    if (r == 0)
        r = pack(&self, options, &writer);
    if (r == 0)
        fill_report(&self, writer);
    else
        tell_failure(&self, r);
    if (r != 0 && self.created && baton_io_unlink(self.io, fork->path) < 0)
        r = -EIO; /* a leftover for prune */
    fork->report->whole = r == 0;
    _exit(r == 0 ? 0 : 1);
}

/* ---- the parent ---- */

static void destroy(baton_pack_fork *self)
{
    if (self->report != NULL)
        munmap(self->report, sizeof(*self->report));
    free(self);
}

static int prepare(const baton_pack_fork_options *options, baton_pack_fork **ret_fork)
{
    baton_pack_fork *self = calloc(1, sizeof(*self));
    if (self == NULL)
        return -ENOMEM;
    self->io = options->io;
    self->io.ops_max = 4;
    self->io.region_bytes = 0;
    int r = baton_snapshot_path(self->path, options->directory, options->seq, options->epoch,
                                BATON_NAME_CHUNKS_PARTIAL);
    if (r == 0) /* shorter than the path in it */
        memcpy(self->directory, options->directory, strlen(options->directory) + 1);
    void *report = r < 0 ? MAP_FAILED
                         : mmap(NULL, sizeof(*self->report), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (report == MAP_FAILED) {
        destroy(self);
        return r < 0 ? r : -ENOMEM;
    }
    self->report = report;
    *ret_fork = self;
    return 0;
}

int baton_pack_fork_begin(const baton_pack_fork_options *options, baton_pack_fork **ret_fork,
                          baton_error *error)
{
    baton_pack_fork *self = NULL;
    int r = prepare(options, &self);
    if (r < 0)
        return baton_error_set(error, r, what, NULL, "free memory");
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child == 0) {
        baton_child_become(parent, "baton-pack");
        run_child(self, options);
    }
    if (child < 0) {
        r = -errno;
        destroy(self);
        return baton_error_set(error, r, "start a child that packs", NULL,
                               "allow more processes or more memory");
    }
    self->child = child;
    *ret_fork = self;
    return 0;
}

/* The manifest as the publisher takes it: a writer without chunks of its own. */
static int make_writer(const pack_report *report, baton_snapshot_writer **ret_writer)
{
    baton_snapshot_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        return -ENOMEM;
    baton_snapshot_manifest *manifest = &writer->manifest;
    manifest->chunk_bytes = report->chunk_bytes;
    manifest->sections = calloc(report->sections_count + 1u, sizeof(*manifest->sections));
    manifest->chunks = calloc(report->chunks_count + 1u, sizeof(*manifest->chunks));
    if (manifest->sections == NULL || manifest->chunks == NULL) {
        baton_snapshot_writer_destroy(writer);
        return -ENOMEM;
    }
    memcpy(manifest->sections, report->sections,
           report->sections_count * sizeof(report->sections[0]));
    memcpy(manifest->chunks, report->chunks, report->chunks_count * sizeof(report->chunks[0]));
    manifest->info.raw_bytes = report->raw_bytes;
    manifest->info.stored_bytes = report->stored_bytes;
    manifest->info.sections_count = report->sections_count;
    manifest->info.chunks_count = report->chunks_count;
    *ret_writer = writer;
    return 0;
}

static int child_failed(const baton_pack_fork *self, int status, baton_error *error)
{
    const pack_report *report = self->report;
    if (!WIFSIGNALED(status) && report->error.status < 0) {
        if (error != NULL)
            *error = report->error;
        return report->error.status;
    }
    if (WIFSIGNALED(status))
        return baton_error_setf(
            error, -ECHILD, what, "look at the kernel's log: the memory may have run out",
            "the child that packed it was ended by signal %d", WTERMSIG(status));
    return baton_error_set(error, -ECHILD, what, "the child that packed it ended early",
                           "nothing: the service goes on");
}

int baton_pack_fork_poll(baton_pack_fork *self, baton_snapshot_writer **ret_writer,
                         baton_digest *ret_state_digest, baton_error *error)
{
    int status = 0;
    baton_assert(self->child > 0);
    const pid_t waited = waitpid(self->child, &status, WNOHANG);
    if (waited == 0 || (waited < 0 && errno == EINTR))
        return BATON_E_AGAIN;
    self->child = 0;
    if (waited < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0 || !self->report->whole)
        return child_failed(self, status, error);
    int r = make_writer(self->report, ret_writer);
    if (r < 0)
        return baton_error_set(error, r, what, NULL, "free memory");
    baton_chunk_device_measured(self->report->stored_bytes, self->report->device_ns);
    *ret_state_digest = self->report->state_digest;
    return 0;
}

const char *baton_pack_fork_path(const baton_pack_fork *self)
{
    return self->path;
}

void baton_pack_fork_handed_over(baton_pack_fork *self)
{
    self->handed_over = true;
}

pid_t baton_pack_fork_child(const baton_pack_fork *self)
{
    return self->child;
}

void baton_pack_fork_end(baton_pack_fork *self, baton_io *io)
{
    int r = 0;
    if (self == NULL)
        return;
    if (self->child > 0)
        baton_child_kill(self->child);
    if (!self->handed_over)
        r = baton_io_unlink(io, self->path);
    (void)r; /* a leftover for prune */
    destroy(self);
}
