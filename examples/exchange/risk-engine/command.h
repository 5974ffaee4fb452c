/* examples/exchange/risk-engine/command.h: may a command go on to the book? And the commands that are for
 * the risk engine itself. */
#pragma once

#include "examples/exchange/risk-engine/risk_engine.h"

/* Goes on to the matching engine, or is answered to the order service. A command that is refused changes
 * nothing. body is checked: exchange_command_check. */
void command_apply(risk_engine *engine, uint16_t type, const void *body, uint32_t body_bytes,
                   baton_effects *effects);
