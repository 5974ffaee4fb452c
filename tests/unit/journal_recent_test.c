/* The newest batches in shared memory: what stands there is given out whole or not at all, and a
 * live reader takes it only for what the disk would have said. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/journal_stage.h"

#define RECORD_WORDS 4u /* in front of each batch: number, index, offset, bytes */
#define NUMBERS      4000u
#define READS        2000u

/* ---- the ring ---- */

static baton_recent *ring_make(void)
{
    baton_recent *recent = calloc(1, sizeof(*recent));
    assert_non_null(recent);
    baton_recent_clear(recent);
    return recent;
}

/* Sizes of all kinds, the largest included; every word follows from the number. */
static uint32_t used_of(uint64_t number)
{
    if (number % 17 == 0)
        return BATON_RECENT_BATCH_BYTES_MAX;
    return (uint32_t)(sizeof(baton_batch_header) + 8 * (number * 2654435761u % 1000));
}

static void fill(uint8_t *bytes, uint64_t number)
{
    uint32_t used_bytes = used_of(number);
    memset(bytes, 0, BATON_RECENT_BATCH_BYTES_MAX);
    for (uint32_t i = 0; i < used_bytes; i += 8) {
        uint64_t word = number << 20 ^ i;
        memcpy(bytes + i, &word, sizeof(word));
    }
    baton_batch_header *header = (baton_batch_header *)bytes;
    header->batch = baton_le64_put(number);
    header->used_bytes = baton_le32_put(used_bytes);
}

static void put(baton_recent *recent, uint64_t number)
{
    static uint8_t bytes[BATON_RECENT_BATCH_BYTES_MAX];
    fill(bytes, number);
    baton_recent_put(recent, (const baton_batch_header *)bytes, number / 100, number * 4096);
}

/* True when it was there; what is given out must be it. */
static bool get(const baton_recent *recent, uint64_t number)
{
    static uint8_t bytes[BATON_RECENT_BATCH_BYTES_MAX], expected[BATON_RECENT_BATCH_BYTES_MAX];
    uint32_t batch_bytes = baton_recent_get(recent, number, number / 100, number * 4096, bytes);
    if (batch_bytes == 0)
        return false;
    fill(expected, number);
    if (batch_bytes != (used_of(number) + 4095) / 4096 * 4096 ||
        memcmp(bytes, expected, batch_bytes) != 0) {
        fprintf(stderr, "not the bytes of batch %llu\n", (unsigned long long)number);
        abort();
    }
    return true;
}

static void the_last_ones_that_fit_are_there_and_no_others(void **state)
{
    (void)state;
    baton_recent *recent = ring_make();
    for (uint64_t number = 1; number <= NUMBERS; number++) {
        put(recent, number);
        uint64_t bytes = 0;
        for (uint64_t back = 0; back < 700 && back < number; back++) {
            bytes += RECORD_WORDS * 8 + used_of(number - back);
            bool fits = bytes <= BATON_RECENT_BYTES && back < BATON_RECENT_SLOTS;
            assert_int_equal(get(recent, number - back), fits);
            if (!fits && number % 50 != 0)
                break;
        }
    }
    free(recent);
}

static void many_small_ones_are_bounded_by_the_slots(void **state)
{
    (void)state;
    baton_recent *recent = ring_make();
    baton_batch_header header = {.used_bytes = baton_le32_put(sizeof(header))};
    uint8_t bytes[BATON_RECENT_BATCH_BYTES_MAX];
    for (uint64_t number = 1; number <= 2000; number++) {
        header.batch = baton_le64_put(number);
        baton_recent_put(recent, &header, 1, number * 4096);
    }
    for (uint64_t number = 1; number <= 2000; number++)
        assert_int_equal(baton_recent_get(recent, number, 1, number * 4096, bytes),
                         number > 2000 - BATON_RECENT_SLOTS ? 4096 : 0);
    free(recent);
}

static void a_batch_is_given_out_for_its_own_place_alone(void **state)
{
    (void)state;
    uint8_t bytes[BATON_RECENT_BATCH_BYTES_MAX];
    baton_recent *recent = ring_make();
    put(recent, 205);
    assert_true(get(recent, 205));
    assert_int_equal(baton_recent_get(recent, 206, 2, 205 * 4096, bytes), 0);
    assert_int_equal(baton_recent_get(recent, 205 + BATON_RECENT_SLOTS, 2, 205 * 4096, bytes), 0);
    assert_int_equal(baton_recent_get(recent, 205, 3, 205 * 4096, bytes), 0);
    assert_int_equal(baton_recent_get(recent, 205, 2, 206 * 4096, bytes), 0);
    free(recent);
}

static void a_large_batch_is_left_to_the_disk(void **state)
{
    (void)state;
    static uint8_t bytes[2 * BATON_RECENT_BATCH_BYTES_MAX];
    baton_recent *recent = ring_make();
    put(recent, 1);
    baton_batch_header *header = (baton_batch_header *)bytes;
    header->batch = baton_le64_put(2);
    header->used_bytes = baton_le32_put(BATON_RECENT_BATCH_BYTES_MAX + 8);
    baton_recent_put(recent, header, 0, 2 * 4096);
    assert_int_equal(baton_recent_get(recent, 2, 0, 2 * 4096, bytes), 0);
    assert_true(get(recent, 1)); /* and it pushed nothing out */
    free(recent);
}

static void a_new_writer_starts_with_none(void **state)
{
    (void)state;
    baton_recent *recent = ring_make();
    for (uint64_t number = 1; number <= 100; number++)
        put(recent, number);
    baton_recent_clear(recent);
    for (uint64_t number = 0; number <= 100; number++)
        assert_false(get(recent, number));
    put(recent, 100);
    assert_true(get(recent, 100));
    assert_false(get(recent, 99));

    baton_recent *copied = ring_make(); /* by a reader, before the takeover */
    memcpy(copied, recent, sizeof(*copied));
    baton_recent_clear(recent);
    uint64_t begun = recent->begun;
    memcpy(recent, copied, sizeof(*recent));
    recent->begun = begun;
    assert_false(get(recent, 100));
    free(copied);

    memset(recent, 0xa5, sizeof(*recent)); /* another layout stood there */
    for (uint64_t number = 0; number < 1000; number++)
        assert_false(get(recent, number));
    baton_recent_clear(recent);
    put(recent, 7);
    assert_true(get(recent, 7));
    free(recent);
}

/* What a put does first is to say how far it goes. */
static void a_writer_that_dies_in_a_put_spoils_only_what_it_was_writing_over(void **state)
{
    (void)state;
    baton_recent *recent = ring_make();
    uint64_t number = 0;
    while (recent->begun < 3 * BATON_RECENT_BYTES)
        put(recent, ++number);
    uint64_t oldest = number;
    while (get(recent, oldest - 1))
        oldest--;
    uint64_t at = recent->slots[oldest % BATON_RECENT_SLOTS];
    uint64_t end = at + BATON_RECENT_BYTES + 64; /* into the oldest one, and no further */
    uint64_t begun = recent->begun;
    recent->begun = end; /* who copies the oldest now cannot know how much of it is new */
    assert_false(get(recent, oldest));
    recent->begun = begun;
    assert_true(get(recent, oldest));
    for (uint64_t to = recent->begun; to < end; to += 8)
        recent->words[to / 8 % (BATON_RECENT_BYTES / 8)] = 0x5555;
    recent->begun = end;
    assert_false(get(recent, oldest));
    for (uint64_t left = oldest + 1; left <= number; left++)
        assert_true(get(recent, left));
    baton_recent_clear(recent);
    assert_false(get(recent, number));
    free(recent);
}

static void what_was_never_begun_is_not_given_out(void **state)
{
    (void)state;
    baton_recent *recent = ring_make();
    put(recent, 1);
    put(recent, 2);
    recent->begun -= 8;
    assert_false(get(recent, 2));
    assert_true(get(recent, 1));
    free(recent);
}

static _Atomic uint64_t put_last;
static _Atomic bool enough;

static void *put_until_enough(void *context)
{
    for (uint64_t number = 1; !enough; number++) {
        put(context, number);
        put_last = number;
    }
    return NULL;
}

static void a_reader_beside_the_writer_never_gets_half_a_batch(void **state)
{
    (void)state;
    baton_recent *recent = ring_make();
    pthread_t thread;
    put_last = 0;
    enough = false;
    assert_int_equal(pthread_create(&thread, NULL, put_until_enough, recent), 0);
    /* From the newest to some that are gone: between them stand those that are overtaken. */
    uint64_t got = 0;
    for (uint64_t back = 0; got < READS || put_last < NUMBERS; back = (back + 1) % 40) {
        uint64_t last = put_last;
        got += last > back && get(recent, last - back);
    }
    enough = true;
    pthread_join(thread, NULL);
    assert_true(get(recent, put_last));
    free(recent);
}

/* ---- a live reader ---- */

static baton_recent *recent_of(live_stage *stage)
{
    return baton_hint_recent(stage->hint);
}

/* The next batch, in memory only: on the disk stand zeros. */
static void batch_in_memory_only(live_stage *stage, uint32_t entries_count)
{
    journal_builder *builder = &stage->builder;
    uint64_t offset = builder_batch(builder, entries_count);
    stage_put(stage, offset);
    builder_zero(builder_path(builder, builder->epoch, builder->index), offset,
                 builder->offset - offset);
}

/* A living writer with three entries on the disk, and a reader that has seen HINT move. */
static void come_alive_and_read(live_stage *stage)
{
    stage_come_alive(stage);
    builder_epoch(&stage->builder, 1);
    builder_batch(&stage->builder, 1);
    stage_publish(stage);
    stage_open_reader(stage, true, 0);
    stage_expect_read(stage, 1);
    builder_batch(&stage->builder, 2);
    stage_publish(stage);
    stage_expect_read(stage, 3);
}

static void memory_and_disk_take_turns_also_over_rolls(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;

    come_alive_and_read(stage);
    for (uint32_t i = 0; i < 60; i++) {
        if (builder->offset + 4 * 4096 > builder->segment_bytes)
            builder_roll(builder);
        batch_in_memory_only(stage, 1 + i % 3);
        if (i % 4 == 1)
            batch_in_memory_only(stage, 2);
        if (i % 4 == 2) { /* one that is only on the disk ends the run of those in memory */
            builder_batch(builder, 2);
            builder_batch(builder, 2);
        }
        stage_publish(stage);
        stage_expect_read(stage, builder->last.seq);
        assert_int_equal(baton_reader_position(stage->reader).batch, builder->last.batch);
    }
}

/* A power cut took the bytes from the disk, or the directory was copied while it was written to. */
static void what_stood_there_before_the_reader_came_is_not_believed(void **state)
{
    live_stage *stage = *state;

    builder_epoch(&stage->builder, 1);
    builder_batch(&stage->builder, 3);
    stage_publish(stage);
    batch_in_memory_only(stage, 3);
    stage_publish(stage);
    stage_open_reader(stage, true, 0);
    stage_expect_read(stage, 3); /* as the disk alone says */
}

static void what_is_not_published_is_not_returned_though_it_stands_there(void **state)
{
    live_stage *stage = *state;

    come_alive_and_read(stage);
    batch_in_memory_only(stage, 1);
    stage_expect_read(stage, 3);
    stage_publish(stage);
    batch_in_memory_only(stage, 1);
    stage_expect_read(stage, 4);
}

static void a_batch_beyond_the_published_end_is_not_taken(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;

    come_alive_and_read(stage);
    uint64_t offset = builder_batch(builder, 150);
    assert_true(builder->offset - offset > 4096);
    stage_put(stage, offset);
    baton_hint_view view = stage_view_of(builder);
    view.end_offset = offset + 4096; /* no writer says so */
    stage_publish_view(stage, &view);
    assert_int_equal(stage_read_on(stage), BATON_E_DAMAGED);
    assert_int_equal(stage->read, 3);
}

/* Whichever bit of a batch's record is another one, the disk's bytes are returned. */
static void a_flipped_bit_sends_the_reader_to_the_disk(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;

    come_alive_and_read(stage);
    uint32_t words = RECORD_WORDS + (128 + 16) / 8 + 1; /* with the first word of a payload */
    for (uint32_t bit = 0; bit < words * 64; bit++) {
        if (builder->offset + 4 * 4096 > builder->segment_bytes)
            builder_roll(builder);
        uint64_t at = recent_of(stage)->begun / 8;
        stage_put(stage, builder_batch(builder, 1));
        recent_of(stage)->words[(at + bit / 64) % (BATON_RECENT_BYTES / 8)] ^= UINT64_C(1)
                                                                               << bit % 64;
        stage_publish(stage);
        stage_expect_read(stage, builder->last.seq);
    }
    for (uint32_t bit = 0; bit < 64; bit++) {
        if (builder->offset + 4 * 4096 > builder->segment_bytes)
            builder_roll(builder);
        stage_put(stage, builder_batch(builder, 1));
        recent_of(stage)->slots[builder->last.batch % BATON_RECENT_SLOTS] ^= UINT64_C(1) << bit;
        stage_put(stage, builder_batch(builder, 1));
        recent_of(stage)->begun ^= UINT64_C(1) << bit;
        stage_publish(stage);
        stage_expect_read(stage, builder->last.seq);
    }
}

/* Valid by its own bytes, right in number and place, and not this journal's next batch. */
static void a_batch_of_another_chain_is_not_taken_for_the_next_one(void **state)
{
    live_stage *stage = *state;
    journal_builder *builder = &stage->builder;

    come_alive_and_read(stage);
    for (uint32_t what = 0; what < 3; what++) {
        uint8_t other[4096];
        baton_batch_header *header = (baton_batch_header *)other;
        uint64_t offset = builder_batch(builder, 1);
        builder_read(builder_path(builder, 1, 1), offset, other, sizeof(other));
        other[sizeof(*header) + sizeof(baton_frame_header)] ^= 1; /* an entry that is not right */
        if (what == 0)
            header->journal_id[3] ^= 1;
        if (what == 1)
            header->previous_digest[0] ^= 1;
        if (what == 2)
            header->epoch = baton_le64_put(2);
        (void)baton_batch_seal(header);
        baton_recent_put(recent_of(stage), header, 1, offset);
        stage_publish(stage);
        stage_expect_read(stage, builder->last.seq);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_ones_that_fit_are_there_and_no_others),
        cmocka_unit_test(many_small_ones_are_bounded_by_the_slots),
        cmocka_unit_test(a_batch_is_given_out_for_its_own_place_alone),
        cmocka_unit_test(a_large_batch_is_left_to_the_disk),
        cmocka_unit_test(a_new_writer_starts_with_none),
        cmocka_unit_test(a_writer_that_dies_in_a_put_spoils_only_what_it_was_writing_over),
        cmocka_unit_test(what_was_never_begun_is_not_given_out),
        cmocka_unit_test(a_reader_beside_the_writer_never_gets_half_a_batch),
        TEST(memory_and_disk_take_turns_also_over_rolls),
        TEST(what_stood_there_before_the_reader_came_is_not_believed),
        TEST(what_is_not_published_is_not_returned_though_it_stands_there),
        TEST(a_batch_beyond_the_published_end_is_not_taken),
        TEST(a_flipped_bit_sends_the_reader_to_the_disk),
        TEST(a_batch_of_another_chain_is_not_taken_for_the_next_one),
    };
    return cmocka_run_group_tests_name("journal recent", tests, NULL, NULL);
}
