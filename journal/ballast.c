/* journal/ballast.c: the file BALLAST keeps as much room as an open's first segment needs. A
 * begin that finds the disk full gives it up, so that a service can still come back and drain;
 * it is made again when there is space (J6). */
#include <errno.h>

#include <baton/log.h>

#include "journal/journal_private.h"

#define BALLAST_MARGIN_BYTES                                                                       \
    (256u * 1024u) /* HINT, the directory's blocks, the file system's own */
#define BALLAST_RETRY_NS (UINT64_C(2) * JOURNAL_SECOND_NS)

static uint64_t ballast_bytes(const baton_journal *journal)
{
    return journal->first_segment_bytes + BALLAST_MARGIN_BYTES;
}

int journal_ballast_find(baton_journal *journal)
{
    journal_path(journal, "BALLAST", journal->ballast_path);
    if (journal->ballast == BALLAST_UNWANTED)
        return 0;
    baton_io_file file;
    uint64_t bytes = 0;
    int r = baton_io_file_open(journal->io, journal->ballast_path, BATON_IO_FOR_READ, &file);
    if (r == 0) {
        r = baton_io_file_size(journal->io, file, &bytes);
        baton_io_file_close(journal->io, file);
    }
    if (r < 0 && r != -ENOENT)
        return r;
    journal->ballast = bytes >= ballast_bytes(journal) ? BALLAST_THERE : BALLAST_MISSING;
    return 0;
}

/* True when room was freed by it. */
bool journal_ballast_give_up(baton_journal *journal)
{
    if (baton_io_unlink(journal->io, journal->ballast_path) < 0)
        return false;
    /* Some file systems free at a commit only. */
    journal_ignore(baton_io_directory_sync(journal->io, journal->directory));
    if (journal->ballast != BALLAST_UNWANTED)
        journal->ballast = BALLAST_MISSING;
    baton_log(WARN, "journal.ballast_given_up", BATON_LOG_TEXT("path", journal->ballast_path),
              BATON_LOG_NUMBER("bytes", ballast_bytes(journal)));
    return true;
}

static void step(baton_journal *journal, journal_ballast_state state, baton_io_op op)
{
    journal->ballast = state;
    journal->ballast_op = op;
    journal->ballast_op.tag = TAG_BALLAST;
    journal_queue(journal, &journal->ballast_op);
    journal->ballast_busy = journal->broken == 0;
}

/* No entry depends on the ballast: any failure only means a later try. */
static void allocated(baton_journal *journal, uint64_t now_ns)
{
    baton_io_file_close(journal->io, journal->ballast_op.file);
    if (journal->ballast_op.result >= 0) {
        journal->ballast = BALLAST_THERE;
        return;
    }
    journal->ballast_retry_ns = now_ns + BALLAST_RETRY_NS;
    step(journal, BALLAST_REMOVING,
         (baton_io_op){.kind = BATON_IO_UNLINK, .path = journal->ballast_path});
}

void journal_ballast_act(baton_journal *journal, uint64_t now_ns)
{
    if (journal->broken || journal->ballast_busy || journal->closing)
        return;
    switch (journal->ballast) {
    case BALLAST_MISSING: /* the next segment comes first */
        if (journal->next && journal->next->state == SEGMENT_PREPARED &&
            now_ns >= journal->ballast_retry_ns)
            step(journal, BALLAST_OPENING,
                 (baton_io_op){.kind = BATON_IO_OPEN,
                               .path = journal->ballast_path,
                               .open_flags = BATON_IO_FOR_WRITE | BATON_IO_CREATE_OR_OPEN});
        break;
    case BALLAST_OPENING:
        if (journal->ballast_op.result < 0) {
            journal->ballast_retry_ns = now_ns + BALLAST_RETRY_NS;
            journal->ballast = BALLAST_MISSING;
            break;
        }
        step(journal, BALLAST_ALLOCATING,
             (baton_io_op){.kind = BATON_IO_ALLOCATE,
                           .file = (baton_io_file)journal->ballast_op.result,
                           .bytes = ballast_bytes(journal)});
        break;
    case BALLAST_ALLOCATING:
        allocated(journal, now_ns);
        break;
    case BALLAST_REMOVING:
        journal->ballast = BALLAST_MISSING;
        break;
    case BALLAST_UNWANTED:
    case BALLAST_THERE:
        break;
    }
}
