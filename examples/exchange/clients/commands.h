/* examples/exchange/clients/commands.h: what is a well-formed command, whoever brings it. Asked where clients
 * come in, so that nothing malformed reaches another service; and by each again, of what comes over links. */
#pragma once

#include "examples/exchange/protocol.h"

/* Commands of orders, with client id and client seq. 0, BATON_E_UNKNOWN_TYPE (no such command), BATON_E_INVALID
 * (wrong size, non-zero padding, unknown flags), BATON_E_TOO_LARGE (client id or seq out of range).
 * *ret_command is set unless it is one of the first two. body need not be aligned. */
BATON_MUST_USE int exchange_command_check(uint16_t type, const void *body, uint32_t body_bytes,
                                          exchange_command *ret_command);
/* Is it a whole report, with as many items as it says? 0, or BATON_E_INVALID. */
BATON_MUST_USE int exchange_report_check(const void *payload, uint32_t payload_bytes);
