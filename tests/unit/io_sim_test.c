/* The simulated machine does to its disk what a real one may do, and no more. Where chance decides,
 * a test tries many seeds: what must never happen never does, what may happen does at least once. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/io_sim.h"

#define SEEDS 200
#define UNIT  BATON_IO_UNIT
#define RW    (BATON_IO_FOR_READ | BATON_IO_FOR_WRITE)

typedef struct {
    baton_sim *sim;
    baton_sim_process *process;
    baton_io *io;
    char *buffer; /* 16 units, aligned */
} machine;

static void start_on(machine *m, const char *name)
{
    m->process = baton_sim_start_on(m->sim, name);
    const baton_io_options options = {.custom = baton_sim_backend(),
                                      .custom_context = m->process,
                                      .clock = baton_sim_clock(m->sim)};
    assert_int_equal(baton_io_open(&options, &m->io, NULL), 0);
}

static void start(machine *m)
{
    start_on(m, NULL);
}

static machine machine_new(uint64_t seed)
{
    machine m = {.sim = baton_sim_new(seed), .buffer = aligned_alloc(UNIT, 16 * UNIT)};
    assert_non_null(m.buffer);
    start(&m);
    return m;
}

static void machine_free(machine *m)
{
    baton_io_close(m->io);
    baton_sim_free(m->sim);
    free(m->buffer);
}

static baton_io_file open_file(machine *m, const char *path, uint32_t flags)
{
    baton_io_file file = BATON_IO_NO_FILE;
    assert_int_equal(baton_io_file_open(m->io, path, flags, &file), 0);
    return file;
}

static int64_t put(machine *m, baton_io_file file, baton_io_kind kind, char letter, uint64_t units,
                   uint64_t at)
{
    memset(m->buffer, letter, units * UNIT);
    baton_io_op op = {.kind = kind,
                      .file = file,
                      .buffer = m->buffer,
                      .bytes = units * UNIT,
                      .offset = at * UNIT};
    return baton_io_run(m->io, &op);
}

static baton_io_file new_file(machine *m, const char *path, uint64_t units)
{
    baton_io_file file = open_file(m, path, RW | BATON_IO_CREATE | BATON_IO_DIRECT);
    assert_int_equal(put(m, file, BATON_IO_WRITE, 'o', units, 0), (int64_t)(units * UNIT));
    assert_int_equal(baton_io_file_sync(m->io, file), 0);
    assert_int_equal(baton_io_directory_sync(m->io, "/"), 0);
    return file;
}

static void crash_and_start(machine *m, baton_sim_crash how)
{
    if (how == BATON_SIM_KILL)
        baton_sim_kill(m->process);
    else
        baton_sim_power_cut(m->sim);
    baton_io_close(m->io);
    start(m);
}

/* How many sectors of the file hold this letter only. Every sector holds one letter only. */
static uint64_t sectors_of(machine *m, const char *path, char letter)
{
    int64_t got = baton_sim_look(m->sim, path, m->buffer, 16 * UNIT, 0);
    uint64_t count = 0;
    for (int64_t at = 0; at + 512 <= got; at += 512) {
        assert_memory_equal(m->buffer + at, m->buffer + at + 1, 511);
        count += m->buffer[at] == letter;
    }
    return count;
}

static bool is_there(machine *m, const char *path)
{
    return baton_sim_look(m->sim, path, m->buffer, 0, 0) == 0;
}

/* ---- power cuts ---- */

static void a_power_cut_keeps_what_was_flushed_and_draws_the_rest(void **state)
{
    (void)state;
    uint32_t none = 0, all = 0, torn = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        machine m = machine_new(seed);
        baton_io_file file = new_file(&m, "/f", 8);
        assert_int_equal(put(&m, file, BATON_IO_WRITE_DURABLE, 'd', 2, 0), 2 * UNIT);
        assert_int_equal(put(&m, file, BATON_IO_WRITE, 'v', 4, 4), 4 * UNIT);
        crash_and_start(&m, BATON_SIM_POWER_CUT);
        assert_int_equal(sectors_of(&m, "/f", 'd'), 16);
        const uint64_t there = sectors_of(&m, "/f", 'v');
        assert_int_equal(there + sectors_of(&m, "/f", 'o'), 48);
        none += there == 0;
        all += there == 32;
        torn += there > 0 && there < 32;
        machine_free(&m);
    }
    assert_true(none > 10 && all > 10 && torn > 10);
}

static void a_flush_covers_what_had_landed_when_it_began(void **state)
{
    (void)state;
    uint32_t lost = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        machine m = machine_new(seed);
        baton_io_file file = new_file(&m, "/f", 8);
        assert_int_equal(put(&m, file, BATON_IO_WRITE, 'a', 1, 0), UNIT);
        memset(m.buffer, 'b', UNIT);
        baton_io_op write = {.kind = BATON_IO_WRITE,
                             .file = file,
                             .buffer = m.buffer,
                             .bytes = UNIT,
                             .offset = UNIT};
        baton_io_op sync = {.kind = BATON_IO_SYNC_DATA, .file = file};
        assert_int_equal(baton_io_submit(m.io, &write), 0);
        assert_int_equal(baton_io_submit(m.io, &sync), 0);
        for (int done = 0; done < 2;) {
            assert_int_equal(baton_io_wait(m.io, UINT64_MAX), 0);
            while (baton_io_reap(m.io) != NULL)
                done++;
        }
        crash_and_start(&m, BATON_SIM_POWER_CUT);
        assert_int_equal(sectors_of(&m, "/f", 'a'), 8);
        lost += sectors_of(&m, "/f", 'b') < 8;
        machine_free(&m);
    }
    assert_true(lost > 10);
}

static void a_name_is_stable_once_its_directory_was_synced(void **state)
{
    (void)state;
    uint32_t lost = 0, kept = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        machine m = machine_new(seed);
        (void)new_file(&m, "/synced", 1);
        baton_io_file file = open_file(&m, "/young", RW | BATON_IO_CREATE);
        assert_int_equal(put(&m, file, BATON_IO_WRITE_DURABLE, 'd', 1, 0), UNIT);
        assert_int_equal(baton_io_file_sync(m.io, file), 0); /* the file, not its name */
        crash_and_start(&m, BATON_SIM_POWER_CUT);
        assert_true(is_there(&m, "/synced"));
        if (is_there(&m, "/young")) {
            assert_int_equal(sectors_of(&m, "/young", 'd'), 8);
            kept++;
        } else {
            lost++;
        }
        machine_free(&m);
    }
    assert_true(lost > 10 && kept > 10);
}

static void a_rename_is_there_as_a_whole_or_not_at_all(void **state)
{
    (void)state;
    uint32_t moved = 0, stayed = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        machine m = machine_new(seed);
        assert_int_equal(baton_io_directory_make(m.io, "/d"), 0);
        (void)new_file(&m, "/to", 1);
        baton_io_file file = open_file(&m, "/d/from", RW | BATON_IO_CREATE);
        assert_int_equal(put(&m, file, BATON_IO_WRITE_DURABLE, 'n', 1, 0), UNIT);
        assert_int_equal(baton_io_directory_sync(m.io, "/d"), 0);
        assert_int_equal(baton_io_rename(m.io, "/d/from", "/to"), 0);
        const bool synced = seed % 2 == 0;
        if (synced)
            assert_int_equal(baton_io_directory_sync(m.io, "/"), 0);
        crash_and_start(&m, BATON_SIM_POWER_CUT);
        const bool is_new = sectors_of(&m, "/to", 'n') == 8;
        assert_true(is_new || sectors_of(&m, "/to", 'o') == 8);
        assert_true(is_new || !synced);
        assert_int_equal(is_there(&m, "/d/from"), !is_new);
        moved += is_new && !synced;
        stayed += !is_new;
        machine_free(&m);
    }
    assert_true(moved > 5 && stayed > 5);
}

static void allocated_bytes_are_zeros_and_a_size_needs_a_flush(void **state)
{
    (void)state;
    uint32_t small = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        machine m = machine_new(seed);
        baton_io_file file = new_file(&m, "/f", 1);
        baton_io_op allocate = {.kind = BATON_IO_ALLOCATE, .file = file, .bytes = 8 * UNIT};
        assert_int_equal(baton_io_run(m.io, &allocate), 0);
        assert_int_equal(sectors_of(&m, "/f", 0), 56);
        if (seed % 2 == 0)
            assert_int_equal(baton_io_file_sync(m.io, file), 0);
        crash_and_start(&m, BATON_SIM_POWER_CUT);
        const uint64_t zeros = sectors_of(&m, "/f", 0);
        assert_true(zeros == 56 || (zeros == 0 && seed % 2 == 1));
        small += zeros == 0;
        machine_free(&m);
    }
    assert_true(small > 10);
}

/* ---- kills ---- */

static void what_a_killed_process_had_in_flight_may_land_after_the_next_open(void **state)
{
    (void)state;
    uint32_t at_once = 0, later = 0, never = 0, halves = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        machine m = machine_new(seed);
        baton_io_file file = new_file(&m, "/f", 4);
        memset(m.buffer, 'g', 4 * UNIT);
        baton_io_op write = {
            .kind = BATON_IO_WRITE_DURABLE, .file = file, .buffer = m.buffer, .bytes = 4 * UNIT};
        assert_int_equal(baton_io_submit(m.io, &write), 0);
        assert_int_equal(baton_io_enter(m.io), 0);
        crash_and_start(&m, BATON_SIM_KILL);
        baton_sim_advance(m.sim, 0);
        const uint64_t before = sectors_of(&m, "/f", 'g');
        baton_sim_advance(m.sim, 1000000);
        const uint64_t soon = sectors_of(&m, "/f", 'g');
        baton_sim_advance(m.sim, 100000000);
        const uint64_t after = sectors_of(&m, "/f", 'g');
        assert_true(after == 0 || after == 32);
        assert_true(before <= soon && soon <= after);
        at_once += before == 32;
        later += before == 0 && after == 32;
        halves += soon > 0 && soon < 32;
        never += after == 0;
        machine_free(&m);
    }
    assert_true(at_once > 5 && later > 50 && never > 5 && halves > 5);
}

static void what_was_submitted_and_not_entered_dies_with_its_process(void **state)
{
    (void)state;
    machine m = machine_new(1);
    baton_io_file file = new_file(&m, "/f", 1);
    memset(m.buffer, 'q', UNIT);
    baton_io_op write = {.kind = BATON_IO_WRITE, .file = file, .buffer = m.buffer, .bytes = UNIT};
    assert_int_equal(baton_io_submit(m.io, &write), 0);
    baton_sim_kill(m.process);
    assert_ptr_equal(baton_io_reap(m.io), &write);
    assert_int_equal(write.result, -EIO);
    assert_int_equal(put(&m, file, BATON_IO_WRITE, 'z', 1, 0), -EIO);
    assert_int_equal(baton_io_submit(m.io, &write), 0);
    assert_int_equal(baton_io_wait(m.io, UINT64_MAX), 0);
    assert_ptr_equal(baton_io_reap(m.io), &write);
    baton_io_file_close(m.io, file);
    baton_sim_advance(m.sim, 100000000);
    assert_int_equal(sectors_of(&m, "/f", 'o'), 8);
    machine_free(&m);
}

static void a_process_can_die_at_any_operation(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 4; n++) {
        machine m = machine_new(n);
        baton_sim_crash_at(m.sim, n, n % 2 == 0 ? BATON_SIM_KILL : BATON_SIM_POWER_CUT);
        baton_io_file file = BATON_IO_NO_FILE;
        int64_t r[4] = {0};
        r[0] = baton_io_file_open(m.io, "/f", RW | BATON_IO_CREATE, &file);
        r[1] = put(&m, file, BATON_IO_WRITE, 'a', 1, 0);
        r[2] = baton_io_file_sync(m.io, file);
        r[3] = baton_io_unlink(m.io, "/f");
        for (uint64_t i = 0; i < 4; i++)
            assert_int_equal(r[i] == -EIO, i + 1 >= n);
        assert_true(baton_sim_is_dead(m.process));
        assert_int_equal(baton_sim_counts_of(m.sim)->operations, n);
        machine_free(&m);
    }
}

static void a_lock_keeps_others_out_until_its_process_is_gone(void **state)
{
    (void)state;
    uint32_t late = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        machine m = machine_new(seed);
        baton_sim_faults_of(m.sim)->late_lock = 500000;
        baton_io_file mine = open_file(&m, "/LOCK", RW | BATON_IO_CREATE);
        assert_int_equal(baton_io_file_lock(m.io, mine), 0);
        assert_int_equal(baton_io_file_hold(m.io, mine), 0);
        machine other = {.sim = m.sim};
        start(&other);
        baton_io_file theirs = open_file(&other, "/LOCK", RW);
        assert_int_equal(baton_io_file_lock(other.io, theirs), BATON_E_LOCKED);
        assert_int_equal(baton_io_file_is_locked(other.io, theirs), 1);
        assert_int_equal(baton_io_file_is_locked(m.io, mine), 0);
        baton_sim_kill(m.process);
        late += baton_io_file_is_locked(other.io, theirs) == 1;
        baton_sim_advance(m.sim, 75000000);
        assert_int_equal(baton_io_file_lock(other.io, theirs), 0);
        baton_io_close(other.io);
        machine_free(&m);
    }
    assert_true(late > 10 && late < SEEDS - 10);
}

static void stores_of_the_dead_reach_nobody(void **state)
{
    (void)state;
    machine m = machine_new(1);
    machine other = {.sim = m.sim};
    start(&other);
    void *mine, *theirs;
    baton_io_file file = open_file(&m, "/HINT", RW | BATON_IO_CREATE);
    assert_int_equal(baton_io_map(m.io, file, UNIT, true, &mine), 0);
    assert_int_equal(baton_io_map(other.io, open_file(&other, "/HINT", RW), UNIT, false, &theirs),
                     0);
    *(volatile char *)mine = 'a';
    assert_int_equal(*(volatile char *)theirs, 'a');
    baton_sim_kill(m.process);
    *(volatile char *)mine = 'b';
    assert_int_equal(*(volatile char *)theirs, 'a');
    baton_io_unmap(m.io, mine, UNIT);
    baton_io_unmap(other.io, theirs, UNIT);
    baton_io_close(other.io);
    machine_free(&m);
}

/* ---- accidents ---- */

static void an_operation_can_be_told_to_fail(void **state)
{
    (void)state;
    machine m = machine_new(1);
    baton_io_file file = new_file(&m, "/f", 2);
    const uint64_t n = baton_sim_counts_of(m.sim)->operations;
    baton_sim_fail_at(m.sim, n + 2, EIO);
    assert_int_equal(put(&m, file, BATON_IO_WRITE, 'a', 1, 0), UNIT);
    assert_int_equal(put(&m, file, BATON_IO_WRITE, 'b', 1, 0), -EIO);
    assert_int_equal(put(&m, file, BATON_IO_WRITE, 'c', 1, 0), UNIT);
    assert_int_equal(baton_sim_counts_of(m.sim)->errors, 1);
    machine_free(&m);
}

static void a_full_disk_refuses_until_there_is_room(void **state)
{
    (void)state;
    machine m = machine_new(1);
    baton_io_file file = new_file(&m, "/f", 2);
    baton_sim_set_room(m.sim, 2 * UNIT);
    assert_int_equal(put(&m, file, BATON_IO_WRITE, 'a', 2, 0), 2 * UNIT); /* over what is there */
    baton_io_op allocate = {
        .kind = BATON_IO_ALLOCATE, .file = file, .offset = 2 * UNIT, .bytes = 3 * UNIT};
    assert_int_equal(baton_io_run(m.io, &allocate), -ENOSPC);
    allocate.bytes = 2 * UNIT;
    assert_int_equal(baton_io_run(m.io, &allocate), 0);
    assert_int_equal(put(&m, file, BATON_IO_WRITE, 'b', 2, 2), 2 * UNIT);
    assert_int_equal(put(&m, file, BATON_IO_WRITE, 'c', 1, 4), -ENOSPC);
    baton_io_file other = BATON_IO_NO_FILE;
    assert_int_equal(baton_io_file_open(m.io, "/g", RW | BATON_IO_CREATE, &other), -ENOSPC);
    assert_int_equal(baton_io_unlink(m.io, "/f"), 0); /* still open */
    assert_int_equal(baton_io_file_open(m.io, "/g", RW | BATON_IO_CREATE, &other), -ENOSPC);
    baton_io_file_close(m.io, file);
    other = open_file(&m, "/g", RW | BATON_IO_CREATE);
    assert_int_equal(put(&m, other, BATON_IO_WRITE, 'c', 4, 0), 4 * UNIT);
    machine_free(&m);
}

static void a_failed_flush_may_forget_what_was_buffered(void **state)
{
    (void)state;
    uint32_t forgotten = 0, direct_forgotten = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        machine m = machine_new(seed);
        baton_io_file direct = new_file(&m, "/f", 2);
        baton_io_file buffered = open_file(&m, "/f", RW);
        assert_int_equal(put(&m, direct, BATON_IO_WRITE, 'd', 1, 0), UNIT);
        assert_int_equal(put(&m, buffered, BATON_IO_WRITE, 'b', 1, 1), UNIT);
        baton_sim_fail_at(m.sim, baton_sim_counts_of(m.sim)->operations + 1, EIO);
        assert_int_equal(baton_io_file_sync(m.io, buffered), -EIO);
        assert_int_equal(baton_io_file_sync(m.io, buffered), 0); /* the lie of a retry */
        forgotten += sectors_of(&m, "/f", 'b') == 0;
        direct_forgotten += sectors_of(&m, "/f", 'd') == 0;
        machine_free(&m);
    }
    assert_true(forgotten > 10 && forgotten < SEEDS - 10);
    assert_int_equal(direct_forgotten, 0);
}

static void a_lying_flush_keeps_nothing(void **state)
{
    (void)state;
    uint32_t lost = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        machine m = machine_new(seed);
        baton_io_file file = new_file(&m, "/f", 2);
        baton_sim_faults_of(m.sim)->lying = 1000000;
        assert_int_equal(put(&m, file, BATON_IO_WRITE_DURABLE, 'd', 1, 0), UNIT);
        assert_int_equal(baton_io_file_sync(m.io, file), 0);
        crash_and_start(&m, BATON_SIM_POWER_CUT);
        lost += sectors_of(&m, "/f", 'd') < 8;
        assert_int_equal(baton_sim_counts_of(m.sim)->lies, 2);
        machine_free(&m);
    }
    assert_true(lost > SEEDS / 4);
}

static void a_misdirected_write_stands_somewhere_else(void **state)
{
    (void)state;
    uint32_t strayed = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        machine m = machine_new(seed);
        baton_io_file file = new_file(&m, "/f", 8);
        (void)new_file(&m, "/g", 8);
        baton_sim_faults_of(m.sim)->misdirected = 1000000;
        assert_int_equal(put(&m, file, BATON_IO_WRITE_DURABLE, 'd', 1, 0), UNIT);
        const uint64_t all = sectors_of(&m, "/f", 'd') + sectors_of(&m, "/g", 'd');
        assert_int_equal(all, 8);
        strayed += sectors_of(&m, "/g", 'd') == 8;
        machine_free(&m);
    }
    assert_true(strayed > 10);
}

static void rot_flips_one_bit_and_a_spoiled_unit_is_an_error_until_it_is_written(void **state)
{
    (void)state;
    machine m = machine_new(3);
    baton_io_file file = new_file(&m, "/f.seg", 1);
    assert_false(baton_sim_rot(m.sim, ".other"));
    assert_true(baton_sim_rot(m.sim, ".seg"));
    assert_int_equal(baton_sim_look(m.sim, "/f.seg", m.buffer, UNIT, 0), UNIT);
    uint32_t bits = 0;
    for (uint32_t i = 0; i < UNIT; i++)
        bits += (uint32_t)__builtin_popcount((unsigned)(m.buffer[i] ^ 'o') & 0xff);
    assert_int_equal(bits, 1);
    assert_true(baton_sim_spoil(m.sim, ".seg"));
    assert_int_equal(baton_io_file_read(m.io, file, m.buffer, UNIT, 0), -EIO);
    assert_int_equal(put(&m, file, BATON_IO_WRITE, 'n', 1, 0), UNIT);
    assert_int_equal(baton_io_file_read(m.io, file, m.buffer, UNIT, 0), UNIT);
    machine_free(&m);
}

static void parts_and_interrupts_of_the_kernel_are_hidden(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        machine m = machine_new(seed);
        baton_io_file file = new_file(&m, "/f", 8);
        baton_sim_faults_of(m.sim)->split = 700000;
        assert_int_equal(put(&m, file, BATON_IO_WRITE, 's', 8, 0), 8 * UNIT);
        assert_int_equal(sectors_of(&m, "/f", 's'), 64);
        assert_int_equal(baton_io_file_read(m.io, file, m.buffer, 8 * UNIT, 0), 8 * UNIT);
        machine_free(&m);
    }
}

/* ---- order and trace ---- */

enum { FLIGHTS = 8 };

/* Letters of the order in which eight writes finish; the trace. */
static baton_digest run_eight(uint64_t seed, char order[FLIGHTS + 1])
{
    machine m = machine_new(seed);
    baton_io_file file = new_file(&m, "/f", FLIGHTS);
    baton_io_op ops[FLIGHTS];
    memset(m.buffer, 'w', UNIT);
    for (uint32_t i = 0; i < FLIGHTS; i++) {
        ops[i] = (baton_io_op){.kind = BATON_IO_WRITE_DURABLE,
                               .file = file,
                               .buffer = m.buffer,
                               .bytes = UNIT,
                               .offset = i * UNIT,
                               .tag = i};
        assert_int_equal(baton_io_submit(m.io, &ops[i]), 0);
    }
    for (uint32_t done = 0; done < FLIGHTS;) {
        assert_int_equal(baton_io_wait(m.io, UINT64_MAX), 0);
        for (baton_io_op *op; (op = baton_io_reap(m.io)) != NULL; done++) {
            assert_int_equal(op->result, UNIT);
            order[done] = (char)('a' + op->tag);
        }
    }
    order[FLIGHTS] = '\0';
    baton_sim_power_cut(m.sim);
    const baton_digest trace = baton_sim_trace(m.sim);
    machine_free(&m);
    return trace;
}

static void the_same_seed_gives_the_same_trace_and_another_seed_another(void **state)
{
    (void)state;
    char first[FLIGHTS + 1], again[FLIGHTS + 1], other[FLIGHTS + 1];
    uint32_t reordered = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        const baton_digest trace = run_eight(seed, first);
        assert_true(baton_digest_equal(trace, run_eight(seed, again)));
        assert_string_equal(first, again);
        assert_false(baton_digest_equal(trace, run_eight(seed + 1000, other)));
        reordered += strcmp(first, "abcdefgh") != 0;
    }
    assert_true(reordered > 25);
}

static void a_wait_lets_time_pass_up_to_its_limit(void **state)
{
    (void)state;
    machine m = machine_new(1);
    const baton_clock *clock = baton_sim_clock(m.sim);
    baton_io_file file = new_file(&m, "/f", 1);
    baton_io_op sync = {.kind = BATON_IO_SYNC, .file = file};
    assert_int_equal(baton_io_submit(m.io, &sync), 0);
    const uint64_t begun_ns = baton_clock_monotonic_ns(clock);
    assert_int_equal(baton_io_wait(m.io, 10000), BATON_E_TIMEOUT);
    assert_true(baton_clock_monotonic_ns(clock) - begun_ns >= 10000);
    assert_null(baton_io_reap(m.io));
    assert_int_equal(baton_io_wait(m.io, UINT64_MAX), 0);
    assert_ptr_equal(baton_io_reap(m.io), &sync);
    const uint64_t wall_ns = baton_clock_wall_ns(clock);
    baton_sim_step_wall(m.sim, -5000000000);
    assert_true(baton_clock_wall_ns(clock) < wall_ns);
    machine_free(&m);
}

static void machines_have_their_own_disks_and_power(void **state)
{
    uint32_t lost = 0;
    char there;
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        machine m = machine_new(seed), one = m, other = m;
        start_on(&one, "one");
        start_on(&other, "other");
        put(&one, new_file(&one, "/f", 1), BATON_IO_WRITE, 'x', 1, 0);
        put(&other, new_file(&other, "/f", 1), BATON_IO_WRITE, 'y', 1, 0);
        baton_sim_power_cut_of(one.process);
        assert_true(baton_sim_is_dead(one.process) && !baton_sim_is_dead(other.process));
        assert_true(baton_sim_look(m.sim, "/other/f", &there, 1, 0) == 1 && there == 'y');
        lost += baton_sim_look(m.sim, "/one/f", &there, 1, 0) != 1 || there != 'x';
        baton_io_close(one.io);
        baton_io_close(other.io);
        machine_free(&m);
    }
    assert_in_range(lost, 1, SEEDS - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_cut_keeps_what_was_flushed_and_draws_the_rest),
        cmocka_unit_test(a_flush_covers_what_had_landed_when_it_began),
        cmocka_unit_test(a_name_is_stable_once_its_directory_was_synced),
        cmocka_unit_test(a_rename_is_there_as_a_whole_or_not_at_all),
        cmocka_unit_test(allocated_bytes_are_zeros_and_a_size_needs_a_flush),
        cmocka_unit_test(what_a_killed_process_had_in_flight_may_land_after_the_next_open),
        cmocka_unit_test(what_was_submitted_and_not_entered_dies_with_its_process),
        cmocka_unit_test(a_process_can_die_at_any_operation),
        cmocka_unit_test(a_lock_keeps_others_out_until_its_process_is_gone),
        cmocka_unit_test(stores_of_the_dead_reach_nobody),
        cmocka_unit_test(an_operation_can_be_told_to_fail),
        cmocka_unit_test(a_full_disk_refuses_until_there_is_room),
        cmocka_unit_test(a_failed_flush_may_forget_what_was_buffered),
        cmocka_unit_test(a_lying_flush_keeps_nothing),
        cmocka_unit_test(a_misdirected_write_stands_somewhere_else),
        cmocka_unit_test(rot_flips_one_bit_and_a_spoiled_unit_is_an_error_until_it_is_written),
        cmocka_unit_test(parts_and_interrupts_of_the_kernel_are_hidden),
        cmocka_unit_test(the_same_seed_gives_the_same_trace_and_another_seed_another),
        cmocka_unit_test(machines_have_their_own_disks_and_power),
        cmocka_unit_test(a_wait_lets_time_pass_up_to_its_limit),
    };
    return cmocka_run_group_tests_name("the simulated machine", tests, NULL, NULL);
}
