/* snapshot/catalogue.c: a directory of snapshots: list, verify, prune. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/chain.h"
#include "snapshot/manifest.h"
#include "snapshot/names.h"
#include "snapshot/store.h"

#define KEEP_MIN 2u /* S1 */

/* ---- what is in the directory ---- */

typedef struct {
    baton_snapshot_name kind;
    uint64_t seq;
    uint64_t epoch;
} named;

typedef struct {
    named *names;
    uint32_t count;
    uint32_t room;
} name_list;

static int collect_name(void *context, const char *name)
{
    name_list *list = context;
    named one;
    if (!baton_snapshot_name_parse(name, &one.kind, &one.seq, &one.epoch))
        return 0; /* not ours */
    if (list->count == list->room) {
        const uint32_t room = list->room > 0 ? 2 * list->room : 16;
        named *names = realloc(list->names, room * sizeof(*names));
        if (names == NULL)
            return -ENOMEM;
        list->names = names;
        list->room = room;
    }
    list->names[list->count++] = one;
    return 0;
}

/* Newest first, the files of one snapshot side by side. */
static int compare_names(const void *left, const void *right)
{
    const named *a = left;
    const named *b = right;
    if (a->seq != b->seq)
        return a->seq > b->seq ? -1 : 1;
    if (a->epoch != b->epoch)
        return a->epoch > b->epoch ? -1 : 1;
    return (int)a->kind - (int)b->kind;
}

/* 0 with an empty list when there is no directory. list->names is malloc'ed. */
static int collect(baton_io *io, const char *directory, name_list *list, baton_error *error)
{
    *list = (name_list){0};
    int r = baton_io_directory_list(io, directory, collect_name, list);
    if (r == -ENOENT)
        r = 0;
    if (r < 0) {
        free(list->names);
        *list = (name_list){0};
        baton_error_set(error, r, "list the snapshots", NULL, "check the directory and its rights");
        baton_error_at(error, directory, UINT64_MAX);
        return r;
    }
    if (list->count > 1)
        qsort(list->names, list->count, sizeof(*list->names), compare_names);
    return 0;
}

/* False: removed since the directory was read. */
static bool describe(baton_io *io, const char *directory, const named *one,
                     baton_snapshot_listed *listed)
{
    baton_snapshot_manifest manifest;
    *listed = (baton_snapshot_listed){.info = {.seq = one->seq, .epoch = one->epoch}};
    listed->status = baton_snapshot_path(listed->manifest_path, directory, one->seq, one->epoch,
                                         BATON_NAME_MANIFEST);
    if (listed->status < 0)
        return true;
    listed->status = baton_snapshot_manifest_load(io, listed->manifest_path, one->seq, one->epoch,
                                                  &manifest, NULL);
    if (listed->status == 0)
        listed->info = manifest.info;
    baton_snapshot_manifest_free(&manifest);
    return listed->status != -ENOENT;
}

int baton_snapshot_list_with(baton_io *io, const char *directory, baton_snapshot_listed **ret_list,
                             uint32_t *ret_count, baton_error *error)
{
    name_list names;
    int r = collect(io, directory, &names, error);
    if (r < 0)
        return r;
    uint32_t count = 0;
    baton_snapshot_listed *list = calloc(names.count > 0 ? names.count : 1, sizeof(*list));
    if (list == NULL) {
        free(names.names);
        return baton_error_set(error, -ENOMEM, "list the snapshots", NULL, "free memory");
    }
    for (uint32_t i = 0; i < names.count; i++)
        if (names.names[i].kind == BATON_NAME_MANIFEST &&
            describe(io, directory, &names.names[i], &list[count]))
            count++;
    free(names.names);
    *ret_list = list;
    *ret_count = count;
    return 0;
}

/* ---- verify ---- */

/* Every row, which takes every byte of every chunk through its digest. */
static int walk(baton_snapshot_reader *reader)
{
    const char *name = baton_snapshot_reader_section_name(reader, 0);
    for (uint32_t i = 1; name != NULL; name = baton_snapshot_reader_section_name(reader, i++)) {
        uint32_t fields_count;
        int r = baton_unpack_section(reader, name);
        if (r < 0)
            return r;
        do {
            r = baton_unpack_row(reader, &fields_count);
        } while (r > 0);
        if (r < 0)
            return r;
    }
    return 0;
}

int baton_snapshot_verify_with(baton_io *io, const char *directory,
                               const baton_snapshot_listed *listed, baton_error *error)
{
    baton_snapshot_reader *reader = NULL;
    if (strcmp(listed->info.form, BATON_SNAPSHOT_FORM_IMAGE) == 0)
        return baton_image_verify(io, directory, listed, error);
    int r = baton_snapshot_reader_open(io, directory, listed, &reader, error);
    if (r < 0)
        return r;
    r = walk(reader);
    if (r < 0 && error != NULL)
        *error = *baton_snapshot_reader_error(reader);
    baton_snapshot_reader_close(reader);
    return r;
}

/* ---- removing ---- */

int baton_snapshot_remove(baton_io *io, const char *directory, uint64_t seq, uint64_t epoch)
{
    char manifest[BATON_SNAPSHOT_PATH_BYTES];
    char chunks[BATON_SNAPSHOT_PATH_BYTES];
    if (baton_snapshot_path(manifest, directory, seq, epoch, BATON_NAME_MANIFEST) < 0 ||
        baton_snapshot_path(chunks, directory, seq, epoch, BATON_NAME_CHUNKS) < 0)
        return BATON_E_INVALID;
    int r = baton_io_unlink(io, manifest);
    if (r == 0)
        r = baton_io_directory_sync(io, directory); /* first durably absent, then gone (S1) */
    if (r == 0)
        r = baton_io_unlink(io, chunks);
    return r;
}

/* Partial files, and chunks whose manifest is not there. */
static int remove_leftovers(baton_io *io, const char *directory, const name_list *names)
{
    for (uint32_t i = 0; i < names->count; i++) {
        const named *one = &names->names[i];
        const named *after = i + 1 < names->count ? one + 1 : NULL;
        char path[BATON_SNAPSHOT_PATH_BYTES];
        if (one->kind == BATON_NAME_MANIFEST)
            continue;
        if (one->kind == BATON_NAME_CHUNKS && after != NULL && after->kind == BATON_NAME_MANIFEST &&
            after->seq == one->seq && after->epoch == one->epoch)
            continue;
        int r = baton_snapshot_path(path, directory, one->seq, one->epoch, one->kind);
        if (r == 0)
            r = baton_io_unlink(io, path);
        if (r < 0 && r != -ENOENT)
            return r;
    }
    return 0;
}

/* Enough to count as a generation that stays: a manifest in order, and chunks of the size that
 * it asks for. Their digests are for verify; to read them all here would disturb the service. */
static bool is_readable(baton_io *io, const char *directory, const baton_snapshot_listed *listed)
{
    char path[BATON_SNAPSHOT_PATH_BYTES];
    baton_io_file file;
    uint64_t bytes = 0;
    if (listed->status != 0 ||
        baton_snapshot_path(path, directory, listed->info.seq, listed->info.epoch,
                            BATON_NAME_CHUNKS) < 0 ||
        baton_io_file_open(io, path, BATON_IO_FOR_READ, &file) < 0)
        return false;
    int r = baton_io_file_size(io, file, &bytes);
    baton_io_file_close(io, file);
    return r == 0 && bytes == listed->info.stored_bytes;
}

static int remove_old(baton_io *io, const char *directory, uint32_t keep, uint32_t *ret_removed,
                      baton_error *error)
{
    baton_snapshot_listed *list = NULL;
    uint8_t *marks = NULL;
    uint32_t count = 0;
    int r = baton_snapshot_list_with(io, directory, &list, &count, error);
    if (r == 0 && (marks = calloc(count > 0 ? count : 1, 1)) == NULL)
        r = -ENOMEM;
    for (uint32_t i = 0; r == 0 && i < count; i++)
        marks[i] = is_readable(io, directory, &list[i]) ? BATON_MARK_READABLE : 0;
    if (r == 0)
        baton_snapshot_mark_kept(list, count, keep, marks);
    /* Newest first: an image goes before the one that it adds to. */
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        if (marks[i] != BATON_MARK_READABLE)
            continue;
        r = baton_snapshot_remove(io, directory, list[i].info.seq, list[i].info.epoch);
        if (r == 0)
            ++*ret_removed;
    }
    free(marks);
    free(list);
    return r;
}

int baton_snapshot_prune_with(baton_io *io, const char *directory, uint32_t keep,
                              uint32_t *ret_removed, baton_error *error)
{
    name_list names;
    *ret_removed = 0;
    if (keep < KEEP_MIN)
        return baton_error_set(error, BATON_E_INVALID, "prune the snapshots",
                               "fewer than 2 generations would stay", "keep 2 or more");
    int r = collect(io, directory, &names, error);
    if (r < 0)
        return r;
    r = remove_leftovers(io, directory, &names);
    free(names.names);
    if (r == 0)
        r = remove_old(io, directory, keep, ret_removed, error);
    if (r < 0) {
        baton_error_set(error, r, "prune the snapshots", NULL,
                        "check the directory and its rights");
        baton_error_at(error, directory, UINT64_MAX);
    }
    return r;
}

/* ---- the public calls ---- */

static int open_io(baton_io **ret_io, baton_error *error)
{
    return baton_io_open(&(baton_io_options){.choice = BATON_IO_AUTO, .ops_max = 16}, ret_io,
                         error);
}

int baton_snapshot_list(const char *directory, baton_snapshot_listed **ret_list,
                        uint32_t *ret_count, baton_error *error)
{
    baton_io *io = NULL;
    int r = open_io(&io, error);
    if (r == 0)
        r = baton_snapshot_list_with(io, directory, ret_list, ret_count, error);
    baton_io_close(io);
    return r;
}

int baton_snapshot_verify(const char *directory, const baton_snapshot_listed *listed,
                          baton_error *error)
{
    baton_io *io = NULL;
    int r = open_io(&io, error);
    if (r == 0)
        r = baton_snapshot_verify_with(io, directory, listed, error);
    baton_io_close(io);
    return r;
}

int baton_snapshot_prune(const char *directory, uint32_t keep, uint32_t *ret_removed,
                         baton_error *error)
{
    baton_io *io = NULL;
    int r = open_io(&io, error);
    if (r == 0)
        r = baton_snapshot_prune_with(io, directory, keep, ret_removed, error);
    baton_io_close(io);
    return r;
}
