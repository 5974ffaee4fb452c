#include "examples/exchange/risk-engine/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <baton/log.h>

#include "examples/exchange/risk-engine/mirror_feed.h"
#include "examples/exchange/risk-engine/reconcile.h"
#include "examples/exchange/wire/engine_loop.h"
#include "examples/exchange/wire/service.h"

enum {
    OPTION_LISTEN,
    OPTION_FEED,
    OPTION_ORDERS,
    OPTION_MATCHING,
    OPTION_PORT_FILE,
    OPTION_MIRROR_BEHIND_MAX,
    OPTIONS
};
enum { TICK_INTERVAL_NS = 10000000 };
typedef enum { ROLE_RISK, ROLE_FEED, ROLES } server_role;
typedef enum { INLET_ORDERS, INLET_MATCHING, INLETS } server_inlet;

struct server {
    wire_service wire; /* first: wire/service.h */
    baton_engine *engine;
    inlet inlets[INLETS];
    mirror_feed mirror;
    uint64_t anomalies; /* of the last reconciliation */
    uint64_t known;     /* of what is kept, at the last tick */
    baton_metric *anomalies_metric;
};

static const baton_service_option options[OPTIONS] = {
    [OPTION_LISTEN] = {"listen", "tcp:127.0.0.1:7461",
                       "accounts: unix:PATH or tcp:HOST:PORT, port 0 picks one"},
    [OPTION_FEED] =
        {"feed", "tcp:127.0.0.1:7462",
         "commands for the matching engine, refusals for the order service, as --listen"},
    [OPTION_ORDERS] = {"orders", "", "the order service's feed; empty: none"},
    [OPTION_MATCHING] = {"matching", "", "the matching engine's feed; empty: none"},
    [OPTION_PORT_FILE] = {"port-file", "",
                          "write the actual addresses here, one a line: accounts, feed"},
    [OPTION_MIRROR_BEHIND_MAX] =
        {"mirror-behind-max", "200000",
         "entries; a risk-mirror that is further behind is let go of rather than fill the outbox; "
         "0: never"},
};

/* ---- questions ---- */

/* What follows an exchange_account_state: all of a client's. */
typedef struct {
    uint8_t bytes[RISK_ASSETS_MAX * sizeof(exchange_balance) +
                  RISK_SYMBOLS_MAX * sizeof(exchange_exposure)];
    uint32_t bytes_count;
} account_items;

static void add_item(account_items *items, const void *item, size_t bytes)
{
    memcpy(items->bytes + items->bytes_count, item, bytes);
    items->bytes_count += (uint32_t)bytes;
}

static uint32_t add_balances(const risk_engine *state, uint64_t client_id, account_items *items)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < state->assets_count; i++) {
        ledger_balance found;
        const uint32_t asset_id = state->assets[i].asset_id;
        if (!ledger_find(state->ledger, (ledger_account){client_id, asset_id}, &found))
            continue;
        const exchange_balance balance = {.asset = baton_le32_put(asset_id),
                                          .available = baton_le64_put(found.available),
                                          .held = baton_le64_put(found.held)};
        add_item(items, &balance, sizeof(balance));
        count++;
    }
    return count;
}

static uint32_t add_exposures(const risk_engine *state, uint64_t client_id, account_items *items)
{
    uint32_t count = 0;
    for (uint32_t symbol = 0; symbol < state->pairs_count; symbol++) {
        const exposure *found = exposures_find(state->exposures, client_id, symbol);
        if (found == NULL)
            continue;
        const exchange_exposure one = {.symbol = baton_le32_put(symbol),
                                       .position = baton_le64_put((uint64_t)found->position),
                                       .cash = baton_le64_put((uint64_t)found->cash),
                                       .open_buy = baton_le64_put(found->open[BOOK_BUY]),
                                       .open_sell = baton_le64_put(found->open[BOOK_SELL]),
                                       .position_max = baton_le64_put(found->position_max),
                                       .size_max = baton_le64_put(found->size_max)};
        add_item(items, &one, sizeof(one));
        count++;
    }
    return count;
}

static void answer_account(server *own, door_place *place, uint64_t client_id)
{
    const risk_engine *state = baton_engine_state(own->engine);
    const exposure *client = exposures_find(state->exposures, client_id, EXPOSURE_CLIENT);
    account_items items = {.bytes_count = 0};
    exchange_account_state head = {.client_id = baton_le64_put(client_id),
                                   .killed = client != NULL && client->killed,
                                   .all_killed = state->killed != 0};
    head.balances_count = baton_le32_put(add_balances(state, client_id, &items));
    head.exposures_count = baton_le32_put(add_exposures(state, client_id, &items));
    connection_queue(&place->stream, EXCHANGE_ACCOUNT_STATE, &head, sizeof(head), items.bytes,
                     items.bytes_count);
}

static void note_anomalies(server *own, uint64_t anomalies)
{
    own->anomalies = anomalies;
    baton_metric_set(own->anomalies_metric, (double)anomalies);
    if (anomalies > 0)
        baton_log(ERROR, "risk_engine.reconciliation_anomaly",
                  BATON_LOG_NUMBER("anomalies", anomalies),
                  BATON_LOG_NUMBER("seq", baton_engine_applied_seq(own->engine)));
}

static void answer_reconcile(server *own, door_place *place)
{
    const risk_engine *state = baton_engine_state(own->engine);
    note_anomalies(own, reconcile_full(state));
    if (own->anomalies == 0)
        baton_log(INFO, "risk_engine.reconciled",
                  BATON_LOG_NUMBER("seq", baton_engine_applied_seq(own->engine)),
                  BATON_LOG_NUMBER("accounts", ledger_accounts_count(state->ledger)),
                  BATON_LOG_NUMBER("orders", holds_count(state->holds)));
    const exchange_reconciled answer = {
        .seq = baton_le64_put(baton_engine_applied_seq(own->engine)),
        .anomalies = baton_le64_put(own->anomalies),
        .accounts_count = baton_le64_put(ledger_accounts_count(state->ledger)),
        .orders_count = baton_le64_put(holds_count(state->holds))};
    connection_queue(&place->stream, EXCHANGE_RECONCILED, &answer, sizeof(answer), NULL, 0);
}

static bool take_question(void *owner, door_place *place, uint16_t type, const void *body,
                          uint32_t body_bytes)
{
    server *own = owner;
    exchange_account about;
    if (type == EXCHANGE_ACCOUNT && body_bytes == sizeof(about)) {
        memcpy(&about, body, sizeof(about));
        answer_account(own, place, baton_le64_get(about.client_id));
    } else if (type == EXCHANGE_RECONCILE && body_bytes == 0) {
        answer_reconcile(own, place);
    } else {
        door_refuse(place, BATON_E_UNKNOWN_TYPE,
                    "ACCOUNT and RECONCILE are answered here; commands go to the order service");
    }
    return true;
}

/* ---- the feed ---- */

/* risk-mirror asks for pages of all exposures. What there is no room for now is forgotten: it asks again. To keep it
 * waiting would keep what it confirms behind it waiting, too, and only that makes room in its outbox. */
static bool take_feed(void *owner, door_place *place, uint16_t type, const void *body,
                      uint32_t body_bytes)
{
    server *own = owner;
    exchange_key key;
    if (type == EXCHANGE_CONFIRM && place->consumer == EXCHANGE_RISK_MIRROR &&
        body_bytes == sizeof(key)) {
        memcpy(&key, body, sizeof(key));
        const bool taken = wire_take_feed(owner, place, type, body, body_bytes);
        if (taken && !place->stream.closing)
            mirror_feed_confirmed(&own->mirror, &key);
        return taken;
    }
    if (type != EXCHANGE_RESYNC || place->consumer != EXCHANGE_RISK_MIRROR ||
        body_bytes != sizeof(exchange_resync))
        return wire_take_feed(owner, place, type, body, body_bytes);
    int r = baton_engine_submit(own->engine, type, body, body_bytes, NULL);
    if (r < 0)
        baton_log(WARN, "risk_engine.no_page", BATON_LOG_TEXT("why", baton_status_text(r)));
    return true;
}

static uint32_t feed_consumers(const server *own)
{
    const risk_engine *state = baton_engine_state(own->engine);
    const uint32_t mirror = state->mirrored ? UINT32_C(1) << EXCHANGE_RISK_MIRROR : 0;
    return UINT32_C(1) << EXCHANGE_MATCHING_ENGINE | UINT32_C(1) << EXCHANGE_ORDER_SERVICE | mirror;
}

/* ---- the program ---- */

static const door_role roles[ROLES] = {
    [ROLE_RISK] = {.name = "risk",
                   .out_bytes_max = CONNECTION_OUT_BYTES_MAX,
                   .take = take_question},
    [ROLE_FEED] = {.name = "feed",
                   .out_bytes_max = FEED_OUT_BYTES_MAX,
                   .take = take_feed,
                   .has_room = wire_feed_has_room},
};

/* Makes a turn come soon, whatever the sockets do: a link that is down needs it. And money that appears or
 * disappears is seen soon, not only when somebody asks. */
static void on_tick(void *context)
{
    server *own = context;
    const uint64_t known = reconcile_kept(baton_engine_state(own->engine));
    door_tick(own->wire.door);
    mirror_feed_tick(&own->mirror);
    if (known > own->known)
        note_anomalies(own, known);
    own->known = known;
}

static inlet_verdict judge(const void *state, uint16_t source, const exchange_key *key)
{
    return inlet_judge(&((const risk_engine *)state)->sources, source, key);
}

static int check_command(uint16_t effect_type, const void *payload, uint32_t payload_bytes)
{
    return risk_engine_linked(EXCHANGE_ORDER_SERVICE, effect_type, payload, payload_bytes);
}

static int check_report(uint16_t effect_type, const void *payload, uint32_t payload_bytes)
{
    return risk_engine_linked(EXCHANGE_MATCHING_ENGINE, effect_type, payload, payload_bytes);
}

/* What is under way at a cut must be found in its producer's outbox: reports, whose producer makes its part of
 * the cut later. Commands that are confirmed meanwhile are in this part already. */
static bool holds_back(const void *state, uint16_t source)
{
    return source == EXCHANGE_MATCHING_ENGINE &&
           ((const risk_engine *)state)->barrier_under_way != 0;
}

static int start_inlets(server *own, const char *const *values)
{
    inlet_options wish = {.name = "order-service",
                          .address = values[OPTION_ORDERS],
                          .source = EXCHANGE_ORDER_SERVICE,
                          .consumer = EXCHANGE_RISK_ENGINE,
                          .judge = judge,
                          .check = check_command,
                          .holds = holds_back,
                          .owner = own};
    int r = wire_start_inlet(&own->wire, &own->inlets[INLET_ORDERS], &wish, own->engine);
    wish.name = "matching-engine";
    wish.address = values[OPTION_MATCHING];
    wish.source = EXCHANGE_MATCHING_ENGINE;
    wish.check = check_report;
    wish.unhurried = true;
    return r < 0 ? r
                 : wire_start_inlet(&own->wire, &own->inlets[INLET_MATCHING], &wish, own->engine);
}

static int start_mirror(server *own, const char *text, baton_error *error)
{
    char *end;
    errno = 0;
    const unsigned long entries = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || text[0] < '0' || text[0] > '9')
        return baton_error_setf(error, BATON_E_INVALID, "--mirror-behind-max",
                                "give a whole number", "'%s' is none", text);
    const risk_engine *state = baton_engine_state(own->engine);
    return state->mirrored ? mirror_feed_start(&own->mirror, own->engine, entries) : 0;
}

static int start(void *context, baton_engine *engine, const char *const *values, baton_error *error)
{
    server *own = context;
    const char *const addresses[ROLES] = {values[OPTION_LISTEN], values[OPTION_FEED]};
    const door_start_options doors = {.loop = engine_loop(engine),
                                      .epoch = baton_engine_epoch(engine),
                                      .addresses = addresses,
                                      .port_file = values[OPTION_PORT_FILE]};
    own->engine = engine;
    int r =
        baton_metrics_gauge(baton_engine_metrics(engine), "exchange_reconciliation_anomalies", NULL,
                            "Units that are not where they must be: 0.", &own->anomalies_metric);
    if (r == 0)
        r = start_mirror(own, values[OPTION_MIRROR_BEHIND_MAX], error);
    if (r == 0)
        r = start_inlets(own, values);
    if (r == 0)
        r = door_start(own->wire.door, &doors, error);
    if (r < 0)
        return r;
    feed_start(&own->wire.feed, own->wire.door, engine, feed_consumers(own));
    note_anomalies(own, reconcile_full(baton_engine_state(engine)));
    own->known = reconcile_kept(baton_engine_state(engine));
    baton_engine_tick_every(engine, TICK_INTERVAL_NS, on_tick, own);
    baton_log(INFO, "risk_engine.listening",
              BATON_LOG_TEXT("accounts", door_address(own->wire.door, ROLE_RISK)),
              BATON_LOG_TEXT("feed", door_address(own->wire.door, ROLE_FEED)));
    return 0;
}

static void release(void *context, const baton_effect *effect)
{
    server *own = context;
    if (effect->consumer == EXCHANGE_RISK_MIRROR)
        mirror_feed_told(&own->mirror, effect);
    feed_release(&own->wire.feed, effect); /* all have a consumer */
}

int server_create(server **ret_server)
{
    door_options doors = {
        .version = risk_engine_service.version, .roles = roles, .roles_count = ROLES};
    *ret_server = wire_service_create(sizeof(server), &doors);
    return *ret_server == NULL ? -ENOMEM : 0;
}

void server_destroy(server *own)
{
    wire_service_destroy(own);
}

const baton_program server_program = {
    .options = options,
    .options_count = OPTIONS,
    .start = start,
    .release = release,
    WIRE_PROGRAM,
};
