/* orchestrator-shim/snapshot_keep.c: `baton snapshot prune`, `pin` and `unpin`. */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "orchestrator-shim/snapshot_command.h"

static const char prune_help[] =
    "baton snapshot prune DIR [--keep N] [--keep-days D] [--dry-run] [-o text|json]\n"
    "\n"
    "Remove old snapshots, and leftovers of writers that died. What stays: the newest N (default "
    "and least: 2), the newest\n"
    "of each of the newest D days that have any (default 7; 0: none), what images among those add "
    "to, beside images the\n"
    "two newest portable ones, pinned ones, damaged ones. Days are UTC. While the service runs it "
    "is "
    "refused (exit code 7):\n"
    "a running service prunes by itself, to its own --keep-snapshots.\n"
    "\n"
    "  --dry-run    only say what would be done\n"
    "\n"
    "Examples:\n"
    "  baton snapshot prune /var/lib/orders --dry-run\n"
    "  baton snapshot prune /backup/orders --keep 3 --keep-days 30\n";

static const char pin_help[] =
    "baton snapshot pin DIR --seq N [--epoch N] [-o text|json]\n"
    "\n"
    "Keep a snapshot: neither `prune` nor the service removes it until it is unpinned, and the "
    "journal goes on naming it.\n"
    "The journal after it may be retired all the same. Also while the service runs.\n"
    "\n"
    "Example:\n"
    "  baton snapshot pin /var/lib/orders --seq 1200000\n";

static const char unpin_help[] =
    "baton snapshot unpin DIR --seq N [--epoch N] [-o text|json]\n"
    "\n"
    "Let a pinned snapshot go: the next `prune`, or the service, may remove it. One that is not "
    "pinned is fine.\n"
    "\n"
    "Example:\n"
    "  baton snapshot unpin /var/lib/orders --seq 1200000\n";

/* ---- prune ---- */

static const char *fate_name(baton_snapshot_fate fate, bool dry_run)
{
    switch (fate) {
    case BATON_FATE_REMOVED:
        return dry_run ? "would be removed" : "removed";
    case BATON_FATE_NEWEST:
        return "kept: among the newest";
    case BATON_FATE_DAY:
        return "kept: the newest of its day";
    case BATON_FATE_NEEDED:
        return "kept: another one adds to it";
    case BATON_FATE_PINNED:
        return "kept: pinned";
    case BATON_FATE_DAMAGED:
        return "kept: damaged";
    case BATON_FATE_PORTABLE:
        return "kept: portable, for builds with another layout";
    }
    return "";
}

static const char *fate_word(baton_snapshot_fate fate)
{
    static const char *const words[] = {
        [BATON_FATE_REMOVED] = "removed",  [BATON_FATE_NEWEST] = "newest",
        [BATON_FATE_DAY] = "day",          [BATON_FATE_NEEDED] = "needed",
        [BATON_FATE_PINNED] = "pinned",    [BATON_FATE_DAMAGED] = "damaged",
        [BATON_FATE_PORTABLE] = "portable"};
    return words[fate];
}

static int print_fates(const snapshot_choices *chosen, const baton_snapshot_listed *list,
                       const baton_snapshot_fate *fates, uint32_t count)
{
    uint32_t removed = 0;
    json_t *snapshots = json_array();
    for (uint32_t i = 0; i < count; i++) {
        removed += fates[i] == BATON_FATE_REMOVED;
        json_array_append_new(
            snapshots, json_pack("{s:o, s:o, s:s}", "seq", json_number(list[i].info.seq), "epoch",
                                 json_number(list[i].info.epoch), "fate", fate_word(fates[i])));
        if (!chosen->json)
            printf("%" PRIu64 "-%" PRIu64 ": %s\n", list[i].info.seq, list[i].info.epoch,
                   fate_name(fates[i], chosen->dry_run));
    }
    if (chosen->json)
        return print_json(json_pack("{s:o, s:o, s:b, s:o}", "removed",
                                    json_number(chosen->dry_run ? 0 : removed), "would_remove",
                                    json_number(chosen->dry_run ? removed : 0), "dry_run",
                                    (int)chosen->dry_run, "snapshots", snapshots));
    json_decref(snapshots);
    printf("%" PRIu32 " %s, %" PRIu32 " kept\n", removed,
           chosen->dry_run ? "would be removed" : "removed", count - removed);
    return 0;
}

int snapshot_prune(int argc, char **argv)
{
    static const struct option options[] = {{"keep", required_argument, NULL, 'k'},
                                            {"keep-days", required_argument, NULL, 'd'},
                                            {"dry-run", no_argument, NULL, 'n'},
                                            SNAPSHOT_OPTIONS_END};
    snapshot_choices chosen;
    baton_snapshot_listed *list = NULL;
    baton_snapshot_fate *fates = NULL;
    baton_error error;
    uint32_t count = 0;
    int lock = -1;
    int code;
    if (!snapshot_options_directory(argc, argv, options, prune_help, &chosen, &code))
        return code;
    const baton_snapshot_policy policy = {
        .keep = chosen.keep > UINT32_MAX ? UINT32_MAX : (uint32_t)chosen.keep,
        .keep_days = chosen.keep_days > UINT32_MAX ? UINT32_MAX : (uint32_t)chosen.keep_days,
        .dry_run = chosen.dry_run,
    };
    code = chosen.dry_run ? 0 : snapshot_lock(chosen.directory, "prune the snapshots", &lock);
    if (code != 0)
        return code;
    int r = baton_snapshot_retain(chosen.directory, &policy, &list, &fates, &count, &error);
    if (lock >= 0)
        close(lock);
    if (r < 0)
        return fail_with(&error);
    code = print_fates(&chosen, list, fates, count);
    free(list);
    free(fates);
    return code;
}

/* ---- pin, unpin ---- */

static int pin_or_unpin(int argc, char **argv, bool pin)
{
    static const struct option options[] = {SNAPSHOT_OPTION_SEQ, SNAPSHOT_OPTION_EPOCH,
                                            SNAPSHOT_OPTIONS_END};
    snapshot_choices chosen;
    baton_snapshot_listed listed;
    baton_error error;
    int code;
    if (!snapshot_options_directory(argc, argv, options, pin ? pin_help : unpin_help, &chosen,
                                    &code))
        return code;
    if (chosen.seqs_count != 1)
        return fail_usage("option --seq", "it says which snapshot, one at a time", "give it once");
    const uint64_t seq = chosen.seqs[0];
    code = snapshot_pick(&chosen, NULL, &listed);
    if (code != 0)
        return code;
    const uint64_t epoch = listed.info.epoch; /* of the newest of that seq, if none was named */
    int r = pin ? baton_snapshot_pin(chosen.directory, seq, epoch, &error)
                : baton_snapshot_unpin(chosen.directory, seq, epoch, &error);
    if (r < 0)
        return fail_with(&error);
    if (chosen.json)
        return print_json(json_pack("{s:o, s:o, s:b}", "seq", json_number(seq), "epoch",
                                    json_number(epoch), "pinned", (int)pin));
    printf("%" PRIu64 "-%" PRIu64 ": %s\n", seq, epoch, pin ? "pinned" : "not pinned");
    return 0;
}

int snapshot_pin(int argc, char **argv)
{
    return pin_or_unpin(argc, argv, true);
}

int snapshot_unpin(int argc, char **argv)
{
    return pin_or_unpin(argc, argv, false);
}
