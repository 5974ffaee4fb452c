/* tests/golden/journal_shapes_make.c: how the journals of tests/golden/journal-v1-shapes were made.
 *
 *     journal_shapes_make DIRECTORY
 *
 * The first ones are the writer's own work, on a clock that stands still; the others are built byte
 * by byte: what no writer leaves by itself. A new format gets a folder of its own; the files that
 * are there are never made again. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <baton/journal.h>

#include "tests/support/journal_builder.h"

#define MIB           (1u << 20)
#define DEADLINE_NS   UINT64_C(60000000000)
#define FIXED_TIME_NS UINT64_C(1700000000000000000)

static const char *root;
static char path[BUILDER_PATH_BYTES - 64];
static journal_builder builder;

static void check(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "%s: %s: %s\n", path, what, baton_status_name(r));
        exit(1);
    }
}

static uint64_t fixed_time(const baton_clock *clock)
{
    (void)clock;
    return FIXED_TIME_NS;
}

static const char *place(const char *name)
{
    (void)snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

/* ---- by the writer ---- */

static baton_journal *begin(const char *name, baton_mode mode)
{
    static const baton_clock clock = {.monotonic_ns = fixed_time, .wall_ns = fixed_time};
    const baton_journal_options options = {.service = "golden",
                                           .mode = mode,
                                           .segment_bytes = MIB,
                                           .first_segment_bytes = 256 << 10,
                                           .batch_bytes_max = 128 << 10,
                                           .no_ballast = true,
                                           .clock = &clock};
    baton_recovery_report report;
    baton_journal *journal;
    check(baton_journal_open(place(name), &options, &journal, &report, NULL), "open");
    check(baton_journal_begin(journal, &report, NULL), "begin");
    return journal;
}

static void append(baton_journal *journal, const void *payload, uint32_t bytes)
{
    int r;
    uint16_t type = (uint16_t)(baton_journal_last_seq(journal) + 1);
    while ((r = baton_journal_append(journal, type, payload, bytes, NULL)) == BATON_E_FULL)
        check(baton_journal_poll(journal), "poll");
    check(r, "append");
}

/* One batch, durable before the next. */
static void append_batch(baton_journal *journal, const char *text)
{
    append(journal, text, (uint32_t)strlen(text));
    check(baton_journal_wait(journal, baton_journal_last_seq(journal), DEADLINE_NS), "wait");
}

static void append_large(baton_journal *journal, uint32_t count)
{
    static uint8_t payload[60000];
    for (uint32_t i = 0; i < count; i++) {
        memset(payload, (int)('a' + i), sizeof(payload));
        append(journal, payload, sizeof(payload));
    }
    check(baton_journal_wait(journal, baton_journal_last_seq(journal), DEADLINE_NS), "wait");
}

static void plain_ones(void)
{
    baton_journal *journal = begin("one_entry_closed", BATON_MODE_DURABLE);
    append_batch(journal, "hello");
    check(baton_journal_close(journal), "close");

    journal = begin("one_entry_unclosed", BATON_MODE_DURABLE);
    append_batch(journal, "hello");
    baton_journal_abandon(journal);

    journal = begin("no_entry_closed", BATON_MODE_DURABLE);
    check(baton_journal_close(journal), "close");

    journal = begin("mode_written", BATON_MODE_WRITTEN);
    append_batch(journal, "survives the process");
    check(baton_journal_close(journal), "close");

    for (int epoch = 1; epoch <= 3; epoch++) {
        journal = begin("several_epochs", BATON_MODE_DURABLE);
        append_batch(journal, "one");
        append_batch(journal, "\x01\xff not text");
        append_batch(journal, "");
        if (epoch == 2)
            baton_journal_abandon(journal);
        else
            check(baton_journal_close(journal), "close");
    }

    journal = begin("rolled_closed", BATON_MODE_DURABLE);
    append_large(journal, 22);
    check(baton_journal_close(journal), "close");

    uint32_t removed;
    journal = begin("retired_head", BATON_MODE_DURABLE);
    append_large(journal, 22);
    check(baton_journal_retire(journal, 10, &removed), "retire");
    append_batch(journal, "the first segment is gone");
    check(baton_journal_close(journal), "close");
}

/* The newest segment file: is it in use, and made of a retired one? */
static bool newest_is_recycled(const char *directory)
{
    baton_segment_header header = {0}; /* a file that is being made has none yet */
    char newest[BUILDER_PATH_BYTES] = "";
    DIR *names = opendir(directory);
    for (struct dirent *name = names ? readdir(names) : NULL; name; name = readdir(names)) {
        uint64_t epoch, index;
        char at[BUILDER_PATH_BYTES];
        (void)snprintf(at, sizeof(at), "%s/%.60s", directory, name->d_name);
        if (baton_segment_name_parse(name->d_name, &epoch, &index) && strcmp(at, newest) > 0)
            memcpy(newest, at, sizeof(newest));
    }
    (void)closedir(names);
    FILE *file = fopen(newest, "rb");
    if (file != NULL) {
        (void)!fread(&header, 1, sizeof(header), file);
        (void)fclose(file);
    }
    return (baton_le32_get(header.flags) & BATON_SEGMENT_RECYCLED) != 0;
}

/* Segment after segment, retired behind itself, until one that is recycled holds a little. */
static baton_journal *recycle(const char *name)
{
    uint32_t removed;
    baton_journal *journal = begin(name, BATON_MODE_DURABLE);
    do {
        append_large(journal, 2);
        check(baton_journal_retire(journal, baton_journal_durable_seq(journal), &removed),
              "retire");
    } while (!newest_is_recycled(path));
    append_batch(journal, "behind this stands what was there before");
    return journal;
}

static void recycled_ones(void)
{
    baton_journal *journal = recycle("recycled_closed");
    check(baton_journal_close(journal), "close");
    journal = recycle("recycled_killed"); /* with its next segment ready, recycled too */
    while (newest_is_recycled(path))
        check(baton_journal_poll(journal), "poll");
    baton_journal_abandon(journal);
}

static void record(baton_journal *journal, baton_record_kind kind, const void *payload,
                   uint32_t bytes)
{
    check(baton_journal_append_record(journal, kind, payload, bytes), "record");
    check(baton_journal_flush(journal), "flush");
}

/* Every kind, and a second epoch whose header repeats what stands. */
static void records(void)
{
    baton_journal *journal = begin("records_and_standing_facts", BATON_MODE_DURABLE);
    baton_root_wire roots[2] = {{.seq = baton_le64_put(1), .root = {0xaa}},
                                {.seq = baton_le64_put(2), .root = {0xbb}}};
    const baton_finalize_wire finalize = {.schema = baton_le32_put(3)};
    const baton_confirm_wire confirm = {.epoch = baton_le64_put(1),
                                        .seq = baton_le64_put(1),
                                        .index = baton_le32_put(2),
                                        .consumer = baton_le32_put(3)};
    const baton_checkpoint_wire checkpoint = {.seq = baton_le64_put(2),
                                              .state_digest = {1},
                                              .effect_digest = {2},
                                              .state_schema = baton_le32_put(3)};
    append_batch(journal, "one");
    record(journal, BATON_RECORD_ROOT, &roots[0], sizeof(roots[0]));
    append_batch(journal, "two");
    record(journal, BATON_RECORD_ROOT, &roots[1], sizeof(roots[1]));
    record(journal, BATON_RECORD_ROOT_GONE, &roots[0], sizeof(roots[0]));
    record(journal, BATON_RECORD_CONFIRM, &confirm, sizeof(confirm));
    record(journal, BATON_RECORD_CHECKPOINT, &checkpoint, sizeof(checkpoint));
    record(journal, BATON_RECORD_FINALIZE, &finalize, sizeof(finalize));
    check(baton_journal_close(journal), "close");
    journal = begin("records_and_standing_facts", BATON_MODE_DURABLE);
    append_batch(journal, "three");
    check(baton_journal_close(journal), "close");

    const baton_handover_wire handover = {.epoch = baton_le64_put(1),
                                          .last_seq = baton_le64_put(1),
                                          .state_digest = {3},
                                          .effect_digest = {4},
                                          .successor_nonce = {5},
                                          .state_schema = baton_le32_put(1)};
    journal = begin("handed_over", BATON_MODE_DURABLE);
    append_batch(journal, "the last of this epoch");
    baton_journal_seal(journal);
    record(journal, BATON_RECORD_HANDOVER, &handover, sizeof(handover));
    check(baton_journal_close(journal), "close");
}

/* ---- byte by byte ---- */

static void start(const char *name)
{
    builder_init(&builder, place(name));
    builder.segment_bytes = 12 * 4096;
}

/* Three batches: the third one's header says that the first two were durable, `with_mark` that all
 * were. */
static void three_batches(const char *name, bool with_mark)
{
    start(name);
    builder_epoch(&builder, 1);
    for (int i = 0; i < 3; i++) {
        builder_all_durable(&builder);
        (void)builder_batch(&builder, 3);
    }
    if (with_mark)
        (void)builder_mark(&builder, 0);
}

static const char *segment(uint64_t epoch, uint64_t index)
{
    return builder_path(&builder, epoch, index);
}

static void ends(void)
{
    (void)mkdir(place("no_segment"), 0750);
    start("half_created");
    close(open(segment(1, 1), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
    builder_truncate(segment(1, 1), builder.segment_bytes);

    three_batches("marked", true);
    three_batches("torn_tail", false);
    builder_flip(segment(1, 1), 3 * 4096 + 200, 3);
    three_batches("torn_tail_proven_by_a_mark", true); /* so it is damage */
    builder_flip(segment(1, 1), 3 * 4096 + 200, 3);
    three_batches("damaged_first_batch", false);
    builder_flip(segment(1, 1), 4096 + 200, 3);
    three_batches("damaged_by_zeros", false);
    builder_zero(segment(1, 1), 2 * 4096, 4096);
    three_batches("cut_short_behind_the_last_batch", true);
    builder_truncate(segment(1, 1), 5 * 4096);
    three_batches("cut_short_inside_the_last_batch", false);
    builder_truncate(segment(1, 1), 3 * 4096 + 100);
    three_batches("zeros_behind_the_segment", true);
    builder_truncate(segment(1, 1), builder.segment_bytes + 8192);
    three_batches("rubbish_behind_the_segment", true);
    builder_truncate(segment(1, 1), builder.segment_bytes + 8192);
    builder_write(segment(1, 1), builder.segment_bytes, "rubbish", 7);
    three_batches("damaged_only_header", true);
    builder_flip(segment(1, 1), 40, 0);
}

static void chains(void)
{
    /* What a dead writer had in flight landed after the next one's header: void for ever. */
    three_batches("late_write_behind_the_cut", true);
    builder_place cut = builder_here(&builder);
    (void)builder_batch(&builder, 4);
    (void)builder_mark(&builder, 0);
    builder_go_back(&builder, &cut);
    builder_epoch(&builder, 3);
    (void)builder_batch(&builder, 2);
    (void)builder_mark(&builder, BATON_BATCH_CLOSE);

    three_batches("rolled_without_its_second_segment", true);
    builder_roll(&builder);
    (void)builder_batch(&builder, 2);
    (void)builder_mark(&builder, 0);
    (void)unlink(segment(1, 2));

    three_batches("rolled_with_a_zero_header", true); /* its batches prove that it was durable */
    builder_roll(&builder);
    (void)builder_batch(&builder, 2);
    (void)builder_mark(&builder, 0);
    builder_zero(segment(1, 2), 0, 4096);

    three_batches("ready_segment_unused", true);
    close(open(segment(1, 2), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
    builder_truncate(segment(1, 2), builder.segment_bytes);

    three_batches("follower", true); /* what its batches carry is no evidence */
    builder.header.flags = baton_le32_put(BATON_SEGMENT_FOLLOWER);
    baton_segment_header_seal(&builder.header);
    builder_write(segment(1, 1), 0, &builder.header, sizeof(builder.header));
    builder_flip(segment(1, 1), 2 * 4096 + 200, 3);

    three_batches("newer_format", true);
    builder.header.version = baton_le32_put(2);
    baton_segment_header_seal(&builder.header);
    builder_write(segment(1, 1), 0, &builder.header, sizeof(builder.header));
}

/* Two segments, and a third one made of the first: behind its `batches` stand what that one held. */
static void recycled(const char *name, uint32_t batches)
{
    start(name);
    builder_epoch(&builder, 1);
    for (int i = 0; i < 5; i++)
        (void)builder_batch(&builder, i % 2 ? 3 : 120); /* one unit, and two */
    builder_roll(&builder);
    (void)builder_batch(&builder, 2);
    builder_recycle(&builder, 1);
    for (uint32_t i = 0; i < batches; i++) {
        builder_all_durable(&builder);
        (void)builder_batch(&builder, 3);
    }
}

static void stale(void)
{
    uint8_t unit[4096];
    builder_place place;

    recycled("recycled_stale_tail", 2);

    recycled("recycled_torn_batch", 2); /* its first unit landed, the second did not */
    place = builder_here(&builder);
    builder_read(segment(1, 3), builder.offset + 4096, unit, sizeof(unit));
    (void)builder_batch(&builder, 120);
    builder_write(segment(1, 3), place.last_offset + 4096, unit, sizeof(unit));

    recycled("recycled_torn_batch_without_its_header", 2); /* the other way round */
    place = builder_here(&builder);
    builder_read(segment(1, 3), builder.offset, unit, sizeof(unit));
    (void)builder_batch(&builder, 120);
    builder_write(segment(1, 3), place.last_offset, unit, sizeof(unit));

    recycled("recycled_hole_in_flight", 2); /* the batch behind it landed */
    builder_all_durable(&builder);
    builder.keep_durable = true;
    place = builder_here(&builder);
    builder_read(segment(1, 3), builder.offset, unit, sizeof(unit));
    (void)builder_batch(&builder, 3);
    (void)builder_batch(&builder, 4);
    builder_write(segment(1, 3), place.last_offset, unit, sizeof(unit));

    recycled("recycled_damaged_by_a_lost_write", 1); /* a whole stale batch stands in its place */
    place = builder_here(&builder);
    builder_read(segment(1, 3), builder.offset, unit, sizeof(unit));
    (void)builder_batch(&builder, 3);
    (void)builder_mark(&builder, 0);
    builder_write(segment(1, 3), place.last_offset, unit, sizeof(unit));

    recycled("recycled_ready_unused", 0);
    builder_zero(segment(1, 3), 0, 4096);

    recycled("recycled_torn_header", 0);
    builder_zero(segment(1, 3), 512, 3584);

    recycled("recycled_zero_header_batches_in_flight", 2); /* nothing proves that it was durable */
    builder_zero(segment(1, 3), 0, 4096);
    builder_zero(segment(1, 3), 2 * 4096, 4096); /* nor is the second batch there, that said so */

    recycled("recycled_rolled_on", 2);
    builder_roll(&builder);
    (void)builder_batch(&builder, 2);
    (void)builder_mark(&builder, 0);

    recycled("recycled_cut_by_the_next_epoch", 2);
    place = builder_here(&builder);
    (void)builder_batch(&builder, 4);
    builder_go_back(&builder, &place);
    builder_epoch(&builder, 2);
    (void)builder_batch(&builder, 2);
    (void)builder_mark(&builder, BATON_BATCH_CLOSE);
}

static void sizes(void)
{
    start("largest_entry_and_empty_ones");
    builder.segment_bytes = 32 * 4096;
    builder_epoch(&builder, 1);
    (void)builder_batch_of(&builder, 1, BATON_ENTRY_BYTES_MAX);
    (void)builder_batch_of(&builder, 3, 0);
    (void)builder_mark(&builder, BATON_BATCH_CLOSE);

    start("largest_batch");
    builder.segment_bytes = 4 * MIB + 8 * 4096;
    builder_epoch(&builder, 1);
    (void)builder_batch_of(&builder, 112, 37432); /* 4 MiB to the byte */
    (void)builder_mark(&builder, 0);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: journal_shapes_make DIRECTORY\n");
        return 1;
    }
    root = argv[1];
    plain_ones();
    records();
    ends();
    chains();
    sizes();
    recycled_ones();
    stale();
    return 0;
}
