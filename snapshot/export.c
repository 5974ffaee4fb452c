/* snapshot/export.c: a snapshot into one file, complete or absent. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/chunk.h"
#include "snapshot/export.h"
#include "snapshot/names.h"
#include "snapshot/store.h"

#define WHAT         "export a snapshot"
#define PARTIALS_MAX 100u /* of one process number, left by dead ones */

static const baton_snapshot_transfer no_transfer;

typedef struct {
    baton_io *io;
    const baton_snapshot_transfer *transfer;
    const char *path;
    char partial[BATON_SNAPSHOT_PATH_BYTES];
    size_t partial_length; /* without the end that says so */
    char manifest_path[BATON_SNAPSHOT_PATH_BYTES];
    char chunks_path[BATON_SNAPSHOT_PATH_BYTES];
    uint8_t *manifest_file; /* malloc'ed: what goes into the file as it is */
    uint64_t manifest_bytes;
    baton_snapshot_manifest manifest;
    baton_io_file chunks;
    baton_io_file out;
    uint64_t out_bytes;
    uint8_t *stored; /* one chunk with the zeros after it */
    baton_chunk_encoder encoder;
    baton_error *error;
} exporting;

baton_digest baton_export_record_digest(const baton_export_record *record, const void *bytes,
                                        uint32_t bytes_count)
{
    baton_digest_stream stream;
    baton_digest_init(&stream);
    baton_digest_update(&stream, record, offsetof(baton_export_record, digest));
    baton_digest_update(&stream, bytes, bytes_count);
    return baton_digest_final(&stream);
}

static int refuse(const exporting *self, int status, const char *path, uint64_t offset,
                  const char *why)
{
    const bool full = baton_io_is_full_disk(status);
    const bool damaged = status == BATON_E_DAMAGED;
    baton_error_set(self->error, full ? BATON_E_NO_SPACE : status, WHAT, why,
                    full      ? "make room on its disk, then try again"
                    : damaged ? "export another one (baton snapshot ls)"
                              : "check the file, its directory and their rights");
    baton_error_at(self->error, path, offset);
    return full ? BATON_E_NO_SPACE : status;
}

/* ---- what is exported ---- */

/* Removed since it was listed, as long as the manifest says so too; else something is missing. */
static int refuse_missing(const exporting *self, const char *path)
{
    baton_io_file file;
    int r = baton_io_file_open(self->io, self->manifest_path, BATON_IO_FOR_READ, &file);
    if (r != -ENOENT) {
        if (r == 0)
            baton_io_file_close(self->io, file);
        return refuse(self, BATON_E_DAMAGED, path, 0, "the manifest's chunks file is missing");
    }
    baton_error_set(self->error, BATON_E_GONE, WHAT, "it was removed after it was listed",
                    "list them again (baton snapshot ls)");
    baton_error_at(self->error, self->manifest_path, UINT64_MAX);
    return BATON_E_GONE;
}

static int read_manifest_file(exporting *self)
{
    baton_io_file file;
    int r = baton_io_file_open(self->io, self->manifest_path, BATON_IO_FOR_READ, &file);
    if (r == -ENOENT)
        return refuse_missing(self, self->manifest_path);
    if (r < 0)
        return refuse(self, r, self->manifest_path, UINT64_MAX, NULL);
    r = baton_io_file_size(self->io, file, &self->manifest_bytes);
    if (r == 0 &&
        self->manifest_bytes > sizeof(baton_manifest_header) + BATON_MANIFEST_BODY_BYTES_MAX)
        r = BATON_E_DAMAGED;
    if (r == 0) {
        self->manifest_file = malloc(self->manifest_bytes > 0 ? self->manifest_bytes : 1);
        r = self->manifest_file == NULL ? -ENOMEM : 0;
    }
    if (r == 0) {
        const int64_t n =
            baton_io_file_read(self->io, file, self->manifest_file, self->manifest_bytes, 0);
        r = n < 0 ? (int)n : (uint64_t)n == self->manifest_bytes ? 0 : BATON_E_DAMAGED;
    }
    baton_io_file_close(self->io, file);
    return r < 0 ? refuse(self, r, self->manifest_path, 0, NULL) : 0;
}

static int read_manifest(exporting *self, const baton_snapshot_listed *listed)
{
    int r = read_manifest_file(self);
    if (r == 0)
        r = baton_snapshot_manifest_decode(self->manifest_file, self->manifest_bytes,
                                           self->manifest_path, &self->manifest, self->error);
    if (r < 0)
        return r;
    const baton_snapshot_info *info = &self->manifest.info;
    if (info->seq != listed->info.seq || info->epoch != listed->info.epoch)
        return refuse(self, BATON_E_DAMAGED, self->manifest_path, 0,
                      "its seq and epoch are not those of its name");
    if (baton_digest_is_zero(info->parent))
        return 0;
    baton_error_set(self->error, BATON_E_INVALID, WHAT,
                    "it adds to another one, and would be worth nothing without it",
                    "export one that stands alone: a full image, or a portable one");
    baton_error_at(self->error, self->manifest_path, UINT64_MAX);
    return BATON_E_INVALID;
}

/* ---- the file ---- */

static int put(exporting *self, const void *bytes, uint64_t bytes_count)
{
    int r = baton_io_file_write(self->io, self->out, bytes, bytes_count, self->out_bytes);
    if (r < 0)
        return refuse(self, r, self->partial, self->out_bytes, NULL);
    if (self->transfer->observe != NULL)
        self->transfer->observe(self->transfer->context, bytes, bytes_count);
    self->out_bytes += bytes_count;
    return 0;
}

static int put_header(exporting *self)
{
    baton_export_header header = {
        .version = baton_le32_put(BATON_EXPORT_VERSION),
        .min_reader = baton_le32_put(BATON_EXPORT_MIN_READER),
        .manifest_bytes = baton_le64_put(self->manifest_bytes),
        .flags = baton_le64_put(0),
    };
    memcpy(header.magic, BATON_EXPORT_MAGIC, sizeof(header.magic));
    header.digest = baton_digest_of(&header, offsetof(baton_export_header, digest));
    int r = put(self, &header, sizeof(header));
    return r < 0 ? r : put(self, self->manifest_file, self->manifest_bytes);
}

static int put_chunk(exporting *self, const baton_snapshot_chunk *chunk)
{
    const uint64_t padded = baton_snapshot_padded(chunk->stored_bytes);
    baton_snapshot_chunk travels = {.stored_bytes = chunk->stored_bytes};
    const uint8_t *bytes = self->stored;
    const int64_t n =
        baton_io_file_read(self->io, self->chunks, self->stored, padded, chunk->offset);
    if (n < 0)
        return refuse(self, (int)n, self->chunks_path, chunk->offset, NULL);
    if ((uint64_t)n != padded)
        return refuse(self, BATON_E_DAMAGED, self->chunks_path, chunk->offset + (uint64_t)n,
                      "it is shorter than its manifest says");
    if (!baton_chunk_digest_fits(chunk, self->stored))
        return refuse(self, BATON_E_DAMAGED, self->chunks_path, chunk->offset,
                      "the bytes of a chunk do not fit its digest");
    if (chunk->codec == BATON_CODEC_RAW) /* compressed ones travel as they are */
        baton_chunk_encode(&self->encoder, self->stored, chunk->stored_bytes, &travels, &bytes);

    baton_export_record record = {
        .bytes = baton_le32_put(travels.stored_bytes),
        .travel = baton_le32_put(travels.codec == BATON_CODEC_LZ4 ? BATON_TRAVEL_LZ4
                                                                  : BATON_TRAVEL_AS_STORED),
    };
    record.digest = baton_export_record_digest(&record, bytes, travels.stored_bytes);
    int r = put(self, &record, sizeof(record));
    return r < 0 ? r : put(self, bytes, travels.stored_bytes);
}

static int put_all(exporting *self)
{
    const baton_snapshot_info *info = &self->manifest.info;
    int r = put_header(self);
    for (uint32_t i = 0; r == 0 && i < info->chunks_count; i++) {
        const baton_snapshot_chunk *chunk = &self->manifest.chunks[i];
        r = put_chunk(self, chunk);
        if (r == 0 && self->transfer->progress != NULL)
            self->transfer->progress(self->transfer->context,
                                     chunk->offset + baton_snapshot_padded(chunk->stored_bytes),
                                     info->stored_bytes);
    }
    return r;
}

/* ---- from nothing to a name ---- */

/* -EEXIST, told, when there is anything of that name. */
static int check_absent(const exporting *self)
{
    baton_io_file file;
    int r = baton_io_file_open(self->io, self->path, BATON_IO_FOR_READ, &file);
    if (r == -ENOENT)
        return 0;
    if (r == 0)
        baton_io_file_close(self->io, file);
    baton_error_set(self->error, r == 0 ? -EEXIST : r, WHAT,
                    r == 0 ? "there is a file of that name" : NULL,
                    r == 0 ? "choose another name, or delete it first" : "check its rights");
    baton_error_at(self->error, self->path, UINT64_MAX);
    return r == 0 ? -EEXIST : r;
}

static int directory_sync(const exporting *self)
{
    char directory[BATON_SNAPSHOT_PATH_BYTES];
    snprintf(directory, sizeof(directory), "%s", self->path);
    char *slash = strrchr(directory, '/');
    if (slash == NULL)
        return baton_io_directory_sync(self->io, ".");
    slash[slash == directory ? 1 : 0] = '\0'; /* "/file" is in "/" */
    return baton_io_directory_sync(self->io, directory);
}

/* Somebody of the same number may have died here before us: in a container all have the same. It may
 * also live, in another one: its file is not touched. */
static int create_partial(exporting *self)
{
    int r = -EEXIST;
    for (uint32_t i = 0; r == -EEXIST && i < PARTIALS_MAX; i++) {
        if (i > 0)
            snprintf(self->partial + self->partial_length,
                     sizeof(self->partial) - self->partial_length, "-%u.partial", i);
        r = baton_io_file_open(self->io, self->partial, BATON_IO_FOR_WRITE | BATON_IO_CREATE,
                               &self->out);
    }
    return r < 0 ? refuse(self, r, self->partial, UINT64_MAX, NULL) : 0;
}

static int open_all(exporting *self)
{
    int r = baton_io_file_open(self->io, self->chunks_path, BATON_IO_FOR_READ, &self->chunks);
    if (r == -ENOENT)
        return refuse_missing(self, self->chunks_path);
    if (r < 0)
        return refuse(self, r, self->chunks_path, UINT64_MAX, NULL);
    self->stored = malloc(baton_snapshot_padded(self->manifest.chunk_bytes));
    r = self->stored == NULL ? -ENOMEM : 0;
    if (r == 0)
        r = baton_chunk_encoder_init(&self->encoder, self->transfer->compress,
                                     (uint32_t)self->manifest.chunk_bytes, 0, NULL);
    if (r < 0)
        return refuse(self, r, self->path, UINT64_MAX, NULL);
    return create_partial(self);
}

static int publish(exporting *self)
{
    int r = baton_io_file_sync(self->io, self->out);
    if (r < 0)
        return refuse(self, r, self->partial, UINT64_MAX, NULL);
    if (self->transfer->settle != NULL)
        r = self->transfer->settle(self->transfer->context, self->error);
    if (r == 0)
        r = check_absent(self); /* somebody else's, since we looked first */
    if (r < 0)
        return r;
    r = baton_io_rename(self->io, self->partial, self->path);
    if (r < 0)
        return refuse(self, r, self->path, UINT64_MAX, NULL);
    r = directory_sync(self);
    return r < 0 ? refuse(self, r, self->path, UINT64_MAX,
                          "it is there, but a power cut may take it: its directory can't be "
                          "flushed")
                 : 0;
}

static int name_all(exporting *self, const char *directory, const baton_snapshot_listed *listed)
{
    const uint64_t seq = listed->info.seq;
    const uint64_t epoch = listed->info.epoch;
    const int n =
        snprintf(self->partial, sizeof(self->partial), "%s.%ld", self->path, (long)getpid());
    self->partial_length = n >= 0 ? (size_t)n : sizeof(self->partial);
    if (self->partial_length < sizeof(self->partial) - sizeof("-999.partial") &&
        baton_snapshot_path(self->manifest_path, directory, seq, epoch, BATON_NAME_MANIFEST) == 0 &&
        baton_snapshot_path(self->chunks_path, directory, seq, epoch, BATON_NAME_CHUNKS) == 0) {
        strcpy(self->partial + self->partial_length, ".partial");
        return 0;
    }
    return baton_error_set(self->error, BATON_E_INVALID, WHAT, "a path is too long",
                           "use shorter ones");
}

int baton_snapshot_export_with(baton_io *io, const char *directory,
                               const baton_snapshot_listed *listed, const char *path,
                               const baton_snapshot_transfer *transfer, uint64_t *ret_bytes,
                               baton_error *error)
{
    exporting self = {
        .io = io,
        .transfer = transfer != NULL ? transfer : &no_transfer,
        .path = path,
        .chunks = BATON_IO_NO_FILE,
        .out = BATON_IO_NO_FILE,
        .error = error,
    };
    int r = name_all(&self, directory, listed);
    if (r == 0)
        r = check_absent(&self);
    if (r == 0)
        r = read_manifest(&self, listed);
    if (r == 0)
        r = open_all(&self);
    if (r == 0)
        r = put_all(&self);
    if (r == 0)
        r = publish(&self);
    baton_io_file_close(io, self.chunks);
    if (self.out != BATON_IO_NO_FILE) {
        baton_io_file_close(io, self.out);
        const int gone = r < 0 ? baton_io_unlink(io, self.partial) : 0;
        (void)gone; /* -ENOENT once it has its name */
    }
    baton_chunk_encoder_fini(&self.encoder);
    baton_snapshot_manifest_free(&self.manifest);
    free(self.manifest_file);
    free(self.stored);
    if (r == 0)
        *ret_bytes = self.out_bytes;
    return r;
}

int baton_snapshot_export(const char *directory, const baton_snapshot_listed *listed,
                          const char *path, const baton_snapshot_transfer *transfer,
                          uint64_t *ret_bytes, baton_error *error)
{
    baton_io *io = NULL;
    int r =
        baton_io_open(&(baton_io_options){.choice = BATON_IO_THREADS, .ops_max = 1}, &io, error);
    if (r == 0)
        r = baton_snapshot_export_with(io, directory, listed, path, transfer, ret_bytes, error);
    baton_io_close(io);
    return r;
}
