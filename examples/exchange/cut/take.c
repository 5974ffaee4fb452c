/* A cut of a running exchange: the barrier, then each state at its entry, out of the journals, beside the services:
 * they take no notice. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <baton/clock.h>

#include "examples/exchange/cut/cut.h"

/* Entry seq is durable, and what comes behind it is not in it: what was under way is in the outboxes. */
static int take_part(const char *partial, const char *name, uint64_t seq, cut_part *part,
                     baton_error *error)
{
    char out[PATH_MAX], manifest[PATH_MAX], to[24];
    snprintf(to, sizeof(to), "%" PRIu64, seq);
    const char *const more[] = {"--to", to, "--out", out, NULL};
    int r = part_path(out, partial, name, error);
    if (r == 0)
        r = part_run(part, "snapshot", part->directory, more, error);
    if (r == 0)
        r = part_check(out, name, &part->info, manifest, error);
    if (r == 0 && part->info.seq != seq)
        r = baton_error_setf(error, BATON_E_DAMAGED, out, "take the cut again",
                             "it is of entry %" PRIu64 ", not of %" PRIu64, part->info.seq, seq);
    return r;
}

/* Its parent is durable with the last rename. */
static int begin(const take_options *options, char partial[PATH_MAX], baton_error *error)
{
    struct stat there;
    const int length = snprintf(partial, PATH_MAX, "%s.partial", options->directory);
    if (length < 0 || length >= PATH_MAX)
        return baton_error_set(error, -ENAMETOOLONG, options->directory, NULL,
                               "give a shorter path");
    if (stat(options->directory, &there) == 0)
        return baton_error_set(error, -EEXIST, options->directory, "it is there already",
                               "name a new directory");
    if (mkdir(partial, 0777) < 0)
        return baton_error_set(error, -errno, partial, NULL,
                               errno == EEXIST ? "remove what a dead one has left"
                                               : "name a directory whose parent is there");
    return 0;
}

static int publish(const char *partial, const char *directory, baton_error *error)
{
    char parent[PATH_MAX];
    int r = part_sync(partial, error);
    if (r == 0 && rename(partial, directory) < 0)
        r = baton_error_set(error, -errno, directory, NULL, "name a new directory");
    if (r == 0)
        r = part_path(parent, directory, "..", error);
    return r == 0 ? part_sync(parent, error) : r;
}

static int take_parts(const char *partial, const exchange_barrier *done, cut *own,
                      baton_error *error)
{
    const uint64_t seqs[CUT_PARTS] = {baton_le64_get(done->order_service_seq),
                                      baton_le64_get(done->risk_engine_seq),
                                      baton_le64_get(done->matching_engine_seq)};
    int r = 0;
    for (uint32_t i = 0; i < CUT_PARTS && r == 0; i++)
        r = take_part(partial, cut_names[i], seqs[i], &own->parts[i], error);
    return r == 0 ? cut_write(own, partial, error) : r;
}

int cut_take(const take_options *options, cut *own, baton_error *error)
{
    char partial[PATH_MAX];
    exchange_barrier done;
    own->id = options->id != 0 ? options->id : baton_clock_wall_ns(baton_clock_system());
    int r = begin(options, partial, error);
    if (r < 0)
        return r;
    r = ask_barrier(options->orders, own->id, options->wait_s, &done, error);
    if (r == 0)
        r = take_parts(partial, &done, own, error);
    if (r == 0)
        r = publish(partial, options->directory, error);
    if (r < 0)
        part_remove(partial);
    return r;
}
