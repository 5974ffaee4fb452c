/* examples/exchange/risk-engine/settle.h: what the matching engine says became of a command, and of the orders that
 * it met: money moves, holds end. */
#pragma once

#include "examples/exchange/risk-engine/risk_engine.h"

/* A whole report: exchange_report_check. What it tells of orders that are not known here is counted as stray:
 * trades; the rest is passed over. */
void settle_report(risk_engine *engine, const void *payload);
