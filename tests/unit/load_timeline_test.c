/* A run in windows, its percentiles, and what happened beside it: from results made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "examples/exchange/load/hgrm.h"
#include "examples/exchange/load/timeline.h"
#include "tests/support/test_dir.h"

#define MS    UINT64_C(1000000)
#define BEGAN (UINT64_C(5000) * MS)

enum { COUNT = 200 };

typedef struct {
    run_result result;
    events happened;
    test_dir dir;
    char path[512];
} fixture;

/* Command i is due at 2 * i ms, sent then, and answered 1 + i % 100 ms later. */
static int begin(void **state)
{
    fixture *own = calloc(1, sizeof(*own));
    assert_non_null(own);
    own->result.began_ns = BEGAN;
    own->result.results = calloc(COUNT, sizeof(*own->result.results));
    assert_non_null(own->result.results);
    for (uint32_t i = 0; i < COUNT; i++) {
        const uint64_t due_ns = BEGAN + 2 * MS * i;
        own->result.results[i] = (command_result){.intended_ns = due_ns,
                                                  .sent_ns = due_ns,
                                                  .acked_ns = due_ns + MS * (1 + i % 100),
                                                  .measured = MEASURED};
    }
    assert_int_equal(events_init(&own->happened), 0);
    test_dir_make(&own->dir, "load_timeline");
    snprintf(own->path, sizeof(own->path), "%s/file", own->dir.path);
    *state = own;
    return 0;
}

static int end(void **state)
{
    fixture *own = *state;
    test_dir_remove(&own->dir);
    events_fini(&own->happened);
    free(own->result.results);
    free(own);
    return 0;
}

static char *text_of(const char *path)
{
    static char text[1 << 16];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    const size_t bytes = fread(text, 1, sizeof(text) - 1, file);
    assert_int_equal(fclose(file), 0);
    text[bytes] = '\0';
    return text;
}

static void latencies_stand_where_commands_were_due_and_answers_where_they_came(void **state)
{
    fixture *own = *state;
    timeline of;
    assert_int_equal(timeline_make(&of, &own->result, COUNT, 100 * MS, 1000), 0);
    assert_int_equal(of.count, 5); /* the last answer comes at 398 + 100 ms */
    uint32_t due = 0, sent = 0, acked = 0;
    for (uint32_t i = 0; i < of.count; i++) {
        due += of.rows[i].due;
        sent += of.rows[i].sent;
        acked += of.rows[i].acked;
    }
    assert_int_equal(due, COUNT);
    assert_int_equal(sent, COUNT);
    assert_int_equal(acked, COUNT);
    /* Due in the first: 50 commands, answered after 1 to 50 ms. */
    assert_int_equal(of.rows[0].due, 50);
    assert_int_equal(of.rows[0].measured, 50);
    assert_int_equal(of.rows[0].p50_ns, 25 * MS);
    assert_int_equal(of.rows[0].p99_ns, 50 * MS);
    assert_int_equal(of.rows[0].max_ns, 50 * MS);
    assert_int_equal(of.rows[1].p50_ns, 75 * MS);
    /* Answered in the first: those with 2 i + 1 + i below 100. */
    assert_int_equal(of.rows[0].acked, 33);
    assert_int_equal(of.rows[4].due, 0);
    assert_int_equal(of.rows[4].measured, 0);
    timeline_fini(&of);
}

static void slow_readers_and_the_unanswered_are_counted_but_not_measured(void **state)
{
    fixture *own = *state;
    timeline of;
    own->result.results[0].measured = MEASURED_SLOW;
    own->result.results[1].acked_ns = 0;
    own->result.results[2].measured = MEASURED_NOT; /* a deposit */
    own->result.results[3] = (command_result){0};   /* never sent */
    assert_int_equal(timeline_make(&of, &own->result, COUNT, 100 * MS, 1000), 0);
    assert_int_equal(of.rows[0].due, 48);
    assert_int_equal(of.rows[0].sent, 48);
    assert_int_equal(of.rows[0].measured, 46);
    assert_int_equal(of.rows[0].unanswered, 1);
    timeline_fini(&of);
}

static void windows_grow_where_there_would_be_too_many(void **state)
{
    fixture *own = *state;
    timeline of;
    assert_int_equal(timeline_make(&of, &own->result, COUNT, MS, 100), 0);
    assert_int_equal(of.window_ns, 5 * MS);
    assert_int_equal(of.count, 100);
    timeline_fini(&of);
    for (uint32_t i = 0; i < COUNT; i++) /* nothing was sent at all */
        own->result.results[i] = (command_result){0};
    assert_int_equal(timeline_make(&of, &own->result, COUNT, MS, 100), 0);
    assert_int_equal(of.count, 1);
    assert_int_equal(timeline_write_svg(own->path, &of, &own->happened), 0);
    timeline_fini(&of);
}

static void the_table_has_a_row_a_window_and_what_happened_in_it(void **state)
{
    fixture *own = *state;
    timeline of;
    events_note(&own->happened, BEGAN - MS, EVENT_MARK, 1, "early");
    events_note(&own->happened, BEGAN + 150 * MS, EVENT_LOST, 1, NULL);
    events_note(&own->happened, BEGAN + 151 * MS, EVENT_MADE, 1, NULL);
    events_note(&own->happened, BEGAN + 152 * MS, EVENT_LOST, 2, NULL);
    events_note(&own->happened, BEGAN + 420 * MS, EVENT_STORM, 7, NULL);
    events_note(&own->happened, BEGAN + 430 * MS, EVENT_MARK, 1, "say \"when\", <now> & here");
    assert_int_equal(timeline_make(&of, &own->result, COUNT, 100 * MS, 1000), 0);
    assert_int_equal(timeline_write_csv(own->path, &of, &own->happened), 0);
    static const char expected[] =
        "start_s,due,sent,acked,unanswered,p50_us,p99_us,max_us,events\n"
        "0.000,50,50,33,0,25000.0,50000.0,50000.0,\"mark early\"\n"
        "0.100,50,50,34,0,75000.0,100000.0,100000.0,\"lost 3; made 1\"\n";
    const char *text = text_of(own->path);
    assert_memory_equal(text, expected, sizeof(expected) - 1);
    static const char last[] =
        "0.400,0,0,33,0,,,,\"storm 7; mark say \"\"when\"\", <now> & here\"\n";
    assert_string_equal(text + strlen(text) - (sizeof(last) - 1), last);
    assert_int_equal(timeline_write_svg(own->path, &of, &own->happened), 0);
    text = text_of(own->path);
    assert_non_null(strstr(text, ">early</text>"));
    assert_non_null(strstr(text, ">say \"when\", &#60;now&#62; &#38; here</text>"));
    assert_non_null(strstr(text, "<title>3 connections lost</title>"));
    assert_null(strstr(text, "\"nan"));
    assert_null(strstr(text, "Lnan"));
    timeline_fini(&of);
    assert_true(timeline_write_csv("/nowhere/file", &of, &own->happened) < 0);
}

static void marks_come_from_whole_lines_of_a_file_and_from_signals(void **state)
{
    fixture *own = *state;
    marks from = {.path = own->path};
    marks_look(&from, &own->happened, 0, 1000 * MS); /* there is no such file yet */
    assert_int_equal(own->happened.count, 0);
    FILE *file = fopen(own->path, "w");
    assert_non_null(file);
    fputs("one\n\ntwo\nthr", file);
    assert_int_equal(fflush(file), 0);
    marks_look(&from, &own->happened, 0, 2000 * MS);
    assert_int_equal(own->happened.count, 2);
    marks_look(&from, &own->happened, 0, 3000 * MS);
    assert_int_equal(own->happened.count, 2);
    fputs("ee\n", file);
    assert_int_equal(fclose(file), 0);
    marks_look(&from, &own->happened, 2, 4000 * MS);
    assert_int_equal(own->happened.count, 5);
    static const char *const texts[] = {"one", "two", "signal 1", "signal 2", "three"};
    for (uint32_t i = 0; i < 5; i++)
        assert_string_equal(own->happened.list[i].text, texts[i]);
    assert_int_equal(own->happened.list[4].at_ns, 4000 * MS);
}

/* As HdrHistogram's PercentileIterator walks, with 5 ticks a half. */
static void percentiles_are_printed_as_hdr_histogram_does(void **state)
{
    fixture *own = *state;
    baton_histogram *latency;
    assert_int_equal(baton_histogram_create(&latency), 0);
    for (uint64_t us = 1; us <= 4; us++)
        baton_histogram_record(latency, us * 1000);
    assert_int_equal(hgrm_write(own->path, latency), 0);
    assert_string_equal(text_of(own->path),
                        "       Value     Percentile TotalCount 1/(1-Percentile)\n"
                        "\n"
                        "       1.000 0.000000000000          1           1.00\n"
                        "       1.000 0.100000000000          1           1.11\n"
                        "       1.000 0.200000000000          1           1.25\n"
                        "       2.000 0.300000000000          2           1.43\n"
                        "       2.000 0.400000000000          2           1.67\n"
                        "       2.000 0.500000000000          2           2.00\n"
                        "       3.001 0.550000000000          3           2.22\n"
                        "       3.001 0.600000000000          3           2.50\n"
                        "       3.001 0.650000000000          3           2.86\n"
                        "       3.001 0.700000000000          3           3.33\n"
                        "       3.001 0.750000000000          3           4.00\n"
                        "       4.000 0.775000000000          4           4.44\n"
                        "       4.000 1.000000000000          4\n"
                        "#[Mean    =        2.500, StdDeviation   =        1.118]\n"
                        "#[Max     =        4.000, Total count    =            4]\n"
                        "#[Buckets =           53, SubBuckets     =         2048]\n");
    baton_histogram_reset(latency);
    assert_int_equal(hgrm_write(own->path, latency), 0); /* nothing was measured */
    assert_non_null(strstr(text_of(own->path), "Total count    =            0]"));
    assert_null(strstr(text_of(own->path), "nan"));
    baton_histogram_destroy(latency);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            latencies_stand_where_commands_were_due_and_answers_where_they_came, begin, end),
        cmocka_unit_test_setup_teardown(
            slow_readers_and_the_unanswered_are_counted_but_not_measured, begin, end),
        cmocka_unit_test_setup_teardown(windows_grow_where_there_would_be_too_many, begin, end),
        cmocka_unit_test_setup_teardown(the_table_has_a_row_a_window_and_what_happened_in_it, begin,
                                        end),
        cmocka_unit_test_setup_teardown(marks_come_from_whole_lines_of_a_file_and_from_signals,
                                        begin, end),
        cmocka_unit_test_setup_teardown(percentiles_are_printed_as_hdr_histogram_does, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
