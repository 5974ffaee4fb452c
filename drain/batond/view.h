/* drain/batond/view.h: what the endpoints say about the service, from what is known of it. Pure
 * functions: no socket, no clock. Every answer names the instance that it is about, so that an old
 * process can't answer for a new one (H5). */
#pragma once

#include "drain/batond/watch.h"

typedef struct {
    batond_reach reach;
    const json_t *status;                        /* its newest answer; NULL unless it answers */
    const json_t *instance;                      /* the last one seen; NULL: none yet */
    const char *why;                             /* when nobody is there; "" */
    uint64_t age_ms;                             /* of status */
    uint64_t silent_ms;                          /* since when it owes an answer */
    bool hangs;                                  /* for too long to be alive */
    const json_t *last_drain;                    /* how an instance ended; NULL */
    bool ending;                                 /* batond was told to end */
    const char *compatible_min, *compatible_max; /* NULL: what the service says, or its version */
    const char *batond_version;
    uint64_t batond_uptime_ms;
} batond_view;

/* Each gives the HTTP status and a new object (NULL: memory is short). */
unsigned batond_view_health(const batond_view *view, json_t **ret_body);
unsigned batond_view_live(const batond_view *view, json_t **ret_body);
unsigned batond_view_ready(const batond_view *view, json_t **ret_body);
unsigned batond_view_started(const batond_view *view, json_t **ret_body);

bool batond_view_is_ready(const batond_view *view);
/* 0 to 1; 1 when there is nothing left to hydrate, 0 when nothing is known. */
double batond_view_hydrate_progress(const batond_view *view);
/* "running", ..., or "unknown", "silent", "absent" when it does not answer. */
const char *batond_view_phase(const batond_view *view);
/* Of a phase that a service itself tells: it has no state yet, and takes no words but `status`. */
bool batond_phase_is_starting(const char *phase);
/* One line of printable ASCII: "orders/1.6.0 pid=12 nonce=ab.."; "none" when none was seen. */
#define BATOND_INSTANCE_TEXT_BYTES 256
const char *batond_view_instance_text(const json_t *instance,
                                      char text[BATOND_INSTANCE_TEXT_BYTES]);
