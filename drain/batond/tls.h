/* drain/batond/tls.h: batond's certificate. Its files are read anew when they have changed, at the next handshake;
 * what does not load is told once, and the one before goes on serving. */
#pragma once

#include <gnutls/abstract.h>

#include "drain/batond/config.h"

/* GnuTLS's words: 1.3 and 1.2 alone. */
#define BATOND_TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* Of this process: the library below hands its callback no context. The key under the rules of secrets
 * (secret_file.h). BATON_E_REFUSED, -errno; close in every case. config lives as long. */
BATON_MUST_USE int batond_tls_open(const batond_config *config, baton_error *error);
void batond_tls_close(void);
/* Of each handshake. */
gnutls_certificate_retrieve_function3 batond_tls_choose;
