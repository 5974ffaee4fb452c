/* drain/batond/tls.h: the files of TLS. They are read once, at the start. */
#pragma once

#include "drain/batond/config.h"
#include "drain/secret_file.h"

/* GnuTLS's words: 1.3 and 1.2 alone. */
#define BATOND_TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

typedef struct {
    baton_pem certificate;
    baton_pem key;
} batond_tls_files;

/* The key under the rules of secrets (secret_file.h). BATON_E_REFUSED, -errno; fini in every case. */
BATON_MUST_USE int batond_tls_files_read(batond_tls_files *files, const batond_config *config,
                                         baton_error *error);
void batond_tls_files_fini(batond_tls_files *files);
