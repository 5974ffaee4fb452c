/* drain/handover_request.h: what M1 asks for. */
#pragma once

#include <stdint.h>

/* How a successor comes to its state (R13). */
typedef enum {
    BATON_PATH_AUTO, /* a cutover; and when the two differ, to an older version, through a snapshot */
    BATON_PATH_CUTOVER,  /* what it came to by following, or not at all */
    BATON_PATH_SNAPSHOT, /* of the last entry, in the pinned schema */
} baton_handover_path;

typedef struct {
    const char *to; /* a nonce's text, or NULL when there is one standby only */
    uint64_t max_gap_ns;
    uint64_t snapshot_gap_ns; /* in its place on the way through a snapshot */
    baton_handover_path path;
    uint64_t run_epoch; /* of the orchestrator's run (O1); 0: a person's */
} baton_handover_request;
