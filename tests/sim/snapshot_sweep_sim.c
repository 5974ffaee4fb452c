/* tests/sim/snapshot_sweep_sim.c: two short lives of a directory of snapshots, and every place in them:
 * operation n fails, the process or the power dies at operation n, for all n; and of two small snapshots
 * every bit flips and every length is tried. A snapshot is complete or absent (S1), and damage is said
 * (S2). The engine on the same machine, at random: snapshot_sim.c. */
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/io_sim.h"
#include "snapshot/names.h"
#include "snapshot/store.h"

#define DIRECTORY      "/d"
#define SNAPSHOTS      4u
#define ROWS           90u
#define VALUE_BYTES    150u
#define FILE_BYTES_MAX 65536u

typedef struct {
    baton_sim *sim;
    baton_io *io;
    bool published[SNAPSHOTS + 1]; /* by seq: publish said so */
    bool removed_from;             /* prune began: what is older than the two newest may be gone */
    uint32_t done;                 /* steps */
} script;

/* ---- one life ---- */

static baton_io *io_of(baton_sim *sim)
{
    const baton_io_options options = {.custom = baton_sim_backend(),
                                      .custom_context = baton_sim_start(sim),
                                      .clock = baton_sim_clock(sim),
                                      .ops_max = 16};
    baton_io *io = NULL;
    assert_int_equal(baton_io_open(&options, &io, NULL), 0);
    return io;
}

static void value_of(uint64_t seq, uint64_t row, uint8_t value[VALUE_BYTES])
{
    for (uint32_t i = 0; i < VALUE_BYTES; i++)
        value[i] = (uint8_t)(seq * 91 + row * 17 + (i % 40) * 3);
}

static int publish(script *s, uint64_t seq, baton_compress compress, uint32_t rows)
{
    const baton_snapshot_options options = {
        .compress = compress, .chunk_bytes = 4096, .clock = baton_sim_clock(s->sim)};
    baton_snapshot_info info = {
        .service = "sweep", .version = "1", .schema = 1, .seq = seq, .epoch = 1};
    baton_snapshot_writer *writer = NULL;
    uint8_t value[VALUE_BYTES];
    assert_int_equal(baton_snapshot_writer_create(&options, &writer), 0);
    baton_pack_section(writer, "rows");
    for (uint64_t row = 0; row < rows; row++) {
        value_of(seq, row, value);
        baton_pack_row(writer, 2);
        baton_pack_uint(writer, row);
        baton_pack_bytes(writer, value, sizeof(value));
    }
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), 0);
    const int r = baton_snapshot_publish(s->io, DIRECTORY, writer, &info, NULL);
    if (r == 0 && seq <= SNAPSHOTS)
        s->published[seq] = true;
    return r;
}

static int prune(script *s)
{
    uint32_t removed = 0;
    s->removed_from = true;
    return baton_snapshot_prune_with(s->io, DIRECTORY, 2, &removed, NULL);
}

/* Every row of one. 0 only when all are there, each as it was packed. */
static int restore(baton_io *io, const baton_snapshot_listed *listed, uint32_t rows)
{
    baton_snapshot_reader *reader = NULL;
    uint8_t wanted[VALUE_BYTES];
    uint32_t fields = 0, bytes = 0;
    uint64_t key, row = 0;
    const void *value;
    int r = baton_snapshot_reader_open(io, DIRECTORY, listed, &reader, NULL);
    if (r < 0)
        return r;
    r = baton_unpack_section(reader, "rows");
    while (r == 0 && (r = baton_unpack_row(reader, &fields)) == 1) {
        r = baton_unpack_uint(reader, &key);
        if (r == 0)
            r = baton_unpack_bytes(reader, &value, &bytes);
        if (r < 0)
            break;
        value_of(listed->info.seq, row, wanted);
        assert_int_equal(fields, 2); /* a wrong row is never returned */
        assert_int_equal(key, row++);
        assert_int_equal(bytes, VALUE_BYTES);
        assert_memory_equal(value, wanted, VALUE_BYTES);
    }
    baton_snapshot_reader_close(reader);
    if (r == 0)
        assert_int_equal(row, rows);
    return r;
}

static baton_snapshot_listed *list(baton_io *io, uint32_t *ret_count)
{
    baton_snapshot_listed *found = NULL;
    assert_int_equal(baton_snapshot_list_with(io, DIRECTORY, &found, ret_count, NULL), 0);
    return found;
}

/* Take, publish, prune, restore. */
static int live(script *s)
{
    baton_snapshot_listed *found = NULL;
    uint32_t count = 0;
    int r = publish(s, 1, BATON_COMPRESS_RAW, ROWS);
    if (r == 0 && ++s->done)
        r = publish(s, 2, BATON_COMPRESS_LZ4, ROWS);
    if (r == 0 && ++s->done)
        r = publish(s, 3, BATON_COMPRESS_RAW, ROWS);
    if (r == 0 && ++s->done)
        r = prune(s);
    if (r == 0 && ++s->done)
        r = baton_snapshot_list_with(s->io, DIRECTORY, &found, &count, NULL);
    if (r == 0 && count > 0)
        r = found[0].status != 0 ? found[0].status : restore(s->io, &found[0], ROWS);
    free(found);
    return r;
}

static script script_new(uint64_t seed)
{
    script s = {.sim = baton_sim_new(seed)};
    s.io = io_of(s.sim);
    return s;
}

static void script_free(script *s)
{
    baton_io_close(s->io);
    baton_sim_free(s->sim);
}

/* ---- what is left ---- */

static void leave_no_leftovers(script *s)
{
    assert_int_equal(prune(s), 0);
    uint32_t count = 0;
    baton_snapshot_listed *found = list(s->io, &count);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(restore(s->io, &found[i], ROWS), 0);
    free(found);
}

static int count_name(void *context, const char *name)
{
    (void)name;
    ++*(uint32_t *)context;
    return 0;
}

/* On a healthy machine: what is listed is whole, what was published is listed, and it goes on. */
static void check_after(script *s, uint64_t seed, uint64_t n, const char *what)
{
    uint32_t count = 0, names = 0;
    bool there[SNAPSHOTS + 1] = {false};
    baton_io_close(s->io);
    baton_sim_crash_at(s->sim, 0, BATON_SIM_KILL);
    baton_sim_fail_at(s->sim, 0, 0);
    baton_sim_advance(s->sim, UINT64_C(100000000)); /* what the dead had in flight has landed */
    s->io = io_of(s->sim);
    baton_snapshot_listed *found = list(s->io, &count);
    for (uint32_t i = 0; i < count; i++) {
        baton_error error = {0};
        int r = found[i].status;
        if (r == 0)
            r = baton_snapshot_verify_with(s->io, DIRECTORY, &found[i], &error);
        if (r == 0)
            r = restore(s->io, &found[i], ROWS);
        if (r < 0)
            fail_msg("%s %d, seed %d: snapshot %d is there and not whole: %s: %s", what, (int)n,
                     (int)seed, (int)found[i].info.seq, baton_status_name(r), error.why);
        there[found[i].info.seq] = true;
    }
    free(found);
    for (uint32_t seq = 1; seq <= SNAPSHOTS; seq++)
        if (s->published[seq] && !there[seq] && !(s->removed_from && seq == 1))
            fail_msg("%s %d, seed %d: snapshot %d was published and is gone", what, (int)n,
                     (int)seed, (int)seq);
    assert_int_equal(publish(s, SNAPSHOTS, BATON_COMPRESS_RAW, ROWS), 0);
    leave_no_leftovers(s);
    assert_int_equal(baton_sim_list(s->sim, DIRECTORY, count_name, &names), 0);
    assert_true(names == 2 || names == 4); /* one or two snapshots, two files each */
}

static uint64_t count_operations(uint64_t seed)
{
    script s = script_new(seed);
    assert_int_equal(live(&s), 0);
    const uint64_t count = baton_sim_counts_of(s.sim)->operations;
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

static void fail_each(int error, int told)
{
    const uint64_t count = count_operations(1);
    uint32_t failed = 0;
    for (uint64_t n = 1; n <= count; n++) {
        script s = script_new(1);
        baton_sim_fail_at(s.sim, n, error);
        const int r = live(&s);
        failed += r < 0;
        if (r < 0 && s.done < 3)
            assert_int_equal(r, told);
        check_after(&s, 1, n, "failed operation");
        script_free(&s);
    }
    assert_true(failed > count / 2);
}

static void no_failed_operation_leaves_half_a_snapshot(void **state)
{
    (void)state;
    fail_each(EIO, -EIO);
}

static void no_full_disk_leaves_half_a_snapshot(void **state)
{
    (void)state;
    fail_each(ENOSPC, BATON_E_NO_SPACE);
}

static void crash_at_each(baton_sim_crash how, const char *what)
{
    const uint64_t seeds = is_sanitized() ? 2 : 12; /* each draws another state of the disk */
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        const uint64_t count = count_operations(seed);
        for (uint64_t n = 1; n <= count; n++) {
            script s = script_new(seed);
            baton_sim_crash_at(s.sim, n, how);
            assert_true(live(&s) < 0);
            check_after(&s, seed, n, what);
            script_free(&s);
        }
    }
}

static void no_kill_leaves_half_a_snapshot(void **state)
{
    (void)state;
    crash_at_each(BATON_SIM_KILL, "kill at");
}

static void no_power_cut_leaves_half_a_snapshot(void **state)
{
    (void)state;
    crash_at_each(BATON_SIM_POWER_CUT, "power cut at");
}

/* ---- every bit, every length ---- */

#define SMALL_ROWS 12u /* one chunk */

static script small_pair(void)
{
    script s = script_new(1);
    assert_int_equal(publish(&s, 1, BATON_COMPRESS_RAW, SMALL_ROWS), 0);
    assert_int_equal(publish(&s, 2, BATON_COMPRESS_LZ4, SMALL_ROWS), 0);
    return s;
}

/* The one of seq is damaged and said to be, and the other one is whole. */
static void expect_damage(script *s, uint64_t seq, const char *what, uint64_t at)
{
    uint32_t count = 0;
    baton_snapshot_listed *found = list(s->io, &count);
    assert_int_equal(count, 2);
    for (uint32_t i = 0; i < count; i++) {
        const int listed = found[i].status;
        const int r = listed != 0 ? listed : restore(s->io, &found[i], SMALL_ROWS);
        const int wanted = found[i].info.seq == seq ? BATON_E_DAMAGED : 0;
        if (r != wanted)
            fail_msg("%s %d of snapshot %d: snapshot %d is %s", what, (int)at, (int)seq,
                     (int)found[i].info.seq, baton_status_name(r));
    }
    free(found);
}

static uint64_t size_of(const script *s, const char *path)
{
    static uint8_t bytes[FILE_BYTES_MAX];
    const int64_t size = baton_sim_look(s->sim, path, bytes, sizeof(bytes), 0);
    assert_true(size > 0 && size < (int64_t)sizeof(bytes));
    return (uint64_t)size;
}

static void every_flipped_bit_is_said_and_costs_no_other_snapshot(void **state)
{
    static const baton_snapshot_name kinds[] = {BATON_NAME_MANIFEST, BATON_NAME_CHUNKS};
    (void)state;
    script s = small_pair();
    for (uint64_t seq = 1; seq <= 2; seq++) {
        for (uint32_t kind = 0; kind < 2; kind++) {
            char path[BATON_SNAPSHOT_PATH_BYTES];
            assert_int_equal(baton_snapshot_path(path, DIRECTORY, seq, 1, kinds[kind]), 0);
            const uint64_t bits = 8 * size_of(&s, path);
            const uint64_t step = is_sanitized() ? 37 : 1;
            for (uint64_t bit = 0; bit < bits; bit += step) {
                assert_true(baton_sim_flip(s.sim, path, bit));
                expect_damage(&s, seq, "bit", bit);
                assert_true(baton_sim_flip(s.sim, path, bit));
            }
        }
    }
    script_free(&s);
}

static void set_bytes(const script *s, const char *path, uint8_t *bytes, uint64_t count)
{
    baton_io_file file;
    assert_int_equal(baton_io_file_open(s->io, path, BATON_IO_FOR_WRITE, &file), 0);
    baton_io_op op = {.kind = BATON_IO_TRUNCATE, .file = file, .offset = 0};
    assert_int_equal(baton_io_run(s->io, &op), 0);
    if (count > 0)
        assert_int_equal(baton_io_file_write(s->io, file, bytes, count, 0), 0);
    baton_io_file_close(s->io, file);
}

static void every_other_length_is_said(void **state)
{
    static const baton_snapshot_name kinds[] = {BATON_NAME_MANIFEST, BATON_NAME_CHUNKS};
    static uint8_t bytes[FILE_BYTES_MAX];
    (void)state;
    script s = small_pair();
    for (uint64_t seq = 1; seq <= 2; seq++) {
        for (uint32_t kind = 0; kind < 2; kind++) {
            char path[BATON_SNAPSHOT_PATH_BYTES];
            assert_int_equal(baton_snapshot_path(path, DIRECTORY, seq, 1, kinds[kind]), 0);
            const uint64_t size = size_of(&s, path);
            assert_int_equal(baton_sim_look(s.sim, path, bytes, size, 0), (int64_t)size);
            const uint64_t step = is_sanitized() ? 41 : 1;
            for (uint64_t length = 0; length < size + 3 * step; length += step) {
                if (length == size)
                    continue;
                set_bytes(&s, path, bytes, length);
                expect_damage(&s, seq, "length", length);
            }
            set_bytes(&s, path, bytes, size);
        }
    }
    uint32_t count = 0;
    baton_snapshot_listed *found = list(s.io, &count);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(restore(s.io, &found[i], SMALL_ROWS), 0);
    free(found);
    script_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_failed_operation_leaves_half_a_snapshot),
        cmocka_unit_test(no_full_disk_leaves_half_a_snapshot),
        cmocka_unit_test(no_kill_leaves_half_a_snapshot),
        cmocka_unit_test(no_power_cut_leaves_half_a_snapshot),
        cmocka_unit_test(every_flipped_bit_is_said_and_costs_no_other_snapshot),
        cmocka_unit_test(every_other_length_is_said),
    };
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 30);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
    return cmocka_run_group_tests_name("snapshots, everywhere in a short life", tests, NULL, NULL);
}
