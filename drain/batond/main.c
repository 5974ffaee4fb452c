/* drain/batond/main.c: batond: beside one service, its HTTP. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <baton/standard_fds.h>

#include "drain/batond/config.h"
#include "drain/batond/sidecar.h"
#include "drain/describe.h"

int main(int argc, char **argv)
{
    static int log_fd = STDERR_FILENO;
    static batond_config config;
    baton_error error = {.offset = UINT64_MAX};
    baton_standard_fds_keep();
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        batond_config_help(stderr);
        return 1;
    }
    if (strcmp(argv[1], "--version") == 0)
        return printf("batond %s\n", BATON_VERSION) > 0 && fflush(stdout) == 0 ? 0 : 1;
    const int r = batond_config_read(&config, argc - 1, argv + 1, &error);
    if (r < 0) {
        baton_describe_failure(stderr, &error);
        return 1;
    }
    if (r == 1) {
        batond_config_help(stdout);
        return fflush(stdout) == 0 ? 0 : 1;
    }
    baton_log_set_sink(baton_log_to_fd, &log_fd, config.log_level);
    return batond_run(&config);
}
