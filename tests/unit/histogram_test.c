/* base/histogram.c, judged by the sorted values themselves. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <baton/histogram.h>

#define SEED UINT64_C(20260711)

static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static int create(void **state)
{
    return baton_histogram_create((baton_histogram **)state);
}

static int destroy(void **state)
{
    baton_histogram_destroy(*state);
    return 0;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The promise of the header: at or above the true value, by less than 1/1000, never above the
 * maximum. */
static void check_quantile(const baton_histogram *histogram, const uint64_t *sorted, uint64_t rank,
                           uint64_t count)
{
    const uint64_t true_value = sorted[rank - 1];
    const uint64_t got = baton_histogram_quantile(histogram, (double)rank / (double)count);
    assert_true(got >= true_value);
    assert_true(got <= sorted[count - 1]);
    assert_true(got - true_value <= true_value / 1000);
}

static void quantiles_agree_with_the_sorted_values(void **state)
{
    enum { COUNT = 10000 };
    baton_histogram *histogram = *state;
    uint64_t *values = calloc(COUNT, sizeof(*values));
    uint64_t random = SEED;
    double sum = 0;
    assert_non_null(values);
    printf("seed %llu\n", (unsigned long long)SEED);

    for (size_t i = 0; i < COUNT; i++) {
        values[i] = random_next(&random) >> (1 + random_next(&random) % 63); /* every magnitude */
        sum += (double)values[i];
        baton_histogram_record(histogram, values[i]);
    }
    qsort(values, COUNT, sizeof(*values), by_value);
    for (uint64_t rank = 1; rank <= COUNT; rank += rank < 100 ? 1 : 97)
        check_quantile(histogram, values, rank, COUNT);
    check_quantile(histogram, values, COUNT, COUNT);
    assert_int_equal(baton_histogram_count(histogram), COUNT);
    assert_int_equal(baton_histogram_min(histogram), values[0]);
    assert_int_equal(baton_histogram_max(histogram), values[COUNT - 1]);
    assert_true(fabs(baton_histogram_mean(histogram) - sum / COUNT) < sum / COUNT * 1e-9);
    free(values);
}

static void small_values_are_exact(void **state)
{
    baton_histogram *histogram = *state;
    for (uint64_t value = 1; value <= 2000; value++)
        baton_histogram_record(histogram, value);
    assert_int_equal(baton_histogram_quantile(histogram, 0.0), 1);
    assert_int_equal(baton_histogram_quantile(histogram, 0.07), 140);
    assert_int_equal(baton_histogram_quantile(histogram, 0.5), 1000);
    assert_int_equal(baton_histogram_quantile(histogram, 0.99), 1980);
    assert_int_equal(baton_histogram_quantile(histogram, 0.99901), 1999);
    assert_int_equal(baton_histogram_quantile(histogram, 1.0), 2000);
    assert_int_equal(baton_histogram_quantile(histogram, 7.0), 2000);
}

static void every_power_of_two_and_its_neighbours_is_near(void **state)
{
    baton_histogram *histogram = *state;
    for (unsigned bit = 0; bit < 63; bit++) {
        for (int delta = -1; delta <= 1; delta++) {
            const uint64_t value = (UINT64_C(1) << bit) + (uint64_t)(int64_t)delta;
            baton_histogram_reset(histogram);
            baton_histogram_record(histogram, value);
            baton_histogram_record(histogram, INT64_MAX); /* so that the maximum caps nothing */
            const uint64_t got = baton_histogram_quantile(histogram, 0.5);
            assert_true(got >= value);
            assert_true(got - value <= value / 1000);
        }
    }
}

static void an_empty_one_says_zero(void **state)
{
    baton_histogram *histogram = *state;
    assert_int_equal(baton_histogram_count(histogram), 0);
    assert_int_equal(baton_histogram_quantile(histogram, 0.5), 0);
    assert_int_equal(baton_histogram_min(histogram), 0);
    assert_int_equal(baton_histogram_max(histogram), 0);
    assert_true(baton_histogram_mean(histogram) >= 0.0 && baton_histogram_mean(histogram) <= 0.0);
}

static void values_past_the_range_count_as_its_end(void **state)
{
    baton_histogram *histogram = *state;
    baton_histogram_record(histogram, UINT64_MAX);
    baton_histogram_record(histogram, INT64_MAX);
    assert_int_equal(baton_histogram_count(histogram), 2);
    assert_int_equal(baton_histogram_max(histogram), INT64_MAX);
    assert_int_equal(baton_histogram_quantile(histogram, 1.0), INT64_MAX);
}

static void merging_equals_recording_into_one(void **state)
{
    baton_histogram *whole = *state;
    baton_histogram *parts[2];
    uint64_t random = SEED;
    assert_int_equal(baton_histogram_create(&parts[0]), 0);
    assert_int_equal(baton_histogram_create(&parts[1]), 0);
    baton_histogram_merge(parts[0], parts[1]); /* two empty ones */
    assert_int_equal(baton_histogram_min(parts[0]), 0);

    for (size_t i = 0; i < 5000; i++) {
        const uint64_t value = random_next(&random) % 50000000;
        baton_histogram_record(whole, value);
        baton_histogram_record(parts[i % 2], value);
    }
    baton_histogram_merge(parts[0], parts[1]);
    assert_int_equal(baton_histogram_count(parts[0]), 5000);
    assert_int_equal(baton_histogram_min(parts[0]), baton_histogram_min(whole));
    assert_int_equal(baton_histogram_max(parts[0]), baton_histogram_max(whole));
    assert_true(fabs(baton_histogram_mean(parts[0]) - baton_histogram_mean(whole)) < 1e-6);
    for (int i = 0; i <= 1000; i++)
        assert_int_equal(baton_histogram_quantile(parts[0], i / 1000.0),
                         baton_histogram_quantile(whole, i / 1000.0));
    baton_histogram_destroy(parts[0]);
    baton_histogram_destroy(parts[1]);
}

/* What it walks over is all that was recorded, each value in its place among the sorted ones. */
static void walking_shows_every_value_once_in_order(void **state)
{
    baton_histogram *histogram = *state;
    enum { COUNT = 5000 };
    uint64_t sorted[COUNT], random = SEED, value = 0, count = 0;
    uint32_t cursor = 0, seen = 0;
    assert_false(baton_histogram_next(histogram, &cursor, &value, &count));
    for (uint32_t i = 0; i < COUNT; i++) {
        sorted[i] = random_next(&random) >> (random_next(&random) % 60 + 1);
        baton_histogram_record(histogram, sorted[i]);
    }
    qsort(sorted, COUNT, sizeof(sorted[0]), by_value);
    cursor = 0;
    for (uint64_t before = 0; baton_histogram_next(histogram, &cursor, &value, &count);
         before = value) {
        assert_true(count > 0 && seen + count <= COUNT);
        assert_true(seen == 0 || value > before);
        assert_true(seen == 0 || sorted[seen] > before);
        seen += (uint32_t)count;
        assert_true(sorted[seen - 1] <= value);
        assert_true((double)(value - sorted[seen - 1]) <= (double)value / 1000);
    }
    assert_int_equal(seen, COUNT);
    assert_int_equal(value, baton_histogram_max(histogram));
}

static void reset_makes_it_empty(void **state)
{
    baton_histogram *histogram = *state;
    baton_histogram_record(histogram, 5);
    baton_histogram_reset(histogram);
    an_empty_one_says_zero(state);
    baton_histogram_record(histogram, 9);
    assert_int_equal(baton_histogram_min(histogram), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(quantiles_agree_with_the_sorted_values, create, destroy),
        cmocka_unit_test_setup_teardown(small_values_are_exact, create, destroy),
        cmocka_unit_test_setup_teardown(every_power_of_two_and_its_neighbours_is_near, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(an_empty_one_says_zero, create, destroy),
        cmocka_unit_test_setup_teardown(values_past_the_range_count_as_its_end, create, destroy),
        cmocka_unit_test_setup_teardown(merging_equals_recording_into_one, create, destroy),
        cmocka_unit_test_setup_teardown(walking_shows_every_value_once_in_order, create, destroy),
        cmocka_unit_test_setup_teardown(reset_makes_it_empty, create, destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
