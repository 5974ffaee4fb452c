#include "examples/exchange/market-data/stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <baton/log.h>

#include "examples/exchange/clients/commands.h"

enum {
    RECENT_MAX = 1 << 16,           /* messages in memory */
    UNDURABLE_MAX = RECENT_MAX / 2, /* and that may wait for the disk */
};

struct stream {
    char directory[512];
    baton_journal *journal;
    uint64_t id;
    levels *books;
    uint64_t books_seq;
    sources known; /* the highest key whose group is complete */

    /* The group under way: in the books already, in the journal up to `written`. */
    bool pending;
    exchange_key pending_key;
    message_group group;
    uint32_t written;
    /* What a crash has left of a group: in the journal, and not in the books. */
    exchange_key cut_key;
    message_group cut;

    exchange_key newest; /* all up to here is appended, and durable with entry newest_seq */
    uint64_t newest_seq;
    exchange_key told; /* chosen to be confirmed as soon as told_seq is durable */
    uint64_t told_seq;
    bool newest_due, told_due;
    bool waits; /* the disk is full, and that was said */

    uint64_t recent_begin; /* the oldest in memory */
    market_message recent[RECENT_MAX];
};

/* ---- entries ---- */

int stream_message_of(const baton_entry *entry, market_entry *ret_head, market_message *ret_message)
{
    const uint32_t body_bytes = market_body_bytes(entry->type);
    if (body_bytes == 0 || entry->payload_bytes != sizeof(*ret_head) + body_bytes)
        return BATON_E_DAMAGED;
    *ret_message = (market_message){.type = entry->type};
    memcpy(ret_head, entry->payload, sizeof(*ret_head));
    memcpy(ret_message->bytes, (const uint8_t *)entry->payload + sizeof(*ret_head), body_bytes);
    return 0;
}

/* Entry or nothing: BATON_E_FULL and the like. */
static int append(stream *own, const market_message *message, bool is_last)
{
    struct {
        market_entry head;
        uint8_t body[MARKET_BODY_BYTES_MAX];
    } bytes = {.head = {.key = own->pending_key,
                        .part = baton_le16_put((uint16_t)own->written),
                        .is_last = is_last}};
    const uint32_t body_bytes = market_body_bytes(message->type);
    baton_entry entry;
    memcpy(bytes.body, message->bytes, body_bytes);
    int r = baton_journal_append(own->journal, message->type, &bytes,
                                 (uint32_t)sizeof(bytes.head) + body_bytes, &entry);
    if (r < 0)
        return r;
    own->recent[entry.seq % RECENT_MAX] = *message;
    if (entry.seq - own->recent_begin >= RECENT_MAX)
        own->recent_begin = entry.seq - RECENT_MAX + 1;
    return 0;
}

/* ---- recovery ---- */

static bool same_key(const exchange_key *a, const exchange_key *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* A whole group takes hold; what is left at the end was cut. */
static int recover_entry(stream *own, const baton_entry *entry)
{
    market_entry head;
    market_message message;
    int r = stream_message_of(entry, &head, &message);
    if (r < 0)
        return r;
    if (own->cut.count == 0)
        own->cut_key = head.key;
    if (baton_le16_get(head.part) != own->cut.count || own->cut.count == MESSAGES_MAX ||
        !same_key(&head.key, &own->cut_key))
        return BATON_E_DAMAGED;
    own->cut.list[own->cut.count++] = message;
    if (!head.is_last)
        return 0;
    for (uint32_t i = 0; i < own->cut.count && r == 0; i++)
        r = messages_follow(own->books, &own->cut.list[i]);
    sources_take(&own->known, EXCHANGE_MATCHING_ENGINE, &head.key);
    own->books_seq = entry->seq;
    own->cut.count = 0;
    return r;
}

static int recover(stream *own, baton_error *error)
{
    const baton_reader_options options = {0};
    baton_reader *reader;
    baton_entry entry;
    uint64_t seq = 0;
    if (baton_journal_last_seq(own->journal) == 0)
        return 0;
    int r = baton_reader_open(own->directory, &options, &reader, error);
    if (r < 0)
        return r;
    while ((r = baton_reader_next(reader, &entry, error)) == 1) {
        if (entry.seq == ++seq)
            r = recover_entry(own, &entry);
        if (r < 0 || entry.seq != seq) {
            baton_reader_close(reader);
            return baton_error_setf(error, BATON_E_DAMAGED, own->directory,
                                    "give the directory of a market data stream, whole",
                                    "entry %llu is not message %llu", (unsigned long long)entry.seq,
                                    (unsigned long long)seq);
        }
    }
    baton_reader_close(reader);
    if (r == 0 && seq != baton_journal_last_seq(own->journal))
        r = baton_error_set(error, BATON_E_DAMAGED, own->directory, NULL,
                            "run baton journal verify");
    return r;
}

int stream_open(const char *directory, stream **ret_stream, baton_error *error)
{
    const baton_journal_options options = {.service = "market-data"};
    baton_recovery_report report;
    stream *own = calloc(1, sizeof(*own));
    if (!own || levels_create(&own->books) < 0) {
        free(own);
        return baton_error_set(error, -ENOMEM, directory, NULL, "free some memory");
    }
    snprintf(own->directory, sizeof(own->directory), "%s", directory);
    int r = baton_journal_open(directory, &options, &own->journal, &report, error);
    if (r == 0)
        r = baton_journal_begin(own->journal, &report, error);
    if (r == 0)
        r = recover(own, error);
    if (r < 0) {
        stream_close(own);
        return r;
    }
    const baton_digest id = baton_journal_id(own->journal);
    memcpy(&own->id, &id, sizeof(own->id));
    own->recent_begin = baton_journal_last_seq(own->journal) + 1;
    *ret_stream = own;
    return 0;
}

void stream_close(stream *own)
{
    if (!own)
        return;
    int r = baton_journal_close(own->journal);
    if (r < 0)
        baton_log(ERROR, "stream.close", BATON_LOG_TEXT("why", baton_status_text(r)));
    levels_destroy(own->books);
    free(own);
}

/* ---- effects ---- */

static link_verdict wrong(const exchange_effect *effect, const char *why)
{
    baton_log(ERROR, "stream.effect", BATON_LOG_NUMBER("seq", baton_le64_get(effect->key.seq)),
              BATON_LOG_NUMBER("index", baton_le32_get(effect->key.index)),
              BATON_LOG_TEXT("why", why),
              BATON_LOG_TEXT("todo", "compare the matching engine's data with this directory: one "
                                     "of the two is older than the other"));
    return LINK_STOP;
}

static void group_is_complete(stream *own)
{
    sources_take(&own->known, EXCHANGE_MATCHING_ENGINE, &own->pending_key);
    own->pending = false;
    own->newest = own->pending_key;
    own->newest_seq = baton_journal_last_seq(own->journal);
    if (own->group.count > 0) {
        own->books_seq = own->newest_seq;
        own->cut.count = 0;
    }
    own->newest_due = true;
}

/* The engine keeps what there is no room for. */
static void say_whether_it_waits(stream *own, bool waits)
{
    if (waits && !own->waits)
        baton_log(WARN, "stream.waits", BATON_LOG_TEXT("why", "the disk is full"),
                  BATON_LOG_TEXT("todo", "make room for the journal; nothing is lost meanwhile, "
                                         "and it goes on by itself"));
    if (!waits && own->waits)
        baton_log(INFO, "stream.goes_on",
                  BATON_LOG_NUMBER("messages", baton_journal_last_seq(own->journal)));
    own->waits = waits;
}

/* As many of the group as there is room for now. */
static link_verdict write_group(stream *own)
{
    while (own->written < own->group.count) {
        const bool is_last = own->written + 1 == own->group.count;
        if (baton_journal_last_seq(own->journal) - stream_durable(own) >= UNDURABLE_MAX)
            return LINK_NO_ROOM;
        int r = append(own, &own->group.list[own->written], is_last);
        if (r < 0 && r != BATON_E_NO_SPACE)
            return LINK_NO_ROOM;
        say_whether_it_waits(own, r < 0);
        if (r < 0)
            return LINK_NO_ROOM;
        own->written++;
    }
    group_is_complete(own);
    return LINK_TAKEN;
}

static bool same_message(const market_message *a, const market_message *b)
{
    return a->type == b->type && memcmp(a->bytes, b->bytes, market_body_bytes(a->type)) == 0;
}

/* Begins with what a crash has left of it, word for word? Those that make no message have no trace there, and
 * come again, too. */
static bool goes_on(stream *own)
{
    if (own->cut.count == 0 ||
        (own->group.count == 0 && !same_key(&own->cut_key, &own->pending_key)))
        return true;
    if (!same_key(&own->cut_key, &own->pending_key) || own->cut.count >= own->group.count)
        return false;
    for (uint32_t i = 0; i < own->cut.count; i++)
        if (!same_message(&own->cut.list[i], &own->group.list[i]))
            return false;
    own->written = own->cut.count;
    return true;
}

static link_verdict take_new(stream *own, const exchange_effect *effect, const void *payload,
                             uint32_t payload_bytes)
{
    own->pending_key = effect->key;
    own->written = 0;
    own->group.count = 0;
    if (baton_le16_get(effect->effect_type) == EXCHANGE_REPORT) {
        if (exchange_report_check(payload, payload_bytes) < 0)
            return wrong(effect, "not a report");
        int r = messages_of_report(own->books, payload, payload_bytes, &own->group);
        if (r < 0)
            return wrong(effect, r == BATON_E_INVALID ? "it is not about these books"
                                                      : baton_status_text(r));
    }
    if (!goes_on(own))
        return wrong(effect, "it does not begin as the messages that were made of it before");
    own->pending = true;
    return write_group(own);
}

link_verdict stream_take(void *owner, const exchange_effect *effect, const void *payload,
                         uint32_t payload_bytes)
{
    stream *own = owner;
    switch (sources_judge(&own->known, EXCHANGE_MATCHING_ENGINE, &effect->key)) {
    case SOURCE_NEW:
        if (!own->pending)
            return take_new(own, effect, payload, payload_bytes);
        /* There was no room for all of it; over a new link, what is before it may come again first. */
        return same_key(&own->pending_key, &effect->key) ? write_group(own)
                                                         : wrong(effect, "not the one under way");
    case SOURCE_KNOWN: /* it was not confirmed, or that was not heard */
        own->newest = effect->key;
        own->newest_seq = baton_journal_last_seq(own->journal);
        own->newest_due = true;
        return LINK_TAKEN;
    case SOURCE_WENT_BACK:
        return wrong(effect, "the matching engine has gone back behind what it had released");
    case SOURCE_UNKNOWN:
        break;
    }
    return wrong(effect, "a key that none can have");
}

int stream_turn(stream *own)
{
    return baton_journal_poll(own->journal);
}

bool stream_confirmed(stream *own, exchange_key *ret_key)
{
    if (!own->told_due && own->newest_due) {
        own->told = own->newest;
        own->told_seq = own->newest_seq;
        own->told_due = true;
        own->newest_due = false;
    }
    if (!own->told_due || stream_durable(own) < own->told_seq)
        return false;
    own->told_due = false;
    *ret_key = own->told;
    return true;
}

/* ---- looking ---- */

int stream_fd(const stream *own)
{
    return baton_journal_fd(own->journal);
}

uint64_t stream_within_ns(const stream *own)
{
    return baton_journal_poll_within_ns(own->journal);
}

uint64_t stream_id(const stream *own)
{
    return own->id;
}

uint64_t stream_durable(const stream *own)
{
    return baton_journal_durable_seq(own->journal);
}

const char *stream_directory(const stream *own)
{
    return own->directory;
}

const market_message *stream_recent(const stream *own, uint64_t seq)
{
    return seq >= own->recent_begin && seq <= stream_durable(own) ? &own->recent[seq % RECENT_MAX]
                                                                  : NULL;
}

const levels *stream_books(const stream *own, uint64_t *ret_seq)
{
    *ret_seq = own->books_seq;
    return own->pending ? NULL : own->books;
}
