/* orchestrator-shim/main.c: the `baton` command: which part of it was asked for. */
#include "orchestrator-shim/command.h"

#include <signal.h>
#include <string.h>

#include <baton/standard_fds.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"journal", journal_command, "append, dump, verify, stat, repair: a journal directory"},
    {"snapshot", snapshot_command,
     "ls, info, verify, prune, pin, unpin, diff, export, import: snapshots"},
    {"service", service_command, "status, drain, snapshot, finalize: a running service"},
};
#define COMMANDS_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *file)
{
    fputs("baton: journals, snapshots and running services.\n\n", file);
    for (size_t i = 0; i < COMMANDS_COUNT; i++)
        fprintf(file, "  baton %-9s %s\n", commands[i].name, commands[i].help);
    fputs("  baton --version\n"
          "\n"
          "Each takes --help, and -o json for machines. Examples:\n"
          "  seq 1000 | baton journal append --ack /var/lib/orders/journal\n"
          "  baton journal verify /var/lib/orders/journal -o json\n"
          "  baton service drain /var/lib/orders/control.sock\n"
          "\n"
          "Exit codes: 0 done, 1 error or usage, 7 locked, 8 timed out, 10 a torn tail that "
          "repairs itself,\n"
          "11 acknowledged data is damaged.\n",
          file);
}

int main(int argc, char **argv)
{
    baton_standard_fds_keep();
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_help(stderr);
        return 1;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("baton " BATON_VERSION);
        return 0;
    }
    for (size_t i = 0; i < COMMANDS_COUNT; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return fail_usage(argv[1], "there is no such command",
                      "the commands are journal, snapshot and service; see --help");
}
