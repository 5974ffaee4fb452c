/* journal/archive_copy.h: what the archiver's thread does with one segment. Blocking calls. */
#pragma once

#include <stdatomic.h>

#include <baton/status.h>

/* Copy the file at path into the directory, under its own name; the same file there already is
 * fine, another one is -EEXIST. *stop: give up, -ECANCELED. 0 or -errno; it is durable then. */
BATON_MUST_USE int baton_archive_copy(const char *path, const char *directory,
                                      const atomic_bool *stop);
/* Run command with path as its argument. 0: exit status 0; BATON_E_REFUSED: another one, or a
 * signal (*ret_status as waitpid gives it); -ECANCELED; -errno. */
BATON_MUST_USE int baton_archive_command(const char *path, const char *command,
                                         const atomic_bool *stop, int *ret_status);
