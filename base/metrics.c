/* base/metrics.c: counters and gauges, printed as Prometheus text. */
#include <baton/metrics.h>

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define CACHE_LINE_BYTES 64

typedef enum { KIND_COUNTER, KIND_GAUGE } metric_kind;

struct baton_metric {
    /* What updates touch, on a cache line of its own: two threads with two metrics don't disturb
     * each other. */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint64_t bits; /* a count, or the bits of a double */
    _Alignas(CACHE_LINE_BYTES) metric_kind kind;
    bool printed; /* used by print, under the lock */
    char *name;
    char *labels; /* "" when it has none */
    char *help;
    baton_metric *next;
};

struct baton_metrics {
    pthread_mutex_t lock; /* the list; not the values */
    baton_metric *first;
    baton_metric **last;
};

int baton_metrics_create(baton_metrics **ret_metrics)
{
    baton_metrics *metrics = calloc(1, sizeof(*metrics));
    if (metrics == NULL)
        return -ENOMEM;
    pthread_mutex_init(&metrics->lock, NULL);
    metrics->last = &metrics->first;
    *ret_metrics = metrics;
    return 0;
}

static void metric_free(baton_metric *metric)
{
    if (metric == NULL)
        return;
    free(metric->name);
    free(metric->labels);
    free(metric->help);
    free(metric);
}

void baton_metrics_destroy(baton_metrics *metrics)
{
    if (metrics == NULL)
        return;
    for (baton_metric *metric = metrics->first; metric != NULL;) {
        baton_metric *next = metric->next;
        metric_free(metric);
        metric = next;
    }
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

static bool name_is_valid(const char *name)
{
    if (name[0] == '\0')
        return false;
    for (const char *c = name; *c != '\0'; c++) {
        const bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        const bool digit = *c >= '0' && *c <= '9' && c != name;
        if (!letter && !digit && *c != '_' && *c != ':')
            return false;
    }
    return true;
}

/* 0, and *ret_metric is the one that is there already or NULL. */
static int find(const baton_metrics *metrics, metric_kind kind, const char *name,
                const char *labels, baton_metric **ret_metric)
{
    *ret_metric = NULL;
    for (baton_metric *metric = metrics->first; metric != NULL; metric = metric->next) {
        if (strcmp(metric->name, name) != 0)
            continue;
        if (metric->kind != kind)
            return BATON_E_INVALID;
        if (strcmp(metric->labels, labels) == 0)
            *ret_metric = metric;
    }
    return 0;
}

static baton_metric *metric_new(metric_kind kind, const char *name, const char *labels,
                                const char *help)
{
    baton_metric *metric = aligned_alloc(CACHE_LINE_BYTES, sizeof(*metric));
    if (metric == NULL)
        return NULL;
    memset(metric, 0, sizeof(*metric));
    metric->kind = kind;
    metric->name = strdup(name);
    metric->labels = strdup(labels);
    metric->help = strdup(help);
    if (metric->name == NULL || metric->labels == NULL || metric->help == NULL) {
        metric_free(metric);
        return NULL;
    }
    return metric;
}

static int metric_register(baton_metrics *metrics, metric_kind kind, const char *name,
                           const char *labels, const char *help, baton_metric **ret_metric)
{
    baton_metric *metric = NULL;
    if (labels == NULL)
        labels = "";
    if (!name_is_valid(name) || strchr(labels, '\n') != NULL)
        return BATON_E_INVALID;

    pthread_mutex_lock(&metrics->lock);
    int r = find(metrics, kind, name, labels, &metric);
    if (r == 0 && metric == NULL) {
        metric = metric_new(kind, name, labels, help != NULL ? help : "");
        if (metric != NULL) {
            *metrics->last = metric;
            metrics->last = &metric->next;
        } else {
            r = -ENOMEM;
        }
    }
    pthread_mutex_unlock(&metrics->lock);
    if (r == 0)
        *ret_metric = metric;
    return r;
}

int baton_metrics_counter(baton_metrics *metrics, const char *name, const char *labels,
                          const char *help, baton_metric **ret_metric)
{
    return metric_register(metrics, KIND_COUNTER, name, labels, help, ret_metric);
}

int baton_metrics_gauge(baton_metrics *metrics, const char *name, const char *labels,
                        const char *help, baton_metric **ret_metric)
{
    return metric_register(metrics, KIND_GAUGE, name, labels, help, ret_metric);
}

void baton_metric_add(baton_metric *metric, uint64_t amount)
{
    if (metric == NULL)
        return;
    baton_assert(metric->kind == KIND_COUNTER);
    atomic_fetch_add_explicit(&metric->bits, amount, memory_order_relaxed);
}

void baton_metric_set(baton_metric *metric, double value)
{
    uint64_t bits;
    if (metric == NULL)
        return;
    baton_assert(metric->kind == KIND_GAUGE);
    memcpy(&bits, &value, sizeof(bits));
    atomic_store_explicit(&metric->bits, bits, memory_order_relaxed);
}

static double gauge_value(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

double baton_metric_value(const baton_metric *metric)
{
    if (metric == NULL)
        return 0.0;
    uint64_t bits = atomic_load_explicit(&metric->bits, memory_order_relaxed);
    return metric->kind == KIND_COUNTER ? (double)bits : gauge_value(bits);
}

/* ---- text ---- */

static void print_help(FILE *out, const baton_metric *metric)
{
    fprintf(out, "# HELP %s ", metric->name);
    for (const char *c = metric->help; *c != '\0'; c++) {
        if (*c == '\\')
            fputs("\\\\", out);
        else if (*c == '\n')
            fputs("\\n", out);
        else
            fputc(*c, out);
    }
    fprintf(out, "\n# TYPE %s %s\n", metric->name,
            metric->kind == KIND_COUNTER ? "counter" : "gauge");
}

/* The shortest of the usual spellings that reads back as the same number. */
static void print_double(FILE *out, double value)
{
    char text[40];
    if (isnan(value)) {
        fputs("NaN", out);
    } else if (isinf(value)) {
        fputs(value > 0 ? "+Inf" : "-Inf", out);
    } else {
        snprintf(text, sizeof(text), "%.15g", value);
        if (strtod(text, NULL) < value || strtod(text, NULL) > value)
            snprintf(text, sizeof(text), "%.17g", value);
        fputs(text, out);
    }
}

static void print_sample(FILE *out, const baton_metric *metric)
{
    uint64_t bits = atomic_load_explicit(&metric->bits, memory_order_relaxed);
    fputs(metric->name, out);
    if (metric->labels[0] != '\0')
        fprintf(out, "{%s}", metric->labels);
    fputc(' ', out);
    if (metric->kind == KIND_COUNTER)
        fprintf(out, "%" PRIu64, bits);
    else
        print_double(out, gauge_value(bits));
    fputc('\n', out);
}

/* The format wants all samples of one name together, under one HELP and TYPE. */
static void print_family(FILE *out, baton_metric *first)
{
    print_help(out, first);
    for (baton_metric *metric = first; metric != NULL; metric = metric->next) {
        if (strcmp(metric->name, first->name) != 0)
            continue;
        print_sample(out, metric);
        metric->printed = true;
    }
}

int baton_metrics_print(const baton_metrics *metrics, char **ret_text, size_t *ret_bytes)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        return -ENOMEM;

    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&metrics->lock; /* a lock is no value */
    pthread_mutex_lock(lock);
    for (baton_metric *metric = metrics->first; metric != NULL; metric = metric->next)
        metric->printed = false;
    for (baton_metric *metric = metrics->first; metric != NULL; metric = metric->next)
        if (!metric->printed)
            print_family(out, metric);
    pthread_mutex_unlock(lock);

    const bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return -ENOMEM;
    }
    *ret_text = text;
    *ret_bytes = bytes;
    return 0;
}
