/* base/sim_file.h: the bytes of one simulated file, in three layers: what a read sees now, what is
 * on stable storage, and the writes between the two, in the order in which they landed. A power cut
 * draws for each of those writes, sector by sector, whether it is there afterwards. Knows nothing
 * of names, time or operations. */
#pragma once

#include <stddef.h>

#include "base/io.h"
#include "base/sim_random.h"

#define SIM_SECTOR_BYTES 512u

/* How a power cut treats what is not stable yet; one is drawn for each cut. */
typedef enum {
    SIM_CUT_NOTHING, /* of it is there */
    SIM_CUT_ALL,
    SIM_CUT_WHOLE,   /* of each write, or name, all or nothing: reordered, never torn */
    SIM_CUT_TORN,    /* and the first or the last sectors of a write */
    SIM_CUT_SECTORS, /* every sector for itself */
    SIM_CUTS,
} sim_cut;

typedef struct {
    uint32_t refs;
    uint8_t bytes[BATON_IO_UNIT];
} sim_block;

/* One unit of a file. No block is zeros. */
typedef struct {
    sim_block *now;
    sim_block *stable;
    bool allocated;
    bool unreadable; /* a latent error: until it is written again as a whole */
} sim_unit;

/* A write that is not stable yet, or one that is, but stands over one that is not. */
typedef struct sim_write sim_write;
struct sim_write {
    sim_write *next;
    uint64_t change;
    uint64_t offset;
    uint64_t bytes;
    uint8_t *data; /* NULL: zeros */
    bool durable;
    bool buffered; /* went through the page cache: a failed flush may forget it */
};

typedef struct {
    sim_unit *units;
    uint64_t units_count;
    uint64_t units_allocated;
    uint64_t size;
    uint64_t stable_size;
    sim_write *first;
    sim_write *last;
} sim_file;

void sim_file_fini(sim_file *file);

/* How many units a write or an allocation there would newly take. */
uint64_t sim_file_units_needed(const sim_file *file, uint64_t offset, uint64_t bytes);
/* Takes them; the size grows if asked to. Their bytes are zeros (unwritten extents). */
void sim_file_allocate(sim_file *file, uint64_t offset, uint64_t bytes, bool grow);

/* Bytes read, fewer only at the end of the file; -EIO on a latent error. */
int64_t sim_file_read(const sim_file *file, void *buffer, uint64_t bytes, uint64_t offset);

typedef struct {
    uint64_t change; /* grows from one to the next, over all files */
    bool durable;
    bool buffered;
} sim_write_how;
void sim_file_write(sim_file *file, const void *data, uint64_t bytes, uint64_t offset,
                    sim_write_how how);
void sim_file_truncate(sim_file *file, uint64_t size, uint64_t change);

/* All that landed up to `change` is stable, and so is the size that the file had then. */
void sim_file_sync(sim_file *file, uint64_t change, uint64_t size);
/* A failed flush: what went through the page cache may be clean in the kernel's eyes, and gone. */
void sim_file_sync_failed(sim_file *file, sim_random *random);
/* The bytes of the last synced state and of what is drawn from the writes since. */
void sim_file_power_cut(sim_file *file, sim_cut cut, sim_random *random);

/* One bit of a unit flips, on stable storage and in every view of it. False: nothing was ever
 * written there. */
bool sim_file_rot(sim_file *file, uint64_t offset, unsigned bit);
bool sim_file_is_written(const sim_file *file, uint64_t unit);
