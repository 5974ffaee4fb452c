/* A connection's two buffers: what goes in comes out, whatever the pieces, and both are bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "examples/exchange/wire/connection.h"

enum { OUT_MAX = 100000 };

typedef struct {
    connection stream;
    int peer;
} pair;

static int setup(void **state)
{
    int fds[2];
    pair *own = calloc(1, sizeof(*own));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(connection_open(&own->stream, fds[0], OUT_MAX), 0);
    own->peer = fds[1];
    *state = own;
    return 0;
}

static int teardown(void **state)
{
    pair *own = *state;
    connection_close(&own->stream);
    close(own->peer);
    free(own);
    return 0;
}

static uint32_t next_random(uint64_t *random)
{
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*random >> 33);
}

/* Frames of all sizes, queued and read at different paces: a reader that is often slower. */
static void what_is_queued_arrives_in_order_whatever_the_reader_does(void **state)
{
    pair *own = *state;
    enum { FRAMES = 20000, BODY_MAX = 3000 };
    static uint8_t read_bytes[1 << 16], body[BODY_MAX];
    uint64_t queued = 0, taken = 0, random = 7, written = 0, checked = 0;
    uint8_t *all = malloc((size_t)FRAMES * (BODY_MAX + sizeof(exchange_frame)));
    assert_non_null(all);
    while (queued < FRAMES || taken < written) {
        uint32_t size = next_random(&random) % BODY_MAX, split = size / 3;
        while (queued < FRAMES && connection_has_room(&own->stream, size)) {
            memset(body, (int)(queued % 251), size);
            exchange_frame frame = {.body_bytes = baton_le32_put(size),
                                    .type = baton_le16_put((uint16_t)(queued % 60000))};
            memcpy(all + written, &frame, sizeof(frame));
            memcpy(all + written + sizeof(frame), body, size);
            written += sizeof(frame) + size;
            connection_queue(&own->stream, (uint16_t)(queued % 60000), body, split, body + split,
                             size - split);
            assert_false(own->stream.failed);
            queued++;
            if (next_random(&random) % 8 == 0)
                break;
        }
        connection_send(&own->stream);
        assert_true(own->stream.out_end - own->stream.out_begin <= OUT_MAX);
        assert_true(own->stream.out_capacity < 4 * OUT_MAX);
        ssize_t got = recv(own->peer, read_bytes, 1 + next_random(&random) % sizeof(read_bytes), 0);
        if (got > 0) {
            assert_memory_equal(read_bytes, all + taken, (size_t)got);
            taken += (uint64_t)got;
            checked++;
        }
    }
    assert_true(checked > 100);
    assert_true(connection_all_sent(&own->stream));
    assert_true(own->stream.out_capacity <= CONNECTION_OUT_BYTES_KEPT);
    free(all);
}

static void a_reader_that_takes_nothing_costs_a_bounded_buffer_and_then_the_connection(void **state)
{
    pair *own = *state;
    uint8_t body[1000] = {0};
    uint32_t frames = 0;
    while (!own->stream.failed && frames < 10000) {
        bool room = connection_has_room(&own->stream, sizeof(body));
        connection_queue(&own->stream, EXCHANGE_ACK, body, sizeof(body), NULL, 0);
        assert_int_equal(own->stream.failed, !room);
        frames++;
    }
    assert_true(own->stream.failed);
    assert_true(own->stream.out_end - own->stream.out_begin <= OUT_MAX);
}

static void nothing_is_queued_behind_an_error_frame(void **state)
{
    pair *own = *state;
    own->stream.closing = true;
    connection_queue(&own->stream, EXCHANGE_ACK, "x", 1, NULL, 0);
    assert_true(connection_all_sent(&own->stream));
    assert_false(own->stream.failed);
}

static void frames_come_whole_however_they_were_cut(void **state)
{
    pair *own = *state;
    uint16_t type;
    const void *body;
    uint32_t body_bytes;
    const exchange_frame frame = {.body_bytes = baton_le32_put(5), .type = baton_le16_put(9)};
    uint8_t bytes[2 * (sizeof(frame) + 5)];
    for (int i = 0; i < 2; i++) {
        memcpy(bytes + i * 13, &frame, sizeof(frame));
        memcpy(bytes + i * 13 + 8, i ? "world" : "hello", 5);
    }
    for (size_t i = 0; i < sizeof(bytes); i++) {
        assert_int_equal(send(own->peer, bytes + i, 1, 0), 1);
        connection_receive(&own->stream);
        frame_verdict verdict = connection_frame(&own->stream, &type, &body, &body_bytes);
        assert_int_equal(verdict, i % 13 == 12 ? FRAME_READY : FRAME_NONE);
        if (verdict != FRAME_READY)
            continue;
        assert_int_equal(type, 9);
        assert_int_equal(body_bytes, 5);
        assert_memory_equal(body, i > 13 ? "world" : "hello", 5);
        connection_take(&own->stream);
    }
    shutdown(own->peer, SHUT_WR);
    connection_receive(&own->stream);
    assert_true(own->stream.ended);
    assert_false(own->stream.failed);
}

static void the_head_alone_decides_what_is_malformed(void **state)
{
    pair *own = *state;
    uint16_t type;
    const void *body;
    uint32_t body_bytes;
    exchange_frame frame = {.body_bytes = baton_le32_put(EXCHANGE_BODY_BYTES_MAX + 1)};
    assert_int_equal(send(own->peer, &frame, sizeof(frame), 0), sizeof(frame));
    connection_receive(&own->stream);
    assert_int_equal(connection_frame(&own->stream, &type, &body, &body_bytes), FRAME_TOO_LARGE);
    own->stream.in_begin = own->stream.in_end = 0;
    frame = (exchange_frame){.zero = {0, 1}};
    assert_int_equal(send(own->peer, &frame, sizeof(frame), 0), sizeof(frame));
    connection_receive(&own->stream);
    assert_int_equal(connection_frame(&own->stream, &type, &body, &body_bytes), FRAME_MALFORMED);
}

typedef struct {
    connection *stream;
    uint16_t types[8];
    uint32_t count, room;
    bool closes;
} listener_of_frames;

static bool take_one(void *context, uint16_t type, const void *body, uint32_t body_bytes)
{
    listener_of_frames *own = context;
    (void)body;
    assert_int_equal(body_bytes, 0);
    if (own->count == own->room)
        return false;
    own->types[own->count++] = type;
    if (own->closes)
        connection_close(own->stream);
    return true;
}

static void receive_frames(pair *own, uint16_t first, uint16_t last)
{
    for (uint16_t type = first; type <= last; type++) {
        const exchange_frame frame = {.type = baton_le16_put(type)};
        assert_int_equal(send(own->peer, &frame, sizeof(frame), 0), sizeof(frame));
    }
    connection_receive(&own->stream);
}

static void a_frame_that_has_no_room_is_shown_again_and_the_end_waits_for_it(void **state)
{
    pair *own = *state;
    listener_of_frames to = {.stream = &own->stream, .room = 2};
    receive_frames(own, 1, 3);
    shutdown(own->peer, SHUT_WR);
    connection_receive(&own->stream);
    assert_int_equal(connection_each(&own->stream, take_one, &to), FRAME_READY);
    assert_true(own->stream.held_back && own->stream.ended && !own->stream.failed);
    to.room = 3;
    assert_int_equal(connection_each(&own->stream, take_one, &to), FRAME_NONE);
    assert_memory_equal(to.types, ((uint16_t[]){1, 2, 3}), 3 * sizeof(uint16_t));
    assert_true(own->stream.failed && !own->stream.held_back);
}

static void nothing_is_taken_behind_a_frame_that_ends_the_connection(void **state)
{
    pair *own = *state;
    listener_of_frames to = {.stream = &own->stream, .room = 8, .closes = true};
    receive_frames(own, 1, 2);
    connection_each(&own->stream, take_one, &to);
    assert_int_equal(to.count, 1);
    assert_int_equal(own->stream.fd, -1);
}

static void what_is_no_frame_is_left_to_who_asked(void **state)
{
    pair *own = *state;
    listener_of_frames to = {.stream = &own->stream, .room = 8};
    const exchange_frame wrong = {.zero = {1, 0}};
    receive_frames(own, 1, 1);
    assert_int_equal(send(own->peer, &wrong, sizeof(wrong), 0), sizeof(wrong));
    shutdown(own->peer, SHUT_WR);
    connection_receive(&own->stream);
    connection_receive(&own->stream); /* the end comes by itself */
    assert_int_equal(connection_each(&own->stream, take_one, &to), FRAME_MALFORMED);
    assert_int_equal(to.count, 1);
    assert_true(own->stream.ended && !own->stream.failed);
}

static void a_sender_that_never_stops_fills_one_buffer(void **state)
{
    pair *own = *state;
    static const uint8_t zeros[1 << 16];
    for (int i = 0; i < 20; i++) {
        (void)!send(own->peer, zeros, sizeof(zeros), 0);
        connection_receive(&own->stream);
    }
    assert_int_equal(own->stream.in_end - own->stream.in_begin, CONNECTION_IN_BYTES);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(what_is_queued_arrives_in_order_whatever_the_reader_does),
        CASE(a_reader_that_takes_nothing_costs_a_bounded_buffer_and_then_the_connection),
        CASE(nothing_is_queued_behind_an_error_frame),
        CASE(frames_come_whole_however_they_were_cut),
        CASE(the_head_alone_decides_what_is_malformed),
        CASE(a_frame_that_has_no_room_is_shown_again_and_the_end_waits_for_it),
        CASE(nothing_is_taken_behind_a_frame_that_ends_the_connection),
        CASE(what_is_no_frame_is_left_to_who_asked),
        CASE(a_sender_that_never_stops_fills_one_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
