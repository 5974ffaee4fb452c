/* base/io_sim.h: the third backend of the seam: a machine that exists in memory only. One thread,
 * one seed: a file system (base/sim_disk.h), a clock, processes, and every accident of a disk. The
 * same seed and the same calls give the same trace.
 *
 *     baton_sim *sim = baton_sim_new(seed);
 *     baton_sim_process *process = baton_sim_start(sim);
 *     baton_io_options options = {.custom = baton_sim_backend(), .custom_context = process,
 *                                 .clock = baton_sim_clock(sim)};
 *     ... several baton_io of several processes ...
 *     baton_sim_kill(process);   or   baton_sim_power_cut(sim);
 *     ... close what the dead process had open: nothing of it reaches the disk ...
 *     baton_sim_free(sim);
 *
 * Time passes while operations are done and when it is told to, never by itself. An operation that
 * was entered takes a time that is drawn; several in flight finish in any order, and their bytes
 * land when they do. Numbers: operations are numbered from 1 when the kernel takes them, directory_make
 * included. CLOSE and looking (sizes, lists, locks, maps, probe) have no number and never fail while
 * the process lives.
 *
 * A killed process: what finished stays. What was in flight is done at once, or lands later, even
 * after another process has opened the files, in parts, or never (J10). Its lock may outlive it for
 * a while if the ring held the file.
 * A power cut: all processes are dead. Of what no flush covered a part is there, as drawn: sectors of
 * a write kept, dropped, torn; names and sizes likewise. */
#pragma once

#include <baton/digest.h>

#include "base/io_backend.h"
#include "base/sim_disk.h"

typedef struct baton_sim baton_sim;
typedef struct baton_sim_process baton_sim_process;

baton_sim *baton_sim_new(uint64_t seed); /* never NULL; with an empty directory "/" */
void baton_sim_free(baton_sim *sim);     /* every baton_io on it is closed */
const baton_io_backend *baton_sim_backend(void);
const baton_clock *baton_sim_clock(const baton_sim *sim);

/* Let time pass; what is due meanwhile lands. */
void baton_sim_advance(baton_sim *sim, uint64_t ns);
/* When the next operation in flight is due; UINT64_MAX: none is. */
uint64_t baton_sim_next_ns(const baton_sim *sim);
/* The wall clock steps; the monotonic one does not. */
void baton_sim_step_wall(baton_sim *sim, int64_t ns);
/* A number of the simulation's own chance, 0..below-1. */
uint64_t baton_sim_draw(baton_sim *sim, uint64_t below);

/* ---- processes ---- */

baton_sim_process *baton_sim_start(baton_sim *sim); /* freed with the simulation */
/* On a machine of its own, which begins with its first process: it has its own disk, with all of its
 * paths, and its own power. Whoever looks from outside finds the disk in the directory "/MACHINE". */
baton_sim_process *baton_sim_start_on(baton_sim *sim, const char *machine);
bool baton_sim_is_dead(const baton_sim_process *process);
void baton_sim_kill(baton_sim_process *process);
void baton_sim_power_cut(baton_sim *sim);                /* of all machines */
void baton_sim_power_cut_of(baton_sim_process *process); /* of the one that it runs on */

typedef enum { BATON_SIM_KILL, BATON_SIM_POWER_CUT } baton_sim_crash;
/* While operation n is in flight, or the first one after it that may be met: the death of its process,
 * or of all on its machine. One plan; n 0 takes it back. n is a number of the whole simulation. */
void baton_sim_crash_at(baton_sim *sim, uint64_t n, baton_sim_crash how);
/* The same when the next write to offset 0 of a file is in flight: headers stand there. */
void baton_sim_crash_at_header(baton_sim *sim, baton_sim_crash how);
/* The plan waits, while somebody only looks. */
void baton_sim_hold_crash(baton_sim *sim, bool hold);

/* ---- accidents ---- */

/* Each in a million operations of its kind. All 0 at first. */
typedef struct {
    uint32_t read_error;  /* EIO */
    uint32_t write_error; /* EIO; nothing, a part or all of it landed */
    uint32_t sync_error;  /* EIO; what was buffered may be gone (fsync is never to be retried) */
    uint32_t name_error;  /* EIO at open, rename, unlink, allocate, truncate: not done */
    uint32_t split; /* the kernel does a part, or is interrupted; the rest is asked for again */
    uint32_t misdirected; /* a write lands somewhere else, and says that all is well */
    uint32_t lying;     /* a flush, or a durable write, says that all is well and flushed nothing */
    uint32_t late_lock; /* of a killed process: held on by its ring */
    uint32_t unflushed; /* a killed process's durable write lands, and its flush never does */
} baton_sim_faults;
baton_sim_faults *baton_sim_faults_of(baton_sim *sim); /* to change at any time */

/* Operation n gives -error; a write may have landed, anything else is not done. One rule; 0: none. */
void baton_sim_fail_at(baton_sim *sim, uint64_t n, int error);
/* The disk takes this many more bytes; UINT64_MAX: no limit. */
void baton_sim_set_room(baton_sim *sim, uint64_t bytes);

/* One bit of a written unit flips, in a file whose name ends so; more often among what was written
 * last in that file. False: there is no such unit. */
bool baton_sim_rot(baton_sim *sim, const char *name_end);
/* A unit of such a file can not be read until it is written again. */
bool baton_sim_spoil(baton_sim *sim, const char *name_end);
/* All units can be read again: the disk remembered. */
void baton_sim_heal(baton_sim *sim);
/* For sweeps: this bit of the file, by its path. False: never written. */
bool baton_sim_flip(baton_sim *sim, const char *path, uint64_t bit);

/* ---- what happened ---- */

typedef struct {
    uint64_t operations;  /* numbered ones */
    uint64_t landed_late; /* of dead processes */
    uint64_t kills;
    uint64_t power_cuts;
    uint64_t errors; /* EIO by chance or by rule */
    uint64_t no_space;
    uint64_t splits;
    uint64_t misdirected;
    uint64_t lies;
    uint64_t rotten;
    uint64_t spoiled;
    /* EIO given to a write or flush of a file whose name ends in ".seg", opened for writing: the
     * count that a writer must not survive (J6) */
    uint64_t segment_errors;
} baton_sim_counts;
const baton_sim_counts *baton_sim_counts_of(const baton_sim *sim);
/* Over every operation, when it was done and what it gave, and over every accident. */
baton_digest baton_sim_trace(const baton_sim *sim);
/* A line of text for each, to a function of the caller's; NULL: none. */
typedef void (*baton_sim_tell)(void *context, const char *line);
void baton_sim_set_tell(baton_sim *sim, baton_sim_tell tell, void *context);

/* The file's bytes as a read would see them now, without any fault; looked up by path. Count, or
 * -errno. Also its size. */
int64_t baton_sim_look(const baton_sim *sim, const char *path, void *buffer, uint64_t bytes,
                       uint64_t offset);
int baton_sim_list(const baton_sim *sim, const char *path, baton_io_visit visit, void *context);
