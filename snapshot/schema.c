/* snapshot/schema.c: see schema.h. */
#include "snapshot/schema.h"

#include <string.h>

#include "snapshot/manifest.h"

bool baton_section_is_ours(const char *name)
{
    return strncmp(name, "baton.", 6) == 0;
}

const baton_section *baton_schema_find(const baton_schema_table *table, const char *name)
{
    for (uint32_t i = 0; i < table->sections_count; i++)
        if (strcmp(table->sections[i].name, name) == 0)
            return &table->sections[i];
    return NULL;
}

bool baton_section_is_of(const baton_section *section, uint32_t schema)
{
    return section->since_schema <= schema &&
           (section->until_schema == 0 || schema <= section->until_schema);
}

bool baton_section_fields_fit(const baton_section *section, uint32_t fields_count)
{
    return fields_count >= section->fields_required && fields_count <= section->fields_known;
}

static const char *section_fault(const baton_schema_table *table, const baton_section *section)
{
    if (section->name == NULL || !baton_section_name_valid(section->name) ||
        baton_section_is_ours(section->name))
        return "a section's name must be 1 to 47 of a-z, 0-9, '.', '_', '-', and not begin with "
               "baton.";
    if (baton_schema_find(table, section->name) != section)
        return "a section is declared twice";
    if (section->since_schema < 1 || section->since_schema > table->newest)
        return "a section's since_schema must be 1 or more, and at most schema.write";
    if (section->until_schema != 0 &&
        (section->until_schema < section->since_schema || section->until_schema >= table->newest))
        return "a section's until_schema must be since_schema or more, and below schema.write";
    if (section->fields_required < 1 || section->fields_required > section->fields_known ||
        section->fields_known > BATON_ROW_FIELDS_MAX)
        return "a section's fields must be 1 to 256, fields_required at most fields_known";
    if ((section->upgrade == NULL) != (section->downgrade == NULL))
        return "a section has a way up and none down, or the other way round";
    return NULL;
}

const char *baton_schema_table_fault(const baton_schema_table *table)
{
    if (table->sections_count > BATON_SNAPSHOT_SECTIONS_MAX)
        return "it declares too many sections";
    for (uint32_t i = 0; i < table->sections_count; i++) {
        const char *fault = section_fault(table, &table->sections[i]);
        if (fault != NULL)
            return fault;
    }
    return NULL;
}

/* What a service's function left is not trusted further than what it packs. */
static int one_step(int (*convert)(uint32_t schema, baton_row *row), uint32_t schema,
                    baton_row *row)
{
    const int r = convert(schema, row);
    if (r != 0)
        return r > 0 ? BATON_E_SCHEMA : r;
    return row->fields_count >= 1 && row->fields_count <= BATON_ROW_FIELDS_MAX ? 0
                                                                               : BATON_E_INVALID;
}

int baton_row_upgrade(const baton_schema_table *table, const baton_section *section,
                      uint32_t from_schema, baton_row *row)
{
    for (uint32_t schema = from_schema; schema < table->newest; schema++) {
        const int r = one_step(section->upgrade, schema, row);
        if (r < 0)
            return r;
    }
    return baton_section_fields_fit(section, row->fields_count) ? 0 : BATON_E_SCHEMA;
}

int baton_row_downgrade(const baton_schema_table *table, const baton_section *section,
                        uint32_t to_schema, baton_row *row)
{
    for (uint32_t schema = table->newest; schema > to_schema; schema--) {
        const int r = one_step(section->downgrade, schema - 1, row);
        if (r < 0)
            return r;
    }
    return 0;
}
