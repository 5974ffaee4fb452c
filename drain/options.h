/* drain/options.h: command lines of a service, from tables. `--name VALUE`, `--name=VALUE`,
 * flags, `-o` for --output, `-h` for --help; `--` ends the options. An option given twice: the
 * last one counts. Unknown ones are refused, with the nearest known name. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <baton/status.h>

#define BATON_POSITIONALS_MAX 2u

typedef struct {
    const char *name;          /* without the dashes */
    const char *value_name;    /* "DIR", "N"; NULL: a flag, whose value becomes "yes" */
    const char *default_value; /* NULL: none */
    const char *help;          /* one clause */
} baton_option;

/* Caller's memory. values has one place per option and is filled with defaults first. */
typedef struct {
    const baton_option *options;
    uint32_t options_count;
    const char **values;
    const char *positionals[BATON_POSITIONALS_MAX];
    uint32_t positionals_count;
    bool help; /* --help was there; the rest was not checked */
} baton_arguments;

/* argv without the command's own words. BATON_E_INVALID with an error that names the word. */
BATON_MUST_USE int baton_options_parse(baton_arguments *arguments, int argc, char *const *argv,
                                       baton_error *error);
/* "  --name VALUE    help (default: x)", a line per option. */
void baton_options_print(FILE *file, const baton_option *options, uint32_t options_count);

/* Values. All: BATON_E_INVALID with an error that names the option, the value and what would
 * fit. */
BATON_MUST_USE int baton_option_duration(const char *name, const char *text, uint64_t *ret_ns,
                                         baton_error *error); /* 25s, 500ms, 2m, 1h, 10us */
BATON_MUST_USE int
baton_option_size(const char *name, const char *text, uint64_t *ret_bytes,
                  baton_error *error); /* 4096, 64KiB, 64MiB, 1GiB; K, M, G are binary too */
BATON_MUST_USE int baton_option_count(const char *name, const char *text, uint64_t max,
                                      uint64_t *ret_count, baton_error *error);
/* choices ends with NULL. */
BATON_MUST_USE int baton_option_choice(const char *name, const char *text,
                                       const char *const *choices, uint32_t *ret_index,
                                       baton_error *error);
/* The candidate that a mistyped word most likely means, or NULL. candidates ends with NULL. */
const char *baton_option_nearest(const char *word, const char *const *candidates);
