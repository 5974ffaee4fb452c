/* tests/sim/snapshot_image_sweep_sim.c: a short life of images that add to one another, and every place in
 * it: operation n of taking, publishing, pruning, exporting, importing and loading fails, or is the
 * last one; of a small chain every bit flips and every length is tried. The portable form:
 * snapshot_sweep_sim.c. */
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
#include "snapshot/export.h"
#include "snapshot/image.h"
#include "snapshot/image_load.h"
#include "snapshot/names.h"

#define DIRECTORY      "/d"
#define OTHER          "/e"
#define EXPORT_PATH    "/export"
#define SNAPSHOTS      6u
#define PAGES          6u
#define PAGE_BYTES_MAX 65536u
#define FILE_BYTES_MAX (1u << 20)

typedef struct {
    baton_sim *sim;
    baton_sim_process *process;
    baton_io *io;
    baton_image_source *source;
    uint64_t seq;                  /* of the state in the region */
    bool published[SNAPSHOTS + 1]; /* by seq: publish said so */
    bool pruned;                   /* it began: 1, 2 and 3 may be gone */
    bool exported;                 /* 6 */
    bool imported;
} script;

/* ---- the state: a few pages, of which every entry writes some ---- */

static uint8_t region[PAGES * PAGE_BYTES_MAX] __attribute__((aligned(PAGE_BYTES_MAX)));
static bool written[PAGES]; /* what the tracker is told */

static uint64_t region_bytes(void)
{
    return (uint64_t)PAGES * baton_page_bytes();
}

static void write_page(uint8_t *bytes, uint64_t seq, uint32_t page)
{
    const uint32_t page_bytes = baton_page_bytes();
    for (uint32_t i = 0; i < page_bytes; i++)
        bytes[page * page_bytes + i] = (uint8_t)(seq * 91 + page * 17 + i % 16 * 3);
    written[page] = true;
}

/* The first entry writes all of them. half: 0 before an image begins, 1 while it is taken. */
static void apply(uint8_t *bytes, uint64_t seq, uint32_t half)
{
    for (uint32_t page = 0; page < PAGES; page++)
        if (page % 2 == half && (seq == 1 || (page + seq) % 3 == 0))
            write_page(bytes, seq, page);
}

static bool holds(uint64_t seq)
{
    static uint8_t expected[sizeof(region)];
    memset(expected, 0, region_bytes());
    for (uint64_t i = 1; i <= seq; i++) {
        apply(expected, i, 0);
        apply(expected, i, 1);
    }
    return memcmp(region, expected, region_bytes()) == 0;
}

static int track_open(void *context, void *base, uint64_t bytes, baton_tracker **ret_tracker,
                      baton_error *error)
{
    (void)context;
    (void)bytes;
    (void)error;
    *ret_tracker = base;
    return 0;
}

static int track_arm(baton_tracker *tracker, uint32_t first_page, uint32_t pages_count)
{
    (void)tracker;
    memset(written + first_page, 0, pages_count * sizeof(*written));
    return 0;
}

static int track_peek(const baton_tracker *tracker, uint32_t first_page, uint32_t end_page,
                      baton_page_run *ret_runs, uint32_t runs_max, uint32_t *ret_runs_count,
                      uint32_t *ret_next_page)
{
    (void)tracker;
    (void)runs_max;
    *ret_runs_count = 0;
    for (uint32_t page = first_page; page < end_page; page++)
        if (written[page])
            ret_runs[(*ret_runs_count)++] = (baton_page_run){page, 1};
    *ret_next_page = end_page;
    return 0;
}

static int track_collect(baton_tracker *tracker, uint32_t first_page, uint32_t end_page,
                         baton_page_run *ret_runs, uint32_t runs_max, uint32_t *ret_runs_count,
                         uint32_t *ret_next_page)
{
    (void)track_peek(tracker, first_page, end_page, ret_runs, runs_max, ret_runs_count,
                     ret_next_page);
    return track_arm(tracker, first_page, end_page - first_page);
}

static void track_close(baton_tracker *tracker)
{
    (void)tracker;
}

static const baton_tracker_ops tracker_ops = {track_open, track_arm, track_collect, track_peek,
                                              track_close};

/* ---- one life ---- */

static baton_io_options io_options(const script *s)
{
    return (baton_io_options){.custom = baton_sim_backend(),
                              .custom_context = s->process,
                              .clock = baton_sim_clock(s->sim),
                              .ops_max = 16};
}

static void start(script *s)
{
    const baton_image_source_options options = {.base = region,
                                                .bytes_max = region_bytes(),
                                                .layout = baton_digest_of("layout", 6),
                                                .tracker = &tracker_ops};
    s->process = baton_sim_start(s->sim);
    const baton_io_options io = io_options(s);
    assert_int_equal(baton_io_open(&io, &s->io, NULL), 0);
    assert_int_equal(baton_image_source_open(&options, &s->source, NULL), 0);
}

static void stop(script *s)
{
    baton_image_source_close(s->source);
    baton_io_close(s->io);
}

static int until(script *s, baton_image *image, baton_image_state state)
{
    baton_image_state now;
    (void)s;
    while ((now = baton_image_poll(image, region_bytes())) != state)
        if (now == BATON_IMAGE_FAILED)
            return baton_image_error(image)->status;
    return 0;
}

static int publish(script *s, baton_image *image, baton_snapshot_info *info)
{
    baton_snapshot_publisher *publisher = NULL;
    int r = baton_image_publish_begin(image, s->io, info, &publisher, NULL);
    if (r < 0)
        return r;
    while ((r = baton_snapshot_publish_step(publisher, true, NULL)) == BATON_E_AGAIN)
        if (baton_io_in_flight(s->io) > 0)
            (void)!baton_io_wait(s->io, UINT64_MAX);
    baton_snapshot_publish_end(publisher);
    if (r == 0)
        baton_image_source_published(s->source, info->root);
    return r;
}

/* The entry after the last, and an image of the state then. */
static int take(script *s, bool full, baton_image_choice choice)
{
    const uint64_t seq = ++s->seq;
    const baton_image_options options = {.directory = DIRECTORY,
                                         .seq = seq,
                                         .epoch = 1,
                                         .choice = choice,
                                         .full = full,
                                         .no_thread = true,
                                         .compress = BATON_COMPRESS_LZ4,
                                         .io = io_options(s)};
    baton_snapshot_info info = {
        .service = "sweep", .version = "1", .schema = 1, .seq = seq, .epoch = 1};
    baton_image *image = NULL;
    apply(region, seq, 0);
    int r = baton_image_begin(s->source, &options, region_bytes(), &image, NULL);
    if (r < 0)
        return r;
    r = until(s, image, BATON_IMAGE_READY);
    apply(region, seq, 1);
    if (r == 0)
        r = baton_image_finish(image, region_bytes(), NULL);
    if (r == 0)
        r = until(s, image, BATON_IMAGE_DONE);
    if (r == 0)
        r = publish(s, image, &info);
    const bool increment = !baton_image_result_of(image)->full;
    baton_image_end(image);
    if (r == 0)
        assert_int_equal(increment, choice == BATON_IMAGE_LIVE && !full && seq > 1);
    if (r == 0 && seq <= SNAPSHOTS)
        s->published[seq] = true;
    return r;
}

static int load(const script *s, const char *directory, const baton_snapshot_listed *listed)
{
    const baton_image_load_options options = {.directory = directory,
                                              .base = region,
                                              .bytes_max = region_bytes(),
                                              .layout = baton_digest_of("layout", 6),
                                              .threads = 1,
                                              .io = io_options(s)};
    uint64_t bytes = 0;
    memset(region, 0xee, region_bytes());
    const int r =
        listed->status != 0 ? listed->status : baton_image_load(&options, listed, &bytes, NULL);
    if (r == 0 && (bytes != region_bytes() || !holds(listed->info.seq)))
        fail_msg("image %d loads, and is not the state of its entry", (int)listed->info.seq);
    return r;
}

static int prune(script *s)
{
    uint32_t removed = 0;
    s->pruned = true;
    return baton_snapshot_prune_with(s->io, DIRECTORY, 2, &removed, NULL);
}

/* The newest one out, and into a directory of its own; then it is loaded. */
static int travel(script *s)
{
    baton_snapshot_listed *list = NULL;
    baton_snapshot_info info;
    uint32_t count = 0;
    uint64_t bytes = 0;
    int r = baton_snapshot_list_with(s->io, DIRECTORY, &list, &count, NULL);
    if (r == 0)
        r = list[0].status;
    if (r == 0)
        r = baton_snapshot_export_with(s->io, DIRECTORY, &list[0], EXPORT_PATH, NULL, &bytes, NULL);
    s->exported = r == 0;
    if (r == 0)
        r = baton_snapshot_import_with(s->io, EXPORT_PATH, OTHER, NULL, &info, NULL);
    s->imported = r == 0;
    if (r == 0)
        r = load(s, DIRECTORY, &list[0]);
    free(list);
    return r;
}

/* Two chains; the third full one makes the first chain old. */
static int live(script *s)
{
    int r = take(s, false, BATON_IMAGE_LIVE);
    if (r == 0)
        r = take(s, false, BATON_IMAGE_LIVE);
    if (r == 0)
        r = take(s, false, BATON_IMAGE_LIVE);
    if (r == 0)
        r = take(s, true, BATON_IMAGE_LIVE);
    if (r == 0)
        r = take(s, false, BATON_IMAGE_LIVE);
    if (r == 0)
        r = take(s, false, BATON_IMAGE_STOP);
    if (r == 0)
        r = prune(s);
    return r == 0 ? travel(s) : r;
}

static script script_new(uint64_t seed)
{
    script s = {.sim = baton_sim_new(seed)};
    memset(region, 0, sizeof(region));
    start(&s);
    return s;
}

static void script_free(script *s)
{
    stop(s);
    baton_sim_free(s->sim);
}

/* ---- what is left ---- */

static int count_name(void *context, const char *name)
{
    (void)name;
    ++*(uint32_t *)context;
    return 0;
}

static void check_there(const script *s, const char *directory, bool there[SNAPSHOTS + 3],
                        const char *what, uint64_t n)
{
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    assert_int_equal(baton_snapshot_list_with(s->io, directory, &list, &count, NULL), 0);
    for (uint32_t i = 0; i < count; i++) {
        baton_error error = {0};
        int r = list[i].status;
        if (r == 0)
            r = baton_snapshot_verify_with(s->io, directory, &list[i], &error);
        if (r == 0)
            r = load(s, directory, &list[i]);
        if (r < 0)
            fail_msg("%s %d: image %d is there and not whole: %s: %s", what, (int)n,
                     (int)list[i].info.seq, baton_status_name(r), error.why);
        there[list[i].info.seq] = true;
    }
    free(list);
}

/* On a healthy machine: what is listed is whole with all that it adds to, what was published is
 * listed, and it goes on. */
static void check_after(script *s, uint64_t n, const char *what)
{
    bool there[SNAPSHOTS + 3] = {false};
    bool elsewhere[SNAPSHOTS + 3] = {false};
    uint32_t names = 0, count = 0;
    stop(s);
    baton_sim_crash_at(s->sim, 0, BATON_SIM_KILL);
    baton_sim_fail_at(s->sim, 0, 0);
    baton_sim_advance(s->sim, UINT64_C(100000000)); /* what the dead had in flight has landed */
    start(s);
    check_there(s, DIRECTORY, there, what, n);
    check_there(s, OTHER, elsewhere, what, n);
    for (uint32_t seq = 1; seq <= SNAPSHOTS; seq++)
        if (s->published[seq] && !there[seq] && !(s->pruned && seq <= 3))
            fail_msg("%s %d: image %d was published and is gone", what, (int)n, (int)seq);
    assert_true(elsewhere[SNAPSHOTS] || !s->imported);
    if (s->exported && !s->imported && !elsewhere[SNAPSHOTS]) {
        baton_snapshot_info info;
        assert_int_equal(baton_snapshot_import_with(s->io, EXPORT_PATH, OTHER, NULL, &info, NULL),
                         0);
        check_there(s, OTHER, elsewhere, what, n);
        assert_true(elsewhere[SNAPSHOTS]);
    }
    memset(region, 0, region_bytes());
    for (s->seq = 0; s->seq < SNAPSHOTS; s->seq++) {
        apply(region, s->seq + 1, 0);
        apply(region, s->seq + 1, 1);
    }
    assert_int_equal(take(s, false, BATON_IMAGE_STOP), 0);
    assert_int_equal(take(s, false, BATON_IMAGE_LIVE), 0);
    assert_int_equal(prune(s), 0);
    memset(there, 0, sizeof(there));
    check_there(s, DIRECTORY, there, what, n);
    assert_true(there[SNAPSHOTS + 1] && there[SNAPSHOTS + 2]);
    for (uint32_t seq = 1; seq <= SNAPSHOTS + 2; seq++)
        count += there[seq];
    assert_int_equal(baton_sim_list(s->sim, DIRECTORY, count_name, &names), 0);
    assert_int_equal(names, 2 * count); /* no leftovers */
}

static uint64_t count_operations(uint64_t seed)
{
    script s = script_new(seed);
    assert_int_equal(live(&s), 0);
    const uint64_t count = baton_sim_counts_of(s.sim)->operations;
    check_after(&s, 0, "nothing at");
    script_free(&s);
    return count;
}

static bool is_sanitized(void)
{
    const char *sanitizer = getenv("BATON_SANITIZE");
    return sanitizer != NULL && sanitizer[0] != '\0';
}

/* ---- the sweeps ---- */

static void fail_each(int error)
{
    const uint64_t count = count_operations(1);
    uint32_t failed = 0;
    for (uint64_t n = 1; n <= count; n++) {
        script s = script_new(1);
        baton_sim_fail_at(s.sim, n, error);
        failed += live(&s) < 0;
        check_after(&s, n, "failed operation");
        script_free(&s);
    }
    assert_true(failed > count / 2);
}

static void no_failed_operation_leaves_half_an_image(void **state)
{
    (void)state;
    fail_each(EIO);
}

static void no_full_disk_leaves_half_an_image(void **state)
{
    (void)state;
    fail_each(ENOSPC);
}

static void crash_at_each(baton_sim_crash how, const char *what)
{
    const uint64_t seeds = is_sanitized() ? 1 : 2; /* each draws another state of the disk */
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        const uint64_t count = count_operations(seed);
        for (uint64_t n = 1; n <= count; n++) {
            script s = script_new(seed);
            baton_sim_crash_at(s.sim, n, how);
            assert_true(live(&s) < 0);
            check_after(&s, n, what);
            script_free(&s);
        }
    }
}

static void no_kill_leaves_half_an_image(void **state)
{
    (void)state;
    crash_at_each(BATON_SIM_KILL, "kill at");
}

static void no_power_cut_leaves_half_an_image(void **state)
{
    (void)state;
    crash_at_each(BATON_SIM_POWER_CUT, "power cut at");
}

/* ---- every bit, every length ---- */

/* A full one, one that adds to it, and another full one, which nothing of them may cost. */
static script small_chain(void)
{
    script s = script_new(1);
    assert_int_equal(take(&s, false, BATON_IMAGE_LIVE), 0);
    assert_int_equal(take(&s, false, BATON_IMAGE_LIVE), 0);
    assert_int_equal(take(&s, true, BATON_IMAGE_LIVE), 0);
    return s;
}

/* Of image `hit` something is wrong: it and what adds to it is damaged, and nothing else is. all: load
 * them, the others too; else it is only verified, which is quicker. What adds to it may have written
 * all of a damaged chunk's pages anew: then it does not read that chunk, and is what it was. */
static void expect_damage(script *s, uint64_t hit, bool all, const char *what, uint64_t at)
{
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    assert_int_equal(baton_snapshot_list_with(s->io, DIRECTORY, &list, &count, NULL), 0);
    assert_int_equal(count, 3);
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t seq = list[i].info.seq;
        const bool adds = hit == 1 && seq == 2;
        const bool damaged = seq == hit || adds;
        if (!all && seq != hit)
            continue;
        int r = list[i].status;
        if (r == 0)
            r = all ? load(s, DIRECTORY, &list[i])
                    : baton_snapshot_verify_with(s->io, DIRECTORY, &list[i], NULL);
        const bool unread = adds && r == 0; /* load() compared every byte of it */
        if (r != (damaged ? BATON_E_DAMAGED : 0) && !unread)
            fail_msg("%s %d of image %d: image %d is %s", what, (int)at, (int)hit, (int)seq,
                     baton_status_name(r));
    }
    free(list);
}

static const baton_snapshot_name kinds[] = {BATON_NAME_MANIFEST, BATON_NAME_CHUNKS};

static uint64_t file_of(const script *s, uint64_t seq, baton_snapshot_name kind, char *path,
                        uint8_t *bytes)
{
    assert_int_equal(baton_snapshot_path(path, DIRECTORY, seq, 1, kind), 0);
    const int64_t size = baton_sim_look(s->sim, path, bytes, FILE_BYTES_MAX, 0);
    assert_true(size > 0 && size < (int64_t)FILE_BYTES_MAX);
    return (uint64_t)size;
}

static void every_flipped_bit_is_said(void **state)
{
    static uint8_t bytes[FILE_BYTES_MAX];
    char path[BATON_SNAPSHOT_PATH_BYTES];
    (void)state;
    script s = small_chain();
    for (uint64_t seq = 1; seq <= 2; seq++) {
        for (uint32_t kind = 0; kind < 2; kind++) {
            const uint64_t bits = 8 * file_of(&s, seq, kinds[kind], path, bytes);
            const uint64_t step = is_sanitized() ? 37 : 1;
            for (uint64_t bit = 0; bit < bits; bit += step) {
                assert_true(baton_sim_flip(s.sim, path, bit));
                expect_damage(&s, seq, bit % 16 == 0, "bit", bit);
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
    static uint8_t bytes[FILE_BYTES_MAX];
    char path[BATON_SNAPSHOT_PATH_BYTES];
    (void)state;
    script s = small_chain();
    for (uint64_t seq = 1; seq <= 2; seq++) {
        for (uint32_t kind = 0; kind < 2; kind++) {
            const uint64_t size = file_of(&s, seq, kinds[kind], path, bytes);
            const uint64_t step = is_sanitized() ? 41 : 1;
            for (uint64_t length = 0; length < size + 3 * step; length += step) {
                if (length == size)
                    continue;
                set_bytes(&s, path, bytes, length);
                expect_damage(&s, seq, length % 16 == 0, "length", length);
            }
            set_bytes(&s, path, bytes, size);
        }
    }
    expect_damage(&s, 0, true, "nothing at", 0);
    script_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_failed_operation_leaves_half_an_image),
        cmocka_unit_test(no_full_disk_leaves_half_an_image),
        cmocka_unit_test(no_kill_leaves_half_an_image),
        cmocka_unit_test(no_power_cut_leaves_half_an_image),
        cmocka_unit_test(every_flipped_bit_is_said),
        cmocka_unit_test(every_other_length_is_said),
    };
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 30);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
    return cmocka_run_group_tests_name("images, everywhere in a short life", tests, NULL, NULL);
}
