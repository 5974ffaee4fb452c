/* Suite `journal` beside what others use for the same job: durable puts of 256 B, so many in
 * flight, in blocks that alternate. Which peers are here was settled at configure time. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench/peers/peer.h"

static const char usage[] =
    "Usage: journal-bench-peers --dir DIR [--quick] [--json FILE] [--io uring|threads]\n"
    "\n"
    "Closed loops of 1, 128 and 1,024 durable puts of 256 B: the journal beside RocksDB, LMDB,\n"
    "SQLite and Redis, those of them that were there when this was built.\n"
    "\n"
    "Example: journal-bench-peers --dir /var/lib/exchange --quick\n";

static const bench_peer *const peers[] = {
#ifdef BENCH_HAVE_ROCKSDB
    &bench_peer_rocksdb,
#endif
#ifdef BENCH_HAVE_LMDB
    &bench_peer_lmdb,
#endif
#ifdef BENCH_HAVE_SQLITE
    &bench_peer_sqlite,
#endif
    &bench_peer_redis,
};
enum { PEERS = sizeof(peers) / sizeof(peers[0]) };

#define QUICK_NS     INT64_C(150000000)
#define FULL_NS      INT64_C(400000000)
#define QUICK_ROUNDS 2
#define FULL_ROUNDS  8

typedef struct {
    void *self; /* NULL: it is not here */
    bench_total total;
    baton_histogram *latency;
    char path[BENCH_PATH_BYTES];
} peer_side;

static int open_sides(const bench_run *run, uint32_t in_flight, peer_side sides[PEERS])
{
    for (uint32_t i = 0; i < PEERS; i++) {
        snprintf(sides[i].path, sizeof(sides[i].path), "%s/%.3s-%u", run->options->directory,
                 peers[i]->name, in_flight);
        int r = baton_histogram_create(&sides[i].latency);
        if (r == 0 && mkdir(sides[i].path, 0700) < 0)
            r = -errno;
        if (r == 0)
            r = peers[i]->open(sides[i].path, in_flight, &sides[i].self);
        if (r == -ENOENT) {
            bench_note(run->output, "%s: not installed, no row", peers[i]->name);
            sides[i].self = NULL;
        } else if (r < 0) {
            return bench_fail(peers[i]->name, r);
        }
    }
    return 0;
}

static void close_sides(peer_side sides[PEERS])
{
    for (uint32_t i = 0; i < PEERS; i++) {
        if (sides[i].self)
            peers[i]->close(sides[i].self);
        baton_histogram_destroy(sides[i].latency);
        if (sides[i].path[0])
            bench_remove_tree(sides[i].path);
    }
}

static int run_rounds(const bench_run *run, bench_journal *journal, uint32_t in_flight,
                      peer_side sides[PEERS], bench_total *total, baton_histogram *latency)
{
    int64_t ns = run->options->quick ? QUICK_NS : FULL_NS;
    int rounds = run->options->quick ? QUICK_ROUNDS : FULL_ROUNDS;
    for (int round = -1; round < rounds; round++) {
        bool counts = round >= 0;
        bench_total ignored = {0};
        uint32_t removed;
        int r = bench_closed_loop(journal->journal, in_flight, ns, counts ? total : &ignored,
                                  counts ? latency : NULL);
        if (r == 0)
            r = baton_journal_retire(journal->journal, baton_journal_durable_seq(journal->journal),
                                     &removed);
        for (uint32_t i = 0; i < PEERS && r == 0; i++)
            if (sides[i].self)
                r = peers[i]->block(sides[i].self, in_flight, ns,
                                    counts ? &sides[i].total : &ignored,
                                    counts ? sides[i].latency : NULL);
        if (r < 0)
            return r;
        bench_progress(round + 1, rounds);
    }
    return 0;
}

static void print_rows(const bench_run *run, const char *name, uint32_t in_flight,
                       const peer_side sides[PEERS], bench_total total,
                       const baton_histogram *latency)
{
    for (uint32_t i = 0; i < PEERS; i++) {
        bench_comparison row = {.bench_case = name, .reference = peers[i]->name};
        if (!sides[i].self)
            continue;
        if (in_flight == 1) {
            row.metric = "p50";
            row.unit = "us";
            row.lower_is_better = true;
            row.value = (double)baton_histogram_quantile(latency, 0.5) / 1000;
            row.raw = (double)baton_histogram_quantile(sides[i].latency, 0.5) / 1000;
            bench_compare(run, &row);
            row.metric = "p99";
            row.value = (double)baton_histogram_quantile(latency, 0.99) / 1000;
            row.raw = (double)baton_histogram_quantile(sides[i].latency, 0.99) / 1000;
        } else {
            row.metric = "entries_per_s";
            row.unit = "1/s";
            row.value = bench_rate(total);
            row.raw = bench_rate(sides[i].total);
        }
        bench_compare(run, &row);
    }
}

static int peer_case(const bench_run *run, const char *name, uint32_t in_flight)
{
    bench_journal journal = {0};
    peer_side sides[PEERS] = {0};
    bench_total total = {0};
    baton_histogram *latency = NULL;
    int r = baton_histogram_create(&latency);
    if (r == 0)
        r = bench_journal_open(run, name, NULL, &journal);
    if (r == 0)
        r = open_sides(run, in_flight, sides);
    if (r == 0)
        r = run_rounds(run, &journal, in_flight, sides, &total, latency);
    if (r == 0)
        print_rows(run, name, in_flight, sides, total, latency);
    else
        bench_fail(name, r);
    close_sides(sides);
    baton_histogram_destroy(latency);
    int closed = bench_journal_close(&journal);
    return r < 0 ? r : closed;
}

static int parse_options(int argc, char **argv, bench_options *options)
{
    static const struct option known[] = {
        {"dir", required_argument, NULL, 'd'},  {"quick", no_argument, NULL, 'q'},
        {"json", required_argument, NULL, 'j'}, {"io", required_argument, NULL, 'i'},
        {"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0}};
    options->backends[0] = BATON_BACKEND_URING;
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (option == 'd')
            options->directory = optarg;
        else if (option == 'q')
            options->quick = true;
        else if (option == 'j')
            options->json = optarg;
        else if (option == 'i' && strcmp(optarg, "threads") == 0)
            options->backends[0] = BATON_BACKEND_THREADS;
        else if (option != 'i' || strcmp(optarg, "uring") != 0)
            return -EINVAL;
    }
    return options->directory && optind == argc ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
    bench_options options = {0};
    bench_output output = {.human = stdout};
    if (parse_options(argc, argv, &options) < 0) {
        fputs(usage, stderr);
        return 1;
    }
    if (options.json && strcmp(options.json, "-") == 0)
        output = (bench_output){.json = stdout};
    else if (options.json && !(output.json = fopen(options.json, "we")))
        return bench_fail(options.json, -errno) < 0;
    bool uring = options.backends[0] == BATON_BACKEND_URING;
    bench_run run = {.options = &options,
                     .output = &output,
                     .backend = options.backends[0],
                     .backend_name = uring ? "uring" : "threads"};
    int r = peer_case(&run, "append_one_in_flight", 1);
    if (r == 0)
        r = peer_case(&run, "append_128_in_flight", 128);
    if (r == 0)
        r = peer_case(&run, "append_1024_in_flight", 1024);
    if (output.json && fflush(output.json) != 0 && r == 0)
        r = bench_fail("write the rows", -errno);
    return r < 0 ? 1 : 0;
}
