/* drain/batond/token.c: see token.h. */
#include "drain/batond/token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "drain/secret_file.h"

static const char scheme[] = "Bearer ";

static int refuse(const char *path, int status, const char *why, const char *todo,
                  baton_error *error)
{
    char what[192];
    snprintf(what, sizeof(what), "secret %.180s", path);
    return baton_error_set(error, status, what, why, todo);
}

static bool is_token_byte(unsigned char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || (byte != '\0' && strchr("-._~+/=", byte) != NULL);
}

/* One line; the newline at its end is not part of it. */
static int take(batond_token *token, const unsigned char *bytes, size_t count, const char *path,
                baton_error *error)
{
    while (count > 0 && (bytes[count - 1] == '\n' || bytes[count - 1] == '\r'))
        count--;
    if (count < BATOND_TOKEN_BYTES_MIN || count > BATOND_TOKEN_BYTES_MAX)
        return refuse(path, BATON_E_REFUSED, "a token has 16 to 512 characters",
                      "make one with `openssl rand -hex 32`", error);
    for (size_t i = 0; i < count; i++)
        if (!is_token_byte(bytes[i]))
            return refuse(path, BATON_E_REFUSED, "it holds what can't be in a bearer token",
                          "make one with `openssl rand -hex 32`", error);
    memcpy(token->text, bytes, count);
    token->bytes = count;
    return 0;
}

int batond_token_read(batond_token *token, const char *path, baton_error *error)
{
    unsigned char
        bytes[BATOND_TOKEN_BYTES_MAX + 3]; /* more than fits, to see that it is too much */
    size_t count = 0;
    *token = (batond_token){0};
    /* Not blocked by a pipe that nobody writes; secrets of Kubernetes are symbolic links. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return refuse(path, -errno, NULL, "give --token-file a file that this user can read",
                      error);
    int r = baton_secret_check(fd, path, error);
    while (r == 0 && count < sizeof(bytes)) {
        const ssize_t n = read(fd, bytes + count, sizeof(bytes) - count);
        if (n < 0 && errno != EINTR)
            r = refuse(path, -errno, NULL, "give --token-file a file that this user can read",
                       error);
        if (n == 0)
            break;
        count += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    if (r == 0)
        r = take(token, bytes, count, path, error);
    explicit_bzero(bytes, sizeof(bytes));
    return r;
}

void batond_token_wipe(batond_token *token)
{
    explicit_bzero(token, sizeof(*token));
}

bool batond_token_fits(const batond_token *token, const char *header)
{
    unsigned char given[BATOND_TOKEN_BYTES_MAX] = {0};
    if (header == NULL || token->bytes < BATOND_TOKEN_BYTES_MIN ||
        strncasecmp(header, scheme, sizeof(scheme) - 1) != 0)
        return false;
    const char *text = header + sizeof(scheme) - 1;
    const size_t bytes = strnlen(text, sizeof(given) + 1);
    memcpy(given, text, bytes < sizeof(given) ? bytes : sizeof(given));

    /* Every byte of the whole room, whatever differs. volatile: the compiler may not stop early. */
    volatile unsigned char differs = bytes != token->bytes;
    for (size_t i = 0; i < sizeof(given); i++)
        differs = (unsigned char)(differs | (given[i] ^ token->text[i]));
    explicit_bzero(given, sizeof(given));
    return differs == 0;
}
