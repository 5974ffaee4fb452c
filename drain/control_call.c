/* drain/control_call.c: see control_call.h. */
#include "drain/control_call.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drain/control.h"
#include "drain/unix_address.h"

#define PATH_BYTES       4096
#define IN_BYTES_AT_ONCE 16384u

static int refuse(const char *path, int status, const char *why, const char *todo,
                  baton_error *error)
{
    char what[192];
    snprintf(what, sizeof(what), "control socket %.160s", path);
    return baton_error_set(error, status, what, why, todo);
}

int baton_control_call_open(baton_control_call *call, const char *path, baton_error *error)
{
    char socket_path[PATH_BYTES];
    struct stat there;
    *call = BATON_CONTROL_CALL_CLOSED;
    const bool is_directory = stat(path, &there) == 0 && S_ISDIR(there.st_mode);
    const int n = snprintf(socket_path, sizeof(socket_path), "%s%s", path,
                           is_directory ? "/control.sock" : "");
    if (n < 0 || (size_t)n >= sizeof(socket_path))
        return refuse(path, -ENAMETOOLONG, NULL, "give a shorter path", error);

    call->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int r = call->fd < 0 ? -errno : baton_unix_connect(call->fd, socket_path);
    if (r == 0)
        return 0;
    baton_control_call_close(call);
    if (r == -EAGAIN) /* its queue of callers is full */
        return refuse(socket_path, BATON_E_AGAIN, "the service takes no caller",
                      "look at its log: does it hang?", error);
    if (r == -ENOENT || r == -ECONNREFUSED)
        return refuse(socket_path, r, "no service answers there",
                      "is it running, and is this its control socket?", error);
    return refuse(socket_path, r, NULL, "is this its control socket, and yours to use?", error);
}

void baton_control_call_close(baton_control_call *call)
{
    if (call->fd >= 0)
        close(call->fd);
    free(call->out);
    free(call->in);
    *call = BATON_CONTROL_CALL_CLOSED;
}

int baton_control_call_ask(baton_control_call *call, const char *word, const json_t *fields)
{
    json_t *request = json_pack("{s:i, s:s}", "baton", BATON_CONTROL_PROTOCOL, "do", word);
    json_t *more = fields != NULL ? json_deep_copy(fields) : NULL;
    const bool whole = request != NULL && (fields == NULL || more != NULL) &&
                       (more == NULL || json_object_update_missing(request, more) == 0);
    char *line = whole ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    json_decref(more);
    if (line == NULL)
        return -ENOMEM;
    const size_t bytes = strlen(line);
    line[bytes] = '\n'; /* its terminator's place: the length is known */
    free(call->out);
    call->out = line;
    call->out_bytes = bytes + 1;
    call->out_sent = 0;
    return 0;
}

int baton_control_call_send(baton_control_call *call)
{
    while (call->out_sent < call->out_bytes) {
        const ssize_t n = send(call->fd, call->out + call->out_sent,
                               call->out_bytes - call->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 1;
        if (n <= 0)
            return -EPIPE;
        call->out_sent += (size_t)n;
    }
    return 0;
}

static int make_room(baton_control_call *call)
{
    if (call->in_bytes < call->in_room)
        return 0;
    if (call->in_room >= BATON_CONTROL_ANSWER_BYTES_MAX)
        return BATON_E_TOO_LARGE;
    const size_t room = call->in_room == 0 ? IN_BYTES_AT_ONCE : 2 * call->in_room;
    char *in = realloc(call->in, room);
    if (in == NULL)
        return -ENOMEM;
    call->in = in;
    call->in_room = room;
    return 0;
}

int baton_control_call_line(baton_control_call *call, const char **ret_line)
{
    call->in_bytes -= call->taken_bytes;
    if (call->taken_bytes > 0)
        memmove(call->in, call->in + call->taken_bytes, call->in_bytes);
    call->taken_bytes = 0;
    size_t looked_at = 0;
    for (;;) {
        char *newline = call->in_bytes > looked_at
                            ? memchr(call->in + looked_at, '\n', call->in_bytes - looked_at)
                            : NULL;
        if (newline != NULL) {
            *newline = '\0';
            call->taken_bytes = (size_t)(newline - call->in) + 1;
            *ret_line = call->in;
            return 1;
        }
        looked_at = call->in_bytes;
        const int r = make_room(call);
        if (r < 0)
            return r;
        const ssize_t n =
            recv(call->fd, call->in + call->in_bytes, call->in_room - call->in_bytes, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return BATON_E_GONE;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        call->in_bytes += n > 0 ? (size_t)n : 0;
    }
}
