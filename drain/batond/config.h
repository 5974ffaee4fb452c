/* drain/batond/config.h: batond's command line, and what it means. */
#pragma once

#include <baton/log.h>

#include "drain/options.h"
#include "drain/tcp_address.h"

typedef struct {
    const char *service_path;                    /* the strings are argv's and the table's */
    const char *token_path;                      /* NULL: nothing can be changed */
    const char *certificate_path, *key_path;     /* both or none */
    const char *compatible_min, *compatible_max; /* NULL: from the service's version */
    baton_tcp_address address;
    uint64_t answer_timeout_ns;
    uint64_t hang_after_ns;
    uint64_t action_timeout_ns;
    uint64_t connection_timeout_ns;
    uint32_t connections_max;
    bool drain_on_term;
    uint64_t term_deadline_ns;
    uint64_t term_grace_ns;
    uint64_t linger_ns;
    baton_log_level log_level;
} batond_config;

/* argv without the program's name. 0; 1: help was asked for; BATON_E_INVALID. */
BATON_MUST_USE int batond_config_read(batond_config *config, int argc, char *const *argv,
                                      baton_error *error);
void batond_config_help(FILE *file);
