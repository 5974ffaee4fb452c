/* drain/batond/token.h: the bearer token that lets somebody change something. It is in a file, read
 * anew each time it is needed: whoever replaces the file has replaced the token. It is compared in a
 * time that tells nothing about it, wiped after use, and part of no text that is made here. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <baton/status.h>

#define BATOND_TOKEN_BYTES_MIN 16u
#define BATOND_TOKEN_BYTES_MAX 512u

typedef struct {
    size_t bytes;
    unsigned char text[BATOND_TOKEN_BYTES_MAX]; /* zero behind its end */
} batond_token;

/* A regular file of this user or root, which no stranger can read and no other can write, with one
 * line: letters, digits and -._~+/= alone. BATON_E_REFUSED with what is wrong, -errno. Wipe it in
 * every case. */
BATON_MUST_USE int batond_token_read(batond_token *token, const char *path, baton_error *error);
void batond_token_wipe(batond_token *token);

/* header: the value of Authorization, or NULL. */
bool batond_token_fits(const batond_token *token, const char *header);
