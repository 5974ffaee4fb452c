/* tests/support/journal_builder.h: journals made byte by byte, without the writer, so that a test
 * can make what no writer should: batches in any epoch, holes, stale bytes, headers that lie.
 * Small: one fd, plain writes, nothing durable.
 *
 *     journal_builder builder;
 *     builder_init(&builder, directory);
 *     builder_epoch(&builder, 1);                  a first segment of epoch 1
 *     builder_batch(&builder, 3);                  three entries
 *     builder_roll(&builder);                      its trailer, and the next segment
 *     builder_mark(&builder, BATON_BATCH_CLOSE);
 *
 * Entry number seq has type seq % 7 + 1, time 1000 * seq and a payload of seq % 50 + 1 bytes that
 * depends on seq alone: builder_entry_is_right knows them all. */
#pragma once

#include "journal/format.h"
#include "journal/records.h"

#define BUILDER_SEGMENT_BYTES                                                                      \
    (32u * 4096u) /* default; set builder.segment_bytes before an epoch or roll */
#define BUILDER_PATH_BYTES 640

typedef struct {
    char directory[BUILDER_PATH_BYTES - 64];
    uint64_t segment_bytes;
    baton_digest id;
    char service[BATON_SERVICE_NAME_BYTES];
    /* the chain */
    baton_position last;
    baton_digest digest;
    uint64_t last_index; /* where `last` stands */
    uint64_t last_offset;
    /* what the next batch carries; follows every batch by itself, one behind, when keep_durable is
     * false */
    baton_position durable;
    bool keep_durable;
    baton_facts facts;
    /* the segment being written */
    uint64_t epoch;
    uint64_t index;
    uint64_t offset;
    uint64_t later_ns; /* by which its headers are younger than those of another builder */
    baton_segment_header header; /* as written last */
} journal_builder;

void builder_init(journal_builder *builder, const char *directory); /* makes the directory */
/* A first segment of this epoch, going on from the chain. */
void builder_epoch(journal_builder *builder, uint64_t epoch);
/* Trailer of this segment, then the next one of the same epoch. */
void builder_roll(journal_builder *builder);
/* The same, made of the file of an older segment of this epoch, which is retired by it: what it held
 * stays in it. */
void builder_recycle(journal_builder *builder, uint64_t index);
void builder_trailer(journal_builder *builder, uint32_t flags);
/* Returns the batch's offset in its segment. */
uint64_t builder_batch(journal_builder *builder, uint32_t entries_count);
/* With entries of payload_bytes each (builder_entry_is_right does not know them). */
uint64_t builder_batch_of(journal_builder *builder, uint32_t entries_count, uint32_t payload_bytes);
uint64_t builder_mark(journal_builder *builder, uint16_t flags);
uint64_t builder_record(journal_builder *builder, baton_record_kind kind, const void *payload,
                        uint32_t payload_bytes);
/* All up to here is durable: the next batch says so. */
void builder_all_durable(journal_builder *builder);
/* Leave this segment's bytes as they are and go back in the chain, as if what came since had never
 * been. */
typedef struct {
    baton_position last;
    baton_digest digest;
    uint64_t last_index;
    uint64_t last_offset;
    baton_position durable;
} builder_place;
builder_place builder_here(const journal_builder *builder);
void builder_go_back(journal_builder *builder, const builder_place *place);

/* ---- spoiling: path from builder_path ---- */

const char *builder_path(const journal_builder *builder, uint64_t epoch,
                         uint64_t index); /* one of 8 static buffers */
void builder_flip(const char *path, uint64_t offset, unsigned bit);
void builder_write(const char *path, uint64_t offset, const void *bytes, size_t bytes_count);
void builder_read(const char *path, uint64_t offset, void *bytes, size_t bytes_count);
void builder_zero(const char *path, uint64_t offset, uint64_t bytes);
void builder_truncate(const char *path, uint64_t bytes);

/* ---- judging ---- */

uint32_t builder_payload(uint64_t seq, uint8_t payload[64]); /* returns its size */
bool builder_entry_is_right(const baton_entry *entry);
