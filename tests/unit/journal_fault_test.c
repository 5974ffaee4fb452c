/* Every fault at every operation of a script (J1, J5, J6): fail it, crash after it, tear it.
 * Afterwards a healthy machine finds all that was acknowledged, in order, and nothing that was
 * never appended, and goes on. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "journal/format.h"
#include "tests/unit/journal_fixture.h"

static test_dir dir;
static io_fault *fault;
static baton_journal_options options;

static int set_up(void **state)
{
    (void)state;
    test_dir_make(&dir, "journal_ack");
    fault = io_fault_new();
    options = fixture_options();
    options.io_backend = io_fault_backend();
    options.io_context = fault;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    io_fault_free(fault);
    test_dir_remove(&dir);
    return 0;
}

typedef struct {
    uint64_t acked; /* the highest seq that was acknowledged */
    uint64_t appended;
    bool closed; /* close said that all is well */
    int failed;  /* the first failure seen */
} outcome;

/* Two epochs with several segments each; stops at the first failure, as a service would. */
static outcome script(const char *directory)
{
    outcome result = {0};
    for (uint32_t epoch = 0; epoch < 2 && !result.failed; epoch++) {
        baton_journal *journal;
        result.failed = fixture_try_begin(directory, &options, &journal);
        if (result.failed)
            break;
        for (uint32_t i = 0; i < 24 && !result.failed; i++) {
            uint8_t payload[FIXTURE_PAYLOAD_MAX];
            for (uint32_t k = 0; k < 12; k++) {
                uint64_t seq = baton_journal_last_seq(journal) + 1;
                uint32_t bytes = fixture_payload(seq, payload);
                int r = baton_journal_append(journal, fixture_type(seq), payload, bytes, NULL);
                if (r < 0 && r != BATON_E_FULL)
                    result.failed = r;
            }
            int r = baton_journal_poll(journal);
            if (i % 5 == 0 && r == 0)
                r = baton_journal_flush(journal);
            if (r < 0)
                result.failed = r;
            if (baton_journal_durable_seq(journal) > result.acked)
                result.acked = baton_journal_durable_seq(journal);
        }
        result.appended = baton_journal_last_seq(journal);
        int r = baton_journal_close(journal);
        if (r == 0)
            result.acked = result.appended;
        else if (!result.failed)
            result.failed = r;
        result.closed = r == 0;
    }
    return result;
}

/* What a reopen on a healthy machine must find, whatever happened before. */
static void check_after(const char *directory, outcome result, uint64_t n)
{
    baton_journal_options healthy = fixture_options();
    baton_journal *journal;
    baton_recovery_report report = {0};
    baton_error error = {0};
    char text[1024];
    healthy.backend = BATON_BACKEND_THREADS;
    int r = baton_journal_open(directory, &healthy, &journal, &report, &error);
    if (r == 0)
        r = baton_journal_begin(journal, &report, &error);
    if (r < 0)
        fail_msg("operation %d: %s", (int)n, baton_error_text(&error, text, sizeof(text)));
    if (report.last.seq < result.acked || report.last.seq > result.appended ||
        report.acked_lost != 0)
        fail_msg("operation %d: %d acked, %d appended, %d recovered", (int)n, (int)result.acked,
                 (int)result.appended, (int)report.last.seq);
    fixture_append_durable(journal, 3);
    assert_int_equal(baton_journal_close(journal), 0);
    fixture_expect(directory, 1, report.last.seq + 3);
}

static void fresh(char path[TEST_PATH_BYTES], uint64_t n)
{
    snprintf(path, TEST_PATH_BYTES, "%.400s/n%d", dir.path, (int)n);
    io_fault_free(fault);
    fault = io_fault_new();
    options.io_context = fault;
}

static void drop(const char *path)
{
    test_dir done;
    snprintf(done.path, sizeof(done.path), "%s", path);
    test_dir_remove(&done);
}

static uint64_t count_operations(void)
{
    char path[TEST_PATH_BYTES];
    fresh(path, 0);
    outcome whole = script(path);
    assert_int_equal(whole.failed, 0);
    assert_true(whole.closed && whole.acked > 400);
    uint64_t count = io_fault_count(fault);
    check_after(path, whole, 0);
    drop(path);
    return count;
}

/* The steps that make a segment ready are many and alike: every operation near the beginning,
 * then every fourth; under a sanitizer, which looks for other things, fewer. */
static uint64_t next_n(uint64_t n)
{
    const char *sanitizer = getenv("BATON_SANITIZE");
    bool slow = sanitizer && sanitizer[0] != '\0';
    return n < 60 && !slow ? n + 1 : n + 4;
}

static void a_failed_operation_loses_nothing_acked_at_any_place(void **state)
{
    (void)state;
    uint64_t count = count_operations();
    uint32_t broken = 0;
    for (uint64_t n = 1; n <= count; n = next_n(n)) {
        char path[TEST_PATH_BYTES];
        fresh(path, n);
        io_fault_fail(fault, n, EIO);
        outcome result = script(path);
        broken += result.failed != 0;
        check_after(path, result, n);
        drop(path);
    }
    assert_true(broken > 5); /* the faults did hit */
}

static void a_crash_loses_nothing_acked_at_any_place(void **state)
{
    (void)state;
    uint64_t count = count_operations();
    uint32_t failed = 0;
    for (uint64_t n = 0; n < count; n = next_n(n)) {
        char path[TEST_PATH_BYTES];
        fresh(path, n);
        io_fault_crash_after(fault, n);
        io_fault_set_order(fault, IO_FAULT_RANDOM, n);
        io_fault_set_gather(fault, 3);
        outcome result = script(path);
        failed += result.failed != 0; /* in another order the script may need fewer operations */
        check_after(path, result, n);
        drop(path);
    }
    assert_true(failed > 5);
}

static void a_torn_write_loses_nothing_acked_at_any_place(void **state)
{
    (void)state;
    uint64_t count = count_operations();
    for (uint64_t n = 1; n <= count; n = next_n(n)) {
        char path[TEST_PATH_BYTES];
        fresh(path, n);
        io_fault_tear(fault, n, n % 3 == 0 ? 512 : n % 3 == 1 ? 4096 : 100);
        io_fault_crash_after(fault, n);
        outcome result = script(path);
        check_after(path, result, n);
        drop(path);
    }
}

#define FAULT(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FAULT(a_failed_operation_loses_nothing_acked_at_any_place),
        FAULT(a_crash_loses_nothing_acked_at_any_place),
        FAULT(a_torn_write_loses_nothing_acked_at_any_place),
    };
    return cmocka_run_group_tests_name("journal, a fault anywhere", tests, NULL, NULL);
}
