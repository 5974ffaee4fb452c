/* snapshot/schema.h: what a service declares of its sections, between pack.c, unpack.c and the
 * table. Knows no bytes. */
#pragma once

#include "snapshot/format.h"
#include "snapshot/store.h"

static_assert(BATON_ROW_FIELDS_MAX == BATON_SNAPSHOT_FIELDS_MAX, "a row of the format fits");

/* Baton's own, which no service declares. */
bool baton_section_is_ours(const char *name);
/* NULL: not declared. */
const baton_section *baton_schema_find(const baton_schema_table *table, const char *name);
bool baton_section_is_of(const baton_section *section, uint32_t schema);
/* As many fields as a row of the newest schema may have? */
bool baton_section_fields_fit(const baton_section *section, uint32_t fields_count);
/* Step by step; the result's number of fields is checked. 0 or an error. */
BATON_MUST_USE int baton_row_upgrade(const baton_schema_table *table, const baton_section *section,
                                     uint32_t from_schema, baton_row *row);
BATON_MUST_USE int baton_row_downgrade(const baton_schema_table *table,
                                       const baton_section *section, uint32_t to_schema,
                                       baton_row *row);
