/* J5: a journal with recycled segments, and its twin, in which zeros stand where the other one has what
 * its files held before, judged as if they had been new ones: the same writes are lost in both, the
 * same bits flip, and both must get the same verdict. Each seed is one journal. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/journal_look.h"

#define UNIT         4096u
#define UNITS        32u
#define SEGMENTS_MAX 16u
#define SEEDS        300u

typedef uint8_t file_bytes[UNITS * UNIT];

typedef struct {
    uint64_t random;
    journal_builder builder;
    uint64_t oldest;
    uint64_t epoch_of[SEGMENTS_MAX];
    uint32_t ends[SEGMENTS_MAX];     /* units that were written in the file's present life */
    file_bytes before[SEGMENTS_MAX]; /* what stood there then; zeros in a new one */
    char twin[BUILDER_PATH_BYTES];
    bool flipped; /* a bit; when it was one of a stale batch's number, that looks torn */
} twins;

static uint32_t draw(twins *self, uint32_t below)
{
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    return (uint32_t)((self->random >> 20) % below);
}

/* ---- both journals ---- */

static void note_end(twins *self)
{
    self->ends[self->builder.index] = (uint32_t)(self->builder.offset / UNIT);
    self->epoch_of[self->builder.index] = self->builder.epoch;
}

static void write_some(twins *self)
{
    journal_builder *builder = &self->builder;
    const uint32_t most = draw(self, 4) == 0 ? 4 : UNITS;
    for (uint32_t i = 0; i < most && builder->offset + 4 * UNIT < builder->segment_bytes; i++) {
        builder->keep_durable = draw(self, 3) > 0; /* some in flight at once */
        if (draw(self, 6) == 0)
            builder_mark(builder, 0);
        else
            builder_batch(builder, draw(self, 3) == 0 ? 120 : 1 + draw(self, 20));
    }
    note_end(self);
}

/* The next segment: of the oldest, when there are enough. */
static void go_on(twins *self)
{
    journal_builder *builder = &self->builder;
    const uint64_t next = builder->index + 1;

    builder_all_durable(builder);
    if (builder->index - self->oldest < 1 + draw(self, 2) ||
        self->epoch_of[self->oldest] != builder->epoch) {
        builder_roll(builder);
        memset(self->before[next], 0, sizeof(file_bytes));
        return;
    }
    uint8_t *before = self->before[next];
    builder_read(builder_path(builder, builder->epoch, self->oldest), 0, before,
                 sizeof(file_bytes));
    memset(before, 0, UNIT);
    memset(before + (UNITS - 1) * UNIT, 0, UNIT);
    builder_recycle(builder, self->oldest++);
}

static const char *twin_path(const twins *self, uint64_t index)
{
    static char path[BUILDER_PATH_BYTES + 64];
    char name[BATON_SEGMENT_NAME_BYTES];
    baton_segment_name(self->epoch_of[index], index, name);
    (void)snprintf(path, sizeof(path), "%.500s/%s", self->twin, name);
    return path;
}

static void make_twin(twins *self)
{
    static _Alignas(8) file_bytes bytes;
    journal_builder unused;

    builder_init(&unused, self->twin);
    for (uint64_t index = self->oldest; index <= self->builder.index; index++) {
        builder_read(builder_path(&self->builder, self->epoch_of[index], index), 0, bytes,
                     sizeof(bytes));
        uint32_t end = self->ends[index];
        memset(bytes + (size_t)end * UNIT, 0, (UNITS - 1 - end) * (size_t)UNIT);
        baton_segment_header *header = (baton_segment_header *)(void *)bytes;
        header->flags = baton_le32_put(0); /* judged as if its file had been a new one */
        baton_segment_header_seal(header);
        FILE *file = fopen(twin_path(self, index), "w");
        assert_non_null(file);
        assert_int_equal(fclose(file), 0);
        builder_write(twin_path(self, index), 0, bytes, sizeof(bytes));
    }
}

/* ---- what happens to both ---- */

static void lose(twins *self, uint64_t index, uint64_t offset, uint32_t bytes)
{
    builder_write(builder_path(&self->builder, self->epoch_of[index], index), offset,
                  self->before[index] + offset, bytes);
    builder_zero(twin_path(self, index), offset, bytes);
}

static void spoil(twins *self)
{
    const uint64_t count = self->builder.index - self->oldest + 1;
    const uint64_t back = draw(self, 2) == 0 ? 0 : draw(self, (uint32_t)count);
    const uint64_t index = self->builder.index - back;
    const uint32_t end = self->ends[index];
    const uint32_t near = back == 0 && end > 8 && draw(self, 2) == 0 ? 5 : end;
    const uint32_t unit = end - 1 - draw(self, near);

    const uint64_t offset = unit * UNIT + draw(self, 2) * draw(self, UNIT / 2) + draw(self, 128);
    const uint32_t bit = draw(self, 8);

    switch (draw(self, 7)) {
    case 0:
        self->flipped = true;
        builder_flip(builder_path(&self->builder, self->epoch_of[index], index), offset, bit);
        builder_flip(twin_path(self, index), offset, bit);
        break;
    case 1: /* all from here on */
        lose(self, index, unit * UNIT, (end - unit) * UNIT);
        break;
    case 2: /* of a write only its first sector landed; where zeros were to follow, zeros are no loss */
        lose(self, index, unit * UNIT + 512, UNIT - 512);
        builder_flip(builder_path(&self->builder, self->epoch_of[index], index), unit * UNIT + 700,
                     1);
        builder_flip(twin_path(self, index), unit * UNIT + 700, 1);
        break;
    case 3:
        lose(self, index, 0, UNIT);
        break;
    case 4:
        lose(self, index, (UNITS - 1) * UNIT, UNIT);
        break;
    case 5: /* some in flight */
        for (uint32_t at = unit; at < end; at++) {
            if (draw(self, 2) == 0)
                lose(self, index, at * UNIT, UNIT);
        }
        break;
    default:
        lose(self, index, unit * UNIT, UNIT);
        break;
    }
}

/* ---- one verdict ---- */

typedef struct {
    uint32_t damaged;
    uint32_t torn;
    uint32_t recycled;
} tally;

static void compare(uint64_t seed, bool flipped, const journal_look *recycled,
                    const journal_look *zeroed)
{
    const baton_recovery_report *a = &recycled->report;
    const baton_recovery_report *b = &zeroed->report;
    const bool same = recycled->status == zeroed->status &&
                      baton_position_compare(a->last, b->last) == 0 && a->last.seq == b->last.seq &&
                      baton_position_compare(a->evidence, b->evidence) == 0 &&
                      a->acked_lost == b->acked_lost && recycled->accepted == zeroed->accepted;
    if (!same)
        fail_msg("seed %d: recycled: %s, batch %d of %d, %s %d; zeroed: %s, batch %d of %d, %s %d",
                 (int)seed, baton_status_name(recycled->status), (int)a->last.batch,
                 (int)a->evidence.batch, recycled->error.path, (int)recycled->error.offset,
                 baton_status_name(zeroed->status), (int)b->last.batch, (int)b->evidence.batch,
                 zeroed->error.path, (int)zeroed->error.offset);
    if (recycled->status == 0 && !flipped && b->torn_cut == 0 && a->torn_cut != 0)
        fail_msg("seed %d: recycled: %d bytes torn, zeroed: none", (int)seed, (int)a->torn_cut);
}

static void run_seed(twins *self, uint64_t seed, tally *counts)
{
    test_dir dir;

    *self = (twins){.random = seed * UINT64_C(0x9e3779b97f4a7c15), .oldest = 1};
    test_dir_make(&dir, "journal_twin");
    (void)snprintf(self->twin, sizeof(self->twin), "%s", test_path(&dir, "twin"));
    builder_init(&self->builder, test_path(&dir, "j"));
    builder_epoch(&self->builder, 1);
    write_some(self);
    for (uint32_t left = 2 + draw(self, 9); left > 0; left--) {
        go_on(self);
        write_some(self);
    }
    if (draw(self, 5) == 0) {
        builder_epoch(&self->builder, 2);
        note_end(self);
        write_some(self);
    }
    make_twin(self);
    for (uint32_t left = draw(self, 4); left > 0; left--)
        spoil(self);

    journal_look recycled = look_at(self->builder.directory);
    journal_look zeroed = look_at(self->twin);
    counts->damaged += recycled.status == BATON_E_DAMAGED;
    counts->torn += recycled.status == 0 && recycled.report.torn_cut > 0;
    counts->recycled += self->oldest > 1;
    compare(seed, self->flipped, &recycled, &zeroed);
    test_dir_remove(&dir);
}

static void a_recycled_journal_and_its_zeroed_twin_get_one_verdict(void **state)
{
    (void)state;
    static twins self;
    const char *given = getenv("BATON_TWIN_SEEDS");
    const char *first = getenv("BATON_TWIN_FIRST");
    const uint64_t seeds = given != NULL ? strtoull(given, NULL, 10) : SEEDS;
    tally counts = {0};

    for (uint64_t seed = first ? strtoull(first, NULL, 10) : 1; seed <= seeds; seed++)
        run_seed(&self, seed, &counts);
    print_message("%u damaged, %u torn, %u recycled\n", counts.damaged, counts.torn,
                  counts.recycled);
    assert_true(counts.damaged > 0 && counts.torn > 0 && counts.recycled > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recycled_journal_and_its_zeroed_twin_get_one_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
