/* tests/e2e/toy/halting_engine.c: the matching engine, which ends or stands still at a step of a
 * handover when ENGINE_DIE_IN or ENGINE_STOP_IN names it. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "examples/exchange/matching-engine/server.h"

static void reached(void *context, const char *step)
{
    const char *die_in = getenv("ENGINE_DIE_IN"), *stop_in = getenv("ENGINE_STOP_IN");
    (void)context;
    if (die_in != NULL && strcmp(step, die_in) == 0)
        (void)kill(getpid(), SIGKILL);
    if (stop_in != NULL && strcmp(step, stop_in) == 0)
        (void)kill(getpid(), SIGSTOP);
}

int main(int argc, char **argv)
{
    server *own;
    if (server_create(&own) < 0)
        return 1;
    baton_program program = server_program;
    program.reached = reached;
    int code = baton_main(argc, argv, &matching_engine_service, &program, own);
    server_destroy(own);
    return code;
}
