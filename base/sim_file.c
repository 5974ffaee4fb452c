/* base/sim_file.c: see sim_file.h. Blocks are shared between the two images and copied when one of
 * them changes; a unit of zeros has no block, so that zeroed segments cost nothing. */
#include "base/sim_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static bool all_zero(const uint8_t *bytes, uint64_t count)
{
    return count == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0);
}

/* ---- blocks and units ---- */

static void block_drop(sim_block *block)
{
    if (block != NULL && --block->refs == 0)
        free(block);
}

static sim_block *block_share(sim_block *block)
{
    if (block != NULL)
        block->refs++;
    return block;
}

/* The block in *slot, for this image alone. */
static sim_block *block_own(sim_block **slot)
{
    sim_block *block = *slot;
    if (block != NULL && block->refs == 1)
        return block;
    sim_block *mine = calloc(1, sizeof(*mine));
    baton_assert(mine != NULL);
    if (block != NULL)
        memcpy(mine->bytes, block->bytes, sizeof(mine->bytes));
    mine->refs = 1;
    block_drop(block);
    *slot = mine;
    return mine;
}

static void units_grow(sim_file *file, uint64_t end)
{
    const uint64_t needed = (end + BATON_IO_UNIT - 1) / BATON_IO_UNIT;
    if (needed <= file->units_count)
        return;
    file->units = realloc(file->units, needed * sizeof(*file->units));
    baton_assert(file->units != NULL);
    memset(file->units + file->units_count, 0, (needed - file->units_count) * sizeof(*file->units));
    file->units_count = needed;
}

typedef enum { IMAGE_NOW, IMAGE_STABLE } image;

static sim_block **slot_of(sim_unit *unit, image which)
{
    return which == IMAGE_NOW ? &unit->now : &unit->stable;
}

/* data NULL: zeros. */
static void image_write(sim_file *file, image which, const uint8_t *data, uint64_t bytes,
                        uint64_t offset)
{
    units_grow(file, offset + bytes);
    while (bytes > 0) {
        const uint64_t within = offset % BATON_IO_UNIT;
        const uint64_t part = bytes < BATON_IO_UNIT - within ? bytes : BATON_IO_UNIT - within;
        sim_block **slot = slot_of(&file->units[offset / BATON_IO_UNIT], which);
        if (data != NULL) {
            memcpy(block_own(slot)->bytes + within, data, part);
            data += part;
        } else if (part == BATON_IO_UNIT) {
            block_drop(*slot);
            *slot = NULL;
        } else if (*slot != NULL) {
            memset(block_own(slot)->bytes + within, 0, part);
        }
        offset += part;
        bytes -= part;
    }
}

/* ---- writes that are not stable ---- */

static void write_free(sim_write *write)
{
    free(write->data);
    free(write);
}

static void write_apply(sim_file *file, image which, const sim_write *write, uint64_t from,
                        uint64_t to)
{
    image_write(file, which, write->data == NULL ? NULL : write->data + from, to - from,
                write->offset + from);
}

static void pending_pop(sim_file *file)
{
    sim_write *write = file->first;
    file->first = write->next;
    if (file->first == NULL)
        file->last = NULL;
    write_free(write);
}

static bool stands_over_pending(const sim_file *file, uint64_t offset, uint64_t bytes)
{
    for (const sim_write *write = file->first; write != NULL; write = write->next) {
        if (write->offset < offset + bytes && offset < write->offset + write->bytes)
            return true;
    }
    return false;
}

static void pending_push(sim_file *file, const uint8_t *data, uint64_t bytes, uint64_t offset,
                         sim_write_how how)
{
    sim_write *write = malloc(sizeof(*write));
    baton_assert(write != NULL);
    *write = (sim_write){.change = how.change,
                         .offset = offset,
                         .bytes = bytes,
                         .durable = how.durable,
                         .buffered = how.buffered};
    if (data != NULL) {
        write->data = malloc(bytes);
        baton_assert(write->data != NULL);
        memcpy(write->data, data, bytes);
    }
    if (file->last == NULL)
        file->first = write;
    else
        file->last->next = write;
    file->last = write;
}

void sim_file_fini(sim_file *file)
{
    while (file->first != NULL)
        pending_pop(file);
    for (uint64_t i = 0; i < file->units_count; i++) {
        block_drop(file->units[i].now);
        block_drop(file->units[i].stable);
    }
    free(file->units);
    *file = (sim_file){0};
}

/* ---- allocation, reading, writing ---- */

uint64_t sim_file_units_needed(const sim_file *file, uint64_t offset, uint64_t bytes)
{
    uint64_t needed = 0;
    const uint64_t end = (offset + bytes + BATON_IO_UNIT - 1) / BATON_IO_UNIT;
    for (uint64_t unit = offset / BATON_IO_UNIT; unit < end; unit++)
        needed += unit >= file->units_count || !file->units[unit].allocated;
    return needed;
}

void sim_file_allocate(sim_file *file, uint64_t offset, uint64_t bytes, bool grow)
{
    const uint64_t end = (offset + bytes + BATON_IO_UNIT - 1) / BATON_IO_UNIT;
    units_grow(file, offset + bytes);
    for (uint64_t unit = offset / BATON_IO_UNIT; unit < end; unit++) {
        file->units_allocated += !file->units[unit].allocated;
        file->units[unit].allocated = true;
    }
    if (grow && offset + bytes > file->size)
        file->size = offset + bytes;
}

int64_t sim_file_read(const sim_file *file, void *buffer, uint64_t bytes, uint64_t offset)
{
    if (offset >= file->size)
        return 0;
    if (bytes > file->size - offset)
        bytes = file->size - offset;
    uint8_t *to = buffer;
    for (uint64_t done = 0; done < bytes;) {
        const uint64_t unit = (offset + done) / BATON_IO_UNIT;
        const uint64_t within = (offset + done) % BATON_IO_UNIT;
        const uint64_t left = bytes - done;
        const uint64_t part = left < BATON_IO_UNIT - within ? left : BATON_IO_UNIT - within;
        const sim_unit *at = unit < file->units_count ? &file->units[unit] : NULL;
        if (at != NULL && at->unreadable)
            return -EIO;
        if (at != NULL && at->now != NULL)
            memcpy(to + done, at->now->bytes + within, part);
        else
            memset(to + done, 0, part);
        done += part;
    }
    return (int64_t)bytes;
}

void sim_file_write(sim_file *file, const void *data, uint64_t bytes, uint64_t offset,
                    sim_write_how how)
{
    if (data != NULL && all_zero(data, bytes))
        data = NULL;
    sim_file_allocate(file, offset, bytes, true);
    image_write(file, IMAGE_NOW, data, bytes, offset);
    for (uint64_t unit = (offset + BATON_IO_UNIT - 1) / BATON_IO_UNIT;
         unit < (offset + bytes) / BATON_IO_UNIT; unit++)
        file->units[unit].unreadable = false;

    /* Durable includes the size that is needed to read it back. */
    if (how.durable && file->stable_size < offset + bytes)
        file->stable_size = offset + bytes;
    if (!how.durable || stands_over_pending(file, offset, bytes)) {
        pending_push(file, data, bytes, offset, how);
    } else if (offset % BATON_IO_UNIT != 0 || bytes % BATON_IO_UNIT != 0) {
        image_write(file, IMAGE_STABLE, data, bytes, offset);
    } else {
        for (uint64_t unit = offset / BATON_IO_UNIT; unit < (offset + bytes) / BATON_IO_UNIT;
             unit++) {
            block_drop(file->units[unit].stable);
            file->units[unit].stable = block_share(file->units[unit].now);
        }
    }
}

void sim_file_truncate(sim_file *file, uint64_t size, uint64_t change)
{
    if (size < file->size) {
        const uint64_t cut = file->size - size;
        image_write(file, IMAGE_NOW, NULL, cut, size);
        pending_push(file, NULL, cut, size, (sim_write_how){.change = change});
        for (uint64_t unit = (size + BATON_IO_UNIT - 1) / BATON_IO_UNIT; unit < file->units_count;
             unit++) {
            file->units_allocated -= file->units[unit].allocated;
            file->units[unit].allocated = false;
        }
    }
    file->size = size;
}

/* ---- becoming stable, or not ---- */

void sim_file_sync(sim_file *file, uint64_t change, uint64_t size)
{
    while (file->first != NULL && file->first->change <= change) {
        write_apply(file, IMAGE_STABLE, file->first, 0, file->first->bytes);
        pending_pop(file);
    }
    file->stable_size = size;
}

void sim_file_sync_failed(sim_file *file, sim_random *random)
{
    sim_write *kept = NULL;
    sim_write **end = &kept;
    sim_write *last = NULL;
    while (file->first != NULL) {
        sim_write *write = file->first;
        file->first = write->next;
        write->next = NULL;
        if (write->buffered && sim_random_below(random, 2) == 0) {
            write_free(write);
            continue;
        }
        *end = last = write;
        end = &write->next;
    }
    file->first = kept;
    file->last = last;

    for (uint64_t i = 0; i < file->units_count; i++) { /* what reads see from now on */
        block_drop(file->units[i].now);
        file->units[i].now = block_share(file->units[i].stable);
    }
    for (const sim_write *write = file->first; write != NULL; write = write->next)
        write_apply(file, IMAGE_NOW, write, 0, write->bytes);
}

/* Which sectors of a write are there after the cut. */
static void cut_write(sim_file *file, const sim_write *write, sim_cut cut, sim_random *random)
{
    const uint64_t sectors = (write->bytes + SIM_SECTOR_BYTES - 1) / SIM_SECTOR_BYTES;
    uint64_t from = 0;
    uint64_t to = sectors;
    const uint64_t draw = sim_random_next(random);

    if (cut == SIM_CUT_NOTHING || (cut == SIM_CUT_WHOLE && draw % 2 == 0))
        return;
    if (cut == SIM_CUT_TORN) {
        const uint64_t at = sim_random_below(random, sectors + 1);
        if (draw % 4 == 0)
            return;
        if (draw % 4 == 1)
            to = at;
        if (draw % 4 == 2)
            from = at;
    }
    for (uint64_t sector = from; sector < to; sector++) {
        const uint64_t begin = sector * SIM_SECTOR_BYTES;
        const uint64_t end =
            begin + SIM_SECTOR_BYTES < write->bytes ? begin + SIM_SECTOR_BYTES : write->bytes;
        if (cut != SIM_CUT_SECTORS || sim_random_next(random) % 2 == 0)
            write_apply(file, IMAGE_STABLE, write, begin, end);
    }
}

static bool cut_keeps_size(sim_cut cut, sim_random *random)
{
    const uint64_t draw = sim_random_next(random);
    return cut == SIM_CUT_ALL || (cut != SIM_CUT_NOTHING && draw % 2 == 0);
}

void sim_file_power_cut(sim_file *file, sim_cut cut, sim_random *random)
{
    while (file->first != NULL) {
        if (file->first->durable)
            write_apply(file, IMAGE_STABLE, file->first, 0, file->first->bytes);
        else
            cut_write(file, file->first, cut, random);
        pending_pop(file);
    }
    if (file->size != file->stable_size && cut_keeps_size(cut, random))
        file->stable_size = file->size;
    file->size = file->stable_size;

    file->units_allocated = 0;
    for (uint64_t i = 0; i < file->units_count; i++) {
        sim_unit *unit = &file->units[i];
        const uint64_t begin = i * BATON_IO_UNIT;
        if (begin >= file->size) {
            block_drop(unit->stable);
            unit->stable = NULL;
            unit->allocated = false;
        }
        block_drop(unit->now);
        unit->now = block_share(unit->stable);
        file->units_allocated += unit->allocated;
    }
    const uint64_t within = file->size % BATON_IO_UNIT;
    if (within != 0 && file->size / BATON_IO_UNIT < file->units_count) {
        image_write(file, IMAGE_STABLE, NULL, BATON_IO_UNIT - within, file->size);
        image_write(file, IMAGE_NOW, NULL, BATON_IO_UNIT - within, file->size);
    }
}

/* ---- accidents ---- */

bool sim_file_is_written(const sim_file *file, uint64_t unit)
{
    return unit < file->units_count && file->units[unit].now != NULL;
}

bool sim_file_rot(sim_file *file, uint64_t offset, unsigned bit)
{
    if (!sim_file_is_written(file, offset / BATON_IO_UNIT))
        return false;
    sim_unit *unit = &file->units[offset / BATON_IO_UNIT];
    const uint8_t flip = (uint8_t)(1u << bit % 8);
    const bool shared = unit->stable == unit->now;
    block_own(&unit->now)->bytes[offset % BATON_IO_UNIT] ^= flip;
    if (shared) {
        block_drop(unit->stable);
        unit->stable = block_share(unit->now);
    } else if (unit->stable != NULL) {
        block_own(&unit->stable)->bytes[offset % BATON_IO_UNIT] ^= flip;
    }
    for (sim_write *write = file->first; write != NULL; write = write->next) {
        if (write->data != NULL && write->offset <= offset && offset < write->offset + write->bytes)
            write->data[offset - write->offset] ^= flip;
    }
    return true;
}
