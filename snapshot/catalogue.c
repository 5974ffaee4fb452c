/* snapshot/catalogue.c: a directory of snapshots: list, verify. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/catalogue.h"
#include "snapshot/chain.h"
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

/* Is a file of this kind there of the snapshot that names[index] belongs to? */
static bool has_beside(const baton_snapshot_names *names, uint32_t index, baton_snapshot_name kind)
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
    listed->pinned = has_beside(names, index, BATON_NAME_PIN);
    listed->status = baton_snapshot_path(listed->manifest_path, directory, one->seq, one->epoch,
                                         BATON_NAME_MANIFEST);
    if (listed->status < 0)
        return true;
    listed->status = baton_snapshot_manifest_load(io, listed->manifest_path, one->seq, one->epoch,
                                                  &manifest, NULL);
    if (listed->status == 0) {
        listed->info = manifest.info;
        if (has_beside(names, index, BATON_NAME_VERIFIED))
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

#define PROGRESS_ROWS 4096u /* between two calls */

typedef struct {
    int (*tell)(void *context, uint64_t done_bytes, uint64_t all_bytes); /* not 0: end with that */
    void *context;
    const baton_snapshot_manifest *manifest; /* NULL unless tell is asked for */
} watching;

/* Rows are of one size on the average. */
static int tell(const watching *watch, uint32_t section_index, uint64_t rows)
{
    if (watch->tell == NULL)
        return 0;
    const baton_snapshot_section *section = &watch->manifest->sections[section_index];
    const uint64_t row_bytes = section->rows_count > 0 ? section->bytes / section->rows_count : 0;
    return watch->tell(watch->context, section->first_byte + row_bytes * rows,
                       watch->manifest->info.raw_bytes);
}

static int walk_section(baton_snapshot_reader *reader, const watching *watch, uint32_t index)
{
    uint32_t fields_count;
    uint64_t rows = 0;
    int r = baton_unpack_section(reader, baton_snapshot_reader_section_name(reader, index));
    while (r == 0 && (r = baton_unpack_row(reader, &fields_count)) > 0) {
        r = 0;
        if (++rows % PROGRESS_ROWS == 0)
            r = tell(watch, index, rows);
    }
    return r;
}

/* Every row, which takes every byte of every chunk through its digest. */
static int walk(baton_snapshot_reader *reader, const watching *watch)
{
    for (uint32_t i = 0; baton_snapshot_reader_section_name(reader, i) != NULL; i++) {
        int r = walk_section(reader, watch, i);
        if (r < 0)
            return r;
    }
    return 0;
}

static int verify(baton_io *io, const char *directory, const baton_snapshot_listed *listed,
                  const watching *watch, baton_error *error)
{
    baton_snapshot_reader *reader = NULL;
    if (baton_snapshot_is_image(&listed->info))
        return baton_image_verify(io, directory, listed, watch->tell, watch->context, error);
    int r = baton_snapshot_reader_open(io, directory, listed, &reader, error);
    if (r < 0)
        return r;
    r = walk(reader, watch);
    if (r < 0 && error != NULL && baton_snapshot_reader_error(reader)->status == r)
        *error = *baton_snapshot_reader_error(reader);
    baton_snapshot_reader_close(reader);
    return r;
}

int baton_snapshot_verify_with(baton_io *io, const char *directory,
                               const baton_snapshot_listed *listed, baton_error *error)
{
    return verify(io, directory, listed, &(watching){0}, error);
}

/* ---- what a manifest says ---- */

static int load_manifest(baton_io *io, const baton_snapshot_listed *listed,
                         baton_snapshot_manifest *ret_manifest, baton_error *error)
{
    int r = baton_snapshot_manifest_load(io, listed->manifest_path, listed->info.seq,
                                         listed->info.epoch, ret_manifest, error);
    if (r != -ENOENT)
        return r;
    baton_error_set(error, BATON_E_GONE, "read a manifest", "it was removed after it was listed",
                    "list them again");
    baton_error_at(error, listed->manifest_path, UINT64_MAX);
    return BATON_E_GONE;
}

static int copy_layout(const baton_snapshot_manifest *manifest, baton_snapshot_layout *layout)
{
    const uint32_t count = manifest->info.sections_count;
    layout->sections = calloc(count > 0 ? count : 1, sizeof(*layout->sections));
    if (layout->sections == NULL)
        return -ENOMEM;
    layout->sections_count = count;
    layout->chunk_bytes = manifest->chunk_bytes;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(layout->sections[i].name, manifest->sections[i].name,
               sizeof(layout->sections[i].name));
        layout->sections[i].bytes = manifest->sections[i].bytes;
        layout->sections[i].rows_count = manifest->sections[i].rows_count;
    }
    const bool image = baton_snapshot_is_image(&manifest->info);
    memcpy(layout->taken_by, image ? manifest->image.taken_by : manifest->notes.taken_by,
           sizeof(layout->taken_by));
    memcpy(layout->taken_why, image ? manifest->image.taken_why : manifest->notes.taken_why,
           sizeof(layout->taken_why));
    memcpy(layout->form_why, manifest->notes.form_why, sizeof(layout->form_why));
    for (uint32_t i = 0; i < manifest->info.chunks_count; i++)
        layout->chunks_compressed += manifest->chunks[i].codec != BATON_CODEC_RAW;
    return 0;
}

void baton_snapshot_layout_free(baton_snapshot_layout *layout)
{
    free(layout->sections);
    *layout = (baton_snapshot_layout){0};
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

int baton_snapshot_verify_while(const char *directory, const baton_snapshot_listed *listed,
                                int (*progress)(void *context, uint64_t done_bytes,
                                                uint64_t all_bytes),
                                void *context, baton_error *error)
{
    baton_snapshot_manifest manifest = {0};
    const watching watch = {.tell = progress, .context = context, .manifest = &manifest};
    baton_io *io = NULL;
    int r = open_io(&io, error);
    if (r == 0 && progress != NULL)
        r = load_manifest(io, listed, &manifest, error);
    if (r == 0)
        r = verify(io, directory, listed, &watch, error);
    baton_snapshot_manifest_free(&manifest);
    baton_io_close(io);
    return r;
}

typedef struct {
    void (*progress)(void *context, uint64_t done_bytes, uint64_t all_bytes);
    void *context;
} just_watching;

static int go_on(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    const just_watching *self = context;
    self->progress(self->context, done_bytes, all_bytes);
    return 0;
}

int baton_snapshot_verify_watched(const char *directory, const baton_snapshot_listed *listed,
                                  void (*progress)(void *context, uint64_t done_bytes,
                                                   uint64_t all_bytes),
                                  void *context, baton_error *error)
{
    just_watching self = {progress, context};
    return baton_snapshot_verify_while(directory, listed, progress != NULL ? go_on : NULL, &self,
                                       error);
}

int baton_snapshot_verify(const char *directory, const baton_snapshot_listed *listed,
                          baton_error *error)
{
    return baton_snapshot_verify_watched(directory, listed, NULL, NULL, error);
}

int baton_snapshot_layout_read(const baton_snapshot_listed *listed,
                               baton_snapshot_layout *ret_layout, baton_error *error)
{
    baton_snapshot_manifest manifest = {0};
    baton_io *io = NULL;
    *ret_layout = (baton_snapshot_layout){0};
    int r = open_io(&io, error);
    if (r == 0)
        r = load_manifest(io, listed, &manifest, error);
    if (r == 0) {
        r = copy_layout(&manifest, ret_layout);
        if (r < 0)
            baton_error_set(error, r, "read a manifest", NULL, "free memory");
    }
    baton_snapshot_manifest_free(&manifest);
    baton_io_close(io);
    return r;
}
