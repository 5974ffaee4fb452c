/* examples/exchange/replay/output.h: result files that are complete or absent.
 * A regular file is written beside its name and renamed when it is done; anything else that exists
 * under the name (a pipe, /dev/stdout) is written to directly. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <baton/status.h>

#define OUTPUT_PATH_BYTES 4096

typedef struct {
    FILE *file; /* write here */
    char path[OUTPUT_PATH_BYTES];
    char part[OUTPUT_PATH_BYTES]; /* "" when written directly */
} output;

BATON_MUST_USE int output_open(output *out, const char *path, baton_error *error);
/* Flush, close, check that every write worked. A program with several results finishes all of them
 * before it publishes the first, so that a full disk leaves all the older ones in place. NULL file:
 * nothing to do. */
BATON_MUST_USE int output_finish(output *out, baton_error *error);
/* Give the finished file its name. */
BATON_MUST_USE int output_publish(output *out, baton_error *error);
/* Throw away what has not been published. A zeroed or published output is fine. */
void output_close(output *out);
