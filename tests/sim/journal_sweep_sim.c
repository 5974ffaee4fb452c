/* tests/sim/journal_sweep_sim.c: a short journal, and every place in its life: operation n fails, the
 * writer or the power dies at operation n, for all n, and bits of all that it wrote flip. Afterwards nothing
 * acknowledged is missing without a word, nothing is invented, and the verdict is right.
 * tests/unit/journal_sweep_test.c does the same to journals built byte by byte, without a writer. */
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <baton/journal.h>

#include "base/io_sim.h"
#include "journal/format.h"
#include "journal/records.h"

#define SEGMENT_BYTES (UINT64_C(1) << 20)
#define LARGE_BYTES   59000u
#define LARGE_FROM    60u /* from this seq on all are large */

typedef struct script {
    baton_sim *sim;
    baton_journal_options options;
    baton_journal *journal;
    int (*live)(struct script *s);
    uint64_t acked;
    uint64_t appended;
    uint32_t recycled;  /* segments, as seen last */
    uint64_t keep_from; /* what is before may be retired; 0: nothing is */
} script;

/* ---- one life ---- */

static uint32_t payload_of(uint64_t seq, uint8_t payload[60000])
{
    const bool large = seq >= LARGE_FROM || seq % 9 == 8;
    const uint32_t bytes = large ? LARGE_BYTES : (uint32_t)(seq * 37 % 300);
    for (uint32_t i = 0; i < bytes; i++)
        payload[i] = (uint8_t)(seq * 31 + i * 7);
    return bytes;
}

static int append(script *s, uint32_t count)
{
    static uint8_t payload[60000];
    int r = 0;
    for (uint32_t i = 0; i < count && r == 0; i++) {
        const uint64_t seq = baton_journal_last_seq(s->journal) + 1;
        const uint32_t bytes = payload_of(seq, payload);
        r = baton_journal_append(s->journal, (uint16_t)seq, payload, bytes, NULL);
        if (r == 0)
            s->appended = seq;
    }
    return r;
}

static int flush(script *s)
{
    const int r = baton_journal_flush(s->journal);
    if (baton_journal_durable_seq(s->journal) > s->acked)
        s->acked = baton_journal_durable_seq(s->journal);
    return r;
}

static int idle(script *s)
{
    int r = 0;
    for (uint32_t i = 0; i < 8 && r == 0; i++) {
        baton_sim_advance(s->sim, 1000000);
        r = baton_journal_poll(s->journal);
    }
    return r;
}

static int open_and_begin(script *s)
{
    baton_recovery_report report;
    baton_error error;
    s->options.io_context = baton_sim_start(s->sim);
    int r = baton_journal_open("/j", &s->options, &s->journal, &report, &error);
    if (r < 0) {
        s->journal = NULL;
        return r;
    }
    return baton_journal_begin(s->journal, &report, &error);
}

static int first_epoch(script *s)
{
    const baton_root_wire root = {.seq = baton_le64_put(3), .root = {9}};
    int r = open_and_begin(s);
    for (uint32_t i = 0; i < 4 && r == 0; i++) {
        r = append(s, 6);
        if (r == 0)
            r = baton_journal_poll(s->journal);
        baton_sim_advance(s->sim, 50000);
    }
    if (r == 0)
        r = flush(s);
    if (r == 0)
        r = idle(s);
    if (r == 0)
        r = append(s, 25); /* into the next segment */
    if (r == 0)
        r = baton_journal_append_record(s->journal, BATON_RECORD_ROOT, &root, sizeof(root));
    return r == 0 ? flush(s) : r;
}

/* Two epochs, the first one closed, the second left after an idle mark. */
static int live(script *s)
{
    int r = first_epoch(s);
    if (r == 0) {
        r = baton_journal_close(s->journal);
        s->journal = NULL;
    }
    if (r == 0)
        r = open_and_begin(s);
    if (r == 0)
        r = append(s, 3);
    if (r == 0)
        r = flush(s);
    if (r == 0)
        r = append(s, 3);
    if (r == 0)
        r = flush(s);
    return r == 0 ? idle(s) : r;
}

static int append_patiently(script *s, uint32_t count)
{
    int r = 0;
    for (uint32_t i = 0, tries = 0; i < count && r == 0 && tries < 3000; tries++) {
        r = append(s, 1);
        i += r == 0;
        if (r != BATON_E_FULL && r != BATON_E_NO_SPACE)
            continue;
        r = baton_journal_poll(s->journal);
        baton_sim_advance(s->sim, 100000);
    }
    return r;
}

static int retire(script *s)
{
    uint32_t removed;
    s->keep_from = s->acked;
    return baton_journal_retire(s->journal, s->keep_from, &removed);
}

/* One epoch, retired behind itself: the last segments are recycled. Left after an idle mark. */
static int live_recycling(script *s)
{
    int r = open_and_begin(s);
    if (r == 0)
        r = append_patiently(s, LARGE_FROM);
    for (uint32_t i = 0; i < 14 && r == 0; i++) {
        r = flush(s);
        if (r == 0)
            r = idle(s);
        if (r == 0)
            r = retire(s);
        if (r == 0)
            r = idle(s); /* the next one is made */
        if (r == 0)
            r = append_patiently(s, 5);
    }
    if (r == 0)
        r = flush(s);
    return r == 0 ? idle(s) : r;
}

static script script_new(uint64_t seed, int (*life)(script *s))
{
    script s = {.sim = baton_sim_new(seed), .live = life};
    s.options = (baton_journal_options){.service = "sweep",
                                        .segment_bytes = SEGMENT_BYTES,
                                        .first_segment_bytes = UINT64_C(256) << 10,
                                        .batch_bytes_max = 128 << 10,
                                        .batches_in_flight_max = 3,
                                        .no_ballast = true,
                                        .clock = baton_sim_clock(s.sim),
                                        .io_backend = baton_sim_backend()};
    return s;
}

static void script_free(script *s)
{
    baton_journal_abandon(s->journal);
    baton_sim_free(s->sim);
}

/* ---- looking at what is left ---- */

typedef struct {
    int status;
    uint64_t first_seq;
    uint64_t last_seq;
    baton_error error;
} look;

/* All entries, by a reader of its own process: dense, each as it was appended. */
static look look_at(script *s)
{
    static uint8_t payload[60000];
    const baton_reader_options options = {.io_backend = baton_sim_backend(),
                                          .io_context = baton_sim_start(s->sim)};
    look found = {0};
    baton_reader *reader;
    baton_entry entry;
    found.status = baton_reader_open("/j", &options, &reader, &found.error);
    if (found.status < 0)
        return found;
    while ((found.status = baton_reader_next(reader, &entry, &found.error)) == 1) {
        const uint32_t bytes = payload_of(entry.seq, payload);
        if (found.first_seq == 0)
            found.first_seq = entry.seq;
        else
            assert_int_equal(entry.seq, found.last_seq + 1);
        found.last_seq = entry.seq;
        assert_int_equal(entry.type, (uint16_t)entry.seq);
        assert_int_equal(entry.payload_bytes, bytes);
        assert_memory_equal(entry.payload, payload, bytes);
    }
    baton_reader_close(reader);
    return found;
}

/* On a healthy machine, whatever happened before: it opens, all that was acknowledged is there, and it
 * goes on. */
static void check_after(script *s, uint64_t seed, uint64_t n, const char *what)
{
    baton_journal_abandon(s->journal);
    s->journal = NULL;
    baton_sim_crash_at(s->sim, 0, BATON_SIM_KILL);
    baton_sim_fail_at(s->sim, 0, 0);
    const uint64_t appended = s->appended;
    const int r = open_and_begin(s);
    if (r < 0)
        fail_msg("%s %d, seed %d: it does not open: %s", what, (int)n, (int)seed,
                 baton_status_name(r));
    const uint64_t last = baton_journal_last_seq(s->journal);
    if (last < s->acked || last > appended)
        fail_msg("%s %d, seed %d: %d acknowledged, %d appended, %d there", what, (int)n, (int)seed,
                 (int)s->acked, (int)appended, (int)last);
    assert_int_equal(append(s, 2), 0);
    assert_int_equal(baton_journal_close(s->journal), 0);
    s->journal = NULL;
    const look found = look_at(s);
    assert_int_equal(found.status, 0);
    assert_int_equal(found.last_seq, last + 2);
    assert_true(found.first_seq <= (s->keep_from > 0 ? s->keep_from : 1));
}

static int note_recycled(void *context, const char *name)
{
    script *s = context;
    uint64_t epoch, index;
    baton_segment_header header;
    char path[64];
    if (!baton_segment_name_parse(name, &epoch, &index))
        return 0;
    (void)snprintf(path, sizeof(path), "/j/%s", name);
    if (baton_sim_look(s->sim, path, &header, sizeof(header), 0) == (int64_t)sizeof(header) &&
        baton_segment_header_check(&header) == BATON_UNIT_VALID)
        s->recycled += (baton_le32_get(header.flags) & BATON_SEGMENT_RECYCLED) != 0;
    return 0;
}

static uint64_t count_operations(uint64_t seed, int (*life)(script *s))
{
    script s = script_new(seed, life);
    assert_int_equal(s.live(&s), 0);
    const uint64_t count = baton_sim_counts_of(s.sim)->operations;
    assert_int_equal(s.acked, s.appended);
    assert_int_equal(baton_sim_list(s.sim, "/j", note_recycled, &s), 0);
    assert_int_equal(s.recycled > 0, life == live_recycling);
    check_after(&s, seed, 0, "nothing at");
    script_free(&s);
    return count;
}

static bool is_sanitized(void)
{
    const char *sanitizer = getenv("BATON_SANITIZE");
    return sanitizer != NULL && sanitizer[0] != '\0';
}

/* ---- the sweeps ---- */

static void fail_each(int error, int (*life)(script *s))
{
    const uint64_t seed = 1;
    const uint64_t count = count_operations(seed, life);
    const uint64_t step = !is_sanitized() ? 1 : life == live ? 5 : 17;
    uint32_t failed = 0;
    for (uint64_t n = 1; n <= count; n += step) {
        script s = script_new(seed, life);
        baton_sim_fail_at(s.sim, n, error);
        failed += s.live(&s) < 0;
        assert_int_equal(baton_sim_counts_of(s.sim)->errors, 1);
        check_after(&s, seed, n, "failed operation");
        script_free(&s);
    }
    assert_true(failed > 5); /* the others are back-pressure, or of no consequence */
}

static void no_failed_operation_loses_what_was_acknowledged(void **state)
{
    (void)state;
    fail_each(EIO, live);
    fail_each(EIO, live_recycling);
}

static void no_full_disk_loses_what_was_acknowledged(void **state)
{
    (void)state;
    fail_each(ENOSPC, live);
    fail_each(ENOSPC, live_recycling);
}

static void crash_at_each(baton_sim_crash how, int (*life)(script *s), const char *what)
{
    /* Each draws another state of the disk. */
    const uint64_t seeds = is_sanitized() ? 1 : life == live ? 4 : 2;
    uint32_t runs = 0, died = 0;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        const uint64_t count = count_operations(seed, life);
        for (uint64_t n = 1; n <= count; n += is_sanitized() && life != live ? 7 : 1) {
            script s = script_new(seed, life);
            baton_sim_crash_at(s.sim, n, how);
            died += s.live(&s) < 0; /* the next segment may still be made when the script is over */
            runs++;
            check_after(&s, seed, n, what);
            script_free(&s);
        }
    }
    assert_true(died > runs * 3 / 4);
}

static void no_kill_loses_what_was_acknowledged(void **state)
{
    (void)state;
    crash_at_each(BATON_SIM_KILL, live, "kill at");
    crash_at_each(BATON_SIM_KILL, live_recycling, "recycling, kill at");
}

static void no_power_cut_loses_what_was_acknowledged(void **state)
{
    (void)state;
    crash_at_each(BATON_SIM_POWER_CUT, live, "power cut at");
    crash_at_each(BATON_SIM_POWER_CUT, live_recycling, "recycling, power cut at");
}

/* ---- every bit ---- */

typedef struct {
    script *s;
    uint64_t units_stride; /* of what is inside a batch, and of what is stale */
    uint64_t bits_stride;  /* 0: every third bit of headers and digests, fewer of what is between */
    uint64_t flips;
    uint64_t damaged;
    uint64_t stale; /* flips in what a recycled segment held before */
} flips;

typedef enum { MUST_BE_SEEN, MAY_GO, IS_STALE } meaning;

/* Trailer and last batch prove what is before them, and nothing is lost with them. */
static meaning meaning_of(const script *s, const uint8_t *unit, const baton_segment_header *header)
{
    const baton_batch_header *batch = (const void *)unit;
    const baton_position last = baton_journal_durable_position(s->journal);
    uint32_t batch_bytes;
    if (memcmp(unit, BATON_SEGMENT_MAGIC, 8) == 0)
        return MUST_BE_SEEN;
    if (memcmp(unit, BATON_TRAILER_MAGIC, 8) == 0)
        return MAY_GO;
    if (memcmp(header->magic, BATON_SEGMENT_MAGIC, 8) != 0) /* only ready */
        return IS_STALE;
    if ((baton_le32_get(header->flags) & BATON_SEGMENT_RECYCLED) != 0 &&
        (!baton_batch_plausible(batch, &batch_bytes) ||
         baton_le64_get(batch->batch) < baton_le64_get(header->first_batch)))
        return IS_STALE;
    const bool is_last =
        baton_le64_get(batch->epoch) == last.epoch && baton_le64_get(batch->batch) == last.batch;
    return is_last ? MAY_GO : MUST_BE_SEEN;
}

static void flip_one(flips *all, const char *path, uint64_t bit, bool expect_damage)
{
    assert_true(baton_sim_flip(all->s->sim, path, bit));
    const look found = look_at(all->s);
    if (found.status == 0 && (found.last_seq != all->s->acked || expect_damage))
        fail_msg("bit %d of %s: no word, and %d entries of %d", (int)bit, path, (int)found.last_seq,
                 (int)all->s->acked);
    if (found.status != 0 && (found.status != BATON_E_DAMAGED || !expect_damage))
        fail_msg("bit %d of %s: %s", (int)bit, path, baton_status_name(found.status));
    if (expect_damage)
        assert_string_equal(found.error.path, path);
    all->flips++;
    all->damaged += found.status != 0;
    assert_true(baton_sim_flip(all->s->sim, path, bit));
}

static uint64_t next_bit(const flips *all, uint64_t bit)
{
    const uint64_t byte = bit / 8;
    if (all->bits_stride != 0)
        return bit + all->bits_stride;
    return byte < 96 || byte >= BATON_IO_UNIT - 16 ? bit + 3 : bit + 8 * 7 + 1;
}

static int flip_file(void *context, const char *name)
{
    flips *all = context;
    uint64_t epoch, index;
    uint8_t unit[BATON_IO_UNIT] __attribute__((aligned(8)));
    static const uint8_t zero[BATON_IO_UNIT];
    baton_segment_header header;
    char path[64];
    meaning means = MUST_BE_SEEN;
    uint64_t batch_end = 0;
    if (!baton_segment_name_parse(name, &epoch, &index))
        return 0;
    (void)snprintf(path, sizeof(path), "/j/%s", name);
    (void)baton_sim_look(all->s->sim, path, &header, sizeof(header), 0);
    for (uint64_t at = 0;
         baton_sim_look(all->s->sim, path, unit, sizeof(unit), at) == (int64_t)sizeof(unit);
         at += sizeof(unit)) {
        uint32_t batch_bytes;
        bool sample = at % (all->units_stride * BATON_IO_UNIT) == 0;
        if (memcmp(unit, zero, sizeof(unit)) == 0)
            continue;
        if (at >= batch_end) {
            means = meaning_of(all->s, unit, &header);
            batch_end = at + BATON_IO_UNIT;
            if (at > 0 && means != IS_STALE &&
                baton_batch_plausible((const void *)unit, &batch_bytes))
                batch_end = at + batch_bytes;
            sample |= means != IS_STALE;
        }
        for (uint64_t bit = 0; sample && bit < 8 * BATON_IO_UNIT; bit = next_bit(all, bit)) {
            flip_one(all, path, 8 * at + bit, means == MUST_BE_SEEN);
            all->stale += means == IS_STALE;
        }
    }
    return 0;
}

static void flip_all(int (*life)(script *s), flips *all)
{
    script s = script_new(1, life);
    assert_int_equal(s.live(&s), 0);
    /* Without its process and its lock readers judge by what is on the disk. The object can be asked. */
    baton_sim_kill((baton_sim_process *)s.options.io_context);
    baton_sim_advance(s.sim, 1000000000);
    all->s = &s;
    assert_int_equal(baton_sim_list(s.sim, "/j", flip_file, all), 0);
    print_message("%d bits, %d of them damage, %d stale\n", (int)all->flips, (int)all->damaged,
                  (int)all->stale);
    assert_true(all->damaged > (all->flips - all->stale) / 2 && all->damaged < all->flips);
    script_free(&s);
}

static void no_flipped_bit_is_believed_and_none_loses_without_a_word(void **state)
{
    (void)state;
    flips all = {.units_stride = 7, .bits_stride = is_sanitized() ? 8 * 61 + 1 : 0};
    flip_all(live, &all);
    assert_int_equal(all.stale, 0);
}

static void the_same_in_recycled_segments_where_stale_bits_mean_nothing(void **state)
{
    (void)state;
    flips all = {.units_stride = is_sanitized() ? 97 : 31,
                 .bits_stride = is_sanitized() ? 8 * 1009 + 1 : 8 * 61 + 1};
    flip_all(live_recycling, &all);
    assert_true(all.stale > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_failed_operation_loses_what_was_acknowledged),
        cmocka_unit_test(no_full_disk_loses_what_was_acknowledged),
        cmocka_unit_test(no_kill_loses_what_was_acknowledged),
        cmocka_unit_test(no_power_cut_loses_what_was_acknowledged),
        cmocka_unit_test(no_flipped_bit_is_believed_and_none_loses_without_a_word),
        cmocka_unit_test(the_same_in_recycled_segments_where_stale_bits_mean_nothing),
    };
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 30);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
    return cmocka_run_group_tests_name("journal, everywhere in a short life", tests, NULL, NULL);
}
