/* drain/peer_faults.c: see peer_faults.h. */
#include "drain/peer_faults.h"

#include <stdio.h>
#include <string.h>

#include <baton/clock.h>
#include <baton/log.h>

#define LINES_AT_ONCE 10u
#define LINE_NS       UINT64_C(1000000000)

static const struct {
    const char *label, *event;
} kinds[BATON_PEER_FAULT_KINDS] = {
#define KIND(name, label, event) [BATON_PEER_FAULT_##name] = {label, event},
    BATON_PEER_FAULTS(KIND)
#undef KIND
};

void baton_peer_faults_init(baton_peer_faults *faults)
{
    memset(faults, 0, sizeof(*faults));
    pthread_mutex_init(&faults->mutex, NULL);
    for (uint32_t i = 0; i < BATON_PEER_FAULT_KINDS; i++)
        faults->lines[i].tokens = LINES_AT_ONCE;
}

/* One that memory was too short for is not counted. */
void baton_peer_faults_count(baton_peer_faults *faults, baton_metrics *metrics)
{
    char labels[64];
    for (uint32_t i = 0; i < BATON_PEER_FAULT_KINDS; i++) {
        snprintf(labels, sizeof(labels), "why=\"%s\"", kinds[i].label);
        if (baton_metrics_counter(metrics, "baton_handover_faults_total", labels,
                                  "What other instances, and strangers, did wrong at a handover's "
                                  "connections.",
                                  &faults->counts[i]) < 0)
            faults->counts[i] = NULL;
    }
}

void baton_peer_faults_fini(baton_peer_faults *faults)
{
    pthread_mutex_destroy(&faults->mutex);
}

bool baton_peer_faults_may_tell(baton_peer_faults *faults, baton_peer_fault kind, uint64_t now_ns,
                                uint64_t *ret_left_out)
{
    pthread_mutex_lock(&faults->mutex);
    const uint64_t lines = (now_ns - faults->lines[kind].filled_ns) / LINE_NS;
    const uint64_t tokens =
        faults->lines[kind].tokens + (lines < LINES_AT_ONCE ? lines : LINES_AT_ONCE);
    if (lines > 0)
        faults->lines[kind].filled_ns = now_ns;
    faults->lines[kind].tokens = (uint32_t)(tokens < LINES_AT_ONCE ? tokens : LINES_AT_ONCE);
    const bool may = faults->lines[kind].tokens > 0;
    *ret_left_out = faults->lines[kind].left_out;
    if (may)
        faults->lines[kind].tokens--;
    faults->lines[kind].left_out = may ? 0 : faults->lines[kind].left_out + 1;
    pthread_mutex_unlock(&faults->mutex);
    return may;
}

void baton_peer_faults_tell(baton_peer_faults *faults, baton_peer_fault kind, const char *why,
                            const char *who)
{
    uint64_t left_out = 0;
    baton_metric_add(faults->counts[kind], 1);
    if (baton_peer_faults_may_tell(faults, kind, baton_clock_monotonic_ns(baton_clock_system()),
                                   &left_out))
        baton_log(WARN, kinds[kind].event, BATON_LOG_TEXT("why", why), BATON_LOG_TEXT("other", who),
                  BATON_LOG_NUMBER("left_out", left_out));
}
