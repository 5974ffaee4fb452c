#include "examples/exchange/clients/clients.h"

#include <errno.h>
#include <string.h>

#include "examples/exchange/book/memory.h"

typedef struct {
    uint64_t client_id;
    uint64_t highest_seq;
    uint64_t volume;
    uint32_t oldest; /* index of the oldest outcome in the ring */
    uint32_t count;
    client_outcome outcomes[EXCHANGE_OUTCOMES_KEPT];
} client;

struct clients {
    baton_arena *arena; /* NULL: on the heap */
    uint32_t count;
    uint32_t max;
    uint32_t slots_mask;
    uint32_t *slots; /* open addressing: index into list plus 1; 0 is empty. Clients never leave. */
    client *list;
    baton_digest digest;
    baton_digest volumes;
    uint64_t pending; /* outcomes EXCHANGE_PENDING: the digest has them */
};

static const baton_layout_field outcome_fields[] = {
    BATON_FIELD(client_outcome, client_seq), BATON_FIELD(client_outcome, seq),
    BATON_FIELD(client_outcome, filled),     BATON_FIELD(client_outcome, remaining),
    BATON_FIELD(client_outcome, outcome),    BATON_FIELD(client_outcome, of_type),
};
static const baton_layout_type outcome_layout = BATON_LAYOUT_TYPE(client_outcome, outcome_fields);

static const baton_layout_field client_fields[] = {
    BATON_FIELD(client, client_id), BATON_FIELD(client, highest_seq),
    BATON_FIELD(client, volume),    BATON_FIELD(client, oldest),
    BATON_FIELD(client, count),     BATON_STRUCT(client, outcomes, outcome_layout),
};
const baton_layout_type client_layout = BATON_LAYOUT_TYPE(client, client_fields);

static const baton_layout_field clients_fields[] = {
    BATON_POINTER(clients, arena, baton_arena),
    BATON_FIELD(clients, count),
    BATON_FIELD(clients, max),
    BATON_FIELD(clients, slots_mask),
    BATON_POINTER(clients, slots, uint32_t),
    BATON_POINTER(clients, list, client),
    BATON_OPAQUE(clients, digest),
    BATON_OPAQUE(clients, volumes),
    BATON_FIELD(clients, pending),
};
const baton_layout_type clients_layout = BATON_LAYOUT_TYPE(clients, clients_fields);

/* What goes into the digests, in one layout for ever. */
typedef struct {
    baton_le64 client_id;
    baton_le64 client_seq;
    baton_le64 seq;
    baton_le64 filled;
    baton_le64 remaining;
    baton_le16 outcome;
    baton_le16 of_type;
    uint8_t zero[4];
} digest_item;

int clients_create(const clients_options *options, clients **ret_clients)
{
    const uint32_t clients_max = options->clients_max;
    if (clients_max == 0 || clients_max > EXCHANGE_CLIENT_ID_MAX)
        return BATON_E_INVALID;
    uint32_t slots = 2;
    while (slots < 2 * clients_max)
        slots *= 2;
    clients *table = memory_new(options->arena, &clients_layout, 1);
    if (!table)
        return -ENOMEM;
    table->arena = options->arena;
    table->max = clients_max;
    table->slots_mask = slots - 1;
    table->slots = memory_numbers(table->arena, slots);
    table->list = memory_new(table->arena, &client_layout, clients_max);
    if (!table->slots || !table->list) {
        clients_destroy(table);
        return -ENOMEM;
    }
    *ret_clients = table;
    return 0;
}

void clients_destroy(clients *table)
{
    if (!table)
        return;
    baton_arena *arena = table->arena;
    memory_free(arena, table->slots);
    memory_free(arena, table->list);
    memory_free(arena, table);
}

/* The slot that holds the client, or the empty one where it belongs. At most half of the slots
 * are used. */
static uint32_t slot_of(const clients *table, uint64_t client_id)
{
    uint64_t hash = client_id * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t slot = (uint32_t)(hash >> 32) & table->slots_mask;
    while (table->slots[slot] != 0 && table->list[table->slots[slot] - 1].client_id != client_id)
        slot = (slot + 1) & table->slots_mask;
    return slot;
}

static client *find(const clients *table, uint64_t client_id)
{
    uint32_t index = table->slots[slot_of(table, client_id)];
    return index == 0 ? NULL : &table->list[index - 1];
}

client_verdict clients_judge(const clients *table, uint64_t client_id, uint64_t client_seq,
                             client_outcome *ret_outcome)
{
    const client *known = find(table, client_id);
    if (!known)
        return table->count < table->max ? CLIENT_NEW_COMMAND : CLIENT_NO_ROOM;
    if (client_seq > known->highest_seq)
        return CLIENT_NEW_COMMAND;
    for (uint32_t i = 0; i < known->count; i++) {
        if (known->outcomes[i].client_seq != client_seq)
            continue;
        if (ret_outcome)
            *ret_outcome = known->outcomes[i];
        return CLIENT_SENT_BEFORE;
    }
    return CLIENT_TOO_OLD;
}

static digest_item outcome_item(uint64_t client_id, const client_outcome *outcome)
{
    return (digest_item){.client_id = baton_le64_put(client_id),
                         .client_seq = baton_le64_put(outcome->client_seq),
                         .seq = baton_le64_put(outcome->seq),
                         .filled = baton_le64_put(outcome->filled),
                         .remaining = baton_le64_put(outcome->remaining),
                         .outcome = baton_le16_put(outcome->outcome),
                         .of_type = baton_le16_put(outcome->of_type)};
}

static client *insert(clients *table, uint64_t client_id)
{
    if (table->count == table->max)
        return NULL;
    client *made = &table->list[table->count++];
    made->client_id = client_id;
    table->slots[slot_of(table, client_id)] = table->count;
    return made;
}

bool clients_remember(clients *table, uint64_t client_id, const client_outcome *outcome)
{
    client *known = find(table, client_id);
    if (known && outcome->client_seq <= known->highest_seq)
        return false;
    if (!known)
        known = insert(table, client_id);
    if (!known)
        return false;

    client_outcome *place =
        &known->outcomes[(known->oldest + known->count) % EXCHANGE_OUTCOMES_KEPT];
    if (known->count < EXCHANGE_OUTCOMES_KEPT) {
        known->count++;
    } else {
        digest_item forgotten = outcome_item(client_id, place);
        baton_digest_remove(&table->digest, &forgotten, sizeof(forgotten));
        table->pending -= place->outcome == EXCHANGE_PENDING;
        known->oldest = (known->oldest + 1) % EXCHANGE_OUTCOMES_KEPT;
    }
    *place = *outcome;
    table->pending += outcome->outcome == EXCHANGE_PENDING;
    known->highest_seq =
        outcome->client_seq; /* the newest kept outcome: needs no digest of its own */
    digest_item item = outcome_item(client_id, outcome);
    baton_digest_add(&table->digest, &item, sizeof(item));
    return true;
}

bool clients_have_room(const clients *table, uint64_t client_id)
{
    const client *known = find(table, client_id);
    return !known || known->count < EXCHANGE_OUTCOMES_KEPT ||
           known->outcomes[known->oldest].outcome != EXCHANGE_PENDING;
}

bool clients_answer(clients *table, uint64_t client_id, uint64_t client_seq,
                    const client_outcome *answer)
{
    client *known = find(table, client_id);
    uint32_t i = 0;
    while (known && i < known->count && known->outcomes[i].client_seq != client_seq)
        i++;
    if (!known || i == known->count || known->outcomes[i].outcome != EXCHANGE_PENDING)
        return false;
    client_outcome *place = &known->outcomes[i];
    digest_item item = outcome_item(client_id, place);
    baton_digest_remove(&table->digest, &item, sizeof(item));
    place->filled = answer->filled;
    place->remaining = answer->remaining;
    place->outcome = answer->outcome;
    item = outcome_item(client_id, place);
    baton_digest_add(&table->digest, &item, sizeof(item));
    table->pending -= answer->outcome != EXCHANGE_PENDING;
    return true;
}

uint64_t clients_pending(const clients *table)
{
    return table->pending;
}

void clients_prepare(const clients *table, uint64_t client_id)
{
    const client *known = find(table, client_id);
    if (!known)
        return;
    __builtin_prefetch(&known->outcomes[(known->oldest + known->count) % EXCHANGE_OUTCOMES_KEPT],
                       1);
    __builtin_prefetch(&known->outcomes[known->oldest], 0);
}

uint64_t clients_highest_seq(const clients *table, uint64_t client_id)
{
    const client *known = find(table, client_id);
    return known ? known->highest_seq : 0;
}

void clients_add_volume(clients *table, uint64_t client_id, uint64_t size)
{
    client *known = find(table, client_id);
    if (!known || size == 0)
        return;
    baton_le64 item[2] = {baton_le64_put(client_id), baton_le64_put(known->volume)};
    if (known->volume != 0)
        baton_digest_remove(&table->volumes, item, sizeof(item));
    known->volume += size; /* modulo 2^64, as every digest of it */
    item[1] = baton_le64_put(known->volume);
    if (known->volume != 0)
        baton_digest_add(&table->volumes, item, sizeof(item));
}

uint64_t clients_volume(const clients *table, uint64_t client_id)
{
    const client *known = find(table, client_id);
    return known ? known->volume : 0;
}

baton_digest clients_digest(const clients *table)
{
    return table->digest;
}

baton_digest clients_volumes_digest(const clients *table)
{
    return table->volumes;
}

uint32_t clients_index(const clients *table, uint64_t client_id)
{
    const uint32_t index = table->slots[slot_of(table, client_id)];
    return index == 0 ? CLIENTS_NONE : index - 1;
}

uint32_t clients_count(const clients *table)
{
    return table->count;
}

uint64_t clients_id_at(const clients *table, uint32_t index)
{
    return table->list[index].client_id;
}

uint32_t clients_outcomes(const clients *table, uint32_t index,
                          client_outcome outcomes[EXCHANGE_OUTCOMES_KEPT])
{
    const client *known = &table->list[index];
    for (uint32_t i = 0; i < known->count; i++)
        outcomes[i] = known->outcomes[(known->oldest + i) % EXCHANGE_OUTCOMES_KEPT];
    return known->count;
}
