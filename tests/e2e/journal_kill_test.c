/* kill -9 at random moments, on a real disk, over both production backends: every entry whose
 * acknowledgement left the process is there afterwards, in order, and nothing that was never
 * appended (J1, J10). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/unit/journal_fixture.h"

#define ROUNDS 12u

static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Appends as fast as it can and says, as a service would to its clients, what is durable. Ends
 * by a kill only. */
static void service(const char *directory, const baton_journal_options *options, int answers)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    baton_journal *journal;
    if (fixture_try_begin(directory, options, &journal) != 0)
        _exit(3);
    uint8_t payload[FIXTURE_PAYLOAD_MAX];
    uint64_t told = baton_journal_durable_seq(journal);
    for (uint64_t i = 0;; i++) {
        uint64_t seq = baton_journal_last_seq(journal) + 1;
        uint32_t bytes = fixture_payload(seq, payload);
        int r = baton_journal_append(journal, fixture_type(seq), payload, bytes, NULL);
        if (r < 0 && r != BATON_E_FULL)
            _exit(4);
        if (r == BATON_E_FULL)
            usleep(20); /* only leaves the CPU to others */
        if ((r == BATON_E_FULL || i % 7 == 0) && baton_journal_poll(journal) < 0)
            _exit(5);
        uint64_t durable = baton_journal_durable_seq(journal);
        if (durable > told && write(answers, &durable, sizeof(durable)) != sizeof(durable))
            _exit(6);
        told = durable;
    }
}

/* Start one, read its answers until `acks` new ones have come, kill it, and read what was still
 * in the pipe. */
static uint64_t run_and_kill(const char *directory, const baton_journal_options *options,
                             uint64_t acks, uint64_t before)
{
    int pipe_ends[2];
    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(pipe_ends[0]);
        service(directory, options, pipe_ends[1]);
    }
    close(pipe_ends[1]);
    uint64_t acked = before;
    uint64_t seq;
    bool killed = false;
    ssize_t got;
    while ((got = read(pipe_ends[0], &seq, sizeof(seq))) == sizeof(seq)) {
        assert_true(seq > acked);
        acked = seq;
        if (!killed && acked >= before + acks)
            killed = kill(child, SIGKILL) == 0;
    }
    close(pipe_ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!killed || !WIFSIGNALED(status))
        fail_msg("the service ended by itself with %d",
                 WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    return acked;
}

static void rounds(baton_backend backend, baton_mode mode, const char *name)
{
    test_dir dir;
    test_dir_make(&dir, name);
    const char *directory = test_path(&dir, "j");
    baton_journal_options options = fixture_options();
    options.backend = backend;
    options.mode = mode;
    options.no_ballast = false;
    uint64_t last = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t acks = next_random() % (i % 4 == 0 ? 5000 : 400) + 1;
        uint64_t acked = run_and_kill(directory, &options, acks, last);

        baton_recovery_report report;
        baton_error error = {0};
        char text[1024];
        baton_journal *journal;
        int r = baton_journal_open(directory, &options, &journal, &report, &error);
        if (r < 0)
            fail_msg("round %d: %s", (int)i, baton_error_text(&error, text, sizeof(text)));
        assert_true(report.last.seq >= acked);
        assert_int_equal(report.acked_lost, 0);
        last = report.last.seq;
        baton_journal_abandon(journal);
    }
    fixture_expect(directory, 1, last);
    test_dir_remove(&dir);
}

static void a_killed_service_loses_nothing_acked_threads(void **state)
{
    (void)state;
    rounds(BATON_BACKEND_THREADS, BATON_MODE_DURABLE, "journal_kill_threads");
}

static void a_killed_service_loses_nothing_acked_uring(void **state)
{
    (void)state;
    baton_io *io;
    const baton_io_options uring = {.choice = BATON_IO_URING};
    if (baton_io_open(&uring, &io, NULL) < 0) {
        print_message("io_uring is denied here\n");
        skip();
    }
    baton_io_close(io);
    rounds(BATON_BACKEND_URING, BATON_MODE_DURABLE, "journal_kill_uring");
}

static void a_killed_service_in_mode_written_loses_nothing_acked(void **state)
{
    (void)state;
    rounds(BATON_BACKEND_AUTO, BATON_MODE_WRITTEN, "journal_kill_written");
}

int main(void)
{
    const char *given = getenv("BATON_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    random_state = given ? strtoull(given, NULL, 10)
                         : (uint64_t)now.tv_nsec * 2654435761u + (uint64_t)now.tv_sec;
    random_state |= 1;
    print_message("repeat with BATON_TEST_SEED=%llu\n", (unsigned long long)random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_service_loses_nothing_acked_threads),
        cmocka_unit_test(a_killed_service_loses_nothing_acked_uring),
        cmocka_unit_test(a_killed_service_in_mode_written_loses_nothing_acked),
    };
    return cmocka_run_group_tests_name("journal, kill -9", tests, NULL, NULL);
}
