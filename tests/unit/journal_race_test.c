/* J11: whatever a writer retires, recycles and publishes between any two operations of a reader: the
 * reader gets the right entries, or is told that they are gone; never damage, never other bytes. The
 * writer is played: journal_stage.h. */
#include <stdio.h>
#include <unistd.h>

#include "tests/unit/journal_stage.h"

#define UNIT    4096u
#define OPS_MAX 300u /* more than any reader here needs */

/* What the writer does in between. */
typedef void (*race_deed)(live_stage *stage);

typedef struct {
    live_stage *stage;
    race_deed deed;
    uint64_t at; /* before this operation, counted from `base` on */
    uint64_t base;
    bool done;
} race;

static int between(void *context, uint64_t n, const baton_io_op *op)
{
    race *self = context;
    (void)op;
    if (n == self->base + self->at && !self->done) {
        self->done = true;
        self->deed(self->stage);
    }
    return 0;
}

/* Batches of one and of two units, until the segment is full. */
static void fill(journal_builder *builder)
{
    for (uint32_t i = 0; builder->offset + 4 * UNIT < builder->segment_bytes; i++)
        builder_batch(builder, i % 4 == 0 ? 3 : 120);
}

/* Segments 1, 2 and 3; that the first one goes has been said, and it is still there. */
static void set_stage(live_stage *stage, uint64_t segment_bytes)
{
    journal_builder *builder = &stage->builder;

    stage_come_alive(stage);
    builder->segment_bytes = segment_bytes;
    builder_epoch(builder, 1);
    for (uint32_t i = 0; i < 3; i++) {
        if (i > 0)
            builder_roll(builder);
        fill(builder);
    }
    baton_hint_view view = stage_view_of(builder);
    view.oldest_index = 2;
    stage_publish_view(stage, &view);
}

/* ---- deeds ---- */

static void publish_from(live_stage *stage, uint64_t oldest_index)
{
    baton_hint_view view = stage_view_of(&stage->builder);
    view.oldest_index = oldest_index;
    stage_publish_view(stage, &view);
}

/* Nothing of this shows in HINT. */
static void zero_what_was_retired(live_stage *stage)
{
    const journal_builder *builder = &stage->builder;
    char spare[BUILDER_PATH_BYTES];

    (void)snprintf(spare, sizeof(spare), "%s/SPARE-0", builder->directory);
    assert_int_equal(rename(builder_path(builder, 1, 1), spare), 0);
    builder_zero(spare, 0, UNIT);
    builder_zero(spare, builder->segment_bytes - UNIT, UNIT);
}

static void recycle_and_write_on(live_stage *stage)
{
    journal_builder *builder = &stage->builder;

    builder_recycle(builder, 1);
    fill(builder);
    publish_from(stage, 2);
}

/* As far as the reader knows of, all is gone. */
static void recycle_all_and_write_on(live_stage *stage)
{
    journal_builder *builder = &stage->builder;

    for (uint64_t index = 1; index <= 3; index++) {
        publish_from(stage, index + 1);
        builder_recycle(builder, index);
        fill(builder);
        publish_from(stage, index + 1);
    }
    builder_recycle(builder, 4);
    builder_batch(builder, 7);
    publish_from(stage, 5);
}

/* ---- races ---- */

/* Entries one by one from the first on that is there. */
static int read_on(live_stage *stage, uint64_t most)
{
    baton_entry entry;
    int r = 1;

    while (most-- > 0 && (r = baton_reader_next(stage->reader, &entry, &stage->error)) == 1) {
        if (stage->read != 0)
            assert_int_equal(entry.seq, stage->read + 1);
        assert_true(builder_entry_is_right(&entry));
        stage->read = entry.seq;
    }
    return r;
}

typedef struct {
    race_deed deed;
    bool live;
    uint64_t segment_bytes;
    uint64_t from_seq;
    uint64_t before; /* entries read before the race begins */
} race_case;

#define IN_SEGMENT_1 3u
#define IN_SEGMENT_3 4000u

/* What was retired behind a reader's back is. Who has read nothing yet, and asks for no entry, begins
 * with what is there. */
static bool may_be_gone(const race_case *what, const live_stage *stage)
{
    return stage->read != 0 || what->from_seq == IN_SEGMENT_1 ||
           (what->from_seq != 0 && what->deed == recycle_all_and_write_on);
}

/* False: the reader was done before its operation `at`. */
static bool run_race(const race_case *what, uint64_t at)
{
    void *state;
    stage_setup(&state);
    live_stage *stage = state;
    set_stage(stage, what->segment_bytes);

    io_fault *fault = io_fault_new();
    race self = {.stage = stage, .deed = what->deed, .at = at, .base = UINT64_MAX / 2};
    io_fault_set_decide(fault, between, &self);
    const baton_reader_options options = {.live = what->live,
                                          .from_seq = what->from_seq,
                                          .io_backend = io_fault_backend(),
                                          .io_context = fault};
    if (what->before == 0)
        self.base = io_fault_count(fault);
    int r = baton_reader_open(stage->builder.directory, &options, &stage->reader, &stage->error);
    if (r < 0)
        stage->reader = NULL;
    if (r == 0 && what->before > 0) {
        assert_int_equal(read_on(stage, what->before), 1);
        self.base = io_fault_count(fault);
    }
    for (int again = 0; again < 2 && r == 0; again++) /* what came too late for the first time */
        r = read_on(stage, UINT64_MAX);
    if (r != 0 && !(self.done && r == BATON_E_GONE && may_be_gone(what, stage)))
        fail_msg("before operation %d: %s: %s %s", (int)at, baton_status_name(r), stage->error.path,
                 stage->error.why);
    if (r == 0 && what->live)
        assert_int_equal(stage->read, stage->builder.last.seq);
    baton_reader_close(stage->reader);
    stage->reader = NULL;
    io_fault_free(fault);
    stage_teardown(&state);
    return self.done;
}

static void run_races(race_case what)
{
    static const race_deed deeds[] = {zero_what_was_retired, recycle_and_write_on,
                                      recycle_all_and_write_on};
    for (uint32_t i = 0; i < 2 * sizeof(deeds) / sizeof(deeds[0]); i++) {
        uint64_t at = 1;
        what.deed = deeds[i / 2];
        what.live = i % 2;
        while (run_race(&what, at))
            assert_true(++at < OPS_MAX);
        assert_true(at > 1);
    }
}

#define SMALL (32 * UNIT)
#define LARGE (300 * UNIT) /* several reads each, and on into the next one */

static void a_reader_that_begins(void **state)
{
    (void)state;
    run_races((race_case){.segment_bytes = SMALL});
}

static void a_reader_that_begins_with_an_entry(void **state)
{
    (void)state;
    run_races((race_case){.segment_bytes = SMALL, .from_seq = IN_SEGMENT_1});
    run_races((race_case){.segment_bytes = SMALL, .from_seq = IN_SEGMENT_3});
}

static void a_reader_in_the_first_segment(void **state)
{
    (void)state;
    run_races((race_case){.segment_bytes = SMALL, .before = 1});
    run_races((race_case){.segment_bytes = LARGE, .before = 1});
}

/* ---- recovery's answer, asked for beside the writer ---- */

static bool look_beside(race_deed deed, uint64_t at)
{
    void *state;
    stage_setup(&state);
    live_stage *stage = state;
    set_stage(stage, SMALL);

    io_fault *fault = io_fault_new();
    race self = {.stage = stage, .deed = deed, .at = at};
    io_fault_set_decide(fault, between, &self);
    const baton_io_options io_options = {.custom = io_fault_backend(), .custom_context = fault};
    baton_io *io;
    baton_recovery recovery;
    assert_int_equal(baton_io_open(&io_options, &io, NULL), 0);
    int r = baton_recover_beside(io, stage->builder.directory, NULL, &recovery, &stage->error);
    if (r != 0)
        fail_msg("before operation %d: %s: %s %s", (int)at, baton_status_name(r), stage->error.path,
                 stage->error.why);
    assert_int_equal(recovery.report.torn_cut, 0);
    baton_recovery_fini(&recovery);
    baton_io_close(io);
    io_fault_free(fault);
    stage_teardown(&state);
    return self.done;
}

static void a_look_beside_the_writer(void **state)
{
    (void)state;
    static const race_deed deeds[] = {zero_what_was_retired, recycle_and_write_on,
                                      recycle_all_and_write_on};
    for (uint32_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++) {
        uint64_t at = 1;
        while (look_beside(deeds[i], at))
            assert_true(++at < OPS_MAX);
        assert_true(at > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_that_begins),
        cmocka_unit_test(a_reader_that_begins_with_an_entry),
        cmocka_unit_test(a_reader_in_the_first_segment),
        cmocka_unit_test(a_look_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
