/* journal/repair.c: cut a torn tail as the next start would; with accept_loss also cut at damage.
 *
 * Nothing is deleted. At damage, in this order, each step flushed before the next, so that a repair
 * that dies half way can be run again:
 *   1. the damaged segment is copied whole into torn/
 *   2. a copy of its good part, zeros behind it, takes its name (rename)
 *   3. every later segment moves into torn/, the last one first; an empty file keeps the highest
 * name, so that its epoch stays burnt until the next writer burns a higher one (J10) */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "journal/walk.h"
#include "journal/watch.h"

#define REPAIR_OPS          16u
#define REPAIR_COPY_BYTES   (1u << 20)
#define REPAIR_LOCK_TRIES   500u
#define REPAIR_LOCK_STEP_NS 10000000L
#define REPAIR_FIRST_BYTES                                                                         \
    (256u << 10) /* the epoch that the cut begins holds no entries: as small as can be */
#define REPAIR_NAMES_MAX 1000u

typedef struct {
    baton_io *io;
    const char *directory;
    void *buffer;
    uint64_t cut_bytes;
    uint64_t lost_entries;
    bool followed;                            /* its end was: a standby's */
    char torn[BATON_JOURNAL_PATH_BYTES - 64]; /* a name in it fits a path */
} repair_run;

static int fail_at(baton_error *error, int r, const char *what, const char *path)
{
    if (baton_io_is_full_disk(r)) {
        baton_error_set(error, BATON_E_NO_SPACE, what, baton_status_text(r),
                        "make room on this file system, then run repair again");
        baton_error_at(error, path, UINT64_MAX);
        return BATON_E_NO_SPACE;
    }
    return baton_segment_error(error, r, what, path);
}

/* ---- the lock ---- */

static int take_lock(repair_run *repair, baton_io_file *ret_file, baton_error *error)
{
    char path[BATON_JOURNAL_PATH_BYTES + 8];

    (void)snprintf(path, sizeof(path), "%s/LOCK", repair->directory);
    int r = baton_io_file_open(repair->io, path,
                               BATON_IO_FOR_READ | BATON_IO_FOR_WRITE | BATON_IO_CREATE_OR_OPEN,
                               ret_file);
    if (r < 0) {
        *ret_file = BATON_IO_NO_FILE;
        return fail_at(error, r, "open the journal's lock", path);
    }
    for (uint32_t tries = 0; tries < REPAIR_LOCK_TRIES; tries++) {
        r = baton_io_file_lock(repair->io, *ret_file);
        if (r != BATON_E_LOCKED)
            break;
        const struct timespec step = {.tv_nsec = REPAIR_LOCK_STEP_NS};
        (void)nanosleep(&step, NULL);
    }
    if (r == BATON_E_LOCKED) {
        baton_error_set(error, r, "lock the journal", "a writer has it open",
                        "stop the service first, then run repair again");
        baton_error_at(error, path, UINT64_MAX);
        return r;
    }
    if (r < 0)
        return fail_at(error, r, "lock the journal", path);
    r = baton_hint_reset(repair->io, repair->directory);
    return r < 0 ? fail_at(error, r, "reset the readers' page HINT", repair->directory) : 0;
}

/* ---- files ---- */

/* A free name in torn/, made as an empty file, so that a rename onto it loses nothing. */
static int free_name(repair_run *repair, uint64_t epoch, uint64_t index,
                     char path[BATON_JOURNAL_PATH_BYTES])
{
    for (uint32_t n = 0; n < REPAIR_NAMES_MAX; n++) {
        baton_io_file file;
        (void)snprintf(path, BATON_JOURNAL_PATH_BYTES, "%s/%016" PRIx64 "-%016" PRIx64 ".%03u.seg",
                       repair->torn, epoch, index, n);
        int r = baton_io_file_open(repair->io, path, BATON_IO_FOR_WRITE | BATON_IO_CREATE, &file);
        if (r == 0)
            baton_io_file_close(repair->io, file);
        if (r != -EEXIST)
            return r;
    }
    return -EEXIST;
}

/* The first good_bytes of from, then zeros up to `bytes` (0 of them: the whole file, as it is). */
static int copy_file(repair_run *repair, const char *from, const char *to, uint64_t good_bytes,
                     uint64_t bytes)
{
    baton_io_file source = BATON_IO_NO_FILE;
    baton_io_file target = BATON_IO_NO_FILE;
    uint64_t at = 0;

    int r = baton_io_file_open(repair->io, from, BATON_IO_FOR_READ, &source);
    if (r == 0)
        r = baton_io_file_open(repair->io, to, BATON_IO_FOR_WRITE | BATON_IO_CREATE_OR_OPEN,
                               &target);
    while (r == 0 && at < good_bytes) {
        uint64_t want = good_bytes - at < REPAIR_COPY_BYTES ? good_bytes - at : REPAIR_COPY_BYTES;
        int64_t got = baton_io_file_read(repair->io, source, repair->buffer, want, at);
        if (got <= 0) {
            r = (int)got;
            break;
        }
        r = baton_io_file_write(repair->io, target, repair->buffer, (uint64_t)got, at);
        at += (uint64_t)got;
    }
    memset(repair->buffer, 0, REPAIR_COPY_BYTES);
    for (; r == 0 && at < bytes; at += REPAIR_COPY_BYTES) {
        uint64_t want = bytes - at < REPAIR_COPY_BYTES ? bytes - at : REPAIR_COPY_BYTES;
        r = baton_io_file_write(repair->io, target, repair->buffer, want, at);
    }
    if (r == 0)
        r = baton_io_file_sync(repair->io, target);
    baton_io_file_close(repair->io, source);
    baton_io_file_close(repair->io, target);
    return r;
}

static int sync_both(repair_run *repair)
{
    int r = baton_io_directory_sync(repair->io, repair->torn);
    return r < 0 ? r : baton_io_directory_sync(repair->io, repair->directory);
}

/* Steps 1 and 2. */
static int cut_segment(repair_run *repair, const baton_segment *segment, uint64_t good_bytes,
                       baton_error *error)
{
    char path[BATON_JOURNAL_PATH_BYTES];
    char kept[BATON_JOURNAL_PATH_BYTES];
    char good[BATON_JOURNAL_PATH_BYTES];

    baton_segment_path(repair->directory, segment->info.epoch, segment->info.index, path);
    int r = free_name(repair, segment->info.epoch, segment->info.index, kept);
    if (r == 0)
        r = copy_file(repair, path, kept, segment->info.file_bytes, 0);
    if (r < 0)
        return fail_at(error, r, "keep the damaged segment aside", path);
    (void)snprintf(good, sizeof(good), "%s/good", repair->torn);
    r = baton_io_unlink(repair->io, good); /* of a repair that died */
    if (r == 0 || r == -ENOENT)
        r = copy_file(repair, path, good, good_bytes, segment->segment_bytes);
    if (r == 0)
        r = sync_both(repair);
    if (r == 0)
        r = baton_io_rename(repair->io, good, path);
    if (r == 0)
        r = sync_both(repair);
    if (r < 0)
        return fail_at(error, r, "write the good part of the damaged segment", path);
    if (segment->info.file_bytes > good_bytes)
        repair->cut_bytes += segment->info.file_bytes - good_bytes;
    return 0;
}

/* Step 3, for one segment. */
static int move_aside(repair_run *repair, const baton_segment *segment, bool keep_name,
                      baton_error *error)
{
    char path[BATON_JOURNAL_PATH_BYTES];
    char kept[BATON_JOURNAL_PATH_BYTES];
    baton_io_file file;

    if (segment->info.file_bytes == 0)
        return 0; /* it keeps its name already */
    baton_segment_path(repair->directory, segment->info.epoch, segment->info.index, path);
    int r = free_name(repair, segment->info.epoch, segment->info.index, kept);
    if (r == 0)
        r = baton_io_rename(repair->io, path, kept);
    if (r == 0 && keep_name) {
        r = baton_io_file_open(repair->io, path, BATON_IO_FOR_WRITE | BATON_IO_CREATE, &file);
        if (r == 0)
            baton_io_file_close(repair->io, file);
    }
    if (r == 0)
        r = sync_both(repair);
    if (r < 0)
        return fail_at(error, r, "move a segment aside", path);
    repair->cut_bytes += segment->info.file_bytes;
    return 0;
}

/* ---- the cut ---- */

/* Everything of the walk's segments that is not good. A walk that did not get into any segment
 * keeps what is older than the one it could not begin with. */
static int cut_at_damage(repair_run *repair, const baton_walk *walk, baton_error *error)
{
    const baton_segments *segments = &walk->segments;
    bool any_good = walk->start < segments->count && walk->end.position.batch != 0 &&
                    walk->end.index == segments->list[walk->current].info.index &&
                    walk->end.position.epoch == segments->list[walk->current].info.epoch;
    bool header_good =
        walk->start < segments->count && walk->stop_offset != 0 && walk->file != BATON_IO_NO_FILE;
    uint32_t from = walk->start < segments->count ? walk->current : 0;

    uint32_t later = any_good || header_good ? from + 1 : from;
    if (later > from) {
        int r = cut_segment(repair, &segments->list[from],
                            any_good ? walk->end.offset : BATON_IO_UNIT, error);
        if (r < 0)
            return r;
    }
    for (uint32_t at = segments->count; at-- > later;) {
        int r = move_aside(repair, &segments->list[at], at + 1 == segments->count, error);
        if (r < 0)
            return r;
    }
    return 0;
}

/* One look, and one cut where it is damaged. 1: cut, look again. */
static int look_and_cut(repair_run *repair, bool accept_loss, baton_error *error)
{
    const baton_walk_options options = {0};
    const baton_batch_header *batch;
    baton_walk walk;

    int r = baton_walk_open(&walk, repair->io, repair->directory, error);
    if (r == 0)
        r = baton_walk_begin(&walk, &options, error);
    while (r == 0 && (r = baton_walk_next(&walk, &batch, error)) == 1)
        r = 0;
    repair->followed =
        walk.start < walk.segments.count && walk.segments.list[walk.current].follower;
    if (r == BATON_E_DAMAGED && accept_loss) {
        uint64_t lost =
            walk.lost.seq > walk.end.position.seq ? walk.lost.seq - walk.end.position.seq : 0;
        if (lost > repair->lost_entries)
            repair->lost_entries = lost;
        r = baton_io_directory_make(repair->io, repair->torn);
        if (r < 0)
            r = fail_at(error, r, "make the folder for what is cut", repair->torn);
        else
            r = cut_at_damage(repair, &walk, error);
        r = r < 0 ? r : 1;
    }
    baton_walk_close(&walk);
    return r;
}

static int cut_until_good(repair_run *repair, bool accept_loss, baton_error *error)
{
    baton_io_file lock = BATON_IO_NO_FILE;
    int r = take_lock(repair, &lock, error);
    /* Each cut ends the journal earlier than the one before. */
    for (uint32_t cuts = 0; r >= 0 && cuts < REPAIR_NAMES_MAX; cuts++) {
        r = look_and_cut(repair, accept_loss, error);
        if (r <= 0)
            break;
    }
    baton_io_file_close(repair->io, lock);
    return r;
}

/* ---- a torn tail: what begin does ---- */

/* A standby's would make a term of its own of it, that nobody granted (H2). */
static int refuse_followed(const char *directory, baton_error *error)
{
    baton_error_set(error, BATON_E_REFUSED, "cut the torn tail", "this journal follows another one",
                    "start it as a standby: it cuts the tail and gets it again");
    baton_error_at(error, directory, UINT64_MAX);
    return BATON_E_REFUSED;
}

static int begin_once(const repair_run *repair, baton_backend backend, baton_mode mode,
                      baton_repair_report *ret_report, baton_error *error)
{
    const char *directory = repair->directory;
    const baton_journal_options options = {.mode = mode,
                                           .backend = backend,
                                           .first_segment_bytes = REPAIR_FIRST_BYTES,
                                           .no_ballast = true};
    baton_recovery_report report;
    baton_journal *journal;

    int r = baton_journal_open(directory, &options, &journal, &report, error);
    if (r < 0)
        return r;
    ret_report->last = report.last;
    if (report.torn_cut == 0) {
        baton_journal_abandon(journal);
        return 0;
    }
    r = repair->followed ? refuse_followed(directory, error)
                         : baton_journal_begin(journal, &report, error);
    if (r < 0) {
        baton_journal_abandon(journal);
        return r;
    }
    ret_report->cut_bytes += report.torn_cut;
    (void)snprintf(ret_report->kept_path, sizeof(ret_report->kept_path), "%s", report.torn_path);
    r = baton_journal_close(journal);
    return r < 0 ? fail_at(error, r, "close the repaired journal", directory) : 0;
}

int baton_journal_repair(const char *directory, baton_backend backend, bool accept_loss,
                         baton_repair_report *ret_report, baton_error *error)
{
    baton_io_options io_options = {.choice = baton_watch_io_choice(backend), .ops_max = REPAIR_OPS};
    repair_run repair = {.directory = directory};

    *ret_report = (baton_repair_report){0};
    int length = snprintf(repair.torn, sizeof(repair.torn), "%s/torn", directory);
    if (length < 0 || (size_t)length >= sizeof(repair.torn))
        return baton_segment_error(error, -ENAMETOOLONG, "repair the journal", directory);
    if (posix_memalign(&repair.buffer, BATON_IO_UNIT, REPAIR_COPY_BYTES) != 0)
        return baton_segment_error(error, -ENOMEM, "repair the journal", directory);
    int r = baton_io_open(&io_options, &repair.io, error);
    if (r < 0)
        goto fail;
    baton_io_file file;
    r = baton_io_file_open(repair.io, directory, BATON_IO_FOR_READ | BATON_IO_DIRECTORY, &file);
    if (r == -ENOENT) { /* an absent journal is an empty one: nothing is made for it */
        r = 0;
        goto fail;
    }
    if (r < 0) {
        fail_at(error, r, "open the journal's directory", directory);
        goto fail;
    }
    baton_io_file_close(repair.io, file);

    r = cut_until_good(&repair, accept_loss, error);
    if (r < 0)
        goto fail;
    ret_report->cut_bytes = repair.cut_bytes;
    ret_report->lost_entries_at_least = repair.lost_entries;
    r = begin_once(&repair, backend, BATON_MODE_DURABLE, ret_report, error);
    if (r == BATON_E_FILE_SYSTEM ||
        r == BATON_E_DEVICE) /* then it can only have been mode written */
        r = begin_once(&repair, backend, BATON_MODE_WRITTEN, ret_report, error);
    if (r == 0 && repair.cut_bytes > 0)
        (void)snprintf(ret_report->kept_path, sizeof(ret_report->kept_path), "%.255s", repair.torn);

fail:
    baton_io_close(repair.io);
    free(repair.buffer);
    return r;
}
