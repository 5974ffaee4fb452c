#include "tests/unit/journal_stage.h"

#include <stdio.h>

int stage_setup(void **state)
{
    static live_stage stage;
    baton_io_options options = {.choice = BATON_IO_THREADS};

    stage = (live_stage){.lock = BATON_IO_NO_FILE};
    test_dir_make(&stage.dir, "journal_live");
    builder_init(&stage.builder, test_path(&stage.dir, "j"));
    assert_int_equal(baton_io_open(&options, &stage.io, NULL), 0);
    *state = &stage;
    return 0;
}

int stage_teardown(void **state)
{
    live_stage *stage = *state;
    baton_reader_close(stage->reader);
    baton_hint_close(stage->hint);
    baton_io_file_close(stage->io, stage->lock);
    baton_io_close(stage->io);
    test_dir_remove(&stage->dir);
    return 0;
}

/* ---- the writer's part ---- */

void stage_come_alive(live_stage *stage)
{
    char path[BUILDER_PATH_BYTES];
    const uint32_t flags = BATON_IO_FOR_READ | BATON_IO_FOR_WRITE | BATON_IO_CREATE_OR_OPEN;

    (void)snprintf(path, sizeof(path), "%s/LOCK", stage->builder.directory);
    assert_int_equal(baton_io_file_open(stage->io, path, flags, &stage->lock), 0);
    assert_int_equal(baton_io_file_lock(stage->io, stage->lock), 0);
}

void stage_die(live_stage *stage)
{
    baton_io_file_close(stage->io, stage->lock);
    stage->lock = BATON_IO_NO_FILE;
}

static baton_hint *hint_of(live_stage *stage)
{
    if (stage->hint == NULL)
        assert_int_equal(baton_hint_create(stage->io, stage->builder.directory, &stage->hint), 0);
    return stage->hint;
}

void stage_publish_view(live_stage *stage, const baton_hint_view *view)
{
    baton_hint_publish(hint_of(stage), view);
}

void stage_put(live_stage *stage, uint64_t offset)
{
    const journal_builder *builder = &stage->builder;
    uint8_t bytes[BATON_RECENT_BATCH_BYTES_MAX];
    uint64_t batch_bytes = builder->offset - offset;

    assert_true(batch_bytes <= sizeof(bytes));
    builder_read(builder_path(builder, builder->epoch, builder->index), offset, bytes, batch_bytes);
    baton_recent_put(baton_hint_recent(hint_of(stage)), (const baton_batch_header *)bytes,
                     builder->index, offset);
}

baton_hint_view stage_view_of(const journal_builder *builder)
{
    return (baton_hint_view){.id = builder->id,
                             .durable = builder->last,
                             .index = builder->last_index,
                             .end_offset = builder->last_offset,
                             .oldest_index = 1,
                             .open = true};
}

void stage_publish(live_stage *stage)
{
    baton_hint_view view = stage_view_of(&stage->builder);
    stage_publish_view(stage, &view);
}

/* ---- the reader's part ---- */

void stage_open_reader(live_stage *stage, bool live, uint64_t from_seq)
{
    baton_reader_options options = {
        .live = live, .from_seq = from_seq, .backend = BATON_BACKEND_THREADS};
    int r = baton_reader_open(stage->builder.directory, &options, &stage->reader, &stage->error);
    assert_int_equal(r, 0);
    stage->read = from_seq > 1 ? from_seq - 1 : 0;
}

int stage_read_on(live_stage *stage)
{
    baton_entry entry;
    int r;

    while ((r = baton_reader_next(stage->reader, &entry, &stage->error)) == 1) {
        assert_int_equal(entry.seq, stage->read + 1);
        assert_true(builder_entry_is_right(&entry));
        stage->read = entry.seq;
    }
    return r;
}

void stage_expect_read(live_stage *stage, uint64_t last_seq)
{
    assert_int_equal(stage_read_on(stage), 0);
    assert_int_equal(stage->read, last_seq);
}
