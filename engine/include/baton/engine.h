/* baton/engine.h: a running service: hydrated, journaling, applying, and releasing effects when
 * they are durable.
 *
 * A program gets a baton_engine in its start function (baton/main.h) and feeds it from its own
 * sockets. One thread: every call belongs to the thread that runs the engine's loop, and comes
 * from a callback of it. */
#pragma once

#include <baton/metrics.h>
#include <baton/service.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct baton_engine baton_engine;

/* Journal one input and apply it. Its effects are released later, when it is durable. Never
 * blocks. ret_seq may be NULL. Errors, nothing happened: BATON_E_FULL and BATON_E_NO_SPACE (stop
 * reading the client; baton_program.turn is called again after progress), BATON_E_LAGGING (a
 * consumer's outbox is full), BATON_E_SEALED (draining), BATON_E_STANDBY (it follows another
 * instance), BATON_E_UNKNOWN_TYPE, BATON_E_SCHEMA (pinned), BATON_E_TOO_LARGE, BATON_E_BROKEN (the
 * engine stops by itself). */
BATON_MUST_USE int baton_engine_submit(baton_engine *engine, uint16_t type, const void *payload,
                                       uint32_t payload_bytes, uint64_t *ret_seq);

/* The same for an entry whose effects nobody waits for: it may share the write of a later one, for at most
 * BATON_UNHURRIED_NS (baton/journal.h). It is applied at once, and its effects leave when it is durable. */
BATON_MUST_USE int baton_engine_submit_unhurried(baton_engine *engine, uint16_t type,
                                                 const void *payload, uint32_t payload_bytes,
                                                 uint64_t *ret_seq);

const void *baton_engine_state(
    const baton_engine *engine); /* the service's; read only: apply alone changes it */
uint64_t baton_engine_applied_seq(const baton_engine *engine);
uint64_t baton_engine_released_seq(
    const baton_engine *engine); /* every effect up to it was handed to release */
uint64_t baton_engine_epoch(const baton_engine *engine);
uint64_t baton_engine_time_ns(
    const baton_engine *engine); /* entry time now: what the next entry would carry, about */
baton_metrics *baton_engine_metrics(const baton_engine *engine);

/* The consumer has everything up to this key. Journaled; trims the outbox now and in every
 * replay (E6). BATON_E_INVALID: never released to it. BATON_E_FULL, BATON_E_NO_SPACE (a full
 * disk): confirm again later. At or below an earlier confirmation: 0, nothing happens. 0 while intake is stopped
 * for a drain or a handover, too: journaled if this one serves on, else the effects are resent. BATON_E_STANDBY,
 * BATON_E_SEALED (handed over): confirm to the active. */
BATON_MUST_USE int baton_engine_confirm(baton_engine *engine, uint32_t consumer, uint64_t epoch,
                                        uint64_t seq, uint32_t index);
/* Hand every released and unconfirmed effect of the consumer to visit, oldest first, verbatim:
 * for a consumer that (re)connects. A non-zero return stops and is returned. BATON_E_STANDBY,
 * BATON_E_SEALED (handed over): the active does it. */
BATON_MUST_USE int baton_engine_resend(baton_engine *engine, uint32_t consumer,
                                       int (*visit)(void *context, const baton_effect *effect),
                                       void *context);

/* The loop. Callbacks come one at a time. events as epoll's EPOLLIN, EPOLLOUT, ...; watching a
 * watched fd changes it. */
typedef void (*baton_watch)(void *context, int fd, uint32_t events);
BATON_MUST_USE int baton_engine_watch(baton_engine *engine, int fd, uint32_t events,
                                      baton_watch watch, void *context);
void baton_engine_unwatch(baton_engine *engine,
                          int fd); /* safe inside any callback; no event of it comes after */
/* Call tick every interval_ns (1 ms or more), best effort, until the drain begins; tick submits
 * the entry that tells the state what time it is (E5). One per engine; interval 0 stops it. */
void baton_engine_tick_every(baton_engine *engine, uint64_t interval_ns,
                             void (*tick)(void *context), void *context);

#ifdef __cplusplus
}
#endif
