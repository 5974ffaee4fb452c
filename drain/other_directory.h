/* drain/other_directory.h: another instance's directory, as one that decides about authority looks at it
 * (R5, R6). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <baton/status.h>

/* The highest epoch in the names of segments in DIRECTORY/journal, whatever the files hold; 0: none. */
BATON_MUST_USE int baton_highest_name(const char *directory, uint64_t *ret_epoch);
/* Of those whose header is valid there and names no follower; what was found is flushed first (R9). */
BATON_MUST_USE int baton_highest_header(const char *directory, uint64_t *ret_epoch);
/* Everything in it, and the directory itself. */
BATON_MUST_USE int baton_flush_journal(const char *directory);
/* LOCK of DIRECTORY/journal, at once or not: *ret_fd holds it until it is closed. BATON_E_LOCKED:
 * somebody lives there; -errno. */
BATON_MUST_USE int baton_lock_other(const char *directory, int *ret_fd);
