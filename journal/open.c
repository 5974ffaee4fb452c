/* journal/open.c: check the options and the file system, lock, recover. Nothing of the journal
 * changes (J10). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <baton/log.h>

#include "journal/journal_private.h"
#include "journal/primitive.h"
#include "journal/watch.h"

#define DEFAULT_SEGMENT_BYTES (UINT64_C(64) << 20)
#define DEFAULT_FIRST_BYTES   (UINT64_C(4) << 20)
#define DEFAULT_BATCH_BYTES   (1u << 20)
#define DEFAULT_IN_FLIGHT     8u
#define DEFAULT_IDLE_MARK_NS  (2 * JOURNAL_MILLISECOND_NS)
#define DEFAULT_LOCK_WAIT_NS  (5 * JOURNAL_SECOND_NS)
#define SEGMENT_BYTES_MIN     (UINT64_C(1) << 20)
#define SEGMENT_BYTES_MAX     (UINT64_C(4) << 30)
#define FIRST_BYTES_MIN       (UINT64_C(256) << 10)
#define BATCH_BYTES_MIN       (128u << 10)
#define BATCH_BYTES_MAX       (4u << 20)
#define IN_FLIGHT_MAX         64u
#define OPS_SPARE             16u /* headers, steps, the ballast, and recovery's reads */

int journal_error_system(baton_error *error, int r, const char *what, const char *path)
{
    const char *todo = "look at the system's log for this file system";
    int status = r;
    if (baton_io_is_full_disk(r) || r == BATON_E_NO_SPACE) {
        todo = "make room on this file system, then start again";
        status = BATON_E_NO_SPACE;
    } else if (r == -EACCES || r == -EPERM || r == -EROFS) {
        todo = "give this user the right to write there, or name another directory";
    } else if (r == -ENOENT || r == -ENOTDIR) {
        todo = "make the parent directory first, or name another one";
    } else if (r == -EMFILE || r == -ENFILE) {
        todo = "raise the limit of open files";
    }
    baton_error_set(error, status, what, baton_status_text(r), todo);
    baton_error_at(error, path, UINT64_MAX);
    return status;
}

static int invalid(baton_error *error, const char *why)
{
    return baton_error_set(error, BATON_E_INVALID, "open the journal", why,
                           "correct the journal's options");
}

static uint64_t or_default(uint64_t value, uint64_t fallback)
{
    return value != 0 ? value : fallback;
}

static int take_sizes(baton_journal *journal, const baton_journal_options *options,
                      baton_error *error)
{
    uint64_t segment_bytes = or_default(options->segment_bytes, DEFAULT_SEGMENT_BYTES);
    uint64_t first_default =
        segment_bytes < DEFAULT_FIRST_BYTES ? segment_bytes : DEFAULT_FIRST_BYTES;
    uint64_t first_bytes = or_default(options->first_segment_bytes, first_default);
    if (segment_bytes < SEGMENT_BYTES_MIN || segment_bytes > SEGMENT_BYTES_MAX ||
        segment_bytes % BATON_IO_UNIT)
        return invalid(error, "segment_bytes is not 1 MiB..4 GiB or no multiple of 4096");
    if (first_bytes < FIRST_BYTES_MIN || first_bytes > segment_bytes || first_bytes % BATON_IO_UNIT)
        return invalid(error,
                       "first_segment_bytes is not 256 KiB..segment_bytes or no multiple of 4096");

    /* A batch must fit the smallest segment beside its header, trailer and reserve. */
    uint64_t half = first_bytes / 2 & ~(uint64_t)(BATON_IO_UNIT - 1);
    uint64_t batch_default = half < DEFAULT_BATCH_BYTES ? half : DEFAULT_BATCH_BYTES;
    uint64_t batch_bytes = or_default(options->batch_bytes_max, batch_default);
    if (batch_bytes < BATCH_BYTES_MIN || batch_bytes > BATCH_BYTES_MAX ||
        batch_bytes % BATON_IO_UNIT)
        return invalid(error, "batch_bytes_max is not 128 KiB..4 MiB or no multiple of 4096");
    if (batch_bytes + BATON_IO_UNIT + journal_reserve_bytes(KIND_ENTRIES) > first_bytes)
        return invalid(error, "batch_bytes_max does not fit the first segment");
    uint64_t in_flight = or_default(options->batches_in_flight_max, DEFAULT_IN_FLIGHT);
    if (in_flight > IN_FLIGHT_MAX)
        return invalid(error, "batches_in_flight_max is not 1..64");

    journal->segment_bytes = segment_bytes;
    journal->first_segment_bytes = first_bytes;
    journal->batch_bytes_max = (uint32_t)batch_bytes;
    journal->in_flight_max = (uint32_t)in_flight;
    return 0;
}

static int take_options(baton_journal *journal, const char *directory,
                        const baton_journal_options *options, baton_error *error)
{
    const char *service = options->service ? options->service : "";
    size_t directory_bytes = strlen(directory);
    if (directory_bytes == 0 || directory_bytes >= sizeof(journal->directory))
        return invalid(error, "the directory's name is empty or longer than 1023 bytes");
    if (strlen(service) >= sizeof(journal->service))
        return invalid(error, "the service's name is longer than 31 bytes");
    memcpy(journal->directory, directory, directory_bytes + 1);
    memcpy(journal->service, service, strlen(service) + 1);
    journal->mode = options->mode;
    journal->idle_mark_ns = or_default(options->idle_mark_ns, DEFAULT_IDLE_MARK_NS);
    journal->archive = options->archive;
    journal->archive_context = options->archive_context;
    journal->no_spares = options->no_spares;
    journal->ballast = options->no_ballast ? BALLAST_UNWANTED : BALLAST_MISSING;
    return take_sizes(journal, options, error);
}

/* All the memory that the writer will ever use. */
static int take_memory(baton_journal *journal, const baton_journal_options *options,
                       baton_error *error)
{
    uint32_t slots_count = journal->in_flight_max + 1;
    baton_io_options io_options = {
        .choice = baton_watch_io_choice(options->backend),
        .ops_max = journal->in_flight_max + 2 * JOURNAL_SEGMENTS_MAX + OPS_SPARE,
        .region_bytes = (uint64_t)slots_count * journal->batch_bytes_max + JOURNAL_ZERO_STEP_BYTES +
                        2 * JOURNAL_SEGMENTS_MAX * BATON_IO_UNIT,
        .clock = options->clock,
        .custom = options->io_backend,
        .custom_context = options->io_context,
    };
    int r = baton_io_open(&io_options, &journal->io, error);
    if (r < 0)
        return r;
    journal->clock = baton_io_clock(journal->io); /* its own, when none was asked for */
    journal->slots = calloc(slots_count, sizeof(*journal->slots));
    if (!journal->slots)
        return journal_error_system(error, -ENOMEM, "open the journal", journal->directory);
    for (uint32_t i = 0; i < slots_count; i++) {
        journal->slots[i].buffer = baton_io_region_take(journal->io, journal->batch_bytes_max);
        baton_assert(journal->slots[i].buffer);
    }
    journal->open_buffer = journal->slots[0].buffer;
    for (uint32_t i = 0; i < JOURNAL_SEGMENTS_MAX; i++) {
        journal->segments[i].header = baton_io_region_take(journal->io, BATON_IO_UNIT);
        journal->segments[i].trailer = baton_io_region_take(journal->io, BATON_IO_UNIT);
        baton_assert(journal->segments[i].header && journal->segments[i].trailer);
    }
    journal->zeros = baton_io_region_take(journal->io, JOURNAL_ZERO_STEP_BYTES);
    baton_assert(journal->zeros);
    return 0;
}

/* The commit primitive is chosen here, once (J3). */
static int probe(baton_journal *journal, baton_error *error)
{
    int r = baton_io_directory_make(journal->io, journal->directory);
    if (r < 0)
        return journal_error_system(error, r, "make the journal's directory", journal->directory);
    r = baton_io_probe_directory(journal->io, journal->directory, &journal->probe);
    if (r < 0)
        return journal_error_system(error, r, "probe the journal's directory", journal->directory);
    journal_primitive primitive;
    r = journal_primitive_choose(&journal->probe, journal->mode == BATON_MODE_WRITTEN, &primitive);
    memcpy(journal->primitive, primitive.text, sizeof(journal->primitive));
    if (r == 0)
        return 0;
    baton_error_setf(error, r, "open the journal in durable mode", primitive.todo, "%s: %s",
                     journal->probe.file_system, primitive.why);
    baton_error_at(error, journal->directory, UINT64_MAX);
    return r;
}

/* The ring of a killed process may hold its lock a little longer than the process lives (J10). */
static int lock(baton_journal *journal, uint64_t wait_ns, baton_error *error)
{
    char path[JOURNAL_PATH_BYTES];
    journal_path(journal, "LOCK", path);
    int r = baton_io_file_open(journal->io, path,
                               BATON_IO_FOR_READ | BATON_IO_FOR_WRITE | BATON_IO_CREATE_OR_OPEN,
                               &journal->lock_file);
    if (r < 0) {
        journal->lock_file = BATON_IO_NO_FILE;
        return journal_error_system(error, r, "open the journal's lock", path);
    }
    uint64_t waited_ns = 0;
    while ((r = baton_io_file_lock(journal->io, journal->lock_file)) == BATON_E_LOCKED &&
           waited_ns < wait_ns) {
        const struct timespec step = {.tv_nsec = (long)JOURNAL_LOCK_STEP_NS};
        (void)nanosleep(&step, NULL);
        waited_ns += JOURNAL_LOCK_STEP_NS;
    }
    if (r == BATON_E_LOCKED) {
        baton_error_set(
            error, r, "lock the journal", "another writer has it open",
            "stop the other process (`fuser LOCK` names it), or open another directory");
        baton_error_at(error, path, UINT64_MAX);
        return r;
    }
    if (r == 0)
        r = baton_io_file_hold(journal->io, journal->lock_file);
    if (r == -ENOTSUP) { /* the next writer's new epoch keeps late writes out by itself */
        baton_log(WARN, "journal.lock_not_held_by_ring", BATON_LOG_TEXT("path", path));
        r = 0;
    }
    return r < 0 ? journal_error_system(error, r, "lock the journal", path) : 0;
}

static int recover(baton_journal *journal, const baton_journal_options *options,
                   baton_recovery_report *ret_report, baton_error *error)
{
    baton_recover_options recover_options = {
        .service = options->service,
        .evidence = options->evidence,
        .from_seq = options->from_seq,
    };
    baton_recovery *recovery = &journal->recovery;
    journal->recovery_kept = true;
    int r = baton_recover(journal->io, journal->directory, &recover_options, recovery, error);
    if ((r == 0 || r == BATON_E_DAMAGED) && ret_report)
        *ret_report = recovery->report;
    if (r < 0)
        return r;
    journal->last_seq = recovery->report.last.seq;
    journal->last_time_ns = recovery->last_time_ns;
    journal->facts = recovery->facts;
    journal->id = recovery->id;
    journal->durable = recovery->report.last;
    journal->epoch_highest = recovery->epoch_highest;
    journal->index_highest = recovery->index_highest;
    if (journal->service[0] == '\0')
        memcpy(journal->service, recovery->service, sizeof(journal->service));
    return 0;
}

static void log_opened(const baton_journal *journal)
{
    const char *reason = baton_io_fallback_reason(journal->io);
    if (reason[0] != '\0')
        baton_log(WARN, "journal.io_fallback",
                  BATON_LOG_TEXT("backend", baton_io_backend_name(journal->io)),
                  BATON_LOG_TEXT("why", reason));
    if (journal->probe.warning[0] != '\0')
        baton_log(WARN, "journal.file_system", BATON_LOG_TEXT("dir", journal->directory),
                  BATON_LOG_TEXT("warning", journal->probe.warning));
    const baton_recovery_report *report = &journal->recovery.report;
    baton_log(INFO, "journal.opened", BATON_LOG_TEXT("dir", journal->directory),
              BATON_LOG_NUMBER("last_seq", report->last.seq),
              BATON_LOG_NUMBER("torn_bytes", report->torn_cut),
              BATON_LOG_NUMBER("unproven", report->unproven),
              BATON_LOG_TEXT("commit", journal->primitive),
              BATON_LOG_TEXT("backend", baton_io_backend_name(journal->io)));
}

/* A disk can be so full that there is no room for the probe's own file (XFS): then the ballast goes,
 * under the lock, so that it is no living writer's (J6). */
static int probe_and_lock(baton_journal *journal, uint64_t lock_wait_ns, baton_error *error)
{
    int probed = probe(journal, error);
    if (probed < 0 && probed != BATON_E_NO_SPACE && !baton_io_is_full_disk(probed))
        return probed;
    int r = lock(journal, lock_wait_ns, error);
    if (r < 0 || probed == 0)
        return r;
    r = journal_ballast_find(journal);
    return r == 0 && journal_ballast_give_up(journal) ? probe(journal, error) : probed;
}

int baton_journal_open(const char *directory, const baton_journal_options *options,
                       baton_journal **ret_journal, baton_recovery_report *ret_report,
                       baton_error *error)
{
    static const baton_journal_options defaults;
    if (!options)
        options = &defaults;
    baton_journal *journal = calloc(1, sizeof(*journal));
    if (!journal)
        return journal_error_system(error, -ENOMEM, "open the journal", directory);
    journal->lock_file = BATON_IO_NO_FILE;
    journal->directory_file = BATON_IO_NO_FILE;
    journal->open_used = sizeof(baton_batch_header);
    for (uint32_t i = 0; i < JOURNAL_SEGMENTS_MAX; i++)
        journal->segments[i].file = BATON_IO_NO_FILE;

    int r = take_options(journal, directory, options, error);
    if (r < 0)
        goto fail;
    r = take_memory(journal, options, error);
    if (r < 0)
        goto fail;
    r = probe_and_lock(journal, or_default(options->lock_wait_ns, DEFAULT_LOCK_WAIT_NS), error);
    if (r < 0)
        goto fail;
    r = baton_hint_reset(journal->io, journal->directory);
    if (r < 0) {
        journal_error_system(error, r, "reset the readers' page HINT", journal->directory);
        goto fail;
    }
    r = recover(journal, options, ret_report, error);
    if (r < 0)
        goto fail;
    r = journal_metrics_open(journal, options->metrics);
    if (r < 0) {
        journal_error_system(error, r, "register the journal's metrics", journal->directory);
        goto fail;
    }
    log_opened(journal);
    *ret_journal = journal;
    return 0;

fail:
    baton_journal_abandon(journal);
    return r;
}
