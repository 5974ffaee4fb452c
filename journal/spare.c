/* journal/spare.c: retired segments that are used again (docs/adr/0006). Their extents are there and
 * were written before, so making the next segment of one allocates nothing, converts nothing, and
 * works on a full disk. What it held stays there until batches are written over it, and is told from
 * them by epoch and number (J4): evidence.c.
 *
 * What must be durable before what: the new name of a retired segment before a byte of it changes,
 * for until then the journal may begin with it after a crash; the zeros of its first and last unit
 * before it gets a segment's name again; that name before it is used (J3).
 *
 * Only what this very writer wrote and finished is kept: no write of a dead one can still be under
 * way into it (J10). Others' spares are removed by the next begin. */
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/journal_private.h"

#define EXTENTS_AT_ONCE 32u

void journal_spares_clear(baton_journal *journal)
{
    for (uint32_t i = 0; i < JOURNAL_SPARES_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "SPARE-%u", i);
        journal_path(journal, name, journal->spare_paths[i]);
        journal_ignore(baton_io_unlink(journal->io, journal->spare_paths[i]));
        journal->spares[i] = SPARE_NONE;
    }
}

/* No extent that a clone of the file shares (`cp` makes one where it can), or that was never written:
 * the first write there allocates. Where a file system can't say, there are none. */
static bool extents_are_written_and_ours(const char *path)
{
    struct {
        struct fiemap map;
        struct fiemap_extent room[EXTENTS_AT_ONCE];
    } query;
    const struct fiemap_extent *extents = query.map.fm_extents;
    bool ours = true;
    bool more = true;
    uint64_t start = 0;

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    while (ours && more) {
        query.map = (struct fiemap){.fm_start = start,
                                    .fm_length = FIEMAP_MAX_OFFSET - start,
                                    .fm_extent_count = EXTENTS_AT_ONCE};
        if (ioctl(fd, FS_IOC_FIEMAP, &query.map) < 0)
            break;
        more = query.map.fm_mapped_extents > 0;
        for (uint32_t i = 0; i < query.map.fm_mapped_extents; i++) {
            ours &= !(extents[i].fe_flags & (FIEMAP_EXTENT_SHARED | FIEMAP_EXTENT_UNWRITTEN));
            more &= !(extents[i].fe_flags & FIEMAP_EXTENT_LAST);
            start = extents[i].fe_logical + extents[i].fe_length;
        }
    }
    (void)close(fd);
    return ours;
}

/* An archive or a backup made of hard links has this very file: it may be unlinked here, never
 * written anew. And of one that somebody has cut short, punched holes into or cloned, the missing
 * blocks would be allocated by the commits (J3, J6). */
static bool may_be_written_anew(const baton_journal *journal, const char *path)
{
    struct stat status;
    if (stat(path, &status) < 0) /* simulated */
        return true;
    return status.st_nlink == 1 && (uint64_t)status.st_size == journal->segment_bytes &&
           (uint64_t)status.st_blocks * 512 >= journal->segment_bytes &&
           extents_are_written_and_ours(path);
}

bool journal_spare_keep(baton_journal *journal, const char *path)
{
    if (journal->no_spares || !may_be_written_anew(journal, path))
        return false;
    for (uint32_t i = 0; i < JOURNAL_SPARES_MAX; i++) {
        if (journal->spares[i] != SPARE_NONE)
            continue;
        if (baton_io_rename(journal->io, path, journal->spare_paths[i]) < 0)
            return false;
        journal->spares[i] = SPARE_NAMED;
        return true;
    }
    return false;
}

/* Where the flush failed, nobody knows which name will be there after a crash: the bytes stay as
 * they are. */
void journal_spares_named(baton_journal *journal, bool durable)
{
    for (uint32_t i = 0; i < JOURNAL_SPARES_MAX; i++) {
        if (journal->spares[i] != SPARE_NAMED)
            continue;
        if (!durable)
            journal_ignore(baton_io_unlink(journal->io, journal->spare_paths[i]));
        journal->spares[i] = durable ? SPARE_THERE : SPARE_NONE;
    }
}

uint32_t journal_spare_find(const baton_journal *journal, uint64_t bytes)
{
    uint32_t at = 0;
    while (at < JOURNAL_SPARES_MAX && journal->spares[at] != SPARE_THERE)
        at++;
    return bytes == journal->segment_bytes ? at : JOURNAL_SPARES_MAX;
}
