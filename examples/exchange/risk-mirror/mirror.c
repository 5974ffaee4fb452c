#include "examples/exchange/risk-mirror/mirror.h"

#include <errno.h>
#include <string.h>

#include <baton/clock.h>
#include <baton/log.h>

#include "examples/exchange/risk-mirror/store.h"
#include "examples/exchange/wire/link.h"
#include "examples/exchange/wire/plain_loop.h"

enum {
    TURN_MS = 10,
    ROUNDS_MAX = 8, /* of taking, for one script */
};
#define PAUSE_FIRST_NS UINT64_C(10000000)
#define PAUSE_MAX_NS   UINT64_C(1000000000)
#define ASK_AGAIN_NS   UINT64_C(1000000000)
#define LOOK_AGAIN_NS  UINT64_C(1000000000)
#define NONE           UINT32_MAX /* behind every page: says how far effects are numbered */

typedef struct {
    mirror_options options;
    const volatile sig_atomic_t *stop;
    store *store;
    plain_loop *loop;
    wire_link link;
    /* Redis */
    bool up;                  /* the position was loaded over this line */
    store_position committed; /* what stands in Redis, as far as it has said so */
    bool waits_said;
    uint64_t pause_ns;
    uint64_t again_at_ns;
    uint64_t look_at_ns; /* whether it is there, when there is nothing to put */
    /* what waits for the next script */
    store_position taken; /* with it */
    store_mode mode;
    bool closed; /* no more into this one */
    bool took;   /* since the last round */
    bool known;  /* something came again: it is confirmed again */
    bool gap;    /* what comes next does not follow it */
    /* pages */
    bool live;         /* the link was, at the last turn */
    bool asks;         /* there is something to ask for */
    uint32_t ask_next; /* from this one on */
    uint64_t ask_at_ns;
    bool checks;    /* and when all has come, that is said */
    bool flush_due; /* all is made anew */
    bool failed;
} mirror;

static uint64_t now_ns(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}

/* ---- what is wrong ---- */

/* What is in Redis can't be gone on with. With --resync it is made anew; else somebody should look first. */
static link_verdict make_anew(mirror *own, const char *what, const char *why)
{
    own->closed = true;
    if (!own->options.resync) {
        baton_log(ERROR, what, BATON_LOG_TEXT("key_version", own->options.version),
                  BATON_LOG_TEXT("why", why),
                  BATON_LOG_TEXT("todo", "find out why; then start it with --resync, once: it "
                                         "flushes this key version and fetches all anew"));
        own->failed = true;
        return LINK_STOP;
    }
    baton_log(WARN, what, BATON_LOG_TEXT("key_version", own->options.version),
              BATON_LOG_TEXT("why", why));
    own->flush_due = true;
    return LINK_NO_ROOM;
}

static link_verdict fail(mirror *own, const char *why)
{
    baton_log(ERROR, "risk_mirror.wrong", BATON_LOG_TEXT("why", why));
    own->failed = true;
    return LINK_STOP;
}

/* ---- effects ---- */

static source_verdict judge(const store_position *at, const exchange_key *key)
{
    sources reached = {0};
    if (at->there)
        sources_take(&reached, EXCHANGE_RISK_ENGINE, &at->key);
    return sources_judge(&reached, EXCHANGE_RISK_ENGINE, key);
}

/* The page that is waited for, or one of before. */
static void take_page(mirror *own, const exchange_exposures *head)
{
    const uint32_t first = baton_le32_get(head->first), next = baton_le32_get(head->next);
    const bool last = head->flags & EXCHANGE_EXPOSURES_LAST;
    if (!own->taken.whole && first <= own->taken.next) {
        own->taken.next = next > own->taken.next ? next : own->taken.next;
        own->taken.whole = last;
        own->closed = last; /* from here on it is added to */
    }
    if (own->asks && first == own->ask_next) {
        own->asks = !last;
        own->ask_next = next;
        own->ask_at_ns = 0;
    }
}

/* The first one of a key version without a position. From number 1 on it is whole. */
static bool begins(mirror *own, uint64_t number)
{
    own->taken.whole = number == 1;
    own->taken.next = 0;
    return number == 1 || own->options.resync;
}

static link_verdict take_new(mirror *own, const exchange_key *key, const void *payload,
                             uint32_t payload_bytes)
{
    exchange_exposures head;
    if (payload_bytes < sizeof(head))
        return fail(own, "an effect that tells of no exposures");
    memcpy(&head, payload, sizeof(head));
    const uint64_t number = baton_le64_get(head.number);
    if (own->taken.there ? number != own->taken.number + 1 : !begins(own, number)) {
        own->gap = own->closed = true;
        return LINK_NO_ROOM;
    }
    if (own->taken.number == own->committed.number)
        own->mode = own->taken.whole ? STORE_ADD : STORE_SET;
    if (!store_add(own->store, payload, payload_bytes))
        return fail(own, "an effect that tells of no exposures");
    own->taken.there = true;
    own->taken.number = number;
    own->taken.key = *key;
    own->took = true;
    if (head.flags & EXCHANGE_EXPOSURES_PAGE)
        take_page(own, &head);
    return LINK_TAKEN;
}

static link_verdict take(void *owner, const exchange_effect *effect, const void *payload,
                         uint32_t payload_bytes)
{
    mirror *own = owner;
    if (own->closed || !store_has_room(own->store))
        return LINK_NO_ROOM;
    switch (judge(&own->taken, &effect->key)) {
    case SOURCE_NEW:
        break;
    case SOURCE_KNOWN:
        own->known = true;
        return LINK_TAKEN;
    case SOURCE_WENT_BACK:
        return make_anew(own, "risk_mirror.went_back",
                         "Redis is ahead of the risk engine, which has lost what it had released");
    case SOURCE_UNKNOWN:
        return fail(own, "a key that none can have");
    }
    if (baton_le16_get(effect->effect_type) != EXCHANGE_EXPOSURES)
        return fail(own, "an effect that tells of no exposures");
    return take_new(own, &effect->key, payload, payload_bytes);
}

/* ---- Redis ---- */

/* Nothing waits any more: all that is not confirmed comes again with the next subscription. */
static void begin_again(mirror *own)
{
    store_forget(own->store);
    own->taken = own->committed;
    own->closed = false;
    own->took = false;
    own->known = false;
    own->gap = false;
}

static void wait_for_redis(mirror *own)
{
    if (!own->waits_said && !*own->stop)
        baton_log(
            WARN, "risk_mirror.waits", BATON_LOG_TEXT("why", store_why(own->store)),
            BATON_LOG_TEXT("todo",
                           "see after Redis; nothing is lost meanwhile, and it goes on by "
                           "itself. When the risk engine's outbox is full, that takes nothing in"));
    own->waits_said = true;
    own->up = false;
    link_stop(&own->link);
    begin_again(own);
    own->again_at_ns = now_ns() + own->pause_ns;
    own->pause_ns = 2 * own->pause_ns < PAUSE_MAX_NS ? 2 * own->pause_ns : PAUSE_MAX_NS;
}

static void judge_store(mirror *own, store_verdict verdict)
{
    switch (verdict) {
    case STORE_DONE:
        break;
    case STORE_AWAY:
    case STORE_HELD:
        wait_for_redis(own);
        break;
    case STORE_DIVERGED:
        (void)make_anew(own, "risk_mirror.diverged", store_why(own->store));
        break;
    case STORE_WRONG:
        (void)fail(own, store_why(own->store));
        break;
    }
}

/* What Redis had said that it has, and has no more. */
static bool has_lost(const store_position *before, const store_position *now)
{
    if (!before->there)
        return false;
    return !now->there || now->number < before->number ||
           (now->number == before->number &&
            memcmp(&now->key, &before->key, sizeof(now->key)) != 0);
}

/* What is to be asked for: what is missing; or all, to compare; or only how far the numbers are, which tells at once
 * whether anything is missing. */
static void begin_asking(mirror *own)
{
    own->asks = true;
    own->checks = own->options.check;
    own->ask_at_ns = 0;
    own->ask_next = own->options.check ? 0 : NONE;
    if (!own->committed.whole)
        own->ask_next = own->committed.there ? own->committed.next : 0;
    if (!own->committed.there && !own->options.resync)
        own->ask_next = NONE;
}

/* False: it is not there, or not right. */
static bool look(mirror *own, store_position *ret_found)
{
    own->look_at_ns = now_ns() + LOOK_AGAIN_NS;
    const store_verdict verdict = store_load(own->store, ret_found);
    judge_store(own, verdict);
    if (verdict != STORE_DONE || !has_lost(&own->committed, ret_found))
        return verdict == STORE_DONE;
    (void)make_anew(own, "risk_mirror.lost",
                    "Redis does not have what it had answered for: see its appendonly and "
                    "appendfsync");
    own->committed.there = false;
    return false;
}

static void come_up(mirror *own)
{
    store_position found;
    if (!look(own, &found))
        return;
    if (!found.there && own->options.resync)
        own->flush_due = true; /* of a flush that was cut short */
    own->committed = found;
    begin_again(own);
    own->up = true;
    own->pause_ns = PAUSE_FIRST_NS;
    if (own->waits_said)
        baton_log(INFO, "risk_mirror.goes_on", BATON_LOG_NUMBER("number", found.number));
    own->waits_said = false;
}

/* What was put is in. Another mirror may have gone on since the position was loaded. */
static void judge_gap(mirror *own)
{
    store_position found;
    if (!look(own, &found))
        return;
    if (found.number == own->committed.number) {
        (void)make_anew(own, "risk_mirror.gap",
                        "the risk engine's effects go on behind those that Redis has: it "
                        "confirmed them to another mirror, or Redis has lost them");
        return;
    }
    own->up = false;
    link_stop(&own->link);
    begin_again(own);
}

static void flush(mirror *own)
{
    uint64_t keys = 0;
    link_stop(&own->link);
    own->committed = (store_position){.there = false};
    begin_again(own);
    const store_verdict verdict = store_flush(own->store, &keys);
    if (verdict != STORE_DONE) {
        judge_store(own, verdict);
        return;
    }
    baton_log(INFO, "risk_mirror.resync", BATON_LOG_TEXT("key_version", own->options.version),
              BATON_LOG_NUMBER("flushed_keys", keys));
    own->flush_due = false;
    own->up = true;
}

static void put(mirror *own)
{
    if (own->taken.number == own->committed.number) {
        store_position found;
        if (own->known)
            link_confirm(&own->link, &own->committed.key);
        own->known = false;
        if (now_ns() >= own->look_at_ns)
            (void)look(own, &found);
        return;
    }
    const store_verdict verdict = store_put(own->store, &own->committed, &own->taken, own->mode);
    if (verdict != STORE_DONE) {
        judge_store(own, verdict);
        return;
    }
    if (own->taken.whole && !own->committed.whole)
        baton_log(INFO, "risk_mirror.whole", BATON_LOG_TEXT("key_version", own->options.version),
                  BATON_LOG_NUMBER("number", own->taken.number));
    own->committed = own->taken;
    own->closed = false;
    own->known = false;
    if (own->checks && !own->asks && own->committed.whole) {
        baton_log(INFO, "risk_mirror.checked", BATON_LOG_TEXT("key_version", own->options.version),
                  BATON_LOG_NUMBER("exposures", own->ask_next));
        own->checks = false;
    }
    link_confirm(&own->link, &own->committed.key);
}

/* Whoever answers now may be another than before. */
static void ask(mirror *own, uint64_t now)
{
    if (link_is_live(&own->link) && !own->live)
        begin_asking(own);
    own->live = link_is_live(&own->link);
    const exchange_resync wish = {.first = baton_le32_put(own->ask_next)};
    if (own->asks && now >= own->ask_at_ns &&
        link_say(&own->link, EXCHANGE_RESYNC, &wish, sizeof(wish)))
        own->ask_at_ns = now + ASK_AGAIN_NS;
}

/* ---- life ---- */

static int turn(mirror *own)
{
    const uint64_t now = now_ns();
    if (!own->up && now >= own->again_at_ns)
        come_up(own);
    if (own->flush_due && now >= own->again_at_ns)
        flush(own);
    /* What came with link_turn does not wait for more. */
    const bool waits = own->taken.number != own->committed.number;
    int r = plain_loop_turn(own->loop, waits ? 0 : TURN_MS);
    for (uint32_t i = 0; i < ROUNDS_MAX && r == 0 && own->took; i++) {
        own->took = false;
        r = plain_loop_turn(own->loop, 0);
    }
    own->took = false;
    if (r < 0 || own->failed)
        return r < 0 ? r : BATON_E_REFUSED;
    if (own->up && !own->flush_due)
        put(own);
    if (own->up && !own->flush_due && !own->failed && own->gap)
        judge_gap(own);
    if (own->up && !own->flush_due && !own->failed) {
        ask(own, now);
        link_turn(&own->link);
    }
    return own->failed || link_is_stopped(&own->link) ? BATON_E_REFUSED : 0;
}

int mirror_run(const mirror_options *options, const volatile sig_atomic_t *stop, baton_error *error)
{
    mirror own = {.options = *options, .stop = stop, .pause_ns = PAUSE_FIRST_NS};
    const store_options wish = {
        .address = options->redis, .version = options->version, .stop = stop};
    int r = store_create(&wish, &own.store);
    if (r == 0)
        r = plain_loop_create(&own.loop);
    if (r < 0) {
        store_destroy(own.store);
        return baton_error_set(error, r, "start", NULL, "free some memory");
    }
    const link_options link = {.name = "risk-engine",
                               .address = options->from,
                               .consumer = EXCHANGE_RISK_MIRROR,
                               .take = take,
                               .owner = &own};
    link_start(&own.link, &link, plain_loop_of(own.loop));
    baton_log(INFO, "risk_mirror.ready", BATON_LOG_TEXT("redis", options->redis),
              BATON_LOG_TEXT("key_version", options->version));
    while (!*stop && r == 0)
        r = turn(&own);
    if (r < 0 && !*stop)
        baton_error_set(error, r, options->version, "see the line before",
                        "do what it says, then start again");
    link_stop(&own.link);
    store_destroy(own.store);
    plain_loop_destroy(own.loop);
    return *stop ? 0 : r;
}
