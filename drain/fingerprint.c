/* drain/fingerprint.c: see fingerprint.h. */
#include "drain/fingerprint.h"

#include <stdio.h>
#include <string.h>

#include "journal/format.h"

static const char *const what_follow = "follow";

void baton_fingerprint_put(baton_peer_hello *hello, const baton_service *service,
                           const baton_engine *engine)
{
    hello->protocol_lowest = baton_le32_put(BATON_PEER_PROTOCOL_LOWEST);
    hello->protocol_highest = baton_le32_put(BATON_PEER_PROTOCOL_HIGHEST);
    snprintf((char *)hello->service, sizeof(hello->service), "%s", service->name);
    snprintf((char *)hello->version, sizeof(hello->version), "%s", service->version);
    hello->schema_write = baton_le32_put(service->schema.write);
    hello->schema_read_min = baton_le32_put(service->schema.read_min);
    hello->journal_format = baton_le32_put(BATON_JOURNAL_VERSION);
    hello->entry_types_count = baton_le32_put(service->entry_types_count);
    for (uint32_t i = 0; i < service->entry_types_count && i < BATON_PEER_ENTRY_TYPES_MAX; i++)
        hello->entry_types[i] = (baton_peer_entry_type){
            .type = baton_le16_put(service->entry_types[i].type),
            .schema_min = baton_le32_put(service->entry_types[i].schema_min)};
    if (service->layout != NULL) {
        const baton_digest layout = baton_layout_digest(service->layout);
        memcpy(hello->layout, layout.bytes, sizeof(hello->layout));
    }
    if (engine == NULL)
        return;
    hello->batch_bytes_max = baton_le32_put(baton_engine_batch_bytes_max(engine));
    hello->schema_pinned = baton_le32_put(baton_engine_schema(engine));
    hello->schema_finalized = baton_le32_put(baton_engine_facts(engine)->finalized_schema);
}

static uint32_t higher(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t lower(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

uint32_t baton_fingerprint_protocol(const baton_peer_hello *a, const baton_peer_hello *b)
{
    const uint32_t lowest =
        higher(baton_le32_get(a->protocol_lowest), baton_le32_get(b->protocol_lowest));
    const uint32_t highest =
        lower(baton_le32_get(a->protocol_highest), baton_le32_get(b->protocol_highest));
    return highest >= lowest ? highest : 0;
}

static int check_formats(const baton_peer_hello *active, const baton_peer_hello *standby,
                         baton_error *error)
{
    if (baton_fingerprint_protocol(active, standby) == 0)
        return baton_error_setf(
            error, BATON_E_NEWER_FORMAT, what_follow, "use versions that share one",
            "the active speaks handover protocols %u to %u, the standby %u to %u",
            baton_le32_get(active->protocol_lowest), baton_le32_get(active->protocol_highest),
            baton_le32_get(standby->protocol_lowest), baton_le32_get(standby->protocol_highest));
    if (strcmp((const char *)active->service, (const char *)standby->service) != 0)
        return baton_error_setf(error, BATON_E_OTHER_SERVICE, what_follow,
                                "follow one of its own service",
                                "the active is %s, the standby is %s",
                                (const char *)active->service, (const char *)standby->service);
    const uint32_t written = baton_le32_get(active->journal_format);
    const uint32_t read = baton_le32_get(standby->journal_format);
    if (written > read)
        return baton_error_setf(error, BATON_E_NEWER_FORMAT, what_follow,
                                "use a standby of the active's version, or a later one",
                                "the active writes journal format %u, the standby reads up to %u",
                                written, read);
    const uint32_t largest = baton_le32_get(active->batch_bytes_max);
    const uint32_t takes = baton_le32_get(standby->batch_bytes_max);
    if (takes != 0 && largest > takes)
        return baton_error_setf(error, BATON_E_TOO_LARGE, what_follow,
                                "start the standby with the active's --segment-size",
                                "the active's batches have up to %u bytes, the standby takes %u",
                                largest, takes);
    return 0;
}

static const baton_peer_entry_type *find_type(const baton_peer_hello *hello, uint16_t type)
{
    const uint32_t count =
        lower(baton_le32_get(hello->entry_types_count), BATON_PEER_ENTRY_TYPES_MAX);
    for (uint32_t i = 0; i < count; i++)
        if (baton_le16_get(hello->entry_types[i].type) == type)
            return &hello->entry_types[i];
    return NULL;
}

/* What the active takes in by the schema that it is pinned to, the standby must take in, too. A list that
 * is cut off proves nothing: then a batch decides. */
static int check_types(const baton_peer_hello *active, const baton_peer_hello *standby,
                       uint32_t pinned, baton_error *error)
{
    const uint32_t count =
        lower(baton_le32_get(active->entry_types_count), BATON_PEER_ENTRY_TYPES_MAX);
    if (baton_le32_get(standby->entry_types_count) > BATON_PEER_ENTRY_TYPES_MAX)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        const baton_peer_entry_type *type = &active->entry_types[i];
        const baton_peer_entry_type *there = find_type(standby, baton_le16_get(type->type));
        if (baton_le32_get(type->schema_min) <= pinned &&
            (there == NULL || baton_le32_get(there->schema_min) > pinned))
            return baton_error_setf(
                error, BATON_E_UNKNOWN_TYPE, what_follow,
                "use a standby that knows what clients may send",
                "the active takes in entries of type %u, which the standby (%s) does not",
                baton_le16_get(type->type), (const char *)standby->version);
    }
    return 0;
}

int baton_fingerprint_check(const baton_peer_hello *active, const baton_peer_hello *standby,
                            baton_error *error)
{
    const uint32_t pinned = baton_le32_get(active->schema_pinned);
    const uint32_t oldest = baton_le32_get(standby->schema_read_min);
    const uint32_t newest = baton_le32_get(standby->schema_write);
    int r = check_formats(active, standby, error);
    if (r < 0 || pinned == 0)
        return r;
    if (pinned < oldest || pinned > newest)
        return baton_error_setf(
            error, BATON_E_SCHEMA, what_follow, "use a standby of a version next to the active's",
            "%s %s writes schema %u%s, the standby (%s) reads and writes %u to %u",
            (const char *)active->service, (const char *)active->version, pinned,
            baton_le32_get(active->schema_finalized) == pinned ? ", finalized" : "",
            (const char *)standby->version, oldest, newest);
    return check_types(active, standby, pinned, error);
}

int baton_fingerprint_window(const baton_compatible *compatible, const baton_peer_hello *other,
                             const char *who, bool *ret_outside, baton_error *error)
{
    baton_error why = {0};
    *ret_outside =
        baton_compatible_check(compatible, (const char *)other->version, what_follow, &why) < 0;
    if (!*ret_outside)
        return 0;
    baton_error_setf(error, BATON_E_REFUSED, what_follow, why.todo, "%s's %s", who, why.why);
    return compatible->warn_only ? 0 : BATON_E_REFUSED;
}
