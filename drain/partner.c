/* drain/partner.c: two directories, and one authority. */
#include "drain/partner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <baton/log.h>

#include "drain/other_directory.h"
#include "drain/peer_socket.h"

#define PATH_BYTES    4200
#define TURNS_MAX     5000 /* of a millisecond */
#define LOCK_TRIES    500  /* of: */
#define LOCK_PAUSE_NS 10000000

static const char *const what_decide = "take over this directory";

static int write_line(const char *path, const char *partner)
{
    char line[PATH_BYTES];
    const int n = snprintf(line, sizeof(line), "%s\n", partner);
    if (n < 0 || (size_t)n >= sizeof(line))
        return -ENAMETOOLONG;
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        return -errno;
    int r = write(fd, line, (size_t)n) == n && fsync(fd) == 0 ? 0 : -EIO;
    close(fd);
    return r;
}

static int flush_directory(const char *directory)
{
    const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || fsync(fd) < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return r;
}

static bool read_partner(const char *directory, char partner[PATH_BYTES])
{
    char path[PATH_BYTES];
    const int n = snprintf(path, sizeof(path), "%s/PARTNER", directory);
    FILE *file = n < 0 || (size_t)n >= sizeof(path) ? NULL : fopen(path, "re");
    const bool there = file != NULL && fgets(partner, PATH_BYTES, file) != NULL;
    if (file != NULL)
        fclose(file);
    char *end = there ? strchr(partner, '\n') : NULL;
    if (end == NULL || partner[0] != '/')
        return false;
    *end = '\0';
    return true;
}

/* What this process wrote and flushed last: two that hand over to and fro say the same each time, and a
 * flush is felt by whoever waits for an answer of the active. */
static struct {
    char directory[PATH_BYTES];
    char partner[PATH_BYTES];
} written;

static bool stands_there(const char *directory, const char *partner)
{
    char there[PATH_BYTES];
    return strcmp(written.directory, directory) == 0 && strcmp(written.partner, partner) == 0 &&
           read_partner(directory, there) && strcmp(there, partner) == 0;
}

int baton_partner_write(const char *directory, const char *partner, baton_error *error)
{
    char path[PATH_BYTES], partial[PATH_BYTES];
    if (stands_there(directory, partner))
        return 0;
    written.directory[0] = '\0';
    const int n = snprintf(path, sizeof(path), "%s/PARTNER", directory);
    const int m = snprintf(partial, sizeof(partial), "%s/PARTNER.partial", directory);
    int r = n < 0 || m < 0 || (size_t)m >= sizeof(partial) ? -ENAMETOOLONG : 0;
    if (r == 0)
        r = write_line(partial, partner);
    if (r == 0 && rename(partial, path) < 0)
        r = -errno;
    if (r == 0)
        r = flush_directory(directory);
    if (r == 0)
        (void)snprintf(written.partner, sizeof(written.partner), "%s", partner);
    if (r == 0)
        (void)snprintf(written.directory, sizeof(written.directory), "%s", directory);
    return r < 0 ? baton_error_set(error, r, "note the other directory of a handover", NULL,
                                   "free disk space")
                 : 0;
}

bool baton_partner_socket(const char *directory, char *ret_socket, uint32_t bytes)
{
    char partner[PATH_BYTES];
    if (!read_partner(directory, partner))
        return false;
    const int n = snprintf(ret_socket, bytes, "%s/" BATON_HANDOVER_SOCKET, partner);
    return n > 0 && (uint32_t)n < bytes;
}

static int begin(baton_engine *engine, uint64_t epoch, baton_error *error)
{
    int r = BATON_E_AGAIN;
    for (uint32_t i = 0; r == BATON_E_AGAIN && i < TURNS_MAX; i++) {
        r = baton_engine_promote(engine, epoch, error);
        const int turned = r == BATON_E_AGAIN ? baton_engine_turn(engine, 1000000, error) : 0;
        if (turned < 0)
            return turned;
    }
    return r;
}

/* Both LOCKs are held. */
static int decide(baton_engine *engine, const char *directory, const char *partner,
                  baton_error *error)
{
    uint64_t own_header = 0, other_header = 0, own_name = 0, other_name = 0;
    int r = baton_highest_header(directory, &own_header);
    if (r == 0)
        r = baton_highest_header(partner, &other_header);
    if (r == 0)
        r = baton_highest_name(directory, &own_name);
    if (r == 0)
        r = baton_highest_name(partner, &other_name);
    if (r < 0)
        return baton_error_set(error, r, what_decide, "the other directory can't be read", partner);
    if (own_header == 0 || other_header >= own_header)
        return baton_error_setf(error, BATON_E_REFUSED, what_decide,
                                "start that one, and this one with --standby-of it",
                                "the authority is %.150s, with epoch %llu", partner,
                                (unsigned long long)other_header);
    uint64_t epoch = own_name > other_name ? own_name : other_name;
    if (own_header + 1 > epoch) /* granted, and so burnt, whether a name stands there or not */
        epoch = own_header + 1;
    r = begin(engine, epoch + 1, error);
    if (r == 0)
        baton_log(WARN, "handover.decided", BATON_LOG_TEXT("other", partner),
                  BATON_LOG_NUMBER("other_epoch", other_header),
                  BATON_LOG_NUMBER("epoch", epoch + 1));
    return r;
}

/* A killed process lets go a little late (J10). */
static int lock_patiently(const char *partner, int *ret_fd)
{
    int r = baton_lock_other(partner, ret_fd);
    for (uint32_t i = 0; r == BATON_E_LOCKED && i < LOCK_TRIES; i++) {
        nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NS}, NULL);
        r = baton_lock_other(partner, ret_fd);
    }
    return r;
}

int baton_partner_decide(baton_engine *engine, const char *directory, baton_error *error)
{
    char partner[PATH_BYTES];
    int lock_fd = -1;
    if (!read_partner(directory, partner))
        return BATON_E_NOT_FOUND;
    int r = lock_patiently(partner, &lock_fd);
    if (r == BATON_E_LOCKED)
        return baton_error_setf(error, BATON_E_REFUSED, what_decide,
                                "start this one with --standby-of it, or look at its status",
                                "an instance runs in %.150s, the other directory of its handover",
                                partner);
    if (r < 0)
        return baton_error_setf(error, BATON_E_REFUSED, what_decide,
                                "bring it back: which of the two is the authority stands in both",
                                "%.150s, the other directory of its handover, can't be locked",
                                partner);
    r = decide(engine, directory, partner, error);
    close(lock_fd);
    return r;
}
