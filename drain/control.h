/* drain/control.h: the Unix socket by which a running service is asked (E1). Protocol 1: one JSON
 * object a line, an answer for each, in order: drain/README.md. It lives on the engine's loop.
 *
 * Who may ask: root and the service's own user, by SO_PEERCRED. How much:
 * BATON_CONTROL_CLIENTS_MAX connections, the longest idle one makes room for a new one; a
 * request line of BATON_CONTROL_LINE_BYTES; one request at a time per connection. Whose socket:
 * a lock file beside it is held from before the bind until after the unlink, so that no service
 * takes or removes the socket of another. */
#pragma once

#include "drain/describe.h"
#include "drain/handover_request.h"
#include "engine/loop.h"

#define BATON_CONTROL_PROTOCOL    1
#define BATON_CONTROL_CLIENTS_MAX 16u
#define BATON_CONTROL_LINE_BYTES  4096u

typedef struct baton_control baton_control;

typedef struct {
    /* New object with everything that `status` tells, without baton, ok, do and instance. */
    json_t *(*status)(void *context);
    bool (*drain)(void *context); /* begin; false: it had begun */
    bool (*draining)(void *context);
    /* Begin one; to: a nonce, or NULL. Then: 1 and a report when it is done, 0 while it is under way,
     * or why this instance serves on. */
    int (*handover)(void *context, const baton_handover_request *request, baton_error *error);
    int (*handover_state)(void *context, json_t **ret_report, baton_error *error);
    /* The same of a promotion by force. */
    int (*promote)(void *context, baton_error *error);
    int (*promote_state)(void *context, json_t **ret_report, baton_error *error);
    /* A standby, from here on of that one: a directory or a socket. */
    int (*follow)(void *context, const char *of, baton_error *error);
    void *context;
} baton_control_actions;

/* Bind path and watch it on a loop, before there is an engine: only `status` is answered, other
 * words are asked to come again. Errors: BATON_E_LOCKED (another service answers there),
 * -errno. */
BATON_MUST_USE int baton_control_open(const char *path, const baton_instance *instance,
                                      baton_loop *loop, const baton_control_actions *actions,
                                      baton_control **ret_control, baton_error *error);
/* From here on, everything, on the engine's loop; the other one is not used any more. */
BATON_MUST_USE int baton_control_serve(baton_control *control, baton_engine *engine,
                                       baton_error *error);
/* Once per turn of the loop: answers that had to wait. */
void baton_control_turn(baton_control *control);
/* Before the engine closes: watch nothing any more. Whoever asked for the drain stays connected. */
void baton_control_detach(baton_control *control);
/* The last answer to those who asked for the drain (takes over report; may be NULL), then close
 * and remove the socket. NULL control is fine. Detaches when that has not been done. */
void baton_control_close(baton_control *control, json_t *report);

/* ---- control_socket.c: the listening socket's life ---- */
typedef struct {
    char path[4096];
    int lock_fd;
    int fd;
    uint64_t device, inode; /* of the socket made here */
} baton_control_socket;
BATON_MUST_USE int baton_control_socket_open(baton_control_socket *socket, const char *path,
                                             baton_error *error);
void baton_control_socket_close(baton_control_socket *socket);
