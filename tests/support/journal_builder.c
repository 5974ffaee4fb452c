#include "tests/support/journal_builder.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

const char *builder_path(const journal_builder *builder, uint64_t epoch, uint64_t index)
{
    static char paths[8][BUILDER_PATH_BYTES];
    static unsigned at;
    char name[BATON_SEGMENT_NAME_BYTES];
    char *path = paths[at++ % 8];

    baton_segment_name(epoch, index, name);
    (void)snprintf(path, BUILDER_PATH_BYTES, "%s/%s", builder->directory, name);
    return path;
}

static int open_file(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0640);
    if (fd < 0) {
        perror(path);
        abort();
    }
    return fd;
}

void builder_write(const char *path, uint64_t offset, const void *bytes, size_t bytes_count)
{
    int fd = open_file(path, O_WRONLY);
    ssize_t written = pwrite(fd, bytes, bytes_count, (off_t)offset);
    assert(written == (ssize_t)bytes_count);
    close(fd);
}

void builder_read(const char *path, uint64_t offset, void *bytes, size_t bytes_count)
{
    int fd = open_file(path, O_RDONLY);
    ssize_t got = pread(fd, bytes, bytes_count, (off_t)offset);
    assert(got == (ssize_t)bytes_count);
    close(fd);
}

void builder_flip(const char *path, uint64_t offset, unsigned bit)
{
    uint8_t byte;
    builder_read(path, offset, &byte, 1);
    byte = (uint8_t)(byte ^ 1u << bit);
    builder_write(path, offset, &byte, 1);
}

void builder_zero(const char *path, uint64_t offset, uint64_t bytes)
{
    void *zeros = calloc(1, bytes);
    assert(zeros != NULL);
    builder_write(path, offset, zeros, bytes);
    free(zeros);
}

void builder_truncate(const char *path, uint64_t bytes)
{
    int r = truncate(path, (off_t)bytes);
    assert(r == 0);
}

uint32_t builder_payload(uint64_t seq, uint8_t payload[64])
{
    uint32_t payload_bytes = (uint32_t)(seq % 50 + 1);
    for (uint32_t i = 0; i < payload_bytes; i++)
        payload[i] = (uint8_t)(seq * 31 + i * 7 + 1);
    return payload_bytes;
}

bool builder_entry_is_right(const baton_entry *entry)
{
    uint8_t payload[64];
    uint32_t payload_bytes = builder_payload(entry->seq, payload);
    return entry->type == entry->seq % 7 + 1 && entry->time_ns == 1000 * entry->seq &&
           entry->payload_bytes == payload_bytes &&
           memcmp(entry->payload, payload, payload_bytes) == 0;
}

void builder_init(journal_builder *builder, const char *directory)
{
    *builder = (journal_builder){.segment_bytes = BUILDER_SEGMENT_BYTES};
    (void)snprintf(builder->directory, sizeof(builder->directory), "%s", directory);
    for (unsigned i = 0; i < sizeof(builder->id.bytes); i++)
        builder->id.bytes[i] = (uint8_t)(0xa0 + i);
    (void)mkdir(directory, 0750);
}

static void write_header(journal_builder *builder, uint32_t flags)
{
    baton_segment_header *header = &builder->header;

    *header = (baton_segment_header){
        .version = baton_le32_put(BATON_JOURNAL_VERSION),
        .flags = baton_le32_put(flags),
        .epoch = baton_le64_put(builder->epoch),
        .index = baton_le64_put(builder->index),
        .segment_bytes = baton_le64_put(builder->segment_bytes),
        .first_batch = baton_le64_put(builder->last.batch + 1),
        .first_seq = baton_le64_put(builder->last.seq + 1),
        .continues = baton_position_put(builder->last),
        .continues_index = baton_le64_put(builder->last_index),
        .continues_offset = baton_le64_put(builder->last_offset),
        .last_time_ns = baton_le64_put(1000 * builder->last.seq),
        .created_wall_ns = baton_le64_put(UINT64_C(1700000000000000000) + builder->later_ns),
        .finalized_schema = baton_le32_put(builder->facts.finalized_schema),
        .roots_count = baton_le32_put(builder->facts.roots_count),
        .handover = builder->facts.handover,
    };
    memcpy(header->magic, BATON_SEGMENT_MAGIC, 8);
    memcpy(header->journal_id, builder->id.bytes, 16);
    memcpy(header->continues_digest, builder->digest.bytes, 16);
    memcpy(header->service, builder->service, sizeof(header->service));
    memcpy(header->roots, builder->facts.roots, sizeof(header->roots));
    baton_segment_header_seal(header);
    builder_write(builder_path(builder, builder->epoch, builder->index), 0, header,
                  sizeof(*header));
    builder->offset = BATON_IO_UNIT;
}

static void make_segment(journal_builder *builder)
{
    const char *path = builder_path(builder, builder->epoch, builder->index);
    close(open_file(path, O_WRONLY | O_CREAT | O_EXCL));
    builder_truncate(path, builder->segment_bytes);
    write_header(builder, 0);
}

void builder_epoch(journal_builder *builder, uint64_t epoch)
{
    builder->epoch = epoch;
    builder->index++;
    builder_all_durable(builder);
    make_segment(builder);
}

void builder_trailer(journal_builder *builder, uint32_t flags)
{
    baton_segment_trailer trailer = {
        .version = baton_le32_put(BATON_JOURNAL_VERSION),
        .flags = baton_le32_put(flags),
        .epoch = baton_le64_put(builder->epoch),
        .index = baton_le64_put(builder->index),
        .last = baton_position_put(builder->last),
    };
    memcpy(trailer.magic, BATON_TRAILER_MAGIC, 8);
    memcpy(trailer.journal_id, builder->id.bytes, 16);
    memcpy(trailer.last_digest, builder->digest.bytes, 16);
    baton_segment_trailer_seal(&trailer);
    builder_write(builder_path(builder, builder->epoch, builder->index),
                  builder->segment_bytes - BATON_IO_UNIT, &trailer, sizeof(trailer));
}

void builder_roll(journal_builder *builder)
{
    builder_trailer(builder, 0);
    builder->index++;
    make_segment(builder);
}

void builder_recycle(journal_builder *builder, uint64_t index)
{
    builder_trailer(builder, 0);
    builder->index++;
    const char *path = builder_path(builder, builder->epoch, builder->index);
    int r = rename(builder_path(builder, builder->epoch, index), path);
    assert(r == 0);
    builder_zero(path, builder->segment_bytes - BATON_IO_UNIT, BATON_IO_UNIT);
    write_header(builder, BATON_SEGMENT_RECYCLED);
}

static void add_frame(uint8_t *batch, uint32_t *used, uint16_t type, uint16_t flags,
                      uint64_t time_ns, const void *payload, uint32_t payload_bytes)
{
    baton_frame_header frame = {
        .payload_bytes = baton_le32_put(payload_bytes),
        .type = baton_le16_put(type),
        .flags = baton_le16_put(flags),
        .time_ns = baton_le64_put(time_ns),
    };
    memcpy(batch + *used, &frame, sizeof(frame));
    memcpy(batch + *used + sizeof(frame), payload, payload_bytes);
    *used += baton_frame_bytes(payload_bytes);
}

static uint64_t write_batch(journal_builder *builder, uint8_t *bytes, uint32_t used,
                            uint32_t entries_count, uint16_t flags)
{
    baton_batch_header *batch = (baton_batch_header *)(void *)bytes;
    uint32_t batch_bytes = (used + BATON_IO_UNIT - 1) & ~(BATON_IO_UNIT - 1);
    uint64_t offset = builder->offset;

    assert(offset + batch_bytes <= builder->segment_bytes - BATON_IO_UNIT);
    *batch = (baton_batch_header){
        .version = baton_le16_put(BATON_JOURNAL_VERSION),
        .flags = baton_le16_put(flags),
        .entry_count = baton_le32_put(entries_count),
        .batch_bytes = baton_le32_put(batch_bytes),
        .used_bytes = baton_le32_put(used),
        .epoch = baton_le64_put(builder->epoch),
        .batch = baton_le64_put(builder->last.batch + 1),
        .first_seq = baton_le64_put(builder->last.seq + 1),
        .durable_seq = baton_le64_put(builder->durable.seq),
        .durable_epoch = baton_le64_put(builder->durable.epoch),
        .durable_batch = baton_le64_put(builder->durable.batch),
    };
    memcpy(batch->previous_digest, builder->digest.bytes, 16);
    memcpy(batch->journal_id, builder->id.bytes, 16);
    baton_position before = builder->last;
    builder->digest = baton_batch_seal(batch);
    builder_write(builder_path(builder, builder->epoch, builder->index), offset, bytes,
                  batch_bytes);
    builder->offset += batch_bytes;
    builder->last = (baton_position){
        .epoch = builder->epoch, .batch = before.batch + 1, .seq = before.seq + entries_count};
    builder->last_index = builder->index;
    builder->last_offset = builder->offset;
    if (!builder->keep_durable)
        builder->durable = before;
    return offset;
}

uint64_t builder_batch(journal_builder *builder, uint32_t entries_count)
{
    uint8_t *bytes = calloc(1, sizeof(baton_batch_header) + entries_count * 96u + BATON_IO_UNIT);
    uint32_t used = sizeof(baton_batch_header);
    uint8_t payload[64];

    assert(bytes != NULL);
    for (uint32_t i = 0; i < entries_count; i++) {
        uint64_t seq = builder->last.seq + 1 + i;
        uint32_t payload_bytes = builder_payload(seq, payload);
        add_frame(bytes, &used, (uint16_t)(seq % 7 + 1), 0, 1000 * seq, payload, payload_bytes);
    }
    uint64_t offset = write_batch(builder, bytes, used, entries_count, 0);
    free(bytes);
    return offset;
}

uint64_t builder_batch_of(journal_builder *builder, uint32_t entries_count, uint32_t payload_bytes)
{
    uint8_t *bytes =
        calloc(1, sizeof(baton_batch_header) +
                      (size_t)entries_count * baton_frame_bytes(payload_bytes) + BATON_IO_UNIT);
    uint8_t *payload = malloc(payload_bytes + 1u);
    uint32_t used = sizeof(baton_batch_header);

    assert(bytes != NULL && payload != NULL);
    for (uint32_t i = 0; i < entries_count; i++) {
        uint64_t seq = builder->last.seq + 1 + i;
        memset(payload, (int)(seq & 0xff), payload_bytes);
        add_frame(bytes, &used, 1, 0, 1000 * seq, payload, payload_bytes);
    }
    uint64_t offset = write_batch(builder, bytes, used, entries_count, 0);
    free(payload);
    free(bytes);
    return offset;
}

uint64_t builder_mark(journal_builder *builder, uint16_t flags)
{
    uint8_t bytes[BATON_IO_UNIT] __attribute__((aligned(16))) = {0};
    builder_all_durable(builder);
    return write_batch(builder, bytes, sizeof(baton_batch_header), 0,
                       (uint16_t)(BATON_BATCH_MARK | flags));
}

uint64_t builder_record(journal_builder *builder, baton_record_kind kind, const void *payload,
                        uint32_t payload_bytes)
{
    uint8_t bytes[BATON_IO_UNIT] __attribute__((aligned(16))) = {0};
    uint32_t used = sizeof(baton_batch_header);

    add_frame(bytes, &used, (uint16_t)kind, BATON_FRAME_RECORD, 1000 * builder->last.seq, payload,
              payload_bytes);
    baton_facts_apply(&builder->facts, (uint16_t)kind, payload, payload_bytes);
    return write_batch(builder, bytes, used, 0, 0);
}

void builder_all_durable(journal_builder *builder)
{
    builder->durable = builder->last;
}

builder_place builder_here(const journal_builder *builder)
{
    return (builder_place){.last = builder->last,
                           .digest = builder->digest,
                           .last_index = builder->last_index,
                           .last_offset = builder->last_offset,
                           .durable = builder->durable};
}

void builder_go_back(journal_builder *builder, const builder_place *place)
{
    builder->last = place->last;
    builder->digest = place->digest;
    builder->last_index = place->last_index;
    builder->last_offset = place->last_offset;
    builder->durable = place->durable;
}
