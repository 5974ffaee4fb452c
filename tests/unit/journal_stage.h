/* tests/unit/journal_stage.h: a writer that the test plays itself: it builds the bytes, holds
 * LOCK and publishes in HINT what it likes, so every race has its one order; and a reader beside
 * it. */
#pragma once

#include "journal/hint.h"
#include "tests/unit/journal_look.h"

typedef struct {
    test_dir dir;
    journal_builder builder;
    baton_io *io;
    baton_io_file lock;
    baton_hint *hint;
    baton_reader *reader;
    uint64_t read; /* the last seq read; entries must come densely */
    baton_error error;
} live_stage;

int stage_setup(void **state);
int stage_teardown(void **state);

/* ---- the writer's part ---- */

void stage_come_alive(live_stage *stage); /* takes LOCK */
void stage_die(live_stage *stage);        /* lets it go; HINT stays as it is */
void stage_publish_view(live_stage *stage, const baton_hint_view *view);
/* The batch built last, which begins at offset: among the newest in HINT. */
void stage_put(live_stage *stage, uint64_t offset);
baton_hint_view stage_view_of(const journal_builder *builder); /* all that was built */
void stage_publish(live_stage *stage);                         /* the same, published */

/* ---- the reader's part ---- */

void stage_open_reader(live_stage *stage, bool live, uint64_t from_seq);
/* Reads until there is no more; the result of the last call. */
int stage_read_on(live_stage *stage);
void stage_expect_read(live_stage *stage, uint64_t last_seq);
