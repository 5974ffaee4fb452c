/* drain/secret_file.h: files that hold secrets, and PEM files of TLS. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <baton/status.h>

/* Who may read and write the open file of a secret, as a token or a TLS key: it is a regular file of this user
 * or root, which no stranger can read and no other can write. BATON_E_REFUSED with what is wrong, -errno. */
BATON_MUST_USE int baton_secret_check(int fd, const char *path, baton_error *error);

typedef struct {
    char *text; /* heap, terminated; NULL: none */
    size_t bytes;
    bool is_secret;
} baton_pem;

/* The whole file; a secret one under the rules above. BATON_E_REFUSED, -errno; fini in every case. */
BATON_MUST_USE int baton_pem_read(baton_pem *pem, const char *path, bool is_secret,
                                  baton_error *error);
void baton_pem_fini(baton_pem *pem); /* wipes a secret */
