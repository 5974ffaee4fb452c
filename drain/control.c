/* drain/control.c: clients of the control socket. The protocol's words are in control_request.c. */
#include "drain/control_client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <baton/clock.h>
#include <baton/log.h>

#include "drain/unix_address.h"

#define TELL_REFUSED_NS UINT64_C(1000000000)

/* On the engine's loop, or, before there is one, on the hydrate's. */
static int watch_fd(baton_control *control, int fd, uint32_t events, baton_watch callback,
                    void *context)
{
    if (control->engine != NULL)
        return baton_engine_watch(control->engine, fd, events, callback, context);
    return baton_loop_watch_fd(control->loop, fd, events, callback, context);
}

static void unwatch_fd(baton_control *control, int fd)
{
    if (control->engine != NULL)
        baton_engine_unwatch(control->engine, fd);
    else
        baton_loop_unwatch_fd(control->loop, fd);
}

static void drop(baton_control_client *client)
{
    if (!client->control->detached)
        unwatch_fd(client->control, client->fd);
    close(client->fd);
    free(client->out);
    client->out = NULL;
    client->fd = -1;
}

/* Wanted events follow from what the client is waiting for. False when it had to be dropped. */
static bool watch(baton_control_client *client)
{
    uint32_t events = 0;
    if (client->out_sent < client->out_bytes)
        events |= EPOLLOUT;
    else if (client->waits == BATON_CONTROL_WAITS_NONE && !client->input_over)
        events |= EPOLLIN;
    if (watch_fd(client->control, client->fd, events, baton_control_client_event, client) == 0)
        return true;
    drop(client);
    return false;
}

/* 0 when all of it left or has to wait; negative when the client is gone. */
static int send_out(baton_control_client *client)
{
    while (client->out_sent < client->out_bytes) {
        ssize_t n = send(client->fd, client->out + client->out_sent,
                         client->out_bytes - client->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (n <= 0)
            return -EPIPE;
        client->out_sent += (size_t)n;
    }
    free(client->out);
    client->out = NULL;
    client->out_bytes = client->out_sent = 0;
    return 0;
}

void baton_control_answer(baton_control_client *client, json_t *answer)
{
    char *line = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;
    const size_t bytes = line != NULL ? strlen(line) : 0;
    char *out = line != NULL ? realloc(line, bytes + 2) : NULL;
    json_decref(answer);
    if (out == NULL) { /* memory is short: the client sees the connection end */
        free(line);
        client->ending = true;
        return;
    }
    memcpy(out + bytes, "\n", 2);
    /* One request at a time: nothing else can be on its way out. */
    free(client->out);
    client->out = out;
    client->out_bytes = bytes + 1;
    client->out_sent = 0;
}

static void refuse_line(baton_control_client *client, const char *why)
{
    baton_error error;
    baton_error_set(&error, BATON_E_TOO_LARGE, "control request", why,
                    "send one JSON object per line");
    baton_control_answer(client, baton_control_refusal(client->control, NULL, &error));
    client->ending = true;
}

/* Take requests out of the input, one after the other, until one has to wait. */
static void take_requests(baton_control_client *client)
{
    while (client->fd >= 0 && !client->ending && client->waits == BATON_CONTROL_WAITS_NONE &&
           client->out_bytes == 0) {
        char *newline = memchr(client->in, '\n', client->in_bytes);
        if (newline == NULL) {
            if (client->in_bytes == sizeof(client->in))
                refuse_line(client, "the line is longer than 4096 bytes");
            break;
        }
        const size_t line_bytes = (size_t)(newline - client->in);
        baton_control_request(client, client->in, line_bytes);
        client->in_bytes -= line_bytes + 1;
        memmove(client->in, newline + 1, client->in_bytes);
        if (send_out(client) < 0)
            client->ending = client->broken = true;
    }
}

/* Go on with a client after anything happened to it. */
static void settle(baton_control_client *client)
{
    take_requests(client);
    if (!client->broken && send_out(client) < 0)
        client->broken = true;
    const bool quiet = client->out_bytes == 0 && client->waits == BATON_CONTROL_WAITS_NONE;
    if (client->broken || (quiet && (client->ending || client->input_over))) {
        drop(client);
        return;
    }
    (void)watch(client);
}

static void read_input(baton_control_client *client)
{
    while (client->in_bytes < sizeof(client->in)) {
        ssize_t n =
            read(client->fd, client->in + client->in_bytes, sizeof(client->in) - client->in_bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0)
            client->broken = true;
        if (n <= 0) {
            client->input_over = true;
            return;
        }
        client->in_bytes += (size_t)n;
    }
}

void baton_control_client_event(void *context, int fd, uint32_t events)
{
    baton_control_client *client = context;
    (void)fd;
    client->last_active = ++client->control->activity;
    if ((events & (EPOLLIN | EPOLLHUP)) != 0 && !client->input_over)
        read_input(client);
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        /* It is gone. What it asked before that still counts: fire and forget is a way to ask
         * for a drain. */
        take_requests(client);
        drop(client);
        return;
    }
    settle(client);
}

/* A free place; when all are taken, that of the client which has been silent for longest,
 * waiting ones last. */
static baton_control_client *longest_silent(baton_control *control)
{
    baton_control_client *oldest = NULL;
    for (uint32_t i = 0; i < BATON_CONTROL_CLIENTS_MAX; i++) {
        baton_control_client *client = &control->clients[i];
        if (client->fd < 0)
            return client;
        const bool waits = client->waits != BATON_CONTROL_WAITS_NONE;
        const bool oldest_waits = oldest != NULL && oldest->waits != BATON_CONTROL_WAITS_NONE;
        if (oldest == NULL || waits < oldest_waits ||
            (waits == oldest_waits && client->last_active < oldest->last_active))
            oldest = client;
    }
    return oldest;
}

/* One that has asked meanwhile is not silent: its request lies in the socket, and is taken before it goes. */
static baton_control_client *make_room(baton_control *control)
{
    baton_control_client *client = longest_silent(control);
    for (uint32_t i = 0; i < BATON_CONTROL_CLIENTS_MAX && client->fd >= 0; i++) {
        if (client->waits != BATON_CONTROL_WAITS_NONE)
            break;
        baton_control_client_event(client, client->fd, EPOLLIN);
        if (client->fd < 0 || client->waits == BATON_CONTROL_WAITS_NONE)
            break;
        client = longest_silent(control); /* what that one asked for takes its time */
    }
    if (client->fd >= 0)
        drop(client);
    return client;
}

static void refuse_peer(baton_control *control, int fd)
{
    baton_error error;
    baton_error_set(&error, BATON_E_REFUSED, "control request",
                    "only root and the user that runs the service may ask", "use sudo");
    char *line = NULL;
    json_t *answer = baton_control_refusal(control, NULL, &error);
    if (answer != NULL)
        line = json_dumps(answer, JSON_COMPACT);
    if (line != NULL && send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
        (void)!send(fd, "\n", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    free(line);
    json_decref(answer);
    close(fd);
}

/* Out of descriptors, an accept that fails would fail again at once, for ever: give up the spare
 * one to hang up on the caller. */
static void hang_up_one(baton_control *control)
{
    close(control->spare_fd);
    int fd = accept4(control->socket.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    control->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* A flood of strangers is a line a second. */
static void tell_refused(baton_control *control)
{
    const uint64_t now = baton_clock_monotonic_ns(baton_clock_system());
    control->refused_total++;
    if (control->refused_told_ns != 0 && now - control->refused_told_ns < TELL_REFUSED_NS)
        return;
    control->refused_told_ns = now;
    baton_log(WARN, "control.refused_peer", BATON_LOG_TEXT("socket", control->socket.path),
              BATON_LOG_NUMBER("so_far", control->refused_total));
}

static void on_connect(void *context, int listen_fd, uint32_t events)
{
    baton_control *control = context;
    (void)events;
    for (uint32_t i = 0; i < BATON_CONTROL_CLIENTS_MAX;
         i++) { /* a turn is bounded; the rest comes next turn */
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE))
            hang_up_one(control);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0)
            return;
        if (!baton_unix_may_talk(fd)) { /* C1 */
            tell_refused(control);
            refuse_peer(control, fd);
            continue;
        }
        baton_control_client *client = make_room(control);
        *client = (baton_control_client){
            .control = control, .fd = fd, .last_active = ++control->activity};
        /* What it asks is mostly there already: it is answered before a crowd behind it takes its place. */
        if (watch(client))
            baton_control_client_event(client, fd, EPOLLIN);
    }
}

int baton_control_open(const char *path, const baton_instance *instance, baton_loop *loop,
                       const baton_control_actions *actions, baton_control **ret_control,
                       baton_error *error)
{
    baton_control *control = calloc(1, sizeof(*control));
    if (control == NULL)
        return baton_error_set(error, -ENOMEM, "control socket", NULL,
                               "give the process more memory");
    control->instance = *instance;
    control->loop = loop;
    control->actions = *actions;
    control->detached = true;
    control->spare_fd = -1;
    for (uint32_t i = 0; i < BATON_CONTROL_CLIENTS_MAX; i++)
        control->clients[i] = (baton_control_client){.control = control, .fd = -1};

    int r = baton_control_socket_open(&control->socket, path, error);
    if (r < 0)
        goto fail;
    control->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    r = watch_fd(control, control->socket.fd, EPOLLIN, on_connect, control);
    if (r < 0) {
        baton_error_set(error, r, "control socket", "its events can't be watched", "report this");
        goto fail;
    }
    control->detached = false;
    *ret_control = control;
    return 0;

fail:
    baton_control_close(control, NULL);
    return r;
}

/* Requests that are half read and answers that are half sent go on where they are. */
int baton_control_serve(baton_control *control, baton_engine *engine, baton_error *error)
{
    baton_control_detach(control);
    control->engine = engine;
    control->detached = false;
    int r = watch_fd(control, control->socket.fd, EPOLLIN, on_connect, control);
    if (r < 0)
        return baton_error_set(error, r, "control socket", "its events can't be watched",
                               "report this");
    for (uint32_t i = 0; i < BATON_CONTROL_CLIENTS_MAX; i++)
        if (control->clients[i].fd >= 0)
            (void)watch(&control->clients[i]);
    return 0;
}

void baton_control_turn(baton_control *control)
{
    for (uint32_t i = 0; i < BATON_CONTROL_CLIENTS_MAX; i++) {
        baton_control_client *client = &control->clients[i];
        if (client->fd < 0 || client->waits == BATON_CONTROL_WAITS_NONE)
            continue;
        if (baton_control_waiting_step(client))
            settle(client);
    }
}

void baton_control_detach(baton_control *control)
{
    if (control->detached)
        return;
    unwatch_fd(control, control->socket.fd);
    for (uint32_t i = 0; i < BATON_CONTROL_CLIENTS_MAX; i++)
        if (control->clients[i].fd >= 0)
            unwatch_fd(control, control->clients[i].fd);
    control->detached = true;
}

void baton_control_close(baton_control *control, json_t *report)
{
    if (control == NULL) {
        json_decref(report);
        return;
    }
    baton_control_detach(control);
    for (uint32_t i = 0; i < BATON_CONTROL_CLIENTS_MAX; i++) {
        baton_control_client *client = &control->clients[i];
        if (client->fd < 0)
            continue;
        (void)send_out(client);
        if (client->waits == BATON_CONTROL_WAITS_DRAIN && client->out_bytes == 0) {
            baton_control_answer(client, json_incref(report));
            (void)send_out(client);
        }
        drop(client);
    }
    json_decref(report);
    baton_control_socket_close(&control->socket);
    if (control->spare_fd >= 0)
        close(control->spare_fd);
    free(control);
}
