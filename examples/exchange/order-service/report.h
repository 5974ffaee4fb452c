/* examples/exchange/order-service/report.h: what the risk engine and the matching engine say became of a
 * command, and of the orders that it met. */
#pragma once

#include "examples/exchange/order-service/order_service.h"

/* A whole report: exchange_report_check. Orders and commands that are not ours are passed over. */
void report_apply(order_service_state *state, const void *payload);
/* A barrier that came back: from the matching engine it is the end of it. */
void report_barrier(order_service_state *state, uint16_t source, const void *payload,
                    baton_effects *effects);
