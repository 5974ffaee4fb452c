/* orchestrator-shim/command.h: the commands, and what they share. A command gets argv from its
 * own word on, prints its own errors and returns the exit code. stdout is for results only. */
#pragma once

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <baton/journal.h>

int journal_command(int argc, char **argv);
int snapshot_command(int argc, char **argv);
int service_command(int argc, char **argv);

/* journal_*.c; argv[0] is the verb. */
int journal_append(int argc, char **argv);
int journal_dump(int argc, char **argv);
int journal_verify(int argc, char **argv);
int journal_stat(int argc, char **argv);
int journal_repair(int argc, char **argv);

/* ---- journal_check.c, for journal_stat.c too ---- */

typedef struct {
    baton_backend backend;
    bool json;
    bool accept_loss;
} check_options;
/* False: the exit code is in *ret_code. */
bool read_check_options(int argc, char **argv, const char *help, bool with_accept_loss,
                        check_options *chosen, int *ret_code);
const char *journal_verdict(int status, const baton_journal_summary *summary);
json_t *journal_describe(const char *directory, int status, const baton_journal_summary *summary,
                         const baton_error *error);
int worse_code(int a, int b); /* of two exit codes */

/* ---- output.c ---- */

/* `baton: what: why: what to do` on stderr; returns the exit code that fits: 7 locked, 8 timed
 * out, 10 torn, 11 damaged, else 1. */
int fail_with(const baton_error *error);
int fail_usage(const char *what, const char *why, const char *todo); /* 1 */
int exit_code(int status);
/* code, or 1 with the error printed when something that was printed for people got lost (T4). */
int finish_output(int code);
/* One compact line on stdout, flushed; takes over object. 0, or 1 with the error printed. */
int print_json(json_t *object);
/* The same for people: `key  value` lines, nested ones indented. Takes over object. */
int print_text(json_t *object);
json_t *json_text(const char *text); /* any bytes; what is no UTF-8 becomes '?' */
json_t *json_number(uint64_t number);
json_t *json_digest(baton_digest digest);
json_t *json_error(const baton_error *error);
json_t *json_recovery(const baton_recovery_report *report);
/* progress.h on stderr, for baton_journal_verify and the like. context: what is done. */
void show_progress(void *context, uint64_t done_bytes, uint64_t all_bytes);
void end_progress(void);

/* ---- arguments.c ---- */

/* One word that chooses what runs; argv[0] of run is the word. */
typedef struct {
    const char *name;
    int (*run)(int argc, char **argv);
} verb;
/* Runs the verb that argv[1] names, or prints help. of: "baton journal". Returns the exit code. */
int run_verb(const verb *verbs, size_t count, const char *of, const char *help, int argc,
             char **argv);

/* Options of one verb: getopt_long with our own words for what is wrong. Returns an option's
 * val, -1 after the last, -2 when it was wrong and that was told. help is printed to stdout for
 * --help; then -3. */
int next_option(int argc, char **argv, const struct option *options, const char *help);
#define OPTION_WRONG (-2)
#define OPTION_HELP  (-3)
/* False when it does not fit, and that was told. */
bool read_number(const char *option, const char *text, uint64_t *ret_number);
/* A seq, or a moment as baton_time_parse takes it; the other one is 0. */
bool read_seq_or_time(const char *option, const char *text, uint64_t *ret_seq, uint64_t *ret_ns);
bool read_duration(const char *option, const char *text, uint64_t *ret_ns); /* 30s, 500ms, 2m */
bool read_output(const char *text, bool *ret_json);
bool read_backend(const char *text, baton_backend *ret_backend);
/* DIR, or DIR/journal when DIR is a service's directory: it would look like an empty journal. */
#define JOURNAL_DIRECTORY_BYTES 4096
const char *journal_in(const char *directory, char room[JOURNAL_DIRECTORY_BYTES]);
/* The one journal that must be left after the options; NULL when that was told. */
const char *one_directory(int argc, char **argv);
