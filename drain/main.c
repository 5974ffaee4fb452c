/* drain/main.c: the program around a service: which door was asked for. */
#include "drain/program.h"

#include <signal.h>
#include <string.h>

#include <baton/standard_fds.h>

static const baton_program no_program = {0};

static void print_help(FILE *file, const baton_doors *doors)
{
    const char *path = doors->path;
    fprintf(
        file,
        "%s %s: a service on Baton.\n"
        "\n"
        "  %s run --dir DIR [options]           serve until SIGTERM, then drain\n"
        "  %s baton info [DIR] [-o json]        what this build is, and what DIR holds\n"
        "  %s baton replay DIR [options]        rebuild the state from DIR, changing nothing\n"
        "  %s baton verify DIR [-o json]        check every byte of DIR, and that it replays "
        "the same\n"
        "  %s baton digest DIR [--to SEQ]       the state digest, as this build computes it\n"
        "  %s baton verify --round-trip DIR     that its state can be written for, and read by, an "
        "older build\n"
        "  %s baton snapshot DIR --out DIR2     its state as a snapshot, in a schema of choice\n"
        "  %s COMMAND --help                    its options and examples\n"
        "  %s --version\n"
        "\n"
        "Exit codes: 0 done, 1 error, 7 the directory is locked, 10 a torn tail that repairs "
        "itself,\n"
        "11 acknowledged data is damaged.\n",
        doors->service->name, doors->service->version, path, path, path, path, path, path, path,
        path, path);
}

static int refuse(const char *word, const char *why, const char *const *candidates)
{
    baton_error error;
    char todo[128] = "see --help";
    const char *nearest = word != NULL ? baton_option_nearest(word, candidates) : NULL;
    if (nearest != NULL)
        snprintf(todo, sizeof(todo), "did you mean %s? see --help", nearest);
    baton_error_set(&error, BATON_E_INVALID, word != NULL ? word : "command", why, todo);
    baton_describe_failure(stderr, &error);
    return 1;
}

static int door(const baton_doors *doors, int argc, char **argv)
{
    if (argc < 1)
        return refuse(NULL, "`baton` needs one of info, replay, verify, digest, snapshot",
                      baton_door_names);
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
        print_help(stdout, doors);
        return 0;
    }
    for (uint32_t i = 0; baton_door_names[i] != NULL; i++)
        if (strcmp(argv[0], baton_door_names[i]) == 0)
            return baton_door_command(doors, argv[0], argc - 1, argv + 1);
    return refuse(argv[0], "there is no such door", baton_door_names);
}

int baton_main(int argc, char **argv, const baton_service *service, const baton_program *program,
               void *context)
{
    static const char *const commands[] = {"run", "baton", NULL};
    const baton_doors doors = {
        .path = argc > 0 ? argv[0] : service->name,
        .service = service,
        .program = program != NULL ? program : &no_program,
        .context = context,
    };
    baton_standard_fds_keep();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* where a parent ignores it, a command's exit code would be lost */

    if (argc < 2) {
        print_help(stderr, &doors);
        return 1;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout, &doors);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("%s %s\n", service->name, service->version);
        return 0;
    }
    if (strcmp(argv[1], "run") == 0)
        return baton_run_command(&doors, argc - 2, argv + 2);
    if (strcmp(argv[1], "baton") == 0)
        return door(&doors, argc - 2, argv + 2);
    return refuse(argv[1], "there is no such command", commands);
}
