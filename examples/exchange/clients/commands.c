#include <stddef.h>
#include <string.h>

#include "examples/exchange/clients/commands.h"

static bool all_zero(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

#define PADDING_IS_ZERO(command) all_zero((command)->zero, sizeof((command)->zero))

static bool new_order_is_well_formed(const exchange_new_order *order)
{
    return (order->flags & ~EXCHANGE_ORDER_FLAGS_KNOWN) == 0 && order->order_type <= BOOK_MARKET;
}

static bool replace_is_well_formed(const exchange_replace *replace)
{
    return (replace->flags & ~EXCHANGE_ORDER_FLAGS_KNOWN) == 0 && PADDING_IS_ZERO(replace);
}

static bool switch_is_well_formed(const exchange_switch *turn_on)
{
    return (baton_le32_get(turn_on->features) & ~(uint32_t)EXCHANGE_FEATURES_KNOWN) == 0 &&
           PADDING_IS_ZERO(turn_on);
}

static bool kill_is_well_formed(const exchange_kill *kill)
{
    return kill->on <= 1 && PADDING_IS_ZERO(kill);
}

static int shape(uint16_t type, const void *body, uint32_t body_bytes)
{
#define OF_SIZE(command, is_well_formed)                                                           \
    (body_bytes == sizeof(command) && (is_well_formed) ? 0 : BATON_E_INVALID)
    switch (type) {
    case EXCHANGE_NEW_ORDER:
        return OF_SIZE(exchange_new_order, new_order_is_well_formed(body));
    case EXCHANGE_CANCEL:
        return OF_SIZE(exchange_cancel, PADDING_IS_ZERO((const exchange_cancel *)body));
    case EXCHANGE_REDUCE:
        return OF_SIZE(exchange_reduce, PADDING_IS_ZERO((const exchange_reduce *)body));
    case EXCHANGE_REPLACE:
        return OF_SIZE(exchange_replace, replace_is_well_formed(body));
    case EXCHANGE_CLOCK:
        return OF_SIZE(exchange_clock, true);
    case EXCHANGE_SWITCH:
        return OF_SIZE(exchange_switch, switch_is_well_formed(body));
    case EXCHANGE_DEPOSIT:
    case EXCHANGE_WITHDRAW:
        return OF_SIZE(exchange_transfer, PADDING_IS_ZERO((const exchange_transfer *)body));
    case EXCHANGE_KILL:
        return OF_SIZE(exchange_kill, kill_is_well_formed(body));
    case EXCHANGE_LIMIT:
        return OF_SIZE(exchange_limit, PADDING_IS_ZERO((const exchange_limit *)body));
    default: /* what another number means, somebody else knows */
        return BATON_E_UNKNOWN_TYPE;
    }
#undef OF_SIZE
}

int exchange_command_check(uint16_t type, const void *body, uint32_t body_bytes,
                           exchange_command *ret_command)
{
    int r = shape(type, body, body_bytes);
    if (r < 0)
        return r;
    memcpy(ret_command, body, sizeof(*ret_command));
    uint64_t client_id = baton_le64_get(ret_command->client_id);
    uint64_t client_seq = baton_le64_get(ret_command->client_seq);
    if (client_id == 0 || client_id > EXCHANGE_CLIENT_ID_MAX || client_seq == 0 ||
        client_seq > EXCHANGE_CLIENT_SEQ_MAX)
        return BATON_E_TOO_LARGE;
    return 0;
}

bool exchange_command_is_operators(uint16_t type)
{
    switch (type) {
    case EXCHANGE_DEPOSIT:
    case EXCHANGE_WITHDRAW:
    case EXCHANGE_KILL:
    case EXCHANGE_LIMIT:
    case EXCHANGE_SWITCH:
    case EXCHANGE_CLOCK:
        return true;
    default:
        return false;
    }
}

int exchange_report_check(const void *payload, uint32_t payload_bytes)
{
    exchange_report head;
    if (payload_bytes < sizeof(head))
        return BATON_E_INVALID;
    memcpy(&head, payload, sizeof(head));
    const uint64_t count = baton_le32_get(head.items_count);
    const uint64_t item_bytes = head.items == EXCHANGE_REPORT_TRADES ? sizeof(exchange_trade)
                                : head.items == EXCHANGE_REPORT_GONE ? sizeof(exchange_gone)
                                                                     : 0;
    const bool fits = payload_bytes == sizeof(head) + count * item_bytes;
    return fits && head.items <= EXCHANGE_REPORT_GONE && (item_bytes != 0 || count == 0)
               ? 0
               : BATON_E_INVALID;
}
