/* tests/independent/journal_scenarios.c: makes journals of every kind in a directory and prints,
 * one JSON object a line, what this library's recovery and reader say about each.
 * journal_read_test.py holds a second implementation against it.
 *
 *     journal_scenarios DIRECTORY SEED ROUNDS */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "journal/recover.h"
#include "tests/support/journal_builder.h"

static uint64_t random_state;

static uint32_t below(uint32_t limit) /* splitmix64 */
{
    uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) % limit);
}

/* ---- what the library says ---- */

static void fnv(uint64_t *hash, const void *bytes, size_t bytes_count)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < bytes_count; i++)
        *hash = (*hash ^ p[i]) * UINT64_C(0x100000001b3);
}

static int read_all(const char *directory, uint64_t *ret_entries, uint64_t *ret_hash)
{
    const baton_reader_options options = {.backend = BATON_BACKEND_THREADS};
    baton_reader *reader;
    baton_entry entry;

    *ret_entries = 0;
    *ret_hash = UINT64_C(0xcbf29ce484222325);
    int r = baton_reader_open(directory, &options, &reader, NULL);
    if (r < 0)
        return r;
    while ((r = baton_reader_next(reader, &entry, NULL)) == 1) {
        baton_le64 seq = baton_le64_put(entry.seq);
        baton_le16 type = baton_le16_put(entry.type);
        baton_le64 time = baton_le64_put(entry.time_ns);
        fnv(ret_hash, &seq, sizeof(seq));
        fnv(ret_hash, &type, sizeof(type));
        fnv(ret_hash, &time, sizeof(time));
        fnv(ret_hash, entry.payload, entry.payload_bytes);
        ++*ret_entries;
    }
    baton_reader_close(reader);
    return r;
}

static void report(const char *name, const char *directory)
{
    const baton_io_options io_options = {.choice = BATON_IO_THREADS};
    const baton_recover_options options = {.from_seq = 0};
    baton_recovery recovery;
    baton_error error = {0};
    uint64_t entries, hash;
    char digest[BATON_DIGEST_TEXT_BYTES];
    baton_io *io;

    if (baton_io_open(&io_options, &io, NULL) < 0)
        exit(1);
    int status = baton_recover(io, directory, &options, &recovery, &error);
    int read_status = read_all(directory, &entries, &hash);
    if (read_status != status) {
        fprintf(stderr, "%s: the reader says %s\n", name, baton_status_name(read_status));
        exit(1);
    }
    const baton_recovery_report *r = &recovery.report;
    printf("{\"name\": \"%s\", \"directory\": \"%s\", \"status\": \"%s\", \"empty\": %s, "
           "\"torn_cut\": %" PRIu64 ", \"first_seq\": %" PRIu64 ", \"last\": [%" PRIu64 ", %" PRIu64
           ", %" PRIu64 "], \"evidence_batch\": %" PRIu64
           ", \"last_digest\": \"%s\", \"entries\": %" PRIu64 ", \"records\": %" PRIu64
           ", \"hash\": \"%016" PRIx64 "\"}\n",
           name, directory, baton_status_name(status), recovery.empty ? "true" : "false",
           r->torn_cut, r->first_seq, r->last.epoch, r->last.batch, r->last.seq, r->evidence.batch,
           baton_digest_text(recovery.last_digest, digest), entries, recovery.records_count, hash);
    baton_recovery_fini(&recovery);
    baton_io_close(io);
}

/* ---- journals ---- */

static uint64_t oldest;           /* segment that is there */
static uint64_t epoch_of[1 + 64]; /* of each index */

/* The oldest segment goes, and what is of this epoch is used again at once. */
static void retire(journal_builder *builder)
{
    if (oldest >= builder->index)
        return;
    if (epoch_of[oldest] == builder->epoch)
        builder_recycle(builder, oldest);
    else
        (void)unlink(builder_path(builder, epoch_of[oldest], oldest));
    oldest++;
}

static void act(journal_builder *builder, uint32_t what)
{
    static const baton_confirm_wire confirm;
    bool room = builder->offset + 4 * BATON_IO_UNIT <= builder->segment_bytes;

    if (what < 6 && room)
        builder_batch(builder, below(4) == 0 ? 120 : 1 + below(5));
    else if (what == 6 && room)
        builder_record(builder, BATON_RECORD_CONFIRM, &confirm, sizeof(confirm));
    else if (what == 7 && room)
        builder_mark(builder, 0);
    else if (what == 8 || !room)
        builder_roll(builder);
    else if (what == 9)
        builder_epoch(builder, builder->epoch + 1 + below(2));
    else if (what == 10)
        builder->keep_durable = !builder->keep_durable;
    else if (what >= 12)
        retire(builder);
    else
        builder_all_durable(builder);
    epoch_of[builder->index] = builder->epoch;
}

/* What a crash, a disk or an operator can do to one file. */
static void spoil(const journal_builder *builder, uint32_t how)
{
    const char *path;
    uint64_t epoch;
    uint64_t index = 1 + below((uint32_t)builder->index);
    uint64_t unit = below((uint32_t)(builder->segment_bytes / BATON_IO_UNIT));

    for (epoch = 1; epoch <= builder->epoch; epoch++) { /* an index belongs to one epoch */
        path = builder_path(builder, epoch, index);
        if (access(path, F_OK) == 0)
            break;
    }
    if (epoch > builder->epoch)
        return;
    if (below(2) == 0)
        unit = below(6); /* where there is something */
    if (how == 0)
        builder_flip(path, unit * BATON_IO_UNIT + below(300), below(8));
    else if (how == 1)
        builder_zero(path, unit * BATON_IO_UNIT, BATON_IO_UNIT);
    else if (how == 2)
        builder_truncate(path, unit * BATON_IO_UNIT + below(BATON_IO_UNIT));
    else if (how == 3)
        (void)unlink(path);
    else if (how == 4)
        builder_zero(path, 0, BATON_IO_UNIT);
}

static void make(const char *root, uint32_t round)
{
    char directory[512], name[64];
    journal_builder builder;
    uint32_t acts = below(24);
    uint32_t how =
        below(7); /* 5, 6: healthy, and with a writer's dead end that the next epoch cut off */

    (void)snprintf(name, sizeof(name), "round-%u-spoil-%u", round, how);
    (void)snprintf(directory, sizeof(directory), "%s/%u", root, round);
    builder_init(&builder, directory);
    builder.segment_bytes = (8 + 4 * below(3)) * BATON_IO_UNIT;
    if (below(20) != 0)
        builder_epoch(&builder, 1 + below(3));
    oldest = builder.index;
    epoch_of[builder.index] = builder.epoch;
    bool retires = below(2) == 0;
    for (uint32_t i = 0; i < acts && builder.epoch != 0; i++)
        act(&builder, below(retires ? 17 : 12));
    if (how == 6 && builder.epoch != 0 && builder.last.batch != 0) {
        builder_place place = builder_here(&builder);
        if (builder.offset + 3 * BATON_IO_UNIT <= builder.segment_bytes)
            builder_batch(&builder, 3);
        builder_go_back(&builder, &place);
        builder_epoch(&builder, builder.epoch + 1);
        builder_batch(&builder, 2);
    }
    if (builder.epoch != 0 && below(3) == 0 &&
        builder.offset + 3 * BATON_IO_UNIT <= builder.segment_bytes)
        builder_mark(&builder, BATON_BATCH_CLOSE);
    if (builder.epoch != 0)
        spoil(&builder, how);
    report(name, directory);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: journal_scenarios DIRECTORY SEED ROUNDS\n");
        return 1;
    }
    random_state = strtoull(argv[2], NULL, 10);
    uint32_t rounds = (uint32_t)strtoul(argv[3], NULL, 10);
    for (uint32_t round = 0; round < rounds; round++)
        make(argv[1], round);
    return 0;
}
