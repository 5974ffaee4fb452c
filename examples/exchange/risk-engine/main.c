/* The risk engine: the program. */
#include <stdio.h>

#include "examples/exchange/risk-engine/server.h"

int main(int argc, char **argv)
{
    server *own;
    if (server_create(&own) < 0) {
        fprintf(stderr, "baton: start: not enough memory: free some\n");
        return 1;
    }
    int code = baton_main(argc, argv, &risk_engine_service, &server_program, own);
    server_destroy(own);
    return code;
}
