/* drain/grant_look.c: a standby that nobody tells of its grant finds it on the disk, or does not act
 * (docs/handover.md R5 b and c). */
#include "tests/unit/engine_pair.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drain/grant_look.h"
#include "drain/other_directory.h"

#define NONCE 9

static engine_fixture a;
static engine_fixture b;
static const uint8_t nonce[16] = {NONCE};
static int ends[2];

static int set_up(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    engine_pair_make(&a, &b, "grant");
    engine_pair_follow(&feed, &a, &b);
    engine_feed_close(&feed);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    close(ends[0]);
    if (ends[1] >= 0)
        close(ends[1]);
    engine_pair_remove(&a, &b);
    return 0;
}

static int look(const uint8_t *of, int connection)
{
    baton_peer_channel channel = BATON_PEER_CHANNEL_NONE;
    channel.fd = connection;
    b.error = (baton_error){0};
    return baton_grant_look(b.engine, a.path, of, &channel, &b.error);
}

static bool is_named(void)
{
    return memcmp(baton_engine_facts(b.engine)->handover.successor_nonce, nonce, 16) == 0;
}

/* What was found is on its way to this disk. */
static void promote(void)
{
    baton_engine_point here = {0};
    do {
        assert_int_equal(baton_engine_turn(b.engine, 1000000, &b.error), 0);
        assert_int_equal(baton_engine_digests(b.engine, 0, &here, &b.error), 0);
    } while (here.durable.batch < here.position.batch);
    engine_pair_promote(&b, 2);
}

static void of_a_dead_one_it_is_found_and_acted_on(void **unused)
{
    (void)unused;
    engine_pair_grant(&a, NONCE);
    engine_fixture_close(&a);
    assert_int_equal(look(nonce, -1), 1);
    assert_true(is_named());
    promote();
    engine_fixture_close(&b);
    engine_pair_assert_one_chain(&a, &b);
}

static void of_a_silent_one_it_is_found_while_that_is_connected(void **unused)
{
    (void)unused;
    engine_pair_grant(&a, NONCE);
    assert_int_equal(look(nonce, ends[0]), 1);
    assert_true(is_named());
    promote();
}

static void after_a_cut_nothing_is_acted_on_beside_a_living_one(void **unused)
{
    (void)unused;
    engine_pair_grant(&a, NONCE);
    assert_int_equal(look(nonce, -1), BATON_E_LOCKED);
    close(ends[1]);
    ends[1] = -1;
    assert_int_equal(look(nonce, ends[0]), 0);
    assert_false(is_named());
}

static void without_a_record_there_is_nothing(void **unused)
{
    (void)unused;
    engine_fixture_submit_stream(&a, 501, 600); /* durable there, and perhaps to be voided */
    engine_fixture_settle(&a);
    const uint64_t before = baton_engine_applied_seq(b.engine);
    assert_int_equal(look(nonce, ends[0]), 0);
    engine_fixture_close(&a);
    assert_int_equal(look(nonce, -1), 0);
    assert_int_equal(baton_engine_applied_seq(b.engine), before);
}

static void a_grant_to_another_process_is_none(void **unused)
{
    (void)unused;
    static const uint8_t other[16] = {NONCE + 1};
    engine_pair_grant(&a, NONCE);
    engine_fixture_close(&a);
    assert_int_equal(look(other, -1), 0);
    assert_false(is_named());
}

/* A later start looked before the record landed, and burnt a name: the record is void. */
static void a_later_name_there_makes_it_void(void **unused)
{
    (void)unused;
    char path[sizeof(a.path) + 64];
    engine_pair_grant(&a, NONCE);
    engine_fixture_close(&a);
    snprintf(path, sizeof(path), "%s/journal/0000000000000002-0000000000000009.seg", a.path);
    const int fd = open(path, O_CREAT | O_WRONLY, 0666);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(look(nonce, -1), 0);
    assert_false(is_named());
}

static void headers_and_names_are_told_apart(void **unused)
{
    (void)unused;
    uint64_t name = 0, header = 0;
    engine_pair_grant(&a, NONCE);
    engine_fixture_close(&a);
    assert_int_equal(look(nonce, -1), 1);
    assert_int_equal(baton_engine_prepare_promotion(b.engine, 2, &b.error), 0);
    assert_int_equal(baton_highest_name(b.path, &name), 0);
    assert_int_equal(baton_highest_header(b.path, &header), 0);
    assert_int_equal(name, 2);
    assert_int_equal(header, 0); /* what it followed is none of its own */
    promote();
    assert_int_equal(baton_highest_header(b.path, &header), 0);
    assert_int_equal(header, 2);
    assert_int_equal(baton_highest_header(a.path, &header), 0);
    assert_int_equal(header, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(of_a_dead_one_it_is_found_and_acted_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_a_silent_one_it_is_found_while_that_is_connected, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(after_a_cut_nothing_is_acted_on_beside_a_living_one, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(without_a_record_there_is_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_grant_to_another_process_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_later_name_there_makes_it_void, set_up, tear_down),
        cmocka_unit_test_setup_teardown(headers_and_names_are_told_apart, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
