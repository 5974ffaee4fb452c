#include "examples/exchange/gateway/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "examples/exchange/wire/address.h"

enum { CONNECTIONS_MAX = 16, TIMEOUT_S = 10, REQUEST_BYTES_MAX = 8192 };

struct http {
    http_options options;
    wire_loop loop;
    listener listener;
    struct MHD_Daemon *daemon;
    int epoll_fd; /* the library's; -1: none */
};

static char nothing[] = "";

static enum MHD_Result send_reply(struct MHD_Connection *connection, const http_reply *reply)
{
    const bool ok = reply->body != NULL;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(ok ? reply->body_bytes : 0, ok ? reply->body : nothing,
                                        ok ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        free(reply->body);
        return MHD_NO;
    }
    if (ok)
        MHD_add_response_header(response, "Content-Type", reply->type);
    if (reply->code == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, "Allow", "GET, HEAD");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "Connection", "close");
    const enum MHD_Result done = MHD_queue_response(connection, reply->code, response);
    MHD_destroy_response(response);
    return done;
}

/* The library calls this when the headers are there, for each part of a body, and at its end. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *upload, size_t *upload_bytes, void **request_context)
{
    http *own = context;
    (void)version, (void)upload;
    if (*request_context == NULL) {
        *request_context = own;
        return MHD_YES;
    }
    if (*upload_bytes > 0) {
        *upload_bytes = 0; /* nobody reads it */
        return MHD_YES;
    }
    http_reply reply = {.code = MHD_HTTP_METHOD_NOT_ALLOWED};
    if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0) {
        reply = own->options.reply(own->options.owner, path);
        if (reply.body == NULL && reply.code == MHD_HTTP_OK)
            reply.code = MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
    return send_reply(connection, &reply);
}

static void on_epoll(void *context, int fd, uint32_t events)
{
    (void)context, (void)fd, (void)events; /* the turn does the work */
}

static int start_daemon(http *own)
{
    own->daemon = MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, on_request, own, MHD_OPTION_LISTEN_SOCKET, own->listener.fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_BYTES_MAX,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (own->daemon == NULL)
        return errno != 0 ? -errno : -ENOMEM;
    own->epoll_fd = MHD_get_daemon_info(own->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    return loop_watch(&own->loop, own->epoll_fd, EPOLLIN, on_epoll, own);
}

int http_open(const http_options *options, wire_loop loop, http **ret_http, baton_error *error)
{
    http *own = calloc(1, sizeof(*own));
    if (!own)
        return baton_error_set(error, -ENOMEM, "start HTTP", NULL, "free some memory");
    *own = (http){.options = *options, .loop = loop, .listener = LISTENER_NONE, .epoll_fd = -1};
    int r = listener_open(options->address, &own->listener, error);
    if (r == 0) {
        errno = 0;
        r = start_daemon(own);
        if (r < 0)
            baton_error_set(error, r, "start HTTP", NULL, "give another --http, or none");
    }
    if (r < 0) {
        http_close(own);
        return r;
    }
    *ret_http = own;
    return 0;
}

const char *http_address(const http *own)
{
    return own->listener.text;
}

void http_turn(http *own)
{
    (void)MHD_run(own->daemon);
}

void http_close(http *own)
{
    if (!own)
        return;
    if (own->epoll_fd >= 0)
        loop_unwatch(&own->loop, own->epoll_fd);
    if (own->daemon != NULL) {
        (void)MHD_quiesce_daemon(own->daemon); /* the listening socket stays ours */
        MHD_stop_daemon(own->daemon);
    }
    listener_close(&own->listener);
    free(own);
}
