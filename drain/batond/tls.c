/* drain/batond/tls.c: see tls.h. */
#include "drain/batond/tls.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "drain/secret_file.h"

#define CHAIN_MAX 16u

/* Which files they were: another one under the name is another inode, or another time. */
typedef struct {
    struct {
        dev_t device;
        ino_t inode;
        off_t bytes;
        struct timespec changed;
    } files[2];
} identity;

static struct {
    const batond_config *config;
    identity is; /* of what was looked at last, good or not */
    baton_pem certificate, key;
} own;

static identity look(const batond_config *config)
{
    identity found;
    const char *paths[] = {config->certificate_path, config->key_path};
    memset(&found, 0, sizeof(found));
    for (int i = 0; i < 2; i++) {
        struct stat there;
        if (stat(paths[i], &there) < 0)
            continue;
        found.files[i].device = there.st_dev;
        found.files[i].inode = there.st_ino;
        found.files[i].bytes = there.st_size;
        found.files[i].changed = there.st_mtim;
    }
    return found;
}

static gnutls_datum_t datum(const baton_pem *pem)
{
    return (gnutls_datum_t){(unsigned char *)pem->text, (unsigned)pem->bytes};
}

static int check(const baton_pem *certificate, const baton_pem *key, baton_error *error)
{
    const gnutls_datum_t pems[] = {datum(certificate), datum(key)};
    gnutls_certificate_credentials_t credentials;
    if (gnutls_certificate_allocate_credentials(&credentials) < 0)
        return baton_error_set(error, -ENOMEM, "TLS", NULL, "give the process more memory");
    int r =
        gnutls_certificate_set_x509_key_mem(credentials, &pems[0], &pems[1], GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(credentials);
    return r >= 0 ? 0
                  : baton_error_set(error, BATON_E_REFUSED, "TLS",
                                    "the certificate and the key don't load",
                                    "give PEM files that belong together");
}

static int read_files(baton_error *error)
{
    baton_pem certificate, key = {.text = NULL};
    own.is = look(own.config);
    int r = baton_pem_read(&certificate, own.config->certificate_path, false, error);
    if (r == 0)
        r = baton_pem_read(&key, own.config->key_path, true, error);
    if (r == 0)
        r = check(&certificate, &key, error);
    if (r < 0) {
        baton_pem_fini(&certificate);
        baton_pem_fini(&key);
        return r;
    }
    baton_pem_fini(&own.certificate);
    baton_pem_fini(&own.key);
    own.certificate = certificate;
    own.key = key;
    return 0;
}

int batond_tls_open(const batond_config *config, baton_error *error)
{
    own.config = config;
    return read_files(error);
}

void batond_tls_close(void)
{
    baton_pem_fini(&own.certificate);
    baton_pem_fini(&own.key);
    own.config = NULL;
}

static void read_if_changed(void)
{
    baton_error error = {0};
    const identity now = look(own.config);
    if (memcmp(&now, &own.is, sizeof(now)) == 0)
        return;
    if (read_files(&error) < 0)
        baton_log(WARN, "batond.tls", BATON_LOG_TEXT("why", error.why),
                  BATON_LOG_TEXT("todo", error.todo));
    else
        baton_log(INFO, "batond.tls", BATON_LOG_TEXT("read", own.config->certificate_path));
}

/* GnuTLS frees what it is given. */
int batond_tls_choose(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                      gnutls_pcert_st **ret_chain, unsigned *ret_chain_length,
                      gnutls_ocsp_data_st **ret_ocsp, unsigned *ret_ocsp_length,
                      gnutls_privkey_t *ret_key, unsigned *ret_flags)
{
    (void)session, (void)info;
    read_if_changed();
    const gnutls_datum_t certificate = datum(&own.certificate), key = datum(&own.key);
    unsigned length = CHAIN_MAX;
    gnutls_pcert_st *chain = gnutls_calloc(CHAIN_MAX, sizeof(*chain));
    if (chain == NULL || gnutls_privkey_init(ret_key) < 0) {
        gnutls_free(chain);
        return -1;
    }
    if (gnutls_privkey_import_x509_raw(*ret_key, &key, GNUTLS_X509_FMT_PEM, NULL, 0) < 0 ||
        gnutls_pcert_list_import_x509_raw(chain, &length, &certificate, GNUTLS_X509_FMT_PEM, 0) <
            0) {
        gnutls_privkey_deinit(*ret_key);
        gnutls_free(chain);
        return -1;
    }
    *ret_chain = chain;
    *ret_chain_length = length;
    *ret_ocsp = NULL;
    *ret_ocsp_length = 0;
    *ret_flags = GNUTLS_CERT_RETR_DEINIT_ALL;
    return 0;
}
