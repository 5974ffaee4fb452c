/* Case `cold_start`: from the start of a process until it has applied its first new entry: a real
 * engine over an image and the journal after it. Beside it what nobody can do without: raw reads of
 * the same bytes, and the same entries applied. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "bench/image_raw.h"
#include "bench/pages_service.h"
#include "bench/region.h"
#include "engine/run.h"
#include "journal/segments.h"

#define TURN_NS UINT64_C(100000000)

typedef struct {
    int64_t first_ns; /* applied */
    bool from_image;
    uint64_t seq;
    uint64_t replayed_entries;
    uint64_t replayed_bytes;
    uint64_t recover_ns;
    uint64_t load_ns;
    uint64_t replay_ns;
    uint64_t total_ns;
} cold_report;

/* ---- the service's processes ---- */

typedef struct {
    baton_engine *engine;
    baton_hydrate_report report;
    char mib[32];
    const char *values[1];
} cold_engine;

static void engine_open(const snap_run *run, cold_engine *self)
{
    baton_error error;
    *self = (cold_engine){0};
    snprintf(self->mib, sizeof(self->mib), "%llu", (unsigned long long)(run->bytes / BENCH_MIB));
    self->values[0] = self->mib;
    const baton_engine_options options = {
        .backend = run->io == BATON_IO_THREADS ? BATON_BACKEND_THREADS : BATON_BACKEND_URING,
        .config = {.values = self->values},
        .snapshot_form = BATON_FORM_IMAGE,
        .compress = BATON_COMPRESS_RAW,
    };
    int r = baton_engine_open(&pages_service, run->options->directory, &options, NULL,
                              &self->engine, &self->report, &error);
    if (r < 0)
        snap_die("open an engine", r, &error);
}

static void turn(cold_engine *self, uint64_t timeout_ns)
{
    baton_error error;
    int r = baton_engine_turn(self->engine, timeout_ns, &error);
    if (r < 0)
        snap_die("run an engine", r, &error);
}

static void submit(cold_engine *self, uint16_t type, const uint8_t *payload)
{
    int r;
    while ((r = baton_engine_submit(self->engine, type, payload, PAGES_ENTRY_BYTES, NULL)) ==
               BATON_E_FULL ||
           r == BATON_E_NO_SPACE)
        turn(self, TURN_NS);
    if (r < 0)
        snap_die("submit an entry", r, NULL);
}

static void take_image(cold_engine *self)
{
    baton_error error;
    const baton_engine_snapshot_state *state = baton_engine_snapshot_status(self->engine);
    int r = baton_engine_snapshot_begin(self->engine, &error);
    if (r < 0)
        snap_die("begin a snapshot", r, &error);
    while (state->running)
        turn(self, TURN_NS);
    if (state->taken_count != 1)
        snap_die("take a snapshot", state->last_status, &state->last_error);
}

/* A state, its image, and the entries after it. */
void snap_child_cold_make(const snap_run *run)
{
    const char done = 1;
    uint8_t payload[PAGES_ENTRY_BYTES] = {0};
    cold_engine self;
    engine_open(run, &self);
    submit(&self, PAGES_ENTRY_FILL, payload);
    take_image(&self);
    for (uint64_t i = 0; i < run->options->entries; i++) {
        pages_entry(i, payload);
        submit(&self, PAGES_ENTRY_TOUCH, payload);
    }
    while (!baton_engine_all_released(self.engine))
        turn(&self, TURN_NS);
    int r = baton_engine_close(self.engine);
    if (r < 0)
        snap_die("close an engine", r, NULL);
    snap_tell(&done, 1);
}

void snap_child_cold_start(const snap_run *run)
{
    uint8_t payload[PAGES_ENTRY_BYTES];
    cold_engine self;
    engine_open(run, &self);
    const baton_hydrate_report *hydrate = &self.report;
    pages_entry(baton_engine_applied_seq(self.engine), payload);
    submit(&self, PAGES_ENTRY_TOUCH, payload);
    const cold_report report = {.first_ns = bench_now_ns(),
                                .from_image = hydrate->from_snapshot &&
                                              strcmp(hydrate->snapshot_form, "image") == 0,
                                .seq = baton_engine_applied_seq(self.engine),
                                .replayed_entries = hydrate->replayed_entries,
                                .replayed_bytes = hydrate->replayed_bytes,
                                .recover_ns = hydrate->recover_ns,
                                .load_ns = hydrate->load_ns,
                                .replay_ns = hydrate->replay_ns,
                                .total_ns = hydrate->total_ns};
    while (!baton_engine_all_released(self.engine))
        turn(&self, TURN_NS);
    int r = baton_engine_close(self.engine);
    if (r < 0)
        snap_die("close an engine", r, NULL);
    snap_tell(&report, sizeof(report));
}

/* ---- the reference ---- */

typedef struct {
    const snap_run *run;
    char directory[BENCH_PATH_BYTES];
    char chunks_path[BENCH_PATH_BYTES + 64];
    uint64_t chunks_bytes;
    uint64_t journal_bytes; /* of batches */
    uint64_t entries;
    pages_state state;
} reference;

/* 0: there is none. */
static uint64_t file_bytes(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (uint64_t)status.st_size : 0;
}

static double read_journal(const reference *self)
{
    char journal[BENCH_PATH_BYTES + 16];
    double all_ns = 0;
    uint64_t left = self->journal_bytes;
    snprintf(journal, sizeof(journal), "%s/journal", self->directory);
    for (uint64_t index = 1; left > 0; index++) {
        char path[BATON_JOURNAL_PATH_BYTES];
        baton_segment_path(journal, 1, index, path);
        const uint64_t bytes = file_bytes(path);
        if (bytes == 0)
            break; /* what comes after stands in the segments of later starts: an entry each */
        image_raw job = {.path = path,
                         .bytes = left + BENCH_UNIT_BYTES < bytes ? left + BENCH_UNIT_BYTES : bytes,
                         .threads = self->run->io == BATON_IO_THREADS};
        job.bytes = (job.bytes + BENCH_UNIT_BYTES - 1) & ~(uint64_t)(BENCH_UNIT_BYTES - 1);
        all_ns += (double)image_raw_read(&job);
        left -= left < job.bytes ? left : job.bytes;
    }
    return all_ns;
}

static double apply_entries(reference *self)
{
    uint8_t payload[PAGES_ENTRY_BYTES];
    const int64_t begun_ns = bench_now_ns();
    for (uint64_t i = 0; i < self->entries; i++) {
        pages_entry(i, payload);
        const baton_entry entry = {
            .type = PAGES_ENTRY_TOUCH, .payload = payload, .payload_bytes = sizeof(payload)};
        int r = pages_service.apply(&self->state, &entry, NULL);
        if (r != 0)
            snap_die("apply an entry", r, NULL);
    }
    return (double)(bench_now_ns() - begun_ns);
}

/* into_pages: the image goes where it is to be, into memory that was never touched; else into
 * buffers, and the entries are applied to pages that have been there all the time. */
static double raw_start_ms(reference *self, bool into_pages)
{
    const uint64_t state_bytes = self->state.pages_count * REGION_PAGE_BYTES;
    image_raw job = {.path = self->chunks_path,
                     .bytes = self->chunks_bytes,
                     .threads = self->run->io == BATON_IO_THREADS};
    if (into_pages) {
        madvise(self->state.pages, state_bytes, MADV_DONTNEED);
        job.memory = self->state.pages;
        job.memory_bytes = state_bytes;
        job.bytes = job.bytes < state_bytes ? job.bytes : state_bytes;
    }
    return ((double)image_raw_read(&job) + read_journal(self) + apply_entries(self)) / 1e6;
}

static void reference_open(reference *self)
{
    const uint64_t bytes = self->run->bytes;
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED)
        snap_die("memory", 0, NULL);
    memset(pages, 1, bytes);
    self->state = (pages_state){.pages = pages, .pages_count = bytes / REGION_PAGE_BYTES};

    char snapshots[BENCH_PATH_BYTES + 16];
    baton_snapshot_listed *list = NULL;
    baton_error error;
    uint32_t count = 0;
    snprintf(snapshots, sizeof(snapshots), "%s/snapshots", self->directory);
    int r = baton_snapshot_list(snapshots, &list, &count, &error);
    if (r < 0 || count == 0)
        snap_die("list the snapshots", r, r < 0 ? &error : NULL);
    snprintf(self->chunks_path, sizeof(self->chunks_path), "%s/%016llx-%016llx.chunks", snapshots,
             (unsigned long long)list[0].info.seq, (unsigned long long)list[0].info.epoch);
    self->chunks_bytes = list[0].info.stored_bytes;
    free(list);
}

/* ---- the case ---- */

static double start_once(const snap_run *run, const reference *self, cold_report *ret)
{
    int fd = -1;
    const int64_t begun_ns = bench_now_ns();
    const pid_t pid = snap_spawn(run, "cold-start", self->directory, 0, &fd);
    snap_hear(fd, ret, sizeof(*ret));
    snap_join(pid, fd);
    if (!ret->from_image || ret->replayed_entries < self->entries)
        snap_die("start from the image and the entries after it", BATON_E_DIVERGED, NULL);
    const double taken_ms = (double)(ret->first_ns - begun_ns) / 1e6;
    bench_note(
        run->output,
        "cold_start: %.0f ms; of it the engine %.0f: recover %.0f, load %.0f, replay %.0f of "
        "%llu entries",
        taken_ms, (double)ret->total_ns / 1e6, (double)ret->recover_ns / 1e6,
        (double)ret->load_ns / 1e6, (double)ret->replay_ns / 1e6,
        (unsigned long long)ret->replayed_entries);
    return taken_ms;
}

static void make(const snap_run *run, const reference *self)
{
    int fd = -1;
    char done;
    const pid_t pid = snap_spawn(run, "cold-make", self->directory, self->entries, &fd);
    snap_hear(fd, &done, 1);
    snap_join(pid, fd);
}

void snap_case_cold(const snap_run *run)
{
    const int rounds = snap_rounds(run, 2, 5);
    double ours[SNAP_ROUNDS];
    double filled[SNAP_ROUNDS];
    double raw[2][SNAP_ROUNDS];
    cold_report report;
    reference self = {.run = run,
                      .entries = run->options->smoke   ? 20000
                                 : run->options->quick ? 200000
                                                       : 1000000};
    snprintf(self.directory, sizeof(self.directory), "%s/cold", run->options->directory);
    make(run, &self);
    reference_open(&self);
    (void)start_once(run, &self, &report); /* tells what there is to read; the programs are warm */
    self.journal_bytes = report.replayed_bytes;
    for (int round = 0; round < rounds; round++) {
        raw[snap_first(round)][round] = raw_start_ms(&self, false);
        ours[round] = start_once(run, &self, &report);
        filled[round] = raw_start_ms(&self, true);
        raw[!snap_first(round)][round] = raw_start_ms(&self, false);
        bench_progress(round + 1, rounds);
    }
    bench_row row = {.bench_case = "cold_start",
                     .metric = "p50",
                     .unit = "ms",
                     .lower_is_better = true,
                     .value = snap_median(ours, rounds),
                     .reference = "raw",
                     .reference_value = snap_median(raw[0], rounds)};
    snap_print(run, &row, snap_median(raw[1], rounds));
    row.reference = "raw filled";
    row.reference_value = snap_median(filled, rounds);
    snap_print(run, &row, 0);
    munmap(self.state.pages, run->bytes);
    bench_remove_tree(self.directory);
}
