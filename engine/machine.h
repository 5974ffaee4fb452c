/* engine/machine.h: a service's state machine: entries in, state and effects out. It knows no
 * journal; whoever drives it (a replay, a running engine) brings the entries in order. */
#pragma once

#include "engine/outbox.h"
#include "engine/rates.h"

typedef struct baton_machine baton_machine;

/* What a service's apply fills through baton_effect_emit. */
struct baton_effects {
    baton_machine *machine;
    uint64_t epoch; /* of the entry being applied */
    uint32_t index; /* of the next effect */
    int error;      /* sticky */
};

struct baton_machine {
    const baton_service *service;
    baton_service_config config;
    const char **defaults; /* config's values when the caller gave none */
    baton_arena *arena;    /* what the state is in; NULL: the service has no layout */
    void *state;
    uint64_t seq;     /* of the last entry applied */
    uint64_t time_ns; /* its time */
    baton_digest effect_digest;
    uint64_t effects_count; /* all effects up to seq */
    baton_outbox outbox;
    bool hold; /* also keep effects in `held`, until they are released */
    baton_effect_queue held;
    void (*on_effect)(void *context, const baton_effect *effect); /* may be NULL */
    void *on_effect_context;
    baton_rates *rates; /* what applying costs; NULL: nobody asks */
    baton_effects effects;
    uint8_t scratch[64 + BATON_EFFECT_BYTES_MAX];
};

/* Is the table whole and are its names in range? BATON_E_INVALID. */
BATON_MUST_USE int baton_service_check(const baton_service *service, baton_error *error);
/* NULL: the service does not know it (E7). */
const baton_entry_type *baton_service_entry_type(const baton_service *service, uint16_t type);

/* The empty state, before entry 1. *machine is caller's memory, needs fini in every case.
 * config->values NULL: the defaults of the service's options. The strings of config stay the
 * caller's; config->arena is not looked at: a service with a layout gets an arena of this
 * machine's. */
BATON_MUST_USE int baton_machine_init(baton_machine *machine, const baton_service *service,
                                      const baton_service_config *config, baton_error *error);
void baton_machine_fini(baton_machine *machine);
/* Back to the empty state: after a snapshot that turned out bad. */
BATON_MUST_USE int baton_machine_reset(baton_machine *machine, baton_error *error);

/* Apply the entry after seq. Its effects go into the digest, the outbox, `held` and on_effect. An
 * error leaves a state that is good for nothing: BATON_E_REFUSED or what apply said,
 * BATON_E_TOO_LARGE, BATON_E_INVALID (a consumer out of range), -ENOMEM. */
BATON_MUST_USE int baton_machine_apply(baton_machine *machine, const baton_entry *entry);
BATON_MUST_USE int baton_machine_digest(const baton_machine *machine, uint32_t schema,
                                        baton_digest *ret_digest);

/* State, outbox and counts in the schema asked for. 0, or the writer's or the service's error. */
BATON_MUST_USE int baton_machine_pack(const baton_machine *machine, uint32_t schema,
                                      baton_snapshot_writer *writer);
/* Into an empty machine. The state is compared with the manifest's digest: BATON_E_DIVERGED. */
BATON_MUST_USE int baton_machine_unpack(baton_machine *machine, baton_snapshot_reader *reader,
                                        baton_error *error);
/* The state is there, by whatever form: its place in time, and its digest compared with the
 * manifest's. BATON_E_DIVERGED. */
BATON_MUST_USE int baton_machine_arrive(baton_machine *machine, const baton_snapshot_info *info,
                                        baton_error *error);
