/* examples/exchange/risk-mirror/mirror.h: what the risk engine tells of exposures, into Redis, each once and in order. */
#pragma once

#include <signal.h>
#include <stdbool.h>

#include <baton/status.h>

typedef struct {
    const char *redis;   /* its address, as in wire/address.h */
    const char *from;    /* the risk engine's feed */
    const char *version; /* of keys */
    bool resync;         /* what is missing or wrong is made anew rather than complained about */
    bool check;          /* all that is there is compared at the start */
} mirror_options;

/* Until *stop is not 0, or something is wrong for good. 0, -ENOMEM, BATON_E_REFUSED. */
BATON_MUST_USE int mirror_run(const mirror_options *options, const volatile sig_atomic_t *stop,
                              baton_error *error);
