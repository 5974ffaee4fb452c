/* journal/observe.c: the writer's metrics, and the watch over the wall clock. */
#include <stdio.h>

#include <baton/log.h>

#include "journal/journal_private.h"

typedef struct {
    baton_metric **ret_metric;
    const char *name;
    const char *help;
    bool is_gauge;
} metric_row;

static const uint64_t bucket_ns[JOURNAL_LATENCY_BUCKETS] = {
    100000, 200000, 500000, 1000000, 5000000, 20000000, 100000000, UINT64_MAX,
};
static const char *const bucket_labels[JOURNAL_LATENCY_BUCKETS] = {
    "le=\"0.0001\"", "le=\"0.0002\"", "le=\"0.0005\"", "le=\"0.001\"",
    "le=\"0.005\"",  "le=\"0.02\"",   "le=\"0.1\"",    "le=\"+Inf\"",
};

/* A constant 1 whose labels are the fact. */
static int fact(baton_metrics *metrics, const char *name, const char *key, const char *value,
                const char *help)
{
    char labels[320];
    (void)snprintf(labels, sizeof(labels), "%s=\"%s\"", key, value);
    baton_metric *metric;
    int r = baton_metrics_gauge(metrics, name, labels, help, &metric);
    if (r == 0)
        baton_metric_set(metric, 1);
    return r;
}

int journal_metrics_open(baton_journal *journal, baton_metrics *metrics)
{
    if (!metrics)
        return 0;
    journal_metrics *m = &journal->metrics;
    const metric_row rows[] = {
        {&m->durable_seq, "baton_journal_durable_seq", "Highest acknowledged seq", true},
        {&m->broken, "baton_journal_broken", "1 after a failed write or flush", true},
        {&m->entries_total, "baton_journal_entries_total", "Entries acknowledged", false},
        {&m->batches_total, "baton_journal_batches_total", "Batches acknowledged, marks included",
         false},
        {&m->bytes_total, "baton_journal_bytes_total",
         "Bytes of acknowledged batches, padding included", false},
        {&m->marks_total, "baton_journal_marks_total", "Marks submitted", false},
        {&m->segments_total, "baton_journal_segments_total", "Segments taken into use", false},
        {&m->no_space_total, "baton_journal_no_space_total",
         "Times the disk became too full for a segment", false},
        {&m->clock_steps_total, "baton_journal_clock_steps_total",
         "Wall clock steps over 1 s, not followed", false},
        {&m->commit_ns_total, "baton_journal_commit_nanoseconds_total",
         "Time from submit to acknowledgement", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int r = rows[i].is_gauge ? baton_metrics_gauge(metrics, rows[i].name, NULL, rows[i].help,
                                                       rows[i].ret_metric)
                                 : baton_metrics_counter(metrics, rows[i].name, NULL, rows[i].help,
                                                         rows[i].ret_metric);
        if (r < 0)
            return r;
    }
    for (uint32_t i = 0; i < JOURNAL_LATENCY_BUCKETS; i++) {
        int r = baton_metrics_counter(
            metrics, "baton_journal_commit_seconds_bucket", bucket_labels[i],
            "Batches acknowledged within this time of their submit", &m->commit_bucket[i]);
        if (r < 0)
            return r;
    }
    int r = fact(metrics, "baton_journal_commit_primitive", "primitive", journal->primitive,
                 "How commits are made durable here");
    if (r < 0)
        return r;
    return fact(metrics, "baton_journal_backend", "backend", baton_io_backend_name(journal->io),
                "The I/O backend");
}

void journal_metrics_commit(baton_journal *journal, uint64_t latency_ns)
{
    journal_metrics *m = &journal->metrics;
    if (!m->batches_total)
        return;
    baton_metric_add(m->batches_total, 1);
    baton_metric_add(m->commit_ns_total, latency_ns);
    for (uint32_t i = 0; i < JOURNAL_LATENCY_BUCKETS;
         i++) { /* cumulative, as Prometheus wants it */
        if (latency_ns <= bucket_ns[i])
            baton_metric_add(m->commit_bucket[i], 1);
    }
}

/* Entry time goes on by the monotonic clock whatever the wall clock does (J11); a large step is
 * only said. */
void journal_watch_wall_clock(baton_journal *journal, uint64_t now_ns)
{
    journal->wall_check_ns = now_ns + JOURNAL_SECOND_NS;
    uint64_t expected_ns = journal->time_base_wall_ns + (now_ns - journal->time_base_monotonic_ns);
    int64_t offset_ns = (int64_t)(baton_clock_wall_ns(journal->clock) - expected_ns);
    int64_t step_ns = offset_ns - journal->wall_offset_ns;
    journal->wall_offset_ns = offset_ns; /* slow slewing is no step */
    if (step_ns <= JOURNAL_WALL_STEP_NS && step_ns >= -JOURNAL_WALL_STEP_NS)
        return;
    baton_metric_add(journal->metrics.clock_steps_total, 1);
    baton_log(WARN, "journal.clock_step", BATON_LOG_NUMBER("step_ns", step_ns),
              BATON_LOG_NUMBER("offset_ns", offset_ns));
}
