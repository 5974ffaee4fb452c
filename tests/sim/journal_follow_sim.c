/* tests/sim/journal_follow_sim.c: a standby's journal, and every place in its life: operation n fails, its
 * process or the power dies at operation n, for all n of three starts and a promotion. Afterwards it is
 * never damaged, has all that it called durable, goes on from there and becomes the writer. */
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

#include "base/io_sim.h"
#include "journal/follow.h"

#define LARGE_BYTES 40000u
#define GRANTED     3u /* the active has two epochs */

typedef struct {
    baton_sim *sim;
    uint64_t last_seq; /* of the active */
    baton_journal *standby;
    uint64_t durable_batch; /* called durable here */
    uint64_t acked;         /* entries of its own, once promoted */
    uint64_t appended;
    bool leads; /* a term of its own may have begun */
    bool promoted;
} pair;

static baton_journal_options options_of(const pair *p)
{
    return (baton_journal_options){.service = "sweep",
                                   .segment_bytes = UINT64_C(1) << 20,
                                   .first_segment_bytes = UINT64_C(256) << 10,
                                   .batch_bytes_max = 128 << 10,
                                   .batches_in_flight_max = 3,
                                   .clock = baton_sim_clock(p->sim),
                                   .io_backend = baton_sim_backend(),
                                   .io_context = baton_sim_start(p->sim)};
}

static uint32_t payload_of(uint64_t seq, uint8_t payload[LARGE_BYTES])
{
    const uint32_t bytes = seq % 4 == 3 ? LARGE_BYTES : (uint32_t)(seq * 37 % 300);
    for (uint32_t i = 0; i < bytes; i++)
        payload[i] = (uint8_t)(seq * 31 + i * 7);
    return bytes;
}

/* What makes room is under way; time passes. */
static int make_room(const pair *p, baton_journal *journal)
{
    const int r = baton_journal_poll(journal);
    baton_sim_advance(p->sim, 100000);
    return r;
}

static int append(const pair *p, baton_journal *journal, uint32_t count)
{
    static uint8_t payload[LARGE_BYTES];
    int r = 0;
    for (uint32_t i = 0; i < count && r == 0; i++) {
        const uint64_t seq = baton_journal_last_seq(journal) + 1;
        const uint32_t bytes = payload_of(seq, payload);
        while ((r = baton_journal_append(journal, (uint16_t)seq, payload, bytes, NULL)) ==
                   BATON_E_FULL ||
               r == BATON_E_NO_SPACE) {
            r = make_room(p, journal);
            if (r < 0)
                return r;
        }
        if (r == 0)
            r = baton_journal_poll(journal);
    }
    return r;
}

/* ---- the active: two epochs, at rest ---- */

static void write_epoch(pair *p, uint32_t count)
{
    const baton_journal_options options = options_of(p);
    const baton_root_wire root = {.seq = baton_le64_put(3), .root = {9}};
    baton_recovery_report report;
    baton_error error;
    baton_journal *active;
    assert_int_equal(baton_journal_open("/a", &options, &active, &report, &error), 0);
    assert_int_equal(baton_journal_begin(active, &report, &error), 0);
    assert_int_equal(append(p, active, count), 0);
    assert_int_equal(baton_journal_append_record(active, BATON_RECORD_ROOT, &root, sizeof(root)),
                     0);
    assert_int_equal(baton_journal_flush(active), 0);
    p->last_seq = baton_journal_last_seq(active);
    assert_int_equal(baton_journal_close(active), 0);
}

static pair pair_new(uint64_t seed)
{
    pair p = {.sim = baton_sim_new(seed)};
    write_epoch(&p, 31); /* more than a first segment holds */
    write_epoch(&p, 5);
    return p;
}

static void pair_free(pair *p)
{
    baton_journal_abandon(p->standby);
    baton_sim_free(p->sim);
}

/* ---- the standby ---- */

static int start(pair *p, baton_error *error)
{
    const baton_journal_options options = options_of(p);
    baton_recovery_report report;
    int r = baton_journal_open("/s", &options, &p->standby, &report, error);
    if (r < 0)
        p->standby = NULL;
    else if (report.last.batch < p->durable_batch)
        fail_msg("batch %d was durable, %d is there", (int)p->durable_batch,
                 (int)report.last.batch);
    return r;
}

static void note_durable(pair *p)
{
    const uint64_t batch = baton_journal_durable_position(p->standby).batch;
    if (batch > p->durable_batch)
        p->durable_batch = batch;
}

/* One batch; several in flight while there is room, and several in one write. */
static int take(pair *p, baton_reader *reader, const baton_batch_header *batch, baton_error *error)
{
    int r = 0;
    if (baton_digest_is_zero(baton_journal_id(p->standby))) {
        baton_follow_start begins;
        baton_reader_follow_start(reader, &begins);
        r = baton_journal_follow_start(p->standby, &begins, error);
    }
    while (r == 0) {
        r = baton_journal_follow(p->standby, batch, baton_le32_get(batch->batch_bytes), error);
        if (r != BATON_E_FULL && r != BATON_E_NO_SPACE)
            break;
        r = make_room(p, p->standby);
    }
    if (r == 0 && baton_le64_get(batch->batch) % 3 != 0)
        r = baton_journal_poll(p->standby);
    note_durable(p);
    return r;
}

static int follow(pair *p, uint32_t most, baton_error *error)
{
    const baton_reader_options wanted = {.io_backend = baton_sim_backend(),
                                         .io_context = baton_sim_start(p->sim)};
    const baton_batch_header *batch;
    baton_reader *reader;
    baton_digest digest;
    const baton_position end = baton_journal_follow_end(p->standby, &digest);
    int r = baton_reader_open_after("/a", &wanted, end, digest, &reader, error);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < most && r == 0; i++) {
        r = baton_reader_next_batch(reader, &batch, error);
        if (r <= 0)
            break;
        r = take(p, reader, batch, error);
    }
    baton_reader_close(reader);
    return r;
}

static int close_it(pair *p)
{
    const int r = baton_journal_close(p->standby);
    p->standby = NULL;
    return r;
}

static int lead(pair *p, uint64_t epoch, baton_error *error)
{
    int r = baton_journal_flush(p->standby);
    note_durable(p);
    p->leads = true;
    if (r == 0)
        r = baton_journal_promote(p->standby, epoch, error);
    p->promoted = r == 0;
    if (r == 0) {
        r = append(p, p->standby, 4);
        p->appended = baton_journal_last_seq(p->standby);
    }
    if (r == 0)
        r = baton_journal_flush(p->standby);
    p->acked = baton_journal_durable_seq(p->standby);
    return r == 0 ? close_it(p) : r;
}

/* Left with batches in flight; closed; promoted. The first one that fails is the last one. */
static int live(pair *p)
{
    static const uint32_t lives[] = {13, 21, UINT32_MAX};
    baton_error error = {0};
    int r = 0;
    for (uint32_t i = 0; i < 3 && r == 0; i++) {
        r = start(p, &error);
        if (r == 0)
            r = baton_journal_follow_begin(p->standby, &error);
        if (r == 0)
            r = follow(p, lives[i], &error);
        if (r < 0)
            break;
        if (i == 0) {
            baton_journal_abandon(p->standby);
            p->standby = NULL;
        } else if (i == 1) {
            r = baton_journal_prepare_promotion(p->standby, GRANTED, &error);
            r = r < 0 ? r : close_it(p);
        } else {
            r = lead(p, GRANTED, &error);
        }
    }
    return r;
}

/* ---- what is left ---- */

static void expect_all(const pair *p, const char *directory, uint64_t last)
{
    static uint8_t payload[LARGE_BYTES];
    const baton_reader_options options = {.io_backend = baton_sim_backend(),
                                          .io_context = baton_sim_start(p->sim)};
    baton_error error;
    baton_reader *reader;
    baton_entry entry;
    uint64_t seq = 0;
    int r = baton_reader_open(directory, &options, &reader, &error);
    assert_int_equal(r, 0);
    while ((r = baton_reader_next(reader, &entry, &error)) == 1) {
        const uint32_t bytes = payload_of(entry.seq, payload);
        assert_int_equal(entry.seq, ++seq);
        assert_int_equal(entry.payload_bytes, bytes);
        assert_memory_equal(entry.payload, payload, bytes);
    }
    assert_int_equal(r, 0);
    assert_int_equal(seq, last);
    baton_reader_close(reader);
}

/* On a healthy machine. A header that nobody was told of may be there, and be the last word. */
static void check_after(pair *p, const char *what, uint64_t n)
{
    char text[1024];
    baton_error error = {0};
    baton_journal_abandon(p->standby);
    p->standby = NULL;
    baton_sim_crash_at(p->sim, 0, BATON_SIM_KILL);
    baton_sim_fail_at(p->sim, 0, 0);
    int r = start(p, &error);
    /* From its first header on, whatever came behind it: it may not begin a term by itself (R7). */
    if (r == 0 && !p->leads && !baton_digest_is_zero(baton_journal_id(p->standby)))
        assert_true(baton_journal_ends_followed(p->standby));
    if (r == 0)
        r = baton_journal_follow_begin(p->standby, &error);
    if (r == 0)
        r = follow(p, UINT32_MAX, &error);
    if (r == 0)
        r = baton_journal_flush(p->standby);
    if (r < 0)
        fail_msg("%s %d: %s", what, (int)n, baton_error_text(&error, text, sizeof(text)));
    const uint64_t last = baton_journal_last_seq(p->standby);
    assert_true(last >= p->last_seq && last >= p->acked);
    assert_true(last <= (p->promoted ? p->appended : p->last_seq));
    r = lead(p, GRANTED, &error);
    if (r == BATON_E_INVALID)
        r = lead(p, GRANTED + 1, &error);
    if (r < 0)
        fail_msg("%s %d: %s", what, (int)n, baton_error_text(&error, text, sizeof(text)));
    assert_int_equal(p->acked, last + 4);
    baton_sim_advance(p->sim, 10000000000); /* late writes of the dead */
    expect_all(p, "/s", p->acked);
}

static uint64_t count_operations(uint64_t seed, uint64_t *ret_first)
{
    pair p = pair_new(seed);
    *ret_first = baton_sim_counts_of(p.sim)->operations + 1;
    assert_int_equal(live(&p), 0);
    const uint64_t count = baton_sim_counts_of(p.sim)->operations;
    assert_int_equal(p.acked, p.last_seq + 4);
    expect_all(&p, "/s", p.acked);
    pair_free(&p);
    return count;
}

/* ---- the sweeps ---- */

typedef void (*accident)(baton_sim *sim, uint64_t n);

static void fail_one(baton_sim *sim, uint64_t n)
{
    baton_sim_fail_at(sim, n, EIO);
}

static void fill_disk(baton_sim *sim, uint64_t n)
{
    baton_sim_fail_at(sim, n, ENOSPC);
}

static void kill_one(baton_sim *sim, uint64_t n)
{
    baton_sim_crash_at(sim, n, BATON_SIM_KILL);
}

static void cut_power(baton_sim *sim, uint64_t n)
{
    baton_sim_crash_at(sim, n, BATON_SIM_POWER_CUT);
}

static void sweep(accident happens, const char *what, uint64_t seeds)
{
    const char *sanitizer = getenv("BATON_SANITIZE");
    const uint64_t step = sanitizer != NULL && sanitizer[0] != '\0' ? 7 : 1;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        uint64_t first;
        const uint64_t count = count_operations(seed, &first);
        uint32_t failed = 0;
        for (uint64_t n = first; n <= count; n += step) {
            pair p = pair_new(seed);
            happens(p.sim, n);
            failed += live(&p) < 0;
            check_after(&p, what, n);
            pair_free(&p);
        }
        print_message("%s, seed %d: %d operations, %d ended it\n", what, (int)seed,
                      (int)(count - first + 1), (int)failed);
        assert_true(failed > 3);
    }
}

static void a_failure_at_any_operation_loses_nothing(void **state)
{
    (void)state;
    sweep(fail_one, "failed operation", 1);
}

static void a_full_disk_at_any_operation_loses_nothing(void **state)
{
    (void)state;
    sweep(fill_disk, "full disk at", 1);
}

static void a_kill_at_any_operation_loses_nothing(void **state)
{
    (void)state;
    sweep(kill_one, "kill at", 3);
}

static void a_power_cut_at_any_operation_loses_nothing(void **state)
{
    (void)state;
    sweep(cut_power, "power cut at", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_at_any_operation_loses_nothing),
        cmocka_unit_test(a_full_disk_at_any_operation_loses_nothing),
        cmocka_unit_test(a_kill_at_any_operation_loses_nothing),
        cmocka_unit_test(a_power_cut_at_any_operation_loses_nothing),
    };
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 30);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
    return cmocka_run_group_tests_name("a standby, everywhere in a short life", tests, NULL, NULL);
}
