#include "examples/exchange/replay/output.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

static int refuse(const output *out, int status, baton_error *error)
{
    char what[192];
    snprintf(what, sizeof(what), "write %.150s", out->path);
    return baton_error_set(error, status, what, baton_status_text(status),
                           "check the directory, its permissions and its free space");
}

int output_open(output *out, const char *path, baton_error *error)
{
    out->file = NULL;
    out->part[0] = '\0';
    int bytes = snprintf(out->path, sizeof(out->path), "%s", path);
    if (bytes < 0 || bytes >= (int)sizeof(out->path) - 16)
        return refuse(out, -ENAMETOOLONG, error);

    struct stat there;
    bool direct = stat(path, &there) == 0 && !S_ISREG(there.st_mode);
    if (!direct)
        snprintf(out->part, sizeof(out->part), "%.*s.part", (int)sizeof(out->part) - 16, path);
    out->file = fopen(direct ? out->path : out->part, "we");
    if (!out->file) {
        int r = refuse(out, -errno, error);
        out->part[0] = '\0';
        return r;
    }
    return 0;
}

int output_finish(output *out, baton_error *error)
{
    if (!out->file)
        return 0;
    errno = 0;
    bool failed = fflush(out->file) != 0 || ferror(out->file);
    int r = failed ? (errno ? -errno : -EIO) : 0;
    if (fclose(out->file) != 0 && r == 0)
        r = -errno;
    out->file = NULL;
    return r < 0 ? refuse(out, r, error) : 0;
}

int output_publish(output *out, baton_error *error)
{
    if (!out->part[0])
        return 0;
    if (rename(out->part, out->path) < 0)
        return refuse(out, -errno, error);
    out->part[0] = '\0';
    return 0;
}

void output_close(output *out)
{
    if (out->file)
        fclose(out->file);
    if (out->part[0])
        unlink(out->part);
    out->file = NULL;
    out->part[0] = '\0';
}
