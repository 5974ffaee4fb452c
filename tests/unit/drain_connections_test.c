/* drain/connections.c: connected sockets go into messages and come out of them, each with its own
 * descriptor and bytes; what does not fit is counted, never mixed up (docs/handover.md R10). */
#include "tests/unit/drain_connections_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const baton_peer_connections *body_of(const baton_parcel *parcel)
{
    return (const baton_peer_connections *)parcel->body;
}

/* Out of the parcel, as if it had been sent. */
static void take(baton_connections *taken, baton_parcel *parcel)
{
    baton_peer_header header;
    baton_error error = {0};
    baton_peer_seal(&header, BATON_PEER_CONNECTIONS, &names, parcel->fds_count, parcel->body,
                    parcel->body_bytes);
    assert_int_equal(baton_peer_check(&header, parcel->body, &error), 0);
    baton_connections_add(taken, body_of(parcel), parcel->body_bytes, parcel->fds,
                          parcel->fds_count);
    parcel->fds_count = 0;
    baton_parcel_free(parcel);
}

static void connections_come_out_as_they_went_in(void **unused)
{
    (void)unused;
    baton_connections taken = {.list = NULL};
    uint32_t used, left, parcels = 0;
    for (uint32_t next = 0; next < MANY; next += used, parcels++) {
        baton_parcel *parcel = baton_parcel_pack(list + next, MANY - next, &used, &left);
        assert_non_null(parcel);
        assert_int_equal(left, 0);
        take(&taken, parcel);
    }
    assert_int_equal(parcels, (MANY + BATON_PEER_CONNECTIONS_MAX - 1) / BATON_PEER_CONNECTIONS_MAX);
    assert_int_equal(taken.count, MANY);
    assert_int_equal(taken.lost, 0);
    for (uint32_t i = 0; i < MANY; i++)
        assert_same(&taken.list[i], &list[i]);
    baton_connections_close(&taken);
}

static void one_that_is_too_long_is_left_and_the_others_go(void **unused)
{
    (void)unused;
    uint32_t used, left;
    char *much = calloc(1, BATON_CONNECTION_BYTES_MAX);
    assert_non_null(much);
    baton_connection some[] = {list[0], list[1], list[2]};
    some[1].unsent = much;
    some[1].unsent_bytes = BATON_CONNECTION_BYTES_MAX;
    baton_parcel *parcel = baton_parcel_pack(some, 3, &used, &left);
    assert_non_null(parcel);
    assert_int_equal(used, 3);
    assert_int_equal(left, 1);
    baton_connections taken = {.list = NULL};
    take(&taken, parcel);
    assert_int_equal(taken.count, 2);
    assert_same(&taken.list[0], &some[0]);
    assert_same(&taken.list[1], &some[2]);
    baton_connections_close(&taken);
    assert_null(baton_parcel_pack(&some[1], 1, &used, &left));
    assert_int_equal(used, 1);
    assert_int_equal(left, 1);
    free(much);
}

static void long_ones_have_a_message_each(void **unused)
{
    (void)unused;
    uint32_t used, left;
    char *much = calloc(1, BATON_CONNECTION_BYTES_MAX);
    assert_non_null(much);
    baton_connection some[] = {list[0], list[1]};
    for (uint32_t i = 0; i < 2; i++)
        some[i] = (baton_connection){.fd = list[i].fd,
                                     .name = "orders",
                                     .received = much,
                                     .unsent = much,
                                     .notes = much,
                                     .unsent_bytes = BATON_CONNECTION_BYTES_MAX};
    for (uint32_t i = 0; i < 2; i++) {
        baton_parcel *parcel = baton_parcel_pack(some + i, 2 - i, &used, &left);
        assert_non_null(parcel);
        assert_int_equal(used, 1);
        assert_true(parcel->body_bytes <= BATON_PEER_CONNECTIONS_BYTES_MAX);
        baton_connections taken = {.list = NULL};
        take(&taken, parcel);
        assert_same(&taken.list[0], &some[i]);
        baton_connections_close(&taken);
    }
    free(much);
}

static void an_active_keeps_some_descriptors_for_itself(void **unused)
{
    (void)unused;
    uint32_t used, left;
    const int first = next_fd();
    allow_descriptors_up_to(first + 10 + (int)BATON_DESCRIPTORS_KEPT);
    baton_parcel *parcel = baton_parcel_pack(list, 100, &used, &left);
    baton_connections_make_room();
    assert_non_null(parcel);
    assert_int_equal(used, 100);
    assert_int_equal(left, 90);
    assert_int_equal(baton_le32_get(body_of(parcel)->count), 10);
    baton_parcel_free(parcel);
    assert_int_equal(next_fd(), first);
}

static void a_standby_keeps_some_descriptors_for_itself(void **unused)
{
    (void)unused;
    uint32_t used, left;
    const int first = next_fd();
    baton_connections taken = {.list = NULL};
    baton_parcel *parcel = baton_parcel_pack(list, 100, &used, &left);
    assert_non_null(parcel);
    allow_descriptors_up_to(first + 10 + (int)BATON_DESCRIPTORS_KEPT);
    take(&taken, parcel);
    baton_connections_make_room();
    assert_int_equal(taken.count, 10);
    assert_int_equal(taken.lost, 90);
    for (uint32_t i = 0; i < 10; i++)
        assert_same(&taken.list[i], &list[i]);
    baton_connections_close(&taken);
    assert_int_equal(next_fd(), first);
}

/* Grown in the gap, the kernel's table costs a grace period. */
static void the_table_of_descriptors_has_room_beforehand(void **unused)
{
    (void)unused;
    char line[128];
    unsigned long size = 0;
    FILE *status = fopen("/proc/self/status", "re");
    assert_non_null(status);
    while (size == 0 && fgets(line, sizeof(line), status) != NULL)
        (void)sscanf(line, "FDSize: %lu", &size);
    fclose(status);
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const unsigned long wanted = 2 * BATON_CONNECTIONS_MAX;
    assert_true(size >= (limit.rlim_cur < wanted ? limit.rlim_cur : wanted));
}

/* ---- what is refused ---- */

static int check_changed(void (*change)(baton_peer_connections *body, baton_peer_connection *first))
{
    uint32_t used, left;
    baton_peer_header header;
    baton_error error = {0};
    baton_parcel *parcel = baton_parcel_pack(list, 2, &used, &left);
    baton_peer_connections *body = (baton_peer_connections *)parcel->body;
    change(body, (baton_peer_connection *)(body + 1));
    baton_peer_seal(&header, BATON_PEER_CONNECTIONS, &names, parcel->fds_count, body,
                    parcel->body_bytes);
    const int r = baton_peer_check(&header, body, &error);
    baton_parcel_free(parcel);
    return r;
}

static void nothing(baton_peer_connections *body, baton_peer_connection *first)
{
    (void)body;
    (void)first;
}

static void fewer(baton_peer_connections *body, baton_peer_connection *first)
{
    (void)first;
    body->count = baton_le32_put(1);
}

static void more(baton_peer_connections *body, baton_peer_connection *first)
{
    (void)first;
    body->count = baton_le32_put(UINT32_MAX);
}

static void none(baton_peer_connections *body, baton_peer_connection *first)
{
    (void)first;
    body->count = baton_le32_put(0);
}

static void longer(baton_peer_connections *body, baton_peer_connection *first)
{
    (void)body;
    first->notes_bytes = baton_le32_put(first->notes_bytes.bytes[0] + 16u);
}

static void shorter(baton_peer_connections *body, baton_peer_connection *first)
{
    (void)body;
    first[0].notes_bytes = first[1].notes_bytes = baton_le32_put(0);
}

static void far_too_long(baton_peer_connections *body, baton_peer_connection *first)
{
    (void)body;
    first->received_bytes = baton_le32_put(UINT32_MAX);
    first->unsent_bytes = baton_le32_put(8);
}

static void nameless(baton_peer_connections *body, baton_peer_connection *first)
{
    (void)body;
    memset(first->name, 0, sizeof(first->name));
}

static void unknown_bits(baton_peer_connections *body, baton_peer_connection *first)
{
    (void)body;
    first->zero[3] = 1;
}

static void lengths_that_lie_are_refused(void **unused)
{
    (void)unused;
    assert_int_equal(check_changed(nothing), 0);
    assert_int_equal(check_changed(fewer), BATON_E_INVALID);
    assert_int_equal(check_changed(more), BATON_E_INVALID);
    assert_int_equal(check_changed(none), BATON_E_INVALID);
    assert_int_equal(check_changed(longer), BATON_E_INVALID);
    assert_int_equal(check_changed(shorter), BATON_E_INVALID);
    assert_int_equal(check_changed(far_too_long), BATON_E_INVALID);
    assert_int_equal(check_changed(nameless), BATON_E_INVALID);
    assert_int_equal(check_changed(unknown_bits), BATON_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_come_out_as_they_went_in),
        cmocka_unit_test(one_that_is_too_long_is_left_and_the_others_go),
        cmocka_unit_test(long_ones_have_a_message_each),
        cmocka_unit_test(an_active_keeps_some_descriptors_for_itself),
        cmocka_unit_test(a_standby_keeps_some_descriptors_for_itself),
        cmocka_unit_test(the_table_of_descriptors_has_room_beforehand),
        cmocka_unit_test(lengths_that_lie_are_refused),
    };
    return cmocka_run_group_tests_name("drain_connections", tests, list_open, list_close);
}
