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
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } verbs[] = {{"append", journal_append},
                 {"dump", journal_dump},
                 {"verify", journal_verify},
                 {"stat", journal_stat},
                 {"repair", journal_repair}};
    if (argc < 2) {
        fputs(help, stderr);
        return 1;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        fputs(help, stdout);
        return 0;
    }
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
    return fail_usage(argv[1], "there is no such verb of `baton journal`",
                      "the verbs are append, dump, verify, stat and repair; see --help");
}
