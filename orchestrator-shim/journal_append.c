/* orchestrator-shim/journal_append.c: `baton journal append DIR`: lines on stdin become entries.
 *
 * One loop: take lines out of the buffer until the journal is full, poll the journal, print what
 * became durable, sleep until stdin, the journal or a signal has something. SIGTERM and SIGINT
 * finish: what was read as whole lines becomes durable. */
#include "orchestrator-shim/command.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <baton/clock.h>

#define INPUT_BYTES  (4u * BATON_ENTRY_BYTES_MAX)
#define FULL_WAIT_NS UINT64_C(10000000000)

static const char help[] =
    "baton journal append DIR [options]\n"
    "\n"
    "Each line on stdin becomes an entry, without its newline; up to 65,536 bytes, any bytes.\n"
    "\n"
    "  --ack                      print `durable SEQ` as each entry becomes durable\n"
    "  --io auto|uring|threads    how files are written (default: auto)\n"
    "  --mode durable|written     what an acknowledged entry survives: power loss, or only the end "
    "of the process\n"
    "  --service NAME             the service a new journal is for; refused when an old one is for "
    "another\n"
    "  --type N                   the entries' type, 0 to 65535 (default: 0)\n"
    "  --full-wait TIME           how long to wait for space on a full disk (default: 10s)\n"
    "  -o, --output text|json     with json, acks and the summary are JSON lines\n"
    "\n"
    "Examples:\n"
    "  seq 1000 | baton journal append --ack /var/lib/orders/journal\n"
    "  tail -f orders.log | baton journal append --io threads /var/lib/orders/journal\n";

typedef struct {
    const char *directory;
    baton_journal_options journal_options;
    uint16_t type;
    bool ack;
    bool json;
    uint64_t full_wait_ns;
} append_options;

typedef struct {
    const append_options *options;
    baton_journal *journal;
    baton_recovery_report recovery;
    int signal_fd;
    char *input;        /* INPUT_BYTES */
    size_t begin, end;  /* what is not yet appended */
    uint64_t line;      /* number of the line at begin, from 1 */
    uint64_t first_seq; /* of this run; 0: none yet */
    uint64_t appended;
    uint64_t told_seq; /* acks printed up to here */
    bool input_over;
    bool blocked;           /* the journal took no more; it will after a poll */
    uint64_t full_since_ns; /* 0: the disk is not full */
    baton_error error;      /* status 0: none */
} append_run;

static uint64_t now_ns(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}

static int stop_with(append_run *run, int status, const char *why, const char *todo)
{
    char what[192];
    snprintf(what, sizeof(what), "journal append %.120s, line %llu", run->options->directory,
             (unsigned long long)run->line);
    return baton_error_set(&run->error, status, what, why, todo);
}

/* A full disk is waited for, with a word about it, and not for ever. */
static int handle_full_disk(append_run *run)
{
    const uint64_t now = now_ns();
    if (run->full_since_ns == 0) {
        run->full_since_ns = now;
        fprintf(stderr,
                "baton: journal append %s: the disk is full: waiting for space before line %llu\n",
                run->options->directory, (unsigned long long)run->line);
    }
    if (now - run->full_since_ns >= run->options->full_wait_ns)
        return stop_with(run, BATON_E_NO_SPACE,
                         "the disk is full: this line and those after it were not appended",
                         "free some space, then append them again");
    run->blocked = true;
    return 0;
}

static int append_line(append_run *run, size_t bytes)
{
    baton_entry entry;
    int r = baton_journal_append(run->journal, run->options->type, run->input + run->begin,
                                 (uint32_t)bytes, &entry);
    if (r == BATON_E_FULL) {
        run->blocked = true;
        return 0;
    }
    if (r == BATON_E_NO_SPACE)
        return handle_full_disk(run);
    if (r < 0)
        return stop_with(run, r, NULL, "see what was acknowledged with `baton journal verify`");
    if (run->first_seq == 0)
        run->first_seq = entry.seq;
    run->full_since_ns = 0;
    run->appended++;
    run->line++;
    return 1;
}

/* Whole lines in the buffer become entries; at the end of the input also a last one without
 * newline. */
static int take_lines(append_run *run)
{
    run->blocked = false;
    while (run->begin < run->end && !run->blocked) {
        const char *at = run->input + run->begin;
        const size_t rest = run->end - run->begin;
        const char *newline = memchr(at, '\n', rest);
        const size_t bytes = newline != NULL ? (size_t)(newline - at) : rest;
        if (bytes > BATON_ENTRY_BYTES_MAX)
            return stop_with(run, BATON_E_TOO_LARGE,
                             "the line is longer than 65536 bytes; those before it are appended",
                             "cut it into several lines");
        if (newline == NULL && !run->input_over)
            return 0;
        int r = append_line(run, bytes);
        if (r < 0)
            return r;
        if (r > 0)
            run->begin += bytes + (newline != NULL ? 1 : 0);
    }
    return 0;
}

static int read_input(append_run *run)
{
    if (run->begin > 0) {
        memmove(run->input, run->input + run->begin, run->end - run->begin);
        run->end -= run->begin;
        run->begin = 0;
    }
    ssize_t n = read(STDIN_FILENO, run->input + run->end, INPUT_BYTES - run->end);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n < 0)
        return stop_with(run, -errno, "stdin can't be read", "give it lines");
    if (n == 0)
        run->input_over = true;
    run->end += (size_t)n;
    return 0;
}

static int tell_durable(append_run *run)
{
    const uint64_t durable = baton_journal_durable_seq(run->journal);
    if (!run->options->ack || run->first_seq == 0 || durable <= run->told_seq)
        return 0;
    bool failed = false;
    for (uint64_t seq = run->told_seq + 1; seq <= durable; seq++)
        failed |= printf(run->options->json ? "{\"durable\":%llu}\n" : "durable %llu\n",
                         (unsigned long long)seq) < 0;
    run->told_seq = durable;
    if (fflush(stdout) != 0 || failed)
        return stop_with(run, -EPIPE, "stdout can't be written: nobody reads the acknowledgements",
                         "see what is durable with `baton journal dump`");
    return 0;
}

/* A signal ends the input; a line that is not whole yet was never all there. */
static void take_signal(append_run *run)
{
    struct signalfd_siginfo info;
    if (read(run->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info) || run->input_over)
        return;
    const char *last = run->end > run->begin
                           ? memrchr(run->input + run->begin, '\n', run->end - run->begin)
                           : NULL;
    const size_t whole_end = last != NULL ? (size_t)(last - run->input) + 1 : run->begin;
    if (whole_end < run->end)
        fprintf(stderr,
                "baton: journal append %s: the last line was cut short by the signal: it is not "
                "appended\n",
                run->options->directory);
    run->end = whole_end;
    run->input_over = true;
}

static int sleep_until_something(append_run *run)
{
    const bool wants_input =
        !run->input_over && !run->blocked && run->end - run->begin < INPUT_BYTES;
    struct pollfd fds[3] = {
        {.fd = run->signal_fd, .events = POLLIN},
        {.fd = baton_journal_fd(run->journal), .events = POLLIN},
        {.fd = wants_input ? STDIN_FILENO : -1, .events = POLLIN},
    };
    uint64_t sleep_ns = baton_journal_poll_within_ns(run->journal);
    if (run->full_since_ns != 0 && sleep_ns > 50000000)
        sleep_ns = 50000000; /* space comes back without telling */
    const struct timespec timeout = {.tv_sec = (time_t)(sleep_ns / 1000000000),
                                     .tv_nsec = (long)(sleep_ns % 1000000000)};
    if (ppoll(fds, 3, sleep_ns == UINT64_MAX ? NULL : &timeout, NULL) < 0 && errno != EINTR)
        return stop_with(run, -errno, "waiting failed", "report this");
    if (fds[0].revents != 0)
        take_signal(run);
    if (fds[2].revents != 0 && !run->input_over)
        return read_input(run);
    return 0;
}

/* The poll comes right before the lines: when they find no room then, a write is in flight, and its
 * end wakes the sleep. The other way round, room that the poll made would go unnoticed. */
static int append_all(append_run *run)
{
    for (;;) {
        const int polled = baton_journal_poll(run->journal);
        if (polled < 0)
            return stop_with(
                run, polled,
                "an earlier write failed: nothing after the last acknowledgement is safe",
                "look at the disk, then start again: recovery keeps what is acknowledged");
        const uint64_t appended_before = run->appended;
        const int taken = take_lines(run);
        const int told = tell_durable(run);
        if (taken < 0 || told < 0)
            return taken < 0 ? taken : told;
        if (run->appended > appended_before)
            continue; /* on its way with the next poll */
        if (run->input_over && run->begin == run->end)
            return 0;
        const int slept = sleep_until_something(run);
        if (slept < 0)
            return slept;
    }
}

/* What was appended becomes durable whatever else went wrong, unless the journal itself is
 * broken. */
static void finish(append_run *run)
{
    const bool told_can_go_on = run->error.status != -EPIPE;
    int r = baton_journal_flush(run->journal);
    if (told_can_go_on)
        (void)tell_durable(run);
    if (r < 0 && run->error.status == 0)
        (void)stop_with(run, r, "the last lines could not be made durable",
                        "look at the disk, then append them again");
    const uint64_t last_seq = baton_journal_last_seq(run->journal);
    const uint64_t epoch = baton_journal_epoch(run->journal);
    char backend[16];
    snprintf(backend, sizeof(backend), "%s", baton_journal_backend(run->journal));
    r = baton_journal_close(run->journal);
    run->journal = NULL;
    if (r < 0 && run->error.status == 0)
        (void)stop_with(run, r, "the journal could not be closed cleanly",
                        "start again: recovery keeps what is acknowledged");

    if (run->options->json)
        (void)print_json(json_pack(
            "{s:o, s:o, s:o, s:o, s:s, s:o}", "appended", json_number(run->appended), "first_seq",
            json_number(run->first_seq), "last_seq", json_number(last_seq), "epoch",
            json_number(epoch), "backend", backend, "recovery", json_recovery(&run->recovery)));
    else if (!run->options->ack && run->appended > 0)
        printf("appended %llu entries, seq %llu to %llu\n", (unsigned long long)run->appended,
               (unsigned long long)run->first_seq, (unsigned long long)last_seq);
    else if (!run->options->ack)
        printf("appended 0 entries\n");
    fflush(stdout);
}

/* What the user should know about this journal before trusting it. */
static void tell_start(const append_run *run)
{
    const char *reason = baton_journal_backend_reason(run->journal);
    const char *warning = baton_journal_warning(run->journal);
    if (reason[0] != '\0')
        fprintf(stderr, "baton: journal append %s: writing with threads: %s\n",
                run->options->directory, reason);
    if (warning[0] != '\0')
        fprintf(stderr, "baton: journal append %s: note: %s\n", run->options->directory, warning);
    if (run->recovery.torn_cut > 0)
        fprintf(stderr, "baton: journal append %s: repaired a torn tail: %llu bytes kept in %s\n",
                run->options->directory, (unsigned long long)run->recovery.torn_cut,
                run->recovery.torn_path);
}

static int open_journal(append_run *run)
{
    int r = baton_journal_open(run->options->directory, &run->options->journal_options,
                               &run->journal, &run->recovery, &run->error);
    if (r == 0)
        r = baton_journal_begin(run->journal, &run->recovery, &run->error);
    if (r < 0) {
        baton_journal_abandon(run->journal);
        run->journal = NULL;
        run->error.status = r;
        return r;
    }
    run->told_seq = baton_journal_last_seq(run->journal);
    tell_start(run);
    return 0;
}

static int take_signals(append_run *run)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL); /* before the journal makes threads */
    run->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    return run->signal_fd < 0
               ? stop_with(run, -errno, "no signalfd", "raise the limit of open files")
               : 0;
}

static int run_append(const append_options *options)
{
    append_run run = {.options = options, .signal_fd = -1, .line = 1, .error.offset = UINT64_MAX};
    run.input = malloc(INPUT_BYTES);
    int r = run.input != NULL ? take_signals(&run)
                              : stop_with(&run, -ENOMEM, NULL, "give the process more memory");
    if (r == 0)
        r = open_journal(&run);
    if (r == 0) {
        (void)append_all(&run);
        finish(&run);
    }
    if (run.signal_fd >= 0)
        close(run.signal_fd);
    free(run.input);
    return run.error.status < 0 ? fail_with(&run.error) : 0;
}

int journal_append(int argc, char **argv)
{
    static const struct option options[] = {{"ack", no_argument, NULL, 'a'},
                                            {"io", required_argument, NULL, 'i'},
                                            {"mode", required_argument, NULL, 'm'},
                                            {"service", required_argument, NULL, 's'},
                                            {"type", required_argument, NULL, 't'},
                                            {"full-wait", required_argument, NULL, 'f'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    append_options chosen = {.full_wait_ns = FULL_WAIT_NS};
    uint64_t type = 0;
    for (int option; (option = next_option(argc, argv, options, help)) != -1;) {
        bool fits = true;
        if (option == OPTION_HELP)
            return 0;
        if (option == 'a')
            chosen.ack = true;
        else if (option == 'i')
            fits = read_backend(optarg, &chosen.journal_options.backend);
        else if (option == 's')
            chosen.journal_options.service = optarg;
        else if (option == 't')
            fits = read_number("--type", optarg, &type);
        else if (option == 'f')
            fits = read_duration("--full-wait", optarg, &chosen.full_wait_ns);
        else if (option == 'o')
            fits = read_output(optarg, &chosen.json);
        else if (option == 'm' && strcmp(optarg, "written") == 0)
            chosen.journal_options.mode = BATON_MODE_WRITTEN;
        else if (option == 'm' && strcmp(optarg, "durable") != 0)
            return fail_usage("option --mode", "there is no such mode", "give durable or written");
        if (option == OPTION_WRONG || !fits)
            return 1;
    }
    if (type > UINT16_MAX)
        return fail_usage("option --type", "it is too large", "give 0 to 65535");
    chosen.type = (uint16_t)type;
    chosen.directory = one_directory(argc, argv);
    return chosen.directory != NULL ? run_append(&chosen) : 1;
}
