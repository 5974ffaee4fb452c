/* tests/unit/journal_pair.h: an active's directory and a standby's, for the tests of a standby's journal
 * (journal/follow.h). One pair at a time. */
#pragma once

#include "journal/follow.h"
#include "tests/unit/journal_fixture.h"

extern test_dir pair_dir;
extern char pair_active_dir[TEST_PATH_BYTES];
extern char pair_standby_dir[TEST_PATH_BYTES];
extern baton_journal_options pair_options; /* the standby's */

/* Both directories are new and empty. */
void pair_set_up(const char *name, baton_backend backend);
void pair_tear_down(void);

void pair_fail_on(int r, const baton_error *error);
void pair_expect_status(int r, int expected, const baton_error *error);

/* The active: a root record, durable; an epoch of several segments, with records and marks, with a
 * dirty end or a close mark. */
void pair_append_record(baton_journal *journal, uint64_t seq);
void pair_write_epoch(uint32_t entries, bool close_it);

/* The standby. *ret_journal is NULL after an error. */
int pair_try_begin_standby(const char *directory, baton_journal **ret_journal);
baton_reader *pair_open_source(const baton_journal *standby);
/* One batch; waits for those before it where there is no room. */
int pair_take(baton_journal *standby, const baton_batch_header *batch, baton_error *error);
/* Everything that the reader has, up to `most` batches. Counts them in *ret_batches. */
int pair_follow_some(baton_journal *standby, uint32_t most, uint32_t *ret_batches);
/* All of it, until it is durable. */
uint32_t pair_follow_all(baton_journal *standby);
/* From the standby's first batch on, each batch of it is the active's, to the byte. */
uint32_t pair_expect_same_batches(const char *standby);
void pair_promote(baton_journal *standby, uint64_t epoch);
