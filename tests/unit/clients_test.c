/* The table of clients: who is answered again, what is forgotten, and that its digest knows neither
 * order nor history. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "examples/exchange/clients/clients.h"

enum { CLIENTS = 5 };

static int setup(void **state)
{
    clients *table;
    assert_int_equal(clients_create(&(clients_options){.clients_max = CLIENTS}, &table), 0);
    *state = table;
    return 0;
}

static int teardown(void **state)
{
    clients_destroy(*state);
    return 0;
}

static client_outcome outcome_of(uint64_t client_seq, uint64_t seq)
{
    return (client_outcome){.client_seq = client_seq,
                            .seq = seq,
                            .filled = seq * 3,
                            .remaining = seq + 7,
                            .outcome = (uint16_t)(seq % 5),
                            .of_type = EXCHANGE_NEW_ORDER};
}

static bool remember(clients *table, uint64_t client_id, uint64_t client_seq, uint64_t seq)
{
    client_outcome outcome = outcome_of(client_seq, seq);
    return clients_remember(table, client_id, &outcome);
}

static void a_command_sent_before_is_answered_with_its_own_outcome(void **state)
{
    clients *table = *state;
    client_outcome found, wanted = outcome_of(9, 100);
    assert_int_equal(clients_judge(table, 1, 9, NULL), CLIENT_NEW_COMMAND);
    assert_true(remember(table, 1, 9, 100));
    assert_true(remember(table, 1, 12, 101));
    assert_int_equal(clients_judge(table, 1, 9, &found), CLIENT_SENT_BEFORE);
    assert_int_equal(found.client_seq, wanted.client_seq);
    assert_int_equal(found.seq, wanted.seq);
    assert_int_equal(found.filled, wanted.filled);
    assert_int_equal(found.remaining, wanted.remaining);
    assert_int_equal(found.outcome, wanted.outcome);
    assert_int_equal(found.of_type, wanted.of_type);
    assert_int_equal(clients_judge(table, 1, 13, NULL), CLIENT_NEW_COMMAND);
    assert_int_equal(clients_judge(table, 2, 9, NULL), CLIENT_NEW_COMMAND);
    assert_int_equal(clients_highest_seq(table, 1), 12);
    assert_int_equal(clients_highest_seq(table, 2), 0);
}

static void a_seq_in_a_gap_is_never_taken_later(void **state)
{
    clients *table = *state;
    assert_true(remember(table, 1, 9, 100));
    assert_true(remember(table, 1, 12, 101));
    assert_int_equal(clients_judge(table, 1, 10, NULL), CLIENT_TOO_OLD);
    assert_false(remember(table, 1, 10, 102));
    assert_false(remember(table, 1, 12, 103));
    assert_int_equal(clients_judge(table, 1, 12, NULL), CLIENT_SENT_BEFORE);
}

static void the_last_outcomes_are_kept_and_older_ones_are_too_old(void **state)
{
    clients *table = *state;
    enum { SENT = 3 * EXCHANGE_OUTCOMES_KEPT + 5 };
    for (uint64_t i = 1; i <= SENT; i++)
        assert_true(remember(table, 1, i, 1000 + i));
    for (uint64_t i = 1; i <= SENT; i++) {
        client_outcome found;
        client_verdict verdict = clients_judge(table, 1, i, &found);
        bool kept = i > SENT - EXCHANGE_OUTCOMES_KEPT;
        assert_int_equal(verdict, kept ? CLIENT_SENT_BEFORE : CLIENT_TOO_OLD);
        if (kept)
            assert_int_equal(found.seq, 1000 + i);
    }
}

static void a_full_table_turns_new_clients_away_and_serves_the_known(void **state)
{
    clients *table = *state;
    for (uint64_t id = 1; id <= CLIENTS; id++)
        assert_true(remember(table, id << 18, 1, id));
    assert_int_equal(clients_judge(table, 77, 1, NULL), CLIENT_NO_ROOM);
    assert_false(remember(table, 77, 1, 99));
    assert_int_equal(clients_count(table), CLIENTS);
    for (uint64_t id = 1; id <= CLIENTS; id++) {
        assert_int_equal(clients_judge(table, id << 18, 1, NULL), CLIENT_SENT_BEFORE);
        assert_true(remember(table, id << 18, 2, 100 + id));
    }
}

static void the_digest_is_that_of_what_is_kept_however_it_came(void **state)
{
    clients *table = *state;
    clients *other;
    assert_int_equal(clients_create(&(clients_options){.clients_max = CLIENTS + 100}, &other), 0);
    for (uint64_t i = 1; i <= 200; i++)
        for (uint64_t id = 1; id <= 3; id++)
            assert_true(remember(table, id, i, 10 * i + id));
    /* Only what is kept of them, the clients the other way round. */
    for (uint64_t id = 3; id >= 1; id--)
        for (uint64_t i = 200 - EXCHANGE_OUTCOMES_KEPT + 1; i <= 200; i++)
            assert_true(remember(other, id, i, 10 * i + id));
    assert_true(baton_digest_equal(clients_digest(table), clients_digest(other)));
    assert_true(remember(other, 3, 201, 5000));
    assert_false(baton_digest_equal(clients_digest(table), clients_digest(other)));
    clients_destroy(other);
}

static void every_field_of_an_outcome_is_in_the_digest(void **state)
{
    (void)state;
    for (int field = 0; field < 6; field++) {
        clients *one, *other;
        client_outcome outcome = outcome_of(4, 50);
        assert_int_equal(clients_create(&(clients_options){.clients_max = 1}, &one), 0);
        assert_int_equal(clients_create(&(clients_options){.clients_max = 1}, &other), 0);
        assert_true(clients_remember(one, 1, &outcome));
        outcome.client_seq += field == 0;
        outcome.seq += field == 1;
        outcome.filled += field == 2;
        outcome.remaining += field == 3;
        outcome.outcome = (uint16_t)(outcome.outcome + (field == 4));
        outcome.of_type = (uint16_t)(outcome.of_type + (field == 5));
        assert_true(clients_remember(other, 1, &outcome));
        assert_false(baton_digest_equal(clients_digest(one), clients_digest(other)));
        clients_destroy(one);
        clients_destroy(other);
    }
}

static void outcomes_are_listed_oldest_first_after_the_ring_went_round(void **state)
{
    clients *table = *state;
    client_outcome listed[EXCHANGE_OUTCOMES_KEPT];
    for (uint64_t i = 1; i <= EXCHANGE_OUTCOMES_KEPT + 10; i++)
        assert_true(remember(table, 42, 2 * i, i));
    assert_int_equal(clients_id_at(table, 0), 42);
    assert_int_equal(clients_outcomes(table, 0, listed), EXCHANGE_OUTCOMES_KEPT);
    for (uint32_t i = 0; i < EXCHANGE_OUTCOMES_KEPT; i++)
        assert_int_equal(listed[i].client_seq, 2 * (i + 11));
}

static void volumes_have_a_digest_of_their_own_that_nothing_traded_leaves_alone(void **state)
{
    clients *table = *state;
    assert_true(remember(table, 1, 1, 1));
    baton_digest outcomes = clients_digest(table), none = clients_volumes_digest(table);
    clients_add_volume(table, 1, 0);
    clients_add_volume(table, 99, 5); /* unknown: every party of a trade has sent a command */
    assert_true(baton_digest_equal(clients_volumes_digest(table), none));
    clients_add_volume(table, 1, 5);
    clients_add_volume(table, 1, 6);
    assert_int_equal(clients_volume(table, 1), 11);
    assert_false(baton_digest_equal(clients_volumes_digest(table), none));
    assert_true(baton_digest_equal(clients_digest(table), outcomes));
    clients_add_volume(table, 1, UINT64_MAX - 10); /* around, to nothing */
    assert_int_equal(clients_volume(table, 1), 0);
    assert_true(baton_digest_equal(clients_volumes_digest(table), none));
}

static void capacities_that_can_not_be_are_refused(void **state)
{
    (void)state;
    clients *table = NULL;
    assert_int_equal(clients_create(&(clients_options){.clients_max = 0}, &table), BATON_E_INVALID);
    assert_int_equal(
        clients_create(&(clients_options){.clients_max = (uint32_t)EXCHANGE_CLIENT_ID_MAX + 1},
                       &table),
        BATON_E_INVALID);
    assert_null(table);
    clients_destroy(NULL);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_command_sent_before_is_answered_with_its_own_outcome),
        CASE(a_seq_in_a_gap_is_never_taken_later),
        CASE(the_last_outcomes_are_kept_and_older_ones_are_too_old),
        CASE(a_full_table_turns_new_clients_away_and_serves_the_known),
        CASE(the_digest_is_that_of_what_is_kept_however_it_came),
        CASE(every_field_of_an_outcome_is_in_the_digest),
        CASE(outcomes_are_listed_oldest_first_after_the_ring_went_round),
        CASE(volumes_have_a_digest_of_their_own_that_nothing_traded_leaves_alone),
        cmocka_unit_test(capacities_that_can_not_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
