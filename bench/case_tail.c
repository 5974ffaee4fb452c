/* bench/case_tail.c: from the moment an entry is durable to the moment a reader in another process
 * holds it, beside a bare futex ping between the same two processes, and beside a ping followed by
 * one direct read of 4 KiB: what any reader that takes its bytes from the device must pay.
 *
 * The journal's clock starts when its fd says that the write is done, before the journal knows: so
 * the lag holds the acknowledgement, the publishing, the wake, and the reading.
 *
 * Who has sent sleeps on a futex until the other side has it, ping or journal. On a virtual machine
 * a nap's timer takes longer to set than all of this, and where both share a CPU the woken side may
 * have to wait for that: it would be measured, too. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/common.h"

enum { BLOCK = 50, QUICK_BLOCKS = 10, FULL_BLOCKS = 120, WARM_UP_BLOCKS = 2 };

typedef enum {
    TURN_JOURNAL = 'j',
    TURN_PING = 'p',
    TURN_PING_READ = 'r',
    TURN_END = 'e'
} tail_turn;

/* Between the two processes. */
typedef struct {
    _Atomic uint32_t ping; /* the futex word: how many pings so far */
    _Atomic uint32_t seen; /* how many of the block the other side has */
    int64_t sent_ns[BLOCK];
    int64_t seen_ns[BLOCK];
} tail_page;

typedef struct {
    tail_page *page;
    int commands[2]; /* parent writes, child reads */
    int answers[2];
    pid_t child;
} tail_pair;

static long futex(_Atomic uint32_t *word, int operation, uint32_t value,
                  const struct timespec *limit)
{
    return syscall(SYS_futex, word, operation, value, limit, NULL, 0);
}

/* ---- the other process ---- */

static void say_seen(tail_page *page, uint32_t i)
{
    page->seen_ns[i] = bench_now_ns();
    atomic_store(&page->seen, i + 1);
    (void)futex(&page->seen, FUTEX_WAKE, INT_MAX, NULL);
}

static int child_ping(tail_page *page, int fd, void *buffer)
{
    uint32_t ping = atomic_load(&page->ping);
    atomic_store(&page->seen, 0);
    for (uint32_t i = 0; i < BLOCK; i++) {
        while (atomic_load(&page->ping) == ping)
            (void)futex(&page->ping, FUTEX_WAIT, ping, NULL);
        ping++;
        if (fd >= 0 && pread(fd, buffer, BENCH_UNIT_BYTES, (off_t)(i * BENCH_UNIT_BYTES)) < 0)
            return -errno;
        say_seen(page, i);
    }
    return 0;
}

static int child_journal(tail_page *page, baton_reader *reader)
{
    baton_entry entry;
    baton_error error;
    atomic_store(&page->seen, 0);
    for (uint32_t i = 0; i < BLOCK;) {
        int r = baton_reader_next(reader, &entry, &error);
        if (r < 0)
            return r;
        if (r == 0) {
            r = baton_reader_wait(reader, BENCH_WAIT_NS);
            if (r < 0)
                return r;
            continue;
        }
        say_seen(page, i++);
    }
    return 0;
}

static int child_main(const bench_run *run, const char *path, const char *file, tail_pair *pair)
{
    baton_reader *reader = NULL;
    baton_error error;
    void *buffer = NULL;
    int r = baton_reader_open(path, &(baton_reader_options){.live = true, .backend = run->backend},
                              &reader, &error);
    int fd = open(file, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (r == 0 && (fd < 0 || posix_memalign(&buffer, BENCH_UNIT_BYTES, BENCH_UNIT_BYTES) != 0))
        r = -errno;
    for (char command; r == 0 && read(pair->commands[0], &command, 1) == 1;) {
        if (command == TURN_END)
            break;
        (void)!write(pair->answers[1], &command, 1); /* about to listen */
        if (command == TURN_JOURNAL)
            r = child_journal(pair->page, reader);
        else
            r = child_ping(pair->page, command == TURN_PING ? -1 : fd, buffer);
    }
    baton_reader_close(reader);
    return r;
}

/* ---- this process ---- */

/* One entry, and when its write was known to be done. */
static int append_one(baton_journal *journal, int64_t *ret_ns)
{
    int r = bench_append(journal);
    if (r == 0)
        r = baton_journal_poll(journal);
    uint64_t seq = baton_journal_last_seq(journal);
    while (r == 0 && baton_journal_durable_seq(journal) < seq) {
        struct pollfd event = {.fd = baton_journal_fd(journal), .events = POLLIN};
        (void)poll(&event, 1, 10);
        *ret_ns = bench_now_ns();
        r = baton_journal_poll(journal);
    }
    return r;
}

static int wait_seen(const tail_pair *pair, uint32_t count)
{
    int64_t end_ns = bench_now_ns() + (int64_t)BENCH_WAIT_NS;
    const struct timespec look = {.tv_sec = 1}; /* a child that died wakes nobody */
    for (uint32_t seen; (seen = atomic_load(&pair->page->seen)) < count;) {
        if (futex(&pair->page->seen, FUTEX_WAIT, seen, &look) == 0 || errno != ETIMEDOUT)
            continue;
        if (bench_now_ns() > end_ns || waitpid(pair->child, NULL, WNOHANG) != 0)
            return BATON_E_TIMEOUT;
    }
    return 0;
}

static int block(const tail_pair *pair, baton_journal *journal, tail_turn turn,
                 baton_histogram *histogram)
{
    tail_page *page = pair->page;
    char command = (char)turn;
    atomic_store(&page->seen, UINT32_MAX);
    if (write(pair->commands[1], &command, 1) != 1 || read(pair->answers[0], &command, 1) != 1)
        return -EPIPE;
    while (atomic_load(&page->seen) == UINT32_MAX) { /* it has begun */
        const struct timespec nap = {.tv_nsec = 20000};
        (void)nanosleep(&nap, NULL);
        if (waitpid(pair->child, NULL, WNOHANG) != 0)
            return -EPIPE;
    }
    for (uint32_t i = 0; i < BLOCK; i++) {
        int r = 0;
        /* As long as a durable write takes, so that the other side sleeps as deeply. */
        const struct timespec pace = {.tv_nsec = 120000};
        (void)nanosleep(&pace, NULL);
        if (turn == TURN_JOURNAL) {
            r = append_one(journal, &page->sent_ns[i]);
        } else {
            page->sent_ns[i] = bench_now_ns();
            atomic_fetch_add(&page->ping, 1);
            (void)futex(&page->ping, FUTEX_WAKE, INT_MAX, NULL);
        }
        if (r == 0)
            r = wait_seen(pair, i + 1);
        if (r < 0)
            return r;
        int64_t lag_ns = page->seen_ns[i] - page->sent_ns[i];
        if (histogram)
            baton_histogram_record(histogram, lag_ns > 0 ? (uint64_t)lag_ns : 0);
    }
    return 0;
}

static int run_blocks(const bench_run *run, const tail_pair *pair, baton_journal *journal,
                      const bench_sides *sides, baton_histogram *with_read)
{
    int blocks = bench_blocks(run, QUICK_BLOCKS, FULL_BLOCKS);
    for (int at = -WARM_UP_BLOCKS; at < blocks; at++) {
        bool counts = at >= 0;
        baton_histogram *first = at % 2 == 0 ? sides->raw : sides->raw_again;
        baton_histogram *second = at % 2 == 0 ? sides->raw_again : sides->raw;
        int r = block(pair, journal, TURN_PING, counts ? first : NULL);
        if (r == 0)
            r = block(pair, journal, TURN_JOURNAL, counts ? sides->baton : NULL);
        if (r == 0)
            r = block(pair, journal, TURN_PING, counts ? second : NULL);
        if (r == 0)
            r = block(pair, journal, TURN_PING_READ, counts ? with_read : NULL);
        if (r < 0)
            return r;
        if (counts)
            bench_progress(at + 1, blocks);
    }
    return 0;
}

static int pair_open(const bench_run *run, const char *path, const char *file, tail_pair *pair)
{
    pair->page =
        mmap(NULL, sizeof(*pair->page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (pair->page == MAP_FAILED || pipe2(pair->commands, O_CLOEXEC) < 0 ||
        pipe2(pair->answers, O_CLOEXEC) < 0)
        return -errno;
    pid_t parent = getpid();
    fflush(NULL);
    pair->child = fork();
    if (pair->child < 0)
        return -errno;
    if (pair->child == 0) {
        close(pair->commands[1]);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        int r = getppid() == parent ? child_main(run, path, file, pair) : 0;
        if (r < 0)
            bench_fail("read in the other process", r);
        _exit(r < 0 ? 1 : 0);
    }
    close(pair->commands[0]);
    close(pair->answers[1]);
    return 0;
}

static void pair_close(tail_pair *pair)
{
    char command = TURN_END;
    if (pair->child <= 0)
        return;
    (void)!write(pair->commands[1], &command, 1);
    close(pair->commands[1]);
    close(pair->answers[0]);
    (void)waitpid(pair->child, NULL, 0);
    munmap(pair->page, sizeof(*pair->page));
}

int bench_case_tail(const bench_run *run)
{
    bench_journal journal = {0};
    raw_device *raw = NULL;
    tail_pair pair = {.child = -1};
    baton_histogram *with_read = NULL;
    char file[BENCH_PATH_BYTES];
    bench_sides sides;
    int r = bench_sides_create(&sides);
    if (r == 0)
        r = baton_histogram_create(&with_read);
    if (r == 0)
        r = bench_journal_open(
            run, "tail", &(baton_journal_options){.first_segment_bytes = 64 * BENCH_MIB}, &journal);
    if (r == 0)
        r = bench_journal_settle(&journal);
    if (r == 0)
        r = bench_raw_open(run, "tail",
                           (raw_options){.file_bytes = 4 * BENCH_MIB,
                                         .write_bytes_max = BENCH_UNIT_BYTES,
                                         .depth_max = 1},
                           &raw);
    snprintf(file, sizeof(file), "%s/raw-tail-%s", run->options->directory, run->backend_name);
    if (r == 0)
        r = pair_open(run, journal.path, file, &pair);
    if (r == 0)
        r = run_blocks(run, &pair, journal.journal, &sides, with_read);
    pair_close(&pair);
    if (r < 0) {
        bench_fail("measure tail_lag", r);
    } else {
        bench_compare_latencies(run, "tail_lag", "raw ping", &sides);
        bench_compare(run, &(bench_comparison){
                               .bench_case = "tail_lag",
                               .metric = "p50",
                               .unit = "us",
                               .reference = "raw ping and 4 KiB read",
                               .lower_is_better = true,
                               .value = (double)baton_histogram_quantile(sides.baton, 0.5) / 1000,
                               .raw = (double)baton_histogram_quantile(with_read, 0.5) / 1000});
    }
    raw_close(raw);
    int closed = bench_journal_close(&journal);
    baton_histogram_destroy(with_read);
    bench_sides_destroy(&sides);
    return r < 0 ? r : closed;
}
