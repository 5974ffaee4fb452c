/* bench/case_scan.c: how fast a start reads. Verify (every byte checked) and replay (every entry
 * returned) of a closed journal, beside plain sequential direct reads of the same bytes of the same
 * files, 1 MiB each, several in flight. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/common.h"
#include "journal/segments.h"

enum { READ_BYTES = 1 << 20, FILES_MAX = 256, QUICK_ROUNDS = 3, FULL_ROUNDS = 12 };

typedef struct {
    int fd;
    uint64_t bytes; /* up to the last batch, in whole units */
} scan_file;

typedef struct {
    scan_file files[FILES_MAX];
    uint32_t count;
    uint64_t all_bytes;
    uint8_t *memory; /* READ_BYTES for each read in flight */
} scan_files;

/* ---- raw ---- */

/* The next read of the walk through all files; 0 bytes: the end. */
typedef struct {
    int fd;
    uint64_t offset;
    uint32_t bytes;
} scan_read;

static scan_read read_at(const scan_files *files, uint64_t number)
{
    for (uint32_t i = 0; i < files->count; i++) {
        uint64_t reads = (files->files[i].bytes + READ_BYTES - 1) / READ_BYTES;
        if (number < reads) {
            uint64_t offset = number * READ_BYTES;
            uint64_t left = files->files[i].bytes - offset;
            return (scan_read){.fd = files->files[i].fd,
                               .offset = offset,
                               .bytes = (uint32_t)(left < READ_BYTES ? left : READ_BYTES)};
        }
        number -= reads;
    }
    return (scan_read){.bytes = 0};
}

static int raw_uring(const scan_files *files, struct io_uring *ring)
{
    uint64_t next = 0;
    uint32_t in_flight = 0;
    uint32_t free_buffers = (1u << BENCH_DEPTH) - 1;
    bool more = true;
    int r = 0;
    while (r >= 0 && (more || in_flight > 0)) {
        while (more && free_buffers != 0) {
            scan_read read = read_at(files, next++);
            more = read.bytes > 0;
            if (!more)
                break;
            uint32_t at = (uint32_t)__builtin_ctz(free_buffers);
            struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
            io_uring_prep_read_fixed(sqe, read.fd, files->memory + (size_t)at * READ_BYTES,
                                     read.bytes, read.offset, 0);
            io_uring_sqe_set_data64(sqe, (uint64_t)read.bytes << 32 | at);
            free_buffers &= ~(1u << at);
            in_flight++;
        }
        if (in_flight == 0)
            break;
        struct io_uring_cqe *cqe;
        r = io_uring_submit_and_wait(ring, 1);
        while (r >= 0 && io_uring_peek_cqe(ring, &cqe) == 0) {
            if (cqe->res != (int)(cqe->user_data >> 32))
                r = cqe->res < 0 ? cqe->res : -EIO;
            free_buffers |= 1u << (cqe->user_data & 31);
            io_uring_cqe_seen(ring, cqe);
            in_flight--;
        }
    }
    return r < 0 ? r : 0;
}

typedef struct {
    const scan_files *files;
    _Atomic uint64_t *next;
    uint8_t *buffer;
    int result;
} scan_thread;

static void *read_thread(void *context)
{
    scan_thread *self = context;
    for (;;) {
        scan_read read = read_at(self->files, atomic_fetch_add(self->next, 1));
        if (read.bytes == 0)
            return NULL;
        if (pread(read.fd, self->buffer, read.bytes, (off_t)read.offset) != read.bytes) {
            self->result = errno ? -errno : -EIO;
            return NULL;
        }
    }
}

static int raw_threads(const scan_files *files)
{
    _Atomic uint64_t next = 0;
    pthread_t threads[BENCH_DEPTH];
    scan_thread contexts[BENCH_DEPTH];
    uint32_t started = 0;
    int r = 0;
    for (; started < BENCH_DEPTH && r == 0; started++) {
        contexts[started] = (scan_thread){
            .files = files, .next = &next, .buffer = files->memory + (size_t)started * READ_BYTES};
        r = -pthread_create(&threads[started], NULL, read_thread, &contexts[started]);
        if (r < 0)
            break;
    }
    for (uint32_t i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
        if (r == 0)
            r = contexts[i].result;
    }
    return r;
}

static int raw_scan(const scan_files *files, struct io_uring *ring, bench_total *total)
{
    int64_t begin_ns = bench_now_ns();
    int r = ring ? raw_uring(files, ring) : raw_threads(files);
    total->ns += (double)(bench_now_ns() - begin_ns);
    total->amount += (double)files->all_bytes;
    return r;
}

/* ---- the journal ---- */

static int verify_scan(const bench_run *run, const char *path, const scan_files *files,
                       bench_total *total)
{
    baton_journal_summary summary;
    baton_error error;
    int64_t begin_ns = bench_now_ns();
    int r = baton_journal_verify(path, run->backend, NULL, NULL, &summary, &error);
    total->ns += (double)(bench_now_ns() - begin_ns);
    total->amount += (double)files->all_bytes;
    return r;
}

static int replay_scan(const bench_run *run, const char *path, const scan_files *files,
                       uint64_t entries, bench_total *total)
{
    baton_reader *reader = NULL;
    baton_entry entry;
    baton_error error;
    uint64_t count = 0;
    int64_t begin_ns = bench_now_ns();
    int r =
        baton_reader_open(path, &(baton_reader_options){.backend = run->backend}, &reader, &error);
    if (r < 0)
        return r;
    while ((r = baton_reader_next(reader, &entry, &error)) == 1)
        count++;
    baton_reader_close(reader);
    total->ns += (double)(bench_now_ns() - begin_ns);
    total->amount += (double)files->all_bytes;
    return r < 0 || count == entries ? r : BATON_E_DAMAGED;
}

/* A journal with so many bytes of entries, closed. *ret_path stays. */
static int make_journal(const bench_run *run, uint64_t bytes, char *ret_path, uint64_t *ret_entries,
                        uint64_t *ret_batches_bytes)
{
    bench_journal journal;
    int r = bench_journal_open(run, "scan", NULL, &journal);
    if (r < 0)
        return r;
    snprintf(ret_path, BENCH_PATH_BYTES, "%s", journal.path);
    *ret_entries = bytes / BENCH_FRAME_BYTES;
    for (uint64_t done = 0; done < *ret_entries && r == 0;) {
        r = bench_append(journal.journal);
        done += r == 0;
        if (r == BATON_E_FULL || r == BATON_E_NO_SPACE)
            r = bench_wait_for_room(journal.journal);
    }
    if (r == 0)
        r = baton_journal_flush(journal.journal);
    *ret_batches_bytes = bench_journal_count(&journal, "baton_journal_bytes_total");
    journal.path[0] = '\0'; /* close, and leave it there */
    int closed = bench_journal_close(&journal);
    return r < 0 ? r : closed;
}

/* The same bytes as recovery reads: each segment from its beginning to its last batch. */
static int open_files(const char *path, uint64_t batches_bytes, scan_files *files)
{
    uint64_t left = batches_bytes;
    for (uint64_t index = 1; left > 0; index++) {
        char name[BATON_JOURNAL_PATH_BYTES];
        if (files->count == FILES_MAX)
            return -EMFILE;
        baton_segment_path(path, 1, index, name);
        int fd = open(name, O_RDONLY | O_DIRECT | O_CLOEXEC);
        if (fd < 0)
            return -errno;
        scan_file *file = &files->files[files->count++];
        *file = (scan_file){.fd = fd, .bytes = (uint64_t)lseek(fd, 0, SEEK_END)};
        if (file->bytes - BENCH_UNIT_BYTES > left)
            file->bytes = left + BENCH_UNIT_BYTES;
        left -= file->bytes - BENCH_UNIT_BYTES;
        files->all_bytes += file->bytes;
    }
    return 0;
}

static void print_rows(const bench_run *run, bench_total verify, bench_total replay,
                       bench_total raw, bench_total again)
{
    bench_comparison row = {.bench_case = "recover_scan",
                            .metric = "bytes_per_s",
                            .unit = "B/s",
                            .value = bench_rate(verify),
                            .raw = bench_rate(raw),
                            .raw_again = bench_rate(again)};
    bench_compare(run, &row);
    row.bench_case = "recover_scan_replay";
    row.value = bench_rate(replay);
    bench_compare(run, &row);
}

static int run_rounds(const bench_run *run, const char *path, const scan_files *files,
                      uint64_t entries, struct io_uring *ring)
{
    bench_total verify = {0};
    bench_total replay = {0};
    bench_total raw[2] = {0};
    int rounds = bench_blocks(run, QUICK_ROUNDS, FULL_ROUNDS);
    for (int round = -1; round < rounds; round++) {
        bench_total ignored = {0};
        bool counts = round >= 0;
        int r = raw_scan(files, ring, counts ? &raw[round & 1] : &ignored);
        if (r == 0)
            r = verify_scan(run, path, files, counts ? &verify : &ignored);
        if (r == 0)
            r = raw_scan(files, ring, counts ? &raw[~round & 1] : &ignored);
        if (r == 0)
            r = replay_scan(run, path, files, entries, counts ? &replay : &ignored);
        if (r < 0)
            return r;
        bench_progress(round + 1, rounds);
    }
    print_rows(run, verify, replay, raw[0], raw[1]);
    return 0;
}

int bench_case_scan(const bench_run *run)
{
    static scan_files files; /* large */
    char path[BENCH_PATH_BYTES] = "";
    uint64_t entries;
    uint64_t batches_bytes;
    struct io_uring ring;
    bool uring = run->backend == BATON_BACKEND_URING;
    bool ring_open = false;

    files = (scan_files){0};
    int r = make_journal(run,
                         (run->options->smoke   ? 16
                          : run->options->quick ? 96
                                                : 768) *
                             BENCH_MIB,
                         path, &entries, &batches_bytes);
    if (r == 0)
        r = open_files(path, batches_bytes, &files);
    size_t memory_bytes = (size_t)READ_BYTES * BENCH_DEPTH;
    if (r == 0 && posix_memalign((void **)&files.memory, 2 << 20, memory_bytes) != 0)
        r = -ENOMEM;
    if (r == 0) {
        (void)madvise(files.memory, memory_bytes, MADV_HUGEPAGE); /* in few pieces to the device */
        memset(files.memory, 0, memory_bytes);
    }
    if (r == 0 && uring) {
        struct iovec vector = {.iov_base = files.memory, .iov_len = memory_bytes};
        r = io_uring_queue_init(2 * BENCH_DEPTH, &ring,
                                IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
        ring_open = r == 0;
        if (r == 0)
            r = io_uring_register_buffers(&ring, &vector, 1);
    }
    if (r == 0)
        r = run_rounds(run, path, &files, entries, uring ? &ring : NULL);
    if (r < 0)
        bench_fail("measure recover_scan", r);
    if (ring_open)
        io_uring_queue_exit(&ring);
    for (uint32_t i = 0; i < files.count; i++)
        close(files.files[i].fd);
    free(files.memory);
    if (path[0])
        bench_remove_tree(path);
    return r;
}
