/* tests/support/toy_service.h: a small service for tests: counters under keys. Two versions with
 * two schemas.
 *
 * ADD     key, amount: the counter grows; an effect to nobody in particular, one to consumer 1 when
 *         the key is odd, and one to consumer 2 when it is a multiple of 3.
 * BURST   count, bytes: that many effects of that size, to the consumer named.
 * POISON  apply fails.
 * TICK    time: remembered.
 * EXTRA   amount: into a field that schema 2 brought; version 1 does not know it. */
#pragma once

#include <baton/service.h>
#include <baton/wire.h>

enum { TOY_ADD = 1, TOY_BURST = 2, TOY_POISON = 3, TOY_TICK = 4, TOY_EXTRA = 5 };
enum { TOY_EFFECT_ADDED = 1, TOY_EFFECT_BURST = 2, TOY_EFFECT_EXTRA = 3, TOY_EFFECT_TICK = 4 };

typedef struct {
    baton_le32 key; /* below TOY_KEYS */
    baton_le32 amount;
} toy_add;

typedef struct {
    baton_le32 count;
    baton_le32 bytes; /* of each payload; more than BATON_EFFECT_BYTES_MAX is an error of apply */
    baton_le32 consumer;
} toy_burst;

typedef struct {
    baton_le64 time_ns;
} toy_tick;

typedef struct {
    baton_le32 amount;
} toy_extra;

#define TOY_KEYS 64u

extern const baton_service toy_service_v1; /* "toy" 1.0.0, schema 1 */
extern const baton_service toy_service_v2; /* "toy" 2.0.0, schema 1 and 2 */
/* The same, its sections declared: its functions know the rows of schema 2 only. */
extern const baton_service toy_service_v2_declared;
extern const baton_service toy_service_v3;    /* "toy" 3.0.0, schema 2 only */
extern const baton_service toy_service_other; /* "other" 1.0.0 */
/* The same, with their states in an arena. */
extern const baton_service toy_service_arena;       /* "toy" 1.0.0, schema 1 */
extern const baton_service toy_service_arena_v2;    /* "toy" 2.0.0, schema 1 and 2 */
extern const baton_service toy_service_arena_other; /* "toy" 1.0.1, schema 1, another layout */

uint64_t toy_counter(const void *state, uint32_t key);
uint64_t toy_extra_sum(const void *state);
uint64_t toy_ticks(const void *state);

/* From now on apply depends on more than the entries: for the ADD with this seq only the state, or
 * only an effect, differs. */
typedef enum { TOY_WELL, TOY_SKEW_STATE, TOY_SKEW_EFFECT } toy_skew;
void toy_set_skew(toy_skew skew, uint64_t seq);
