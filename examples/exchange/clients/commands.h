/* examples/exchange/clients/commands.h: what is a well-formed command, whoever brings it to whichever
 * service: asked at every intake, and again by apply. What comes from a network must not stop an apply. */
#pragma once

#include <stdbool.h>

#include <baton/status.h>

#include "examples/exchange/protocol.h"

/* Is it a command, of any service, with the right size, zero padding, known flags, and a client id and seq in
 * range? 0, BATON_E_UNKNOWN_TYPE (no command), BATON_E_INVALID (its shape), BATON_E_TOO_LARGE (client id or
 * seq out of range). *ret_command is set unless it is one of the first two. */
BATON_MUST_USE int exchange_command_check(uint16_t type, const void *body, uint32_t body_bytes,
                                          exchange_command *ret_command);
/* Is it one of the commands that are an operator's: money, switches, limits, time? */
bool exchange_command_is_operators(uint16_t type);
/* Is it a whole report, with as many items as it says? 0, or BATON_E_INVALID. */
BATON_MUST_USE int exchange_report_check(const void *payload, uint32_t payload_bytes);
