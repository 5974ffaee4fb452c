/* drain/batond/http.h: HTTP, by libmicrohttpd on batond's own loop: no thread. One request a
 * connection. What bounds a stranger:
 *   - connections_max at once; others wait to be accepted, and the oldest one that has not brought its
 *     request by then makes room, so that silent ones lock nobody out;
 *   - connection_timeout for the whole of a request, however slowly it drips, and again for taking
 *     the answer;
 *   - BATOND_HEAD_BYTES of request line and headers, BATOND_BODY_BYTES of body. */
#pragma once

#include <microhttpd.h>

#include "drain/batond/config.h"
#include "engine/loop.h"

#define BATOND_HEAD_BYTES 16384u
#define BATOND_BODY_BYTES 1024u

typedef struct batond_http batond_http;
struct batond_action;

/* One request, complete. */
typedef struct batond_request {
    batond_http *http;
    struct MHD_Connection *connection;
    struct batond_guest *guest;
    struct batond_request *next; /* of those that wait */
    bool waits;
    bool begun; /* for the routes: theirs, as all of this part */
    uint32_t route;
    bool wait_for_end;
    struct batond_action *action;
    int status; /* of beginning it */
    baton_error error;
    /* as it came */
    const char *method, *path; /* the library's, while it lives */
    const char *authorization; /* NULL */
    bool is_private;           /* TLS, or from this machine */
    bool is_too_large;         /* its body, which was not read */
    uint64_t arrived_ns;
    char body[BATOND_BODY_BYTES + 1]; /* terminated */
    size_t body_bytes;
} batond_request;

typedef struct {
    unsigned code;
    const char *type;
    char *body; /* malloc'ed, taken over; NULL: memory is short */
    size_t body_bytes;
    const char *allow; /* NULL */
    bool ask_for_token;
    bool come_again;
    char instance[256];
} batond_reply;

/* What the answers come from. ready is asked when a request is complete, and each turn after that,
 * until it says true; then reply. forget: the request is over, answered or not. */
typedef struct {
    bool (*ready)(void *context, batond_request *request, uint64_t now_ns);
    void (*reply)(void *context, batond_request *request, batond_reply *reply);
    void (*forget)(void *context, batond_request *request);
    void *context;
} batond_routes;

/* Bound, listening and on the loop. BATON_E_LOCKED: the address is taken; BATON_E_REFUSED: the TLS
 * files; -errno. */
BATON_MUST_USE int batond_http_open(batond_http **ret_http, const batond_config *config,
                                    baton_loop *loop, const batond_routes *routes,
                                    baton_error *error);
void batond_http_close(batond_http *http);                           /* NULL is fine */
const struct sockaddr *batond_http_address(const batond_http *http); /* with the real port */
/* Go on with everything. Returns when it wants to be called again. */
uint64_t batond_http_step(batond_http *http, uint64_t now_ns);

const batond_request *batond_http_waiting(const batond_http *http); /* the first of them; NULL */

typedef struct {
    uint32_t connections;
    uint64_t evicted_total;   /* made room */
    uint64_t timed_out_total; /* too slow */
} batond_http_counts;
batond_http_counts batond_http_count(const batond_http *http);
