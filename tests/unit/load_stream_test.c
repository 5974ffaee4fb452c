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
static void check_order(const stream *made)
{
    for (uint32_t i = 0; i < made->count; i++) {
        const load_command *command = &made->commands[i];
        assert_int_equal(baton_le64_get(command->body.command.client_seq), i + 1);
        if (i > 0)
            assert_true(command->intended_ns >= made->commands[i - 1].intended_ns);
    }
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
        cmocka_unit_test(what_is_no_message_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
