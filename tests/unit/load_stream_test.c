/* The commands of a load: the same options give the same bytes, and every command can be told from
 * every other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "examples/exchange/load/stream.h"
#include "tests/support/test_dir.h"

#define PLAIN_COUNT 20187u
#define PLAIN_HASH  UINT64_C(0x7e9c89b84acc04fa)

typedef struct {
    load_command *commands;
    uint32_t count;
} stream;

static stream_options options_of(uint64_t seed, bool virtual_time)
{
    return (stream_options){.commands = 20000,
                            .clients = 7,
                            .seed = seed,
                            .rate = 10000,
                            .compression = 1,
                            .virtual_time = virtual_time};
}

static stream generate(uint64_t seed, bool virtual_time)
{
    stream made;
    baton_error error = {0};
    const stream_options options = options_of(seed, virtual_time);
    assert_int_equal(stream_generate(&options, &made.commands, &made.count, &error), 0);
    return made;
}

static bool same(const stream *one, const stream *other)
{
    if (one->count != other->count)
        return false;
    for (uint32_t i = 0; i < one->count; i++) {
        const load_command *a = &one->commands[i], *b = &other->commands[i];
        if (a->intended_ns != b->intended_ns || a->type != b->type ||
            a->body_bytes != b->body_bytes || memcmp(&a->body, &b->body, a->body_bytes) != 0)
            return false;
    }
    return true;
}

static void the_same_options_give_the_same_commands_and_another_seed_does_not(void **state)
{
    (void)state;
    stream one = generate(5, true), two = generate(5, true), other = generate(6, true);
    assert_true(same(&one, &two));
    assert_false(same(&one, &other));
    free(one.commands);
    free(two.commands);
    free(other.commands);
}

/* One number for each, going up for each client, due in this order. */
static void check_numbers(const stream *made)
{
    for (uint32_t i = 0; i < made->count; i++)
        assert_int_equal(baton_le64_get(made->commands[i].body.command.client_seq), i + 1);
}

static void check_order(const stream *made)
{
    check_numbers(made);
    for (uint32_t i = 1; i < made->count; i++)
        assert_true(made->commands[i].intended_ns >= made->commands[i - 1].intended_ns);
}

static void commands_are_numbered_through_and_come_in_the_order_in_which_they_are_due(void **state)
{
    (void)state;
    for (int virtual_time = 0; virtual_time < 2; virtual_time++) {
        stream made = generate(3, virtual_time);
        uint32_t of_type[EXCHANGE_SWITCH + 1] = {0};
        check_order(&made);
        for (uint32_t i = 0; i < made.count; i++) {
            const load_command *command = &made.commands[i];
            of_type[command->type]++;
            bool expires = command->type == EXCHANGE_NEW_ORDER &&
                           command->body.new_order.time_in_force == BOOK_GTD;
            assert_false(expires && !virtual_time); /* it would make two runs differ */
        }
        assert_int_equal(of_type[EXCHANGE_CLOCK] > 0, virtual_time);
        assert_int_equal(made.count - of_type[EXCHANGE_CLOCK], 20000);
        assert_true(of_type[EXCHANGE_NEW_ORDER] > 8000 && of_type[EXCHANGE_CANCEL] > 4000 &&
                    of_type[EXCHANGE_REDUCE] > 500);
        free(made.commands);
    }
}

/* On average; and unevenly, as an exchange's. */
static void arrivals_keep_the_rate_and_come_in_bursts(void **state)
{
    (void)state;
    stream made = generate(4, false);
    uint64_t last_ns = made.commands[made.count - 1].intended_ns;
    assert_in_range(last_ns, 1000000000, 4000000000); /* 2 s */
    uint32_t busiest = 0, in_window = 0;
    for (uint32_t i = 0, first = 0; i < made.count; i++) {
        in_window++;
        while (made.commands[i].intended_ns - made.commands[first].intended_ns > 10000000) {
            first++;
            in_window--;
        }
        busiest = in_window > busiest ? in_window : busiest;
    }
    assert_true(busiest > 200); /* 100 in 10 ms on average */
    free(made.commands);
}

static int read_text(const char *text, stream_options options, stream *ret)
{
    test_dir dir;
    char path[512];
    baton_error error = {0};
    test_dir_make(&dir, "load_stream");
    snprintf(path, sizeof(path), "%s/messages.csv", dir.path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    options.lobster = path;
    int r = stream_read_lobster(&options, &ret->commands, &ret->count, &error);
    assert_int_equal(r < 0, error.todo[0] != '\0');
    test_dir_remove(&dir);
    return r;
}

static void recorded_messages_become_commands_with_their_own_spacing(void **state)
{
    (void)state;
    static const char text[] = "34200.5,1,71,100,5850000,1\n"
                               "34201.5,2,71,40,5850000,1\n"
                               "34202.5,4,71,10,5850000,1\n"
                               "34202.5,5,0,10,5850000,1\n"
                               "34203.5,3,71,50,5850000,1\n";
    stream_options options = options_of(0, false);
    stream made;
    options.compression = 10;
    options.match = true;
    assert_int_equal(read_text(text, options, &made), 0);
    static const uint16_t types[] = {EXCHANGE_NEW_ORDER, EXCHANGE_REDUCE, EXCHANGE_NEW_ORDER,
                                     EXCHANGE_CANCEL};
    assert_int_equal(made.count, 4);
    check_order(&made);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(made.commands[i].type, types[i]);
        assert_int_equal(made.commands[i].intended_ns, i * UINT64_C(100000000));
    }
    assert_int_equal(made.commands[2].body.new_order.side, BOOK_SELL);
    assert_int_equal(made.commands[2].body.new_order.time_in_force, BOOK_IOC);
    assert_int_equal(baton_le64_get(made.commands[3].body.cancel.order_seq), 1);
    free(made.commands);
}

/* What the first build of the generator made of this seed: loads of old runs can be repeated (L1). */
static void the_plain_stream_is_what_it_was_before_there_were_symbols_and_mixes(void **state)
{
    (void)state;
    stream made = generate(7, true);
    uint64_t hash = 0;
    for (uint32_t i = 0; i < made.count; i++) {
        const load_command *command = &made.commands[i];
        hash = stream_random(&hash) ^ command->intended_ns ^ command->type;
        for (uint32_t byte = 0; byte < command->body_bytes; byte++)
            hash = stream_random(&hash) ^ command->body.bytes[byte];
    }
    assert_int_equal(made.count, PLAIN_COUNT);
    assert_int_equal(hash, PLAIN_HASH);
    free(made.commands);
}

static void a_mix_gives_each_kind_its_share_in_every_symbol(void **state)
{
    (void)state;
    stream_mix mix;
    stream_options options = options_of(9, true);
    stream made;
    baton_error error = {0};
    assert_true(stream_mix_parse("cancel=20,replace=10,market=5,fok=5,post-only=10", &mix));
    assert_int_equal(mix.cancel, 20);
    assert_int_equal(mix.ioc, stream_mix_default.ioc);
    options.mix = &mix;
    options.symbols = 3;
    assert_int_equal(stream_generate(&options, &made.commands, &made.count, &error), 0);
    uint32_t markets = 0, foks = 0, post_only = 0, replaces = 0, of_symbol[3] = {0};
    for (uint32_t i = 0; i < made.count; i++) {
        const load_command *command = &made.commands[i];
        const exchange_new_order *order = &command->body.new_order;
        replaces += command->type == EXCHANGE_REPLACE;
        if (command->type != EXCHANGE_NEW_ORDER)
            continue;
        markets += order->order_type == BOOK_MARKET;
        foks += order->time_in_force == BOOK_FOK;
        post_only += (order->flags & EXCHANGE_POST_ONLY) != 0;
        of_symbol[baton_le32_get(order->symbol)]++;
        assert_true(order->order_type == BOOK_LIMIT || order->time_in_force == BOOK_IOC);
    }
    assert_in_range(markets, 800, 1200); /* of 20,000 */
    assert_in_range(foks, 800, 1200);
    assert_in_range(post_only, 1700, 2300);
    assert_in_range(replaces, 1700, 2300);
    for (uint32_t symbol = 0; symbol < 3; symbol++)
        assert_in_range(of_symbol[symbol], 3000, 6000);
    free(made.commands);
}

/* A cancel names an order that its client has sent before, in the same symbol. */
static void changes_name_orders_of_their_own_client_and_symbol(void **state)
{
    (void)state;
    stream_options options = options_of(11, false);
    const stream_mix mix = {.cancel = 20, .reduce = 10, .replace = 10};
    stream made;
    baton_error error = {0};
    options.mix = &mix;
    options.symbols = 5;
    assert_int_equal(stream_generate(&options, &made.commands, &made.count, &error), 0);
    for (uint32_t i = 0; i < made.count; i++) {
        const load_command *command = &made.commands[i];
        if (command->type == EXCHANGE_NEW_ORDER)
            continue;
        const uint64_t order_seq = baton_le64_get(command->body.cancel.order_seq);
        assert_in_range(order_seq, 1, i);
        const load_command *order = &made.commands[order_seq - 1];
        assert_int_equal(order->type, EXCHANGE_NEW_ORDER);
        assert_int_equal(baton_le64_get(order->body.command.client_id),
                         baton_le64_get(command->body.command.client_id));
        assert_int_equal(baton_le32_get(order->body.new_order.symbol),
                         baton_le32_get(command->body.cancel.symbol));
    }
    free(made.commands);
}

static void what_is_no_mix_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",          "cancel",        "cancel=",       "cancel=x",
                                        "other=1",   "cancel=1,",     "cancel=101",    "cancel=-1",
                                        "cancel=94", "ioc=50,fok=10", "cancel=1;fok=1"};
    for (uint32_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        stream_mix mix;
        assert_false(stream_mix_parse(wrong[i], &mix));
    }
}

static void deposits_come_first_for_every_client_and_take_none_of_the_flow_s_time(void **state)
{
    (void)state;
    stream_options options = options_of(3, true);
    stream plain = generate(3, true), made;
    baton_error error = {0};
    options.deposits = (stream_deposits){.amount = 500, .assets_count = 2, .assets = {4, 9}};
    assert_int_equal(stream_generate(&options, &made.commands, &made.count, &error), 0);
    assert_int_equal(stream_deposits_count(&options), 14);
    assert_int_equal(made.count, plain.count + 14);
    check_numbers(&made);
    for (uint32_t i = 0; i < 14; i++) {
        const exchange_transfer *deposit = &made.commands[i].body.deposit;
        assert_int_equal(made.commands[i].type, EXCHANGE_DEPOSIT);
        assert_int_equal(made.commands[i].body_bytes, sizeof(*deposit));
        assert_int_equal(baton_le64_get(deposit->client_id), 1 + i / 2);
        assert_int_equal(baton_le64_get(deposit->command.client_id), 1 + i / 2);
        assert_int_equal(baton_le32_get(deposit->asset), i % 2 == 0 ? 4 : 9);
        assert_int_equal(baton_le64_get(deposit->amount), 500);
    }
    for (uint32_t i = 0; i < plain.count; i++)
        assert_int_equal(made.commands[14 + i].intended_ns, plain.commands[i].intended_ns);
    free(plain.commands);
    free(made.commands);
}

/* The second symbol begins 2 recorded seconds later, and its changes name its own orders. */
static void a_recording_runs_on_every_symbol_each_later_than_the_one_before(void **state)
{
    (void)state;
    static const char text[] = "34200.0,1,71,100,5850000,1\n"
                               "34201.0,2,71,40,5850000,1\n"
                               "34203.0,3,71,60,5850000,1\n";
    stream_options options = options_of(0, false);
    stream made;
    options.symbols = 2;
    options.symbol_shift_s = 2;
    options.clients_before = 50;
    assert_int_equal(read_text(text, options, &made), 0);
    static const struct {
        uint64_t at_s;
        uint32_t symbol;
        uint64_t order_seq;
    } expected[] = {{0, 0, 0}, {1, 0, 1}, {2, 1, 0}, {3, 0, 1}, {3, 1, 3}, {5, 1, 3}};
    assert_int_equal(made.count, 6);
    check_order(&made);
    for (uint32_t i = 0; i < made.count; i++) {
        const load_command *command = &made.commands[i];
        const bool is_new = command->type == EXCHANGE_NEW_ORDER;
        assert_int_equal(command->intended_ns, expected[i].at_s * 1000000000);
        assert_int_equal(is_new, expected[i].order_seq == 0);
        assert_int_equal(
            baton_le32_get(is_new ? command->body.new_order.symbol : command->body.cancel.symbol),
            expected[i].symbol);
        if (!is_new)
            assert_int_equal(baton_le64_get(command->body.cancel.order_seq), expected[i].order_seq);
        assert_in_range(baton_le64_get(command->body.command.client_id), 51, 57);
    }
    free(made.commands);
}

static void what_is_no_message_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"34200,1,7,0,100,1\n", "34200,8,7,1,100,1\n",
                                        "34200,1,7,1,100,2\n", "34200,1,7\n",
                                        "34200,1,x,1,100,1\n", "2,1,7,1,100,1\n1,1,8,1,100,1\n",
                                        "-1,1,7,1,100,1\n",    "34200,1,7,1,100,1,9\n"};
    for (uint32_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        stream made;
        assert_int_equal(read_text(wrong[i], options_of(0, false), &made), BATON_E_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_options_give_the_same_commands_and_another_seed_does_not),
        cmocka_unit_test(commands_are_numbered_through_and_come_in_the_order_in_which_they_are_due),
        cmocka_unit_test(arrivals_keep_the_rate_and_come_in_bursts),
        cmocka_unit_test(recorded_messages_become_commands_with_their_own_spacing),
        cmocka_unit_test(the_plain_stream_is_what_it_was_before_there_were_symbols_and_mixes),
        cmocka_unit_test(a_mix_gives_each_kind_its_share_in_every_symbol),
        cmocka_unit_test(changes_name_orders_of_their_own_client_and_symbol),
        cmocka_unit_test(what_is_no_mix_is_refused),
        cmocka_unit_test(deposits_come_first_for_every_client_and_take_none_of_the_flow_s_time),
        cmocka_unit_test(a_recording_runs_on_every_symbol_each_later_than_the_one_before),
        cmocka_unit_test(what_is_no_message_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
