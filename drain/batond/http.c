/* drain/batond/http.c: see http.h. */
#include "drain/batond/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <baton/clock.h>

#include "drain/batond/tls.h"

#define BACKLOG       1024
#define RUNS_MAX      4u                  /* a turn is bounded */
#define ROOM_AFTER_NS UINT64_C(250000000) /* so long a burst waits, before the slow make room */

/* A connection. */
typedef struct batond_guest {
    int fd; /* -1: free */
    uint64_t came_ns;
    uint64_t until_ns; /* UINT64_MAX: its request waits for the service */
    bool complete;     /* its request is */
    bool shut;
} guest;

struct batond_http {
    const batond_config *config;
    baton_loop *loop;
    batond_routes routes;
    struct MHD_Daemon *daemon;
    int listen_fd;
    int epoll_fd;
    struct sockaddr_storage address;
    batond_request *waiting;
    guest *guests; /* connections_max places */
    batond_http_counts counts;
    bool has_left; /* some guest, since the last run */
};

static uint64_t now(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}

/* ---- guests ---- */

/* The library reads the end of the connection, and closes it. */
static void shut(guest *one)
{
    one->shut = true;
    one->until_ns = UINT64_MAX;
    (void)shutdown(one->fd, SHUT_RDWR);
}

/* Where all places are taken, others wait to be accepted: whoever has not brought his request by now
 * goes, the oldest first. Returns when the next one is due. */
static uint64_t make_room(batond_http *http, uint64_t now_ns)
{
    guest *oldest = NULL;
    for (uint32_t i = 0; i < http->config->connections_max; i++) {
        guest *one = &http->guests[i];
        if (one->fd < 0 || one->shut)
            return UINT64_MAX; /* there is room, or soon */
        if (!one->complete && (oldest == NULL || one->came_ns < oldest->came_ns))
            oldest = one;
    }
    if (oldest == NULL)
        return UINT64_MAX; /* all of them are answered in bounded time */
    if (oldest->came_ns + ROOM_AFTER_NS > now_ns)
        return oldest->came_ns + ROOM_AFTER_NS;
    shut(oldest);
    http->counts.evicted_total++;
    return UINT64_MAX;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode what)
{
    batond_http *http = context;
    guest *one = *socket_context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED && one != NULL) {
        one->fd = -1;
        http->counts.connections--;
        http->has_left = true;
        *socket_context = NULL;
    }
    if (what != MHD_CONNECTION_NOTIFY_STARTED)
        return;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    for (uint32_t i = 0; i < http->config->connections_max && info != NULL; i++) {
        one = &http->guests[i];
        if (one->fd >= 0)
            continue;
        *one = (guest){.fd = info->connect_fd, .came_ns = now()};
        one->until_ns = one->came_ns + http->config->connection_timeout_ns;
        http->counts.connections++;
        *socket_context = one;
        return;
    }
}

static guest *guest_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static uint64_t end_slow_ones(batond_http *http, uint64_t now_ns)
{
    uint64_t next_ns = make_room(http, now_ns);
    for (uint32_t i = 0; i < http->config->connections_max; i++) {
        guest *one = &http->guests[i];
        if (one->fd < 0)
            continue;
        if (one->until_ns <= now_ns) {
            shut(one);
            http->counts.timed_out_total++;
        }
        next_ns = one->until_ns < next_ns ? one->until_ns : next_ns;
    }
    return next_ns;
}

/* ---- requests ---- */

static enum MHD_Result send_reply(struct MHD_Connection *connection, const batond_reply *reply)
{
    static char memory_is_short[] = "{\"error\":\"memory is short\"}\n";
    const bool ok = reply->body != NULL;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        ok ? reply->body_bytes : sizeof(memory_is_short) - 1, ok ? reply->body : memory_is_short,
        ok ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        free(reply->body);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", ok ? reply->type : "application/json");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "Connection", "close");
    MHD_add_response_header(response, "Baton-Instance", reply->instance);
    if (reply->allow != NULL)
        MHD_add_response_header(response, "Allow", reply->allow);
    if (reply->ask_for_token)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (reply->come_again)
        MHD_add_response_header(response, "Retry-After", "1");
    const enum MHD_Result done = MHD_queue_response(connection, ok ? reply->code : 500, response);
    MHD_destroy_response(response);
    return done;
}

static enum MHD_Result answer(batond_http *http, batond_request *request)
{
    batond_reply reply = {.code = 500, .type = "application/json"};
    http->routes.reply(http->routes.context, request, &reply);
    if (request->guest != NULL)
        request->guest->until_ns = now() + http->config->connection_timeout_ns;
    return send_reply(request->connection, &reply);
}

static bool is_private(struct MHD_Connection *connection, const batond_config *config)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return config->certificate_path != NULL ||
           (info != NULL && baton_tcp_is_loopback(info->client_addr));
}

static batond_request *take_in(batond_http *http, struct MHD_Connection *connection,
                               const char *method, const char *path)
{
    batond_request *request = calloc(1, sizeof(*request));
    if (request == NULL)
        return NULL;
    request->http = http;
    request->connection = connection;
    request->guest = guest_of(connection);
    request->method = method;
    request->path = path;
    request->authorization =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    request->is_private = is_private(connection, http->config);
    return request;
}

/* The library calls this when the headers are there, for each part of the body, at the body's end,
 * and again when a request that waited goes on. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *upload, size_t *upload_bytes, void **request_context)
{
    batond_http *http = context;
    batond_request *request = *request_context;
    (void)version;
    if (request == NULL) {
        request = *request_context = take_in(http, connection, method, path);
        if (request == NULL)
            return MHD_NO;
        const char *length =
            MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
        request->is_too_large = length != NULL && strtoull(length, NULL, 10) > BATOND_BODY_BYTES;
        return request->is_too_large ? answer(http, request) : MHD_YES;
    }
    if (*upload_bytes > 0) {
        if (*upload_bytes > BATOND_BODY_BYTES - request->body_bytes)
            return MHD_NO; /* it did not say how long it is: hang up */
        memcpy(request->body + request->body_bytes, upload, *upload_bytes);
        request->body_bytes += *upload_bytes;
        *upload_bytes = 0;
        return MHD_YES;
    }
    if (request->waits)
        return answer(http, request);

    request->arrived_ns = now();
    if (request->guest != NULL)
        request->guest->complete = true;
    if (http->routes.ready(http->routes.context, request, request->arrived_ns))
        return answer(http, request);
    if (request->guest != NULL)
        request->guest->until_ns = UINT64_MAX;
    request->waits = true;
    request->next = http->waiting;
    http->waiting = request;
    MHD_suspend_connection(connection);
    return MHD_YES;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request_context,
                         enum MHD_RequestTerminationCode why)
{
    batond_http *http = context;
    batond_request *request = *request_context;
    (void)connection, (void)why;
    if (request == NULL)
        return;
    http->routes.forget(http->routes.context, request);
    free(request);
    *request_context = NULL;
}

static void resume_those_ready(batond_http *http, bool all, uint64_t now_ns)
{
    for (batond_request **link = &http->waiting; *link != NULL;) {
        batond_request *request = *link;
        if (!all && !http->routes.ready(http->routes.context, request, now_ns)) {
            link = &request->next;
            continue;
        }
        *link = request->next;
        MHD_resume_connection(request->connection);
    }
}

/* ---- the daemon ---- */

static void on_epoll(void *context, int fd, uint32_t events)
{
    (void)context, (void)fd, (void)events; /* the step after this turn does the work */
}

uint64_t batond_http_step(batond_http *http, uint64_t now_ns)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms = 0;
    resume_those_ready(http, false, now_ns);
    (void)MHD_run(http->daemon);
    /* With all places taken the library looks for nobody new, and it looks again only in the run
     * after the one in which a place got free. */
    for (uint32_t i = 0; i < RUNS_MAX && http->has_left; i++) {
        http->has_left = false;
        (void)MHD_run(http->daemon);
    }
    uint64_t next_ns = end_slow_ones(http, now_ns);
    if (http->has_left)
        next_ns = now_ns;
    if (MHD_get_timeout(http->daemon, &timeout_ms) != MHD_YES)
        return next_ns;
    const uint64_t library_ns = now_ns + timeout_ms * 1000000;
    return library_ns < next_ns ? library_ns : next_ns;
}

/* What the library has to say is about its guests' mistakes. */
static void on_log(void *context, const char *format, va_list arguments)
{
    char text[256];
    (void)context;
    vsnprintf(text, sizeof(text), format, arguments);
    text[strcspn(text, "\n")] = '\0';
    baton_log(DEBUG, "batond.http", BATON_LOG_TEXT("text", text));
}

static int start_listening(batond_http *http, baton_error *error)
{
    char what[128] = "listen on ";
    const int on = 1;
    const struct sockaddr *address = (const struct sockaddr *)&http->config->address.address;
    socklen_t bytes = sizeof(http->address);
    baton_tcp_address_text(address, what + strlen(what));
    http->listen_fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (http->listen_fd < 0)
        return baton_error_set(error, -errno, what, NULL, "give another --listen");
    (void)setsockopt(http->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(http->listen_fd, address, http->config->address.bytes) < 0 ||
        listen(http->listen_fd, BACKLOG) < 0)
        return errno == EADDRINUSE
                   ? baton_error_set(error, BATON_E_LOCKED, what, "another process listens there",
                                     "end that one, or give another --listen")
                   : baton_error_set(error, -errno, what, NULL, "give another --listen");
    (void)getsockname(http->listen_fd, (struct sockaddr *)&http->address, &bytes);
    return 0;
}

static int start_daemon(batond_http *http, baton_error *error)
{
    const bool tls = http->config->certificate_path != NULL;
    const unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                           (tls ? (unsigned)MHD_USE_TLS : 0u);
    const struct MHD_OptionItem tls_items[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, (void *)(uintptr_t)batond_tls_choose},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)BATOND_TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL},
    };
    const struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    http->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, http->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
        http->config->connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)BATOND_HEAD_BYTES, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_ARRAY, tls ? tls_items : none,
        MHD_OPTION_END);
    if (http->daemon == NULL)
        return tls ? baton_error_set(error, BATON_E_REFUSED, "TLS",
                                     "the certificate and the key don't load",
                                     "give PEM files that belong together")
                   : baton_error_set(error, -ENOMEM, "HTTP", "it does not start",
                                     "look at the limits of open files and memory");
    http->epoll_fd = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    return 0;
}

int batond_http_open(batond_http **ret_http, const batond_config *config, baton_loop *loop,
                     const batond_routes *routes, baton_error *error)
{
    batond_http *http = calloc(1, sizeof(*http));
    if (http == NULL)
        return baton_error_set(error, -ENOMEM, "HTTP", NULL, "give the process more memory");
    http->config = config;
    http->loop = loop;
    http->routes = *routes;
    http->listen_fd = http->epoll_fd = -1;
    http->guests = calloc(config->connections_max, sizeof(*http->guests));
    int r = http->guests != NULL
                ? 0
                : baton_error_set(error, -ENOMEM, "HTTP", NULL, "give the process more memory");
    for (uint32_t i = 0; r == 0 && i < http->config->connections_max; i++)
        http->guests[i].fd = -1;
    if (r == 0 && config->certificate_path != NULL)
        r = batond_tls_open(config, error);
    if (r == 0)
        r = start_listening(http, error);
    if (r == 0)
        r = start_daemon(http, error);
    if (r == 0 && baton_loop_watch_fd(loop, http->epoll_fd, EPOLLIN, on_epoll, http) < 0)
        r = baton_error_set(error, -EINVAL, "HTTP", "its events can't be watched", "report this");
    if (r < 0) {
        batond_http_close(http);
        return r;
    }
    *ret_http = http;
    return 0;
}

void batond_http_close(batond_http *http)
{
    if (http == NULL)
        return;
    if (http->daemon != NULL) {
        baton_loop_unwatch_fd(http->loop, http->epoll_fd);
        resume_those_ready(http, true, 0);
        (void)MHD_run(http->daemon);   /* the library wants them answered before it stops */
        MHD_stop_daemon(http->daemon); /* closes the listening socket, too */
    } else if (http->listen_fd >= 0) {
        close(http->listen_fd);
    }
    batond_tls_close();
    free(http->guests);
    free(http);
}

const struct sockaddr *batond_http_address(const batond_http *http)
{
    return (const struct sockaddr *)&http->address;
}

const batond_request *batond_http_waiting(const batond_http *http)
{
    return http->waiting;
}

batond_http_counts batond_http_count(const batond_http *http)
{
    return http->counts;
}
