/* A link's consumer side against a producer by hand: it dials until there is one, takes each effect once and
 * in order, waits where there is no room, and confirms what it is told to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <baton/clock.h>

#include "examples/exchange/wire/address.h"
#include "examples/exchange/wire/link.h"
#include "examples/exchange/wire/plain_loop.h"

enum { CONSUMER = EXCHANGE_SETTLEMENT, TAKEN_MAX = 4096, DEADLINE_S = 60 };

typedef struct {
    plain_loop *loop;
    wire_link link;
    /* the consumer */
    uint64_t taken[TAKEN_MAX];
    uint32_t taken_count;
    uint32_t room;  /* effects that may still be taken */
    uint32_t shown; /* calls of take */
    link_verdict verdict;
    /* the producer */
    listener listening;
    connection peer;
    uint32_t accepts, subscriptions, confirms, said;
    uint64_t confirmed;
} stage;

static link_verdict take(void *owner, const exchange_effect *effect, const void *payload,
                         uint32_t payload_bytes)
{
    stage *own = owner;
    own->shown++;
    if (own->verdict != LINK_TAKEN)
        return own->verdict;
    if (own->room == 0)
        return LINK_NO_ROOM;
    own->room--;
    uint64_t number;
    assert_int_equal(payload_bytes, sizeof(number));
    memcpy(&number, payload, sizeof(number));
    assert_int_equal(number, baton_le64_get(effect->key.seq));
    own->taken[own->taken_count++] = number;
    return LINK_TAKEN;
}

static int setup(void **state)
{
    stage *own = calloc(1, sizeof(*own));
    baton_error error;
    assert_int_equal(plain_loop_create(&own->loop), 0);
    assert_int_equal(listener_open("tcp:127.0.0.1:0", &own->listening, &error), 0);
    own->peer.fd = -1;
    own->room = TAKEN_MAX;
    const link_options options = {.name = "producer",
                                  .address = own->listening.text,
                                  .consumer = CONSUMER,
                                  .take = take,
                                  .owner = own};
    link_start(&own->link, &options, plain_loop_of(own->loop));
    *state = own;
    return 0;
}

static int teardown(void **state)
{
    stage *own = *state;
    link_stop(&own->link);
    connection_close(&own->peer);
    listener_close(&own->listening);
    plain_loop_destroy(own->loop);
    free(own);
    return 0;
}

static void hear(stage *own, uint16_t type, const void *body, uint32_t body_bytes)
{
    if (type == EXCHANGE_HELLO) {
        const exchange_welcome welcome = {.version = baton_le32_put(EXCHANGE_PROTOCOL_VERSION)};
        connection_queue(&own->peer, EXCHANGE_WELCOME, &welcome, sizeof(welcome), NULL, 0);
    } else if (type == EXCHANGE_SUBSCRIBE) {
        exchange_subscribe wish;
        assert_int_equal(body_bytes, sizeof(wish));
        memcpy(&wish, body, sizeof(wish));
        assert_int_equal(baton_le16_get(wish.consumer), CONSUMER);
        own->subscriptions++;
    } else if (type == EXCHANGE_RESYNC) {
        assert_int_equal(body_bytes, sizeof(exchange_resync));
        assert_true(own->subscriptions > 0);
        own->said++;
    } else {
        exchange_key key;
        assert_int_equal(type, EXCHANGE_CONFIRM);
        assert_int_equal(body_bytes, sizeof(key));
        memcpy(&key, body, sizeof(key));
        own->confirmed = baton_le64_get(key.seq);
        own->confirms++;
    }
}

/* One turn of both. */
static void turn(stage *own)
{
    uint16_t type;
    const void *body;
    uint32_t body_bytes;
    assert_int_equal(plain_loop_turn(own->loop, 1), 0);
    link_turn(&own->link);
    if (own->peer.fd < 0) {
        int fd = accept4(own->listening.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        assert_int_equal(connection_open(&own->peer, fd, 1 << 22), 0);
        own->accepts++;
    }
    connection_receive(&own->peer);
    while (connection_frame(&own->peer, &type, &body, &body_bytes) == FRAME_READY) {
        hear(own, type, body, body_bytes);
        connection_take(&own->peer);
    }
    connection_send(&own->peer);
}

#define until(own, claim)                                                                          \
    do {                                                                                           \
        const time_t deadline = time(NULL) + DEADLINE_S;                                           \
        while (!(claim) && time(NULL) < deadline)                                                  \
            turn(own);                                                                             \
        assert_true(claim);                                                                        \
    } while (0)

static void send_effect_to(stage *own, uint64_t seq, uint16_t consumer)
{
    const exchange_effect effect = {.key = {.epoch = baton_le64_put(1), .seq = baton_le64_put(seq)},
                                    .effect_type = baton_le16_put(7),
                                    .consumer = baton_le16_put(consumer)};
    connection_queue(&own->peer, EXCHANGE_EFFECT, &effect, sizeof(effect), &seq, sizeof(seq));
}

static void send_effects(stage *own, uint64_t first, uint64_t last)
{
    for (uint64_t seq = first; seq <= last; seq++)
        send_effect_to(own, seq, CONSUMER);
}

static void begin(stage *own)
{
    until(own, own->subscriptions > 0 && link_is_live(&own->link));
}

static void confirm(stage *own, uint64_t seq)
{
    link_confirm(&own->link,
                 &(exchange_key){.epoch = baton_le64_put(1), .seq = baton_le64_put(seq)});
}

static void effects_come_in_order_and_the_newest_key_is_confirmed(void **state)
{
    stage *own = *state;
    begin(own);
    send_effects(own, 1, 1000);
    until(own, own->taken_count == 1000);
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(own->taken[i], i + 1);
    for (uint64_t seq = 1; seq <= 1000; seq++)
        confirm(own, seq);
    until(own, own->confirmed == 1000);
    assert_int_equal(own->confirms, 1);
    assert_int_equal(own->subscriptions, 1);
}

/* Each would be a record in the producer's journal. Counted by the clock, not by turns: a slow machine tells more. */
static void keys_are_told_once_in_five_milliseconds_at_most(void **state)
{
    stage *own = *state;
    const uint64_t begin_ns = baton_clock_monotonic_ns(baton_clock_system());
    begin(own);
    send_effects(own, 1, 100);
    until(own, own->taken_count == 100);
    for (uint64_t seq = 1; seq <= 100; seq++) {
        confirm(own, seq);
        turn(own);
    }
    until(own, own->confirmed == 100);
    const uint64_t took_ns = baton_clock_monotonic_ns(baton_clock_system()) - begin_ns;
    assert_true(own->confirms <= took_ns / 5000000 + 1);
}

static void what_there_is_no_room_for_waits_and_comes_once(void **state)
{
    stage *own = *state;
    begin(own);
    own->room = 10;
    send_effects(own, 1, 4000); /* more than its buffer holds: the rest waits with the producer */
    until(own, own->taken_count == 10 && own->shown > 12);
    assert_true(own->link.dialer.stream.in_end - own->link.dialer.stream.in_begin <=
                CONNECTION_IN_BYTES);
    own->room = 90;
    until(own, own->taken_count == 100);
    own->room = TAKEN_MAX;
    until(own, own->taken_count == 4000);
    for (uint64_t i = 0; i < 4000; i++)
        assert_int_equal(own->taken[i], i + 1);
}

static void it_dials_again_and_again_and_subscribes_each_time(void **state)
{
    stage *own = *state;
    for (uint32_t round = 1; round <= 4; round++) {
        until(own, own->subscriptions == round && link_is_live(&own->link));
        send_effects(own, round, round);
        until(own, own->taken_count == round);
        if (round == 2) { /* in the midst of a frame */
            send_effects(own, 3, 3);
            own->peer.out_end -= 5;
            connection_send(&own->peer);
        }
        connection_close(&own->peer);
        until(own, !link_is_live(&own->link));
    }
}

static void it_waits_for_a_producer_that_is_not_there_yet(void **state)
{
    stage *own = *state;
    char address[sizeof(own->listening.text)];
    baton_error error;
    memcpy(address, own->listening.text, sizeof(address));
    listener_close(&own->listening);
    own->link.dialer.options.address = address;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(plain_loop_turn(own->loop, 1), 0);
        link_turn(&own->link);
    }
    assert_false(link_is_live(&own->link));
    assert_int_equal(listener_open("tcp:127.0.0.1:0", &own->listening, &error), 0);
    own->link.dialer.options.address = own->listening.text;
    begin(own);
}

static void paused_it_takes_nothing_and_loses_nothing(void **state)
{
    stage *own = *state;
    begin(own);
    link_pause(&own->link);
    send_effects(own, 1, 20);
    for (int i = 0; i < 50; i++)
        turn(own);
    assert_int_equal(own->taken_count, 0);
    link_resume(&own->link);
    until(own, own->taken_count == 20);
    assert_int_equal(own->accepts, 1);
}

static void an_effect_that_can_not_be_taken_stops_it_for_good(void **state)
{
    stage *own = *state;
    begin(own);
    own->verdict = LINK_STOP;
    send_effects(own, 1, 2);
    until(own, link_is_stopped(&own->link));
    assert_int_equal(own->shown, 1);
    for (int i = 0; i < 50; i++)
        link_turn(&own->link);
    assert_true(link_is_stopped(&own->link));
}

static void an_effect_for_another_consumer_is_never_taken(void **state)
{
    stage *own = *state;
    begin(own);
    send_effect_to(own, 1, CONSUMER + 1);
    until(own, link_is_stopped(&own->link));
    assert_int_equal(own->shown, 0);
}

static void what_the_consumer_says_itself_goes_out_while_it_is_live(void **state)
{
    stage *own = *state;
    const exchange_resync wish = {.first = baton_le32_put(3)};
    assert_false(link_say(&own->link, EXCHANGE_RESYNC, &wish, sizeof(wish)));
    begin(own);
    assert_true(link_say(&own->link, EXCHANGE_RESYNC, &wish, sizeof(wish)));
    until(own, own->said == 1);
}

static void stopped_by_its_owner_it_dials_at_the_next_turn(void **state)
{
    stage *own = *state;
    begin(own);
    link_stop(&own->link);
    assert_int_equal(own->link.dialer.state, DIALER_IDLE);
    connection_close(&own->peer);
    link_turn(&own->link);
    assert_int_equal(own->link.dialer.state, DIALER_DIALING);
    until(own, own->subscriptions == 2 && link_is_live(&own->link));
}

static void a_producer_that_breaks_the_protocol_is_left_and_dialed_again(void **state)
{
    stage *own = *state;
    const uint8_t garbage[16] = {0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4};
    begin(own);
    connection_queue(&own->peer, EXCHANGE_ACK, garbage, sizeof(garbage), NULL, 0);
    until(own, !link_is_live(&own->link));
    connection_close(&own->peer);
    until(own, own->subscriptions == 2 && link_is_live(&own->link));
    assert_int_equal(send(own->peer.fd, garbage, sizeof(garbage), 0), sizeof(garbage));
    until(own, !link_is_live(&own->link));
    assert_int_equal(own->shown, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(effects_come_in_order_and_the_newest_key_is_confirmed),
        CASE(keys_are_told_once_in_five_milliseconds_at_most),
        CASE(what_there_is_no_room_for_waits_and_comes_once),
        CASE(it_dials_again_and_again_and_subscribes_each_time),
        CASE(it_waits_for_a_producer_that_is_not_there_yet),
        CASE(paused_it_takes_nothing_and_loses_nothing),
        CASE(an_effect_that_can_not_be_taken_stops_it_for_good),
        CASE(an_effect_for_another_consumer_is_never_taken),
        CASE(what_the_consumer_says_itself_goes_out_while_it_is_live),
        CASE(stopped_by_its_owner_it_dials_at_the_next_turn),
        CASE(a_producer_that_breaks_the_protocol_is_left_and_dialed_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
