/* tests/unit/snapshot_schema_test.c: sections and rows of one schema for a service of another (S3,
 * E4, E7). The service: "people" since schema 1, whose rows grew twice; "notes" since 2; "old" in
 * schema 1 only; "hints" since 1, optional. */
#include "tests/unit/snapshot_fixture.h"
#include "tests/unit/snapshot_place.h"

#include <stdlib.h>
#include <string.h>

#include "snapshot/format.h"

#define NEWEST 3u
#define PEOPLE 300u

static const CMFixtureFunction set_up = place_make_auto, tear_down = place_remove;

/* ---- the service ---- */

/* 1: id, name. 2: and height, 0 when nobody knows. 3: the key in front of it. */
static int upgrade_people(uint32_t from, baton_row *row)
{
    if (row->fields_count != from + 1)
        return BATON_E_SCHEMA;
    if (from == 2) {
        memmove(row->fields + 1, row->fields, row->fields_count * sizeof(*row->fields));
        row->fields[0] = (baton_value){.kind = BATON_VALUE_BYTES, .bytes = "key", .bytes_count = 3};
    } else {
        row->fields[row->fields_count] = (baton_value){.kind = BATON_VALUE_UINT};
    }
    row->fields_count++;
    return 0;
}

static int downgrade_people(uint32_t to, baton_row *row)
{
    row->fields_count--;
    if (to == 2)
        memmove(row->fields, row->fields + 1, row->fields_count * sizeof(*row->fields));
    else if (row->fields[row->fields_count].number > 2000)
        return BATON_E_SCHEMA; /* too tall for schema 1 */
    return 0;
}

static const baton_section sections[] = {
    {.name = "people",
     .since_schema = 1,
     .fields_required = 4,
     .fields_known = 4,
     .upgrade = upgrade_people,
     .downgrade = downgrade_people},
    {.name = "notes", .since_schema = 2, .fields_required = 1, .fields_known = 2},
    {.name = "old", .since_schema = 1, .until_schema = 1, .fields_required = 1, .fields_known = 1},
    {.name = "hints", .since_schema = 1, .fields_required = 1, .fields_known = 1, .optional = true},
};
static const baton_schema_table table = {sections, 4, NEWEST};

/* As that build wrote it, without a table. */
static void pack_person(baton_snapshot_writer *writer, uint32_t schema, uint32_t id,
                        uint64_t height)
{
    char name[16];
    memset(name, 'a' + (int)(id % 26), sizeof(name));
    name[id % 15 + 1] = '\0';
    baton_pack_row(writer, schema + 1);
    if (schema == 3)
        baton_pack_bytes(writer, "key", 3);
    baton_pack_int(writer, (int64_t)id - 100);
    baton_pack_text(writer, name);
    if (schema >= 2)
        baton_pack_uint(writer, height);
}

static void pack_one_of(baton_snapshot_writer *writer, const char *section, uint32_t fields)
{
    baton_pack_section(writer, section);
    baton_pack_row(writer, fields);
    for (uint32_t i = 0; i < fields; i++)
        baton_pack_uint(writer, 5);
}

/* rows in the schema `rows`, the sections of `schema`. */
static void pack_all(baton_snapshot_writer *writer, uint32_t schema, uint32_t rows)
{
    baton_pack_section(writer, "people");
    for (uint32_t i = 0; i < PEOPLE; i++)
        pack_person(writer, rows, i, 0);
    if (schema >= 2)
        pack_one_of(writer, "notes", 2);
    else
        pack_one_of(writer, "old", 1);
    pack_one_of(writer, "hints", 1);
}

static baton_snapshot_writer *new_writer(void)
{
    baton_snapshot_writer *writer = NULL;
    const baton_snapshot_options options = {.compress = BATON_COMPRESS_RAW, .chunk_bytes = 4096};
    assert_int_equal(baton_snapshot_writer_create(&options, &writer), 0);
    return writer;
}

static baton_snapshot_info info_of(uint32_t schema)
{
    baton_snapshot_info info = fixture_info(1, 1);
    info.schema = schema;
    return info;
}

static baton_snapshot_reader *read_back(baton_snapshot_writer *writer, uint32_t schema)
{
    baton_snapshot_info info = info_of(schema);
    baton_snapshot_reader *reader = NULL;
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), 0);
    assert_int_equal(baton_snapshot_publish(io, dir.path, writer, &info, NULL), 0);
    const baton_snapshot_listed listed = fixture_listed(io, dir.path, 1);
    assert_int_equal(baton_snapshot_reader_open(io, dir.path, &listed, &reader, NULL), 0);
    return reader;
}

/* ---- writing ---- */

static void an_older_schema_is_written_as_the_older_build_wrote_it(void **state)
{
    (void)state;
    for (uint32_t schema = 1; schema <= NEWEST; schema++) {
        baton_snapshot_info was = info_of(schema);
        baton_snapshot_info is = info_of(schema);
        baton_snapshot_writer *old = new_writer();
        baton_snapshot_writer *declared = new_writer();
        pack_all(old, schema, schema);
        assert_int_equal(baton_snapshot_writer_finish(old, &was), 0);

        assert_int_equal(baton_snapshot_writer_declare(declared, &table, schema), 0);
        baton_pack_section(declared, "people");
        for (uint32_t i = 0; i < PEOPLE; i++)
            pack_person(declared, NEWEST, i, 0);
        pack_one_of(declared, "notes", 2);
        pack_one_of(declared, "old", 1);
        pack_one_of(declared, "hints", 1);
        assert_int_equal(baton_snapshot_writer_finish(declared, &is), 0);
        assert_memory_equal(&was.root, &is.root, sizeof(was.root));
        baton_snapshot_writer_destroy(old);
        baton_snapshot_writer_destroy(declared);
    }
}

static int as_it_is(uint32_t schema, baton_row *row)
{
    (void)schema;
    (void)row;
    return 0;
}

static void nothing_is_a_text_and_bytes_in_an_older_schema_too(void **state)
{
    (void)state;
    static const baton_section words = {.name = "words",
                                        .since_schema = 1,
                                        .fields_required = 2,
                                        .fields_known = 2,
                                        .upgrade = as_it_is,
                                        .downgrade = as_it_is};
    const baton_schema_table of_words = {&words, 1, 2};
    for (uint32_t schema = 1; schema <= 2; schema++) {
        baton_snapshot_info info = info_of(schema);
        baton_snapshot_writer *writer = new_writer();
        assert_int_equal(baton_snapshot_writer_declare(writer, &of_words, schema), 0);
        baton_pack_section(writer, "words");
        for (int i = 0; i < 2; i++) {
            baton_pack_row(writer, 2);
            baton_pack_text(writer, i == 0 ? "" : "word");
            baton_pack_bytes(writer, "", 0);
        }
        assert_int_equal(baton_snapshot_writer_finish(writer, &info), 0);
        baton_snapshot_writer_destroy(writer);
    }
}

static void a_row_that_the_older_schema_can_t_hold_is_an_error(void **state)
{
    (void)state;
    baton_snapshot_writer *writer = new_writer();
    assert_int_equal(baton_snapshot_writer_declare(writer, &table, 1), 0);
    baton_pack_section(writer, "people");
    pack_person(writer, NEWEST, 1, 1999);
    assert_int_equal(baton_pack_error(writer), 0);
    pack_person(writer, NEWEST, 2, 2001);
    assert_int_equal(baton_pack_error(writer), BATON_E_SCHEMA);
    baton_snapshot_writer_destroy(writer);
}

static void what_is_not_declared_is_not_written(void **state)
{
    (void)state;
    for (uint32_t schema = 1; schema <= NEWEST; schema++) {
        baton_snapshot_writer *writer = new_writer();
        assert_int_equal(baton_snapshot_writer_declare(writer, &table, schema), 0);
        pack_one_of(writer, "baton.engine", 1); /* Baton's own is none of the table's */
        assert_int_equal(baton_pack_error(writer), 0);
        pack_one_of(writer, "others", 1);
        assert_int_equal(baton_pack_error(writer), BATON_E_SCHEMA);
        baton_snapshot_writer_destroy(writer);

        static const uint32_t wrong[] = {3, 5};
        for (uint32_t i = 0; i < 2; i++) {
            writer = new_writer();
            assert_int_equal(baton_snapshot_writer_declare(writer, &table, schema), 0);
            pack_one_of(writer, "people", wrong[i]);
            assert_int_equal(baton_pack_error(writer), BATON_E_INVALID);
            baton_snapshot_writer_destroy(writer);
        }
    }
}

/* ---- reading ---- */

static void check_person(baton_snapshot_reader *reader, uint32_t i)
{
    uint32_t fields;
    uint32_t bytes;
    uint64_t height;
    int64_t id;
    const char *text;
    const void *key;
    assert_int_equal(baton_unpack_row(reader, &fields), 1);
    assert_int_equal(fields, 4);
    assert_int_equal(baton_unpack_uint(reader, &height), BATON_E_SCHEMA); /* it is no number */
    assert_int_equal(baton_unpack_bytes(reader, &key, &bytes), 0);
    assert_int_equal(bytes, 3);
    assert_int_equal(baton_unpack_int(reader, &id), 0);
    assert_int_equal(id, (int64_t)i - 100);
    assert_int_equal(baton_unpack_text(reader, &text, &bytes), 0);
    assert_int_equal(bytes, i % 15 + 1);
    assert_int_equal(text[bytes - 1], 'a' + (int)(i % 26));
    assert_memory_equal(key, "key", 3);
    assert_int_equal(baton_unpack_uint(reader, &height), 0);
    assert_int_equal(height, 0);
    assert_int_equal(baton_unpack_uint(reader, &height), BATON_E_SCHEMA); /* no more */
}

static void every_older_schema_is_read_as_the_newest(void **state)
{
    (void)state;
    for (uint32_t schema = 1; schema <= NEWEST; schema++) {
        baton_snapshot_writer *writer = new_writer();
        uint32_t fields;
        pack_all(writer, schema, schema);
        baton_snapshot_reader *reader = read_back(writer, schema);
        assert_int_equal(baton_snapshot_reader_declare(reader, &table, NULL), 0);
        assert_int_equal(baton_unpack_section(reader, "people"), 0);
        for (uint32_t i = 0; i < PEOPLE; i++)
            check_person(reader, i);
        assert_int_equal(baton_unpack_row(reader, &fields), 0);
        /* What that schema does not have has no rows. */
        assert_int_equal(baton_unpack_section(reader, "notes"), 0);
        assert_int_equal(baton_unpack_row(reader, &fields), schema >= 2 ? 1 : 0);
        if (schema == 1)
            assert_string_equal(baton_snapshot_reader_unread(reader), "old");
        assert_int_equal(baton_unpack_section(reader, "old"), 0);
        assert_int_equal(baton_unpack_row(reader, &fields), schema == 1 ? 1 : 0);
        assert_null(baton_snapshot_reader_unread(reader)); /* "hints" is optional */
        assert_int_equal(baton_unpack_section(reader, "others"), BATON_E_NOT_FOUND);
        baton_snapshot_reader_close(reader);
        assert_int_equal(baton_snapshot_remove(io, dir.path, 1, 1), 0);
    }
}

static void refused(baton_snapshot_writer *writer, uint32_t schema, const char *why)
{
    baton_error error = {0};
    baton_snapshot_reader *reader = read_back(writer, schema);
    assert_int_equal(baton_snapshot_reader_declare(reader, &table, &error), BATON_E_SCHEMA);
    if (strstr(error.why, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.why, why);
    baton_snapshot_reader_close(reader);
    assert_int_equal(baton_snapshot_remove(io, dir.path, 1, 1), 0);
}

static void unknown_and_missing_sections_are_refused_by_name(void **state)
{
    (void)state;
    baton_snapshot_writer *writer = new_writer();
    pack_all(writer, NEWEST, NEWEST);
    pack_one_of(writer, "later", 1);
    refused(writer, NEWEST, "does not know its section later");

    writer = new_writer();
    pack_all(writer, 2, 2);
    pack_one_of(writer, "old", 1);
    refused(writer, 2, "that schema has no section old");

    writer = new_writer();
    pack_one_of(writer, "notes", 1);
    refused(writer, 2, "it lacks its section people");
}

static void an_optional_section_may_be_missing(void **state)
{
    (void)state;
    uint32_t fields;
    baton_snapshot_writer *writer = new_writer();
    baton_pack_section(writer, "people");
    baton_pack_section(writer, "notes");
    baton_snapshot_reader *reader = read_back(writer, NEWEST);
    assert_int_equal(baton_snapshot_reader_declare(reader, &table, NULL), 0);
    assert_int_equal(baton_unpack_section(reader, "hints"), 0);
    assert_int_equal(baton_unpack_row(reader, &fields), 0);
    baton_snapshot_reader_close(reader);
}

/* What the first row of it is to a reader. */
static int first_row(const char *section, uint32_t fields_count, uint32_t schema)
{
    uint32_t fields;
    baton_snapshot_writer *writer = new_writer();
    pack_one_of(writer, section, fields_count);
    if (strcmp(section, "people") != 0)
        baton_pack_section(writer, "people");
    if (strcmp(section, "notes") != 0)
        baton_pack_section(writer, "notes");
    baton_snapshot_reader *reader = read_back(writer, schema);
    assert_int_equal(baton_snapshot_reader_declare(reader, &table, NULL), 0);
    assert_int_equal(baton_unpack_section(reader, section), 0);
    const int r = baton_unpack_row(reader, &fields);
    if (r == 1)
        assert_int_equal(fields, strcmp(section, "people") == 0 ? 4 : fields_count);
    baton_snapshot_reader_close(reader);
    assert_int_equal(baton_snapshot_remove(io, dir.path, 1, 1), 0);
    return r;
}

static void rows_with_too_many_fields_or_too_few_are_refused(void **state)
{
    (void)state;
    assert_int_equal(first_row("notes", 1, NEWEST), 1); /* the second one is optional */
    assert_int_equal(first_row("notes", 2, NEWEST), 1);
    assert_int_equal(first_row("notes", 3, NEWEST), BATON_E_SCHEMA);
    assert_int_equal(first_row("people", 3, NEWEST), BATON_E_SCHEMA);
    assert_int_equal(first_row("people", 4, NEWEST), 1);
    assert_int_equal(first_row("people", 5, NEWEST), BATON_E_SCHEMA);
    assert_int_equal(first_row("people", 3, 2), 1);
    assert_int_equal(first_row("people", 4, 2), BATON_E_SCHEMA); /* the service's upgrade says so */
}

static void a_table_that_can_t_be_one_is_found_out(void **state)
{
    (void)state;
    assert_null(baton_schema_table_fault(&table));
    for (uint32_t i = 0; i < 9; i++) {
        baton_section bad[2] = {sections[0], sections[1]};
        const baton_schema_table wrong = {bad, 2, NEWEST};
        switch (i) {
        case 0:
            bad[1].name = "people";
            break;
        case 1:
            bad[0].name = "baton.mine";
            break;
        case 2:
            bad[0].name = NULL;
            break;
        case 3:
            bad[0].since_schema = 0;
            break;
        case 4:
            bad[0].since_schema = NEWEST + 1;
            break;
        case 5:
            bad[1].until_schema = NEWEST;
            break;
        case 6:
            bad[1].until_schema = 1;
            break;
        case 7:
            bad[0].fields_known = 3;
            break;
        default:
            bad[0].downgrade = NULL;
            break;
        }
        assert_non_null(baton_schema_table_fault(&wrong));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_older_schema_is_written_as_the_older_build_wrote_it),
        cmocka_unit_test(nothing_is_a_text_and_bytes_in_an_older_schema_too),
        cmocka_unit_test(a_row_that_the_older_schema_can_t_hold_is_an_error),
        cmocka_unit_test(what_is_not_declared_is_not_written),
        cmocka_unit_test_setup_teardown(every_older_schema_is_read_as_the_newest, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(unknown_and_missing_sections_are_refused_by_name, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_optional_section_may_be_missing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rows_with_too_many_fields_or_too_few_are_refused, set_up,
                                        tear_down),
        cmocka_unit_test(a_table_that_can_t_be_one_is_found_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
