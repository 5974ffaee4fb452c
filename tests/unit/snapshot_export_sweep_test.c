/* tests/unit/snapshot_export_sweep_test.c: every bit and every length of an exported snapshot, and a
 * power cut at every operation of export and import, on the simulated machine. */
#include "tests/unit/snapshot_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io_sim.h"
#include "snapshot/export.h"

#define FROM      "/from"
#define INTO      "/into"
#define FILE_NAME "/file"

typedef struct {
    baton_sim *sim;
    baton_io *io;
} machine;

static void start(machine *m)
{
    const baton_io_options options = {.custom = baton_sim_backend(),
                                      .custom_context = baton_sim_start(m->sim),
                                      .clock = baton_sim_clock(m->sim)};
    assert_int_equal(baton_io_open(&options, &m->io, NULL), 0);
}

/* A snapshot in FROM, durable. */
static machine make(uint64_t seed, uint32_t rows, baton_snapshot_listed *ret_listed)
{
    const fixture_wish wish = {5, 1, BATON_COMPRESS_RAW, 4096, rows, 0};
    machine m = {.sim = baton_sim_new(seed)};
    start(&m);
    fixture_publish(m.io, FROM, &wish);
    *ret_listed = fixture_listed(m.io, FROM, 5);
    assert_int_equal(baton_io_directory_sync(m.io, "/"), 0);
    return m;
}

static void end(machine *m)
{
    baton_io_close(m->io);
    baton_sim_free(m->sim);
}

static void export_it(const machine *m, const baton_snapshot_listed *listed,
                      baton_compress compress)
{
    const baton_snapshot_transfer transfer = {.compress = compress};
    uint64_t bytes;
    assert_int_equal(
        baton_snapshot_export_with(m->io, FROM, listed, FILE_NAME, &transfer, &bytes, NULL), 0);
}

static uint8_t *read_all(const machine *m, uint64_t *ret_bytes)
{
    baton_io_file file;
    assert_int_equal(baton_io_file_open(m->io, FILE_NAME, BATON_IO_FOR_READ, &file), 0);
    assert_int_equal(baton_io_file_size(m->io, file, ret_bytes), 0);
    uint8_t *all = malloc(*ret_bytes + 1);
    assert_non_null(all);
    assert_int_equal(baton_io_file_read(m->io, file, all, *ret_bytes, 0), *ret_bytes);
    baton_io_file_close(m->io, file);
    return all;
}

static void write_all(const machine *m, const uint8_t *all, uint64_t bytes)
{
    baton_io_file file;
    assert_int_equal(baton_io_unlink(m->io, FILE_NAME), 0);
    assert_int_equal(
        baton_io_file_open(m->io, FILE_NAME, BATON_IO_FOR_WRITE | BATON_IO_CREATE, &file), 0);
    if (bytes > 0)
        assert_int_equal(baton_io_file_write(m->io, file, all, bytes, 0), 0);
    baton_io_file_close(m->io, file);
}

static int count_one(void *context, const char *name)
{
    (void)name;
    ++*(uint32_t *)context;
    return 0;
}

static uint32_t files_in(const machine *m, const char *directory)
{
    uint32_t count = 0;
    int r = baton_io_directory_list(m->io, directory, count_one, &count);
    assert_true(r == 0 || r == -ENOENT);
    return count;
}

/* ---- accidents of the file ---- */

static void assert_refused(const machine *m, uint64_t bytes, const char *what, uint64_t at)
{
    baton_error error = {.offset = UINT64_MAX};
    baton_snapshot_info info;
    const int r = baton_snapshot_import_with(m->io, FILE_NAME, INTO, NULL, &info, &error);
    if (r != BATON_E_DAMAGED || error.offset > bytes || strcmp(error.path, FILE_NAME) != 0 ||
        error.why[0] == '\0')
        fail_msg("%s %llu: %s, %s, offset %llu", what, (unsigned long long)at, baton_status_name(r),
                 error.path, (unsigned long long)error.offset);
    if (files_in(m, INTO) != 0)
        fail_msg("%s %llu: something stayed behind", what, (unsigned long long)at);
}

static void every_bit_counts(void **state)
{
    (void)state;
    baton_snapshot_listed listed;
    for (int lz4 = 0; lz4 < 2; lz4++) {
        uint64_t bytes;
        machine m = make(1, 2, &listed);
        export_it(&m, &listed, lz4 ? BATON_COMPRESS_LZ4 : BATON_COMPRESS_RAW);
        uint8_t *all = read_all(&m, &bytes);
        for (uint64_t bit = 0; bit < 8 * bytes; bit++) {
            all[bit / 8] ^= (uint8_t)(1u << bit % 8);
            write_all(&m, all, bytes);
            assert_refused(&m, bytes, "bit", bit);
            all[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        free(all);
        end(&m);
    }
}

static void every_length_but_the_right_one_is_refused(void **state)
{
    (void)state;
    baton_snapshot_listed listed;
    baton_snapshot_info info;
    uint64_t bytes;
    machine m = make(1, 60, &listed);
    export_it(&m, &listed, BATON_COMPRESS_LZ4);
    uint8_t *all = read_all(&m, &bytes); /* and room for one more */
    for (uint64_t length = 0; length < bytes; length++) {
        write_all(&m, all, length);
        assert_refused(&m, length, "length", length);
    }
    all[bytes] = 0;
    write_all(&m, all, bytes + 1);
    assert_refused(&m, bytes + 1, "length", bytes + 1);
    write_all(&m, all, bytes);
    assert_int_equal(baton_snapshot_import_with(m.io, FILE_NAME, INTO, NULL, &info, NULL), 0);
    assert_int_equal(fixture_whole(m.io, INTO), 1);
    free(all);
    end(&m);
}

/* ---- accidents of the machine ---- */

typedef enum { EXPORT, IMPORT } direction;

/* The power goes at operation n. False: it was all done before. */
static bool cut_at(direction which, uint64_t seed, uint64_t n)
{
    baton_snapshot_listed listed;
    baton_snapshot_info info;
    uint64_t bytes;
    machine m = make(seed, 90, &listed);
    if (which == IMPORT) {
        export_it(&m, &listed, BATON_COMPRESS_LZ4);
        assert_int_equal(baton_io_directory_sync(m.io, "/"), 0);
    }
    const uint64_t before = baton_sim_counts_of(m.sim)->operations;
    baton_sim_crash_at(m.sim, before + n, BATON_SIM_POWER_CUT);
    const int r =
        which == EXPORT
            ? baton_snapshot_export_with(m.io, FROM, &listed, FILE_NAME, NULL, &bytes, NULL)
            : baton_snapshot_import_with(m.io, FILE_NAME, INTO, NULL, &info, NULL);
    const bool reached = baton_sim_counts_of(m.sim)->power_cuts > 0;
    baton_sim_crash_at(m.sim, 0, BATON_SIM_POWER_CUT);
    if (!reached) /* what was answered must hold, whenever the power goes */
        baton_sim_power_cut(m.sim);
    assert_true(r == 0 || reached);
    baton_io_close(m.io);
    start(&m);

    assert_int_equal(fixture_whole(m.io, FROM), 1);
    if (which == EXPORT) {
        baton_io_file file;
        const int there = baton_io_file_open(m.io, FILE_NAME, BATON_IO_FOR_READ, &file);
        assert_true(there == 0 || (there == -ENOENT && r < 0));
        if (there == 0) {
            baton_io_file_close(m.io, file);
            assert_int_equal(baton_snapshot_import_with(m.io, FILE_NAME, INTO, NULL, &info, NULL),
                             0);
            assert_int_equal(fixture_whole(m.io, INTO), 1);
        }
    } else {
        uint32_t removed;
        const uint32_t whole = fixture_whole(m.io, INTO);
        assert_true(whole == 1 || r < 0);
        assert_int_equal(baton_snapshot_prune_with(m.io, INTO, 2, &removed, NULL), 0);
        assert_int_equal(files_in(&m, INTO), 2 * whole);
    }
    end(&m);
    return reached;
}

/* ---- an import that is killed, and the next one ---- */

typedef struct {
    uint64_t kept;
    uint64_t all;
} seen_kept;

static void note_kept(void *context, uint64_t kept_bytes, uint64_t all_bytes)
{
    *(seen_kept *)context = (seen_kept){kept_bytes, all_bytes};
}

/* Killed, or without power, at operation n; then the same again. False: it was done before. */
static bool again_after(baton_sim_crash end_of, uint64_t seed, uint64_t n, seen_kept *seen)
{
    baton_snapshot_listed listed;
    baton_snapshot_info info;
    const baton_snapshot_transfer transfer = {.resumed = note_kept, .context = seen};
    machine m = make(seed, 400, &listed);
    export_it(&m, &listed, BATON_COMPRESS_LZ4);
    assert_int_equal(baton_io_directory_sync(m.io, "/"), 0);
    baton_sim_crash_at(m.sim, baton_sim_counts_of(m.sim)->operations + n, end_of);
    const int first = baton_snapshot_import_with(m.io, FILE_NAME, INTO, NULL, &info, NULL);
    baton_sim_crash_at(m.sim, 0, end_of);
    baton_io_close(m.io);
    start(&m);
    *seen = (seen_kept){0};
    const int r = baton_snapshot_import_with(m.io, FILE_NAME, INTO, &transfer, &info, NULL);
    assert_true(r == 0 || r == -EEXIST);
    assert_int_equal(fixture_whole(m.io, INTO), 1);
    end(&m);
    return first < 0;
}

static void a_killed_import_is_gone_on_with(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        seen_kept seen;
        uint64_t most = 0, all = 0, parts = 0;
        for (uint64_t n = 1; again_after(BATON_SIM_KILL, seed, n, &seen); n++) {
            most = seen.kept > most ? seen.kept : most;
            all = seen.all > all ? seen.all : all;
            parts += seen.kept > 0 && seen.kept < seen.all;
        }
        assert_true(parts > 0);
        assert_int_equal(most, all); /* killed when all was copied, nothing is copied again */
        for (uint64_t n = 1; again_after(BATON_SIM_POWER_CUT, seed, n, &seen); n++)
            assert_true(seen.kept <= all); /* and with holes in it, what is good before the first */
    }
}

/* What another file of that name left is no beginning of this one. */
static void what_does_not_fit_is_written_anew(void **state)
{
    (void)state;
    baton_snapshot_listed listed;
    baton_snapshot_info info;
    static const char *const partial = INTO "/0000000000000005-0000000000000001.import.partial";
    for (uint64_t bytes = 4096; bytes <= 1 << 20; bytes *= 16) {
        seen_kept seen = {0};
        const baton_snapshot_transfer transfer = {.resumed = note_kept, .context = &seen};
        machine m = make(7, 90, &listed);
        uint8_t *junk = calloc(1, bytes);
        baton_io_file file;
        assert_non_null(junk);
        export_it(&m, &listed, BATON_COMPRESS_RAW);
        assert_int_equal(baton_io_directory_make(m.io, INTO), 0);
        assert_int_equal(
            baton_io_file_open(m.io, partial, BATON_IO_FOR_WRITE | BATON_IO_CREATE, &file), 0);
        assert_int_equal(baton_io_file_write(m.io, file, junk, bytes, 0), 0);
        baton_io_file_close(m.io, file);
        assert_int_equal(baton_snapshot_import_with(m.io, FILE_NAME, INTO, &transfer, &info, NULL),
                         0);
        assert_int_equal(seen.kept, 0);
        assert_int_equal(fixture_whole(m.io, INTO), 1);
        assert_int_equal(files_in(&m, INTO), 2);
        free(junk);
        end(&m);
    }
}

static void sweep(direction which)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        uint64_t n = 1;
        while (cut_at(which, seed, n))
            n++;
        assert_in_range(n, 12, 200); /* it was swept */
    }
}

static void a_power_cut_leaves_a_whole_export_or_none(void **state)
{
    (void)state;
    sweep(EXPORT);
}

static void a_power_cut_leaves_a_whole_import_or_none(void **state)
{
    (void)state;
    sweep(IMPORT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bit_counts),
        cmocka_unit_test(every_length_but_the_right_one_is_refused),
        cmocka_unit_test(a_power_cut_leaves_a_whole_export_or_none),
        cmocka_unit_test(a_power_cut_leaves_a_whole_import_or_none),
        cmocka_unit_test(a_killed_import_is_gone_on_with),
        cmocka_unit_test(what_does_not_fit_is_written_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
