/* orchestrator-shim/snapshot_command.c: `baton snapshot VERB`. */
#include "orchestrator-shim/snapshot_command.h"

static const char help[] =
    "baton snapshot VERB ...\n"
    "\n"
    "  ls DIR              the snapshots, newest first\n"
    "  info DIR            one of them, all that its manifest says\n"
    "  verify DIR          check every byte of all of them, or of some\n"
    "  prune DIR           remove old ones and leftovers of writers that died\n"
    "  pin DIR --seq N     keep one for good; `unpin` lets it go again\n"
    "  diff A B            what changed between two, by section and key\n"
    "  export A FILE       one of them as one file with a checksum, for a backup\n"
    "  import FILE DIR     the other way\n"
    "\n"
    "DIR is a directory of snapshots, or a service's directory that holds `snapshots/`. A and B "
    "are\n"
    "DIR (its newest), DIR@SEQ, DIR@SEQ-EPOCH, or the path of a manifest.\n"
    "Each verb takes --help.\n";

int snapshot_command(int argc, char **argv)
{
    static const verb verbs[] = {
        {"ls", snapshot_ls},       {"info", snapshot_info},     {"verify", snapshot_verify},
        {"prune", snapshot_prune}, {"pin", snapshot_pin},       {"unpin", snapshot_unpin},
        {"diff", snapshot_diff},   {"export", snapshot_export}, {"import", snapshot_import}};
    return finish_output(
        run_verb(verbs, sizeof(verbs) / sizeof(verbs[0]), "baton snapshot", help, argc, argv));
}
