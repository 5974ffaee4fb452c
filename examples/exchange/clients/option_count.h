/* examples/exchange/clients/option_count.h: a service's option that is a count. */
#pragma once

#include <stdint.h>

#include <baton/status.h>

/* Decimal digits, 1..max. name: the option's, with its dashes. 0 or BATON_E_INVALID. */
BATON_MUST_USE int option_count(const char *text, const char *name, uint32_t max,
                                uint32_t *ret_count, baton_error *error);
