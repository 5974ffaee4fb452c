/* examples/exchange/load/options.h: the command line of exchange-load. */
#pragma once

#include "examples/exchange/load/run.h"

typedef struct {
    stream_options stream;
    stream_mix mix;
    run_options run; /* without commands, and what signals set */
    const char *addresses[RUN_ADDRESSES_MAX];
    const char *acks_out;
    const char *clients_out;
    const char *json;
    const char *hgrm;
    const char *timeline_csv;
    const char *timeline_svg;
    uint64_t timeline_window_ns;
} load_options;

/* 0: run; 1: --help is answered; BATON_E_INVALID: it has been said on stderr. */
BATON_MUST_USE int options_parse(int argc, char **argv, load_options *ret_options);
