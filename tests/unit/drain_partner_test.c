/* What a directory says of the other one of its handover, and what is known of one that was never heard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "drain/partner.h"
#include "tests/support/test_dir.h"

static void what_is_written_is_read_again(void **state)
{
    const baton_partner written = {.directory = "/there",
                                   .host = "two",
                                   .address = "127.0.0.1:7460",
                                   .place = {1, 2},
                                   .nonce = {3},
                                   .far = true,
                                   .fenced_by = UINT64_C(1) << 32};
    baton_partner read;
    baton_error error;
    assert_int_equal(baton_partner_write(*state, &written, &error), 0);
    assert_true(baton_partner_read(*state, &read));
    assert_memory_equal(&read, &written, sizeof(read));
}

/* R12: it is told all the same that another one serves. */
static void one_that_is_far_may_have_no_known_directory(void **state)
{
    const baton_partner written = {.address = "127.0.0.1:7460", .far = true};
    const baton_partner near = {.address = ""};
    baton_partner read;
    baton_error error;
    assert_int_equal(baton_partner_write(*state, &written, &error), 0);
    assert_true(baton_partner_read(*state, &read));
    assert_memory_equal(&read, &written, sizeof(read));
    assert_int_equal(baton_partner_write(*state, &near, &error), 0);
    assert_false(baton_partner_read(*state, &read));
}

static void whom_it_was_told_to_follow_is_known_before_it_is_heard(void **state)
{
    baton_peer_address told;
    baton_partner partner;
    baton_error error;
    (void)state;
    assert_int_equal(baton_peer_address_parse(&told, "127.0.0.1:7460", &error), 0);
    baton_partner_told(&told, &partner);
    assert_true(partner.far);
    assert_string_equal(partner.address, "127.0.0.1:7460");
    assert_string_equal(partner.directory, "");
    assert_int_equal(baton_peer_address_parse(&told, "/var/lib/a/handover.sock", &error), 0);
    baton_partner_told(&told, &partner);
    assert_false(partner.far);
    assert_string_equal(partner.directory, "/var/lib/a");
    assert_int_equal(baton_peer_address_parse(&told, "/var/lib/another.sock", &error), 0);
    baton_partner_told(&told, &partner);
    assert_string_equal(partner.directory, "");
}

static int make(void **state)
{
    static test_dir dir;
    test_dir_make(&dir, "partner");
    *state = dir.path;
    return 0;
}

static int remove_it(void **state)
{
    test_dir dir;
    (void)snprintf(dir.path, sizeof(dir.path), "%s", (const char *)*state);
    test_dir_remove(&dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_read_again, make, remove_it),
        cmocka_unit_test_setup_teardown(one_that_is_far_may_have_no_known_directory, make,
                                        remove_it),
        cmocka_unit_test(whom_it_was_told_to_follow_is_known_before_it_is_heard),
    };
    return cmocka_run_group_tests_name("the partner of a handover", tests, NULL, NULL);
}
