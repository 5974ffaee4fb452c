/* base/hex.h: numbers in the names of files. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BATON_HEX_DIGITS 16u

/* Of text, 16 lower-case hex digits, nothing else: one number has one name. Reads no further than
 * the first other character. Sets *ret_value on success only. */
bool baton_hex_parse(const char *text, uint64_t *ret_value);
