/* What the metrics say, on a clock that stands still until it is moved: every number is known. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/journal_fixture.h"

static test_dir dir;
static io_fault *fault;
static fixture_clock clock_;
static baton_metrics *metrics;
static baton_journal_options options;
static char journal_dir[TEST_PATH_BYTES];

static int set_up(void **state)
{
    (void)state;
    test_dir_make(&dir, "journal_metrics");
    snprintf(journal_dir, sizeof(journal_dir), "%s", test_path(&dir, "j"));
    fault = io_fault_new();
    fixture_clock_init(&clock_);
    assert_int_equal(baton_metrics_create(&metrics), 0);
    options = fixture_options();
    options.io_backend = io_fault_backend();
    options.io_context = fault;
    options.clock = &clock_.clock;
    options.idle_mark_ns = UINT64_C(3600000000000);
    options.metrics = metrics;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    baton_metrics_destroy(metrics);
    io_fault_free(fault);
    test_dir_remove(&dir);
    return 0;
}

static void pass(uint64_t ns)
{
    clock_.monotonic_ns += ns;
    clock_.wall_ns += ns;
}

/* The value after this name and its labels. */
static double value_of(const char *series)
{
    char *text;
    size_t bytes;
    char line[160];
    assert_int_equal(baton_metrics_print(metrics, &text, &bytes), 0);
    snprintf(line, sizeof(line), "\n%s ", series);
    const char *at = strstr(text, line);
    if (at == NULL)
        fail_msg("%s is not there", series);
    const double value = atof(at + strlen(line));
    free(text);
    return value;
}

static void expect(const char *series, double value)
{
    const double is = value_of(series);
    if (is < value - 1e-9 || is > value + 1e-9)
        fail_msg("%s is %f, not %f", series, is, value);
}

static void prepare(baton_journal *journal)
{
    for (int i = 0; i < 60; i++)
        assert_int_equal(baton_journal_poll(journal), 0);
}

static void latencies_and_sizes_are_those_of_the_batches(void **state)
{
    (void)state;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    prepare(journal);
    expect("baton_journal_segments_ready", 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(baton_journal_append(journal, 1, "x", 1, NULL), 0);
        pass(100000); /* the oldest of the three waits 300 us */
    }
    assert_int_equal(baton_journal_poll(journal), 0);
    pass(2000000);
    expect("baton_journal_in_flight", 1);
    expect("baton_journal_durable_seconds_count", 0);
    assert_int_equal(baton_journal_poll(journal), 0);
    expect("baton_journal_in_flight", 0);

    expect("baton_journal_accepted_seconds_bucket{le=\"0.0002\"}", 0);
    expect("baton_journal_accepted_seconds_bucket{le=\"0.0005\"}", 1);
    expect("baton_journal_accepted_seconds_sum", 0.0003);
    expect("baton_journal_commit_seconds_bucket{le=\"0.001\"}", 0);
    expect("baton_journal_commit_seconds_bucket{le=\"0.005\"}", 1);
    expect("baton_journal_commit_seconds_sum", 0.002);
    expect("baton_journal_durable_seconds_sum", 0.0023);
    expect("baton_journal_durable_seconds_bucket{le=\"+Inf\"}", 1);
    expect("baton_journal_durable_seconds_count", 1);
    expect("baton_journal_batch_bytes_bucket{le=\"4096\"}", 1);
    expect("baton_journal_batch_bytes_sum", 4096);
    expect("baton_journal_batch_entries_bucket{le=\"1\"}", 0);
    expect("baton_journal_batch_entries_bucket{le=\"4\"}", 1);
    expect("baton_journal_batch_entries_sum", 3);
    expect("baton_journal_bytes_total", 4096);

    static uint8_t large[20000];
    assert_int_equal(baton_journal_append(journal, 1, large, sizeof(large), NULL), 0);
    assert_int_equal(baton_journal_flush(journal), 0);
    expect("baton_journal_batch_bytes_bucket{le=\"16384\"}", 1);
    expect("baton_journal_batch_bytes_bucket{le=\"65536\"}", 2);
    expect("baton_journal_batch_bytes_sum", 4096 + 20480);
    expect("baton_journal_durable_seconds_sum", 0.0023); /* no time passed */
    assert_int_equal(baton_journal_close(journal), 0);
}

static void a_full_disk_shows_while_it_lasts(void **state)
{
    (void)state;
    io_fault_fail_all(fault, BATON_IO_ALLOCATE, ENOSPC);
    baton_journal *journal = NULL;
    assert_int_equal(fixture_try_begin(journal_dir, &options, &journal), BATON_E_NO_SPACE);
    io_fault_fail_all(fault, BATON_IO_ALLOCATE, 0);
    baton_metrics_destroy(metrics);
    assert_int_equal(baton_metrics_create(&metrics), 0);
    options.metrics = metrics;
    journal = fixture_begin(journal_dir, &options);
    io_fault_fail_all(fault, BATON_IO_ALLOCATE, ENOSPC);
    prepare(journal);
    expect("baton_journal_no_space", 1);
    expect("baton_journal_no_space_total", 1);
    expect("baton_journal_segments_ready", 0);
    io_fault_fail_all(fault, BATON_IO_ALLOCATE, 0);
    pass(1000000000);
    prepare(journal);
    expect("baton_journal_no_space", 0);
    expect("baton_journal_segments_ready", 1);
    assert_int_equal(baton_journal_close(journal), 0);
}

static void a_broken_journal_says_why(void **state)
{
    (void)state;
    char series[160];
    baton_journal *journal = fixture_begin(journal_dir, &options);
    prepare(journal);
    expect("baton_journal_broken", 0);
    io_fault_fail_kind(fault, BATON_IO_WRITE_DURABLE, 1, EIO);
    assert_int_equal(baton_journal_append(journal, 1, "x", 1, NULL), 0);
    int r = 0;
    for (int i = 0; i < 5 && r == 0; i++)
        r = baton_journal_poll(journal);
    assert_int_equal(r, BATON_E_BROKEN);
    expect("baton_journal_broken", 1);
    snprintf(series, sizeof(series), "baton_journal_broken_reason{reason=\"%s\"}",
             baton_status_text(-EIO));
    expect(series, 1);
    expect("baton_journal_durable_seconds_count", 0);
    assert_int_equal(baton_journal_close(journal), BATON_E_BROKEN);
}

#define METRICS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        METRICS(latencies_and_sizes_are_those_of_the_batches),
        METRICS(a_full_disk_shows_while_it_lasts),
        METRICS(a_broken_journal_says_why),
    };
    return cmocka_run_group_tests_name("journal metrics", tests, NULL, NULL);
}
