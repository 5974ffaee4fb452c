/* tests/sim/sim_main.c: the main of journal-sim and of snapshot-sim. */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <baton/log.h>

#include "base/breakable.h"
#include "tests/sim/sim_main.h"

#define HANG_SECONDS 120u

typedef struct {
    run_options run;
    uint64_t seeds;
    uint64_t stride;
    uint64_t seconds;
    bool progress;
    const char *faults_text;
    const char *break_name;
    const char *plot_name;
} arguments;

static arguments given;
static char repeat_text[512];

/* ---- how to repeat it ---- */

static void prepare_repeat(const char *program, uint64_t seed)
{
    (void)snprintf(
        repeat_text, sizeof(repeat_text),
        "repeat: %s --seed %" PRIu64 " --steps %u%s%s%s%s%s%s%s\n", program, seed, given.run.steps,
        given.run.hosts == 0   ? ""
        : given.run.hosts == 1 ? " --hosts 1"
                               : " --hosts 2",
        given.faults_text != NULL ? " --faults " : "",
        given.faults_text != NULL ? given.faults_text : "",
        given.break_name != NULL ? " --break " : "",
        given.break_name != NULL ? given.break_name : "", given.plot_name != NULL ? " --plot " : "",
        given.plot_name != NULL ? given.plot_name : "");
}

/* An assert that fails, and a run that does not end, are findings too. */
static void on_signal(int number)
{
    static const char hangs[] = "the run does not end\n";
    if (number == SIGALRM)
        (void)!write(STDERR_FILENO, hangs, sizeof(hangs) - 1);
    (void)!write(STDERR_FILENO, repeat_text, strlen(repeat_text));
    _exit(1);
}

/* ---- saying ---- */

static void say_line(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "%s\n", line);
}

static void log_line(void *context, baton_log_level level, const char *line)
{
    (void)level;
    say_line(context, line);
}

void sim_listen(const run_options *options, baton_sim *sim)
{
    if (options->verbose)
        baton_sim_set_tell(sim, say_line, NULL);
    baton_log_set_sink(options->verbose ? log_line : NULL, NULL, BATON_LOG_INFO);
}

void sim_say(const run_options *options, const char *format, ...)
{
    va_list values;
    if (!options->verbose)
        return;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
}

noreturn void sim_fail(const run_options *options, const char *format, ...)
{
    va_list values;
    fflush(stdout);
    fprintf(stderr, "seed %" PRIu64 ": ", options->seed);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    fputs(repeat_text, stderr);
    exit(1);
}

/* ---- arguments ---- */

static void print_usage(const simulator *self)
{
    printf("Usage: %s [--seed N] [--seeds K] [--steps M] [--faults LIST] [--break NAME]\n"
           "                   [--seconds S] [--verbose]\n"
           "\n"
           "%s"
           "\n"
           "  --seed N       the first seed (default 1)\n"
           "  --seeds K      so many seeds in a row (default 1)\n"
           "  --stride K     the next seed is K more (default 1)\n"
           "  --steps M      steps of each run (default 150)\n"
           "  --faults LIST  instead of those that the seed draws: none, or some of\n"
           "                 eio,enospc,split,rot,spoil,misdirect,lying,late-lock\n"
           "  --seconds S    end after so many seconds, whatever K is\n"
           "  --break NAME   break %s on purpose: list for the names\n"
           "%s%s"
           "  --verbose      every operation, accident and log line to stderr\n"
           "  --progress     a line on stderr that counts\n"
           "\n"
           "Exit code: 0 when every run was right, 1 when one was not, 2 for wrong usage.\n",
           self->name, self->about, self->broken,
           self->plot_count == 0
               ? ""
               : "  --plot NAME    these accidents, in every run: list for the names\n",
           self->hosts_max == 0
               ? ""
               : "  --hosts N      1: all on one, 2: one on each (default: the seed draws)\n");
}

static bool number_of(const char *text, uint64_t *ret_number)
{
    char *end;
    errno = 0;
    *ret_number = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && text[0] != '-';
}

static bool faults_of(const char *text, uint32_t *ret_faults)
{
    static const char *const names[] = {"eio",   "enospc",    "split", "rot",
                                        "spoil", "misdirect", "lying", "late-lock"};
    *ret_faults = 0;
    if (strcmp(text, "none") == 0)
        return true;
    while (*text != '\0') {
        const size_t length = strcspn(text, ",");
        uint32_t at = 0;
        while (at < 8 && (strlen(names[at]) != length || strncmp(names[at], text, length) != 0))
            at++;
        if (at == 8)
            return false;
        *ret_faults |= 1u << at;
        text += length;
        text += *text == ',';
    }
    return true;
}

static bool break_of(const simulator *self, const char *name)
{
    for (int i = 0; i < self->break_count; i++) {
        const int number = self->break_first + i;
        if (strcmp(name, self->break_names[i]) == 0) {
            baton_break_chosen = number;
            return true;
        }
        if (strcmp(name, "list") == 0 && number != BATON_BREAK_NOTHING)
            puts(self->break_names[i]);
    }
    return false;
}

static bool plot_of(const simulator *self, const char *name)
{
    for (uint32_t i = 1; i < self->plot_count; i++) {
        if (strcmp(name, self->plot_names[i]) == 0) {
            given.run.plot = i;
            return true;
        }
        if (strcmp(name, "list") == 0)
            puts(self->plot_names[i]);
    }
    return false;
}

static int wrong(const char *what, const char *why)
{
    fprintf(stderr, "baton: %s: %s: see --help\n", what, why);
    return 2;
}

/* -1: go on. */
static int parse(const simulator *self, int argc, char **argv)
{
    given = (arguments){
        .run = {.seed = 1, .steps = 150, .faults = FAULT_DRAWN}, .seeds = 1, .stride = 1};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        uint64_t number = 0;
        if (strcmp(name, "--help") == 0) {
            print_usage(self);
            return 0;
        }
        if (strcmp(name, "--verbose") == 0) {
            given.run.verbose = true;
            continue;
        }
        if (strcmp(name, "--progress") == 0) {
            given.progress = true;
            continue;
        }
        if (i + 1 == argc)
            return wrong(name, "unknown, or without its value");
        const char *value = argv[++i];
        const bool is_number = number_of(value, &number);
        if (strcmp(name, "--faults") == 0) {
            if (!faults_of(value, &given.run.faults))
                return wrong(value, "no such fault");
            given.faults_text = value;
        } else if (strcmp(name, "--break") == 0) {
            if (!break_of(self, value))
                return strcmp(value, "list") == 0 ? 0 : wrong(value, "nothing is broken so");
            given.break_name = value;
        } else if (strcmp(name, "--plot") == 0) {
            if (!plot_of(self, value))
                return strcmp(value, "list") == 0 ? 0 : wrong(value, "no such plot");
            given.plot_name = value;
        } else if (!is_number) {
            return wrong(name, "unknown, or its value is no number");
        } else if (strcmp(name, "--seed") == 0) {
            given.run.seed = number;
        } else if (strcmp(name, "--seeds") == 0) {
            given.seeds = number;
        } else if (strcmp(name, "--stride") == 0) {
            given.stride = number;
        } else if (strcmp(name, "--steps") == 0) {
            given.run.steps = (uint32_t)number;
        } else if (strcmp(name, "--seconds") == 0) {
            given.seconds = number;
        } else if (strcmp(name, "--hosts") == 0 && number >= 1 && number <= self->hosts_max) {
            given.run.hosts = (uint32_t)number;
        } else {
            return wrong(name, "unknown");
        }
    }
    return -1;
}

/* ---- the runs ---- */

void sim_count_up(sim_totals *totals, const run_options *options, const baton_sim *sim)
{
    const baton_sim_counts *counts = baton_sim_counts_of(sim);
    uint64_t *into = (uint64_t *)(void *)&totals->sim;
    const uint64_t *from = (const uint64_t *)(const void *)counts;
    for (size_t i = 0; i < sizeof(*counts) / sizeof(uint64_t); i++)
        into[i] += from[i];
    totals->runs++;
    totals->steps += options->steps;
}

const sim_action *sim_choose(sim_random *random, uint32_t faults, const sim_action *actions,
                             uint32_t count)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < count; i++)
        all += actions[i].weight;
    uint64_t draw = sim_random_below(random, all);
    const sim_action *chosen = actions;
    while (draw >= chosen->weight)
        draw -= (chosen++)->weight;
    return chosen->fault != 0 && (faults & chosen->fault) == 0 ? actions : chosen;
}

static void print_totals(const simulator *self, baton_digest trace)
{
    char text[BATON_DIGEST_TEXT_BYTES];
    const sim_totals *t = self->totals;
    const baton_sim_counts *sim = &t->sim;
    printf("seeds=%" PRIu64 " steps=%" PRIu64 " operations=%" PRIu64, t->runs, t->steps,
           sim->operations);
    self->print();
    printf("kills=%" PRIu64 " power_cuts=%" PRIu64 " landed_late=%" PRIu64 " errors=%" PRIu64
           " no_space=%" PRIu64 " splits=%" PRIu64 " rotten=%" PRIu64 " spoiled=%" PRIu64
           " misdirected=%" PRIu64 " lies=%" PRIu64 "\n",
           sim->kills, sim->power_cuts, sim->landed_late, sim->errors, sim->no_space, sim->splits,
           sim->rotten, sim->spoiled, sim->misdirected, sim->lies);
    printf("trace=%s\n", baton_digest_text(trace, text));
}

int sim_main(const simulator *self, int argc, char **argv)
{
    const int answer = parse(self, argc, argv);
    if (answer >= 0)
        return answer;
    /* Memory that a run gives back is the next one's. */
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 30);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
    (void)signal(SIGABRT, on_signal);
    (void)signal(SIGALRM, on_signal);

    baton_digest all = {{0}};
    const time_t begun = time(NULL);
    for (uint64_t i = 0; i < given.seeds; i++) {
        if (given.seconds > 0 && time(NULL) - begun >= (time_t)given.seconds)
            break;
        run_options options = given.run;
        baton_digest trace;
        options.seed += i * given.stride;
        prepare_repeat(argv[0], options.seed);
        (void)alarm(HANG_SECONDS);
        self->run(&options, &trace);
        all = baton_digest_chain(all, trace.bytes, sizeof(trace.bytes));
        if (given.progress && i % 16 == 0)
            fprintf(stderr, "\r%" PRIu64 " seeds, %" PRIu64 " recoveries ", self->totals->runs,
                    *self->recoveries);
    }
    (void)alarm(0);
    print_totals(self, all);
    return 0;
}
