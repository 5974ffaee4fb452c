/* What becomes of a load's commands: which connection, when they may go, and what their answers say. No sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "examples/exchange/load/answers.h"

enum { COUNT = 1000, CLIENTS = 5 };

typedef struct {
    load_command commands[COUNT];
    command_result results[COUNT];
    lanes lanes;
    answers answers;
} fixture;

/* Command i is of client 1 + i % CLIENTS. */
static fixture *begin(uint32_t lanes_count, uint32_t deposits_apart)
{
    fixture *own = calloc(1, sizeof(*own));
    assert_non_null(own);
    for (uint32_t i = 0; i < COUNT; i++) {
        own->commands[i].type = i < deposits_apart ? EXCHANGE_DEPOSIT : EXCHANGE_NEW_ORDER;
        own->commands[i].body.command = (exchange_command){
            .client_id = baton_le64_put(1 + i % CLIENTS), .client_seq = baton_le64_put(i + 1)};
    }
    assert_int_equal(lanes_init(&own->lanes, own->commands, COUNT, lanes_count, deposits_apart), 0);
    own->answers = (answers){.lanes = &own->lanes, .results = own->results};
    return own;
}

static void end(fixture *own)
{
    lanes_fini(&own->lanes);
    free(own);
}

static uint32_t send_next(fixture *own, uint32_t lane_index)
{
    lane *of = &own->lanes.list[lane_index];
    const uint32_t index = of->next;
    assert_true(lanes_may_send(&own->lanes, index));
    own->results[index].intended_ns = 1;
    lanes_sent(&own->lanes, of);
    return index;
}

static exchange_ack ack_of(const fixture *own, uint32_t index, uint64_t filled)
{
    return (exchange_ack){.command = own->commands[index].body.command,
                          .seq = baton_le64_put(100 + index),
                          .filled = baton_le64_put(filled),
                          .of_type = baton_le16_put(own->commands[index].type)};
}

static answer_verdict answer(fixture *own, const exchange_ack *ack)
{
    uint32_t index;
    return answers_ack(&own->answers, ack, 7, 1, &index);
}

static answer_verdict answer_plainly(fixture *own, uint32_t index)
{
    const exchange_ack ack = ack_of(own, index, 0);
    return answer(own, &ack);
}

static void fill(fixture *own, uint32_t index, uint64_t trade_id, bool taker, uint64_t size)
{
    const exchange_fill told = {.order = own->commands[index].body.command,
                                .trade_id = baton_le64_put(trade_id),
                                .size = baton_le64_put(size),
                                .is_taker = taker};
    answers_fill(&own->answers, &told);
}

static void a_client_s_commands_are_all_on_one_lane_in_order_and_none_is_left_out(void **state)
{
    (void)state;
    fixture *own = begin(3, 10);
    bool seen[COUNT] = {0};
    uint32_t all = 0;
    for (uint32_t of = 0; of <= 3; of++) {
        uint32_t before = LANE_END;
        for (uint32_t i = own->lanes.list[of].next; i != LANE_END; i = own->lanes.follows[i]) {
            assert_int_equal(lanes_of(&own->lanes, i), of);
            assert_int_equal(of == 3, i < 10); /* deposits go apart */
            assert_true(before == LANE_END || i > before);
            assert_int_equal(own->lanes.ordinal[i], i / CLIENTS);
            assert_false(seen[i]);
            seen[i] = true;
            before = i;
            all++;
        }
    }
    assert_int_equal(all, COUNT);
    end(own);
}

static void a_client_s_window_counts_from_its_oldest_open_command(void **state)
{
    (void)state;
    fixture *own = begin(CLIENTS, 0); /* a lane each: lane 1 is client 1 */
    uint32_t first = send_next(own, 1);
    for (uint32_t i = 1; i < LANES_CLIENT_WINDOW; i++)
        assert_int_equal(answer_plainly(own, send_next(own, 1)), ANSWER_FIRST);
    /* All but the oldest are answered: a new one would make it too old to be asked again. */
    assert_false(lanes_may_send(&own->lanes, own->lanes.list[1].next));
    assert_int_equal(lanes_sent_since(&own->lanes, first), LANES_CLIENT_WINDOW - 1);
    assert_true(lanes_may_send(&own->lanes, own->lanes.list[2].next)); /* nobody else waits */
    assert_int_equal(answer_plainly(own, first), ANSWER_FIRST);
    for (uint32_t i = 0; i < LANES_CLIENT_WINDOW; i++)
        send_next(own, 1);
    assert_false(lanes_may_send(&own->lanes, own->lanes.list[1].next));
    end(own);
}

static void the_window_moves_on_in_whatever_order_answers_come(void **state)
{
    (void)state;
    fixture *own = begin(CLIENTS, 0);
    uint32_t open[LANES_CLIENT_WINDOW], count = 0;
    uint64_t random = 42;
    for (uint32_t sent = 0; sent < COUNT / CLIENTS;) {
        if (lanes_may_send(&own->lanes, own->lanes.list[1].next)) {
            open[count++] = send_next(own, 1);
            sent++;
            if (stream_random(&random) % 2 == 0)
                continue;
        }
        const uint32_t which = (uint32_t)(stream_random(&random) % count);
        assert_int_equal(answer_plainly(own, open[which]), ANSWER_FIRST);
        open[which] = open[--count];
        uint32_t oldest = own->lanes.list[1].next;
        for (uint32_t i = 0; i < count; i++)
            oldest = open[i] < oldest ? open[i] : oldest;
        const lane_client *client = lanes_client(&own->lanes, 1);
        assert_int_equal(client->base, oldest == LANE_END ? sent : own->lanes.ordinal[oldest]);
    }
    end(own);
}

static void a_second_answer_that_differs_is_a_conflict_and_the_first_one_stays(void **state)
{
    (void)state;
    fixture *own = begin(1, 0);
    const uint32_t index = send_next(own, 0);
    const exchange_ack first = ack_of(own, index, 0);
    assert_int_equal(answer(own, &first), ANSWER_FIRST);
    assert_int_equal(answer(own, &first), ANSWER_AGAIN);
    assert_int_equal(own->answers.counts.conflicts, 0);
    for (uint32_t what = 0; what < 4; what++) {
        exchange_ack other = first;
        baton_le64 *const fields[] = {&other.seq, &other.filled, &other.remaining};
        if (what < 3)
            *fields[what] = baton_le64_put(77);
        else
            other.outcome = baton_le16_put(EXCHANGE_TOO_LATE);
        assert_int_equal(answer(own, &other), ANSWER_CONFLICT);
        assert_int_equal(own->answers.counts.conflicts, what + 1);
    }
    assert_int_equal(own->results[index].seq, 100 + index);
    assert_int_equal(own->answers.counts.acked, 1);
    end(own);
}

static void an_answer_to_what_was_never_asked_is_a_conflict(void **state)
{
    (void)state;
    fixture *own = begin(1, 0);
    const uint32_t index = send_next(own, 0);
    exchange_ack wrong[4];
    for (uint32_t i = 0; i < 4; i++)
        wrong[i] = ack_of(own, index, 0);
    wrong[0].command.client_seq = baton_le64_put(index + 2); /* not sent yet */
    wrong[1].command.client_seq = baton_le64_put(COUNT + 1);
    wrong[2].command.client_id = baton_le64_put(CLIENTS + 1);
    wrong[3].of_type = baton_le16_put(EXCHANGE_CANCEL);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(answer(own, &wrong[i]), ANSWER_CONFLICT);
    assert_int_equal(own->answers.counts.conflicts, 4);
    assert_int_equal(own->answers.counts.acked, 0);
    end(own);
}

static void fills_count_once_and_add_up_to_what_the_acks_say(void **state)
{
    (void)state;
    fixture *own = begin(1, 0);
    for (uint32_t i = 0; i < 12; i++)
        send_next(own, 0);
    own->commands[5].type = EXCHANGE_REPLACE; /* of client 1, as 0 is */
    own->commands[5].body.replace.order_seq = baton_le64_put(1);
    const exchange_ack order = ack_of(own, 0, 10), replaced = ack_of(own, 5, 4);
    assert_int_equal(answer(own, &order), ANSWER_FIRST);
    assert_int_equal(answer(own, &replaced), ANSWER_FIRST);
    assert_int_equal(answers_add_up(&own->answers).fills_short, 1);
    fill(own, 0, 1, true, 10);
    fill(own, 0, 1, true, 10); /* again, as after a crash */
    fill(own, 0, 2, false, 3); /* as the maker: no ACK tells */
    fill(own, 0, 2, true, 4);  /* both sides are its own */
    assert_int_equal(own->answers.counts.fills, 3);
    assert_int_equal(own->answers.counts.fills_again, 1);
    assert_int_equal(own->results[0].taken, 14);
    assert_int_equal(own->results[0].made, 3);
    answers_sums sums = answers_add_up(&own->answers);
    assert_int_equal(sums.fills_short + sums.fills_over, 0);
    fill(own, 0, 3, true, 1);
    assert_int_equal(answers_add_up(&own->answers).fills_over, 1);
    assert_int_equal(own->answers.counts.conflicts, 0);
    fill(own, 12, 4, true, 1); /* not sent */
    fill(own, 5, 5, true, 1);  /* no order */
    assert_int_equal(own->answers.counts.conflicts, 2);
    end(own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_s_commands_are_all_on_one_lane_in_order_and_none_is_left_out),
        cmocka_unit_test(a_client_s_window_counts_from_its_oldest_open_command),
        cmocka_unit_test(the_window_moves_on_in_whatever_order_answers_come),
        cmocka_unit_test(a_second_answer_that_differs_is_a_conflict_and_the_first_one_stays),
        cmocka_unit_test(an_answer_to_what_was_never_asked_is_a_conflict),
        cmocka_unit_test(fills_count_once_and_add_up_to_what_the_acks_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
