/* examples/exchange/clients/rows.h: rows of numbers in snapshots, and the outcomes of all clients as such rows:
 * for the snapshot and restore functions of the services. */
#pragma once

#include <baton/snapshot.h>

#include "examples/exchange/clients/clients.h"
#include "examples/exchange/clients/sources.h"

enum { OUTCOME_FIELDS = 7 };

#define ROWS_ALL_UNSIGNED UINT32_MAX
/* The next row, which must have fields_count numbers, all unsigned but the one at signed_index. 1, 0 at the
 * section's end, or an error. */
BATON_MUST_USE int rows_next(baton_snapshot_reader *reader, uint64_t *fields, uint32_t fields_count,
                             uint32_t signed_index);
/* For a section that has one row and no more. */
BATON_MUST_USE int rows_only(baton_snapshot_reader *reader, const char *section, uint64_t *fields,
                             uint32_t fields_count);
void rows_pack(baton_snapshot_writer *writer, const uint64_t *fields, uint32_t fields_count,
               uint32_t signed_index);

/* Section "outcomes". BATON_E_FULL: more clients than there may be. */
void rows_pack_outcomes(baton_snapshot_writer *writer, const clients *table);
BATON_MUST_USE int rows_restore_outcomes(baton_snapshot_reader *reader, clients *table);
/* Section "sources". */
void rows_pack_sources(baton_snapshot_writer *writer, const sources *own);
BATON_MUST_USE int rows_restore_sources(baton_snapshot_reader *reader, sources *own);
