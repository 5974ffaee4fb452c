/* bench/snapshot_bench.c: suite `snapshot`: taking and loading snapshots beside what people use
 * today. Portable form so far: 2 million records of 256 B, beside Redis 7, which saves the same
 * records to its RDB file (SAVE) and starts from it. Both sides end durable, both load into a table
 * that answers by key; rounds alternate. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/common.h"
#include "bench/peers/redis_server.h"
#include "bench/records.h"
#include "snapshot/store.h"

enum { QUICK_RECORDS = 200000, FULL_RECORDS = 2000000, QUICK_ROUNDS = 2, FULL_ROUNDS = 4 };
#define SUITE "snapshot"

typedef struct {
    const char *directory;
    const char *json;
    bool quick;
    bool peers;
    baton_io_choice io;
} options;

/* Nanoseconds of all rounds. */
typedef struct {
    int64_t write_ns;
    int64_t load_ns;
    int rounds;
} times;

static const char usage[] =
    "Usage: snapshot-bench --dir DIR [--quick] [--json FILE] [--io uring|threads] [--no-peers]\n\n"
    "Measures the portable form of a snapshot beside Redis (SAVE, and a start from its RDB file).\n"
    "  --dir DIR    an existing, empty directory on the device to measure\n"
    "  --quick      a tenth of the records, fewer rounds\n"
    "  --json FILE  rows as JSON, one object a line; - for standard output (then no table)\n"
    "  --io WHICH   default: uring\n"
    "  --no-peers   Baton alone\n\n"
    "Example: snapshot-bench --dir /var/lib/exchange --quick --json -\n";

/* ---- Baton ---- */

static void pack(const records *all, baton_snapshot_writer *writer)
{
    baton_pack_section(writer, "records");
    for (uint64_t i = 0; i < all->count; i++) {
        const record *one = records_at(all, i);
        baton_pack_row(writer, 2);
        baton_pack_uint(writer, one->key);
        baton_pack_bytes(writer, one->value, sizeof(one->value));
    }
}

static int take(const options *wanted, const char *directory, const records *all, uint64_t seq)
{
    baton_snapshot_writer *writer = NULL;
    baton_io *io = NULL;
    baton_error error = {0};
    baton_snapshot_info info = {.service = "bench",
                                .version = "1",
                                .schema = 1,
                                .seq = seq,
                                .epoch = 1,
                                .position_epoch = 1,
                                .position_batch = seq,
                                .position_seq = seq,
                                .journal_id = {.bytes = {1}}};
    int r = baton_io_open(&(baton_io_options){.choice = wanted->io, .ops_max = 16}, &io, &error);
    if (r == 0)
        r = baton_snapshot_writer_create(&(baton_snapshot_options){.helped = true}, &writer);
    if (r == 0) {
        pack(all, writer);
        r = baton_snapshot_writer_finish(writer, &info);
    }
    if (r == 0) {
        r = baton_snapshot_publish(io, directory, writer, &info, &error);
        writer = NULL;
    }
    baton_snapshot_writer_destroy(writer);
    baton_io_close(io);
    return r;
}

static int load_rows(baton_snapshot_reader *reader, records *all)
{
    uint32_t fields;
    int r = baton_unpack_section(reader, "records");
    while (r == 0 && (r = baton_unpack_row(reader, &fields)) == 1) {
        uint64_t key;
        const void *value;
        uint32_t value_bytes;
        r = baton_unpack_uint(reader, &key);
        if (r == 0)
            r = baton_unpack_bytes(reader, &value, &value_bytes);
        if (r == 0 && (fields != 2 || value_bytes != RECORD_VALUE_BYTES))
            r = BATON_E_SCHEMA;
        if (r == 0)
            r = records_put(all, key, value);
    }
    return r == 0 ? records_settle(all) : r;
}

static int load(const options *wanted, const char *directory, uint64_t records_count)
{
    baton_snapshot_listed *list = NULL;
    baton_snapshot_reader *reader = NULL;
    baton_io *io = NULL;
    uint32_t count = 0;
    baton_error error = {0};
    records all = {0};
    int r = baton_io_open(&(baton_io_options){.choice = wanted->io, .ops_max = 16}, &io, &error);
    if (r == 0)
        r = records_open(records_count, &all);
    if (r == 0)
        r = baton_snapshot_list_with(io, directory, &list, &count, &error);
    if (r == 0 && count == 0)
        r = -ENOENT;
    if (r == 0)
        r = baton_snapshot_reader_open(io, directory, &list[0], &reader, &error);
    if (r == 0) {
        baton_snapshot_reader_help(reader); /* as the engine's start does */
        r = load_rows(reader, &all);
    }
    if (r == 0 && (all.count != records_count || !records_find(&all, records_count)))
        r = BATON_E_DAMAGED;
    baton_snapshot_reader_close(reader);
    free(list);
    baton_io_close(io);
    records_close(&all);
    return r;
}

static int baton_round(const options *wanted, const records *all, int round, times *sum)
{
    char directory[BENCH_PATH_BYTES];
    snprintf(directory, sizeof(directory), "%s/portable", wanted->directory);
    int64_t begin_ns = bench_now_ns();
    int r = take(wanted, directory, all, (uint64_t)round + 1);
    int64_t taken_ns = bench_now_ns();
    if (r == 0)
        r = load(wanted, directory, all->count);
    sum->write_ns += taken_ns - begin_ns;
    sum->load_ns += bench_now_ns() - taken_ns;
    sum->rounds++;
    bench_remove_tree(directory);
    return r;
}

/* ---- Redis ---- */

static const char *const redis_arguments[] = {"--appendonly", "no", NULL};

static int send_all(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
        if (sent <= 0)
            return sent < 0 ? -errno : -EPIPE;
        bytes += sent;
        count -= (size_t)sent;
    }
    return 0;
}

/* One line of answer: 0, or -EIO when it does not begin with `begin`. */
static int expect_line(int fd, const char *begin, char *line, size_t line_bytes)
{
    size_t used = 0;
    while (used < line_bytes - 1 && (used == 0 || line[used - 1] != '\n')) {
        ssize_t got = recv(fd, line + used, 1, 0);
        if (got <= 0)
            return got < 0 ? -errno : -EPIPE;
        used++;
    }
    line[used] = '\0';
    return strncmp(line, begin, strlen(begin)) == 0 ? 0 : -EIO;
}

static int command(int fd, const char *text, const char *answer, char *line, size_t line_bytes)
{
    int r = send_all(fd, text, strlen(text));
    return r < 0 ? r : expect_line(fd, answer, line, line_bytes);
}

/* In groups of as many commands, each with its answers taken in before the next. */
static int fill(int fd, const records *all)
{
    enum { GROUP = 256 };
    static char bytes[GROUP * (RECORD_VALUE_BYTES + 96)];
    char line[64];
    int r = 0;
    for (uint64_t i = 0; i < all->count && r == 0; i += GROUP) {
        size_t used = 0;
        uint64_t end = i + GROUP < all->count ? i + GROUP : all->count;
        for (uint64_t k = i; k < end; k++) {
            const record *one = records_at(all, k);
            int head = snprintf(bytes + used, 96, "*3\r\n$3\r\nSET\r\n$16\r\n%016llx\r\n$%d\r\n",
                                (unsigned long long)one->key, RECORD_VALUE_BYTES);
            used += (size_t)head;
            memcpy(bytes + used, one->value, RECORD_VALUE_BYTES);
            memcpy(bytes + used + RECORD_VALUE_BYTES, "\r\n", 2);
            used += RECORD_VALUE_BYTES + 2;
        }
        r = send_all(fd, bytes, used);
        for (uint64_t k = i; k < end && r == 0; k++)
            r = expect_line(fd, "+OK", line, sizeof(line));
    }
    return r;
}

/* Loaded when DBSIZE has an answer, and the right one. */
static int redis_ready(redis_server *server, uint64_t records_count, int *ret_fd)
{
    char line[128], wanted[64];
    int fd = redis_server_connect(server);
    if (fd < 0)
        return fd;
    snprintf(wanted, sizeof(wanted), ":%llu\r\n", (unsigned long long)records_count);
    int r;
    while ((r = command(fd, "DBSIZE\r\n", ":", line, sizeof(line))) == -EIO)
        if (strncmp(line, "-LOADING", 8) != 0)
            break;
        else
            (void)usleep(500);
    if (r == 0 && strcmp(line, wanted) != 0)
        r = -EIO;
    *ret_fd = fd;
    return r;
}

static int redis_round(const char *directory, uint64_t records_count, redis_server *server, int *fd,
                       times *sum)
{
    char line[128];
    int64_t begin_ns = bench_now_ns();
    int r = command(*fd, "SAVE\r\n", "+OK", line, sizeof(line));
    sum->write_ns += bench_now_ns() - begin_ns;
    close(*fd);
    *fd = -1;
    redis_server_end(server);
    begin_ns = bench_now_ns();
    if (r == 0)
        r = redis_server_start(server, directory, redis_arguments);
    if (r == 0)
        r = redis_ready(server, records_count, fd);
    sum->load_ns += bench_now_ns() - begin_ns;
    sum->rounds++;
    return r;
}

/* ---- the run ---- */

/* Records a second, over all rounds. */
static double rate(uint64_t records_count, int64_t ns, int rounds)
{
    return (double)records_count * rounds * 1e9 / (double)ns;
}

static void row(const bench_output *output, const char *bench_case, const char *backend,
                double value, double peer)
{
    bench_row one = {.suite = SUITE,
                     .bench_case = bench_case,
                     .backend = backend,
                     .metric = "entries_per_s",
                     .unit = "1/s",
                     .value = value};
    if (peer > 0) {
        one.reference = "redis (RDB)";
        one.reference_value = peer;
    }
    bench_print_row(output, &one);
}

static int run(const options *wanted, const bench_output *output)
{
    const uint64_t count = wanted->quick ? QUICK_RECORDS : FULL_RECORDS;
    const int rounds = wanted->quick ? QUICK_ROUNDS : FULL_ROUNDS;
    const char *backend = wanted->io == BATON_IO_THREADS ? "threads" : "uring";
    records all;
    redis_server server = {0};
    times ours = {0}, theirs = {0};
    char directory[BENCH_PATH_BYTES];
    int fd = -1;
    bool redis = wanted->peers;

    snprintf(directory, sizeof(directory), "%s", wanted->directory);
    int r = records_make(count, &all);
    if (r == 0 && redis) {
        r = redis_server_start(&server, directory, redis_arguments);
        if (r == 0)
            r = redis_ready(&server, 0, &fd);
        if (r == 0)
            r = fill(fd, &all);
        if (r == -ENOENT) {
            bench_note(output, "redis is not here: install redis-tools");
            redis = false;
            r = 0;
        }
    }
    for (int round = 0; round < rounds && r == 0; round++) {
        r = baton_round(wanted, &all, round, &ours);
        if (r == 0 && redis)
            r = redis_round(directory, count, &server, &fd, &theirs);
        bench_progress(round + 1, rounds);
    }
    if (r == 0) {
        row(output, "portable_write", backend, rate(count, ours.write_ns, rounds),
            redis ? rate(count, theirs.write_ns, rounds) : 0);
        row(output, "portable_load", backend, rate(count, ours.load_ns, rounds),
            redis ? rate(count, theirs.load_ns, rounds) : 0);
    }
    if (fd >= 0)
        close(fd);
    redis_server_end(&server);
    records_close(&all);
    return r < 0 ? bench_fail("portable", r) : 0;
}

static int parse(int argc, char **argv, options *wanted)
{
    static const struct option known[] = {{"dir", required_argument, NULL, 'd'},
                                          {"quick", no_argument, NULL, 'q'},
                                          {"json", required_argument, NULL, 'j'},
                                          {"io", required_argument, NULL, 'i'},
                                          {"no-peers", no_argument, NULL, 'p'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    *wanted = (options){.peers = true, .io = BATON_IO_AUTO};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (option == 'd')
            wanted->directory = optarg;
        else if (option == 'q')
            wanted->quick = true;
        else if (option == 'j')
            wanted->json = optarg;
        else if (option == 'p')
            wanted->peers = false;
        else if (option == 'i' && strcmp(optarg, "threads") == 0)
            wanted->io = BATON_IO_THREADS;
        else if (option != 'i' || strcmp(optarg, "uring") != 0)
            return -EINVAL;
    }
    return wanted->directory && optind == argc ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
    options wanted;
    bench_output output = {.human = stdout};
    if (parse(argc, argv, &wanted) < 0) {
        fputs(usage, stderr);
        return 1;
    }
    if (wanted.json && strcmp(wanted.json, "-") == 0)
        output = (bench_output){.json = stdout};
    else if (wanted.json && !(output.json = fopen(wanted.json, "we")))
        return bench_fail(wanted.json, -errno) < 0;
    bench_header header = {.suite = SUITE,
                           .commit_primitive = "O_DIRECT writes, fdatasync, rename, fsync",
                           .device_write_cache = "see suite journal",
#ifdef __OPTIMIZE__
                           .build = "release"};
#else
                           .build = "debug"};
#endif
    bench_print_header(&output, &header);
    int r = run(&wanted, &output);
    if (output.json && fflush(output.json) != 0 && r == 0)
        r = bench_fail("write the rows", -errno);
    return r < 0 ? 1 : 0;
}
