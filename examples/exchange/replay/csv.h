/* examples/exchange/replay/csv.h: strict reading of comma-separated numbers, line by line.
 * Inputs may be pipes: nothing is read twice. Fields are not quoted in these formats. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <baton/status.h>

#define CSV_LINE_BYTES_MAX (1u << 20)

typedef struct {
    FILE *file;
    const char *path;
    char *line;
    size_t line_room;
    uint64_t line_number; /* of the line read last, from 1 */
    uint32_t fields_min;  /* a row with fewer is an error */
} csv_reader;

/* "-" is standard input. The path is borrowed. Fills *error on failure, as all of these do. */
BATON_MUST_USE int csv_open(csv_reader *reader, const char *path, uint32_t fields_min,
                            baton_error *error);
void csv_close(csv_reader *reader); /* a zeroed reader is fine */

/* The next line's fields, which stay valid until the next call: 1, 0 at the end, or an error. An
 * empty line is an error, except as the last. A first line of enough fields that all begin with a
 * letter is a header and is skipped. */
BATON_MUST_USE int csv_next(csv_reader *reader, char **fields, uint32_t fields_max,
                            uint32_t *ret_count, baton_error *error);

/* A refusal of the line read last: "PATH:LINE", why as printf. Returns BATON_E_INVALID. */
int csv_refuse(const csv_reader *reader, baton_error *error, const char *why_format, ...)
    __attribute__((format(printf, 3, 4)));

/* The whole text as a decimal number, nothing around it. false when it is not one, or too large. */
bool csv_u64(const char *text, uint64_t *ret_value);
bool csv_i64(const char *text, int64_t *ret_value);
/* "12.34" with at most `decimals` digits after the point, as a multiple of 10^-decimals. */
bool csv_decimal(const char *text, uint32_t decimals, uint64_t *ret_value);
