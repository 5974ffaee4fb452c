/* examples/exchange/order-service/apply.h: the deterministic step of the order service. */
#pragma once

#include "examples/exchange/order-service/order_service.h"

int order_service_apply(void *state, const baton_entry *entry, baton_effects *effects);
