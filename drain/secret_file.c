/* drain/secret_file.c: see secret_file.h. */
#include "drain/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (1u << 20)

static int refuse(const char *path, int status, const char *why, const char *todo,
                  baton_error *error)
{
    char what[192];
    snprintf(what, sizeof(what), "secret %.180s", path);
    return baton_error_set(error, status, what, why, todo);
}

int baton_secret_check(int fd, const char *path, baton_error *error)
{
    struct stat there;
    if (fstat(fd, &there) < 0)
        return refuse(path, -errno, NULL, "give the path of a file", error);
    if (!S_ISREG(there.st_mode))
        return refuse(path, BATON_E_REFUSED, "it is no regular file", "give the path of a file",
                      error);
    if (there.st_uid != 0 && there.st_uid != geteuid())
        return refuse(path, BATON_E_REFUSED, "it belongs to another user",
                      "chown it to the user that runs this, or to root", error);
    if ((there.st_mode & (S_IROTH | S_IWOTH)) != 0)
        return refuse(path, BATON_E_REFUSED, "every user of this machine can read or write it",
                      "chmod 0600 it, and take a new secret", error);
    if ((there.st_mode & S_IWGRP) != 0)
        return refuse(path, BATON_E_REFUSED, "its group can write it", "chmod 0640 it", error);
    return 0;
}

static int refuse_pem(const char *path, int status, const char *why, baton_error *error)
{
    char what[192];
    snprintf(what, sizeof(what), "TLS file %.180s", path);
    return baton_error_set(error, status, what, why, "give a PEM file that this user can read");
}

static int read_all(int fd, const char *path, char **ret_text, size_t *ret_bytes,
                    baton_error *error)
{
    struct stat there;
    if (fstat(fd, &there) < 0)
        return refuse_pem(path, -errno, NULL, error);
    if (!S_ISREG(there.st_mode) || there.st_size == 0 || there.st_size > FILE_BYTES_MAX)
        return refuse_pem(path, BATON_E_REFUSED, "it is no PEM file", error);
    const size_t room = (size_t)there.st_size;
    size_t count = 0;
    char *text = calloc(1, room + 1);
    if (text == NULL)
        return refuse_pem(path, -ENOMEM, NULL, error);
    while (count < room) {
        const ssize_t n = read(fd, text + count, room - count);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            const int r = -errno;
            explicit_bzero(text, room);
            free(text);
            return refuse_pem(path, r, NULL, error);
        }
        if (n == 0)
            break;
        count += (size_t)n;
    }
    *ret_text = text;
    *ret_bytes = room;
    return 0;
}

int baton_pem_read(baton_pem *pem, const char *path, bool is_secret, baton_error *error)
{
    *pem = (baton_pem){.is_secret = is_secret};
    /* Not blocked by a pipe that nobody writes; secrets of Kubernetes are symbolic links. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return refuse_pem(path, -errno, NULL, error);
    int r = is_secret ? baton_secret_check(fd, path, error) : 0;
    if (r == 0)
        r = read_all(fd, path, &pem->text, &pem->bytes, error);
    close(fd);
    return r;
}

void baton_pem_fini(baton_pem *pem)
{
    if (pem->text != NULL && pem->is_secret)
        explicit_bzero(pem->text, pem->bytes);
    free(pem->text);
    *pem = (baton_pem){.text = NULL};
}
