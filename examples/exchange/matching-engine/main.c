/* The matching engine: one program a version, from one source (CMakeLists.txt says what each
 * has). */
#include <stdio.h>

#include "examples/exchange/matching-engine/server.h"

int main(int argc, char **argv)
{
    server *own;
    if (server_create(&own) < 0) {
        fprintf(stderr, "baton: start: not enough memory: free some\n");
        return 1;
    }
    int code = baton_main(argc, argv, &matching_engine_service, &server_program, own);
    server_destroy(own);
    return code;
}
