#include "examples/exchange/replay/csv.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int csv_open(csv_reader *reader, const char *path, uint32_t fields_min, baton_error *error)
{
    *reader = (csv_reader){.path = path, .fields_min = fields_min};
    reader->file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (reader->file)
        return 0;
    int r = -errno;
    char what[192];
    snprintf(what, sizeof(what), "open %.150s", path);
    return baton_error_set(error, r, what, baton_status_text(r),
                           "give a file, a pipe or - that can be read");
}

void csv_close(csv_reader *reader)
{
    if (reader->file && reader->file != stdin)
        fclose(reader->file);
    free(reader->line);
    *reader = (csv_reader){0};
}

int csv_refuse(const csv_reader *reader, baton_error *error, const char *why_format, ...)
{
    char what[192], why[200];
    snprintf(what, sizeof(what), "%.150s:%llu", reader->path,
             (unsigned long long)reader->line_number);
    va_list arguments;
    va_start(arguments, why_format);
    vsnprintf(why, sizeof(why), why_format, arguments);
    va_end(arguments);
    return baton_error_set(error, BATON_E_INVALID, what, why,
                           "correct the line; exchange-replay --help describes the formats");
}

/* Splits in place. Returns false when there are more than fields_max. */
static bool split(char *line, char **fields, uint32_t fields_max, uint32_t *ret_count)
{
    uint32_t count = 0;
    for (char *at = line; at;) {
        if (count == fields_max)
            return false;
        fields[count++] = at;
        at = strchr(at, ',');
        if (at)
            *at++ = '\0';
    }
    *ret_count = count;
    return true;
}

/* 1 with one line in reader->line, without its end; 0 at the end. */
static int read_line(csv_reader *reader, baton_error *error)
{
    errno = 0;
    ssize_t bytes = getline(&reader->line, &reader->line_room, reader->file);
    if (bytes < 0) {
        if (!ferror(reader->file) && errno != ENOMEM)
            return 0;
        int r = errno ? -errno : -EIO;
        char what[192];
        snprintf(what, sizeof(what), "read %.150s", reader->path);
        return baton_error_set(error, r, what, baton_status_text(r),
                               "check the file and try again");
    }
    reader->line_number++;
    if (bytes > (ssize_t)CSV_LINE_BYTES_MAX)
        return csv_refuse(reader, error, "the line is longer than 1 MiB");
    if (strlen(reader->line) != (size_t)bytes)
        return csv_refuse(reader, error, "the line has a zero byte");
    if (bytes > 0 && reader->line[bytes - 1] == '\n')
        reader->line[--bytes] = '\0';
    if (bytes > 0 && reader->line[bytes - 1] == '\r')
        reader->line[--bytes] = '\0';
    return 1;
}

/* An empty line is fine where nothing follows it. */
static int end_or_gap(csv_reader *reader, baton_error *error)
{
    int r = read_line(reader, error);
    if (r <= 0)
        return r;
    reader->line_number--;
    return csv_refuse(reader, error, "the line is empty");
}

static bool is_header(char **fields, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!isalpha((unsigned char)fields[i][0]))
            return false;
    return true;
}

int csv_next(csv_reader *reader, char **fields, uint32_t fields_max, uint32_t *ret_count,
             baton_error *error)
{
    int r = read_line(reader, error);
    if (r <= 0)
        return r;
    if (reader->line[0] == '\0')
        return end_or_gap(reader, error);
    if (!split(reader->line, fields, fields_max, ret_count))
        return csv_refuse(reader, error, "more than %u fields", fields_max);
    if (*ret_count < reader->fields_min)
        return csv_refuse(reader, error, "%u fields instead of %u", *ret_count, reader->fields_min);
    if (reader->line_number == 1 && is_header(fields, *ret_count))
        return csv_next(reader, fields, fields_max, ret_count, error);
    return 1;
}

bool csv_decimal(const char *text, uint32_t decimals, uint64_t *ret_value)
{
    uint64_t value = 0;
    uint32_t after = 0;
    bool point = false, digits = false;
    for (; *text; text++) {
        if (*text == '.' && !point && decimals > 0) {
            point = true;
            continue;
        }
        if (*text < '0' || *text > '9' || (point && after == decimals))
            return false;
        digits = true;
        after += point;
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return false;
    }
    if (!digits || (point && after == 0))
        return false;
    for (; after < decimals; after++)
        if (__builtin_mul_overflow(value, 10u, &value))
            return false;
    *ret_value = value;
    return true;
}

bool csv_u64(const char *text, uint64_t *ret_value)
{
    return csv_decimal(text, 0, ret_value);
}

bool csv_i64(const char *text, int64_t *ret_value)
{
    bool negative = *text == '-';
    uint64_t magnitude;
    if (!csv_u64(text + negative, &magnitude) || magnitude > (uint64_t)INT64_MAX + negative)
        return false;
    *ret_value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}
