/* orchestrator-shim/snapshot_diff.c: `baton snapshot diff`. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <baton/snapshot_diff.h>

#include "orchestrator-shim/snapshot_command.h"

static const char diff_help[] =
    "baton snapshot diff A B [--rows] [-o text|json]\n"
    "\n"
    "What changed between two snapshots of one service, by section and key: the first field of a "
    "row "
    "is its key. Rows\n"
    "of a key that both have, but not the same, have changed; the order of rows does not count. "
    "Both "
    "must be in the\n"
    "portable form. Two schemas are compared row by row all the same, and named. Exit code 0, "
    "whatever differs.\n"
    "\n"
    "A and B are DIR (its newest), DIR@SEQ, DIR@SEQ-EPOCH, or the path of a manifest.\n"
    "\n"
    "  --rows       each row too: `-` removed, `+` added, `<` and `>` changed from and to; in JSON "
    "one "
    "object a line\n"
    "               before the summary; bytes as {\"hex\": ...}\n"
    "\n"
    "Examples:\n"
    "  baton snapshot diff /var/lib/orders@1200000 /var/lib/orders\n"
    "  baton snapshot diff /old/orders@1200000-3 /new/orders@1200000-4 --rows -o json\n";

#define SIDES 2u

typedef struct {
    bool json;
    int code; /* of what could not be printed */
} printing;

static json_t *hex_of(const uint8_t *bytes, uint32_t count)
{
    char *text = malloc(2 * (size_t)count + 1);
    if (text == NULL)
        return NULL;
    text[0] = '\0';
    for (uint32_t i = 0; i < count; i++)
        snprintf(text + 2 * (size_t)i, 3, "%02x", bytes[i]);
    json_t *object = json_pack("{s:s}", "hex", text);
    free(text);
    return object;
}

/* What a JSON number can't hold is a string of its digits. */
static json_t *number_of(uint64_t number)
{
    char digits[24];
    if (number <= INT64_MAX)
        return json_number(number);
    snprintf(digits, sizeof(digits), "%" PRIu64, number);
    return json_string(digits);
}

static int field_of(baton_snapshot_reader *reader, json_t **ret_field)
{
    baton_value field;
    int r = baton_unpack_value(reader, &field);
    if (r < 0)
        return r;
    switch (field.kind) {
    case BATON_VALUE_UINT:
        *ret_field = number_of(field.number);
        break;
    case BATON_VALUE_INT:
        *ret_field = json_integer(field.negative);
        break;
    case BATON_VALUE_TEXT: /* may hold zeros */
        *ret_field = json_stringn(field.bytes, field.bytes_count);
        break;
    case BATON_VALUE_BYTES:
        *ret_field = hex_of(field.bytes, field.bytes_count);
        break;
    }
    return 0;
}

static int print_row(void *context, const char *section, baton_diff_kind kind,
                     baton_snapshot_reader *reader, uint32_t fields_count)
{
    static const char *const words[] = {[BATON_DIFF_REMOVED] = "removed",
                                        [BATON_DIFF_ADDED] = "added",
                                        [BATON_DIFF_CHANGED_FROM] = "changed_from",
                                        [BATON_DIFF_CHANGED_TO] = "changed_to"};
    static const char marks[] = {[BATON_DIFF_REMOVED] = '-',
                                 [BATON_DIFF_ADDED] = '+',
                                 [BATON_DIFF_CHANGED_FROM] = '<',
                                 [BATON_DIFF_CHANGED_TO] = '>'};
    printing *print = context;
    json_t *row = json_array();
    end_progress();
    for (uint32_t i = 0; i < fields_count; i++) {
        json_t *field = NULL;
        int r = field_of(reader, &field);
        if (r < 0) {
            json_decref(row);
            return r;
        }
        json_array_append_new(row, field);
    }
    if (!print->json)
        printf("%c %s ", marks[kind], section);
    print->code = print_json(print->json ? json_pack("{s:s, s:s, s:o}", "section", section,
                                                     "change", words[kind], "row", row)
                                         : row);
    return print->code; /* ends the comparison when nobody can read it */
}

static void tell_progress(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    static char what[] = "diff";
    (void)context;
    show_progress(what, done_bytes, all_bytes);
}

/* ---- the summary ---- */

static json_t *describe_side(const baton_snapshot_listed *listed)
{
    const baton_snapshot_info *info = &listed->info;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "seq", json_number(info->seq), "epoch",
                     json_number(info->epoch), "version", json_text(info->version), "schema",
                     json_number(info->schema), "state_digest", json_digest(info->state_digest),
                     "manifest", json_text(listed->manifest_path));
}

static json_t *describe_section(const baton_diff_section *section)
{
    return json_pack("{s:s, s:b, s:b, s:o, s:o, s:o, s:o, s:o}", "name", section->name, "in_a",
                     (int)section->in_first, "in_b", (int)section->in_second, "rows_a",
                     json_number(section->rows_first), "rows_b", json_number(section->rows_second),
                     "added", json_number(section->added), "removed", json_number(section->removed),
                     "changed", json_number(section->changed));
}

static bool differs(const baton_diff_section *section)
{
    return section->added + section->removed + section->changed > 0 ||
           section->in_first != section->in_second;
}

static void print_side(const char *name, const baton_snapshot_listed *listed)
{
    const baton_snapshot_info *info = &listed->info;
    printf("%s  %" PRIu64 "-%" PRIu64 " of %s %s, schema %" PRIu32 "\n", name, info->seq,
           info->epoch, info->service, info->version, info->schema);
}

static void print_table(const baton_diff_section *sections, uint32_t count)
{
    printf("\n%-32s %12s %12s %10s %10s %10s\n", "SECTION", "ROWS A", "ROWS B", "ADDED", "REMOVED",
           "CHANGED");
    for (uint32_t i = 0; i < count; i++)
        printf("%-32s %12" PRIu64 " %12" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64 "%s\n",
               sections[i].name, sections[i].rows_first, sections[i].rows_second, sections[i].added,
               sections[i].removed, sections[i].changed,
               !sections[i].in_first    ? "  only in B"
               : !sections[i].in_second ? "  only in A"
                                        : "");
}

static int print_summary(bool json, const baton_snapshot_listed listed[SIDES],
                         const baton_diff_section *sections, uint32_t count)
{
    const bool same_schema = listed[0].info.schema == listed[1].info.schema;
    bool equal = same_schema;
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        equal = equal && !differs(&sections[i]);
        json_array_append_new(list, describe_section(&sections[i]));
    }
    if (json)
        return print_json(json_pack("{s:o, s:o, s:b, s:b, s:o}", "a", describe_side(&listed[0]),
                                    "b", describe_side(&listed[1]), "same_schema", (int)same_schema,
                                    "equal", (int)equal, "sections", list));
    json_decref(list);
    print_side("A", &listed[0]);
    print_side("B", &listed[1]);
    if (!same_schema)
        printf("The schemas differ: rows of one may differ from the other's for that alone.\n");
    print_table(sections, count);
    printf("\n%s\n", equal ? "equal" : "different");
    return 0;
}

static int compare(const snapshot_choices *chosen, const baton_diff_side sides[SIDES],
                   const baton_snapshot_listed listed[SIDES])
{
    printing print = {.json = chosen->json};
    const baton_diff_options options = {
        .row = chosen->rows ? print_row : NULL, .progress = tell_progress, .context = &print};
    baton_diff_section *sections = NULL;
    baton_error error = {0};
    uint32_t count = 0;
    int r = baton_snapshot_diff(&sides[0], &sides[1], &options, &sections, &count, &error);
    end_progress();
    if (print.code != 0)
        return print.code; /* told */
    if (r < 0)
        return fail_with(&error);
    const int code = print_summary(chosen->json, listed, sections, count);
    free(sections);
    return code;
}

int snapshot_diff(int argc, char **argv)
{
    static const struct option options[] = {{"rows", no_argument, NULL, 'r'}, SNAPSHOT_OPTIONS_END};
    snapshot_choices chosen;
    char directories[SIDES][SNAPSHOT_PATH_BYTES];
    baton_snapshot_listed listed[SIDES];
    baton_diff_side sides[SIDES];
    int code;
    if (!snapshot_options(argc, argv, options, diff_help, &chosen, &code))
        return code;
    if (argc - optind != (int)SIDES)
        return fail_usage("snapshot", "it takes two snapshots", "see --help");
    for (uint32_t i = 0; i < SIDES; i++) {
        code = snapshot_by_word(argv[optind + (int)i], directories[i], &listed[i]);
        if (code != 0)
            return code;
        sides[i] = (baton_diff_side){.directory = directories[i], .listed = &listed[i]};
    }
    return compare(&chosen, sides, listed);
}
