/* drain/options.c: command lines from tables. */
#include "drain/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES_MAX 40u
#define DISTANCE_MAX   2u /* edits between a mistyped name and the one suggested */

/* Levenshtein distance, of names short enough for a row on the stack. */
static uint32_t distance(const char *a, const char *b)
{
    const size_t a_bytes = strlen(a);
    const size_t b_bytes = strlen(b);
    uint32_t row[NAME_BYTES_MAX + 1];
    if (a_bytes > NAME_BYTES_MAX || b_bytes > NAME_BYTES_MAX)
        return UINT32_MAX;

    for (size_t j = 0; j <= b_bytes; j++)
        row[j] = (uint32_t)j;
    for (size_t i = 1; i <= a_bytes; i++) {
        uint32_t diagonal = row[0];
        row[0] = (uint32_t)i;
        for (size_t j = 1; j <= b_bytes; j++) {
            const uint32_t above = row[j];
            uint32_t best = diagonal + (a[i - 1] == b[j - 1] ? 0u : 1u);
            best = above + 1 < best ? above + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = above;
            row[j] = best;
        }
    }
    return row[b_bytes];
}

const char *baton_option_nearest(const char *word, const char *const *candidates)
{
    const char *nearest = NULL;
    uint32_t nearest_distance = DISTANCE_MAX + 1;
    for (uint32_t i = 0; candidates[i] != NULL; i++) {
        const size_t bytes = strlen(word);
        uint32_t d = distance(word, candidates[i]);
        if (bytes >= 3 && strncmp(word, candidates[i], bytes) == 0)
            d = 1; /* the beginning of it */
        if (d < nearest_distance) {
            nearest_distance = d;
            nearest = candidates[i];
        }
    }
    return nearest;
}

static int refuse_unknown(const baton_arguments *arguments, const char *word, size_t name_bytes,
                          baton_error *error)
{
    char name[NAME_BYTES_MAX + 1];
    char what[128];
    char todo[160] = "see --help";
    const char **names = calloc(arguments->options_count + 1, sizeof(*names));

    snprintf(name, sizeof(name), "%.*s",
             (int)(name_bytes < NAME_BYTES_MAX ? name_bytes : NAME_BYTES_MAX), word);
    snprintf(what, sizeof(what), "option --%s", name);
    if (names != NULL) {
        for (uint32_t i = 0; i < arguments->options_count; i++)
            names[i] = arguments->options[i].name;
        const char *nearest = baton_option_nearest(name, names);
        if (nearest != NULL)
            snprintf(todo, sizeof(todo), "did you mean --%s? see --help", nearest);
    }
    free(names);
    return baton_error_set(error, BATON_E_INVALID, what, "there is no such option", todo);
}

static const baton_option *find(const baton_arguments *arguments, const char *name,
                                size_t name_bytes)
{
    for (uint32_t i = 0; i < arguments->options_count; i++) {
        const baton_option *option = &arguments->options[i];
        if (strlen(option->name) == name_bytes && memcmp(option->name, name, name_bytes) == 0)
            return option;
    }
    return NULL;
}

/* One option word; *index moves past the value that it took. */
static int parse_option(baton_arguments *arguments, const char *name, int argc, char *const *argv,
                        int *index, baton_error *error)
{
    const char *equals = strchr(name, '=');
    const size_t name_bytes = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const baton_option *option = find(arguments, name, name_bytes);
    char what[128];
    if (option == NULL)
        return refuse_unknown(arguments, name, name_bytes, error);

    snprintf(what, sizeof(what), "option --%s", option->name);
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (option->value_name == NULL) {
        if (value != NULL)
            return baton_error_set(error, BATON_E_INVALID, what, "it takes no value",
                                   "give it alone");
        value = "yes";
    } else if (value == NULL) {
        if (*index + 1 >= argc)
            return baton_error_setf(error, BATON_E_INVALID, what, "see --help",
                                    "its value %s is missing", option->value_name);
        value = argv[++*index];
    }
    arguments->values[option - arguments->options] = value;
    return 0;
}

int baton_options_parse(baton_arguments *arguments, int argc, char *const *argv, baton_error *error)
{
    bool options_over = false;
    for (uint32_t i = 0; i < arguments->options_count; i++)
        arguments->values[i] = arguments->options[i].default_value;
    arguments->positionals_count = 0;
    arguments->help = false;

    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        int r = 0;
        if (!options_over && strcmp(word, "--") == 0) {
            options_over = true;
        } else if (!options_over && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            arguments->help = true;
            return 0;
        } else if (!options_over && strncmp(word, "--", 2) == 0) {
            r = parse_option(arguments, word + 2, argc, argv, &i, error);
        } else if (!options_over && strcmp(word, "-o") == 0) {
            r = parse_option(arguments, "output", argc, argv, &i, error);
        } else if (!options_over && word[0] == '-' && word[1] != '\0') {
            r = baton_error_set(error, BATON_E_INVALID, word, "there is no such option",
                                "see --help");
        } else if (arguments->positionals_count == BATON_POSITIONALS_MAX) {
            r = baton_error_set(error, BATON_E_INVALID, word, "one argument too many",
                                "see --help");
        } else {
            arguments->positionals[arguments->positionals_count++] = word;
        }
        if (r < 0)
            return r;
    }
    return 0;
}

void baton_options_print(FILE *file, const baton_option *options, uint32_t options_count)
{
    for (uint32_t i = 0; i < options_count; i++) {
        const baton_option *option = &options[i];
        char left[64];
        snprintf(left, sizeof(left), "--%s%s%s", option->name,
                 option->value_name != NULL ? " " : "",
                 option->value_name != NULL ? option->value_name : "");
        fprintf(file, "  %-28s %s", left, option->help);
        if (option->default_value != NULL && option->default_value[0] != '\0')
            fprintf(file, " (default: %s)", option->default_value);
        fputc('\n', file);
    }
}

static int refuse_value(const char *name, const char *text, const char *wanted, baton_error *error)
{
    char what[128];
    snprintf(what, sizeof(what), "option --%s", name);
    return baton_error_setf(error, BATON_E_INVALID, what, wanted, "'%.100s' does not fit",
                            text != NULL ? text : "");
}

/* Digits, then a unit of the table. False when it is none or does not fit into 64 bits. */
typedef struct {
    const char *suffix;
    uint64_t factor;
} unit;

static bool parse_with_unit(const char *text, const unit *units, uint64_t *ret_value)
{
    char *rest;
    if (text == NULL || text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    const unsigned long long number = strtoull(text, &rest, 10);
    if (errno != 0)
        return false;
    for (; units->suffix != NULL; units++)
        if (strcmp(rest, units->suffix) == 0)
            return !__builtin_mul_overflow((uint64_t)number, units->factor, ret_value);
    return false;
}

int baton_option_duration(const char *name, const char *text, uint64_t *ret_ns, baton_error *error)
{
    static const unit units[] = {
        {"ns", 1},
        {"us", 1000},
        {"ms", 1000000},
        {"s", 1000000000},
        {"m", UINT64_C(60000000000)},
        {"h", UINT64_C(3600000000000)},
        {NULL, 0},
    };
    if (parse_with_unit(text, units, ret_ns))
        return 0;
    return refuse_value(name, text, "give a time like 25s, 500ms or 2m", error);
}

int baton_option_size(const char *name, const char *text, uint64_t *ret_bytes, baton_error *error)
{
    static const unit units[] = {
        {"", 1},           {"K", 1u << 10},   {"M", 1u << 20},   {"G", 1u << 30},
        {"KiB", 1u << 10}, {"MiB", 1u << 20}, {"GiB", 1u << 30}, {NULL, 0},
    };
    if (parse_with_unit(text, units, ret_bytes))
        return 0;
    return refuse_value(name, text, "give a size like 4096, 64KiB or 1GiB", error);
}

int baton_option_count(const char *name, const char *text, uint64_t max, uint64_t *ret_count,
                       baton_error *error)
{
    static const unit units[] = {{"", 1}, {NULL, 0}};
    char wanted[80];
    if (parse_with_unit(text, units, ret_count) && *ret_count <= max)
        return 0;
    snprintf(wanted, sizeof(wanted), "give a whole number up to %llu", (unsigned long long)max);
    return refuse_value(name, text, wanted, error);
}

int baton_option_choice(const char *name, const char *text, const char *const *choices,
                        uint32_t *ret_index, baton_error *error)
{
    char wanted[160] = "give one of";
    for (uint32_t i = 0; choices[i] != NULL; i++) {
        if (text != NULL && strcmp(text, choices[i]) == 0) {
            *ret_index = i;
            return 0;
        }
        const size_t used = strlen(wanted);
        snprintf(wanted + used, sizeof(wanted) - used, "%s %s", i > 0 ? "," : "", choices[i]);
    }
    return refuse_value(name, text, wanted, error);
}
