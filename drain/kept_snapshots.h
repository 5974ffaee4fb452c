/* drain/kept_snapshots.h: the snapshots in a standby's own directory, before its engine opens: what is there,
 * and how one gets there that comes from elsewhere. */
#pragma once

#include "drain/pace.h"
#include "snapshot/store.h"

/* Writes the file of a snapshot, its chunks or its manifest, to fd. */
typedef int (*baton_kept_fill)(void *context, int fd, bool manifest, baton_error *error);

/* Both files, each under its name only when it is whole and flushed; the manifest last (S1). The
 * directory is made when it is missing. They are not judged yet. What fails leaves neither. */
BATON_MUST_USE int baton_kept_take(const char *directory, uint64_t seq, uint64_t epoch,
                                   baton_kept_fill fill, void *context, baton_error *error);
/* The same by a second name for files that are durable, and never written again. -errno. */
BATON_MUST_USE int baton_kept_link(const char *from, const char *directory, uint64_t seq,
                                   uint64_t epoch);
/* What was taken is not what it should be: nothing stays that claims to be a snapshot. */
void baton_kept_give_up(const char *directory, uint64_t seq, uint64_t epoch);

bool baton_kept_is_listed(const char *directory, baton_digest root);
/* 1: it is there, every chunk of it is good, and what it adds to is there. error: why it is not good. Or
 * what the pace's watch ends it with. */
BATON_MUST_USE int baton_kept_is_good(const char *directory, baton_digest root, baton_pace *pace,
                                      baton_error *error);
/* The root of what that one adds to. Zero: it stands alone, or is not there. */
baton_digest baton_kept_parent(const char *directory, baton_digest root);

BATON_MUST_USE int baton_kept_write(int fd, const void *bytes, size_t count, uint64_t offset);
