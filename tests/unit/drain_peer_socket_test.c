/* drain/peer_socket.c: descriptors that come along with messages: each message has its own, whatever is short. */
#include "tests/unit/drain_connections_list.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drain/peer_socket.h"

typedef struct {
    baton_peer_channel from, to;
    baton_peer_inbox inbox;
} pair;

static void pair_open(pair *own, int send_bytes)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    if (send_bytes > 0)
        assert_int_equal(
            setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof(send_bytes)), 0);
    own->from = own->to = BATON_PEER_CHANNEL_NONE;
    own->from.fd = ends[0];
    own->to.fd = ends[1];
    assert_int_equal(baton_peer_inbox_init(&own->inbox, BATON_PEER_BODY_BYTES_MAX), 0);
}

static void pair_close(pair *own)
{
    baton_peer_inbox_fini(&own->inbox);
    close(own->from.fd);
    close(own->to.fd);
}

static void put_parcel(baton_peer_outgoing *out, baton_parcel *parcel)
{
    memcpy(out->descriptors, parcel->fds, parcel->fds_count * sizeof(int));
    out->descriptors_count = parcel->fds_count;
    parcel->fds_count = 0;
    baton_peer_put(out, BATON_PEER_CONNECTIONS, &names, parcel->body, parcel->body_bytes);
}

/* Until all has left, which is taken in between: then the next whole message, or 0. */
static int send_and_hear(pair *own, baton_peer_outgoing *out, const baton_peer_header **ret_header,
                         const void **ret_body, baton_error *error)
{
    int r;
    for (;;) {
        int sent = out != NULL ? baton_peer_send(out, &own->from) : 1;
        assert_true(sent >= 0);
        r = baton_peer_next(&own->inbox, ret_header, ret_body, error);
        if (r != 0)
            return r;
        r = baton_peer_receive(&own->inbox, &own->to);
        assert_true(r >= 0);
        if (r == 0 && sent == 1)
            return baton_peer_next(&own->inbox, ret_header, ret_body, error);
    }
}

static void take_heard(pair *own, baton_connections *taken, const baton_peer_header *header,
                       const void *body)
{
    int fds[BATON_PEER_DESCRIPTORS_MAX];
    const uint32_t count = baton_peer_take_descriptors(&own->inbox, fds);
    baton_connections_add(taken, body, baton_le32_get(header->body_bytes), fds, count);
    baton_peer_took(&own->inbox);
}

/* Two messages are on their way at once: the descriptors of the second are not those of the first. */
static void messages_back_to_back_keep_their_own_descriptors(void **unused)
{
    (void)unused;
    pair own;
    baton_connections taken = {.list = NULL};
    const baton_peer_header *header;
    const void *body;
    baton_error error = {0};
    const int first = next_fd();
    pair_open(&own, 0);
    for (uint32_t next = 0, used, left; next < 100; next += used) {
        baton_peer_outgoing out = {.busy = false};
        baton_parcel *parcel = baton_parcel_pack(list + next, 10, &used, &left);
        put_parcel(&out, parcel);
        assert_int_equal(baton_peer_send(&out, &own.from), 1);
        baton_parcel_free(parcel);
        const baton_peer_ack ack = {.seq = baton_le64_put(next)};
        baton_peer_put(&out, BATON_PEER_GRANT, &names, &ack, sizeof(ack));
        assert_int_equal(baton_peer_send(&out, &own.from), 1);
    }
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(send_and_hear(&own, NULL, &header, &body, &error), 1);
        if (i % 2 == 0)
            take_heard(&own, &taken, header, body);
        else
            baton_peer_took(&own.inbox);
    }
    assert_int_equal(taken.count, 100);
    for (uint32_t i = 0; i < 100; i++)
        assert_same(&taken.list[i], &list[i]);
    baton_connections_close(&taken);
    pair_close(&own);
    assert_int_equal(next_fd(), first);
}

/* net.core.wmem is no bound: a message may be longer than what the socket holds. */
static void a_message_longer_than_the_socket_holds_comes_in_pieces(void **unused)
{
    (void)unused;
    pair own;
    uint32_t used, left;
    baton_connections taken = {.list = NULL};
    baton_peer_outgoing out = {.busy = false};
    const baton_peer_header *header;
    const void *body;
    baton_error error = {0};
    char *much = malloc(BATON_CONNECTION_BYTES_MAX);
    assert_non_null(much);
    for (uint32_t i = 0; i < BATON_CONNECTION_BYTES_MAX; i++)
        much[i] = (char)(i * 31 >> 8);
    baton_connection one = list[0];
    one.unsent = much;
    one.unsent_bytes = BATON_CONNECTION_BYTES_MAX - one.received_bytes - one.notes_bytes;
    pair_open(&own, 4096);
    baton_parcel *parcel = baton_parcel_pack(&one, 1, &used, &left);
    put_parcel(&out, parcel);
    assert_int_equal(send_and_hear(&own, &out, &header, &body, &error), 1);
    take_heard(&own, &taken, header, body);
    assert_int_equal(taken.count, 1);
    assert_same(&taken.list[0], &one);
    baton_connections_close(&taken);
    baton_parcel_free(parcel);
    pair_close(&own);
    free(much);
}

/* The kernel opens as many as there may be, and drops the rest: the first ones are the right ones. */
static void a_receiver_without_descriptors_gets_the_first_ones(void **unused)
{
    (void)unused;
    pair own;
    uint32_t used, left;
    baton_connections taken = {.list = NULL};
    const baton_peer_header *header;
    const void *body;
    baton_error error = {0};
    pair_open(&own, 0);
    const int first = next_fd();
    for (uint32_t next = 0; next < 20; next += 10) {
        baton_peer_outgoing out = {.busy = false};
        baton_parcel *parcel = baton_parcel_pack(list + next, 10, &used, &left);
        put_parcel(&out, parcel);
        assert_int_equal(baton_peer_send(&out, &own.from), 1);
        baton_parcel_free(parcel);
    }
    allow_descriptors_up_to(first + 4);
    assert_int_equal(send_and_hear(&own, NULL, &header, &body, &error), 1);
    baton_connections_make_room();
    take_heard(&own, &taken, header, body);
    assert_int_equal(taken.count, 4);
    assert_int_equal(taken.lost, 6);
    assert_int_equal(send_and_hear(&own, NULL, &header, &body, &error), 1);
    take_heard(&own, &taken, header, body);
    for (uint32_t i = 0; i < 4; i++)
        assert_same(&taken.list[i], &list[i]);
    for (uint32_t i = 4; i < taken.count; i++)
        assert_same(&taken.list[i], &list[10 + i - 4]);
    assert_int_equal(taken.count + taken.lost, 20);
    baton_connections_close(&taken);
    pair_close(&own);
}

static void a_listener_that_did_not_come_along_is_refused(void **unused)
{
    (void)unused;
    pair own;
    baton_peer_outgoing out = {.busy = false};
    baton_peer_prepare body = {.listeners_count = baton_le32_put(2),
                               .listeners = {{"orders"}, {"feed"}}};
    const baton_peer_header *header;
    const void *heard;
    baton_error error = {0};
    pair_open(&own, 0);
    const int first = next_fd();
    out.descriptors[0] = dup(list[0].fd);
    out.descriptors[1] = dup(list[1].fd);
    out.descriptors_count = 2;
    baton_peer_put(&out, BATON_PEER_PREPARE, &names, &body, sizeof(body));
    assert_int_equal(baton_peer_send(&out, &own.from), 1);
    allow_descriptors_up_to(first + 1);
    const int r = send_and_hear(&own, NULL, &header, &heard, &error);
    baton_connections_make_room();
    assert_int_equal(r, BATON_E_INVALID);
    pair_close(&own);
    assert_true(next_fd() <= first);
}

static void nobody_takes_descriptors_that_he_is_flooded_with(void **unused)
{
    (void)unused;
    pair own;
    const baton_peer_header *header;
    const void *body;
    baton_error error = {0};
    pair_open(&own, 0);
    const int first = next_fd();
    for (uint32_t i = 0; i < 2 * BATON_PEER_BUNDLES_MAX; i++) { /* never a whole message */
        uint32_t used, left;
        baton_peer_outgoing out = {.busy = false};
        baton_parcel *parcel = baton_parcel_pack(list, 200, &used, &left);
        put_parcel(&out, parcel);
        out.header.magic[0] = 'B';
        out.body_bytes = 0;
        assert_int_equal(baton_peer_send(&out, &own.from), 1);
        baton_parcel_free(parcel);
    }
    while (baton_peer_receive(&own.inbox, &own.to) == 1)
        ;
    assert_true(own.inbox.flooded);
    assert_true(baton_peer_next(&own.inbox, &header, &body, &error) <= 0);
    pair_close(&own);
    assert_true(next_fd() <= first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_back_to_back_keep_their_own_descriptors),
        cmocka_unit_test(a_message_longer_than_the_socket_holds_comes_in_pieces),
        cmocka_unit_test(a_receiver_without_descriptors_gets_the_first_ones),
        cmocka_unit_test(a_listener_that_did_not_come_along_is_refused),
        cmocka_unit_test(nobody_takes_descriptors_that_he_is_flooded_with),
    };
    return cmocka_run_group_tests_name("drain_peer_socket", tests, list_open, list_close);
}
