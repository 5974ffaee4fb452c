/* drain/batond/tls.c: see tls.h. */
#include "drain/batond/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drain/batond/token.h"

#define FILE_BYTES_MAX (1u << 20)

static int refuse(const char *path, int status, const char *why, baton_error *error)
{
    char what[192];
    snprintf(what, sizeof(what), "TLS file %.180s", path);
    return baton_error_set(error, status, what, why,
                           "give --tls-cert and --tls-key PEM files that this user can read");
}

static int read_all(int fd, const char *path, char **ret_text, size_t *ret_bytes,
                    baton_error *error)
{
    struct stat there;
    if (fstat(fd, &there) < 0)
        return refuse(path, -errno, NULL, error);
    if (!S_ISREG(there.st_mode) || there.st_size == 0 || there.st_size > FILE_BYTES_MAX)
        return refuse(path, BATON_E_REFUSED, "it is no PEM file", error);
    const size_t room = (size_t)there.st_size;
    size_t count = 0;
    char *text = calloc(1, room + 1);
    if (text == NULL)
        return refuse(path, -ENOMEM, NULL, error);
    while (count < room) {
        const ssize_t n = read(fd, text + count, room - count);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            const int r = -errno;
            explicit_bzero(text, room);
            free(text);
            return refuse(path, r, NULL, error);
        }
        if (n == 0)
            break;
        count += (size_t)n;
    }
    *ret_text = text;
    *ret_bytes = room;
    return 0;
}

static int read_file(const char *path, bool is_secret, char **ret_text, size_t *ret_bytes,
                     baton_error *error)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return refuse(path, -errno, NULL, error);
    int r = is_secret ? batond_secret_check(fd, path, error) : 0;
    if (r == 0)
        r = read_all(fd, path, ret_text, ret_bytes, error);
    close(fd);
    return r;
}

int batond_tls_files_read(batond_tls_files *files, const batond_config *config, baton_error *error)
{
    size_t bytes;
    *files = (batond_tls_files){0};
    const int r = read_file(config->certificate_path, false, &files->certificate, &bytes, error);
    return r < 0 ? r : read_file(config->key_path, true, &files->key, &files->key_bytes, error);
}

void batond_tls_files_fini(batond_tls_files *files)
{
    if (files->key != NULL)
        explicit_bzero(files->key, files->key_bytes);
    free(files->certificate);
    free(files->key);
    *files = (batond_tls_files){0};
}
