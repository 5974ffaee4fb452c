/* snapshot/import.c: a snapshot out of one file into a directory, in the order of
 * docs/format/snapshot.md: it is there as a whole or not at all (S1), and only when every byte of
 * the file was found good (S2). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lz4.h>

#include "snapshot/chunk.h"
#include "snapshot/export.h"
#include "snapshot/names.h"
#include "snapshot/store.h"

#define WHAT "import a snapshot"

static const baton_snapshot_transfer no_transfer;

typedef struct {
    baton_io *io;
    const baton_snapshot_transfer *transfer;
    const char *path;
    const char *directory;
    baton_io_file in;
    uint64_t in_bytes; /* of the whole file */
    uint64_t at;       /* the next byte to read */
    uint8_t *manifest_file;
    uint64_t manifest_bytes;
    baton_snapshot_manifest manifest;
    uint8_t *travels; /* one chunk as it stands in the file */
    uint8_t *stored;  /* as it goes to disk, with the zeros after it */
    baton_io_file chunks;
    uint32_t kept_count;                      /* chunks that a killed import had brought */
    char names[4][BATON_SNAPSHOT_PATH_BYTES]; /* by baton_snapshot_name; the partial chunks' is the
                                                 import's own */
    bool leftovers;                           /* files of ours may be there */
    bool replaces;                            /* a damaged one, or itself */
    baton_error *error;
} importing;

static int refuse(const importing *self, int status, const char *path, uint64_t offset,
                  const char *why)
{
    const bool full = baton_io_is_full_disk(status);
    const bool damaged = status == BATON_E_DAMAGED;
    baton_error_set(self->error, full ? BATON_E_NO_SPACE : status, WHAT, why,
                    full      ? "make room on its disk, then try again"
                    : damaged ? "fetch the file again, or use another export"
                              : "check the file, the directory and their rights");
    baton_error_at(self->error, path, offset);
    return full ? BATON_E_NO_SPACE : status;
}

static int damaged(const importing *self, uint64_t offset, const char *why)
{
    return refuse(self, BATON_E_DAMAGED, self->path, offset, why);
}

/* ---- the file ---- */

static int take(importing *self, void *into, uint64_t bytes_count)
{
    if (bytes_count > self->in_bytes - self->at)
        return damaged(self, self->in_bytes, "it ends too early: a part is missing");
    const int64_t n = baton_io_file_read(self->io, self->in, into, bytes_count, self->at);
    if (n < 0)
        return refuse(self, (int)n, self->path, self->at, NULL);
    if ((uint64_t)n != bytes_count)
        return damaged(self, self->at + (uint64_t)n, "it became shorter");
    if (self->transfer->observe != NULL)
        self->transfer->observe(self->transfer->context, into, bytes_count);
    self->at += bytes_count;
    return 0;
}

static int take_header(importing *self)
{
    baton_export_header header;
    int r = take(self, &header, sizeof(header));
    if (r < 0)
        return r;
    if (memcmp(header.magic, BATON_EXPORT_MAGIC, sizeof(header.magic)) != 0)
        return damaged(self, 0, "it does not begin as an exported snapshot");
    const baton_digest digest = baton_digest_of(&header, offsetof(baton_export_header, digest));
    if (!baton_digest_equal(digest, header.digest))
        return damaged(self, 0, "its header does not fit its digest");
    if (baton_le32_get(header.min_reader) > BATON_EXPORT_VERSION)
        return refuse(self, BATON_E_NEWER_FORMAT, self->path, 0, "a newer version wrote it");
    if (baton_le64_get(header.flags) != 0)
        return refuse(self, BATON_E_UNKNOWN_TYPE, self->path, 0, "it has an unknown flag");
    self->manifest_bytes = baton_le64_get(header.manifest_bytes);
    return 0;
}

/* The manifest's own error counts its offset from its own beginning: here it is a part. */
static int decode_manifest(importing *self)
{
    const uint64_t begins = self->at - self->manifest_bytes;
    baton_error why = {.offset = UINT64_MAX};
    int r = baton_snapshot_manifest_decode(self->manifest_file, self->manifest_bytes, self->path,
                                           &self->manifest, &why);
    if (r == 0)
        return 0;
    if (self->error != NULL) {
        *self->error = why;
        if (why.offset != UINT64_MAX)
            self->error->offset += begins;
    }
    return r;
}

static int take_manifest(importing *self)
{
    if (self->manifest_bytes > self->in_bytes - self->at ||
        self->manifest_bytes > sizeof(baton_manifest_header) + BATON_MANIFEST_BODY_BYTES_MAX)
        return damaged(self, self->in_bytes, "it ends too early: a part is missing");
    self->manifest_file = malloc(self->manifest_bytes > 0 ? self->manifest_bytes : 1);
    if (self->manifest_file == NULL)
        return refuse(self, -ENOMEM, self->path, UINT64_MAX, NULL);
    int r = take(self, self->manifest_file, self->manifest_bytes);
    if (r == 0)
        r = decode_manifest(self);
    if (r < 0)
        return r;
    if (!baton_digest_is_zero(self->manifest.info.parent))
        return refuse(self, BATON_E_UNKNOWN_TYPE, self->path, sizeof(baton_export_header),
                      "it holds an image that adds to another one");
    const uint64_t room = baton_snapshot_padded(self->manifest.chunk_bytes);
    self->travels = malloc(room);
    self->stored = malloc(room);
    if (self->travels == NULL || self->stored == NULL)
        return refuse(self, -ENOMEM, self->path, UINT64_MAX, NULL);
    return 0;
}

/* Into self->stored, verified. Everything is checked before a byte is used. */
static int take_chunk(importing *self, const baton_snapshot_chunk *chunk)
{
    const uint64_t begins = self->at;
    baton_export_record record;
    int r = take(self, &record, sizeof(record));
    if (r < 0)
        return r;
    const uint32_t bytes = baton_le32_get(record.bytes);
    const uint32_t travel = baton_le32_get(record.travel);
    const bool lz4 = travel == BATON_TRAVEL_LZ4;
    if (travel > BATON_TRAVEL_LZ4 || (lz4 && chunk->codec != BATON_CODEC_RAW) ||
        (lz4 ? bytes == 0 || bytes >= chunk->stored_bytes : bytes != chunk->stored_bytes))
        return damaged(self, begins, "a record does not fit its chunk");
    r = take(self, self->travels, bytes);
    if (r < 0)
        return r;
    const baton_digest digest = baton_export_record_digest(&record, self->travels, bytes);
    if (!baton_digest_equal(digest, record.digest))
        return damaged(self, begins, "a record does not fit its digest");
    if (lz4 && LZ4_decompress_safe((const char *)self->travels, (char *)self->stored, (int)bytes,
                                   (int)chunk->stored_bytes) != (int)chunk->stored_bytes)
        return damaged(self, begins, "a record does not decompress to its chunk");
    if (!lz4)
        memcpy(self->stored, self->travels, bytes);
    memset(self->stored + chunk->stored_bytes, 0,
           baton_snapshot_padded(chunk->stored_bytes) - chunk->stored_bytes);
    if (!baton_chunk_digest_fits(chunk, self->stored))
        return damaged(self, begins, "a chunk does not fit its digest in the manifest");
    return 0;
}

/* ---- where it goes ---- */

static int check_neighbour(const importing *self, const baton_snapshot_listed *listed)
{
    const baton_snapshot_info *ours = &self->manifest.info;
    const baton_snapshot_info *theirs = &listed->info;
    int status = 0;
    if (listed->status != 0)
        return 0;
    if (strcmp(ours->service, theirs->service) != 0)
        status = BATON_E_OTHER_SERVICE;
    else if (!baton_digest_equal(ours->journal_id, theirs->journal_id))
        status = BATON_E_OTHER_JOURNAL;
    if (status == 0)
        return 0;
    baton_error_setf(self->error, status, WHAT, "choose its own directory, or insist (--force)",
                     status == BATON_E_OTHER_SERVICE
                         ? "it is of %s, and the directory holds snapshots of %s"
                         : "it is of another journal of %s than the directory's snapshots",
                     ours->service, theirs->service);
    baton_error_at(self->error, listed->manifest_path, UINT64_MAX);
    return status;
}

/* Over one of the same root: at every moment its chunks are the old ones or the right ones. */
static int check_same_name(importing *self, const baton_snapshot_listed *listed)
{
    const bool same =
        listed->status == 0 && baton_digest_equal(listed->info.root, self->manifest.info.root);
    self->replaces = self->transfer->force && (same || listed->status == BATON_E_DAMAGED);
    if (self->replaces)
        return 0;
    baton_error_set(self->error, -EEXIST, WHAT,
                    same                  ? "it is there already"
                    : listed->status == 0 ? "another one of its seq and epoch is there"
                                          : "one of its seq and epoch is there, not readable",
                    same || listed->status == BATON_E_DAMAGED
                        ? "verify that one; --force puts the file's bytes in its place"
                        : "choose another directory");
    baton_error_at(self->error, listed->manifest_path, UINT64_MAX);
    return -EEXIST;
}

static int check_directory(importing *self)
{
    const baton_snapshot_info *ours = &self->manifest.info;
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    int r = baton_snapshot_list_with(self->io, self->directory, &list, &count, self->error);
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        if (list[i].info.seq == ours->seq && list[i].info.epoch == ours->epoch)
            r = check_same_name(self, &list[i]);
        else if (!self->transfer->force)
            r = check_neighbour(self, &list[i]);
    }
    free(list);
    return r;
}

/* Made if need be, and its name flushed also when somebody else made it: nothing on the disk tells
 * whether that was done. */
static int make_directory(const importing *self)
{
    char parent[BATON_SNAPSHOT_PATH_BYTES];
    int r = baton_io_directory_make(self->io, self->directory);
    if (r < 0)
        return refuse(self, r, self->directory, UINT64_MAX, NULL);
    snprintf(parent, sizeof(parent), "%s/..", self->directory); /* shorter than a file in it */
    r = baton_io_directory_sync(self->io, parent);
    return r < 0 ? refuse(self, r, parent, UINT64_MAX, NULL) : 0;
}

/* A new inode: what a killed process still has in flight lands in the old one. */
static int create(const importing *self, baton_snapshot_name kind, baton_io_file *ret_file)
{
    const char *path = self->names[kind];
    int r = baton_io_unlink(self->io, path);
    if (r == 0 || r == -ENOENT)
        r = baton_io_file_open(self->io, path, BATON_IO_FOR_WRITE | BATON_IO_CREATE, ret_file);
    return r < 0 ? refuse(self, r, path, UINT64_MAX, NULL) : 0;
}

/* ---- what a killed import left ---- */

static bool is_there(importing *self, const baton_snapshot_chunk *chunk)
{
    const uint64_t padded = baton_snapshot_padded(chunk->stored_bytes);
    if (baton_io_file_read(self->io, self->chunks, self->stored, padded, chunk->offset) !=
        (int64_t)padded)
        return false;
    for (uint64_t i = chunk->stored_bytes; i < padded; i++)
        if (self->stored[i] != 0)
            return false;
    return baton_chunk_digest_fits(chunk, self->stored);
}

/* How many chunks, from the first on, are there and good. Their file may be written on: it is an
 * import's alone, whose writes go through the page cache and end with its process; direct writes of a
 * killed service, which land late (J10), go to other names. */
static int keep_chunks(importing *self)
{
    const baton_snapshot_info *info = &self->manifest.info;
    const char *path = self->names[BATON_NAME_CHUNKS_PARTIAL];
    uint64_t bytes = 0;
    int r =
        baton_io_file_open(self->io, path, BATON_IO_FOR_READ | BATON_IO_FOR_WRITE, &self->chunks);
    if (r < 0) {
        self->chunks = BATON_IO_NO_FILE;
        return r;
    }
    r = baton_io_file_size(self->io, self->chunks, &bytes);
    if (r == 0 && bytes <= info->stored_bytes)
        while (self->kept_count < info->chunks_count &&
               is_there(self, &self->manifest.chunks[self->kept_count]))
            self->kept_count++;
    if (self->kept_count > 0)
        return 0;
    baton_io_file_close(self->io, self->chunks);
    self->chunks = BATON_IO_NO_FILE;
    return -ENOENT;
}

static void tell_kept(const importing *self)
{
    const baton_snapshot_chunk *last = &self->manifest.chunks[self->kept_count - 1];
    if (self->transfer->resumed != NULL)
        self->transfer->resumed(self->transfer->context,
                                last->offset + baton_snapshot_padded(last->stored_bytes),
                                self->manifest.info.stored_bytes);
}

static int open_chunks(importing *self)
{
    if (keep_chunks(self) < 0)
        return create(self, BATON_NAME_CHUNKS_PARTIAL, &self->chunks);
    tell_kept(self);
    return 0;
}

static int open_directory(importing *self)
{
    static const baton_snapshot_name kinds[] = {
        [BATON_NAME_CHUNKS] = BATON_NAME_CHUNKS,
        [BATON_NAME_MANIFEST] = BATON_NAME_MANIFEST,
        [BATON_NAME_CHUNKS_PARTIAL] = BATON_NAME_IMPORT,
        [BATON_NAME_MANIFEST_PARTIAL] = BATON_NAME_MANIFEST_PARTIAL,
    };
    for (int kind = 0; kind <= BATON_NAME_MANIFEST_PARTIAL; kind++)
        if (baton_snapshot_path(self->names[kind], self->directory, self->manifest.info.seq,
                                self->manifest.info.epoch, kinds[kind]) < 0)
            return baton_error_set(self->error, BATON_E_INVALID, WHAT, "its path is too long",
                                   "use a directory with a shorter path");
    int r = check_directory(self);
    if (r < 0)
        return r;
    r = make_directory(self);
    if (r < 0)
        return r;
    self->leftovers = true;
    return open_chunks(self);
}

static int copy_chunks(importing *self)
{
    const char *path = self->names[BATON_NAME_CHUNKS_PARTIAL];
    const baton_snapshot_info *info = &self->manifest.info;
    for (uint32_t i = 0; i < info->chunks_count; i++) {
        const baton_snapshot_chunk *chunk = &self->manifest.chunks[i];
        const uint64_t padded = baton_snapshot_padded(chunk->stored_bytes);
        int r = take_chunk(self, chunk);
        if (r < 0)
            return r;
        if (i >= self->kept_count)
            r = baton_io_file_write(self->io, self->chunks, self->stored, padded, chunk->offset);
        if (r < 0)
            return refuse(self, r, path, chunk->offset, NULL);
        if (self->transfer->progress != NULL)
            self->transfer->progress(self->transfer->context, chunk->offset + padded,
                                     info->stored_bytes);
        if (self->transfer->stop != NULL)
            r = self->transfer->stop(self->transfer->context, self->error);
        if (r < 0)
            return r;
    }
    if (self->at != self->in_bytes)
        return damaged(self, self->at, "there are bytes after its end");
    int r = baton_io_file_sync(self->io, self->chunks);
    return r < 0 ? refuse(self, r, path, UINT64_MAX, NULL) : 0;
}

static int write_manifest(const importing *self)
{
    baton_io_file file = BATON_IO_NO_FILE;
    int r = create(self, BATON_NAME_MANIFEST_PARTIAL, &file);
    if (r < 0)
        return r;
    r = baton_io_file_write(self->io, file, self->manifest_file, self->manifest_bytes, 0);
    if (r == 0)
        r = baton_io_file_sync(self->io, file);
    baton_io_file_close(self->io, file);
    return r < 0 ? refuse(self, r, self->names[BATON_NAME_MANIFEST_PARTIAL], UINT64_MAX, NULL) : 0;
}

static int rename_to(const importing *self, baton_snapshot_name from, baton_snapshot_name to)
{
    int r = baton_io_rename(self->io, self->names[from], self->names[to]);
    return r < 0 ? refuse(self, r, self->names[to], UINT64_MAX, NULL) : 0;
}

static int publish(importing *self)
{
    int r = write_manifest(self);
    if (r == 0 && self->transfer->settle != NULL)
        r = self->transfer->settle(self->transfer->context, self->error);
    if (r == 0)
        r = rename_to(self, BATON_NAME_CHUNKS_PARTIAL, BATON_NAME_CHUNKS);
    if (r < 0)
        return r;
    r = baton_io_directory_sync(self->io, self->directory); /* before the second rename */
    if (r < 0)
        return refuse(self, r, self->directory, UINT64_MAX, NULL);
    r = rename_to(self, BATON_NAME_MANIFEST_PARTIAL, BATON_NAME_MANIFEST);
    if (r < 0)
        return r;
    self->leftovers = false; /* from here on nobody knows what an unlink would leave */
    r = baton_io_directory_sync(self->io, self->directory);
    return r < 0 ? refuse(self, r, self->directory, UINT64_MAX,
                          "it is there, but a power cut may take it: the directory can't be "
                          "flushed")
                 : 0;
}

/* ---- life ---- */

static int open_file(importing *self)
{
    int r = baton_io_file_open(self->io, self->path, BATON_IO_FOR_READ, &self->in);
    if (r == 0)
        r = baton_io_file_size(self->io, self->in, &self->in_bytes);
    return r < 0 ? refuse(self, r, self->path, UINT64_MAX, NULL) : 0;
}

static void close_all(importing *self)
{
    baton_io_file_close(self->io, self->in);
    baton_io_file_close(self->io, self->chunks);
    for (int kind = 0; self->leftovers && kind <= BATON_NAME_MANIFEST_PARTIAL; kind++) {
        const bool mine =
            kind != BATON_NAME_MANIFEST && (kind != BATON_NAME_CHUNKS || !self->replaces);
        const int gone = mine ? baton_io_unlink(self->io, self->names[kind]) : 0;
        (void)gone; /* as far as possible: prune removes the rest */
    }
    baton_snapshot_manifest_free(&self->manifest);
    free(self->manifest_file);
    free(self->travels);
    free(self->stored);
}

int baton_snapshot_import_with(baton_io *io, const char *path, const char *directory,
                               const baton_snapshot_transfer *transfer,
                               baton_snapshot_info *ret_info, baton_error *error)
{
    importing self = {
        .io = io,
        .transfer = transfer != NULL ? transfer : &no_transfer,
        .path = path,
        .directory = directory,
        .in = BATON_IO_NO_FILE,
        .chunks = BATON_IO_NO_FILE,
        .error = error,
    };
    int r = open_file(&self);
    if (r == 0)
        r = take_header(&self);
    if (r == 0)
        r = take_manifest(&self);
    if (r == 0)
        r = open_directory(&self);
    if (r == 0)
        r = copy_chunks(&self);
    if (r == 0)
        r = publish(&self);
    if (r == 0)
        *ret_info = self.manifest.info;
    close_all(&self);
    return r;
}

int baton_snapshot_export_look(const char *path, baton_snapshot_info *ret_info,
                               baton_digest *ret_layout, baton_error *error)
{
    importing self = {
        .transfer = &no_transfer,
        .path = path,
        .in = BATON_IO_NO_FILE,
        .chunks = BATON_IO_NO_FILE,
        .error = error,
    };
    int r = baton_io_open(&(baton_io_options){.choice = BATON_IO_THREADS, .ops_max = 1}, &self.io,
                          error);
    if (r < 0)
        return r;
    r = open_file(&self);
    if (r == 0)
        r = take_header(&self);
    if (r == 0)
        r = take_manifest(&self);
    if (r == 0) {
        *ret_info = self.manifest.info;
        *ret_layout = self.manifest.image.layout;
    }
    close_all(&self);
    baton_io_close(self.io);
    return r;
}

int baton_snapshot_import(const char *path, const char *directory,
                          const baton_snapshot_transfer *transfer, baton_snapshot_info *ret_info,
                          baton_error *error)
{
    baton_io *io = NULL;
    int r =
        baton_io_open(&(baton_io_options){.choice = BATON_IO_THREADS, .ops_max = 1}, &io, error);
    if (r == 0)
        r = baton_snapshot_import_with(io, path, directory, transfer, ret_info, error);
    baton_io_close(io);
    return r;
}
