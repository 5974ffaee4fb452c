/* orchestrator-shim/snapshot_list.c: `baton snapshot ls` and `info`. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <baton/clock.h>

#include "orchestrator-shim/progress.h"
#include "orchestrator-shim/snapshot_command.h"

static const char ls_help[] =
    "baton snapshot ls DIR [-o text|json]\n"
    "\n"
    "The snapshots, newest first, with what their manifests say; one JSON object a line. The "
    "chunks "
    "are not read:\n"
    "`verify` does that. An absent directory holds none.\n"
    "\n"
    "  SIZE, STORED   of the state, and of its chunks on disk\n"
    "  TOOK, AGE      how long taking it took, and how long ago that was\n"
    "  VERIFIED       how long ago `verify` last found every byte of it good\n"
    "  PINNED         nobody removes it (see `pin`)\n"
    "\n"
    "Example:\n"
    "  baton snapshot ls /var/lib/orders\n";

static const char info_help[] =
    "baton snapshot info DIR [--seq N [--epoch N]] [-o text|json]\n"
    "\n"
    "All that a snapshot's manifest says, its sections included; the newest one unless told "
    "otherwise. Exit code 11: it\n"
    "is damaged.\n"
    "\n"
    "Example:\n"
    "  baton snapshot info /var/lib/orders --seq 1200000 -o json\n";

const char *snapshot_verdict(int status)
{
    if (status == 0)
        return "good";
    return status == BATON_E_DAMAGED ? "damaged" : baton_status_name(status);
}

json_t *snapshot_describe(const baton_snapshot_listed *listed)
{
    const baton_snapshot_info *info = &listed->info;
    json_t *object =
        json_pack("{s:o, s:o, s:s, s:o, s:b}", "seq", json_number(info->seq), "epoch",
                  json_number(info->epoch), "status", snapshot_verdict(listed->status), "manifest",
                  json_text(listed->manifest_path), "pinned", (int)listed->pinned);
    if (object == NULL || listed->status != 0)
        return object;
    json_object_set_new(object, "service", json_text(info->service));
    json_object_set_new(object, "version", json_text(info->version));
    json_object_set_new(object, "form", json_text(info->form));
    json_object_set_new(object, "schema", json_number(info->schema));
    json_object_set_new(object, "journal_id", json_digest(info->journal_id));
    json_object_set_new(object, "position",
                        json_pack("{s:o, s:o, s:o}", "epoch", json_number(info->position_epoch),
                                  "batch", json_number(info->position_batch), "seq",
                                  json_number(info->position_seq)));
    json_object_set_new(object, "entry_time_ns", json_number(info->entry_time_ns));
    json_object_set_new(object, "state_digest", json_digest(info->state_digest));
    json_object_set_new(object, "effect_digest", json_digest(info->effect_digest));
    json_object_set_new(object, "created_wall_ns", json_number(info->created_wall_ns));
    json_object_set_new(object, "taken_ns", json_number(info->taken_ns));
    json_object_set_new(object, "verified_wall_ns",
                        listed->verified_wall_ns != 0 ? json_number(listed->verified_wall_ns)
                                                      : json_null());
    json_object_set_new(object, "raw_bytes", json_number(info->raw_bytes));
    json_object_set_new(object, "stored_bytes", json_number(info->stored_bytes));
    json_object_set_new(object, "sections", json_number(info->sections_count));
    json_object_set_new(object, "chunks", json_number(info->chunks_count));
    json_object_set_new(object, "root", json_digest(info->root));
    json_object_set_new(object, "parent",
                        baton_digest_is_zero(info->parent) ? json_null()
                                                           : json_digest(info->parent));
    return object;
}

/* ---- ls ---- */

/* A clock that was set back makes nothing older than now. */
static char *age(uint64_t wall_ns, uint64_t now_ns, char text[HUMAN_BYTES])
{
    if (wall_ns == 0)
        return strcpy(text, "-");
    return wall_ns < now_ns ? human_time(now_ns - wall_ns, text) : strcpy(text, "now");
}

static void print_row(const baton_snapshot_listed *listed, uint64_t now_ns)
{
    const baton_snapshot_info *info = &listed->info;
    const bool good = listed->status == 0;
    char size[HUMAN_BYTES] = "-", stored[HUMAN_BYTES] = "-", took[HUMAN_BYTES] = "-";
    char old[HUMAN_BYTES] = "-", verified[HUMAN_BYTES] = "-";
    if (good) {
        human_size(info->raw_bytes, size);
        human_size(info->stored_bytes, stored);
        human_time(info->taken_ns, took);
        age(info->created_wall_ns, now_ns, old);
        age(listed->verified_wall_ns, now_ns, verified);
    }
    printf("%-12" PRIu64 " %-8" PRIu64 " %-9s %10s %10s %8s %8s %9s %6s  %-8s %s %s\n", info->seq,
           info->epoch, good ? info->form : "-", size, stored, took, old, verified,
           listed->pinned ? "yes" : "-", snapshot_verdict(listed->status),
           good ? info->service : "-", info->version);
}

int snapshot_ls(int argc, char **argv)
{
    static const struct option options[] = {SNAPSHOT_OPTIONS_END};
    snapshot_choices chosen;
    baton_snapshot_listed *found = NULL;
    uint32_t count = 0;
    int code;
    if (!snapshot_options_directory(argc, argv, options, ls_help, &chosen, &code))
        return code;
    code = snapshot_list(&chosen, &found, &count);
    if (code != 0)
        return code;
    const uint64_t now_ns = baton_clock_wall_ns(baton_clock_system());
    if (!chosen.json && count > 0)
        printf("%-12s %-8s %-9s %10s %10s %8s %8s %9s %6s  %-8s %s\n", "SEQ", "EPOCH", "FORM",
               "SIZE", "STORED", "TOOK", "AGE", "VERIFIED", "PINNED", "STATUS", "SERVICE");
    for (uint32_t i = 0; i < count && code == 0; i++) {
        if (chosen.json)
            code = print_json(snapshot_describe(&found[i]));
        else
            print_row(&found[i], now_ns);
    }
    free(found);
    return code;
}

/* ---- info ---- */

static json_t *describe_sections(const baton_snapshot_layout *layout)
{
    json_t *sections = json_array();
    for (uint32_t i = 0; i < layout->sections_count; i++)
        json_array_append_new(sections,
                              json_pack("{s:s, s:o, s:o}", "name", layout->sections[i].name, "rows",
                                        json_number(layout->sections[i].rows_count), "bytes",
                                        json_number(layout->sections[i].bytes)));
    return sections;
}

static void print_sections(const baton_snapshot_layout *layout)
{
    char size[HUMAN_BYTES];
    printf("\n%-32s %12s %12s %10s\n", "SECTION", "ROWS", "BYTES", "SIZE");
    for (uint32_t i = 0; i < layout->sections_count; i++)
        printf("%-32s %12" PRIu64 " %12" PRIu64 " %10s\n", layout->sections[i].name,
               layout->sections[i].rows_count, layout->sections[i].bytes,
               human_size(layout->sections[i].bytes, size));
}

static void set_note(json_t *object, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_object_set_new(object, key, json_text(text));
}

/* Nothing is printed when the manifest can't be read any more. */
static int print_info(const baton_snapshot_listed *listed, bool json)
{
    baton_snapshot_layout layout = {0};
    baton_error error;
    if (listed->status == 0 && baton_snapshot_layout_read(listed, &layout, &error) < 0)
        return fail_with(&error);
    json_t *object = snapshot_describe(listed);
    if (object != NULL && listed->status == 0) {
        json_object_set_new(object, "chunk_bytes", json_number(layout.chunk_bytes));
        json_object_set_new(object, "chunks_compressed", json_number(layout.chunks_compressed));
        set_note(object, "taken_by", layout.taken_by);
        set_note(object, "taken_why", layout.taken_why);
        set_note(object, "form_why", layout.form_why);
        if (json)
            json_object_set_new(object, "section_list", describe_sections(&layout));
    }
    const int code = json ? print_json(object) : print_text(object);
    if (!json && code == 0 && layout.sections_count > 0)
        print_sections(&layout);
    baton_snapshot_layout_free(&layout);
    return code;
}

int snapshot_info(int argc, char **argv)
{
    static const struct option options[] = {SNAPSHOT_OPTION_SEQ, SNAPSHOT_OPTION_EPOCH,
                                            SNAPSHOT_OPTIONS_END};
    snapshot_choices chosen;
    baton_snapshot_listed found;
    int code;
    if (!snapshot_options_directory(argc, argv, options, info_help, &chosen, &code))
        return code;
    if (chosen.seqs_count > 1)
        return fail_usage("option --seq", "one at a time", "give it once");
    code = snapshot_pick(&chosen, NULL, &found);
    if (code == 0)
        code = print_info(&found, chosen.json);
    if (code == 0 && found.status != 0) {
        baton_error error;
        int r = baton_snapshot_verify(chosen.directory, &found, &error); /* says why */
        code = r < 0 ? fail_with(&error) : 0;
    }
    return code;
}
