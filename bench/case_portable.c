/* Cases `portable_write`, `portable_load`: 2 million records of 256 B in the portable form, beside
 * Redis 7, which saves the same records to its RDB file (SAVE) and starts from it. Both sides end
 * durable, both load into a table that answers by key; rounds alternate. Beside the load stands the file
 * alone, read into memory that was never touched, as any loader must fill some. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/image_raw.h"
#include "bench/peers/redis_server.h"
#include "bench/records.h"
#include "bench/snapshot_bench.h"
#include "snapshot/store.h"

enum { SMOKE_RECORDS = 20000, QUICK_RECORDS = 200000, FULL_RECORDS = 2000000 };

/* Nanoseconds of all rounds. */
typedef struct {
    int64_t write_ns;
    int64_t load_ns;
    int64_t filled_ns; /* Baton's: the file alone, read into memory as fresh as the table's */
    int rounds;
} times;

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

static int take(const snap_run *run, const char *directory, const records *all, uint64_t seq)
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
    int r = baton_io_open(&(baton_io_options){.choice = run->io, .ops_max = 16}, &io, &error);
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

/* *ret_ready_ns: every record is there, and found by its key. What is closed after it no client waits
 * for. */
static int load(const snap_run *run, const char *directory, uint64_t records_count,
                int64_t *ret_ready_ns)
{
    baton_snapshot_listed *list = NULL;
    baton_snapshot_reader *reader = NULL;
    baton_io *io = NULL;
    uint32_t count = 0;
    baton_error error = {0};
    records all = {0};
    int r = baton_io_open(&(baton_io_options){.choice = run->io, .ops_max = 16}, &io, &error);
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
    *ret_ready_ns = bench_now_ns();
    baton_snapshot_reader_close(reader);
    free(list);
    baton_io_close(io);
    records_close(&all);
    return r;
}

static int64_t raw_filled_ns(const snap_run *run, const char *directory, uint64_t seq)
{
    char path[BENCH_PATH_BYTES + 64];
    struct stat chunks;
    snprintf(path, sizeof(path), "%s/%016llx-%016x.chunks", directory, (unsigned long long)seq, 1);
    if (stat(path, &chunks) < 0)
        snap_die(path, -errno, NULL);
    const uint64_t bytes = (uint64_t)chunks.st_size;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        snap_die("map memory", -errno, NULL);
    const int64_t ns = image_raw_read(&(image_raw){.path = path,
                                                   .bytes = bytes,
                                                   .threads = run->io == BATON_IO_THREADS,
                                                   .memory = memory,
                                                   .memory_bytes = bytes});
    munmap(memory, bytes);
    return ns;
}

static int baton_round(const snap_run *run, const records *all, int round, times *sum)
{
    char directory[BENCH_PATH_BYTES];
    snprintf(directory, sizeof(directory), "%s/portable", run->options->directory);
    int64_t begin_ns = bench_now_ns();
    int r = take(run, directory, all, (uint64_t)round + 1);
    int64_t taken_ns = bench_now_ns();
    int64_t ready_ns = taken_ns;
    if (r == 0)
        r = load(run, directory, all->count, &ready_ns);
    sum->write_ns += taken_ns - begin_ns;
    sum->load_ns += ready_ns - taken_ns;
    if (r == 0)
        sum->filled_ns += raw_filled_ns(run, directory, (uint64_t)round + 1);
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

/* ---- the case ---- */

/* Records a second, over all rounds; 0: there was none. */
static double rate(uint64_t records_count, int64_t ns, int rounds)
{
    return rounds > 0 ? (double)records_count * rounds * 1e9 / (double)ns : 0;
}

static void print(const snap_run *run, uint64_t records_count, const times *ours,
                  const times theirs[2])
{
    const int rounds = theirs[0].rounds + theirs[1].rounds;
    for (int i = 0; i < 2; i++) {
        const bool write = i == 0;
        const double redis[2] = {
            rate(records_count, write ? theirs[0].write_ns : theirs[0].load_ns, theirs[0].rounds),
            rate(records_count, write ? theirs[1].write_ns : theirs[1].load_ns, theirs[1].rounds)};
        bench_row row = {
            .bench_case = write ? "portable_write" : "portable_load",
            .metric = "entries_per_s",
            .unit = "1/s",
            .value = rate(records_count, write ? ours->write_ns : ours->load_ns, ours->rounds)};
        if (rounds > 0) {
            row.reference = "redis (RDB)";
            row.reference_value = rate(records_count,
                                       write ? theirs[0].write_ns + theirs[1].write_ns
                                             : theirs[0].load_ns + theirs[1].load_ns,
                                       rounds);
            row.spread = redis[1] > 0 ? redis[0] / redis[1] : 0; /* its rounds, even and odd */
        }
        snap_print(run, &row, 0);
        if (write)
            continue;
        row.reference = "raw filled";
        row.reference_value = rate(records_count, ours->filled_ns, ours->rounds);
        row.spread = 0;
        snap_print(run, &row, 0);
    }
}

/* False: it is not installed. */
static bool redis_open(const snap_run *run, const char *directory, const records *all,
                       redis_server *server, int *fd)
{
    if (mkdir(directory, 0750) < 0)
        snap_die(directory, 0, NULL);
    int r = redis_server_start(server, directory, redis_arguments);
    if (r == 0)
        r = redis_ready(server, 0, fd);
    if (r == 0)
        r = fill(*fd, all);
    if (r == -ENOENT)
        bench_note(run->output, "redis is not here: install redis-tools");
    else if (r < 0)
        snap_die("fill redis", r, NULL);
    return r == 0;
}

void snap_case_portable(const snap_run *run)
{
    const snap_options *options = run->options;
    const uint64_t count = options->smoke   ? SMOKE_RECORDS
                           : options->quick ? QUICK_RECORDS
                                            : FULL_RECORDS;
    const int rounds = snap_rounds(run, 2, 4);
    char directory[BENCH_PATH_BYTES +
                   8]; /* of redis, its own: a file of an earlier run would be loaded */
    records all;
    redis_server server = {0};
    times ours = {0};
    times theirs[2] = {{0}};
    int fd = -1;
    snprintf(directory, sizeof(directory), "%s/redis", options->directory);
    int r = records_make(count, &all);
    if (r < 0)
        snap_die("make records", r, NULL);
    const bool redis = options->peers && redis_open(run, directory, &all, &server, &fd);
    for (int round = 0; round < rounds && r == 0; round++) {
        r = baton_round(run, &all, round, &ours);
        if (r == 0 && redis)
            r = redis_round(directory, count, &server, &fd, &theirs[round & 1]);
        bench_progress(round + 1, rounds);
    }
    if (r < 0)
        snap_die("measure the portable form", r, NULL);
    print(run, count, &ours, theirs);
    if (fd >= 0)
        close(fd);
    redis_server_end(&server);
    bench_remove_tree(directory);
    records_close(&all);
}
