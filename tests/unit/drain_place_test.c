/* drain/place.c: what a directory keeps beside its journal for the process after this one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <baton/journal.h>

#include "drain/place.h"
#include "tests/support/test_dir.h"

#define FORCED(n) ((n)*BATON_EPOCH_FORCED)

static test_dir dir;
static baton_place place;
static baton_error error;

static void open_again(void)
{
    assert_int_equal(baton_place_open(&place, dir.path, "", &error), 0);
}

static int set_up(void **unused)
{
    (void)unused;
    test_dir_make(&dir, "place");
    open_again();
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    test_dir_remove(&dir);
    return 0;
}

static void its_number_stays(void **unused)
{
    (void)unused;
    uint8_t number[BATON_PLACE_BYTES];
    memcpy(number, place.place, sizeof(number));
    open_again();
    assert_memory_equal(place.place, number, sizeof(number));
}

static void an_epoch_by_force_that_was_heard_is_known_at_the_next_start(void **unused)
{
    (void)unused;
    assert_int_equal(place.forced_epoch, 0);
    baton_place_heard_epoch(&place, FORCED(1) + 5);
    open_again();
    assert_int_equal(place.forced_epoch, FORCED(1) + 5);
}

static void only_a_higher_count_of_forces_is_news(void **unused)
{
    (void)unused;
    baton_place_heard_epoch(&place, 7); /* by nobody's force */
    assert_int_equal(place.forced_epoch, 0);
    baton_place_heard_epoch(&place, FORCED(2) + 1);
    baton_place_heard_epoch(&place, FORCED(2) + 9);
    baton_place_heard_epoch(&place, FORCED(1) + 9);
    open_again();
    assert_int_equal(place.forced_epoch, FORCED(2) + 1);
    baton_place_heard_epoch(&place, FORCED(3));
    open_again();
    assert_int_equal(place.forced_epoch, FORCED(3));
}

static void a_lower_run_is_refused_also_at_the_next_start(void **unused)
{
    (void)unused;
    assert_int_equal(baton_place_run(&place, 4, &error), 0);
    open_again();
    assert_int_equal(baton_place_run(&place, 3, &error), BATON_E_REFUSED);
    baton_place_heard(&place, 9);
    open_again();
    assert_int_equal(baton_place_run(&place, 8, &error), BATON_E_REFUSED);
    assert_int_equal(baton_place_run(&place, 9, &error), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(its_number_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_epoch_by_force_that_was_heard_is_known_at_the_next_start,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_a_higher_count_of_forces_is_news, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lower_run_is_refused_also_at_the_next_start, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
