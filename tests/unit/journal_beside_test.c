/* verify, recovery and reading without the lock, while a writer begins, retires or writes. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/journal_stage.h"

typedef struct {
    live_stage *stage;
    uint8_t bytes[4 * 4096];
    bool begun;
} begin_under;

/* The walk has listed the directory and is half through: now the writer of epoch 2 begins. */
static void begin_now(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    begin_under *under = context;
    (void)done_bytes;
    (void)all_bytes;
    if (under->begun)
        return;
    under->begun = true;
    stage_come_alive(under->stage);
    builder_write(builder_path(&under->stage->builder, 2, 2), 0, under->bytes,
                  sizeof(under->bytes));
    stage_publish(under->stage);
}

static void writer_that_begins_under_a_verify_is_neither_torn_nor_damage(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;
    begin_under under = {.stage = stage};
    baton_journal_summary summary;

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_epoch(builder, 2);
    for (uint32_t batches = 1; batches <= 3; batches++) { /* one looks torn, two and more damaged */
        builder_batch(builder, 2);
        builder_read(builder_path(builder, 2, 2), 0, under.bytes, sizeof(under.bytes));
        builder_zero(builder_path(builder, 2, 2), 0, sizeof(under.bytes));
        under.begun = false;
        int r = baton_journal_verify(builder->directory, BATON_BACKEND_THREADS, begin_now, &under,
                                     &summary, &stage->error);
        assert_true(under.begun);
        assert_int_equal(r, 0);
        assert_int_equal(summary.entries_count, 3 + 2 * batches);
        assert_int_equal(summary.recovery.unproven, 0);
        assert_string_equal(summary.recovery.evidence_from, "writer");
        stage_die(stage);
    }
}

static void writer_that_began_and_closed_under_a_reader_is_no_damage(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;
    uint8_t bytes[4 * 4096];

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder_epoch(builder, 2);
    builder_batch(builder, 2);
    builder_batch(builder, 2);
    builder_mark(builder, BATON_BATCH_CLOSE);
    builder_read(builder_path(builder, 2, 2), 0, bytes, sizeof(bytes));
    builder_zero(builder_path(builder, 2, 2), 0, sizeof(bytes));
    stage_open_reader(stage, false, 0); /* has listed the directory */
    builder_write(builder_path(builder, 2, 2), 0, bytes, sizeof(bytes));
    baton_hint_view view = stage_view_of(builder);
    view.open = false;
    stage_publish_view(stage, &view);
    stage_expect_read(stage, 7);
}

/* Segments 1 and 2 are retired after the header of 1 was read and before that of 2 is. */
static int retire_at_2(void *context, uint64_t n, const baton_io_op *op)
{
    live_stage *stage = context;
    journal_builder *builder = &stage->builder;

    (void)n;
    if (op == NULL || op->kind != BATON_IO_OPEN ||
        strcmp(op->path, builder_path(builder, 2, 2)) != 0 || access(op->path, F_OK) != 0)
        return 0;
    baton_hint_view view = stage_view_of(builder);
    view.oldest_index = 3;
    stage_publish_view(stage, &view);
    assert_int_equal(unlink(builder_path(builder, 1, 1)), 0);
    assert_int_equal(unlink(builder_path(builder, 2, 2)), 0);
    return 0;
}

static void retirement_under_a_look_is_no_hole(void **state)
{
    live_stage *stage = *state;
    io_fault *fault = io_fault_new();
    baton_io_options io_options = {.custom = io_fault_backend(), .custom_context = fault};
    baton_reader_options options = {.io_backend = io_fault_backend(), .io_context = fault};
    baton_recovery recovery;
    baton_io *io;

    for (uint32_t reader = 0; reader < 2; reader++) {
        journal_builder *builder = &stage->builder;
        builder_init(builder, test_path(&stage->dir, reader ? "r" : "s"));
        stage_come_alive(stage);
        builder_epoch(builder, 1);
        builder_batch(builder, 3);
        builder_epoch(builder, 2);
        builder_batch(builder, 3);
        builder_roll(builder);
        builder_batch(builder, 3);
        stage_publish(stage);
        io_fault_set_decide(fault, retire_at_2, stage);
        if (reader) {
            assert_int_equal(
                baton_reader_open(builder->directory, &options, &stage->reader, &stage->error), 0);
            stage->read = 6;
            stage_expect_read(stage, 9);
            baton_reader_close(stage->reader);
            stage->reader = NULL;
        } else {
            assert_int_equal(baton_io_open(&io_options, &io, NULL), 0);
            assert_int_equal(
                baton_recover_beside(io, builder->directory, NULL, &recovery, &stage->error), 0);
            assert_int_equal(recovery.report.first_seq, 7);
            assert_int_equal(recovery.report.last.seq, 9);
            baton_recovery_fini(&recovery);
            baton_io_close(io);
        }
        assert_int_not_equal(access(builder_path(builder, 2, 2), F_OK), 0); /* it did happen */
        stage_die(stage);
        baton_hint_close(stage->hint);
        stage->hint = NULL;
    }
    io_fault_free(fault);
}

#define RETIRED 40u /* one under each look: more than there are tries for all else */

typedef struct {
    live_stage *stage;
    uint64_t oldest;
    uint32_t opened; /* times: the look reads its header, then it begins there */
} retiring;

static int retire_the_oldest(void *context, uint64_t n, const baton_io_op *op)
{
    retiring *self = context;
    journal_builder *builder = &self->stage->builder;
    const char *path = builder_path(builder, 1, self->oldest);

    (void)n;
    if (op == NULL || op->kind != BATON_IO_OPEN || self->oldest > RETIRED ||
        strcmp(op->path, path) != 0 || ++self->opened < 2)
        return 0;
    assert_int_equal(unlink(path), 0);
    self->oldest++;
    self->opened = 0;
    baton_hint_view view = stage_view_of(builder);
    view.oldest_index = self->oldest;
    stage_publish_view(self->stage, &view);
    return 0;
}

static void a_writer_that_retires_under_every_look_is_looked_at_until_one_is_whole(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;
    retiring self = {.stage = stage, .oldest = 1};
    io_fault *fault = io_fault_new();

    stage_come_alive(stage);
    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    for (uint32_t i = 0; i < RETIRED; i++) {
        builder_roll(builder);
        builder_batch(builder, 3);
    }
    stage_publish(stage);
    io_fault_set_decide(fault, retire_the_oldest, &self);
    const baton_io_options io_options = {.custom = io_fault_backend(), .custom_context = fault};
    baton_recovery recovery;
    baton_io *io;
    assert_int_equal(baton_io_open(&io_options, &io, NULL), 0);
    assert_int_equal(baton_recover_beside(io, builder->directory, NULL, &recovery, &stage->error),
                     0);
    assert_int_equal(self.oldest, RETIRED + 1); /* it did happen */
    assert_int_equal(recovery.report.first_seq, 3 * RETIRED + 1);
    assert_int_equal(recovery.report.last.seq, 3 * (RETIRED + 1));
    baton_recovery_fini(&recovery);
    baton_io_close(io);
    io_fault_free(fault);
}

static void successor_at_work_is_found_to_go_on_from_its_predecessor(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;
    journal_builder empty;
    char old[BUILDER_PATH_BYTES];

    builder_epoch(builder, 4);
    builder_batch(builder, 3);
    builder_mark(builder, BATON_BATCH_CLOSE);
    (void)snprintf(old, sizeof(old), "%s", builder->directory);
    builder_init(&empty, test_path(&stage->dir, "next"));
    memcpy(builder->directory, empty.directory, sizeof(builder->directory));
    stage_come_alive(stage);
    builder_epoch(builder, 5);
    builder_batch(builder, 3);
    stage_publish(stage);
    uint64_t hole = builder_batch(builder, 3); /* in flight, as above */
    builder_batch(builder, 3);
    builder_batch(builder, 3);
    builder_zero(builder_path(builder, 5, 2), hole, 4096);
    assert_int_equal(baton_journal_verify_continues(old, builder->directory, BATON_BACKEND_THREADS,
                                                    &stage->error),
                     0);
}

typedef struct {
    live_stage *stage;
    uint32_t looks;
} write_on;

static void write_on_now(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    write_on *writer = context;
    (void)done_bytes;
    (void)all_bytes;
    writer->looks++;
    builder_batch(&writer->stage->builder, 3);
    stage_publish(writer->stage);
}

static void damage_is_damage_beside_a_busy_writer_too(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;
    write_on writer = {.stage = stage};
    baton_journal_summary summary;

    stage_come_alive(stage);
    builder_epoch(builder, 1);
    uint64_t offset = builder_batch(builder, 3);
    builder_batch(builder, 3);
    stage_publish(stage);
    builder_flip(builder_path(builder, 1, 1), offset + 99, 1);
    assert_int_equal(baton_journal_verify(builder->directory, BATON_BACKEND_THREADS, write_on_now,
                                          &writer, &summary, &stage->error),
                     BATON_E_DAMAGED);
    assert_int_equal(stage->error.offset, offset);
    assert_int_equal(summary.recovery.acked_lost, 9);
    assert_int_equal(writer.looks, 2); /* the same twice is enough */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)
    const struct CMUnitTest tests[] = {
        TEST(writer_that_begins_under_a_verify_is_neither_torn_nor_damage),
        TEST(writer_that_began_and_closed_under_a_reader_is_no_damage),
        TEST(retirement_under_a_look_is_no_hole),
        TEST(a_writer_that_retires_under_every_look_is_looked_at_until_one_is_whole),
        TEST(successor_at_work_is_found_to_go_on_from_its_predecessor),
        TEST(damage_is_damage_beside_a_busy_writer_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
