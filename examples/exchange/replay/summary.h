/* examples/exchange/replay/summary.h: what a run prints on standard output. */
#pragma once

#include "examples/exchange/replay/commands.h"
#include "examples/exchange/replay/lobster.h"
#include "examples/exchange/replay/orders.h"

typedef enum { SUMMARY_TEXT, SUMMARY_JSON } summary_form;

/* One line `name value` a fact, or one JSON object on one line. 0, or -errno of the write. */
BATON_MUST_USE int summary_lobster(const lobster_summary *summary, summary_form form);
BATON_MUST_USE int summary_commands(const commands_summary *summary, summary_form form);
BATON_MUST_USE int summary_orders(const orders_summary *summary, summary_form form);
