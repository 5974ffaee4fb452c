/* drain/batond/sidecar.h: the parts of batond, tied together; its life from start to SIGTERM's end. */
#pragma once

#include <baton/metrics.h>

#include "drain/batond/actions.h"
#include "drain/batond/http.h"
#include "drain/batond/notify.h"
#include "drain/batond/view.h"

typedef struct {
    const batond_config *config;
    baton_loop loop;
    batond_watch watch;
    batond_actions actions;
    batond_notify notify;
    batond_http *http;
    baton_metrics *metrics;
    uint64_t started_ns;
    int signal_fd;
    /* SIGTERM */
    uint64_t term_ns; /* when it came; 0: not yet */
    uint64_t drains_before_term;
    uint64_t over_ns;           /* when the service's drain was found to be over; 0: not yet */
    batond_action *term_action; /* drain_on_term's */
    bool drain_seen;            /* since SIGTERM */
    bool report_was_fetched;    /* after over_ns */
    /* so that a flood of wrong tokens is no flood of lines */
    uint64_t refused_total;
    uint64_t refused_told_ns;
    uint64_t refused_told_total;
} batond_sidecar;

/* Serve until SIGTERM or SIGINT. Returns the exit code; prints its own errors. */
int batond_run(const batond_config *config);

batond_view batond_sidecar_view(const batond_sidecar *sidecar, uint64_t now_ns);

/* ---- routes.c: what each path answers ---- */
bool batond_route_ready(void *sidecar, batond_request *request, uint64_t now_ns);
void batond_route_reply(void *sidecar, batond_request *request, batond_reply *reply);
void batond_route_forget(void *sidecar, batond_request *request);
/* When a request that arrived at that time has waited long enough; the loop wakes then. */
uint64_t batond_route_deadline_ns(const batond_sidecar *sidecar, const batond_request *request);

/* ---- numbers.c ---- */
BATON_MUST_USE int batond_numbers_init(batond_sidecar *sidecar);
void batond_numbers_count(batond_sidecar *sidecar, const char *path, unsigned code);
/* The service's own metrics, then batond's, as Prometheus text. NULL: memory is short. */
char *batond_numbers_print(batond_sidecar *sidecar, const batond_view *view, size_t *ret_bytes);
