/* bench/image_bench.c: the program `image-bench`: images of a region, beside the device alone
 * and beside the same loop without a snapshot, in one run.
 *
 *     image-bench --dir DIR [--mib N] [--rounds N] [--json FILE] [--case NAME] */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include <baton/histogram.h>

#include "bench/rows.h"
#include "bench/image_raw.h"
#include "snapshot/image.h"
#include "snapshot/image_load.h"

#define REGION_AT       ((void *)UINT64_C(0x550000000000))
#define MIB             (UINT64_C(1) << 20)
#define NS_PER_S        1e9
#define UPDATES_PER_S   50000u
#define PAGES_AN_UPDATE 4u
#define SUITE           "snapshot"

typedef struct {
    const char *directory;
    const char *only;
    uint64_t bytes;
    uint32_t rounds;
    bench_output output;
} options;

typedef struct {
    const options *wanted;
    uint8_t *base;
    uint32_t pages;
    uint64_t random;
    uint64_t seq;
    baton_io *io;
    baton_image_source *source;
} bench;

static void die(const char *what, const baton_error *error)
{
    char text[1024];
    fprintf(stderr, "image-bench: %s: %s\n", what,
            error != NULL ? baton_error_text(error, text, sizeof(text)) : strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}

static uint64_t next_random(bench *self)
{
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    return self->random;
}

/* Of all threads: what a busy machine does not change. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- rows ---- */

static void row(const bench *self, const char *name, const char *metric, const char *unit,
                bool lower, double value, const char *reference, double reference_value,
                double again)
{
    bench_print_row(&self->wanted->output,
                    &(bench_row){.suite = SUITE,
                                 .bench_case = name,
                                 .metric = metric,
                                 .unit = unit,
                                 .value = value,
                                 .lower_is_better = lower,
                                 .reference = reference,
                                 .reference_value = reference_value,
                                 .spread = again > 0 ? reference_value / again : 0});
}

/* ---- taking ---- */

static baton_snapshot_info info_of(uint64_t seq)
{
    return (baton_snapshot_info){.service = "bench", .version = "1", .seq = seq, .epoch = 1};
}

static void publish(bench *self, baton_image *image)
{
    baton_snapshot_publisher *publisher = NULL;
    baton_snapshot_info info = info_of(self->seq);
    baton_error error;
    int r = baton_image_publish_begin(image, self->io, &info, &publisher, &error);
    while (r == 0 && (r = baton_snapshot_publish_step(publisher, true, &error)) == BATON_E_AGAIN) {
        const int waited = baton_io_wait(self->io, UINT64_MAX);
        (void)waited; /* what the next step finds */
        r = 0;
    }
    if (r < 0)
        die("publish", &error);
    baton_snapshot_publish_end(publisher);
    baton_image_source_published(self->source, info.root);
    baton_image_end(image);
}

static baton_image *begin(bench *self, bool full, baton_image_choice choice)
{
    baton_image *image = NULL;
    baton_error error;
    const baton_image_options wanted = {.directory = self->wanted->directory,
                                        .seq = ++self->seq,
                                        .epoch = 1,
                                        .full = full,
                                        .choice = choice,
                                        .compress = BATON_COMPRESS_RAW};
    if (baton_image_begin(self->source, &wanted, self->wanted->bytes, &image, &error) < 0)
        die("begin", &error);
    return image;
}

/* One poll, and finish when it is time. True: it is there. */
static bool step(bench *self, baton_image *image)
{
    baton_error error;
    const uint64_t bytes = self->wanted->bytes;
    switch (baton_image_poll(image, bytes)) {
    case BATON_IMAGE_READY: {
        int r = baton_image_finish(image, bytes, &error);
        if (r < 0 && r != BATON_E_AGAIN)
            die("finish", &error);
        return false;
    }
    case BATON_IMAGE_FAILED:
        die("image", baton_image_error(image));
        return false;
    case BATON_IMAGE_DONE:
        return true;
    case BATON_IMAGE_COPYING:
    case BATON_IMAGE_WRITING:
        break;
    }
    return false;
}

static baton_image_result take(bench *self, bool full)
{
    baton_image *image = begin(self, full, BATON_IMAGE_AUTO);
    while (!step(self, image)) {
        const struct timespec moment = {.tv_nsec = 100000};
        nanosleep(&moment, NULL); /* the service is idle: the writer has the machine */
    }
    const baton_image_result result = *baton_image_result_of(image);
    publish(self, image);
    return result;
}

static void remove_taken(bench *self)
{
    int r = baton_snapshot_remove(self->io, self->wanted->directory, self->seq, 1);
    if (r < 0)
        die("remove", NULL);
}

/* ---- cases ---- */

static void case_write(bench *self)
{
    char path[300];
    double image_s = 0;
    double raw_s = 0;
    double again_s = 0;
    snprintf(path, sizeof(path), "%s/raw", self->wanted->directory);
    for (uint32_t i = 0; i < self->wanted->rounds; i++) {
        raw_s += image_raw_write(path, self->base, self->wanted->bytes);
        const uint64_t begun_ns = now_ns();
        take(self, true);
        image_s += (double)(now_ns() - begun_ns) / NS_PER_S;
        remove_taken(self);
        again_s += image_raw_write(path, self->base, self->wanted->bytes);
    }
    const double bytes = (double)self->wanted->bytes * self->wanted->rounds;
    row(self, "image_write", "bytes_per_s", "B/s", false, bytes / image_s, "raw", bytes / raw_s,
        bytes / again_s);
    remove(path);
}

static void case_load(bench *self)
{
    baton_snapshot_listed *list = NULL;
    baton_error error;
    char path[300];
    uint32_t count;
    uint64_t bytes = 0;
    double load_s = 0;
    double load_cpu_s = 0;
    double raw_s = 0;
    double again_s = 0;
    take(self, true);
    if (baton_snapshot_list(self->wanted->directory, &list, &count, &error) < 0 || count == 0)
        die("list", &error);
    snprintf(path, sizeof(path), "%s/%016llx-%016x.chunks", self->wanted->directory,
             (unsigned long long)self->seq, 1);
    const uint64_t stored = list[0].info.stored_bytes;
    baton_image_source_close(self->source);
    self->source = NULL;
    for (uint32_t i = 0; i < self->wanted->rounds; i++) {
        raw_s += image_raw_read(path, stored);
        madvise(self->base, self->wanted->bytes, MADV_DONTNEED); /* as after a start */
        const baton_image_load_options wanted = {.directory = self->wanted->directory,
                                                 .base = self->base,
                                                 .bytes_max = self->wanted->bytes};
        const uint64_t begun_ns = now_ns();
        const uint64_t begun_cpu_ns = cpu_ns();
        if (baton_image_load(&wanted, &list[0], &bytes, &error) < 0)
            die("load", &error);
        load_s += (double)(now_ns() - begun_ns) / NS_PER_S;
        load_cpu_s += (double)(cpu_ns() - begun_cpu_ns) / NS_PER_S;
        again_s += image_raw_read(path, stored);
    }
    const double all = (double)stored * self->wanted->rounds;
    row(self, "image_load", "bytes_per_s", "B/s", false, all / load_s, "raw", all / raw_s,
        all / again_s);
    row(self, "image_load", "cpu", "s", true, load_cpu_s / self->wanted->rounds, NULL, 0, 0);
    free(list);
    remove_taken(self);
}

static void case_increment(bench *self)
{
    double total_ms = 0;
    take(self, true);
    const uint64_t full = self->seq;
    for (uint32_t i = 0; i < self->wanted->rounds; i++) {
        for (uint32_t j = 0; j < self->pages / 100; j++)
            self->base[next_random(self) % self->pages * 4096]++;
        const uint64_t begun_ns = now_ns();
        take(self, false);
        total_ms += (double)(now_ns() - begun_ns) / 1e6;
    }
    row(self, "increment", "p50", "ms", true, total_ms / self->wanted->rounds, NULL, 0, 0);
    while (self->seq > full) {
        remove_taken(self);
        self->seq--;
    }
    remove_taken(self);
    self->seq += self->wanted->rounds;
}

/* An open loop: an update is due every 20 us, and its latency counts from then. Until the image is
 * done, or so many seconds. */
static void update_loop(bench *self, baton_image *image, double seconds, baton_histogram *latency)
{
    const uint64_t gap_ns = 1000000000u / UPDATES_PER_S;
    const uint64_t begun_ns = now_ns();
    const uint64_t until_ns = begun_ns + (uint64_t)(seconds * NS_PER_S);
    uint64_t due_ns = begun_ns;
    bool done = false;
    while (image != NULL ? !done : due_ns < until_ns) {
        while (now_ns() < due_ns)
            continue;
        for (uint32_t i = 0; i < PAGES_AN_UPDATE; i++)
            self->base[next_random(self) % self->pages * 4096 + 64]++;
        if (image != NULL)
            done = step(self, image);
        baton_histogram_record(latency, now_ns() - due_ns);
        due_ns += gap_ns;
    }
}

static void stall_rows(bench *self, const char *name, const baton_histogram *with,
                       const baton_histogram *without)
{
    static const struct {
        const char *metric;
        double quantile;
    } wanted[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1.0}};
    for (uint32_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        row(self, name, wanted[i].metric, "us", true,
            (double)baton_histogram_quantile(with, wanted[i].quantile) / 1e3, "raw loop",
            (double)baton_histogram_quantile(without, wanted[i].quantile) / 1e3, 0);
}

static void case_stall(bench *self, const char *name, baton_image_choice choice)
{
    baton_histogram *with = NULL;
    baton_histogram *without = NULL;
    double pause_ms = 0;
    if (baton_histogram_create(&with) < 0 || baton_histogram_create(&without) < 0)
        die("histogram", NULL);
    for (uint32_t i = 0; i < self->wanted->rounds; i++) {
        update_loop(self, NULL, 2, without);
        baton_image *image = begin(self, true, choice);
        update_loop(self, image, 0, with);
        const baton_image_result *result = baton_image_result_of(image);
        pause_ms += (double)result->pause_ns / 1e6;
        bench_note(&self->wanted->output,
                   "%s: %u rounds, residue %u pages (%u by the writer), pause %.2f ms (asking "
                   "%.2f), taken in %.2f s%s",
                   name, result->rounds, result->residual_pages, result->helped_pages,
                   (double)result->pause_ns / 1e6, (double)result->pause_scan_ns / 1e6,
                   (double)result->taken_ns / NS_PER_S, result->overflowed ? ", overflowed" : "");
        for (uint32_t j = 0; j < result->rounds; j++)
            bench_note(&self->wanted->output, "  round %u: %u pages", j, result->round_pages[j]);
        publish(self, image);
        remove_taken(self);
    }
    stall_rows(self, name, with, without);
    row(self, name, "pause", "ms", true, pause_ms / self->wanted->rounds, NULL, 0, 0);
    baton_histogram_destroy(with);
    baton_histogram_destroy(without);
}

/* ---- the program ---- */

static bool is_wanted(const options *wanted, const char *name)
{
    return wanted->only == NULL || strcmp(wanted->only, name) == 0;
}

static int parse(int argc, char **argv, options *ret)
{
    static const struct option known[] = {{"dir", 1, NULL, 'd'},    {"mib", 1, NULL, 'm'},
                                          {"rounds", 1, NULL, 'r'}, {"json", 1, NULL, 'j'},
                                          {"case", 1, NULL, 'c'},   {NULL, 0, NULL, 0}};
    int c;
    *ret = (options){.bytes = 1024 * MIB, .rounds = 3, .output = {.human = stderr}};
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (c == 'd')
            ret->directory = optarg;
        else if (c == 'm')
            ret->bytes = strtoull(optarg, NULL, 10) * MIB;
        else if (c == 'r')
            ret->rounds = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'c')
            ret->only = optarg;
        else if (c == 'j')
            ret->output.json = strcmp(optarg, "-") == 0 ? stdout : fopen(optarg, "w");
        else
            return -1;
    }
    return ret->directory != NULL && ret->bytes > 0 && ret->rounds > 0 ? 0 : -1;
}

static void open_bench(bench *self, const options *wanted)
{
    baton_error error;
    *self =
        (bench){.wanted = wanted, .random = 20261121, .pages = (uint32_t)(wanted->bytes / 4096)};
    self->base = mmap(REGION_AT, wanted->bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
    if (self->base != REGION_AT)
        die("map the region", NULL);
    for (uint64_t i = 0; i < wanted->bytes; i += sizeof(uint64_t)) {
        const uint64_t value = next_random(self);
        memcpy(self->base + i, &value, sizeof(value));
    }
    if (mkdir(wanted->directory, 0750) < 0 && errno != EEXIST)
        die(wanted->directory, NULL);
    if (baton_io_open(&(baton_io_options){0}, &self->io, &error) < 0)
        die("open", &error);
    const baton_image_source_options source = {
        .base = self->base, .bytes_max = wanted->bytes, .full_every = UINT32_MAX};
    if (baton_image_source_open(&source, &self->source, &error) < 0)
        die("watch the region", &error);
}

static void print_header(const bench *self)
{
    const options *wanted = self->wanted;
    baton_io_probe probe;
    if (baton_io_probe_directory(self->io, wanted->directory, &probe) < 0)
        die(wanted->directory, NULL);
    bench_print_header(&wanted->output, &(bench_header){.suite = SUITE,
                                                        .commit_primitive = "fdatasync",
                                                        .device_write_cache = probe.write_cache,
                                                        .build = "release"});
    bench_note(&wanted->output, "%llu MiB; live: %s", (unsigned long long)(wanted->bytes / MIB),
               baton_image_source_why_not_live(self->source)[0] == '\0'
                   ? "yes"
                   : baton_image_source_why_not_live(self->source));
}

int main(int argc, char **argv)
{
    options wanted;
    bench self;
    if (parse(argc, argv, &wanted) < 0) {
        fprintf(stderr, "image-bench: usage: --dir DIR [--mib N] [--rounds N] [--json FILE] "
                        "[--case image_write|increment|stall|stall_fork|image_load]\n");
        return 1;
    }
    open_bench(&self, &wanted);
    print_header(&self);
    if (is_wanted(&wanted, "image_write"))
        case_write(&self);
    if (is_wanted(&wanted, "increment"))
        case_increment(&self);
    if (is_wanted(&wanted, "stall"))
        case_stall(&self, "stall", BATON_IMAGE_AUTO);
    if (is_wanted(&wanted, "stall_fork"))
        case_stall(&self, "stall_fork", BATON_IMAGE_FORK);
    if (is_wanted(&wanted, "image_load"))
        case_load(&self);
    baton_image_source_close(self.source);
    baton_io_close(self.io);
    return 0;
}
