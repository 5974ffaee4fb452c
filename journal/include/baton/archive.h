/* baton/archive.h: keep segments before they are retired (exchanges must keep years).
 *
 *     baton_archive_options archive = {.directory = "/mnt/archive/orders"};
 *     baton_archiver *archiver;
 *     r = baton_archiver_open(&archive, &archiver, &error);
 *     journal_options.archive = baton_archiver_ask;
 *     journal_options.archive_context = archiver;
 *
 * A segment goes only when it was archived. Archiving happens in a thread of its own, so
 * baton_journal_retire never waits for it: the first call asks, a later one finds it done. A
 * failure is tried again, after 1 s, then ever later up to 60 s, until it works: the journal keeps
 * its segments meanwhile, and commits go on as long as the disk has room. It is logged, and counted
 * in baton_journal_archive_failures_total; baton_journal_archive_failing is 1 meanwhile.
 *
 * Threads: one archiver belongs to one journal, and to that one's thread. */
#pragma once

#include <baton/metrics.h>
#include <baton/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct baton_archiver baton_archiver;

/* Exactly one of the two. */
typedef struct {
    /* Copied there under its own name: written as NAME.partial, flushed, then named. A file that
     * stands there under that name and differs is never replaced: that is a failure. It must exist,
     * and belong to one journal alone. */
    const char *directory;
    /* Run by /bin/sh with the segment's path as its one argument; exit status 0 says that it is
     * safe. It may be run again for a segment that it has kept already. A hard link is a copy, too:
     * a segment that has one is removed, not used again. The process must not ignore SIGCHLD. */
    const char *command;
    uint64_t retry_ns;      /* first wait after a failure; 0: 1 s */
    baton_metrics *metrics; /* NULL: none; must outlive the archiver */
} baton_archive_options;

/* Errors: BATON_E_INVALID (none or both are given), -errno (the directory can't be opened). */
BATON_MUST_USE int baton_archiver_open(const baton_archive_options *options,
                                       baton_archiver **ret_archiver, baton_error *error);
/* Stops what is under way: a copy is removed, a command is ended. NULL is fine. */
void baton_archiver_close(baton_archiver *archiver);
/* For baton_journal_options.archive: 0 when this segment was archived; else it is asked for, or
 * under way. context: the archiver. */
int baton_archiver_ask(void *context, const char *path);
/* Readable when a segment was archived since the last answer 0 or the last call: time to retire
 * again. Owned by the archiver; baton_archiver_ask makes it quiet. */
int baton_archiver_fd(const baton_archiver *archiver);

#ifdef __cplusplus
}
#endif
