/* tests/unit/drain_peer_tls_test.c: messages over a channel with TLS, through a socket that takes little at a time. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <gnutls/abstract.h>

#include "drain/peer_socket.h"
#include "tests/support/test_dir.h"

#define NAME        "toy"
#define MESSAGES    12u
#define STEPS_MAX   2000000u
#define PIECE_BYTES (sizeof(baton_peer_piece) + BATON_PEER_PIECE_BYTES)

static char certificate_path[4200], key_path[4200];
static const baton_peer_security security = {.certificate_path = certificate_path,
                                             .key_path = key_path,
                                             .ca_path = certificate_path,
                                             .name = NAME};

static void write_file(const char *path, const gnutls_datum_t *pem)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, pem->data, pem->size), (ssize_t)pem->size);
    close(fd);
}

/* One that has signed itself is its own CA. */
static int make_certificate(void **state)
{
    static test_dir directory;
    const unsigned char serial = 1;
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t certificate;
    gnutls_datum_t pem;
    test_dir_make(&directory, "peer_tls");
    *state = &directory;
    snprintf(certificate_path, sizeof(certificate_path), "%s/own.crt", directory.path);
    snprintf(key_path, sizeof(key_path), "%s/own.key", directory.path);
    assert_int_equal(gnutls_x509_privkey_init(&key), 0);
    assert_int_equal(
        gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                     (unsigned)GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
        0);
    assert_int_equal(gnutls_x509_crt_init(&certificate), 0);
    gnutls_x509_crt_set_version(certificate, 3);
    gnutls_x509_crt_set_serial(certificate, &serial, sizeof(serial));
    gnutls_x509_crt_set_activation_time(certificate, 0);
    gnutls_x509_crt_set_expiration_time(certificate, time(NULL) + 86400);
    gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, NAME, strlen(NAME));
    gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_DNSNAME, NAME, strlen(NAME), 0);
    gnutls_x509_crt_set_ca_status(certificate, 1);
    gnutls_x509_crt_set_key(certificate, key);
    assert_int_equal(gnutls_x509_crt_sign2(certificate, certificate, key, GNUTLS_DIG_SHA256, 0), 0);
    assert_int_equal(gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &pem), 0);
    write_file(certificate_path, &pem);
    gnutls_free(pem.data);
    assert_int_equal(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem), 0);
    write_file(key_path, &pem);
    gnutls_free(pem.data);
    gnutls_x509_crt_deinit(certificate);
    gnutls_x509_privkey_deinit(key);
    return 0;
}

static int remove_certificate(void **state)
{
    test_dir_remove(*state);
    return 0;
}

/* Both ends of one connection, with buffers of a few KiB. */
static void connect_ends(baton_peer_channel ends[2])
{
    const int small = 4096;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
        ends[i] = (baton_peer_channel){.fd = fds[i],
                                       .is_remote = true,
                                       .is_client = i == 0,
                                       .security = &security,
                                       .open_by_ns = UINT64_MAX};
    }
}

static void fill(uint64_t *body, uint32_t number)
{
    baton_peer_piece *piece = (baton_peer_piece *)body;
    uint8_t *bytes = (uint8_t *)(piece + 1);
    *piece = (baton_peer_piece){.offset = baton_le64_put(number),
                                .bytes = baton_le32_put(BATON_PEER_PIECE_BYTES)};
    for (uint32_t i = 0; i < BATON_PEER_PIECE_BYTES; i++)
        bytes[i] = (uint8_t)(i * 2654435761u + number);
}

static void put(baton_peer_outgoing *out, uint64_t *body, uint32_t number)
{
    const baton_peer_names names = {.epoch = 1, .try_number = number};
    fill(body, number);
    baton_peer_put(out, BATON_PEER_PIECE, &names, body, PIECE_BYTES);
}

/* True: the message of that number was there, byte for byte. */
static bool take(baton_peer_inbox *inbox, uint32_t number, uint64_t *room)
{
    const baton_peer_header *header;
    const void *body;
    baton_error error = {0};
    const int r = baton_peer_next(inbox, &header, &body, &error);
    assert_true(r >= 0);
    if (r == 0)
        return false;
    fill(room, number);
    assert_int_equal(baton_le64_get(header->try_number), number);
    assert_memory_equal(body, room, PIECE_BYTES);
    baton_peer_took(inbox);
    return true;
}

static void large_messages_cross_both_ways_through_a_socket_that_takes_little(void **state)
{
    baton_peer_channel ends[2];
    baton_peer_inbox inboxes[2];
    baton_peer_outgoing outs[2] = {{.busy = false}};
    uint64_t *bodies[3];
    uint32_t sent[2] = {0}, got[2] = {0};
    bool midway = false;
    (void)state;
    connect_ends(ends);
    for (int i = 0; i < 3; i++) {
        bodies[i] = malloc(PIECE_BYTES);
        assert_non_null(bodies[i]);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(baton_peer_inbox_init(&inboxes[i], PIECE_BYTES), 0);
    uint32_t steps = 0;
    while ((got[0] < MESSAGES || got[1] < MESSAGES) && ++steps < STEPS_MAX) {
        const int i = (int)(steps & 1);
        if (!outs[i].busy && sent[i] < MESSAGES)
            put(&outs[i], bodies[i], sent[i]++);
        assert_true(baton_peer_send(&outs[i], &ends[i]) >= 0);
        midway = midway || baton_peer_channel_is_midway(&ends[i]);
        assert_true(baton_peer_receive(&inboxes[i], &ends[i]) >= 0);
        if (take(&inboxes[i], got[i], bodies[2]))
            got[i]++;
    }
    assert_int_equal(got[0], MESSAGES);
    assert_int_equal(got[1], MESSAGES);
    assert_true(midway); /* else this has shown nothing */
    for (int i = 0; i < 2; i++) {
        baton_peer_inbox_fini(&inboxes[i]);
        baton_peer_channel_close(&ends[i]);
    }
    for (int i = 0; i < 3; i++)
        free(bodies[i]);
}

static void an_end_that_is_gone_is_noticed_in_any_state(void **state)
{
    (void)state;
    for (uint32_t after = 0; after < 12; after++) {
        baton_peer_channel ends[2];
        int r = 0;
        connect_ends(ends);
        for (uint32_t step = 0; step < after; step++)
            assert_true(baton_peer_channel_advance(&ends[step & 1]) >= 0);
        baton_peer_channel_close(&ends[1]);
        for (uint32_t step = 0; step < 100 && r >= 0; step++) {
            char byte;
            r = baton_peer_channel_advance(&ends[0]);
            if (r == 1)
                r = (int)baton_peer_channel_read(&ends[0], &byte, 1);
            r = r == -EAGAIN ? 0 : r;
        }
        assert_int_equal(r, -EPIPE);
        assert_non_null(strstr(ends[0].error.why, "hung up"));
        baton_peer_channel_close(&ends[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_messages_cross_both_ways_through_a_socket_that_takes_little),
        cmocka_unit_test(an_end_that_is_gone_is_noticed_in_any_state),
    };
    return cmocka_run_group_tests(tests, make_certificate, remove_certificate);
}
