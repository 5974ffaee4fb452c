/* drain/batond/watch.h: what is known of the service, by one connection to its control socket.
 *
 * One connection, one question at a time, at most one each BATOND_PACE_NS, however many ask here: a
 * flood of probes is no load for the service. A service that hangs has one caller of ours waiting
 * and no more; when it goes on, its answer is taken. Its end is seen at once: the connection ends. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "drain/control_call.h"
#include "engine/loop.h"

#define BATOND_PACE_NS  UINT64_C(50000000)   /* answers of this age are used again */
#define BATOND_PROBE_NS UINT64_C(1000000000) /* asked without being asked */

typedef enum {
    BATOND_UNKNOWN, /* a question is under way */
    BATOND_ANSWERS,
    BATOND_SILENT, /* somebody holds the socket, and does not answer */
    BATOND_ABSENT, /* nobody holds it */
} batond_reach;

typedef enum { BATOND_ASKS_NOTHING, BATOND_ASKS_STATUS, BATOND_ASKS_METRICS } batond_question;

typedef struct {
    baton_loop *loop; /* the caller's, as path */
    const char *path;
    uint64_t answer_timeout_ns;

    baton_control_call call;
    bool absent;
    uint64_t tried_ns;  /* the last attempt to connect */
    uint64_t absent_ns; /* the last one that found nobody */
    batond_question asked;
    uint64_t asked_ns[3];     /* by question: the last time */
    uint64_t silent_since_ns; /* of the oldest question without an answer; 0: none */
    bool told_silent, told_absent;
    bool wants_status, wants_metrics;

    json_t *status;     /* the newest answer on this connection; NULL */
    uint64_t status_ns; /* when it came */
    json_t *instance;   /* the last one seen, alive or not; NULL */
    char *metrics;      /* of this connection; NULL: it gives none */
    uint64_t metrics_ns;
    baton_error why; /* of ABSENT */
    uint64_t instances_count;
} batond_watch;

void batond_watch_init(batond_watch *watch, baton_loop *loop, const char *path,
                       uint64_t answer_timeout_ns);
void batond_watch_fini(batond_watch *watch);
/* Do what is due. Returns when it wants to be called again. */
uint64_t batond_watch_step(batond_watch *watch, uint64_t now_ns);

/* A question for whoever came at since_ns, unless an answer of that time is there. */
void batond_watch_want_status(batond_watch *watch, uint64_t since_ns);
void batond_watch_want_metrics(batond_watch *watch, uint64_t since_ns);
/* True when what is known now is an answer for whoever came at since_ns. It becomes true within
 * answer_timeout_ns of since_ns. */
bool batond_watch_settled(const batond_watch *watch, uint64_t since_ns, uint64_t now_ns);
bool batond_watch_metrics_settled(const batond_watch *watch, uint64_t since_ns, uint64_t now_ns);

batond_reach batond_watch_reach(const batond_watch *watch, uint64_t now_ns);
/* "running", "draining", "hydrating", ...; "" when nothing is known. */
const char *batond_watch_phase(const batond_watch *watch);
const char *batond_watch_nonce(const batond_watch *watch); /* of the last one seen; "" */
