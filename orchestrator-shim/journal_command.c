/* orchestrator-shim/journal_command.c: `baton journal VERB`. */
#include "orchestrator-shim/command.h"

#include <string.h>

static const char help[] =
    "baton journal VERB DIR [options]\n"
    "\n"
    "  append DIR          lines on stdin become entries\n"
    "  dump DIR            entries, one JSON object a line\n"
    "  verify DIR [DIR..]  check every byte; several directories: also that each goes on where the "
    "one before ends\n"
    "  stat DIR            what it holds\n"
    "  repair DIR          cut a torn tail; with --accept-loss also cut at damage\n"
    "\n"
    "DIR is a journal, or a service's directory that holds `journal/`.\n"
    "Each verb takes --help.\n";

int journal_command(int argc, char **argv)
{
    static const verb verbs[] = {{"append", journal_append},
                                 {"dump", journal_dump},
                                 {"verify", journal_verify},
                                 {"stat", journal_stat},
                                 {"repair", journal_repair}};
    return run_verb(verbs, sizeof(verbs) / sizeof(verbs[0]), "baton journal", help, argc, argv);
}
