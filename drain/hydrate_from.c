/* drain/hydrate_from.c: a standby's first state from a copy that stands elsewhere: a directory of snapshots on
 * storage that both reach, or a file by `baton snapshot export`. What it may begin with the active says, by the
 * root: it keeps a snapshot, and the journal behind it, or it knows nothing of it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <baton/log.h>
#include <baton/snapshot_export.h>

#include "drain/bootstrap_private.h"
#include "snapshot/chain.h"
#include "snapshot/export.h"
#include "snapshot/names.h"

#define COPY_BYTES (1u << 20)

static const char *const what_copy = "copy a snapshot";

typedef struct {
    baton_fetching talk;
    bool is_open;
    const char *path;                     /* as it was given */
    char from[4096];                      /* the directory of snapshots there, or the file */
    char own[BATON_SNAPSHOTS_PATH_BYTES]; /* this standby's snapshots/ */
    baton_digest layout;
    baton_error passed; /* why the newest was passed over, and what to do */
    uint64_t passed_seq, passed_epoch;
    uint32_t passed_count;
    baton_error *error;
} hydrating_from;

/* Another one may do. */
static int pass_over(hydrating_from *self, const baton_snapshot_info *info, const char *why,
                     const char *todo)
{
    baton_log(WARN, "handover.hydrate_from_passed_over", BATON_LOG_TEXT("path", self->path),
              BATON_LOG_NUMBER("seq", info->seq), BATON_LOG_NUMBER("epoch", info->epoch),
              BATON_LOG_TEXT("why", why), BATON_LOG_TEXT("todo", todo));
    if (self->passed_count++ == 0) {
        baton_error_set(&self->passed, BATON_E_REFUSED, NULL, why, todo);
        self->passed_seq = info->seq;
        self->passed_epoch = info->epoch;
    }
    return 0;
}

/* ---- may it be used? ---- */

static int ask(hydrating_from *self, baton_digest root, bool *ret_named)
{
    baton_peer_snapshot said;
    memcpy(self->talk.wanted.root, root.bytes, sizeof(self->talk.wanted.root));
    int r = baton_fetching_ask(&self->talk, &said);
    if (r < 0)
        return r;
    *ret_named = memcmp(said.root, root.bytes, sizeof(said.root)) == 0;
    if (*ret_named) { /* its own copy would follow, which nobody wants */
        baton_fetching_close(&self->talk);
        self->is_open = false;
    }
    return 0;
}

static int talk(hydrating_from *self)
{
    if (self->is_open)
        return 0;
    int r = baton_fetching_open(&self->talk);
    if (r < 0)
        baton_fetching_close(&self->talk);
    self->is_open = r == 0;
    return r;
}

/* 1: the active names it, and this build reads it; 0: it was passed over. layout: of an image. */
static int judge(hydrating_from *self, const baton_snapshot_info *info, const baton_digest *layout)
{
    const baton_service *service = self->talk.target->service;
    char why[256];
    bool named = false;
    int r = talk(self);
    if (r < 0)
        return r;
    if (strcmp(info->service, service->name) != 0) {
        snprintf(why, sizeof(why), "it is of %s, this is %s", info->service, service->name);
        return pass_over(self, info, why, "give snapshots of the active's service");
    }
    if (!baton_digest_equal(info->journal_id, self->talk.journal_id))
        return pass_over(self, info, "it is of another journal than the active's",
                         "give snapshots that the active took");
    if (info->schema < service->schema.read_min || info->schema > service->schema.write) {
        snprintf(why, sizeof(why), "its schema is %u, %s %s reads %u to %u", info->schema,
                 service->name, service->version, service->schema.read_min, service->schema.write);
        return pass_over(self, info, why, "give one of a schema that this build reads");
    }
    if (layout != NULL && !baton_digest_equal(*layout, self->layout))
        return pass_over(self, info, "it is an image of another layout than this build's",
                         "give a portable one");
    r = ask(self, info->root, &named);
    if (r < 0 || named)
        return r < 0 ? r : 1;
    return pass_over(self, info, "the active does not name its root",
                     "give snapshots that the active still has (`baton snapshot ls` there)");
}

/* ---- out of a directory ---- */

typedef struct {
    const char *from;
    const baton_snapshot_info *info;
    baton_pace *pace;
    bool damaged; /* what is there can't be read */
} copying;

static int copy_bytes(copying *self, int source, int fd, uint8_t *buffer, baton_error *error)
{
    for (uint64_t at = 0;;) {
        const ssize_t n = pread(source, buffer, COPY_BYTES, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            self->damaged = n < 0;
            return n < 0 ? baton_error_set(error, -errno, "read a snapshot", NULL, NULL) : 0;
        }
        int r = baton_kept_write(fd, buffer, (size_t)n, at);
        if (r < 0)
            return baton_error_set(error, r, what_copy, NULL, "free disk space");
        at += (uint64_t)n;
        r = baton_pace_moved(self->pace, (uint64_t)n);
        if (r < 0)
            return baton_pace_ended(r, what_copy, error);
    }
}

static int fill(void *context, int fd, bool manifest, baton_error *error)
{
    copying *self = context;
    char path[BATON_SNAPSHOT_PATH_BYTES];
    int r = baton_snapshot_path(path, self->from, self->info->seq, self->info->epoch,
                                manifest ? BATON_NAME_MANIFEST : BATON_NAME_CHUNKS);
    if (r < 0)
        return r;
    const int source = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *buffer = source < 0 ? NULL : malloc(COPY_BYTES);
    if (source < 0) {
        self->damaged = true;
        r = baton_error_set(error, -errno, "read a snapshot", NULL, NULL);
    } else {
        r = buffer == NULL ? baton_error_set(error, -ENOMEM, what_copy, NULL, NULL)
                           : copy_bytes(self, source, fd, buffer, error);
        close(source);
    }
    free(buffer);
    return r;
}

/* 1: it is there, and good; 0: what stands in that directory is not. */
static int copy_one(hydrating_from *self, const baton_snapshot_info *info)
{
    copying files = {.from = self->from, .info = info, .pace = &self->talk.pace};
    char why[256];
    int r = baton_kept_is_good(self->own, info->root, &self->talk.pace, self->error);
    if (r != 0)
        return r;
    baton_pace_begin(&self->talk.pace, "copying", info->seq, info->stored_bytes);
    r = baton_kept_take(self->own, info->seq, info->epoch, fill, &files, self->error);
    if (r < 0 && !files.damaged)
        return r;
    if (r == 0) {
        *self->error = (baton_error){.offset = UINT64_MAX};
        r = baton_kept_is_good(self->own, info->root, &self->talk.pace, self->error);
    }
    if (r != 0 && (r == 1 || r == self->talk.pace.stopped))
        return r;
    baton_kept_give_up(self->own, info->seq, info->epoch);
    if (files.damaged || self->error->offset == UINT64_MAX)
        snprintf(why, sizeof(why), "%" PRIu64 "-%" PRIu64 " there is damaged: %.180s", info->seq,
                 info->epoch,
                 self->error->why[0] != '\0' ? self->error->why : "its manifest was changed");
    else
        snprintf(why, sizeof(why),
                 "%" PRIu64 "-%" PRIu64 " there is damaged, at byte %" PRIu64 ": %.160s", info->seq,
                 info->epoch, self->error->offset, self->error->why);
    return pass_over(self, info, why, "look at that storage (`baton snapshot verify`)");
}

/* What it adds to first: whatever has its name is complete. */
static int copy_chain(hydrating_from *self, const baton_snapshot_listed *list, uint32_t count,
                      uint32_t index)
{
    uint32_t chain[BATON_PARENTS_MAX];
    uint32_t length = baton_snapshot_chain_indices(list, count, index, chain, BATON_PARENTS_MAX);
    if (length == 0)
        return pass_over(self, &list[index].info, "an image that it adds to is not there",
                         "give a directory with all of them, as it was");
    int r = 1;
    while (r == 1 && length > 0)
        r = copy_one(self, &list[chain[--length]].info);
    return r;
}

static int image_layout(const baton_snapshot_listed *listed, baton_digest *ret_layout,
                        baton_error *error)
{
    baton_snapshot_manifest manifest = {0};
    baton_io *io = NULL;
    int r =
        baton_io_open(&(baton_io_options){.choice = BATON_IO_THREADS, .ops_max = 1}, &io, error);
    if (r == 0)
        r = baton_snapshot_manifest_load(io, listed->manifest_path, listed->info.seq,
                                         listed->info.epoch, &manifest, error);
    *ret_layout = manifest.image.layout;
    baton_snapshot_manifest_free(&manifest);
    baton_io_close(io);
    return r;
}

/* 1: *ret_root is there; 0: it was passed over. */
static int try_listed(hydrating_from *self, const baton_snapshot_listed *list, uint32_t count,
                      uint32_t index, baton_digest *ret_root)
{
    const baton_snapshot_listed *listed = &list[index];
    const bool is_image = baton_snapshot_is_image(&listed->info);
    baton_digest layout;
    int r = 0;
    if (listed->status != 0)
        return pass_over(self, &listed->info, "its manifest can't be used",
                         "look at that storage (`baton snapshot verify`)");
    if (is_image && image_layout(listed, &layout, self->error) < 0)
        return pass_over(self, &listed->info, self->error->why, "give another one");
    r = judge(self, &listed->info, is_image ? &layout : NULL);
    if (r == 1)
        r = copy_chain(self, list, count, index);
    if (r == 1)
        *ret_root = listed->info.root;
    return r;
}

static int out_of_directory(hydrating_from *self, baton_digest *ret_root)
{
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    int r = baton_snapshot_list(self->from, &list, &count, self->error);
    for (uint32_t i = 0; i < count && r == 0; i++)
        r = try_listed(self, list, count, i, ret_root);
    free(list);
    return r;
}

/* ---- out of a file ---- */

static void file_progress(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    hydrating_from *self = context;
    baton_pace *pace = &self->talk.pace;
    pace->progress.of = all_bytes;
    (void)!baton_pace_moved(pace, done_bytes - pace->progress.done);
}

static int file_stop(void *context, baton_error *error)
{
    const hydrating_from *self = context;
    const int r = self->talk.pace.stopped;
    return r < 0 ? baton_pace_ended(r, what_copy, error) : 0;
}

static int out_of_file(hydrating_from *self, baton_digest *ret_root)
{
    const baton_snapshot_transfer transfer = {.force = true, /* over what a crash has left */
                                              .progress = file_progress,
                                              .stop = file_stop,
                                              .context = self};
    baton_snapshot_info info = {.seq = 0};
    baton_digest layout;
    int r = baton_snapshot_export_look(self->from, &info, &layout, self->error);
    if (r == 0)
        r = judge(self, &info, baton_snapshot_is_image(&info) ? &layout : NULL);
    if (r != 1)
        return r == BATON_E_DAMAGED ? pass_over(self, &info, self->error->why, self->error->todo)
                                    : r;
    r = baton_kept_is_good(self->own, info.root, &self->talk.pace, self->error);
    baton_pace_begin(&self->talk.pace, "copying", info.seq, info.stored_bytes);
    if (r == 0)
        r = baton_snapshot_import(self->from, self->own, &transfer, &info, self->error);
    if (r == BATON_E_DAMAGED)
        return pass_over(self, &info, self->error->why, self->error->todo);
    if (r < 0)
        return r;
    *ret_root = info.root;
    return 1;
}

/* ---- the whole ---- */

static int refuse(const hydrating_from *self)
{
    static const char *const otherwise =
        "or leave --hydrate-from out: then the active sends its own";
    char what[192], why[256], todo[256];
    snprintf(what, sizeof(what), "begin with --hydrate-from %.150s", self->path);
    if (self->passed_count == 0)
        return baton_error_set(self->error, BATON_E_NOT_FOUND, what, "there is no snapshot in it",
                               "give the directory of the active's snapshots, a copy of it, or a "
                               "file by `baton snapshot export`");
    snprintf(todo, sizeof(todo), "%.170s; %s", self->passed.todo, otherwise);
    if (self->passed_count == 1)
        snprintf(why, sizeof(why), "%.250s", self->passed.why);
    else
        snprintf(why, sizeof(why),
                 "none of its %u snapshots can be used; the newest, %" PRIu64 "-%" PRIu64
                 ": %.160s",
                 self->passed_count, self->passed_seq, self->passed_epoch, self->passed.why);
    return baton_error_set(self->error, BATON_E_REFUSED, what, why, todo);
}

/* A data directory's snapshots/, the directory itself, or a file. */
static int find_source(hydrating_from *self, bool *ret_is_file)
{
    struct stat there;
    int r = baton_snapshots_path(self->from, sizeof(self->from), self->path);
    if (r < 0)
        return baton_error_set(self->error, r, "option --hydrate-from", NULL,
                               "give a shorter path");
    *ret_is_file = false;
    if (stat(self->from, &there) == 0 && S_ISDIR(there.st_mode))
        return 0;
    snprintf(self->from, sizeof(self->from), "%s", self->path);
    if (stat(self->from, &there) < 0)
        return baton_error_setf(self->error, -errno, "option --hydrate-from",
                                "give a directory of snapshots, or an exported file", "%.150s: %s",
                                self->path, strerror(errno));
    *ret_is_file = !S_ISDIR(there.st_mode);
    return 0;
}

int baton_hydrate_from(const baton_follower_target *target, const char *path,
                       baton_digest *ret_root, baton_error *error)
{
    bool is_file = false;
    hydrating_from self = {.path = path, .error = error};
    baton_fetching_init(&self.talk, target, error);
    if (target->service->layout != NULL)
        self.layout = baton_layout_digest(target->service->layout);
    int r = baton_snapshots_path(self.own, sizeof(self.own), target->place->directory);
    if (r < 0)
        return baton_error_set(error, r, what_copy, NULL, "give the directory a shorter path");
    r = find_source(&self, &is_file);
    if (r == 0)
        r = talk(&self); /* before anything is read: whoever does not fit is told so at once */
    if (r == 0)
        r = is_file ? out_of_file(&self, ret_root) : out_of_directory(&self, ret_root);
    baton_fetching_close(&self.talk);
    if (r == 0)
        r = refuse(&self);
    if (r < 0)
        return r;
    char root[BATON_DIGEST_TEXT_BYTES];
    baton_log(INFO, "handover.hydrated_from", BATON_LOG_TEXT("path", path),
              BATON_LOG_TEXT("root", baton_digest_text(*ret_root, root)));
    return 0;
}
