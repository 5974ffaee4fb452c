/* base/sim_disk.c: see sim_disk.h. Names are two flat lists, as they are now and as they are on
 * stable storage, with the changes between the two in order. */
#include "base/sim_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

#define UNLIMITED_UNITS UINT64_MAX

/* ---- lists of names ---- */

static sim_name *names_find(const sim_names *names, const sim_node *directory, const char *name)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (names->list[i].directory == directory && strcmp(names->list[i].name, name) == 0)
            return &names->list[i];
    }
    return NULL;
}

static void names_remove(sim_names *names, const sim_node *directory, const char *name)
{
    sim_name *found = names_find(names, directory, name);
    if (found == NULL)
        return;
    memmove(found, found + 1, (size_t)(names->list + names->count - (found + 1)) * sizeof(*found));
    names->count--;
}

static void names_set(sim_names *names, const sim_name *name)
{
    names_remove(names, name->directory, name->name);
    if (names->count == names->room) {
        names->room = names->room == 0 ? 16 : 2 * names->room;
        names->list = realloc(names->list, names->room * sizeof(*names->list));
        baton_assert(names->list != NULL);
    }
    names->list[names->count++] = *name;
}

static bool names_hold(const sim_names *names, const sim_node *node)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (names->list[i].node == node)
            return true;
    }
    return false;
}

static void change_apply(sim_names *names, const sim_name_change *change)
{
    switch (change->kind) {
    case SIM_NAME_ADD:
        names_set(names, &change->from);
        break;
    case SIM_NAME_REMOVE:
        names_remove(names, change->from.directory, change->from.name);
        break;
    case SIM_NAME_MOVE:
        names_remove(names, change->from.directory, change->from.name);
        names_set(names, &change->to);
        break;
    }
}

/* ---- nodes ---- */

static sim_node *node_new(sim_disk *disk, bool is_directory)
{
    sim_node *node = calloc(1, sizeof(*node));
    baton_assert(node != NULL);
    node->id = ++disk->nodes_made;
    node->is_directory = is_directory;
    node->shared_memory = -1;
    node->next = disk->nodes;
    disk->nodes = node;
    return node;
}

static void node_empty(sim_node *node)
{
    sim_file_fini(&node->file);
    if (node->shared_memory >= 0)
        close(node->shared_memory);
    node->shared_memory = -1;
}

static bool may_come_back(const sim_disk *disk, const sim_node *node)
{
    if (names_hold(&disk->stable, node))
        return true;
    for (uint32_t i = 0; i < disk->changes_count; i++) {
        if (disk->changes[i].from.node == node)
            return true;
    }
    return false;
}

/* Its room is free as soon as no name and no handle leads to it; its bytes are kept while a power
 * cut may bring the name back. */
static void node_release(sim_disk *disk, sim_node *node)
{
    if (node->refs > 0 || names_hold(&disk->now, node) || node == disk->root)
        return;
    disk->units_used -= node->file.units_allocated;
    node->file.units_allocated = 0;
    for (uint64_t i = 0; i < node->file.units_count; i++)
        node->file.units[i].allocated = false;
    if (!may_come_back(disk, node))
        node_empty(node);
}

void sim_disk_unref(sim_disk *disk, sim_node *node)
{
    baton_assert(node->refs > 0);
    node->refs--;
    node_release(disk, node);
}

void sim_disk_init(sim_disk *disk, sim_random *random)
{
    *disk = (sim_disk){.random = random, .units_max = UNLIMITED_UNITS};
    disk->root = node_new(disk, true);
}

void sim_disk_fini(sim_disk *disk)
{
    while (disk->nodes != NULL) {
        sim_node *node = disk->nodes;
        disk->nodes = node->next;
        node_empty(node);
        free(node);
    }
    free(disk->now.list);
    free(disk->stable.list);
    free(disk->changes);
}

/* ---- paths ---- */

static sim_node *parent_of(const sim_disk *disk, const sim_node *directory)
{
    for (uint32_t i = 0; i < disk->now.count; i++)
        if (disk->now.list[i].node == directory)
            return disk->now.list[i].directory;
    return disk->root; /* above it there is nothing */
}

/* From *directory into the name that was read last, if there is one. */
static int enter(const sim_disk *disk, sim_node **directory, char name[SIM_NAME_BYTES])
{
    if (name[0] == '\0')
        return 0;
    const sim_name *found = names_find(&disk->now, *directory, name);
    if (found == NULL)
        return -ENOENT;
    if (!found->node->is_directory)
        return -ENOTDIR;
    *directory = found->node;
    name[0] = '\0';
    return 0;
}

/* Walks to the last part of the path: its directory in *ret_directory, its name in `name`, "" for
 * that directory itself. */
static int resolve(const sim_disk *disk, const sim_node *root, const char *path,
                   sim_node **ret_directory, char name[SIM_NAME_BYTES])
{
    sim_node *directory = (sim_node *)(uintptr_t)root;
    name[0] = '\0';
    for (const char *at = path; *at != '\0';) {
        const size_t length = strcspn(at, "/");
        const bool is_self = length == 0 || (length == 1 && at[0] == '.');
        if (!is_self) {
            const int r = enter(disk, &directory, name);
            if (r < 0)
                return r;
            if (length >= SIM_NAME_BYTES)
                return -ENAMETOOLONG;
            if (length == 2 && memcmp(at, "..", 2) == 0) {
                directory = directory == root ? directory : parent_of(disk, directory);
            } else {
                memcpy(name, at, length);
                name[length] = '\0';
            }
        }
        at += length;
        at += *at == '/';
    }
    *ret_directory = directory;
    return 0;
}

sim_node *sim_disk_find(const sim_disk *disk, const sim_node *root, const char *path,
                        int *ret_error)
{
    sim_node *directory;
    char name[SIM_NAME_BYTES];
    *ret_error = resolve(disk, root, path, &directory, name);
    if (*ret_error < 0)
        return NULL;
    if (name[0] == '\0')
        return directory;
    const sim_name *found = names_find(&disk->now, directory, name);
    if (found == NULL)
        *ret_error = -ENOENT;
    return found == NULL ? NULL : found->node;
}

/* ---- changes of names ---- */

static void change_names(sim_disk *disk, sim_name_change change)
{
    change.change = ++disk->change;
    if (disk->changes_count == disk->changes_room) {
        disk->changes_room = disk->changes_room == 0 ? 16 : 2 * disk->changes_room;
        disk->changes = realloc(disk->changes, disk->changes_room * sizeof(*disk->changes));
        baton_assert(disk->changes != NULL);
    }
    disk->changes[disk->changes_count++] = change;
    change_apply(&disk->now, &change);
}

int sim_disk_create(sim_disk *disk, const sim_node *root, const char *path, bool is_directory,
                    sim_node **ret_node)
{
    sim_name_change change = {.kind = SIM_NAME_ADD};
    int r = resolve(disk, root, path, &change.from.directory, change.from.name);
    if (r < 0)
        return r;
    if (change.from.name[0] == '\0' ||
        names_find(&disk->now, change.from.directory, change.from.name) != NULL)
        return -EEXIST;
    if (disk->units_used >= disk->units_max)
        return -ENOSPC;
    *ret_node = change.from.node = node_new(disk, is_directory);
    change.from.node->machine = change.from.directory->machine;
    change_names(disk, change);
    return 0;
}

sim_node *sim_disk_machine(sim_disk *disk, const char *name)
{
    sim_node *root = NULL;
    const int r = sim_disk_create(disk, disk->root, name, true, &root);
    baton_assert(r == 0);
    root->machine = ++disk->machines;
    sim_disk_sync_names(disk, disk->root, disk->change);
    return root;
}

int sim_disk_unlink(sim_disk *disk, const sim_node *root, const char *path)
{
    sim_name_change change = {.kind = SIM_NAME_REMOVE};
    int r = resolve(disk, root, path, &change.from.directory, change.from.name);
    if (r < 0)
        return r;
    const sim_name *found = names_find(&disk->now, change.from.directory, change.from.name);
    if (found == NULL)
        return -ENOENT;
    if (found->node->is_directory)
        return -EISDIR;
    change.from.node = found->node;
    change_names(disk, change);
    node_release(disk, change.from.node);
    return 0;
}

int sim_disk_rename(sim_disk *disk, const sim_node *root, const char *path, const char *path_to)
{
    sim_name_change change = {.kind = SIM_NAME_MOVE};
    int r = resolve(disk, root, path, &change.from.directory, change.from.name);
    if (r == 0)
        r = resolve(disk, root, path_to, &change.to.directory, change.to.name);
    if (r < 0)
        return r;
    const sim_name *found = names_find(&disk->now, change.from.directory, change.from.name);
    if (found == NULL)
        return -ENOENT;
    change.from.node = change.to.node = found->node;
    const sim_name *replaced = names_find(&disk->now, change.to.directory, change.to.name);
    sim_node *gone = replaced == NULL ? NULL : replaced->node;
    if (gone == found->node)
        return 0;
    if (gone != NULL && gone->is_directory != found->node->is_directory)
        return gone->is_directory ? -EISDIR : -ENOTDIR;
    change_names(disk, change);
    if (gone != NULL)
        node_release(disk, gone);
    return 0;
}

int sim_disk_list(const sim_disk *disk, const sim_node *directory, baton_io_visit visit,
                  void *context)
{
    for (uint32_t i = 0; i < disk->now.count; i++) {
        if (disk->now.list[i].directory != directory)
            continue;
        int r = visit(context, disk->now.list[i].name);
        if (r != 0)
            return r;
    }
    return 0;
}

/* A move takes along that its file was made under the name it had before. */
static void forget_add(sim_disk *disk, uint32_t before, const sim_name *name)
{
    for (uint32_t i = 0; i < before; i++) {
        sim_name_change *change = &disk->changes[i];
        if (change->kind == SIM_NAME_ADD && change->from.node == name->node &&
            change->from.directory == name->directory && strcmp(change->from.name, name->name) == 0)
            change->kind = SIM_NAME_REMOVE;
    }
}

void sim_disk_sync_names(sim_disk *disk, const sim_node *directory, uint64_t change)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < disk->changes_count; i++) {
        const sim_name_change one = disk->changes[i];
        const bool moves = one.kind == SIM_NAME_MOVE;
        const bool here =
            one.from.directory == directory || (moves && one.to.directory == directory);
        if (!here || one.change > change) {
            disk->changes[kept++] = one;
            continue;
        }
        change_apply(&disk->stable, &one);
        if (moves)
            forget_add(disk, kept, &one.from);
    }
    disk->changes_count = kept;
}

/* ---- bytes ---- */

int sim_disk_allocate(sim_disk *disk, sim_node *node, uint64_t offset, uint64_t bytes)
{
    const uint64_t needed = sim_file_units_needed(&node->file, offset, bytes);
    if (needed > 0 &&
        (disk->units_used >= disk->units_max || needed > disk->units_max - disk->units_used))
        return -ENOSPC;
    disk->units_used += needed;
    sim_file_allocate(&node->file, offset, bytes, false);
    return 0;
}

int sim_disk_write(sim_disk *disk, sim_node *node, const void *data, uint64_t bytes,
                   uint64_t offset, bool durable, bool buffered)
{
    int r = sim_disk_allocate(disk, node, offset, bytes);
    if (r < 0)
        return r;
    const sim_write_how how = {.change = ++disk->change, .durable = durable, .buffered = buffered};
    sim_file_write(&node->file, data, bytes, offset, how);
    return 0;
}

void sim_disk_truncate(sim_disk *disk, sim_node *node, uint64_t size)
{
    disk->units_used -= node->file.units_allocated;
    sim_file_truncate(&node->file, size, ++disk->change);
    disk->units_used += node->file.units_allocated;
}

bool sim_disk_is_of(uint32_t machine, const sim_node *node)
{
    return machine == SIM_ALL_MACHINES || node->machine == machine;
}

void sim_disk_power_cut(sim_disk *disk, uint32_t machine, sim_cut cut)
{
    uint32_t left = 0; /* changes of other machines' names */
    for (uint32_t i = 0; i < disk->changes_count; i++) {
        if (!sim_disk_is_of(machine, disk->changes[i].from.directory)) {
            disk->changes[left++] = disk->changes[i];
            continue;
        }
        const uint64_t draw = sim_random_next(disk->random);
        if (cut == SIM_CUT_ALL || (cut != SIM_CUT_NOTHING && draw % 2 == 0))
            change_apply(&disk->stable, &disk->changes[i]);
    }
    disk->changes_count = left;
    disk->now.count = 0;
    for (uint32_t i = 0; i < disk->stable.count; i++)
        names_set(&disk->now, &disk->stable.list[i]);
    for (uint32_t i = 0; i < left; i++)
        change_apply(&disk->now, &disk->changes[i]);

    disk->units_used = 0;
    for (sim_node *node = disk->nodes; node != NULL; node = node->next) {
        if (sim_disk_is_of(machine, node) && !names_hold(&disk->now, node))
            node_empty(node);
        else if (sim_disk_is_of(machine, node))
            sim_file_power_cut(&node->file, cut, disk->random);
        disk->units_used += node->file.units_allocated;
    }
}
