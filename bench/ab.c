/* bench/ab.c: the choices behind the journal's writes, one against the other on the raw device, in
 * alternating blocks: DSYNC or write and flush, written before or growing or only allocated, how
 * many in flight, registered or not, spinning or waiting, pinned or not. No Baton code. */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdlib.h>

#include "bench/common.h"

enum { VARIANTS_MAX = 4, FILE_MIB = 128 };

typedef struct {
    const char *name;
    uint32_t write_bytes;
    uint32_t depth;
    raw_file file;
    bool flush_after;
    bool unregistered;
    bool spins;
    bool pinned;
    bool threads;
    bool written_over; /* the file holds old data, as a recycled segment does */
} ab_variant;

typedef struct {
    const char *question;
    ab_variant variants[VARIANTS_MAX]; /* the first one is the journal's choice */
} ab_question;

static const ab_question questions[] = {
    {"one write and its flush, or the write and a flush behind it (4 KiB, one in flight)",
     {{.name = "RWF_DSYNC"}, {.name = "write, linked fdatasync", .flush_after = true}}},
    {"what the write falls into (4 KiB, one in flight)",
     {{.name = "zeros, at final size"},
      {.name = "old data (recycled)", .written_over = true},
      {.name = "fallocated", .file = RAW_ALLOCATED},
      {.name = "the file grows", .file = RAW_GROWS}}},
    {"how many in flight (4 KiB)",
     {{.name = "8", .depth = 8},
      {.name = "4", .depth = 4},
      {.name = "2", .depth = 2},
      {.name = "1", .depth = 1}}},
    {"how many in flight (256 KiB)",
     {{.name = "8", .depth = 8, .write_bytes = 256 << 10},
      {.name = "4", .depth = 4, .write_bytes = 256 << 10},
      {.name = "2", .depth = 2, .write_bytes = 256 << 10},
      {.name = "1", .depth = 1, .write_bytes = 256 << 10}}},
    {"registered buffers and file, or not (4 KiB, one in flight)",
     {{.name = "registered"}, {.name = "not", .unregistered = true}}},
    {"registered buffers and file, or not (256 KiB, 8 in flight)",
     {{.name = "registered", .depth = 8, .write_bytes = 256 << 10},
      {.name = "not", .depth = 8, .write_bytes = 256 << 10, .unregistered = true}}},
    {"sleeping or spinning until it is done (4 KiB, one in flight)",
     {{.name = "sleeps"}, {.name = "spins", .spins = true}}},
    {"where the thread runs (4 KiB, one in flight)",
     {{.name = "anywhere"},
      {.name = "pinned to CPU 0", .pinned = true},
      {.name = "pinned to CPU 0, spins", .pinned = true, .spins = true}}},
    {"who writes (4 KiB, one in flight)",
     {{.name = "io_uring"}, {.name = "pwritev2", .threads = true}}},
};

typedef struct {
    const ab_variant *variant;
    raw_device *raw;
    baton_histogram *latency;
    bench_total total;
} ab_side;

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value ? value : otherwise;
}

static int run_block(ab_side *side, uint32_t writes, bool counts)
{
    uint32_t depth = or_default(side->variant->depth, 1);
    uint32_t bytes = or_default(side->variant->write_bytes, BENCH_UNIT_BYTES);
    uint32_t left = writes;
    int64_t begin_ns = bench_now_ns();
    int r = 0;
    while (r >= 0 && (left > 0 || raw_in_flight(side->raw) > 0)) {
        if (depth == 1) { /* also without io_uring */
            int64_t took_ns = raw_write(side->raw, bytes);
            r = took_ns < 0 ? (int)took_ns : 0;
            if (r == 0 && counts)
                baton_histogram_record(side->latency, (uint64_t)took_ns);
            left--;
            continue;
        }
        uint64_t sent_ns;
        for (; r >= 0 && left > 0 && raw_in_flight(side->raw) < depth; left--)
            r = raw_submit(side->raw, bytes, (uint64_t)bench_now_ns());
        if (r >= 0)
            r = raw_turn(side->raw, UINT64_MAX);
        while (r >= 0 && (r = raw_reap(side->raw, &sent_ns)) == 1)
            if (counts)
                baton_histogram_record(side->latency, (uint64_t)bench_now_ns() - sent_ns);
    }
    if (counts) {
        side->total.ns += (double)(bench_now_ns() - begin_ns);
        side->total.amount += writes;
    }
    return r < 0 ? r : 0;
}

static int open_side(const char *directory, uint32_t number, const ab_variant *variant,
                     ab_side *side)
{
    char path[BENCH_PATH_BYTES];
    snprintf(path, sizeof(path), "%s/raw-%u", directory, number);
    raw_options options = {
        .path = path,
        .file_bytes = FILE_MIB * BENCH_MIB,
        .write_bytes_max = or_default(variant->write_bytes, BENCH_UNIT_BYTES),
        .depth_max = or_default(variant->depth, 1),
        .file = variant->file,
        .threads = variant->threads,
        .flush_after = variant->flush_after,
        .unregistered = variant->unregistered,
        .spins = variant->spins,
    };
    *side = (ab_side){.variant = variant};
    int r = baton_histogram_create(&side->latency);
    if (r == 0)
        r = raw_open(&options, &side->raw);
    /* Once around with large writes would need larger buffers; a few thousand small ones do. */
    if (r == 0 && variant->written_over)
        r = run_block(side, 4096, false);
    if (r == 0 && variant->written_over)
        raw_rewind(side->raw);
    return r;
}

static int pin(bool pinned)
{
    static cpu_set_t everywhere;
    static bool known;
    cpu_set_t first;
    if (!known && sched_getaffinity(0, sizeof(everywhere), &everywhere) < 0)
        return -errno;
    known = true;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    return sched_setaffinity(0, sizeof(first), pinned ? &first : &everywhere) < 0 ? -errno : 0;
}

static void print_answer(const ab_question *question, const ab_side *sides, uint32_t count)
{
    printf("%s\n", question->question);
    printf("  %-26s %10s %10s %10s %10s %10s\n", "", "p50 us", "p99 us", "writes/s", "MB/s",
           "p50 ratio");
    double first_p50 = (double)baton_histogram_quantile(sides[0].latency, 0.5);
    for (uint32_t i = 0; i < count; i++) {
        double p50 = (double)baton_histogram_quantile(sides[i].latency, 0.5);
        double rate = bench_rate(sides[i].total);
        printf("  %-26s %10.1f %10.1f %10.0f %10.1f %10.3f\n", sides[i].variant->name, p50 / 1000,
               (double)baton_histogram_quantile(sides[i].latency, 0.99) / 1000, rate,
               rate * or_default(sides[i].variant->write_bytes, BENCH_UNIT_BYTES) / 1e6,
               p50 / first_p50);
    }
    printf("\n");
    fflush(stdout);
}

static int answer(const char *directory, const ab_question *question, bool quick)
{
    ab_side sides[VARIANTS_MAX] = {0};
    uint32_t count = 0;
    uint32_t writes = quick ? 20 : 40;
    int blocks = quick ? 15 : 150;
    int r = 0;
    for (; r == 0 && count < VARIANTS_MAX && question->variants[count].name; count++)
        r = open_side(directory, count, &question->variants[count], &sides[count]);
    for (int block = -2; block < blocks && r == 0; block++) {
        for (uint32_t i = 0; i < count && r == 0; i++) {
            uint32_t at = (i + (uint32_t)(block + 2)) % count; /* none is always the first */
            r = pin(sides[at].variant->pinned);
            if (r == 0)
                r = run_block(&sides[at], writes, block >= 0);
        }
        bench_progress(block < 0 ? 0 : block + 1, blocks);
    }
    (void)pin(false);
    if (r == 0)
        print_answer(question, sides, count);
    for (uint32_t i = 0; i < count; i++) {
        raw_close(sides[i].raw);
        baton_histogram_destroy(sides[i].latency);
    }
    return r;
}

int main(int argc, char **argv)
{
    static const char usage[] = "Usage: journal-bench-ab --dir DIR [--quick]\n\n"
                                "Example: journal-bench-ab --dir /var/lib/exchange\n";
    static const struct option known[] = {{"dir", required_argument, NULL, 'd'},
                                          {"quick", no_argument, NULL, 'q'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    const char *directory = NULL;
    bool quick = false;
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 'd') {
            directory = optarg;
        } else if (option == 'q') {
            quick = true;
        } else {
            fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 1;
        }
    }
    if (!directory || optind != argc) {
        fputs(usage, stderr);
        return 1;
    }
    printf("durable direct writes, no code of Baton; the first line of each is the journal's "
           "choice\n\n");
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        int r = answer(directory, &questions[i], quick);
        if (r < 0) {
            bench_fail(questions[i].question, r);
            return 1;
        }
    }
    return 0;
}
