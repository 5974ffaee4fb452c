/* drain/batond/numbers.c: /metrics: what the service says of itself, then what batond saw of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drain/batond/sidecar.h"

int batond_numbers_init(batond_sidecar *sidecar)
{
    return baton_metrics_create(&sidecar->metrics);
}

/* A number that can't be had, for memory is short, is left out. */
static void set(batond_sidecar *sidecar, const char *name, const char *labels, const char *help,
                double value)
{
    baton_metric *metric = NULL;
    if (baton_metrics_gauge(sidecar->metrics, name, labels, help, &metric) == 0)
        baton_metric_set(metric, value);
}

static void raise_to(batond_sidecar *sidecar, const char *name, const char *labels,
                     const char *help, uint64_t value)
{
    baton_metric *metric = NULL;
    if (baton_metrics_counter(sidecar->metrics, name, labels, help, &metric) == 0)
        baton_metric_add(metric, value - (uint64_t)baton_metric_value(metric));
}

void batond_numbers_count(batond_sidecar *sidecar, const char *path, unsigned code)
{
    baton_metric *metric = NULL;
    char labels[64];
    snprintf(labels, sizeof(labels), "path=\"%s\",code=\"%u\"", path, code);
    if (baton_metrics_counter(sidecar->metrics, "batond_requests_total", labels,
                              "Requests answered.", &metric) == 0)
        baton_metric_add(metric, 1);
}

/* Its value between the quotes of a label: \, " and newlines escaped. */
static void put_label(FILE *out, const char *name, const json_t *instance, const char *key)
{
    const char *text = json_string_value(json_object_get(instance, key));
    fprintf(out, "%s=\"", name);
    for (const char *c = text != NULL ? text : ""; *c != '\0'; c++) {
        if (*c == '\\' || *c == '"')
            fputc('\\', out);
        if (*c == '\n')
            fputs("\\n", out);
        else
            fputc(*c, out);
    }
    fputc('"', out);
}

/* Not from the registry: of the instance that answers now, and of no other one. */
static void put_instance(FILE *out, const batond_view *view)
{
    if (view->instance == NULL || view->reach == BATOND_ABSENT)
        return;
    fputs("# HELP baton_build_info Constant 1: what runs.\n# TYPE baton_build_info gauge\n"
          "baton_build_info{",
          out);
    put_label(out, "service", view->instance, "service");
    fputc(',', out);
    put_label(out, "version", view->instance, "version");
    fputc(',', out);
    put_label(out, "instance", view->instance, "nonce");
    fprintf(out, ",pid=\"%lld\"} 1\n",
            (long long)json_integer_value(json_object_get(view->instance, "pid")));
    fputs("# HELP baton_phase Constant 1: the phase that the service is in.\n"
          "# TYPE baton_phase gauge\nbaton_phase{",
          out);
    put_label(out, "phase", view->status, "phase");
    fputs("} 1\n", out);
}

static void update(batond_sidecar *sidecar, const batond_view *view)
{
    const batond_http_counts counts = batond_http_count(sidecar->http);
    set(sidecar, "baton_up", NULL, "1: the service answers on its control socket.",
        view->reach == BATOND_ANSWERS);
    set(sidecar, "baton_ready", NULL, "1: it is caught up and takes requests.",
        batond_view_is_ready(view));
    set(sidecar, "baton_hydrate_progress_ratio", NULL, "How much of its start is done.",
        batond_view_hydrate_progress(view));
    set(sidecar, "batond_silent_seconds", NULL, "How long it owes an answer.",
        (double)view->silent_ms / 1e3);
    set(sidecar, "batond_connections", NULL, "HTTP connections now.", counts.connections);
    raise_to(sidecar, "batond_connections_dropped_total", "why=\"made room\"",
             "HTTP connections ended by batond.", counts.evicted_total);
    raise_to(sidecar, "batond_connections_dropped_total", "why=\"too slow\"",
             "HTTP connections ended by batond.", counts.timed_out_total);
    raise_to(sidecar, "batond_refused_total", NULL, "Requests to change something, refused.",
             sidecar->refused_total);
    raise_to(sidecar, "batond_instances_total", NULL, "Instances of the service seen.",
             sidecar->watch.instances_count);
}

char *batond_numbers_print(batond_sidecar *sidecar, const batond_view *view, size_t *ret_bytes)
{
    char *own = NULL;
    char *text = NULL;
    size_t own_bytes = 0;
    update(sidecar, view);
    if (baton_metrics_print(sidecar->metrics, &own, &own_bytes) < 0)
        return NULL;
    FILE *out = open_memstream(&text, ret_bytes);
    if (out != NULL) {
        const char *theirs = view->reach == BATOND_ANSWERS ? sidecar->watch.metrics : NULL;
        if (theirs != NULL && theirs[0] != '\0') {
            fputs(theirs, out);
            if (theirs[strlen(theirs) - 1] != '\n')
                fputc('\n', out);
        }
        put_instance(out, view);
        fwrite(own, 1, own_bytes, out);
        const bool failed = ferror(out) != 0;
        if (fclose(out) != 0 || failed) {
            free(text);
            text = NULL;
        }
    }
    free(own);
    return text;
}
