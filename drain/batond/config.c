/* drain/batond/config.c: see config.h. */
#include "drain/batond/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drain/compatibility.h"

/* Indices of the table below, in its order. */
enum {
    OPTION_SERVICE,
    OPTION_LISTEN,
    OPTION_TOKEN_FILE,
    OPTION_TLS_CERT,
    OPTION_TLS_KEY,
    OPTION_COMPATIBLE_MIN,
    OPTION_COMPATIBLE_MAX,
    OPTION_ANSWER_TIMEOUT,
    OPTION_HANG_AFTER,
    OPTION_ACTION_TIMEOUT,
    OPTION_CONNECTIONS,
    OPTION_CONNECTION_TIMEOUT,
    OPTION_DRAIN_ON_TERM,
    OPTION_TERM_DEADLINE,
    OPTION_TERM_GRACE,
    OPTION_LINGER,
    OPTION_LOG_LEVEL,
    OPTIONS,
};

static const baton_option table[] = {
    [OPTION_SERVICE] = {"service", "SOCKET|DIR", NULL,
                        "the service's control socket, or the directory that holds control.sock "
                        "(required)"},
    [OPTION_LISTEN] = {"listen", "ADDRESS:PORT", "127.0.0.1:9464",
                       "where HTTP is served; port 0: any free one, named in the log"},
    [OPTION_TOKEN_FILE] = {"token-file", "FILE", NULL,
                           "the bearer token of POST, one line; read anew each time. Without it "
                           "nothing can be changed"},
    [OPTION_TLS_CERT] =
        {"tls-cert", "FILE", NULL,
         "PEM, the whole chain; then HTTPS is served. Read anew when it has changed"},
    [OPTION_TLS_KEY] = {"tls-key", "FILE", NULL, "PEM, its key"},
    [OPTION_COMPATIBLE_MIN] = {"compatible-min", "VERSION", NULL,
                               "of the peers that this service works with, as /health tells it "
                               "(default: what the service says, else a minor version below its "
                               "own)"},
    [OPTION_COMPATIBLE_MAX] = {"compatible-max", "VERSION", NULL,
                               "likewise (default: likewise, one above)"},
    [OPTION_ANSWER_TIMEOUT] = {"answer-timeout", "TIME", "500ms",
                               "how long the service may take to answer before that is the answer"},
    [OPTION_HANG_AFTER] = {"hang-after", "TIME", "30s",
                           "without an answer for that long, /livez says no"},
    [OPTION_ACTION_TIMEOUT] = {"action-timeout", "TIME", "60s",
                               "how long a POST waits for what it asked for"},
    [OPTION_CONNECTIONS] = {"connections", "N", "64",
                            "at once; when others wait, the oldest unfinished one makes room"},
    [OPTION_CONNECTION_TIMEOUT] = {"connection-timeout", "TIME", "10s",
                                   "for the whole of a request, and again for its answer"},
    [OPTION_DRAIN_ON_TERM] = {"drain-on-term", NULL, NULL, "SIGTERM drains the service, too"},
    [OPTION_TERM_DEADLINE] = {"term-deadline", "TIME", "30s",
                              "from SIGTERM to the end, at most; a drain of the service is "
                              "waited for"},
    [OPTION_TERM_GRACE] = {"term-grace", "TIME", "2s",
                           "how long after SIGTERM a service's own drain may begin"},
    [OPTION_LINGER] = {"linger", "TIME", "1s",
                       "after that drain, how long its report can be asked for"},
    [OPTION_LOG_LEVEL] = {"log-level", "debug|info|warn|error", "info", "lowest level on stderr"},
};

void batond_config_help(FILE *file)
{
    fprintf(
        file,
        "batond --service SOCKET|DIR [options]\n"
        "\n"
        "Beside one service: its health, metrics and control over HTTP, by its control socket.\n"
        "\n"
        "  GET /health             JSON: status, version, phase, epoch, seq, digests, hydrate, "
        "instance\n"
        "  GET /livez              200 while it hydrates and drains, too; 503 when it hangs\n"
        "  GET /readyz             200 only when it is caught up and takes requests\n"
        "  GET /startupz           200 when this instance has hydrated\n"
        "  GET /metrics            for Prometheus: the service's own, and batond's\n"
        "  POST /drain [?wait=yes], /snapshot, /finalize, /handover\n"
        "                          with the token; from other machines only over TLS. Body: "
        "nothing, "
        "or\n"
        "                          {\"nonce\":\"...\"} of /health: only that instance obeys. "
        "/handover takes\n"
        "                          to (a standby's nonce) and max_gap_ms, too\n"
        "\n"
        "Options:\n");
    baton_options_print(file, table, OPTIONS);
    fprintf(
        file,
        "\n"
        "Exit codes: 0 ended by SIGTERM or SIGINT; 1 error, or the drain of the service that was "
        "waited for was\n"
        "not clean; 7 the address is taken; 8 the term deadline was over before that drain.\n"
        "\n"
        "Examples:\n"
        "  batond --service /var/lib/orders\n"
        "  batond --service /var/lib/orders --listen 0.0.0.0:9464    probes and metrics of a "
        "pod\n"
        "  batond --service /var/lib/orders --token-file /run/secrets/batond/token "
        "--drain-on-term\n"
        "  batond --service /var/lib/orders --listen 0.0.0.0:9464 --tls-cert tls.crt --tls-key "
        "tls.key \\\n"
        "         --token-file token\n"
        "  curl -X POST -H \"Authorization: Bearer $(cat token)\" "
        "'http://127.0.0.1:9464/drain?wait=yes'\n");
}

static int refuse_value(uint32_t option, const char *text, const char *todo, baton_error *error)
{
    char what[64];
    snprintf(what, sizeof(what), "option --%s", table[option].name);
    return baton_error_setf(error, BATON_E_INVALID, what, todo, "'%.100s' does not fit", text);
}

static int read_time(const char **values, uint32_t option, uint64_t min_ns, uint64_t *ret_ns,
                     baton_error *error)
{
    const uint64_t max_ns = UINT64_C(86400000000000);
    const int r = baton_option_duration(table[option].name, values[option], ret_ns, error);
    if (r == 0 && (*ret_ns < min_ns || *ret_ns > max_ns))
        return refuse_value(option, values[option],
                            min_ns > 0 ? "give 10ms to 24h" : "give 24h at most", error);
    return r;
}

static int read_times(batond_config *config, const char **values, baton_error *error)
{
    const struct {
        uint32_t option;
        bool may_be_zero;
        uint64_t *ret_ns;
    } times[] = {
        {OPTION_ANSWER_TIMEOUT, false, &config->answer_timeout_ns},
        {OPTION_HANG_AFTER, false, &config->hang_after_ns},
        {OPTION_ACTION_TIMEOUT, false, &config->action_timeout_ns},
        {OPTION_CONNECTION_TIMEOUT, false, &config->connection_timeout_ns},
        {OPTION_TERM_DEADLINE, true, &config->term_deadline_ns},
        {OPTION_TERM_GRACE, true, &config->term_grace_ns},
        {OPTION_LINGER, true, &config->linger_ns},
    };
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        const int r = read_time(values, times[i].option, times[i].may_be_zero ? 0 : 10000000,
                                times[i].ret_ns, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_numbers(batond_config *config, const char **values, baton_error *error)
{
    static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
    uint64_t connections = 0;
    uint32_t level = 0;
    int r =
        baton_option_count("connections", values[OPTION_CONNECTIONS], 4096, &connections, error);
    if (r == 0 && connections < 4)
        r = refuse_value(OPTION_CONNECTIONS, values[OPTION_CONNECTIONS], "give 4 to 4096", error);
    if (r == 0)
        r = baton_option_choice("log-level", values[OPTION_LOG_LEVEL], levels, &level, error);
    config->connections_max = (uint32_t)connections;
    config->log_level = (baton_log_level)level;
    return r;
}

int batond_config_read(batond_config *config, int argc, char *const *argv, baton_error *error)
{
    const char *values[OPTIONS];
    baton_compatible compatible;
    baton_arguments arguments = {.options = table, .options_count = OPTIONS, .values = values};
    *config = (batond_config){0};
    int r = baton_options_parse(&arguments, argc, argv, error);
    if (r < 0 || arguments.help)
        return r < 0 ? r : 1;
    if (arguments.positionals_count > 0)
        return baton_error_set(error, BATON_E_INVALID, arguments.positionals[0],
                               "batond takes options only", "name the service with --service");
    if (values[OPTION_SERVICE] == NULL || values[OPTION_SERVICE][0] == '\0')
        return baton_error_set(error, BATON_E_INVALID, "option --service", "it is missing",
                               "name the service's control socket or directory");
    if ((values[OPTION_TLS_CERT] == NULL) != (values[OPTION_TLS_KEY] == NULL))
        return baton_error_set(error, BATON_E_INVALID, "options --tls-cert and --tls-key",
                               "one of them is missing", "give both, or none");
    config->service_path = values[OPTION_SERVICE];
    config->token_path = values[OPTION_TOKEN_FILE];
    config->certificate_path = values[OPTION_TLS_CERT];
    config->key_path = values[OPTION_TLS_KEY];
    config->compatible_min = values[OPTION_COMPATIBLE_MIN];
    config->compatible_max = values[OPTION_COMPATIBLE_MAX];
    config->drain_on_term = values[OPTION_DRAIN_ON_TERM] != NULL;
    if (!baton_tcp_address_parse(values[OPTION_LISTEN], &config->address))
        r = refuse_value(OPTION_LISTEN, values[OPTION_LISTEN],
                         "give one like 127.0.0.1:9464 or [::1]:9464", error);
    if (r == 0)
        r = baton_compatible_init(&compatible, "", config->compatible_min, config->compatible_max,
                                  false, error);
    if (r == 0)
        r = read_times(config, values, error);
    return r < 0 ? r : read_numbers(config, values, error);
}
