/* baton/metrics.h: a registry of numbers, printed as Prometheus text (exposition format 0.0.4).
 * Updates are relaxed atomics: any thread, no lock, no allocation. Registration allocates and takes
 * a lock: do it at open. A registry owns its metrics; names and help texts are copied. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <baton/histogram.h>
#include <baton/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct baton_metrics baton_metrics;
typedef struct baton_metric baton_metric;

BATON_MUST_USE int baton_metrics_create(baton_metrics **ret_metrics);
void baton_metrics_destroy(baton_metrics *metrics);

/* name: [a-zA-Z_:][a-zA-Z0-9_:]*; labels: `key="value",...` already escaped, or NULL. Registering
 * the same name and labels again returns the same metric; with another kind: BATON_E_INVALID. */
BATON_MUST_USE int baton_metrics_counter(baton_metrics *metrics, const char *name,
                                         const char *labels, const char *help,
                                         baton_metric **ret_metric);
BATON_MUST_USE int baton_metrics_gauge(baton_metrics *metrics, const char *name, const char *labels,
                                       const char *help, baton_metric **ret_metric);
/* All three accept a NULL metric and do nothing, so that an object without a registry needs no
 * ifs. */
void baton_metric_add(baton_metric *metric, uint64_t amount); /* counter */
void baton_metric_set(baton_metric *metric, double value);    /* gauge */
double baton_metric_value(const baton_metric *metric);        /* 0 for NULL */

/* Prometheus text. *ret_text is malloc'ed, the caller frees it. */
BATON_MUST_USE int baton_metrics_print(const baton_metrics *metrics, char **ret_text,
                                       size_t *ret_bytes);

#ifdef __cplusplus
}
#endif
