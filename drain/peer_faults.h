/* drain/peer_faults.h: what others did wrong at the handover socket, or an active at its standby: counted,
 * and told in the log, but never more than a flood may write: of each kind ten lines at once, then one
 * a second, which says how many were left out. Any thread. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <baton/metrics.h>

/* X(NAME, "label", "event of the log") */
#define BATON_PEER_FAULTS(X)                                                                       \
    X(USER, "user", "handover.refused_peer")                                                       \
    X(CERTIFICATE, "certificate", "handover.refused_peer")                                         \
    X(CROWD, "crowd", "handover.refused_peer")                                                     \
    X(MESSAGE, "message", "handover.refused_peer") /* malformed, oversized, damaged */             \
    X(ORDER, "order", "handover.refused_peer")     /* has no place there, other nonce */           \
    X(FINGERPRINT, "fingerprint",                                                                  \
      "handover.refused_peer")                         /* service, protocol, formats, schema */    \
    X(VERSION, "version", "handover.refused_peer")     /* outside the window */                    \
    X(AUTHORITY, "authority", "handover.refused_peer") /* other journal, epoch, instance */        \
    X(POSITION, "position", "handover.refused_peer")   /* nothing to go on from */                 \
    X(SILENT, "silent", "handover.dropped_peer")                                                   \
    X(DEAF, "deaf", "handover.dropped_peer")                                                       \
    X(REPLACED, "replaced", "handover.dropped_peer")                                               \
    X(OUTSIDE, "outside", "handover.outside_window")  /* only warned of */                         \
    X(IGNORED, "ignored", "handover.ignored_message") /* of another try, or once more */           \
    X(LEFT, "left", "handover.standby_refuses")       /* it refused this one */                    \
    X(ACTIVE, "active", "handover.active_lost")       /* a standby's connection has ended */

typedef enum {
#define BATON_PEER_FAULT_ENUM(name, label, event) BATON_PEER_FAULT_##name,
    BATON_PEER_FAULTS(BATON_PEER_FAULT_ENUM)
#undef BATON_PEER_FAULT_ENUM
        BATON_PEER_FAULT_KINDS
} baton_peer_fault;

typedef struct {
    pthread_mutex_t mutex;
    baton_metric *counts[BATON_PEER_FAULT_KINDS];
    struct {
        uint32_t tokens;
        uint64_t filled_ns;
        uint64_t left_out;
    } lines[BATON_PEER_FAULT_KINDS];
} baton_peer_faults;

void baton_peer_faults_init(baton_peer_faults *faults);
/* Before other threads use it. The registry outlives it. */
void baton_peer_faults_count(baton_peer_faults *faults, baton_metrics *metrics);
void baton_peer_faults_fini(baton_peer_faults *faults);
/* who: the other's directory or address; "" is fine. */
void baton_peer_faults_tell(baton_peer_faults *faults, baton_peer_fault kind, const char *why,
                            const char *who);
/* May a line be written now, and how many were left out before it? The clock is the caller's. */
bool baton_peer_faults_may_tell(baton_peer_faults *faults, baton_peer_fault kind, uint64_t now_ns,
                                uint64_t *ret_left_out);
