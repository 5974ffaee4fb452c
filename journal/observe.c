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

struct journal_buckets {
    uint64_t at_most[JOURNAL_BUCKETS]; /* nanoseconds for times */
    const char *labels[JOURNAL_BUCKETS];
    double unit; /* of the sum */
};

static const struct journal_buckets buckets_time = {
    .at_most = {100000, 200000, 500000, 1000000, 5000000, 20000000, 100000000, UINT64_MAX},
    .labels = {"le=\"0.0001\"", "le=\"0.0002\"", "le=\"0.0005\"", "le=\"0.001\"", "le=\"0.005\"",
               "le=\"0.02\"", "le=\"0.1\"", "le=\"+Inf\""},
    .unit = 1e-9,
};
static const struct journal_buckets buckets_bytes = {
    .at_most = {4096, 8192, 16384, 65536, 262144, 1048576, 4194304, UINT64_MAX},
    .labels = {"le=\"4096\"", "le=\"8192\"", "le=\"16384\"", "le=\"65536\"", "le=\"262144\"",
               "le=\"1048576\"", "le=\"4194304\"", "le=\"+Inf\""},
    .unit = 1,
};
static const struct journal_buckets buckets_entries = {
    .at_most = {0, 1, 4, 16, 64, 256, 1024, UINT64_MAX},
    .labels = {"le=\"0\"", "le=\"1\"", "le=\"4\"", "le=\"16\"", "le=\"64\"", "le=\"256\"",
               "le=\"1024\"", "le=\"+Inf\""},
    .unit = 1,
};

static int histogram_open(baton_metrics *metrics, const char *name, const char *help,
                          const struct journal_buckets *buckets, journal_histogram *histogram)
{
    char series[96];
    int r = 0;
    histogram->buckets = buckets;
    (void)snprintf(series, sizeof(series), "%s_bucket", name);
    for (uint32_t i = 0; r == 0 && i < JOURNAL_BUCKETS; i++)
        r = baton_metrics_counter(metrics, series, buckets->labels[i], help, &histogram->bucket[i]);
    (void)snprintf(series, sizeof(series), "%s_count", name);
    if (r == 0)
        r = baton_metrics_counter(metrics, series, NULL, help, &histogram->count);
    (void)snprintf(series, sizeof(series), "%s_sum", name);
    return r < 0 ? r : baton_metrics_gauge(metrics, series, NULL, help, &histogram->sum);
}

static void histogram_add(journal_histogram *histogram, uint64_t value)
{
    for (uint32_t i = JOURNAL_BUCKETS; i-- > 0 && value <= histogram->buckets->at_most[i];)
        baton_metric_add(histogram->bucket[i], 1);
    baton_metric_add(histogram->count, 1);
    histogram->total += (double)value * histogram->buckets->unit;
    baton_metric_set(histogram->sum, histogram->total);
}

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

static int open_histograms(journal_metrics *m, baton_metrics *metrics)
{
    const struct {
        journal_histogram *histogram;
        const char *name;
        const char *help;
        const struct journal_buckets *buckets;
    } rows[] = {
        {&m->accepted, "baton_journal_accepted_seconds",
         "From queued to submitted, of the oldest entry of each batch", &buckets_time},
        {&m->commit, "baton_journal_commit_seconds",
         "From submitted to acknowledged, of each batch", &buckets_time},
        {&m->durable, "baton_journal_durable_seconds",
         "From queued to acknowledged, of the oldest entry of each batch", &buckets_time},
        {&m->batch_bytes, "baton_journal_batch_bytes", "Size of a batch, padding included",
         &buckets_bytes},
        {&m->batch_entries, "baton_journal_batch_entries", "Entries in a batch; a mark has none",
         &buckets_entries},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof(rows) / sizeof(rows[0]); i++)
        r = histogram_open(metrics, rows[i].name, rows[i].help, rows[i].buckets, rows[i].histogram);
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
        {&m->in_flight, "baton_journal_in_flight", "Batches submitted and not acknowledged", true},
        {&m->segments_ready, "baton_journal_segments_ready",
         "Segments made ahead: the next one, and spares", true},
        {&m->no_space, "baton_journal_no_space",
         "1 while the disk has no room for the next segment", true},
        {&m->entries_total, "baton_journal_entries_total", "Entries acknowledged", false},
        {&m->batches_total, "baton_journal_batches_total", "Batches acknowledged, marks included",
         false},
        {&m->bytes_total, "baton_journal_bytes_total",
         "Bytes of acknowledged batches, padding included", false},
        {&m->marks_total, "baton_journal_marks_total", "Marks submitted", false},
        {&m->segments_total, "baton_journal_segments_total", "Segments taken into use", false},
        {&m->recycled_total, "baton_journal_segments_recycled_total",
         "Segments made of a retired one", false},
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
    int r = open_histograms(m, metrics);
    if (r < 0)
        return r;
    journal->registry = metrics;
    r = fact(metrics, "baton_journal_commit_primitive", "primitive", journal->primitive,
             "How commits are made durable here");
    if (r < 0)
        return r;
    return fact(metrics, "baton_journal_backend", "backend", baton_io_backend_name(journal->io),
                "The I/O backend");
}

void journal_metrics_commit(baton_journal *journal, const journal_slot *slot, uint64_t now_ns)
{
    journal_metrics *m = &journal->metrics;
    if (!journal->registry)
        return;
    const uint64_t commit_ns = now_ns - slot->submitted_ns;
    baton_metric_add(m->batches_total, slot->batches_count);
    baton_metric_add(m->commit_ns_total, commit_ns);
    histogram_add(&m->commit, commit_ns);
    histogram_add(&m->accepted, slot->submitted_ns - slot->queued_ns);
    histogram_add(&m->durable, now_ns - slot->queued_ns);
    histogram_add(&m->batch_bytes, slot->op.bytes);
    histogram_add(&m->batch_entries, slot->entries_count);
}

void journal_metrics_turn(baton_journal *journal)
{
    const journal_metrics *m = &journal->metrics;
    uint32_t ready = journal->next && journal->next->state == SEGMENT_PREPARED;
    for (uint32_t i = 0; i < JOURNAL_SPARES_MAX; i++)
        ready += journal->spares[i] == SPARE_THERE;
    baton_metric_set(m->in_flight, journal->slots_in_flight);
    baton_metric_set(m->segments_ready, ready);
    baton_metric_set(m->no_space, journal->space_error != 0);
}

/* Once in a journal's life, and nothing is written any more: here it may allocate. */
void journal_metrics_broken(baton_journal *journal, int r)
{
    baton_metric_set(journal->metrics.broken, 1);
    if (journal->registry)
        journal_ignore(fact(journal->registry, "baton_journal_broken_reason", "reason",
                            baton_status_text(r), "Why it broke"));
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
