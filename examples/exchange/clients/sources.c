#include "examples/exchange/clients/sources.h"

static const baton_layout_field key_fields[] = {
    BATON_FIELD(source_key, epoch),
    BATON_FIELD(source_key, seq),
    BATON_FIELD(source_key, index),
};
static const baton_layout_type key_layout = BATON_LAYOUT_TYPE(source_key, key_fields);

static const baton_layout_field sources_fields[] = {
    BATON_STRUCT(sources, highest, key_layout),
};
const baton_layout_type sources_layout = BATON_LAYOUT_TYPE(sources, sources_fields);

static source_key key_of(const exchange_key *wire)
{
    return (source_key){.epoch = baton_le64_get(wire->epoch),
                        .seq = baton_le64_get(wire->seq),
                        .index = baton_le32_get(wire->index)};
}

static bool is_after(const source_key *a, const source_key *b)
{
    return a->seq != b->seq ? a->seq > b->seq : a->index > b->index;
}

source_verdict sources_judge(const sources *own, uint16_t source, const exchange_key *key)
{
    if (source == 0 || source > SOURCES_MAX)
        return SOURCE_UNKNOWN;
    const source_key *highest = &own->highest[source - 1];
    const source_key said = key_of(key);
    if (said.seq == 0)
        return SOURCE_UNKNOWN;
    bool after = highest->seq == 0 || is_after(&said, highest);
    if (said.epoch > highest->epoch && !after)
        return SOURCE_WENT_BACK;
    if (said.epoch < highest->epoch && after)
        return SOURCE_WENT_BACK;
    return after ? SOURCE_NEW : SOURCE_KNOWN;
}

void sources_take(sources *own, uint16_t source, const exchange_key *key)
{
    own->highest[source - 1] = key_of(key);
}

baton_digest sources_digest(const sources *own)
{
    struct {
        baton_le64 seq;
        baton_le32 index;
        baton_le32 source;
    } items[SOURCES_MAX];
    for (uint32_t i = 0; i < SOURCES_MAX; i++) {
        items[i].seq = baton_le64_put(own->highest[i].seq);
        items[i].index = baton_le32_put(own->highest[i].index);
        items[i].source = baton_le32_put(i + 1);
    }
    return baton_digest_of(items, sizeof(items));
}

bool sources_row(const sources *own, uint32_t source, uint64_t fields[SOURCES_FIELDS])
{
    const source_key *highest = &own->highest[source - 1];
    fields[0] = source;
    fields[1] = highest->epoch;
    fields[2] = highest->seq;
    fields[3] = highest->index;
    return highest->seq != 0;
}

bool sources_restore(sources *own, const uint64_t fields[SOURCES_FIELDS])
{
    if (fields[0] == 0 || fields[0] > SOURCES_MAX || fields[2] == 0 || fields[3] > UINT32_MAX)
        return false;
    source_key *highest = &own->highest[fields[0] - 1];
    if (highest->seq != 0)
        return false;
    *highest = (source_key){.epoch = fields[1], .seq = fields[2], .index = (uint32_t)fields[3]};
    return true;
}
