/* drain/batond/tls.c: see tls.h. */
#include "drain/batond/tls.h"

int batond_tls_files_read(batond_tls_files *files, const batond_config *config, baton_error *error)
{
    *files = (batond_tls_files){.certificate.text = NULL};
    const int r = baton_pem_read(&files->certificate, config->certificate_path, false, error);
    return r < 0 ? r : baton_pem_read(&files->key, config->key_path, true, error);
}

void batond_tls_files_fini(batond_tls_files *files)
{
    baton_pem_fini(&files->certificate);
    baton_pem_fini(&files->key);
}
