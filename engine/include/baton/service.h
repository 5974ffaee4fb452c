/* baton/service.h: what a service gives to Baton: a table of functions over its state.
 *
 * The state changes in apply only, and apply is deterministic: the same entries in the same
 * order give the same state and the same effects, in every process, today and next year (E3).
 * Time, randomness and configuration reach apply only through entries (E5). All functions are
 * called on the engine's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <baton/arena.h>
#include <baton/digest.h>
#include <baton/journal.h>
#include <baton/snapshot.h>
#include <baton/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What an entry sends out: a trade, an ack. Collected while apply runs, released when the entry
 * is durable (E8). */
typedef struct baton_effects baton_effects;

#define BATON_EFFECT_BYTES_MAX      4096u
#define BATON_EFFECTS_PER_ENTRY_MAX 65536u
#define BATON_CONSUMER_NONE         0u /* not kept after release */
#define BATON_CONSUMERS_MAX         8u /* consumers are numbered 1..8 */

/* Send payload (copied, 0..BATON_EFFECT_BYTES_MAX) out when this entry is durable. With a
 * consumer (1..BATON_CONSUMERS_MAX) it stays in the outbox until that consumer confirms it,
 * across crash, restart and handover (E6). Every effect goes into the effect digest. Errors are
 * sticky and stop the engine: BATON_E_TOO_LARGE, -ENOMEM. */
void baton_effect_emit(baton_effects *effects, uint32_t consumer, uint16_t type,
                       const void *payload, uint32_t payload_bytes);

typedef struct {
    uint64_t epoch; /* of the entry; with seq and index the effect's key (E6) */
    uint64_t seq;
    uint32_t index; /* among the effects of that entry, from 0 */
    uint32_t consumer;
    uint16_t type;
    const void *payload; /* valid during the call */
    uint32_t payload_bytes;
    bool resent; /* out of the outbox, not the first release by this process */
} baton_effect;

/* An entry type the service knows. Others are refused at intake and stop a replay (E7). */
typedef struct {
    uint16_t type;
    uint32_t schema_min; /* refused at intake while the service is pinned to an older schema (E4) */
} baton_entry_type;

/* A `--name VALUE` of the service itself, given to create; the same on every start of the same
 * data. */
typedef struct {
    const char *name; /* without the dashes */
    const char *default_value;
    const char *help;
} baton_service_option;

typedef struct {
    const char *const *values; /* in the order of baton_service.options */
    /* Empty, and the only place for the state, if the service has a layout; else NULL. A service
     * may also be made by hand, without one (tests): then too it is NULL. */
    baton_arena *arena;
    baton_arena_options arena_options; /* where Baton makes it, and how large it may get */
} baton_service_config;

typedef struct baton_service {
    const char *name;    /* [a-z0-9-]{1,31} */
    const char *version; /* up to 31 bytes */
    struct {
        uint32_t write; /* the newest schema that snapshot can write and digest can cover */
        uint32_t
            read_min; /* the oldest one that restore reads; snapshot and digest know read_min..write too */
    } schema;
    const baton_entry_type *entry_types;
    uint32_t entry_types_count;
    const baton_service_option *options; /* may be NULL */
    uint32_t options_count;

    /* The empty state, before entry 1. 0, -ENOMEM, BATON_E_INVALID (an option; write why into
     * error). */
    int (*create)(const baton_service_config *config, void **ret_state, baton_error *error);
    /* A state in an arena: the memory goes with the arena, giving it back is not needed. */
    void (*destroy)(void *state);
    /* The deterministic step. Anything but 0 means that the entry can not be applied at all: the
     * engine stops. What a client did wrong is an effect (a reject), not an error. */
    int (*apply)(void *state, const baton_entry *entry, baton_effects *effects);
    /* Over the fields of the schema asked for (E1, E3): O(1), independent of order and layout. */
    int (*digest)(const void *state, uint32_t schema, baton_digest *ret_digest);
    /* Every field of that schema into sections; errors are sticky in the writer. */
    int (*snapshot)(const void *state, uint32_t schema, baton_snapshot_writer *writer);
    /* Into a state fresh from create. schema is the snapshot's. Unknown rows are refused:
     * BATON_E_SCHEMA. */
    int (*restore)(void *state, uint32_t schema, baton_snapshot_reader *reader);

    /* Not NULL: the state, all of it, is kept in an arena: config->arena, whose root Baton makes
     * the pointer that create returns. So *ret_state lies in it, and so does everything that it
     * points to: the state may keep config->arena, and copies of the options' values. */
    const baton_layout *layout;

    /* Not NULL: every section that snapshot packs, in any schema; another is refused by name, on
     * both ways. Then snapshot packs each in the rows of schema.write, whatever schema is asked
     * for: Baton leaves out what that schema does not have, and turns rows back. restore sees rows
     * of schema.write only, and a section that the snapshot's schema does not have, or an optional
     * one that is missing, as one without rows. */
    const baton_section *sections;
    uint32_t sections_count;

    /* May be NULL. Of a state that came out of a snapshot: is it one that these options make? An image
     * brings along what create made of those of its time. 0; or BATON_E_INVALID with the option in
     * error: then the start ends, whatever other snapshots there are. */
    int (*check_options)(const void *state, const baton_service_config *config, baton_error *error);
} baton_service;

#ifdef __cplusplus
}
#endif
