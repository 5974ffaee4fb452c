/* tests/sim/model.c: see model.h. */
#include "tests/sim/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/sim_random.h"

void model_init(sim_model *model)
{
    memset(model, 0, sizeof(*model));
}

void model_fini(sim_model *model)
{
    free(model->items);
    free(model->gone);
    model->items = model->gone = NULL;
}

/* ---- payloads ---- */

static void fill(uint8_t *to, uint32_t bytes, uint64_t nonce)
{
    sim_random random = {.state = nonce};
    uint32_t at = 0;
    for (; at + 8 <= bytes; at += 8) {
        const uint64_t number = sim_random_next(&random);
        memcpy(to + at, &number, 8);
    }
    const uint64_t rest = sim_random_next(&random);
    memcpy(to + at, &rest, bytes - at);
}

static uint32_t record_bytes(baton_record_kind kind)
{
    switch (kind) {
    case BATON_RECORD_CHECKPOINT:
        return sizeof(baton_checkpoint_wire);
    case BATON_RECORD_ROOT:
    case BATON_RECORD_ROOT_GONE:
        return sizeof(baton_root_wire);
    case BATON_RECORD_CONFIRM:
        return sizeof(baton_confirm_wire);
    case BATON_RECORD_HANDOVER:
        return sizeof(baton_handover_wire);
    case BATON_RECORD_FINALIZE:
        return sizeof(baton_finalize_wire);
    }
    return 0;
}

static void make_payload(sim_model *model, const model_item *item)
{
    fill(model->payload, item->bytes, item->nonce);
    if (!item->is_record)
        return;
    if (item->type == BATON_RECORD_CHECKPOINT)
        memset(((baton_checkpoint_wire *)(void *)model->payload)->zero, 0, 4);
    if (item->type == BATON_RECORD_HANDOVER)
        memset(((baton_handover_wire *)(void *)model->payload)->zero, 0, 4);
    if (item->type == BATON_RECORD_FINALIZE)
        memset(((baton_finalize_wire *)(void *)model->payload)->zero, 0, 4);
}

model_item model_next_entry(sim_model *model, uint32_t bytes)
{
    const uint64_t nonce = ++model->nonces;
    const model_item item = {.nonce = nonce,
                             .seq = model_last_seq(model) + 1,
                             .carries = model->acked,
                             .bytes = bytes,
                             .type = (uint16_t)(nonce * 7919)};
    make_payload(model, &item);
    return item;
}

model_item model_next_record(sim_model *model, baton_record_kind kind, uint64_t last_seq)
{
    const model_item item = {.nonce = ++model->nonces,
                             .seq = last_seq,
                             .carries = model->acked,
                             .bytes = record_bytes(kind),
                             .type = (uint16_t)kind,
                             .is_record = true};
    make_payload(model, &item);
    return item;
}

static void push(model_item **items, uint64_t *count, uint64_t *room, const model_item *item)
{
    if (*count == *room) {
        *room = *room == 0 ? 256 : 2 * *room;
        *items = realloc(*items, *room * sizeof(**items));
        baton_assert(*items != NULL);
    }
    (*items)[(*count)++] = *item;
}

void model_take(sim_model *model, const model_item *item)
{
    push(&model->items, &model->count, &model->room, item);
}

/* ---- how far ---- */

uint64_t model_last_seq(const sim_model *model)
{
    return model->count == 0 ? 0 : model->items[model->count - 1].seq;
}

static void prove(sim_model *model, uint64_t count)
{
    model->proven = count;
    model->proven_seq = count == 0 ? 0 : model->items[count - 1].seq;
}

static void acknowledge(sim_model *model, uint64_t count)
{
    for (; model->acked < count; model->acked++) {
        const model_item *item = &model->items[model->acked];
        if (item->carries > model->proven)
            prove(model, item->carries);
        model->acked_seq = item->seq;
    }
}

bool model_acknowledge(sim_model *model, uint64_t seq)
{
    if (seq < model->acked_seq || seq > model_last_seq(model))
        return false;
    uint64_t count = model->acked;
    while (model->acked_seq < seq && model->items[count++].seq < seq)
        continue;
    acknowledge(model, count);
    return true;
}

void model_acknowledge_all(sim_model *model)
{
    acknowledge(model, model->count);
}

void model_prove(sim_model *model)
{
    prove(model, model->acked);
}

void model_cut(sim_model *model, uint64_t count)
{
    for (uint64_t at = count; at < model->count; at++)
        push(&model->gone, &model->gone_count, &model->gone_room, &model->items[at]);
    model->count = count;
    if (model->acked > count)
        model->acked = count;
    model->acked_seq = model->acked == 0 ? 0 : model->items[model->acked - 1].seq;
    model_acknowledge_all(model);
    model_prove(model);
    if (model->keep_from > model->acked_seq + 1)
        model->keep_from = model->acked_seq + 1;
}

/* ---- looking ---- */

static bool item_is(sim_model *model, const model_item *item, const baton_entry *entry)
{
    if (item->is_record != entry->is_record || item->seq != entry->seq ||
        item->type != entry->type || item->bytes != entry->payload_bytes)
        return false;
    if (!item->is_record && item->time_ns != entry->time_ns)
        return false;
    make_payload(model, item);
    return memcmp(model->payload, entry->payload, item->bytes) == 0;
}

bool model_matches(sim_model *model, uint64_t at, const baton_entry *entry)
{
    return at < model->count && item_is(model, &model->items[at], entry);
}

bool model_was_cut(sim_model *model, const baton_entry *entry)
{
    for (uint64_t at = 0; at < model->gone_count; at++) {
        if (item_is(model, &model->gone[at], entry))
            return true;
    }
    return false;
}

uint64_t model_find(sim_model *model, const baton_entry *entry)
{
    uint64_t from = 0; /* the first item with this seq */
    uint64_t to = model->count;
    while (from < to) {
        const uint64_t middle = from + (to - from) / 2;
        if (model->items[middle].seq < entry->seq)
            from = middle + 1;
        else
            to = middle;
    }
    for (uint64_t at = from; at < model->count && model->items[at].seq == entry->seq; at++) {
        if (model_matches(model, at, entry))
            return at;
    }
    return UINT64_MAX;
}

void model_facts(sim_model *model, uint64_t count, baton_facts *ret_facts)
{
    memset(ret_facts, 0, sizeof(*ret_facts));
    for (uint64_t at = 0; at < count; at++) {
        const model_item *item = &model->items[at];
        if (!item->is_record)
            continue;
        make_payload(model, item);
        baton_facts_apply(ret_facts, item->type, model->payload, item->bytes);
    }
}
