/* engine/hydrate_image.c: an image back into the machine's arena (S2, S3). What does not fit this
 * build or this process is told before anything is touched. */
#include <errno.h>

#include "engine/hydrate.h"
#include "engine/stow.h"
#include "snapshot/image_load.h"
#include "snapshot/manifest.h"

#define WHAT "load an image"

static int no_fit(const baton_snapshot_listed *listed, const char *why, baton_error *error)
{
    baton_error_set(error, BATON_E_SCHEMA, WHAT, why, "use a snapshot in the portable form");
    baton_error_at(error, listed->manifest_path, UINT64_MAX);
    return BATON_E_SCHEMA;
}

static int check_fit(const baton_machine *machine, const baton_snapshot_listed *listed,
                     const baton_snapshot_image *image, baton_error *error)
{
    const baton_arena_options *options = &machine->config.arena_options;
    const uint64_t reserve =
        options->reserve_bytes != 0 ? options->reserve_bytes : BATON_ARENA_RESERVE;
    if (!baton_digest_equal(image->layout, baton_layout_digest(machine->service->layout)))
        return no_fit(listed, "its layout digest is another: this build's structs differ", error);
    if (options->address != 0 && options->address != image->address)
        return no_fit(listed, "it was taken at another address than --arena-address says", error);
    if (image->region_bytes > reserve)
        return no_fit(listed, "it is larger than the arena may get (--arena-size)", error);
    return 0;
}

/* The machine without a state or an arena: reset makes both again. */
static void empty(baton_machine *machine)
{
    if (machine->state != NULL)
        machine->service->destroy(machine->state);
    machine->state = NULL;
    baton_outbox_fini(&machine->outbox);
    baton_arena_destroy(machine->arena);
    machine->arena = NULL;
    machine->config.arena = NULL;
}

/* The very address that the image was taken at, which need not be the first of our places. */
static int place(baton_machine *machine, const baton_snapshot_listed *listed,
                 const baton_snapshot_image *image, baton_error *error)
{
    baton_arena_options options = machine->config.arena_options;
    options.address = image->address;
    int r = baton_arena_place(&options, image->region_bytes, &machine->arena, error);
    machine->config.arena = machine->arena;
    if (r == -EEXIST || r == BATON_E_INVALID)
        return no_fit(listed, "the address that it was taken at is not free in this process",
                      error);
    return r;
}

/* `load` says how; where and what it may hold is known here. */
static int fill(baton_image_load_options load, const baton_hydrate_options *options,
                const baton_snapshot_listed *listed, const baton_snapshot_image *image,
                baton_machine *machine, baton_error *error)
{
    load = (baton_image_load_options){
        .progress = load.progress,
        .progress_context = load.progress_context,
        .directory = options->paths->snapshots,
        .base = machine->arena,
        .bytes_max = image->region_bytes,
        .layout = image->layout,
        .threads = options->image_io.custom != NULL ? 1 : 0,
        .io = options->image_io,
    };
    uint64_t region_bytes = 0;
    int r = baton_image_load(&load, listed, &region_bytes, error);
    if (r == 0)
        r = baton_arena_adopt(machine->arena, region_bytes, machine->service->layout, error);
    if (r == 0)
        r = baton_machine_take_stowed(machine, error);
    return r;
}

int baton_machine_load_image(baton_machine *machine, const baton_hydrate_options *options,
                             const baton_snapshot_listed *listed,
                             void (*progress)(void *context, uint64_t bytes_done,
                                              uint64_t bytes_all),
                             void *progress_context, baton_error *error)
{
    const baton_image_load_options load = {.progress = progress,
                                           .progress_context = progress_context};
    baton_snapshot_manifest manifest = {0};
    if (machine->service->layout == NULL)
        return no_fit(listed, "this build keeps no state in an arena", error);
    int r = baton_snapshot_manifest_load(options->io, listed->manifest_path, listed->info.seq,
                                         listed->info.epoch, &manifest, error);
    if (r < 0)
        return r;
    const baton_snapshot_image image = manifest.image;
    baton_snapshot_manifest_free(&manifest);
    r = check_fit(machine, listed, &image, error);
    if (r < 0)
        return r;

    empty(machine);
    r = place(machine, listed, &image, error);
    if (r == 0)
        r = fill(load, options, listed, &image, machine, error);
    if (r == 0)
        r = baton_machine_arrive(machine, &listed->info, error);
    if (r < 0) {
        machine->state = NULL; /* whatever it is, it lies in there */
        empty(machine);
    }
    return r;
}
