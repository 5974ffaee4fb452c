/* journal/epoch.c: take the next epoch (J10). What must be durable before what:
 *
 *   accepted segments and their directory  -> the new header, which calls them durable
 *   the new segment's name                 -> removal of older ready segments, so that the epoch stays burnt
 *   the new segment's zeros and name       -> its header
 *   its header                             -> anything that the caller answers
 *
 * A full disk: the ballast is given up and all of it tried once more (J6). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include <baton/log.h>

#include "base/breakable.h"
#include "journal/journal_private.h"

/* ---- what is accepted becomes durable ---- */

static int flush_segment(baton_journal *journal, const baton_segment_info *info, baton_error *error)
{
    char name[BATON_SEGMENT_NAME_BYTES];
    char path[JOURNAL_PATH_BYTES];
    baton_segment_name(info->epoch, info->index, name);
    journal_path(journal, name, path);
    baton_io_file file;
    int r = baton_io_file_open(journal->io, path, BATON_IO_FOR_READ, &file);
    if (r == 0) {
        r = baton_io_file_sync(journal->io, file);
        baton_io_file_close(journal->io, file);
    }
    return r < 0 ? journal_error_system(error, r, "flush what recovery accepted", path) : 0;
}

/* Whoever opens a directory on a file system where the parent was not flushed could lose all of
 * it. A parent that this user may pass but not read can not be flushed; then its owner made it. */
static int sync_parent(baton_journal *journal)
{
    char parent[JOURNAL_DIRECTORY_BYTES];
    memcpy(parent, journal->directory, sizeof(parent));
    size_t length = strlen(parent);
    while (length > 1 && parent[length - 1] == '/')
        parent[--length] = '\0';
    char *slash = strrchr(parent, '/');
    if (!slash)
        memcpy(parent, ".", 2);
    else
        slash[slash == parent] = '\0';
    int r = baton_io_directory_sync(journal->io, parent);
    return r == -EACCES ? 0 : r;
}

int journal_flush_accepted(baton_journal *journal, baton_error *error)
{
    const baton_recovery *recovery = &journal->recovery;
    for (uint32_t i = 0; i < recovery->segments_count; i++) {
        const baton_segment_info *info = &recovery->segments[i];
        bool last_epoch =
            info->state == BATON_SEGMENT_UNCHECKED && info->epoch == recovery->report.last.epoch;
        if (info->state != BATON_SEGMENT_ACCEPTED && !last_epoch)
            continue;
        int r = flush_segment(journal, info, error);
        if (r < 0)
            return r;
    }
    int r = baton_io_file_sync(journal->io, journal->directory_file);
    if (r == 0 && recovery->empty)
        r = sync_parent(journal);
    return r < 0
               ? journal_error_system(error, r, "flush the journal's directory", journal->directory)
               : 0;
}

/* ---- the torn tail's bytes are kept aside ---- */

static int copy_bytes(baton_journal *journal, baton_io_file from, uint64_t offset, uint64_t bytes,
                      baton_io_file to)
{
    uint8_t *buffer = journal->open_buffer; /* no batch is open yet */
    uint32_t chunk = journal->batch_bytes_max;
    for (uint64_t done = 0; done < bytes;) {
        uint64_t want = bytes - done < chunk ? bytes - done : chunk;
        int64_t got = baton_io_file_read(journal->io, from, buffer, want, offset + done);
        if (got < 0)
            return (int)got;
        if (got == 0)
            break; /* the file ends here */
        int r = baton_io_file_write(journal->io, to, buffer, (uint64_t)got, done);
        if (r < 0)
            return r;
        done += (uint64_t)got;
    }
    return 0;
}

static int write_torn(baton_journal *journal, const char *from_path, const char *to_path,
                      const baton_torn_piece *piece)
{
    baton_io_file from = BATON_IO_NO_FILE;
    baton_io_file to = BATON_IO_NO_FILE;
    int r = baton_io_file_open(journal->io, from_path, BATON_IO_FOR_READ, &from);
    if (r < 0) {
        from = BATON_IO_NO_FILE;
        goto fail;
    }
    /* A begin that died may have left this very copy: the same bytes are written over it. */
    r = baton_io_file_open(journal->io, to_path, BATON_IO_FOR_WRITE | BATON_IO_CREATE_OR_OPEN, &to);
    if (r < 0) {
        to = BATON_IO_NO_FILE;
        goto fail;
    }
    r = copy_bytes(journal, from, piece->offset, piece->bytes, to);
    if (r == 0)
        r = baton_io_file_sync(journal->io, to);

fail:
    baton_io_file_close(journal->io, from);
    baton_io_file_close(journal->io, to);
    return r;
}

/* The torn bytes also stay where they are, void from the new header on, until that segment is
 * retired. So a disk too full for the copy is no reason to refuse. */
static int keep_piece(baton_journal *journal, const baton_torn_piece *piece,
                      const char *torn_directory, char ret_kept[JOURNAL_PATH_BYTES],
                      baton_error *error)
{
    char name[BATON_SEGMENT_NAME_BYTES];
    char from_path[JOURNAL_PATH_BYTES];
    char torn_name[96];
    baton_segment_name(piece->epoch, piece->index, name);
    journal_path(journal, name, from_path);
    (void)snprintf(torn_name, sizeof(torn_name),
                   "torn/%016" PRIx64 "-%016" PRIx64 "-%016" PRIx64 ".torn", piece->epoch,
                   piece->index, piece->offset);
    journal_path(journal, torn_name, ret_kept);
    int r = baton_io_directory_make(journal->io, torn_directory);
    if (r == 0)
        r = write_torn(journal, from_path, ret_kept, piece);
    if (r == 0)
        r = baton_io_directory_sync(journal->io, torn_directory);
    if (baton_io_is_full_disk(r)) {
        journal_ignore(baton_io_unlink(journal->io, ret_kept));
        memcpy(ret_kept, from_path, sizeof(from_path));
    } else if (r < 0) {
        return journal_error_system(error, r, "keep the torn bytes aside", ret_kept);
    }
    baton_log(WARN, "journal.torn_cut", BATON_LOG_TEXT("kept", ret_kept),
              BATON_LOG_NUMBER("bytes", piece->bytes), BATON_LOG_NUMBER("offset", piece->offset));
    return 0;
}

int journal_keep_torn(baton_journal *journal, baton_recovery_report *report, baton_error *error)
{
    const baton_recovery *recovery = &journal->recovery;
    char torn_directory[JOURNAL_PATH_BYTES];
    char kept[JOURNAL_PATH_BYTES] = "";
    journal_path(journal, "torn", torn_directory);
    for (uint32_t i = 0; i < recovery->torn_count; i++) {
        int r = keep_piece(journal, &recovery->torn[i], torn_directory, kept, error);
        if (r < 0)
            return r;
    }
    if (report)
        (void)snprintf(report->torn_path, sizeof(report->torn_path), "%.255s",
                       recovery->torn_count > 1 ? torn_directory : kept);
    return 0;
}

/* ---- the first segment ---- */

/* Nothing in them was ever acknowledged. Only when the new name is durable: it burns a higher
 * epoch than theirs. */
int journal_remove_ready(baton_journal *journal, baton_error *error)
{
    const baton_recovery *recovery = &journal->recovery;
    for (uint32_t i = 0; i < recovery->segments_count; i++) {
        const baton_segment_info *info = &recovery->segments[i];
        if (info->state != BATON_SEGMENT_READY)
            continue;
        char name[BATON_SEGMENT_NAME_BYTES];
        char path[JOURNAL_PATH_BYTES];
        baton_segment_name(info->epoch, info->index, name);
        journal_path(journal, name, path);
        int r = baton_io_unlink(journal->io, path);
        if (r < 0 && r != -ENOENT)
            return journal_error_system(error, r, "remove a ready segment of an earlier writer",
                                        path);
    }
    return 0;
}

static int make_first(baton_journal *journal, baton_error *error)
{
    journal_segment *segment = &journal->segments[0];
    const uint64_t burn = BATON_BREAK(REUSE_DEAD_SEGMENT) && journal->epoch_highest > 0 ? 0 : 1;
    journal_segment_start(journal, segment, journal->epoch_highest + burn,
                          journal->index_highest + burn, journal->first_segment_bytes);
    int r = journal_first_name(journal, segment, burn ? BATON_IO_CREATE : BATON_IO_CREATE_OR_OPEN);
    if (r < 0)
        return journal_error_system(error, r, "make the epoch's first segment", segment->path);
    r = journal_remove_ready(journal, error);
    if (r < 0) {
        journal_first_drop(journal, segment);
        return r;
    }
    r = journal_first_fill(journal, segment);
    if (r == 0) {
        journal->epoch = segment->epoch;
        r = journal_first_head(journal, segment);
        if (r == 0)
            return 0;
        /* Nothing was answered in this epoch yet: the file may go, whatever of its header is on
         * the disk. */
        journal->epoch = 0;
        journal_first_drop(journal, segment);
    }
    return journal_error_system(error, r, "make the epoch's first segment", segment->path);
}

/* ---- where it goes on ---- */

void journal_go_on(baton_journal *journal)
{
    const baton_recovery *recovery = &journal->recovery;
    journal->chain = (journal_chain){
        .position = recovery->report.last,
        .digest = recovery->last_digest,
        .index = recovery->last_index,
        .offset = recovery->last_offset,
        .last_time_ns = recovery->last_time_ns,
        .facts = recovery->facts,
    };
}

void journal_go_on_after(baton_journal *journal, baton_position after, baton_digest digest,
                         uint64_t last_time_ns, const baton_facts *facts)
{
    baton_recovery *recovery = &journal->recovery;
    recovery->report.last = after;
    recovery->last_digest = digest;
    recovery->last_index = after.batch != 0 ? 1 : 0;
    /* The least that a batch can end at. */
    recovery->last_offset = after.batch != 0 ? 2 * (uint64_t)BATON_IO_UNIT : 0;
    recovery->last_time_ns = last_time_ns;
    recovery->facts = *facts;
    journal->last_seq = after.seq;
    journal->last_time_ns = last_time_ns;
    journal->facts = *facts;
    journal->durable = after;
    if (journal->index_highest < recovery->last_index)
        journal->index_highest = recovery->last_index;
}

static int take_id(baton_journal *journal, baton_error *error)
{
    journal->id = journal->recovery.id;
    if (baton_digest_is_zero(journal->id) && getrandom(journal->id.bytes, sizeof(journal->id.bytes),
                                                       0) != (ssize_t)sizeof(journal->id.bytes))
        return journal_error_system(error, -EIO, "make the journal's random id",
                                    journal->directory);
    return 0;
}

int baton_journal_begin_after(baton_journal *journal, const baton_journal_origin *origin)
{
    if (journal->epoch != 0 || !journal->recovery.empty || !baton_digest_is_zero(journal->id) ||
        origin->after.epoch == 0 || origin->after.batch == 0 ||
        origin->epoch < origin->after.epoch || origin->epoch == UINT64_MAX)
        return BATON_E_INVALID;
    journal_go_on_after(journal, origin->after, origin->digest, origin->last_time_ns,
                        &origin->facts);
    if (journal->epoch_highest < origin->epoch)
        journal->epoch_highest = origin->epoch;
    return 0;
}

void journal_start_clock(baton_journal *journal)
{
    uint64_t wall_ns = baton_clock_wall_ns(journal->clock);
    journal->time_base_monotonic_ns = baton_clock_monotonic_ns(journal->clock);
    journal->time_base_wall_ns = wall_ns > journal->last_time_ns ? wall_ns : journal->last_time_ns;
    journal->idle_since_ns = journal->time_base_monotonic_ns;
    journal->flush_due_ns = journal->time_base_monotonic_ns + JOURNAL_FLUSH_NS;
    journal->wall_check_ns = journal->time_base_monotonic_ns;
}

uint64_t journal_oldest_index(const baton_journal *journal, const journal_segment *first)
{
    const baton_recovery *recovery = &journal->recovery;
    for (uint32_t i = 0; i < recovery->segments_count; i++) {
        if (recovery->segments[i].state == BATON_SEGMENT_ACCEPTED ||
            recovery->segments[i].state == BATON_SEGMENT_UNCHECKED)
            return recovery->segments[i].index;
    }
    return first ? first->index : 0;
}

static void stand_ready(baton_journal *journal)
{
    journal->oldest_index = journal_oldest_index(journal, &journal->segments[0]);
    journal_first_stand(journal, &journal->segments[0]);
    baton_log(INFO, "journal.begun", BATON_LOG_TEXT("dir", journal->directory),
              BATON_LOG_NUMBER("epoch", journal->epoch),
              BATON_LOG_NUMBER("last_seq", journal->last_seq));
}

static int begin_once(baton_journal *journal, baton_recovery_report *report, baton_error *error)
{
    journal_spares_clear(journal);
    int r = journal_flush_accepted(journal, error);
    if (r < 0)
        return r;
    r = journal_keep_torn(journal, report, error);
    if (r < 0)
        return r;
    r = take_id(journal, error);
    if (r < 0)
        return r;
    journal_go_on(journal);
    if (!journal->hint) {
        r = baton_hint_create(journal->io, journal->directory, &journal->hint);
        if (r < 0)
            return journal_error_system(error, r, "make the shared page HINT", journal->directory);
    }
    journal_start_clock(journal);
    return make_first(journal, error);
}

int journal_begin_files(baton_journal *journal, baton_error *error)
{
    int r = 0;
    if (journal->directory_file == BATON_IO_NO_FILE)
        r = baton_io_file_open(journal->io, journal->directory,
                               BATON_IO_FOR_READ | BATON_IO_DIRECTORY, &journal->directory_file);
    if (r < 0) {
        journal->directory_file = BATON_IO_NO_FILE;
        return journal_error_system(error, r, "open the journal's directory", journal->directory);
    }
    r = journal_ballast_find(journal);
    if (r < 0)
        return journal_error_system(error, r, "look at the ballast", journal->ballast_path);
    return 0;
}

int baton_journal_begin(baton_journal *journal, baton_recovery_report *report, baton_error *error)
{
    if (journal->epoch != 0 || journal->following)
        return baton_error_set(error, BATON_E_INVALID, "begin an epoch",
                               "this journal has one already, or follows another one",
                               "call begin once; a follower is promoted");
    int r = journal_begin_files(journal, error);
    if (r < 0)
        return r;
    r = begin_once(journal, report, error);
    if (r == BATON_E_NO_SPACE || baton_io_is_full_disk(r)) {
        if (journal_ballast_give_up(journal))
            r = begin_once(journal, report, error);
    }
    if (r < 0)
        return baton_io_is_full_disk(r) ? BATON_E_NO_SPACE : r;
    stand_ready(journal);
    return 0;
}
