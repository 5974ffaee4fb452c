/* drain/peer_tls.c: see peer_tls.h. */
#include "drain/peer_tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "drain/secret_file.h"

#define PRIORITIES   "NORMAL:-VERS-ALL:+VERS-TLS1.3"
#define RECORD_BYTES 16384u

struct baton_peer_tls {
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    const baton_peer_security *security;
    int fd;
    bool is_client;
    bool may_read;
    gnutls_alert_description_t alert; /* that verify chose; 0: none */
    char why[160];                    /* likewise */
    size_t queued;                    /* bytes that GnuTLS has, and has not sent */
    uint8_t record[RECORD_BYTES];     /* header and body go as one */
};

static int refuse(baton_error *error, const char *why, const char *todo)
{
    return baton_error_set(error, BATON_E_REFUSED, "TLS with the other instance", why, todo);
}

/* ---- files ---- */

static int load(gnutls_certificate_credentials_t credentials, const baton_pem *certificate,
                const baton_pem *key, const baton_pem *authority, baton_error *error)
{
    const gnutls_datum_t pems[] = {
        {(unsigned char *)certificate->text, (unsigned)certificate->bytes},
        {(unsigned char *)key->text, (unsigned)key->bytes},
        {(unsigned char *)authority->text, (unsigned)authority->bytes}};
    if (gnutls_certificate_set_x509_key_mem(credentials, &pems[0], &pems[1], GNUTLS_X509_FMT_PEM) <
        0)
        return refuse(error, "this one's certificate and key don't load",
                      "give --peer-cert and --peer-key PEM files that belong together");
    if (gnutls_certificate_set_x509_trust_mem(credentials, &pems[2], GNUTLS_X509_FMT_PEM) < 1)
        return refuse(error, "there is no CA certificate in --peer-ca", "give a PEM file");
    return 0;
}

static int make_credentials(const baton_peer_security *security,
                            gnutls_certificate_credentials_t *ret_credentials, baton_error *error)
{
    baton_pem certificate = {.text = NULL}, key = {.text = NULL}, authority = {.text = NULL};
    *ret_credentials = NULL;
    int r = baton_pem_read(&certificate, security->certificate_path, false, error);
    if (r == 0)
        r = baton_pem_read(&key, security->key_path, true, error);
    if (r == 0)
        r = baton_pem_read(&authority, security->ca_path, false, error);
    if (r == 0 && gnutls_certificate_allocate_credentials(ret_credentials) < 0)
        r = baton_error_set(error, -ENOMEM, "TLS", NULL, "give the process more memory");
    if (r == 0)
        r = load(*ret_credentials, &certificate, &key, &authority, error);
    baton_pem_fini(&certificate);
    baton_pem_fini(&key);
    baton_pem_fini(&authority);
    if (r < 0 && *ret_credentials != NULL) {
        gnutls_certificate_free_credentials(*ret_credentials);
        *ret_credentials = NULL;
    }
    return r;
}

int baton_peer_tls_check(const baton_peer_security *security, baton_error *error)
{
    gnutls_certificate_credentials_t credentials;
    int r = make_credentials(security, &credentials, error);
    if (r == 0)
        gnutls_certificate_free_credentials(credentials);
    return r;
}

/* ---- the other end's certificate ---- */

static int object(baton_peer_tls *tls, gnutls_alert_description_t alert, const char *why)
{
    tls->alert = alert;
    snprintf(tls->why, sizeof(tls->why), "%s", why);
    return -1;
}

static int object_to_status(baton_peer_tls *tls, unsigned status)
{
    if ((status & GNUTLS_CERT_EXPIRED) != 0)
        return object(tls, GNUTLS_A_CERTIFICATE_EXPIRED, "its certificate has expired");
    if ((status & GNUTLS_CERT_NOT_ACTIVATED) != 0)
        return object(tls, GNUTLS_A_CERTIFICATE_EXPIRED, "its certificate is not valid yet");
    if ((status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA)) != 0)
        return object(tls, GNUTLS_A_UNKNOWN_CA,
                      "its certificate is not signed by the CA of --peer-ca");
    if ((status & GNUTLS_CERT_PURPOSE_MISMATCH) != 0)
        return object(tls, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
                      "its certificate is not for this end of a connection");
    return object(tls, GNUTLS_A_BAD_CERTIFICATE, "its certificate is not good");
}

static int check_name(baton_peer_tls *tls)
{
    unsigned count = 0;
    gnutls_x509_crt_t certificate;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(tls->session, &count);
    if (count == 0 || gnutls_x509_crt_init(&certificate) < 0)
        return object(tls, GNUTLS_A_CERTIFICATE_REQUIRED, "it shows no certificate");
    const bool fits = gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER) == 0 &&
                      gnutls_x509_crt_check_hostname2(certificate, tls->security->name,
                                                      GNUTLS_VERIFY_DO_NOT_ALLOW_WILDCARDS) != 0;
    gnutls_x509_crt_deinit(certificate);
    if (fits)
        return 0;
    (void)object(tls, GNUTLS_A_ACCESS_DENIED, "");
    snprintf(tls->why, sizeof(tls->why), "its certificate does not name '%.100s'",
             tls->security->name);
    return -1;
}

/* Not 0: the handshake ends. */
static int verify(gnutls_session_t session)
{
    baton_peer_tls *tls = gnutls_session_get_ptr(session);
    unsigned status = 0;
    gnutls_typed_vdata_st purpose = {
        .type = GNUTLS_DT_KEY_PURPOSE_OID,
        .data = (unsigned char *)(uintptr_t)(tls->is_client ? GNUTLS_KP_TLS_WWW_SERVER
                                                            : GNUTLS_KP_TLS_WWW_CLIENT)};
    int r = gnutls_certificate_verify_peers(session, &purpose, 1, &status);
    if (r == GNUTLS_E_NO_CERTIFICATE_FOUND)
        return object(tls, GNUTLS_A_CERTIFICATE_REQUIRED, "it shows no certificate");
    if (r < 0)
        return object(tls, GNUTLS_A_BAD_CERTIFICATE, "its certificate can't be read");
    return status != 0 ? object_to_status(tls, status) : check_name(tls);
}

/* ---- its life ---- */

static ssize_t pull(gnutls_transport_ptr_t context, void *to, size_t bytes)
{
    baton_peer_tls *tls = context;
    if (tls->may_read)
        return recv(tls->fd, to, bytes, MSG_DONTWAIT);
    gnutls_transport_set_errno(tls->session, EAGAIN);
    return -1;
}

int baton_peer_tls_begin(const baton_peer_security *security, int fd, bool is_client,
                         baton_peer_tls **ret_tls, baton_error *error)
{
    const unsigned flags = (is_client ? GNUTLS_CLIENT : GNUTLS_SERVER) | GNUTLS_NONBLOCK |
                           GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS;
    baton_peer_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return baton_error_set(error, -ENOMEM, "TLS", NULL, "give the process more memory");
    tls->security = security;
    tls->fd = fd;
    tls->is_client = is_client;
    int r = make_credentials(security, &tls->credentials, error);
    if (r < 0) {
        free(tls);
        return r;
    }
    gnutls_certificate_set_verify_function(tls->credentials, verify);
    if (gnutls_init(&tls->session, flags) < 0) {
        gnutls_certificate_free_credentials(tls->credentials);
        free(tls);
        return baton_error_set(error, -ENOMEM, "TLS", NULL, "give the process more memory");
    }
    gnutls_session_set_ptr(tls->session, tls);
    gnutls_transport_set_ptr2(tls->session, tls, (gnutls_transport_ptr_t)(intptr_t)fd);
    gnutls_transport_set_pull_function(tls->session, pull);
    if (gnutls_priority_set_direct(tls->session, PRIORITIES, NULL) < 0 ||
        gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, tls->credentials) < 0) {
        baton_peer_tls_free(tls);
        return refuse(error, "GnuTLS does not offer TLS 1.3 here",
                      "look at the system's policy of GnuTLS");
    }
    if (!is_client) {
        gnutls_certificate_server_set_request(tls->session, GNUTLS_CERT_REQUIRE);
        /* Told which CA is wanted, one with another would show nothing: that says less than what it has. */
        gnutls_certificate_send_x509_rdn_sequence(tls->session, 1);
    }
    *ret_tls = tls;
    return 0;
}

void baton_peer_tls_free(baton_peer_tls *tls)
{
    if (tls == NULL)
        return;
    gnutls_deinit(tls->session);
    gnutls_certificate_free_credentials(tls->credentials);
    free(tls);
}

void baton_peer_tls_bye(baton_peer_tls *tls)
{
    (void)gnutls_bye(tls->session, GNUTLS_SHUT_WR);
}

bool baton_peer_tls_wants_to_send(const baton_peer_tls *tls)
{
    return gnutls_record_get_direction(tls->session) == 1;
}

bool baton_peer_tls_is_midway(const baton_peer_tls *tls)
{
    return tls->queued > 0;
}

/* ---- what goes wrong ---- */

/* What the other end said of this one. */
static int tell_alert(const baton_peer_tls *tls, baton_error *error)
{
    static const char *const todo = "look at its log, and at --peer-cert and --peer-ca of both";
    static const struct {
        gnutls_alert_description_t alert;
        const char *why;
    } known[] = {
        {GNUTLS_A_UNKNOWN_CA,
         "the other end refuses this one's certificate: it is of another CA than its --peer-ca"},
        {GNUTLS_A_CERTIFICATE_EXPIRED,
         "the other end refuses this one's certificate: it has expired, or is not valid yet"},
        {GNUTLS_A_ACCESS_DENIED,
         "the other end refuses this one's certificate: it lacks the name of its --peer-name"},
        {GNUTLS_A_UNSUPPORTED_CERTIFICATE,
         "the other end refuses this one's certificate: it is not for this end of a connection"},
        {GNUTLS_A_CERTIFICATE_REQUIRED, "the other end wants a certificate of this one"},
        {GNUTLS_A_PROTOCOL_VERSION, "the other end does not speak TLS 1.3"},
    };
    const gnutls_alert_description_t alert = gnutls_alert_get(tls->session);
    const char *name = gnutls_alert_get_name(alert);
    char why[160];
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].alert == alert)
            return refuse(error, known[i].why, todo);
    snprintf(why, sizeof(why), "the other end ends it: %.100s", name != NULL ? name : "an alert");
    return refuse(error, why, todo);
}

static int tell(const baton_peer_tls *tls, int status, baton_error *error)
{
    char why[160];
    switch (status) {
    case GNUTLS_E_FATAL_ALERT_RECEIVED:
        return tell_alert(tls, error);
    case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
    case GNUTLS_E_NO_CIPHER_SUITES: /* those of TLS 1.3 are its own; who speaks it has the one that must be there */
        return refuse(error, "it does not speak TLS 1.3", "bring it up to date");
    case GNUTLS_E_NO_CERTIFICATE_FOUND:
    case GNUTLS_E_CERTIFICATE_REQUIRED:
        return refuse(error, "it shows no certificate", "give it --peer-cert and --peer-key");
    case GNUTLS_E_PREMATURE_TERMINATION:
    case GNUTLS_E_PULL_ERROR:
    case GNUTLS_E_PUSH_ERROR:
        return baton_error_set(error, -EPIPE, "the connection to the other instance",
                               "it has hung up", NULL);
    default:
        break;
    }
    if (tls->why[0] != '\0')
        return refuse(error, tls->why, "look at the certificates of both");
    snprintf(why, sizeof(why), "TLS fails: %.120s", gnutls_strerror(status));
    return refuse(error, why, "look at the other instance");
}

int baton_peer_tls_shake(baton_peer_tls *tls, bool heard, baton_error *error)
{
    int r;
    tls->may_read = heard;
    do
        r = gnutls_handshake(tls->session);
    while (r < 0 && gnutls_error_is_fatal(r) == 0 && r != GNUTLS_E_AGAIN);
    if (r == GNUTLS_E_AGAIN)
        return 0;
    if (r == 0)
        return 1;
    if (tls->alert != 0)
        (void)gnutls_alert_send(tls->session, GNUTLS_AL_FATAL, tls->alert);
    else if (r != GNUTLS_E_FATAL_ALERT_RECEIVED)
        (void)gnutls_alert_send_appropriate(tls->session, r);
    return tell(tls, r, error);
}

/* ---- bytes ---- */

ssize_t baton_peer_tls_read(baton_peer_tls *tls, void *to, size_t bytes, baton_error *error)
{
    ssize_t n;
    do
        n = gnutls_record_recv(tls->session, to, bytes);
    while (n < 0 && gnutls_error_is_fatal((int)n) == 0 && n != GNUTLS_E_AGAIN);
    if (n > 0)
        return n;
    if (n == GNUTLS_E_AGAIN)
        return -EAGAIN;
    return tell(tls, n == 0 ? GNUTLS_E_PREMATURE_TERMINATION : (int)n, error);
}

static size_t gather(baton_peer_tls *tls, const struct iovec *parts, uint32_t parts_count)
{
    size_t count = 0;
    for (uint32_t i = 0; i < parts_count; i++) {
        const size_t room = sizeof(tls->record) - count;
        const size_t bytes = parts[i].iov_len < room ? parts[i].iov_len : room;
        memcpy(tls->record + count, parts[i].iov_base, bytes);
        count += bytes;
    }
    return count;
}

ssize_t baton_peer_tls_write(baton_peer_tls *tls, const struct iovec *parts, uint32_t parts_count,
                             baton_error *error)
{
    ssize_t n;
    if (tls->queued == 0) {
        tls->queued = gather(tls, parts, parts_count);
        n = gnutls_record_send(tls->session, tls->record, tls->queued);
    } else {
        n = gnutls_record_send(tls->session, NULL, 0);
    }
    while (n == GNUTLS_E_INTERRUPTED)
        n = gnutls_record_send(tls->session, NULL, 0);
    if (n == GNUTLS_E_AGAIN)
        return -EAGAIN;
    tls->queued = 0;
    return n >= 0 ? n : tell(tls, (int)n, error);
}
