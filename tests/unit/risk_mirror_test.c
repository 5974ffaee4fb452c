/* What the risk engine tells risk-mirror: what an entry changed, and pages of all that there is. */
#include "tests/unit/risk_stage.h"

enum { ALICE = 1, MANY = 120 };

static int setup(void **state)
{
    const char *const values[] = {"1/2/100", "8", "512", "512", "risk-mirror"};
    risk_stage *own = calloc(1, sizeof(*own));
    risk_begin_with(own, values);
    *state = own;
    return 0;
}

static int teardown(void **state)
{
    risk_stage *own = *state;
    baton_machine_fini(&own->machine);
    free(own);
    return 0;
}

static uint16_t kill_switch(risk_stage *own, uint64_t client, uint8_t on)
{
    const exchange_kill body = {
        .command = risk_name(99, ++own->client_seq), .client_id = baton_le64_put(client), .on = on};
    return risk_command(own, EXCHANGE_KILL, &body, sizeof(body));
}

static int ask_page(risk_stage *own, uint32_t first, uint32_t bytes)
{
    const uint8_t body[16] = {(uint8_t)first, (uint8_t)(first >> 8), (uint8_t)(first >> 16),
                              (uint8_t)(first >> 24)};
    const baton_entry entry = {.seq = own->machine.seq + 1,
                               .epoch = 1,
                               .time_ns = own->machine.time_ns + 1,
                               .type = EXCHANGE_RESYNC,
                               .payload = body,
                               .payload_bytes = bytes};
    own->effects_count = 0;
    return baton_machine_apply(&own->machine, &entry);
}

static void what_changes_is_told_once_and_nothing_else(void **state)
{
    risk_stage *own = *state;
    const exchange_limit limit = {.command = risk_name(99, ++own->client_seq),
                                  .client_id = baton_le64_put(ALICE),
                                  .size_max = baton_le64_put(50)};
    assert_int_equal(risk_transfer(own, EXCHANGE_DEPOSIT, ALICE, RISK_QUOTE, 1000), EXCHANGE_DONE);
    assert_int_equal(risk_command(own, EXCHANGE_LIMIT, &limit, sizeof(limit)), EXCHANGE_DONE);
    assert_int_equal(kill_switch(own, ALICE, 0), EXCHANGE_DONE); /* it was off */
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 100, 51), EXCHANGE_OVER_LIMIT);
    assert_int_equal(own->mirrored.number, 0);
    assert_int_equal(risk_place(own, ALICE, BOOK_BUY, 100, 50), EXCHANGE_PENDING);
    assert_int_equal(own->mirrored.number, 1);
    assert_int_equal(kill_switch(own, ALICE, 1), EXCHANGE_DONE);
    assert_int_equal(kill_switch(own, 0, 1), EXCHANGE_DONE);
    assert_int_equal(own->mirrored.number, 3);
    assert_int_equal(own->mirrored.flags, 0);
    risk_mirrored_expect(&own->mirrored, risk_state(own));
}

static void pages_tell_all_whatever_changes_in_between(void **state)
{
    risk_stage *own = *state;
    for (uint64_t client = 1; client <= MANY; client++)
        assert_int_equal(kill_switch(own, client, 1), EXCHANGE_DONE);
    const uint64_t number = own->mirrored.number;
    assert_int_equal(number, MANY);
    own->mirrored = (risk_mirrored){.number = number};
    bool last = false;
    for (uint32_t next = 0; !last; next = own->mirrored.next) {
        assert_int_equal(ask_page(own, next, sizeof(exchange_resync)), 0);
        assert_int_equal(own->effects_count, 0);
        assert_int_equal(own->mirrored.first, next);
        last = own->mirrored.flags & EXCHANGE_EXPOSURES_LAST;
        const uint32_t told = own->mirrored.next;
        assert_int_equal(kill_switch(own, 1, told % 2 == 0), EXCHANGE_DONE); /* told already */
        assert_int_equal(kill_switch(own, MANY + told, 1), EXCHANGE_DONE);
        own->mirrored.next = told;
    }
    assert_true(own->mirrored.pages > 2);
    risk_mirrored_expect(&own->mirrored, risk_state(own));
}

static void behind_the_end_a_page_has_the_switch_of_all(void **state)
{
    risk_stage *own = *state;
    assert_int_equal(kill_switch(own, ALICE, 1), EXCHANGE_DONE);
    assert_int_equal(ask_page(own, UINT32_MAX, sizeof(exchange_resync)), 0);
    assert_int_equal(own->mirrored.flags, EXCHANGE_EXPOSURES_PAGE | EXCHANGE_EXPOSURES_LAST);
    assert_int_equal(own->mirrored.number, 2);
    assert_int_equal(own->mirrored.count, 2);
    assert_true(ask_page(own, 0, sizeof(exchange_resync) - 1) < 0);
}

static void without_a_mirror_nobody_is_told_and_nobody_may_ask(void **state)
{
    risk_stage own;
    (void)state;
    risk_begin(&own, "1/2/100", "4", "8", "8");
    assert_int_equal(kill_switch(&own, ALICE, 1), EXCHANGE_DONE);
    assert_int_equal(own.mirrored.number, 0);
    assert_true(ask_page(&own, 0, sizeof(exchange_resync)) < 0);
    baton_machine_fini(&own.machine);

    const char *const values[] = {"1/2/100", "4", "8", "8", "settlement"};
    const baton_service_config config = {.values = values};
    baton_error error;
    assert_true(baton_machine_init(&own.machine, &risk_engine_service, &config, &error) < 0);
    baton_machine_fini(&own.machine);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(what_changes_is_told_once_and_nothing_else),
        CASE(pages_tell_all_whatever_changes_in_between),
        CASE(behind_the_end_a_page_has_the_switch_of_all),
        cmocka_unit_test(without_a_mirror_nobody_is_told_and_nobody_may_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
