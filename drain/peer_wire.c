/* drain/peer_wire.c: making and checking messages. Nothing here believes what came. */
#include "drain/peer_wire.h"

#include <stdio.h>
#include <string.h>

static const char *const message_what = "a message of the other instance";

const char *baton_peer_type_name(baton_peer_type type)
{
    switch (type) {
#define NAME(name, number, bytes)                                                                  \
    case BATON_PEER_##name:                                                                        \
        return #name;
        BATON_PEER_TYPES(NAME)
#undef NAME
    }
    return NULL;
}

static uint32_t fixed_bytes(uint16_t type)
{
    switch (type) {
#define BYTES(name, number, bytes)                                                                 \
    case number:                                                                                   \
        return (uint32_t)(bytes);
        BATON_PEER_TYPES(BYTES)
#undef BYTES
    }
    return 0;
}

static baton_digest digest_of(const baton_peer_header *header, const void *body, uint32_t bytes)
{
    baton_digest_stream stream;
    baton_digest_init(&stream);
    baton_digest_update(&stream, header, offsetof(baton_peer_header, digest));
    if (bytes > 0)
        baton_digest_update(&stream, body, bytes);
    return baton_digest_final(&stream);
}

static bool is_greeting(uint16_t type)
{
    return type == BATON_PEER_HELLO || type == BATON_PEER_WELCOME || type == BATON_PEER_REFUSE;
}

void baton_peer_seal(baton_peer_header *header, baton_peer_type type, const baton_peer_names *names,
                     uint32_t descriptors, const void *body, uint32_t body_bytes)
{
    const uint32_t spoken = names->protocol != 0 ? names->protocol : BATON_PEER_PROTOCOL_LOWEST;
    *header = (baton_peer_header){
        .version = baton_le16_put((uint16_t)(is_greeting(type) ? BATON_PEER_GREETING : spoken)),
        .type = baton_le16_put((uint16_t)type),
        .body_bytes = baton_le32_put(body_bytes),
        .try_number = baton_le64_put(names->try_number),
        .epoch = baton_le64_put(names->epoch),
        .descriptors = baton_le32_put(descriptors),
    };
    memcpy(header->magic, BATON_PEER_MAGIC, sizeof(header->magic));
    memcpy(header->journal_id, names->journal_id.bytes, sizeof(header->journal_id));
    memcpy(header->from, names->from, sizeof(header->from));
    memcpy(header->to, names->to, sizeof(header->to));
    const baton_digest digest = digest_of(header, body, body_bytes);
    memcpy(header->digest, digest.bytes, sizeof(header->digest));
}

static const char *const no_such_epoch = "it speaks of an epoch that no journal comes to";

static int refuse(baton_error *error, int status, const char *why)
{
    return baton_error_set(error, status, message_what, why,
                           "is it a Baton instance, of a version next to this one?");
}

static bool all_zero(const uint8_t *bytes, size_t count)
{
    uint8_t any = 0;
    for (size_t i = 0; i < count; i++)
        any |= bytes[i];
    return any == 0;
}

/* A greeting of a later protocol may have more behind what is known here. */
static bool length_fits(uint16_t type, uint32_t bytes)
{
    const uint32_t fixed = fixed_bytes(type);
    if (bytes % 8 != 0)
        return false;
    if (fixed != 0 || type == BATON_PEER_FETCH)
        return bytes == fixed;
    if (is_greeting(type))
        return bytes >= sizeof(baton_peer_hello) && bytes <= BATON_PEER_SHORT_BYTES_MAX;
    if (type == BATON_PEER_PIECE)
        return bytes >= sizeof(baton_peer_piece) &&
               bytes <= sizeof(baton_peer_piece) + BATON_PEER_PIECE_BYTES;
    if (type == BATON_PEER_CONNECTIONS)
        return bytes >= sizeof(baton_peer_connections) + sizeof(baton_peer_connection) &&
               bytes <= BATON_PEER_CONNECTIONS_BYTES_MAX;
    return bytes >= sizeof(baton_batch_header);
}

static bool protocol_fits(uint16_t type, uint16_t protocol)
{
    if (is_greeting(type))
        return protocol == BATON_PEER_GREETING;
    return protocol >= BATON_PEER_PROTOCOL_LOWEST && protocol <= BATON_PEER_PROTOCOL_HIGHEST;
}

int baton_peer_check_header(const baton_peer_header *header, baton_error *error)
{
    const uint16_t type = baton_le16_get(header->type);
    const uint16_t protocol = baton_le16_get(header->version);
    const uint32_t bytes = baton_le32_get(header->body_bytes);
    if (memcmp(header->magic, BATON_PEER_MAGIC, sizeof(header->magic)) != 0)
        return refuse(error, BATON_E_INVALID, "it does not speak the handover protocol");
    if (!protocol_fits(type, protocol))
        return baton_error_setf(error, BATON_E_NEWER_FORMAT, message_what,
                                "use versions that share one",
                                "it speaks handover protocol %u, this one speaks %u to %u",
                                protocol, BATON_PEER_PROTOCOL_LOWEST, BATON_PEER_PROTOCOL_HIGHEST);
    if (baton_peer_type_name((baton_peer_type)type) == NULL)
        return baton_error_setf(error, BATON_E_UNKNOWN_TYPE, message_what,
                                "use versions that share one", "type %u is unknown", type);
    if (bytes > BATON_PEER_BODY_BYTES_MAX)
        return refuse(error, BATON_E_TOO_LARGE, "it is longer than any message may be");
    if (!length_fits(type, bytes))
        return refuse(error, BATON_E_INVALID, "its length does not fit its type");
    const uint32_t descriptors = baton_le32_get(header->descriptors);
    const uint32_t descriptors_max = type == BATON_PEER_PREPARE       ? BATON_PEER_LISTENERS_MAX
                                     : type == BATON_PEER_CONNECTIONS ? BATON_PEER_CONNECTIONS_MAX
                                                                      : 0;
    if (descriptors > descriptors_max)
        return refuse(error, BATON_E_INVALID, "it brings descriptors that do not belong to it");
    if (!all_zero(header->zero, sizeof(header->zero)))
        return refuse(error, BATON_E_UNKNOWN_TYPE, "it has bits set that must be zero");
    if (baton_le64_get(header->epoch) > BATON_PEER_EPOCH_MAX)
        return refuse(error, BATON_E_INVALID, no_such_epoch);
    return 0;
}

static bool is_text(const uint8_t *text, size_t bytes, bool may_be_empty)
{
    const uint8_t *end = memchr(text, '\0', bytes);
    if (end == NULL || (end == text && !may_be_empty))
        return false;
    for (const uint8_t *c = text; c < end; c++)
        if (*c < 0x20 || *c == 0x7f)
            return false;
    return all_zero(end, bytes - (size_t)(end - text));
}

static bool refusal_fits(const baton_peer_refusal *body)
{
    return is_text(body->why, sizeof(body->why), false) &&
           is_text(body->todo, sizeof(body->todo), true) && all_zero(body->zero, 4);
}

static bool entry_types_fit(const baton_peer_hello *body)
{
    const uint32_t count = baton_le32_get(body->entry_types_count);
    const uint32_t listed = count < BATON_PEER_ENTRY_TYPES_MAX ? count : BATON_PEER_ENTRY_TYPES_MAX;
    for (uint32_t i = 0; i < listed; i++)
        if (!all_zero(body->entry_types[i].zero, 2))
            return false;
    return all_zero((const uint8_t *)(body->entry_types + listed),
                    (BATON_PEER_ENTRY_TYPES_MAX - listed) * sizeof(body->entry_types[0]));
}

/* Longer than what is known here may only be who speaks a later protocol, too. */
static bool hello_fits(const baton_peer_hello *body, uint32_t bytes)
{
    const uint32_t lowest = baton_le32_get(body->protocol_lowest);
    const uint32_t highest = baton_le32_get(body->protocol_highest);
    const bool is_later = highest > BATON_PEER_PROTOCOL_HIGHEST;
    return lowest >= 1 && lowest <= highest && highest <= UINT16_MAX &&
           (bytes == sizeof(*body) || is_later) && (entry_types_fit(body) || is_later) &&
           is_text(body->service, sizeof(body->service), false) &&
           is_text(body->version, sizeof(body->version), false) &&
           is_text(body->directory, sizeof(body->directory), false) && body->directory[0] == '/' &&
           is_text(body->address, sizeof(body->address), true) &&
           baton_le32_get(body->is_active) <= 2 &&
           is_text(body->at.host, sizeof(body->at.host), true);
}

static bool piece_fits(const baton_peer_piece *body, uint32_t bytes)
{
    const uint32_t held = baton_le32_get(body->bytes);
    const uint32_t padded = bytes - (uint32_t)sizeof(*body);
    return held >= 1 && held <= padded && padded - held < 8 &&
           baton_le32_get(body->of_manifest) <= 1 &&
           baton_le64_get(body->offset) <= INT64_MAX - BATON_PEER_PIECE_BYTES &&
           all_zero((const uint8_t *)(body + 1) + held, padded - held);
}

static bool start_fits(const baton_peer_start *body)
{
    const uint32_t roots = baton_le32_get(body->roots_count);
    return is_text(body->service, sizeof(body->service), false) &&
           roots <= BATON_SEGMENT_ROOTS_MAX && all_zero(body->handover.zero, 4) &&
           all_zero((const uint8_t *)(body->roots + roots),
                    (BATON_SEGMENT_ROOTS_MAX - roots) * sizeof(body->roots[0]));
}

static bool prepare_fits(const baton_peer_prepare *body, uint32_t descriptors)
{
    const uint32_t count = baton_le32_get(body->listeners_count);
    if (count > BATON_PEER_LISTENERS_MAX || count != descriptors ||
        baton_le32_get(body->by_snapshot) > 1 || !all_zero(body->zero, sizeof(body->zero)))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!is_text(body->listeners[i].name, sizeof(body->listeners[i].name), false))
            return false;
    return all_zero((const uint8_t *)(body->listeners + count),
                    (BATON_PEER_LISTENERS_MAX - count) * sizeof(body->listeners[0]));
}

/* The sum of at most 250 numbers below 2^22 is no overflow. */
static bool connections_fit(const baton_peer_connections *body, uint32_t bytes,
                            uint32_t descriptors)
{
    const baton_peer_connection *list = (const baton_peer_connection *)(body + 1);
    const uint32_t count = baton_le32_get(body->count);
    uint32_t at = (uint32_t)sizeof(*body) + count * (uint32_t)sizeof(*list);
    if (count == 0 || count > BATON_PEER_CONNECTIONS_MAX || count != descriptors || at > bytes ||
        !all_zero(body->zero, sizeof(body->zero)))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t lengths[] = {baton_le32_get(list[i].received_bytes),
                                    baton_le32_get(list[i].unsent_bytes),
                                    baton_le32_get(list[i].notes_bytes)};
        uint32_t sum = 0;
        for (uint32_t k = 0; k < 3; k++) {
            if (lengths[k] > BATON_CONNECTION_BYTES_MAX)
                return false;
            sum += lengths[k];
        }
        at += sum;
        if (sum > BATON_CONNECTION_BYTES_MAX ||
            !is_text(list[i].name, sizeof(list[i].name), false) ||
            !all_zero(list[i].zero, sizeof(list[i].zero)))
            return false;
    }
    return at <= bytes && bytes - at < 8 && all_zero((const uint8_t *)body + at, bytes - at);
}

static bool body_fits(const baton_peer_header *header, const void *body)
{
    const uint32_t bytes = baton_le32_get(header->body_bytes);
    switch ((baton_peer_type)baton_le16_get(header->type)) {
    case BATON_PEER_HELLO:
    case BATON_PEER_WELCOME:
        return hello_fits(body, bytes);
    case BATON_PEER_REFUSE:
    case BATON_PEER_ABORT:
        return refusal_fits(body);
    case BATON_PEER_PIECE:
        return piece_fits(body, bytes);
    case BATON_PEER_START:
        return start_fits(body);
    case BATON_PEER_PREPARE:
        return prepare_fits(body, baton_le32_get(header->descriptors));
    case BATON_PEER_CONNECTIONS:
        return connections_fit(body, bytes, baton_le32_get(header->descriptors));
    case BATON_PEER_FINAL:
    case BATON_PEER_ANSWER:
        return all_zero(((const baton_peer_point *)body)->zero, 4);
    case BATON_PEER_BATCH: /* the journal checks what is in it */
    case BATON_PEER_SNAPSHOT:
    case BATON_PEER_FOLLOW:
    case BATON_PEER_ACK:
    case BATON_PEER_READY:
    case BATON_PEER_GRANT:
    case BATON_PEER_TAKEN:
    case BATON_PEER_AUTHORITY:
    case BATON_PEER_FETCH:
        return true;
    }
    return false;
}

/* Those that a next term's number is made of (R6, R7, R12). */
static bool epochs_fit(const baton_peer_header *header, const void *body)
{
    const uint16_t type = baton_le16_get(header->type);
    const baton_peer_hello *hello = body;
    if (is_greeting(type))
        return baton_le64_get(hello->highest_name) <= BATON_PEER_EPOCH_MAX &&
               baton_le64_get(hello->at.highest_header) <= BATON_PEER_EPOCH_MAX;
    if (type == BATON_PEER_AUTHORITY)
        return baton_le64_get(((const baton_peer_ack *)body)->position.epoch) <=
               BATON_PEER_EPOCH_MAX;
    return type != BATON_PEER_BATCH ||
           baton_le64_get(((const baton_batch_header *)body)->epoch) <= BATON_PEER_EPOCH_MAX;
}

int baton_peer_check(const baton_peer_header *header, const void *body, baton_error *error)
{
    int r = baton_peer_check_header(header, error);
    if (r < 0)
        return r;
    const baton_digest digest = digest_of(header, body, baton_le32_get(header->body_bytes));
    if (memcmp(digest.bytes, header->digest, sizeof(header->digest)) != 0)
        return refuse(error, BATON_E_DAMAGED, "its digest does not fit: it was changed on its way");
    if (!body_fits(header, body))
        return refuse(error, BATON_E_INVALID, "a field of it is out of its range");
    if (!epochs_fit(header, body))
        return refuse(error, BATON_E_INVALID, no_such_epoch);
    return 0;
}

/* ---- wire types ---- */

baton_position_wire baton_peer_position_put(baton_position position)
{
    return (baton_position_wire){baton_le64_put(position.epoch), baton_le64_put(position.batch),
                                 baton_le64_put(position.seq)};
}

baton_position baton_peer_position_get(baton_position_wire wire)
{
    return (baton_position){.epoch = baton_le64_get(wire.epoch),
                            .batch = baton_le64_get(wire.batch),
                            .seq = baton_le64_get(wire.seq)};
}

baton_peer_point baton_peer_point_put(const baton_engine_point *point)
{
    baton_peer_point wire = {
        .seq = baton_le64_put(point->seq),
        .position = baton_peer_position_put(point->position),
        .schema = baton_le32_put(point->schema),
        .durable = baton_peer_position_put(point->durable),
    };
    memcpy(wire.chain, point->chain.bytes, sizeof(wire.chain));
    memcpy(wire.state, point->state.bytes, sizeof(wire.state));
    memcpy(wire.effects, point->effects.bytes, sizeof(wire.effects));
    return wire;
}

baton_engine_point baton_peer_point_get(const baton_peer_point *wire)
{
    baton_engine_point point = {
        .seq = baton_le64_get(wire->seq),
        .position = baton_peer_position_get(wire->position),
        .schema = baton_le32_get(wire->schema),
        .durable = baton_peer_position_get(wire->durable),
    };
    memcpy(point.chain.bytes, wire->chain, sizeof(wire->chain));
    memcpy(point.state.bytes, wire->state, sizeof(wire->state));
    memcpy(point.effects.bytes, wire->effects, sizeof(wire->effects));
    return point;
}

baton_peer_start baton_peer_start_put(const baton_follow_start *start)
{
    baton_peer_start wire = {
        .before = baton_peer_position_put(start->before),
        .last_time_ns = baton_le64_put(start->last_time_ns),
        .finalized_schema = baton_le32_put(start->facts.finalized_schema),
        .roots_count = baton_le32_put(start->facts.roots_count),
        .handover = start->facts.handover,
    };
    snprintf((char *)wire.service, sizeof(wire.service), "%s", start->service);
    memcpy(wire.before_digest, start->before_digest.bytes, sizeof(wire.before_digest));
    memcpy(wire.roots, start->facts.roots, start->facts.roots_count * sizeof(wire.roots[0]));
    return wire;
}

/* The journal's id is in every header: the caller puts it in. */
baton_follow_start baton_peer_start_get(const baton_peer_start *wire)
{
    baton_follow_start start = {
        .before = baton_peer_position_get(wire->before),
        .last_time_ns = baton_le64_get(wire->last_time_ns),
        .facts = {.finalized_schema = baton_le32_get(wire->finalized_schema),
                  .roots_count = baton_le32_get(wire->roots_count),
                  .handover = wire->handover},
    };
    snprintf(start.service, sizeof(start.service), "%s", (const char *)wire->service);
    memcpy(start.before_digest.bytes, wire->before_digest, sizeof(wire->before_digest));
    memcpy(start.facts.roots, wire->roots, sizeof(wire->roots));
    return start;
}

/* Texts from below may be any bytes: what the checks refuse is left out. */
static void put_text(uint8_t *to, size_t bytes, const char *text)
{
    size_t n = 0;
    for (const char *c = text; *c != '\0' && n + 1 < bytes; c++)
        to[n++] = (unsigned char)*c < 0x20 || *c == 0x7f ? (uint8_t)' ' : (uint8_t)*c;
}

baton_peer_refusal baton_peer_refusal_put(int status, const char *why, const char *todo)
{
    baton_peer_refusal wire = {.status = baton_le32_put((uint32_t)-status)};
    put_text(wire.why, sizeof(wire.why), why[0] != '\0' ? why : baton_status_text(status));
    put_text(wire.todo, sizeof(wire.todo), todo);
    return wire;
}

int baton_peer_refusal_get(const baton_peer_refusal *wire, const char *what, baton_error *error)
{
    const uint32_t number = baton_le32_get(wire->status);
    int status = number >= 1 && number <= 20000 ? -(int)number : BATON_E_REFUSED;
    return baton_error_set(error, status, what, (const char *)wire->why, (const char *)wire->todo);
}
