/* exchange-load: open-loop load for the reference exchange. */
#include <stdio.h>
#include <stdlib.h>

#include "examples/exchange/load/hgrm.h"
#include "examples/exchange/load/options.h"
#include "examples/exchange/load/report.h"
#include "examples/exchange/load/timeline.h"

static volatile sig_atomic_t stop_requested;
static volatile sig_atomic_t marks_requested;

static void on_stop(int number)
{
    (void)number;
    stop_requested = 1;
}

static void on_mark(int number)
{
    (void)number;
    marks_requested++;
}

static void take_signals(void)
{
    const struct sigaction stop = {.sa_handler = on_stop};
    const struct sigaction mark = {.sa_handler = on_mark, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGUSR1, &mark, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int say(int r, const char *path)
{
    if (r < 0)
        fprintf(stderr, "baton: write %s: %s: choose another place\n", path, baton_status_text(r));
    return r;
}

/* A picture has no room for more. */
enum { SVG_ROWS_MAX = 1000 };

static int write_timelines(const load_options *options, const run_result *result)
{
    const uint32_t count = options->run.count;
    timeline of;
    int bad = 0;
    if (options->timeline_csv) {
        int r = timeline_make(&of, result, count, options->timeline_window_ns, TIMELINE_ROWS_MAX);
        if (r == 0)
            r = timeline_write_csv(options->timeline_csv, &of, &result->events);
        bad |= say(r, options->timeline_csv);
        timeline_fini(&of);
    }
    if (options->timeline_svg) {
        int r = timeline_make(&of, result, count, options->timeline_window_ns, SVG_ROWS_MAX);
        if (r == 0)
            r = timeline_write_svg(options->timeline_svg, &of, &result->events);
        bad |= say(r, options->timeline_svg);
        timeline_fini(&of);
    }
    return bad;
}

static int write_results(const load_options *options, const run_result *result)
{
    const load_command *commands = options->run.commands;
    const uint32_t count = options->run.count;
    int bad = 0;
    if (options->acks_out)
        bad |= say(report_acks(options->acks_out, commands, result), options->acks_out);
    if (options->clients_out)
        bad |= say(report_clients(options->clients_out, commands, count, result),
                   options->clients_out);
    if (options->hgrm)
        bad |= say(hgrm_write(options->hgrm, result->latency), options->hgrm);
    bad |= write_timelines(options, result);
    if (options->run.progress != PROGRESS_NONE)
        hgrm_print_table(stderr, result->latency, result->slow_latency);
    bad |= say(report_summary(options->json, count, result),
               options->json ? options->json : "the summary");
    return bad;
}

static void fail(const baton_error *error)
{
    char text[1200];
    fprintf(stderr, "baton: %s\n", baton_error_text(error, text, sizeof(text)));
}

static bool is_clean(const run_result *result)
{
    return result->counts.acked == result->sent && result->counts.conflicts == 0 &&
           result->counts.refused == 0 && result->sums.fills_over == 0;
}

int main(int argc, char **argv)
{
    load_options options;
    int r = options_parse(argc, argv, &options);
    if (r != 0)
        return r < 0 || fflush(stdout) != 0 ? 1 : 0;
    take_signals();

    baton_error error = {0};
    load_command *commands = NULL;
    run_options *run = &options.run;
    r = options.stream.lobster
            ? stream_read_lobster(&options.stream, &commands, &run->count, &error)
            : stream_generate(&options.stream, &commands, &run->count, &error);
    if (r < 0) {
        fail(&error);
        return 1;
    }
    run->commands = commands;
    run->deposits_count = stream_deposits_count(&options.stream);
    run->stop = &stop_requested;
    run->marks = &marks_requested;
    run_result result;
    r = load_run(run, &result, &error);
    if (r < 0)
        fail(&error);
    const int written = result.slow_latency ? write_results(&options, &result) : r;
    const bool clean = r == 0 && written == 0 && is_clean(&result);
    run_result_fini(&result);
    free(commands);
    return clean ? 0 : 1;
}
