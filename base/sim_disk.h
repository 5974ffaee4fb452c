/* base/sim_disk.h: a simulated file system: directories, names and files, and what a power cut
 * leaves of them. A name that was made, removed or moved is volatile until its directory is synced,
 * whatever happened to the file. A rename is there as a whole or not at all. Knows nothing of time,
 * processes or operations. */
#pragma once

#include "base/sim_file.h"

#define SIM_NAME_BYTES 64u

typedef struct sim_node sim_node;
struct sim_node {
    sim_node *next; /* of all */
    uint64_t id;    /* from 1, in the order in which they were made */
    bool is_directory;
    uint32_t machine; /* it stands on the disk of this one */
    uint32_t refs;    /* held by handles and by operations in flight */
    sim_file file;
    int shared_memory; /* behind its maps, or -1 */
};

typedef struct {
    sim_node *directory;
    sim_node *node;
    char name[SIM_NAME_BYTES];
} sim_name;

typedef struct {
    sim_name *list;
    uint32_t count;
    uint32_t room;
} sim_names;

/* A change of names that is not stable yet. */
typedef struct {
    uint64_t change;
    enum { SIM_NAME_ADD, SIM_NAME_REMOVE, SIM_NAME_MOVE } kind;
    sim_name from; /* what is added, removed or moved */
    sim_name to;   /* moved: to here */
} sim_name_change;

typedef struct {
    sim_random *random;
    sim_node *root;
    sim_node *nodes;
    uint64_t nodes_made;
    uint32_t machines;
    sim_names now;
    sim_names stable;
    sim_name_change *changes;
    uint32_t changes_count;
    uint32_t changes_room;
    uint64_t change;    /* number of the last change of anything */
    uint64_t units_max; /* the disk's size */
    uint64_t units_used;
} sim_disk;

void sim_disk_init(sim_disk *disk, sim_random *random);
void sim_disk_fini(sim_disk *disk);

/* A directory in the root that is the whole disk of a machine of its own, with its own power; stable. */
sim_node *sim_disk_machine(sim_disk *disk, const char *name);

/* Paths are absolute; one that is not begins at the root too: disk->root, or a machine's. NULL and
 * -errno in *ret_error. */
sim_node *sim_disk_find(const sim_disk *disk, const sim_node *root, const char *path,
                        int *ret_error);
int sim_disk_create(sim_disk *disk, const sim_node *root, const char *path, bool is_directory,
                    sim_node **ret_node);
int sim_disk_unlink(sim_disk *disk, const sim_node *root, const char *path);
int sim_disk_rename(sim_disk *disk, const sim_node *root, const char *path, const char *path_to);
int sim_disk_list(const sim_disk *disk, const sim_node *directory, baton_io_visit visit,
                  void *context);
/* All names of this directory that changed up to `change` are stable. */
void sim_disk_sync_names(sim_disk *disk, const sim_node *directory, uint64_t change);

/* -ENOSPC, with nothing changed, when it does not fit. */
int sim_disk_allocate(sim_disk *disk, sim_node *node, uint64_t offset, uint64_t bytes);
int sim_disk_write(sim_disk *disk, sim_node *node, const void *data, uint64_t bytes,
                   uint64_t offset, bool durable, bool buffered);
void sim_disk_truncate(sim_disk *disk, sim_node *node, uint64_t size);
/* One ref less; without refs and names its room is free. */
void sim_disk_unref(sim_disk *disk, sim_node *node);

#define SIM_ALL_MACHINES UINT32_MAX
bool sim_disk_is_of(uint32_t machine, const sim_node *node); /* of that one, or of any */
void sim_disk_power_cut(sim_disk *disk, uint32_t machine, sim_cut cut);
