/* orchestrator-shim/checksum.c: SHA-256 of a file in a file beside it, so that a copy can be
 * checked where there is no Baton. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "orchestrator-shim/snapshot_command.h"

#define PATH_BYTES 1024u
#define SUM_BYTES  32u

struct checksum {
    EVP_MD_CTX *context;
    bool failed;
};

checksum *checksum_begin(void)
{
    checksum *sum = calloc(1, sizeof(*sum));
    if (sum == NULL)
        return NULL;
    sum->context = EVP_MD_CTX_new();
    if (sum->context == NULL || EVP_DigestInit_ex(sum->context, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(sum->context);
        free(sum);
        return NULL;
    }
    return sum;
}

void checksum_add(checksum *sum, const void *bytes, uint64_t bytes_count)
{
    sum->failed |= EVP_DigestUpdate(sum->context, bytes, bytes_count) != 1;
}

void checksum_end(checksum *sum, char text[CHECKSUM_TEXT_BYTES])
{
    uint8_t bytes[EVP_MAX_MD_SIZE];
    unsigned count = 0;
    text[0] = '\0';
    if (sum == NULL)
        return;
    if (!sum->failed && EVP_DigestFinal_ex(sum->context, bytes, &count) == 1 && count == SUM_BYTES)
        for (unsigned i = 0; i < SUM_BYTES; i++)
            snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    EVP_MD_CTX_free(sum->context);
    free(sum);
}

static int refuse(int status, const char *why, const char *path, baton_error *error)
{
    baton_error_set(error, status, "the checksum file", why,
                    status == BATON_E_DAMAGED ? "fetch it again, or take it away"
                                              : "check the disk and the directory's rights");
    baton_error_at(error, path, UINT64_MAX);
    return status;
}

/* sha256sum's own spelling of names with a line feed or backslash in them: escaped, and the line
 * marked by a backslash. */
static int write_line(FILE *file, const char *path, const char *text)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    int r = fprintf(file, "%s%s  ", strpbrk(name, "\\\n") != NULL ? "\\" : "", text);
    for (const char *c = name; r >= 0 && *c != '\0'; c++)
        r = *c == '\n' ? fputs("\\n", file) : *c == '\\' ? fputs("\\\\", file) : fputc(*c, file);
    return r >= 0 && fputc('\n', file) >= 0 && fflush(file) == 0 ? 0 : -1;
}

static int sync_directory_of(const char *path)
{
    char directory[PATH_BYTES];
    snprintf(directory, sizeof(directory), "%s", path);
    char *slash = strrchr(directory, '/');
    if (slash == NULL)
        strcpy(directory, ".");
    else
        slash[slash == directory ? 1 : 0] = '\0';
    const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int r = fd >= 0 && fsync(fd) == 0 ? 0 : -errno;
    if (fd >= 0)
        close(fd);
    return r;
}

int checksum_write(const char *path, const char *text, baton_error *error)
{
    char to[PATH_BYTES], partial[PATH_BYTES];
    const int n = snprintf(partial, sizeof(partial), "%s.sha256.%ld.partial", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof(partial))
        return refuse(-ENAMETOOLONG, NULL, path, error);
    snprintf(to, sizeof(to), "%s.sha256", path);
    FILE *file = fopen(partial, "wxe");
    if (file == NULL)
        return refuse(-errno, NULL, partial, error);
    int r = write_line(file, path, text) == 0 && fsync(fileno(file)) == 0 ? 0 : -errno;
    if (fclose(file) != 0 && r == 0)
        r = -errno;
    if (r == 0 && rename(partial, to) < 0)
        r = -errno;
    if (r == 0)
        r = sync_directory_of(to);
    if (r < 0)
        unlink(partial);
    return r < 0 ? refuse(r, NULL, to, error) : 0;
}

int checksum_read(const char *path, char text[CHECKSUM_TEXT_BYTES], baton_error *error)
{
    char from[PATH_BYTES];
    char line[CHECKSUM_TEXT_BYTES + 2] = "";
    const int n = snprintf(from, sizeof(from), "%s.sha256", path);
    if (n < 0 || (size_t)n >= sizeof(from))
        return 0; /* no file can have that name */
    FILE *file = fopen(from, "re");
    if (file == NULL)
        return errno == ENOENT ? 0 : refuse(-errno, NULL, from, error);
    const size_t got = fread(line, 1, sizeof(line) - 1, file);
    const bool failed = ferror(file) != 0;
    fclose(file);
    const char *digits = line[0] == '\\' ? line + 1 : line;
    const size_t hex = strspn(digits, "0123456789abcdef");
    if (failed)
        return refuse(-EIO, NULL, from, error);
    if (got < CHECKSUM_TEXT_BYTES || hex != CHECKSUM_TEXT_BYTES - 1 || digits[hex] != ' ')
        return refuse(BATON_E_DAMAGED, "it does not begin with a SHA-256 sum", from, error);
    memcpy(text, digits, hex);
    text[hex] = '\0';
    return 1;
}
