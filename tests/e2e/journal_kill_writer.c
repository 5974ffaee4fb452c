/* tests/e2e/journal_kill_writer.c: the writer that scripts/rig/kill.py kills, and the reader that
 * judges what it left.
 *
 *     journal_kill_writer write DIR uring|threads BATCH_BYTES SEGMENT_BYTES KEEP
 *     journal_kill_writer read DIR
 *
 * write: appends large entries as fast as they are taken, up to 64 batches in flight, and says on
 * stdout, one line each: `recovered SEQ epoch E torn BYTES unproven N`, then `durable SEQ appended
 * SEQ` whenever more is durable, `full SEQ` when the disk is, `room SEQ` when it is no more, and
 * `retiring SEQ` before it retires what stands before that entry: all but the last KEEP (0: nothing).
 * It does not end by itself; exit 3: no room for an open.
 * read: every entry from the first that is there on must be there, in order, with the bytes that its
 * writer gave it. Prints `epoch E first SEQ last SEQ` for each epoch. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <baton/journal.h>

#define WRITES_IN_FLIGHT 64u
#define LOCK_WAIT_NS     UINT64_C(60000000000) /* a successor may wait before the kill comes */
#define FULL_SLEEP_NS    UINT64_C(5000000)     /* space comes back without telling */
#define EXIT_NO_SPACE    3

static uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 29;
}

static uint64_t noise[2 * BATON_ENTRY_BYTES_MAX / 8];

static void make_noise(void)
{
    for (uint64_t i = 0; i < sizeof(noise) / sizeof(noise[0]); i++)
        noise[i] = mix(i + 1);
}

static uint32_t payload_bytes(uint64_t seq)
{
    return (4096 + (uint32_t)(mix(seq) % (BATON_ENTRY_BYTES_MAX / 8 - 4096 + 1))) * 8;
}

/* What the entry with this seq of this epoch holds, so that no other writer's bytes can pass for
 * it. Cheap: the disk, not this, is to be the bottleneck. */
static void fill(uint64_t seq, uint64_t epoch, void *payload)
{
    const uint64_t name[2] = {seq, epoch};
    uint64_t from = mix(seq * 65537 + epoch) % (BATON_ENTRY_BYTES_MAX / 8);
    memcpy(payload, noise + from, payload_bytes(seq));
    memcpy(payload, name, sizeof(name));
}

static void die(int status, const baton_error *error)
{
    char text[1024];
    fprintf(stderr, "%s\n", baton_error_text(error, text, sizeof(text)));
    exit(status == BATON_E_NO_SPACE || status == -ENOSPC ? EXIT_NO_SPACE : 1);
}

/* One write a line: what is in the pipe when the kill comes is whole. */
static void say(const char *line)
{
    if (write(STDOUT_FILENO, line, strlen(line)) < 0)
        exit(1);
}

/* ---- write ---- */

typedef struct {
    baton_journal *journal;
    uint64_t told_seq;
    uint64_t keep;
    uint64_t retired_seq;
    bool is_full;
} writer;

/* Append until the journal takes no more; how many it took, or the first error. */
static int append_all(writer *w)
{
    int appended = 0;
    int r = 0;
    char line[64];

    while (r == 0) {
        uint64_t seq = baton_journal_last_seq(w->journal) + 1;
        uint32_t bytes = payload_bytes(seq);
        void *payload;
        r = baton_journal_claim(w->journal, bytes, &payload);
        if (r == 0) {
            fill(seq, baton_journal_epoch(w->journal), payload);
            r = baton_journal_commit(w->journal, (uint16_t)(seq & 0xff), bytes, NULL);
        }
        bool is_full = r == BATON_E_NO_SPACE || (r == BATON_E_FULL && w->is_full);
        appended += r == 0;
        if (is_full != w->is_full) {
            (void)snprintf(line, sizeof(line), "%s %" PRIu64 "\n", is_full ? "full" : "room",
                           seq - 1);
            say(line);
            w->is_full = is_full;
        }
    }
    return r == BATON_E_FULL || r == BATON_E_NO_SPACE ? appended : r;
}

static void tell_durable(writer *w)
{
    uint64_t durable = baton_journal_durable_seq(w->journal);
    char line[96];

    if (durable == w->told_seq)
        return;
    w->told_seq = durable;
    (void)snprintf(line, sizeof(line), "durable %" PRIu64 " appended %" PRIu64 "\n", durable,
                   baton_journal_last_seq(w->journal));
    say(line);
}

/* Segment after segment goes, and is used again. */
static int retire(writer *w)
{
    char line[64];
    uint32_t removed;

    if (w->keep == 0 || w->told_seq <= w->retired_seq + 2 * w->keep)
        return 0;
    w->retired_seq = w->told_seq - w->keep;
    (void)snprintf(line, sizeof(line), "retiring %" PRIu64 "\n", w->retired_seq);
    say(line);
    return baton_journal_retire(w->journal, w->retired_seq, &removed);
}

static void sleep_until_something(const writer *w)
{
    struct pollfd fd = {.fd = baton_journal_fd(w->journal), .events = POLLIN};
    uint64_t sleep_ns = baton_journal_poll_within_ns(w->journal);
    if (w->is_full && sleep_ns > FULL_SLEEP_NS)
        sleep_ns = FULL_SLEEP_NS;
    const struct timespec timeout = {.tv_sec = (time_t)(sleep_ns / 1000000000),
                                     .tv_nsec = (long)(sleep_ns % 1000000000)};
    if (ppoll(&fd, 1, sleep_ns == UINT64_MAX ? NULL : &timeout, NULL) < 0 && errno != EINTR)
        exit(1);
}

static int write_for_ever(const char *directory, const baton_journal_options *options,
                          uint64_t keep)
{
    baton_recovery_report report;
    baton_error error = {.offset = UINT64_MAX};
    writer w = {.keep = keep};
    char line[160];

    int r = baton_journal_open(directory, options, &w.journal, &report, &error);
    if (r == 0)
        r = baton_journal_begin(w.journal, &report, &error);
    if (r < 0)
        die(r, &error);
    (void)snprintf(
        line, sizeof(line),
        "recovered %" PRIu64 " epoch %" PRIu64 " torn %" PRIu64 " unproven %" PRIu64 "\n",
        report.last.seq, baton_journal_epoch(w.journal), report.torn_cut, report.unproven);
    say(line);
    w.told_seq = baton_journal_durable_seq(w.journal);
    for (;;) { /* the poll right before the appends: no room then means that a write is in flight */
        r = baton_journal_poll(w.journal);
        int appended = r == 0 ? append_all(&w) : r;
        tell_durable(&w);
        r = appended < 0 ? appended : retire(&w);
        if (r < 0) {
            fprintf(stderr, "the journal broke: %s\n", baton_status_name(r));
            return 1;
        }
        if (appended == 0)
            sleep_until_something(&w);
    }
}

/* ---- read ---- */

static bool is_right(const baton_entry *entry)
{
    static uint8_t payload[BATON_ENTRY_BYTES_MAX];
    if (entry->type != (entry->seq & 0xff) || entry->payload_bytes != payload_bytes(entry->seq))
        return false;
    fill(entry->seq, entry->epoch, payload);
    return memcmp(entry->payload, payload, entry->payload_bytes) == 0;
}

static int read_all(const char *directory)
{
    const baton_reader_options options = {.backend = BATON_BACKEND_THREADS};
    baton_error error = {.offset = UINT64_MAX};
    baton_reader *reader;
    baton_entry entry;
    uint64_t epoch = 0, first = 0, seq = 0;

    int r = baton_reader_open(directory, &options, &reader, &error);
    while (r == 0 && (r = baton_reader_next(reader, &entry, &error)) == 1) {
        if (seq == 0)
            seq = entry.seq - 1; /* what is before was retired */
        if (entry.seq != seq + 1 || entry.epoch < epoch || !is_right(&entry)) {
            fprintf(stderr, "after seq %" PRIu64 ": seq %" PRIu64 " of epoch %" PRIu64 " is %s\n",
                    seq, entry.seq, entry.epoch, entry.seq == seq + 1 ? "wrong" : "no successor");
            return 1;
        }
        if (entry.epoch != epoch) {
            if (epoch != 0)
                printf("epoch %" PRIu64 " first %" PRIu64 " last %" PRIu64 "\n", epoch, first, seq);
            epoch = entry.epoch;
            first = entry.seq;
        }
        seq = entry.seq;
        r = 0;
    }
    if (r < 0)
        die(r, &error);
    if (epoch != 0)
        printf("epoch %" PRIu64 " first %" PRIu64 " last %" PRIu64 "\n", epoch, first, seq);
    baton_reader_close(reader);
    return fflush(stdout) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    make_noise();
    if (argc == 3 && strcmp(argv[1], "read") == 0)
        return read_all(argv[2]);
    if (argc != 7 || strcmp(argv[1], "write") != 0) {
        fprintf(stderr, "usage: journal_kill_writer write DIR uring|threads BATCH_BYTES "
                        "SEGMENT_BYTES KEEP | read DIR\n");
        return 1;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const baton_journal_options options = {
        .service = "kill",
        .backend = strcmp(argv[3], "uring") == 0 ? BATON_BACKEND_URING : BATON_BACKEND_THREADS,
        .batch_bytes_max = (uint32_t)strtoul(argv[4], NULL, 10),
        .segment_bytes = strtoull(argv[5], NULL, 10),
        .first_segment_bytes = 8 * strtoull(argv[4], NULL, 10),
        .batches_in_flight_max = WRITES_IN_FLIGHT,
        .lock_wait_ns = LOCK_WAIT_NS,
    };
    return write_for_ever(argv[2], &options, strtoull(argv[6], NULL, 10));
}
