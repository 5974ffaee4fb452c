/* drain/other_directory.h: another instance's directory, as one that decides about authority looks at it
 * (R5, R6). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <baton/journal.h>

static inline uint64_t baton_higher_epoch(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The highest epoch in the names of segments in DIRECTORY/journal, whatever the files hold; 0: none. */
BATON_MUST_USE int baton_highest_name(const char *directory, uint64_t *ret_epoch);
/* Of those whose header is valid there and names no follower; what was found is flushed first (R9). */
BATON_MUST_USE int baton_highest_header(const char *directory, uint64_t *ret_epoch);
/* Does a header of its own, of just this epoch, stand there? */
BATON_MUST_USE int baton_is_begun(const char *directory, uint64_t epoch, bool *ret_begun);
/* Where its first term of epoch `from` or above began: the batch before it, and that one's digest. 0, and
 * zeros: there is none. */
BATON_MUST_USE int baton_begun_after(const char *directory, uint64_t from,
                                     baton_position *ret_position, baton_digest *ret_digest);
/* Do headers stand there, and none of this journal's? */
BATON_MUST_USE int baton_holds_other_journal(const char *directory, baton_digest id,
                                             bool *ret_other);
/* Everything in it, and the directory itself. */
BATON_MUST_USE int baton_flush_journal(const char *directory);
/* LOCK of DIRECTORY/journal, at once or not: *ret_fd holds it until it is closed. BATON_E_LOCKED:
 * somebody lives there; -errno. */
BATON_MUST_USE int baton_lock_other(const char *directory, int *ret_fd);
