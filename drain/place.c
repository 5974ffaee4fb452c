/* drain/place.c: a directory's own number, and short notes in it. */
#include "drain/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <baton/log.h>

#include "drain/describe.h"
#include "drain/other_directory.h"

#define PATH_BYTES 4300

/* ---- notes ---- */

static int write_all(const char *path, const char *text)
{
    const size_t bytes = strlen(text);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    int r = fd < 0 ? -errno : 0;
    for (size_t done = 0; r == 0 && done < bytes;) {
        const ssize_t n = write(fd, text + done, bytes - done);
        if (n < 0 && errno != EINTR)
            r = -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (fd >= 0)
        close(fd);
    return r;
}

int baton_directory_flush(const char *directory)
{
    const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || fsync(fd) < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return r;
}

int baton_note_write(const char *directory, const char *name, const char *text, baton_error *error)
{
    char path[PATH_BYTES], partial[PATH_BYTES];
    const int n = snprintf(path, sizeof(path), "%s/%s", directory, name);
    const int m = snprintf(partial, sizeof(partial), "%s/%s.partial", directory, name);
    int r = n < 0 || m < 0 || (size_t)m >= sizeof(partial) ? -ENAMETOOLONG : 0;
    if (r == 0)
        r = write_all(partial, text);
    if (r == 0 && rename(partial, path) < 0)
        r = -errno;
    if (r == 0)
        r = baton_directory_flush(directory);
    return r < 0 ? baton_error_setf(error, r, "keep a note of the handover", "free disk space",
                                    "%.150s/%s: %s", directory, name, baton_status_text(r))
                 : 0;
}

bool baton_note_read(const char *directory, const char *name, char *text, size_t bytes)
{
    char path[PATH_BYTES];
    const int n = snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = n < 0 || (size_t)n >= sizeof(path) ? NULL : fopen(path, "re");
    const size_t got = file != NULL ? fread(text, 1, bytes - 1, file) : 0;
    if (file != NULL)
        fclose(file);
    text[got] = '\0';
    return got > 0;
}

/* ---- the place ---- */

static int number_of(baton_place *place, baton_error *error)
{
    char text[BATON_NONCE_TEXT_BYTES + 8];
    baton_digest number = {{0}};
    if (baton_note_read(place->directory, "PLACE", text, sizeof(text))) {
        text[strcspn(text, "\n")] = '\0';
        if (baton_digest_parse(text, &number) < 0)
            return baton_error_setf(error, BATON_E_DAMAGED, "handover",
                                    "remove that file: a new number is drawn at the next start",
                                    "%.150s/PLACE does not hold 32 hex digits", place->directory);
        memcpy(place->place, number.bytes, sizeof(place->place));
        return 0;
    }
    if (getrandom(place->place, sizeof(place->place), 0) != (ssize_t)sizeof(place->place))
        return baton_error_set(error, -errno, "handover", "no random bytes", NULL);
    (void)baton_nonce_text(place->place, text);
    strcat(text, "\n");
    return baton_note_write(place->directory, "PLACE", text, error);
}

int baton_place_open(baton_place *place, const char *directory, const char *address,
                     baton_error *error)
{
    char text[32], absolute[PATH_MAX];
    *place = (baton_place){.run_epoch = 0};
    if (realpath(directory, absolute) == NULL)
        return baton_error_set(error, -errno, directory, NULL, "give --dir another path");
    if (strlen(absolute) >= sizeof(place->directory))
        return baton_error_set(error, -ENAMETOOLONG, directory,
                               "another instance would not know it",
                               "give a directory whose absolute path is shorter");
    memcpy(place->directory, absolute, strlen(absolute) + 1);
    if (gethostname(place->host, sizeof(place->host) - 1) < 0)
        place->host[0] = '\0';
    snprintf(place->address, sizeof(place->address), "%s", address);
    if (baton_note_read(place->directory, "RUN-EPOCH", text, sizeof(text)))
        place->run_epoch = strtoull(text, NULL, 10);
    if (baton_note_read(place->directory, "FORCED-EPOCH", text, sizeof(text)))
        place->forced_epoch = strtoull(text, NULL, 10);
    return number_of(place, error);
}

int baton_place_run(baton_place *place, uint64_t run_epoch, baton_error *error)
{
    char text[32];
    if (run_epoch < place->run_epoch)
        return baton_error_setf(
            error, BATON_E_REFUSED, "handover",
            "that run was resumed or followed by another one: look at its status",
            "run epoch %llu is below %llu, the highest that was heard here",
            (unsigned long long)run_epoch, (unsigned long long)place->run_epoch);
    if (run_epoch == place->run_epoch)
        return 0;
    snprintf(text, sizeof(text), "%llu\n", (unsigned long long)run_epoch);
    int r = baton_note_write(place->directory, "RUN-EPOCH", text, error);
    if (r == 0)
        place->run_epoch = run_epoch;
    return r;
}

void baton_place_heard(baton_place *place, uint64_t run_epoch)
{
    baton_error error;
    if (run_epoch > place->run_epoch && baton_place_run(place, run_epoch, &error) < 0)
        baton_log(WARN, "handover.run_epoch", BATON_LOG_TEXT("why", error.why));
}

void baton_place_heard_epoch(baton_place *place, uint64_t epoch)
{
    char text[32];
    baton_error error;
    if (baton_epoch_forced_count(epoch) <= baton_epoch_forced_count(place->forced_epoch))
        return;
    snprintf(text, sizeof(text), "%llu\n", (unsigned long long)epoch);
    if (baton_note_write(place->directory, "FORCED-EPOCH", text, &error) == 0)
        place->forced_epoch = epoch;
    else
        baton_log(WARN, "handover.forced_epoch", BATON_LOG_TEXT("why", error.why));
}

baton_peer_place baton_place_put(const baton_place *place, uint64_t highest_header)
{
    baton_peer_place wire = {
        .highest_header = baton_le64_put(highest_header),
        .run_epoch = baton_le64_put(place->run_epoch),
    };
    memcpy(wire.place, place->place, sizeof(wire.place));
    memcpy(wire.host, place->host, strlen(place->host));
    return wire;
}

baton_peer_place baton_place_put_active(const baton_place *place, uint64_t epoch)
{
    baton_peer_place wire = baton_place_put(place, epoch);
    baton_position after;
    baton_digest digest;
    const uint64_t from = baton_epoch_forced_count(epoch) * BATON_EPOCH_FORCED;
    if (from > 0 && baton_begun_after(place->directory, from, &after, &digest) == 0) {
        wire.begun_after = baton_peer_position_put(after);
        memcpy(wire.begun_digest, digest.bytes, sizeof(wire.begun_digest));
    }
    return wire;
}
