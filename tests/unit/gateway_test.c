/* What a gateway remembers: its clients' commands without an answer, in order and bounded, and what they were told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "examples/exchange/gateway/queries.h"
#include "examples/exchange/gateway/sessions.h"

enum { CLIENTS = 4, OPEN = 100, KEPT = EXCHANGE_OUTCOMES_KEPT };

static int setup(void **state)
{
    const sessions_options options = {.clients_max = CLIENTS, .open_max = OPEN};
    return sessions_create(&options, (sessions **)state);
}

static int teardown(void **state)
{
    sessions_destroy(*state);
    return 0;
}

static session_verdict take(sessions *own, uint64_t client_id, uint64_t client_seq)
{
    const exchange_cancel cancel = {.command = {.client_id = baton_le64_put(client_id),
                                                .client_seq = baton_le64_put(client_seq)},
                                    .order_seq = baton_le64_put(client_seq * 3)};
    return sessions_take(own, EXCHANGE_CANCEL, &cancel, sizeof(cancel));
}

static void take_all(sessions *own, uint64_t client_id, uint64_t first, uint64_t last)
{
    for (uint64_t seq = first; seq <= last; seq++)
        assert_int_equal(take(own, client_id, seq), SESSION_TAKEN);
}

/* The next one to send is this one, word for word. */
static void assert_next(sessions *own, uint64_t client_id, uint64_t client_seq)
{
    const session_command *next = sessions_next(own);
    exchange_cancel cancel;
    assert_non_null(next);
    assert_int_equal(next->type, EXCHANGE_CANCEL);
    assert_int_equal(next->body_bytes, sizeof(cancel));
    memcpy(&cancel, next->body, sizeof(cancel));
    assert_int_equal(baton_le64_get(cancel.command.client_id), client_id);
    assert_int_equal(baton_le64_get(cancel.command.client_seq), client_seq);
    assert_int_equal(baton_le64_get(cancel.order_seq), client_seq * 3);
    assert_int_equal(next->client_id, client_id);
    assert_int_equal(next->client_seq, client_seq);
}

static uint32_t send_all(sessions *own)
{
    uint32_t count = 0;
    for (; sessions_next(own) != NULL; count++)
        sessions_sent(own);
    return count;
}

static bool ack(sessions *own, uint64_t client_id, uint64_t client_seq)
{
    return sessions_ack(own, client_id, client_seq, true);
}

static void commands_go_in_the_order_in_which_they_came(void **state)
{
    sessions *own = *state;
    for (uint64_t seq = 1; seq <= 5; seq++)
        for (uint64_t client = 1; client <= 3; client++)
            assert_int_equal(take(own, client, seq * 10), SESSION_TAKEN);
    assert_int_equal(sessions_open(own), 15);
    for (uint64_t seq = 1; seq <= 5; seq++)
        for (uint64_t client = 1; client <= 3; client++) {
            assert_next(own, client, seq * 10);
            sessions_sent(own);
        }
    assert_null(sessions_next(own));
}

static void on_another_connection_what_has_no_answer_goes_again_first_and_in_order(void **state)
{
    sessions *own = *state;
    take_all(own, 1, 1, 6);
    assert_int_equal(send_all(own), 6);
    assert_true(ack(own, 1, 2));
    assert_true(ack(own, 1, 5));
    take_all(own, 2, 1, 1);
    sessions_again(own);
    take_all(own, 1, 7, 7);
    const uint64_t expected[][2] = {{1, 1}, {1, 3}, {1, 4}, {1, 6}, {2, 1}, {1, 7}};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_next(own, expected[i][0], expected[i][1]);
        sessions_sent(own);
    }
    assert_null(sessions_next(own));
}

static void an_answer_that_comes_before_its_command_was_sent_again_makes_that_needless(void **state)
{
    sessions *own = *state;
    take_all(own, 1, 1, 3);
    send_all(own);
    sessions_again(own);
    assert_true(ack(own, 1, 1));
    assert_next(own, 1, 2);
    sessions_sent(own);
    assert_true(ack(own, 1, 3));
    assert_null(sessions_next(own));
    take_all(own, 1, 4, 4);
    assert_next(own, 1, 4);
}

static void a_client_is_told_each_answer_once(void **state)
{
    sessions *own = *state;
    take_all(own, 1, 1, 2);
    send_all(own);
    assert_true(ack(own, 1, 1));
    assert_false(ack(own, 1, 1));
    assert_false(ack(own, 1, 9));
    assert_false(ack(own, 2, 1));
    assert_false(
        ack(own, EXCHANGE_CLIENT_ID_MAX + 2, 1)); /* what another process says is not believed */
    assert_false(ack(own, UINT64_MAX, 1));
    assert_true(ack(own, 1, 2));
    assert_int_equal(sessions_open(own), 0);
}

static void
what_a_client_sends_again_goes_on_once_while_it_is_open_and_again_when_it_asks_later(void **state)
{
    sessions *own = *state;
    take_all(own, 1, 1, 2);
    assert_int_equal(take(own, 1, 1), SESSION_OPEN);
    assert_int_equal(send_all(own), 2);
    assert_int_equal(take(own, 1, 2), SESSION_OPEN);
    assert_int_equal(send_all(own), 0);
    assert_true(ack(own, 1, 1));
    assert_int_equal(take(own, 1, 1), SESSION_TAKEN); /* the order service answers it again */
    assert_int_equal(send_all(own), 1);
    assert_true(ack(own, 1, 1));
    assert_false(ack(own, 1, 1));
}

/* As many as the order service remembers: it has no room for more either. */
static void a_client_with_64_since_its_oldest_open_command_waits_and_others_do_not(void **state)
{
    sessions *own = *state;
    take_all(own, 1, 1, KEPT);
    assert_int_equal(take(own, 1, KEPT + 1), SESSION_NO_ROOM);
    take_all(own, 2, 1, 1);
    send_all(own);
    for (uint64_t seq = 2; seq <= KEPT; seq++)
        assert_true(ack(own, 1, seq));
    assert_int_equal(take(own, 1, KEPT + 1),
                     SESSION_NO_ROOM); /* 1 is open, and would be forgotten there */
    assert_true(ack(own, 1, 1));
    take_all(own, 1, KEPT + 1, 2 * KEPT);
    assert_int_equal(take(own, 1, 2 * KEPT + 1), SESSION_NO_ROOM);
}

static void all_open_commands_together_are_bounded(void **state)
{
    sessions *own = *state;
    take_all(own, 1, 1, KEPT);
    take_all(own, 2, 1, OPEN - KEPT);
    assert_int_equal(take(own, 3, 1), SESSION_NO_ROOM);
    assert_true(ack(own, 1, 7));
    assert_int_equal(take(own, 3, 1), SESSION_TAKEN);
    assert_int_equal(take(own, 3, 2), SESSION_NO_ROOM);
    assert_int_equal(sessions_open(own), OPEN);
    assert_int_equal(send_all(own), OPEN);
}

static void the_client_that_is_idle_for_longest_makes_room(void **state)
{
    sessions *own = *state;
    for (uint64_t client = 1; client <= CLIENTS; client++)
        take_all(own, client, 1, 1);
    assert_int_equal(take(own, 9, 1), SESSION_CLIENTS_FULL);
    send_all(own);
    assert_true(ack(own, 3, 1));
    assert_true(ack(own, 2, 1));
    assert_int_equal(take(own, 9, 1), SESSION_TAKEN);
    assert_true(sessions_fill(own, 2, 5, false));
    assert_false(sessions_fill(own, 2, 5, false));
    assert_true(sessions_fill(own, 3, 5, false));
    assert_true(sessions_fill(own, 3, 5, false)); /* it is forgotten */
    assert_int_equal(sessions_count(own), CLIENTS);
}

static void a_client_is_told_each_fill_once_and_of_a_trade_with_itself_both_sides(void **state)
{
    sessions *own = *state;
    take_all(own, 1, 1, 1);
    take_all(own, 2, 1, 1);
    assert_true(sessions_fill(own, 1, 10, false));
    assert_true(sessions_fill(own, 2, 10, true));
    assert_true(sessions_fill(own, 1, 11, false));
    assert_true(sessions_fill(own, 1, 11, true));
    for (uint64_t trade = 10; trade <= 11; trade++) /* they come again */
        for (int taker = 0; taker < 2; taker++)
            assert_false(sessions_fill(own, 1, trade, taker));
    assert_false(sessions_fill(own, 2, 10, true));
    assert_true(sessions_fill(own, 2, 11, false)); /* another client's */
    assert_true(sessions_fill(own, 1, 12, false));
}

/* Else 4, still there, would go before 2: the order service takes no older one after it. */
static void all_that_is_open_of_a_client_that_is_gone_is_forgotten_together(void **state)
{
    sessions *own = *state;
    take_all(own, 1, 1, 2);
    take_all(own, 2, 1, 1);
    take_all(own, 1, 3, 4);
    sessions_sent(own);
    assert_true(ack(own, 1, 1));
    assert_int_equal(sessions_leave(own, 1), 3);
    assert_int_equal(sessions_leave(own, 1), 0);
    assert_int_equal(sessions_leave(own, 7), 0);
    assert_int_equal(sessions_open(own), 1);
    assert_false(ack(own, 1, 2));
    take_all(own, 1, 2, 4); /* it is here again */
    const uint64_t expected[][2] = {{2, 1}, {1, 2}, {1, 3}, {1, 4}};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_next(own, expected[i][0], expected[i][1]);
        sessions_sent(own);
    }
    assert_null(sessions_next(own));
}

static uint64_t next_quiet(sessions *own, uint32_t *cursor)
{
    const session_command *last = sessions_quiet(own, cursor);
    return last ? last->client_id * 1000 + last->client_seq : 0;
}

/* What was refused must not be sent again: this time it might take effect. */
static void a_quiet_client_is_known_by_its_last_command_that_took_effect(void **state)
{
    sessions *own = *state;
    uint32_t cursor = 0;
    take_all(own, 1, 1, 3);
    take_all(own, 2, 1, 1);
    take_all(own, 3, 1, 2);
    take_all(own, 4, 1, 1);
    send_all(own);
    assert_true(ack(own, 1, 2));
    assert_true(ack(own, 1, 1));
    assert_true(sessions_ack(own, 1, 3, false));
    assert_true(sessions_ack(own, 2, 1, false));
    assert_true(ack(own, 3, 1)); /* 2 is open: that is sent anyway */
    assert_true(ack(own, 4, 1));
    assert_int_equal(next_quiet(own, &cursor), 1002);
    assert_int_equal(next_quiet(own, &cursor), 4001);
    assert_int_equal(next_quiet(own, &cursor), 0);
}

static void what_has_no_answer_for_two_rounds_is_asked_again(void **state)
{
    sessions *own = *state;
    take_all(own, 1, 1, 3);
    sessions_sent(own);
    sessions_sent(own);
    sessions_round(own);
    assert_null(sessions_overdue(own));
    sessions_sent(own); /* the third, a round later */
    take_all(own, 1, 4, 4);
    sessions_round(own);
    assert_true(ack(own, 1, 1)); /* while it is looked at */
    const session_command *again = sessions_overdue(own);
    assert_non_null(again);
    assert_int_equal(again->client_seq, 2);
    assert_null(sessions_overdue(own));
    sessions_round(own);
    again = sessions_overdue(own);
    assert_non_null(again);
    assert_int_equal(again->client_seq, 3);
    assert_null(sessions_overdue(own)); /* 2 was asked a round ago, 4 was never sent */
    sessions_round(own);
    assert_non_null(sessions_overdue(own));
    assert_int_equal(sessions_leave(own, 1), 3); /* while they are looked at */
    assert_null(sessions_overdue(own));
    assert_null(sessions_next(own));
}

/* Random commands, answers and connections against a list: nothing lost, nothing twice, always in order. */
static void whatever_happens_each_open_command_is_sent_once_a_connection(void **state)
{
    sessions *own = *state;
    struct {
        uint64_t client, seq;
        bool sent;
    } list[OPEN];
    uint64_t seqs[CLIENTS + 1] = {0};
    uint32_t count = 0;
    srandom(7);
    for (uint32_t step = 0; step < 200000; step++) {
        const uint64_t client = 1 + (uint64_t)random() % CLIENTS;
        const uint32_t at = count > 0 ? (uint32_t)random() % count : 0;
        switch (random() % 8) {
        case 0:
        case 1:
        case 2:
            if (take(own, client, seqs[client] + 1) == SESSION_TAKEN) {
                list[count].client = client;
                list[count].seq = ++seqs[client];
                list[count++].sent = false;
            }
            break;
        case 3:
        case 4:
            if (count == 0)
                break;
            assert_true(ack(own, list[at].client, list[at].seq));
            memmove(&list[at], &list[at + 1], (count - at - 1) * sizeof(list[0]));
            count--;
            break;
        case 5:
            if (random() % 50 != 0)
                break;
            sessions_again(own);
            for (uint32_t i = 0; i < count; i++)
                list[i].sent = false;
            break;
        default: {
            uint32_t next = 0;
            while (next < count && list[next].sent)
                next++;
            assert_int_equal(sessions_next(own) != NULL, next < count);
            if (next == count)
                break;
            assert_next(own, list[next].client, list[next].seq);
            sessions_sent(own);
            list[next].sent = true;
        }
        }
        assert_int_equal(sessions_open(own), count);
    }
}

static exchange_query question(uint64_t number)
{
    return (exchange_query){.client_id = baton_le64_put(number)};
}

static void queries_are_answered_in_order_each_to_its_asker(void **state)
{
    queries own = {0};
    uint64_t asker;
    (void)state;
    for (uint64_t round = 0; round < 3; round++) {
        for (uint64_t i = 1; i <= QUERIES_MAX; i++) {
            const exchange_query query = question(i);
            assert_true(queries_take(&own, i + round, &query));
        }
        const exchange_query query = question(1), other = question(2);
        assert_false(queries_take(&own, 1, &query));
        assert_false(queries_answered(&own, &query, &asker)); /* nobody has been asked */
        queries_sent(&own);
        assert_false(queries_answered(&own, &other, &asker));
        assert_true(queries_answered(&own, &query, &asker));
        assert_int_equal(asker, 1 + round);
        queries_sent(&own);
        queries_again(&own);
        for (uint64_t i = 2; i <= QUERIES_MAX; i++) {
            const exchange_query *next = queries_next(&own);
            assert_non_null(next);
            assert_int_equal(baton_le64_get(next->client_id), i);
            const exchange_query asked = *next;
            queries_sent(&own);
            assert_true(queries_answered(&own, &asked, &asker));
            assert_int_equal(asker, i + round);
        }
        assert_null(queries_next(&own));
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(commands_go_in_the_order_in_which_they_came),
        CASE(on_another_connection_what_has_no_answer_goes_again_first_and_in_order),
        CASE(an_answer_that_comes_before_its_command_was_sent_again_makes_that_needless),
        CASE(a_client_is_told_each_answer_once),
        CASE(what_a_client_sends_again_goes_on_once_while_it_is_open_and_again_when_it_asks_later),
        CASE(a_client_with_64_since_its_oldest_open_command_waits_and_others_do_not),
        CASE(all_open_commands_together_are_bounded),
        CASE(the_client_that_is_idle_for_longest_makes_room),
        CASE(a_client_is_told_each_fill_once_and_of_a_trade_with_itself_both_sides),
        CASE(all_that_is_open_of_a_client_that_is_gone_is_forgotten_together),
        CASE(a_quiet_client_is_known_by_its_last_command_that_took_effect),
        CASE(what_has_no_answer_for_two_rounds_is_asked_again),
        CASE(whatever_happens_each_open_command_is_sent_once_a_connection),
        cmocka_unit_test(queries_are_answered_in_order_each_to_its_asker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
