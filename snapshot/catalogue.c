/* snapshot/catalogue.c: a directory of snapshots: list, verify. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/catalogue.h"
#include "snapshot/manifest.h"

/* ---- what is in the directory ---- */

static int collect_name(void *context, const char *name)
{
    baton_snapshot_names *list = context;
    baton_snapshot_named one;
    if (!baton_snapshot_name_parse(name, &one.kind, &one.seq, &one.epoch))
        return 0; /* not ours */
    if (list->count == list->room) {
        const uint32_t room = list->room > 0 ? 2 * list->room : 16;
        baton_snapshot_named *names = realloc(list->names, room * sizeof(*names));
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
    const baton_snapshot_named *a = left;
    const baton_snapshot_named *b = right;
    if (a->seq != b->seq)
        return a->seq > b->seq ? -1 : 1;
    if (a->epoch != b->epoch)
        return a->epoch > b->epoch ? -1 : 1;
    return (int)a->kind - (int)b->kind;
}

int baton_snapshot_names_collect(baton_io *io, const char *directory, baton_snapshot_names *list,
                                 baton_error *error)
{
    *list = (baton_snapshot_names){0};
    int r = baton_io_directory_list(io, directory, collect_name, list);
    if (r == -ENOENT)
        r = 0;
    if (r < 0) {
        free(list->names);
        *list = (baton_snapshot_names){0};
        baton_error_set(error, r, "list the snapshots", NULL, "check the directory and its rights");
        baton_error_at(error, directory, UINT64_MAX);
        return r;
    }
    if (list->count > 1)
        qsort(list->names, list->count, sizeof(*list->names), compare_names);
    return 0;
}

static bool is_same(const baton_snapshot_named *a, const baton_snapshot_named *b)
{
    return a->seq == b->seq && a->epoch == b->epoch;
}

bool baton_snapshot_names_beside(const baton_snapshot_names *names, uint32_t index,
                                 baton_snapshot_name kind)
{
    const baton_snapshot_named *one = &names->names[index];
    while (index > 0 && is_same(&names->names[index - 1], one))
        index--;
    for (; index < names->count && is_same(&names->names[index], one); index++)
        if (names->names[index].kind == kind)
            return true;
    return false;
}

/* False: removed since the directory was read. */
static bool describe(baton_io *io, const char *directory, const baton_snapshot_names *names,
                     uint32_t index, baton_snapshot_listed *listed)
{
    const baton_snapshot_named *one = &names->names[index];
    baton_snapshot_manifest manifest;
    *listed = (baton_snapshot_listed){.info = {.seq = one->seq, .epoch = one->epoch}};
    listed->pinned = baton_snapshot_names_beside(names, index, BATON_NAME_PIN);
    listed->status = baton_snapshot_path(listed->manifest_path, directory, one->seq, one->epoch,
                                         BATON_NAME_MANIFEST);
    if (listed->status < 0)
        return true;
    listed->status = baton_snapshot_manifest_load(io, listed->manifest_path, one->seq, one->epoch,
                                                  &manifest, NULL);
    if (listed->status == 0) {
        listed->info = manifest.info;
        if (baton_snapshot_names_beside(names, index, BATON_NAME_VERIFIED))
            listed->verified_wall_ns = baton_snapshot_verified_read(io, directory, &listed->info);
    }
    baton_snapshot_manifest_free(&manifest);
    return listed->status != -ENOENT;
}

int baton_snapshot_list_with(baton_io *io, const char *directory, baton_snapshot_listed **ret_list,
                             uint32_t *ret_count, baton_error *error)
{
    baton_snapshot_names names;
    int r = baton_snapshot_names_collect(io, directory, &names, error);
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
            describe(io, directory, &names, i, &list[count]))
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
    int r = baton_snapshot_reader_open(io, directory, listed, &reader, error);
    if (r < 0)
        return r;
    r = walk(reader);
    if (r < 0 && error != NULL)
        *error = *baton_snapshot_reader_error(reader);
    baton_snapshot_reader_close(reader);
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
