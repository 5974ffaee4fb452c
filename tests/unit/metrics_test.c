/* base/metrics.c */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <baton/metrics.h>

static int create(void **state)
{
    return baton_metrics_create((baton_metrics **)state);
}

static int destroy(void **state)
{
    baton_metrics_destroy(*state);
    return 0;
}

static void check_text(const baton_metrics *metrics, const char *expected)
{
    char *text = NULL;
    size_t bytes = 0;
    assert_int_equal(baton_metrics_print(metrics, &text, &bytes), 0);
    assert_string_equal(text, expected);
    assert_int_equal(bytes, strlen(expected));
    free(text);
}

static void the_text_is_prometheus(void **state)
{
    baton_metrics *metrics = *state;
    baton_metric *appends, *lag, *errors;
    assert_int_equal(baton_metrics_counter(metrics, "baton_appends_total", "mode=\"durable\"",
                                           "Entries appended.", &appends),
                     0);
    assert_int_equal(baton_metrics_gauge(metrics, "baton_lag", NULL, "a \\ and\na line", &lag), 0);
    assert_int_equal(baton_metrics_counter(metrics, "baton_appends_total", "mode=\"written\"",
                                           "another text", &errors),
                     0);
    baton_metric_add(appends, 3);
    baton_metric_add(appends, UINT64_C(1) << 60);
    baton_metric_add(errors, 7);
    baton_metric_set(lag, 0.1);
    check_text(metrics, "# HELP baton_appends_total Entries appended.\n"
                        "# TYPE baton_appends_total counter\n"
                        "baton_appends_total{mode=\"durable\"} 1152921504606846979\n"
                        "baton_appends_total{mode=\"written\"} 7\n"
                        "# HELP baton_lag a \\\\ and\\na line\n"
                        "# TYPE baton_lag gauge\n"
                        "baton_lag 0.1\n");
}

static void gauges_print_every_kind_of_number(void **state)
{
    baton_metrics *metrics = *state;
    baton_metric *gauge;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.0, "# HELP g \n# TYPE g gauge\ng 0\n"},
        {-2.5, "# HELP g \n# TYPE g gauge\ng -2.5\n"},
        {1e300, "# HELP g \n# TYPE g gauge\ng 1e+300\n"},
        {1.0 / 3.0, "# HELP g \n# TYPE g gauge\ng 0.33333333333333331\n"},
        {123456789012345.0, "# HELP g \n# TYPE g gauge\ng 123456789012345\n"},
        {(double)INFINITY, "# HELP g \n# TYPE g gauge\ng +Inf\n"},
        {-(double)INFINITY, "# HELP g \n# TYPE g gauge\ng -Inf\n"},
        {(double)NAN, "# HELP g \n# TYPE g gauge\ng NaN\n"},
    };
    assert_int_equal(baton_metrics_gauge(metrics, "g", NULL, NULL, &gauge), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        baton_metric_set(gauge, cases[i].value);
        check_text(metrics, cases[i].text);
    }
}

static void the_same_name_and_labels_are_the_same_metric(void **state)
{
    baton_metrics *metrics = *state;
    baton_metric *first, *second, *other;
    assert_int_equal(baton_metrics_counter(metrics, "c", "a=\"1\"", "x", &first), 0);
    assert_int_equal(baton_metrics_counter(metrics, "c", "a=\"1\"", "y", &second), 0);
    assert_int_equal(baton_metrics_counter(metrics, "c", "a=\"2\"", "y", &other), 0);
    assert_ptr_equal(first, second);
    assert_ptr_not_equal(first, other);
    baton_metric_add(first, 2);
    assert_true(baton_metric_value(second) > 1.9 && baton_metric_value(second) < 2.1);
}

static void another_kind_or_a_bad_name_is_refused(void **state)
{
    baton_metrics *metrics = *state;
    baton_metric *metric = NULL;
    static const char *const bad[] = {"", "9a", "a-b", "a b", "a{", "\xc3\xa4"};
    assert_int_equal(baton_metrics_counter(metrics, "c", NULL, "x", &metric), 0);
    baton_metric *untouched = metric;
    assert_int_equal(baton_metrics_gauge(metrics, "c", NULL, "x", &metric), BATON_E_INVALID);
    assert_int_equal(baton_metrics_gauge(metrics, "c", "l=\"1\"", "x", &metric), BATON_E_INVALID);
    assert_int_equal(baton_metrics_gauge(metrics, "d", "l=\"\n\"", "x", &metric), BATON_E_INVALID);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(baton_metrics_counter(metrics, bad[i], NULL, "x", &metric),
                         BATON_E_INVALID);
    assert_ptr_equal(metric, untouched);
    assert_int_equal(baton_metrics_counter(metrics, "_a:B9", NULL, "x", &metric), 0);
}

static void a_null_metric_is_accepted(void **state)
{
    (void)state;
    baton_metric_add(NULL, 1);
    baton_metric_set(NULL, 1.0);
    assert_true(baton_metric_value(NULL) >= 0.0 && baton_metric_value(NULL) <= 0.0);
    baton_metrics_destroy(NULL);
}

enum { THREADS = 4, ADDS = 20000 };

static void *hammer(void *argument)
{
    baton_metrics *metrics = argument;
    baton_metric *counter, *gauge;
    if (baton_metrics_counter(metrics, "hits", NULL, "", &counter) != 0 ||
        baton_metrics_gauge(metrics, "level", NULL, "", &gauge) != 0)
        return "registration failed";
    for (int i = 0; i < ADDS; i++) {
        baton_metric_add(counter, 1);
        baton_metric_set(gauge, 5.0);
        if (i % 5000 == 0) {
            char *text;
            size_t bytes;
            if (baton_metrics_print(metrics, &text, &bytes) != 0)
                return "printing failed";
            free(text);
        }
    }
    return NULL;
}

static void threads_lose_no_update(void **state)
{
    baton_metrics *metrics = *state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, metrics), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failure = NULL;
        assert_int_equal(pthread_join(threads[i], &failure), 0);
        assert_null(failure);
    }
    baton_metric *counter;
    assert_int_equal(baton_metrics_counter(metrics, "hits", NULL, "", &counter), 0);
    assert_int_equal((long)baton_metric_value(counter), THREADS * ADDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_text_is_prometheus, create, destroy),
        cmocka_unit_test_setup_teardown(gauges_print_every_kind_of_number, create, destroy),
        cmocka_unit_test_setup_teardown(the_same_name_and_labels_are_the_same_metric, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(another_kind_or_a_bad_name_is_refused, create, destroy),
        cmocka_unit_test(a_null_metric_is_accepted),
        cmocka_unit_test_setup_teardown(threads_lose_no_update, create, destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
