#include "examples/exchange/risk-mirror/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/exchange/risk-mirror/redis_line.h"
#include "examples/exchange/risk-mirror/script.h"

enum {
    ITEMS_MAX = (4096 - sizeof(exchange_exposures)) / sizeof(exchange_exposure_change),
    PER_ITEM_MAX = 4, /* position, cash and what is open of each side */
    CHANGES_MAX = 4096,
    HEAD_WORDS = 3, /* EVALSHA, the script, how many keys */
    POSITION_WORDS = 8,
    CHANGE_WORDS = 5, /* its key, and four more */
    WORDS_MAX = HEAD_WORDS + 1 + POSITION_WORDS + CHANGES_MAX * CHANGE_WORDS,
    NUMBER_BYTES = 24, /* a 65-bit number and its sign */
    POSITION_FIELDS = 6,
};

/* How one number or switch changes. */
typedef struct {
    char key[STORE_VERSION_BYTES_MAX + 32];
    char field[24]; /* "": the key is a string */
    char was[NUMBER_BYTES];
    char delta[NUMBER_BYTES];
    char now[NUMBER_BYTES];
} change;

struct store {
    store_options options;
    redis_line *line;
    char position_key[STORE_VERSION_BYTES_MAX + 16];
    char script[64]; /* its SHA-1, as Redis calls it; "": not loaded over this line */
    uint32_t changes_count;
    const char *words[WORDS_MAX];
    size_t bytes[WORDS_MAX];
    char numbers[POSITION_WORDS][NUMBER_BYTES];
    change changes[CHANGES_MAX];
    char why[512];
};

bool store_is_version(const char *text)
{
    const size_t bytes =
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
    return bytes > 0 && bytes <= STORE_VERSION_BYTES_MAX && text[bytes] == '\0';
}

int store_create(const store_options *options, store **ret_store)
{
    store *own = calloc(1, sizeof(*own));
    if (!own)
        return -ENOMEM;
    own->options = *options;
    snprintf(own->position_key, sizeof(own->position_key), "%s:position", options->version);
    int r = redis_line_create(options->address, options->stop, &own->line);
    if (r < 0) {
        free(own);
        return r;
    }
    *ret_store = own;
    return 0;
}

void store_destroy(store *own)
{
    if (!own)
        return;
    redis_line_destroy(own->line);
    free(own);
}

const char *store_why(const store *own)
{
    return own->why;
}

/* ---- asking ---- */

static store_verdict wrong(store *own, const char *why)
{
    snprintf(own->why, sizeof(own->why), "%s", why);
    return STORE_WRONG;
}

static store_verdict judge(store *own, redis_verdict verdict)
{
    if (verdict == REDIS_ANSWERED)
        return STORE_DONE;
    own->script[0] = '\0';
    wrong(own, redis_line_why(own->line));
    return verdict == REDIS_AWAY ? STORE_AWAY : STORE_WRONG;
}

static store_verdict dial(store *own)
{
    if (redis_line_is_up(own->line))
        return STORE_DONE;
    own->script[0] = '\0';
    return judge(own, redis_line_dial(own->line));
}

static redis_verdict ask(store *own, const char *const *words, int count, redisReply **ret_reply)
{
    for (int i = 0; i < count; i++) {
        own->words[i] = words[i];
        own->bytes[i] = strlen(words[i]);
    }
    return redis_line_ask(own->line, count, own->words, own->bytes, ret_reply);
}

static bool is_text(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS;
}

static bool parse_number(const redisReply *reply, uint64_t max, uint64_t *ret_number)
{
    char *end;
    if (!is_text(reply) || reply->str[0] < '0' || reply->str[0] > '9')
        return false;
    errno = 0;
    *ret_number = strtoull(reply->str, &end, 10);
    return errno == 0 && *end == '\0' && *ret_number <= max;
}

static bool parse_position(const redisReply *reply, store_position *ret_position)
{
    static const uint64_t max[POSITION_FIELDS] = {UINT64_MAX, UINT64_MAX, UINT32_MAX,
                                                  UINT64_MAX, 1,          UINT32_MAX};
    uint64_t fields[POSITION_FIELDS];
    *ret_position = (store_position){.there = false};
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != POSITION_FIELDS)
        return false;
    uint32_t missing = 0;
    for (uint32_t i = 0; i < POSITION_FIELDS; i++)
        missing += reply->element[i]->type == REDIS_REPLY_NIL;
    if (missing == POSITION_FIELDS)
        return true;
    for (uint32_t i = 0; i < POSITION_FIELDS; i++)
        if (!parse_number(reply->element[i], max[i], &fields[i]))
            return false;
    *ret_position = (store_position){.there = true,
                                     .key = {.epoch = baton_le64_put(fields[0]),
                                             .seq = baton_le64_put(fields[1]),
                                             .index = baton_le32_put((uint32_t)fields[2])},
                                     .number = fields[3],
                                     .whole = fields[4] != 0,
                                     .next = (uint32_t)fields[5]};
    return fields[1] != 0 && fields[3] != 0;
}

store_verdict store_load(store *own, store_position *ret_position)
{
    const char *const words[] = {"HMGET", own->position_key, "epoch", "seq",
                                 "index", "number",          "whole", "next"};
    redisReply *reply;
    store_verdict verdict = dial(own);
    if (verdict == STORE_DONE)
        verdict = judge(own, ask(own, words, 8, &reply));
    if (verdict != STORE_DONE)
        return verdict;
    const bool fits = parse_position(reply, ret_position);
    freeReplyObject(reply);
    return fits ? STORE_DONE : wrong(own, "what stands at the position's key is none");
}

/* ---- effects ---- */

bool store_has_room(const store *own)
{
    return own->changes_count + ITEMS_MAX * PER_ITEM_MAX <= CHANGES_MAX;
}

void store_forget(store *own)
{
    own->changes_count = 0;
}

static void print_delta(char text[NUMBER_BYTES], __int128 delta)
{
    const unsigned __int128 size = delta < 0 ? -(unsigned __int128)delta : (unsigned __int128)delta;
    /* The difference of two 64-bit numbers. */
    snprintf(text, NUMBER_BYTES, "%s%" PRIu64, delta < 0 ? "-" : "", (uint64_t)size);
}

static change *next_change(store *own, const char *what, uint64_t client_id)
{
    change *one = &own->changes[own->changes_count++];
    if (client_id == 0)
        snprintf(one->key, sizeof(one->key), "%s:%s", own->options.version, what);
    else
        snprintf(one->key, sizeof(one->key), "%s:%s:%" PRIu64, own->options.version, what,
                 client_id);
    one->field[0] = '\0';
    return one;
}

static void add_signed(change *one, baton_le64 was, baton_le64 now)
{
    const int64_t before = (int64_t)baton_le64_get(was), after = (int64_t)baton_le64_get(now);
    snprintf(one->was, NUMBER_BYTES, "%" PRId64, before);
    snprintf(one->now, NUMBER_BYTES, "%" PRId64, after);
    print_delta(one->delta, (__int128)after - before);
}

static void add_unsigned(change *one, baton_le64 was, baton_le64 now)
{
    const uint64_t before = baton_le64_get(was), after = baton_le64_get(now);
    snprintf(one->was, NUMBER_BYTES, "%" PRIu64, before);
    snprintf(one->now, NUMBER_BYTES, "%" PRIu64, after);
    print_delta(one->delta, (__int128)after - before);
}

static void add_switch(store *own, const exchange_exposure_change *item)
{
    change *one = next_change(own, "kill_switch", baton_le64_get(item->client_id));
    snprintf(one->was, NUMBER_BYTES, "%d", item->killed_was);
    snprintf(one->now, NUMBER_BYTES, "%d", item->killed);
    one->delta[0] = '\0';
}

static bool differs(baton_le64 was, baton_le64 now)
{
    return baton_le64_get(was) != baton_le64_get(now);
}

/* all: of a page, where nothing differs and everything counts. */
static void add_exposure(store *own, const exchange_exposure_change *item, bool all)
{
    const uint64_t client_id = baton_le64_get(item->client_id);
    const uint32_t symbol = baton_le32_get(item->symbol);
    change *one;
    if (all || differs(item->position_was, item->position)) {
        one = next_change(own, "exposure", client_id);
        snprintf(one->field, sizeof(one->field), "%u:position", symbol);
        add_signed(one, item->position_was, item->position);
    }
    if (all || differs(item->open_buy_was, item->open_buy)) {
        one = next_change(own, "exposure", client_id);
        snprintf(one->field, sizeof(one->field), "%u:open_buy", symbol);
        add_unsigned(one, item->open_buy_was, item->open_buy);
    }
    if (all || differs(item->open_sell_was, item->open_sell)) {
        one = next_change(own, "exposure", client_id);
        snprintf(one->field, sizeof(one->field), "%u:open_sell", symbol);
        add_unsigned(one, item->open_sell_was, item->open_sell);
    }
    if (all || differs(item->cash_was, item->cash)) {
        one = next_change(own, "pnl", client_id);
        snprintf(one->field, sizeof(one->field), "%u", symbol);
        add_signed(one, item->cash_was, item->cash);
    }
}

bool store_add(store *own, const void *effect, uint32_t effect_bytes)
{
    exchange_exposures head;
    exchange_exposure_change item;
    if (effect_bytes < sizeof(head))
        return false;
    memcpy(&head, effect, sizeof(head));
    const uint32_t count = baton_le32_get(head.items_count);
    const uint8_t *at = (const uint8_t *)effect + sizeof(head);
    if (count > ITEMS_MAX || effect_bytes != sizeof(head) + count * sizeof(item))
        return false;
    for (uint32_t i = 0; i < count; i++, at += sizeof(item)) {
        memcpy(&item, at, sizeof(item));
        if (baton_le64_get(item.client_id) > EXCHANGE_CLIENT_ID_MAX)
            return false;
        if (baton_le32_get(item.symbol) == EXCHANGE_NO_SYMBOL)
            add_switch(own, &item);
        else
            add_exposure(own, &item, head.flags & EXCHANGE_EXPOSURES_PAGE);
    }
    return true;
}

/* ---- the script ---- */

static store_verdict load_script(store *own)
{
    const char *const words[] = {"SCRIPT", "LOAD", script_update};
    redisReply *reply;
    if (own->script[0] != '\0')
        return STORE_DONE;
    const store_verdict verdict = judge(own, ask(own, words, 3, &reply));
    if (verdict != STORE_DONE)
        return verdict;
    if (is_text(reply))
        snprintf(own->script, sizeof(own->script), "%s", reply->str);
    freeReplyObject(reply);
    return own->script[0] != '\0' ? STORE_DONE : wrong(own, "SCRIPT LOAD answered no name");
}

static int say_word(store *own, int at, const char *word)
{
    own->words[at] = word;
    own->bytes[at] = strlen(word);
    return at + 1;
}

static int say_number(store *own, int at, uint32_t which, uint64_t number)
{
    snprintf(own->numbers[which], NUMBER_BYTES, "%" PRIu64, number);
    return say_word(own, at, own->numbers[which]);
}

/* EVALSHA and its arguments, in the order of script.h. */
static int say_update(store *own, const store_position *from, const store_position *to,
                      store_mode mode)
{
    int at = say_word(own, 0, "EVALSHA");
    at = say_word(own, at, own->script);
    at = say_number(own, at, 0, 1 + own->changes_count);
    at = say_word(own, at, own->position_key);
    for (uint32_t i = 0; i < own->changes_count; i++)
        at = say_word(own, at, own->changes[i].key);
    at = from->there ? say_number(own, at, 1, from->number) : say_word(own, at, "");
    at = say_number(own, at, 2, baton_le64_get(to->key.epoch));
    at = say_number(own, at, 3, baton_le64_get(to->key.seq));
    at = say_number(own, at, 4, baton_le32_get(to->key.index));
    at = say_number(own, at, 5, to->number);
    at = say_word(own, at, to->whole ? "1" : "0");
    at = say_number(own, at, 6, to->next);
    at = say_word(own, at, mode == STORE_ADD ? "add" : "set");
    for (uint32_t i = 0; i < own->changes_count; i++) {
        const change *one = &own->changes[i];
        at = say_word(own, at, one->field);
        at = say_word(own, at, one->was);
        at = say_word(own, at, one->delta);
        at = say_word(own, at, one->now);
    }
    return at;
}

static store_verdict judge_update(store *own, const redisReply *reply)
{
    if (!is_text(reply))
        return wrong(own, "the script answered something else than text");
    snprintf(own->why, sizeof(own->why), "%s", reply->str);
    if (strcmp(reply->str, "DONE") == 0)
        return STORE_DONE;
    if (strncmp(reply->str, "HELD", 4) != 0)
        return STORE_DIVERGED;
    snprintf(own->why, sizeof(own->why),
             "another mirror writes %s, or a script came late: it is %s", own->position_key,
             reply->str);
    return STORE_HELD;
}

store_verdict store_put(store *own, const store_position *from, const store_position *to,
                        store_mode mode)
{
    redisReply *reply;
    redis_verdict asked = REDIS_NO_SCRIPT;
    for (int i = 0; i < 2 && asked == REDIS_NO_SCRIPT;
         i++) { /* SCRIPT FLUSH may come at any time */
        const store_verdict loaded = load_script(own);
        if (loaded != STORE_DONE)
            return loaded;
        asked = redis_line_ask(own->line, say_update(own, from, to, mode), own->words, own->bytes,
                               &reply);
        if (asked == REDIS_NO_SCRIPT)
            own->script[0] = '\0';
    }
    store_verdict verdict = judge(own, asked);
    if (verdict != STORE_DONE)
        return verdict;
    verdict = judge_update(own, reply);
    freeReplyObject(reply);
    if (verdict == STORE_DONE)
        own->changes_count = 0;
    return verdict;
}

/* ---- flush ---- */

static store_verdict unlink_keys(store *own, redisReply *const *keys, size_t count,
                                 uint64_t *ret_keys)
{
    redisReply *reply;
    for (size_t done = 0; done < count;) {
        int at = say_word(own, 0, "UNLINK");
        for (; done < count && at < WORDS_MAX; done++)
            at = say_word(own, at, keys[done]->str);
        const store_verdict verdict =
            judge(own, redis_line_ask(own->line, at, own->words, own->bytes, &reply));
        if (verdict != STORE_DONE)
            return verdict;
        *ret_keys += reply->type == REDIS_REPLY_INTEGER ? (uint64_t)reply->integer : 0;
        freeReplyObject(reply);
    }
    return STORE_DONE;
}

/* One step of SCAN; cursor is "0" again after the last one. */
static store_verdict flush_some(store *own, char cursor[NUMBER_BYTES], uint64_t *ret_keys)
{
    char pattern[STORE_VERSION_BYTES_MAX + 4];
    snprintf(pattern, sizeof(pattern), "%s:*", own->options.version);
    const char *const words[] = {"SCAN", cursor, "MATCH", pattern, "COUNT", "1000"};
    redisReply *reply;
    store_verdict verdict = judge(own, ask(own, words, 6, &reply));
    if (verdict != STORE_DONE)
        return verdict;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || !is_text(reply->element[0]) ||
        reply->element[1]->type != REDIS_REPLY_ARRAY) {
        verdict = wrong(own, "SCAN answered something else");
    } else {
        snprintf(cursor, NUMBER_BYTES, "%s", reply->element[0]->str);
        verdict =
            unlink_keys(own, reply->element[1]->element, reply->element[1]->elements, ret_keys);
    }
    freeReplyObject(reply);
    return verdict;
}

store_verdict store_flush(store *own, uint64_t *ret_keys)
{
    const char *const words[] = {"UNLINK", own->position_key};
    char cursor[NUMBER_BYTES] = "0";
    redisReply *reply;
    *ret_keys = 0;
    store_verdict verdict = dial(own);
    if (verdict == STORE_DONE)
        verdict = judge(own, ask(own, words, 2, &reply));
    if (verdict != STORE_DONE)
        return verdict;
    *ret_keys = reply->type == REDIS_REPLY_INTEGER ? (uint64_t)reply->integer : 0;
    freeReplyObject(reply);
    do
        verdict = flush_some(own, cursor, ret_keys);
    while (verdict == STORE_DONE && strcmp(cursor, "0") != 0);
    return verdict;
}
