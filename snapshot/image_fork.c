/* snapshot/image_fork.c: an image written by a child that has a frozen copy of the region. Where
 * pages can't be tracked. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "snapshot/child.h"
#include "snapshot/image_private.h"

/* Where the child leaves what the parent must know; shared memory. */
typedef struct {
    bool whole;
    baton_error error;
    uint64_t stored_bytes;
    uint32_t chunks_count;
    baton_snapshot_chunk chunks[];
} fork_report;

struct image_fork {
    pid_t child; /* 0: waited for */
    fork_report *report;
    uint64_t report_bytes;
};

/* ---- the child ---- */

static _Noreturn void run_child(baton_image *image, fork_report *report, uint32_t chunks_max,
                                uint64_t bytes_in_use)
{
    image->source->tracker = NULL; /* its descriptors are closed */
    int r = image_copy_all(image, bytes_in_use);
    const baton_snapshot_manifest *manifest = &image->pipe.manifest;
    if (r == 0) {
        baton_assert(manifest->info.chunks_count <= chunks_max);
        memcpy(report->chunks, manifest->chunks,
               manifest->info.chunks_count * sizeof(*manifest->chunks));
        report->chunks_count = manifest->info.chunks_count;
        report->stored_bytes = manifest->info.stored_bytes;
    }
    report->error = image->error;
    baton_image_pipe_close(&image->pipe, r < 0);
    report->whole = r == 0;
    _exit(r == 0 ? 0 : 1);
}

/* ---- the parent ---- */

int image_fork_finish(baton_image *image, uint64_t bytes_in_use)
{
    const uint32_t chunks_max =
        (uint32_t)((image->region_bytes + BATON_IMAGE_CHUNK_BYTES - 1) / BATON_IMAGE_CHUNK_BYTES);
    image_fork *self = calloc(1, sizeof(*self));
    if (self == NULL)
        return -ENOMEM;
    self->report_bytes = sizeof(*self->report) + chunks_max * sizeof(self->report->chunks[0]);
    self->report =
        mmap(NULL, self->report_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (self->report == MAP_FAILED) {
        free(self);
        return -ENOMEM;
    }
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child == 0) {
        baton_child_become(parent, "baton-image");
        run_child(image, self->report, chunks_max, bytes_in_use);
    }
    if (child < 0) {
        const int r = -errno;
        munmap(self->report, self->report_bytes);
        free(self);
        return r;
    }
    self->child = child;
    image->result.child = child;
    image->fork = self;
    return 0;
}

/* The child's chunks are the whole region in order, a chunk's room of pages each. */
static int take_report(baton_image *image)
{
    const fork_report *report = image->fork->report;
    const uint32_t count = report->chunks_count;
    const uint32_t page_bytes = image->source->page_bytes;
    baton_snapshot_manifest *manifest = &image->pipe.manifest;
    manifest->chunk_bytes = BATON_IMAGE_CHUNK_BYTES;
    manifest->chunks = calloc(count, sizeof(*manifest->chunks));
    manifest->pages = calloc(count, sizeof(*manifest->pages));
    manifest->runs = calloc(count, sizeof(*manifest->runs));
    if (manifest->chunks == NULL || manifest->pages == NULL || manifest->runs == NULL)
        return -ENOMEM;
    uint32_t page = 0;
    for (uint32_t i = 0; i < count; i++) {
        manifest->chunks[i] = report->chunks[i];
        manifest->pages[i] = (baton_chunk_pages){.runs_first = i, .runs_count = 1};
        manifest->runs[i] = (baton_page_run){page, report->chunks[i].raw_bytes / page_bytes};
        page += manifest->runs[i].pages_count;
        manifest->info.raw_bytes += report->chunks[i].raw_bytes;
    }
    manifest->info.chunks_count = count;
    manifest->pages_count = count;
    manifest->runs_count = count;
    manifest->info.stored_bytes = report->stored_bytes;
    image->result.rounds = 1;
    image->result.pages = page;
    image->result.round_pages[0] = page;
    return 0;
}

static void child_failed(baton_image *image, int status)
{
    const fork_report *report = image->fork->report;
    if (!WIFSIGNALED(status) && report->error.status != 0)
        image->error = report->error;
    else if (WIFSIGNALED(status))
        baton_error_setf(&image->error, -ECHILD, "take an image",
                         "look at the kernel's log: the memory may have run out",
                         "the child that wrote it was ended by signal %d", WTERMSIG(status));
    else
        baton_error_set(&image->error, -ECHILD, "take an image",
                        "the child that wrote it ended early", "nothing: the service goes on");
}

baton_image_state image_fork_poll(baton_image *image)
{
    image_fork *self = image->fork;
    int status = 0;
    if (self->child == 0)
        return image->state;
    const pid_t r = waitpid(self->child, &status, WNOHANG);
    if (r == 0 || (r < 0 && errno == EINTR))
        return BATON_IMAGE_WRITING;
    self->child = 0;
    image->result.child = 0;
    image->result.taken_ns = image_now_ns(image) - image->begun_ns;
    if (r < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0 || !self->report->whole) {
        child_failed(image, status);
        return BATON_IMAGE_FAILED;
    }
    if (take_report(image) < 0) {
        baton_error_set(&image->error, -ENOMEM, "take an image", NULL, "free memory");
        return BATON_IMAGE_FAILED;
    }
    return BATON_IMAGE_DONE;
}

void image_fork_end(baton_image *image)
{
    image_fork *self = image->fork;
    if (self == NULL)
        return;
    if (self->child > 0)
        baton_child_kill(self->child);
    munmap(self->report, self->report_bytes);
    free(self);
    image->fork = NULL;
}
