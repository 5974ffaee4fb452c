/* The market data stream without sockets: what reports become, and that each becomes so once, wherever a crash
 * cuts it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "examples/exchange/market-data/packet.h"
#include "examples/exchange/market-data/stream.h"
#include "tests/support/test_dir.h"

enum { SYMBOL = 3, EFFECTS_MAX = 16, ENTRIES_MAX = 256 };

typedef struct {
    exchange_report head;
    union {
        exchange_trade trades[4];
        exchange_gone gone[4];
    };
} report;

static baton_le64 le(uint64_t value)
{
    return baton_le64_put(value);
}

static exchange_effect effect_of(uint64_t epoch, uint64_t seq, uint16_t type)
{
    return (exchange_effect){.key = {.epoch = le(epoch), .seq = le(seq)},
                             .effect_type = baton_le16_put(type),
                             .consumer = baton_le16_put(EXCHANGE_MARKET_DATA)};
}

static uint32_t report_bytes(const report *said)
{
    const uint32_t count = baton_le32_get(said->head.items_count);
    return (uint32_t)(sizeof(said->head) + count * (said->head.items == EXCHANGE_REPORT_TRADES
                                                        ? sizeof(exchange_trade)
                                                        : sizeof(exchange_gone)));
}

static link_verdict take(stream *own, uint64_t seq, const report *said)
{
    const exchange_effect effect = effect_of(1, seq, EXCHANGE_REPORT);
    return stream_take(own, &effect, said, report_bytes(said));
}

static report base(uint8_t side, uint64_t price, uint64_t remaining, uint8_t flags)
{
    return (report){.head = {.price = le(price),
                             .remaining = le(remaining),
                             .symbol = baton_le32_put(SYMBOL),
                             .side = side,
                             .flags = EXCHANGE_REPORT_LAST | flags}};
}

static report rests(uint8_t side, uint64_t price, uint64_t size)
{
    return base(side, price, size, EXCHANGE_REPORT_RESTS);
}

/* An order of the other side that takes from this one. */
static void add_trade(report *to, uint64_t number, uint64_t price, uint64_t size, uint64_t left)
{
    const uint32_t count = baton_le32_get(to->head.items_count);
    to->head.items = EXCHANGE_REPORT_TRADES;
    to->head.items_count = baton_le32_put(count + 1);
    to->trades[count] = (exchange_trade){.trade_id = le(number),
                                         .price = le(price),
                                         .size = le(size),
                                         .maker_remaining = le(left),
                                         .taker_side = to->head.side};
}

static report changed(uint8_t side, uint64_t price_before, uint64_t before, uint64_t price,
                      uint64_t remaining, bool rests_on)
{
    report said = base(side, price, remaining, rests_on ? EXCHANGE_REPORT_RESTS : 0);
    said.head.price_before = le(price_before);
    said.head.remaining_before = le(before);
    return said;
}

static stream *open_stream(const char *path)
{
    stream *own;
    baton_error error = {0};
    if (stream_open(path, &own, &error) < 0)
        fail_msg("%s: %s", error.what, error.why);
    return own;
}

static void flush(stream *own, uint64_t seq)
{
    while (stream_durable(own) < seq)
        assert_int_equal(stream_turn(own), 0);
}

/* "L side price size orders", "T id price size", "P bid x size ask x size" */
static void text_of(const market_message *message, char text[64])
{
    const market_level *level = &message->level;
    const market_trade *trade = &message->trade;
    const market_top *top = &message->top;
#define N(field) (unsigned long long)baton_le64_get(field)
    if (message->type == MARKET_LEVEL)
        snprintf(text, 64, "L %c %llu %llu %u", level->side == BOOK_BUY ? 'b' : 's',
                 N(level->price), N(level->size), baton_le32_get(level->orders_count));
    else if (message->type == MARKET_TRADE)
        snprintf(text, 64, "T %llu %llu %llu", N(trade->trade_id), N(trade->price), N(trade->size));
    else
        snprintf(text, 64, "P %llu %llu %llu %llu", N(top->bid_price), N(top->bid_size),
                 N(top->ask_price), N(top->ask_size));
#undef N
    assert_int_equal(baton_le32_get(message->type == MARKET_TRADE ? trade->symbol : level->symbol),
                     SYMBOL);
}

static void assert_says(stream *own, uint64_t first, const char *const *texts)
{
    uint64_t seq = first;
    for (; *texts; texts++, seq++) {
        char text[64];
        flush(own, seq);
        const market_message *message = stream_recent(own, seq);
        assert_non_null(message);
        text_of(message, text);
        assert_string_equal(text, *texts);
    }
    assert_null(stream_recent(own, seq));
}

/* ---- what reports become ---- */

static void a_report_becomes_its_trades_the_levels_it_changed_and_the_top(void **state)
{
    (void)state;
    test_dir dir;
    test_dir_make(&dir, "market");
    stream *own = open_stream(test_path(&dir, "s"));

    report bid = rests(BOOK_BUY, 100, 5), lower = rests(BOOK_BUY, 99, 7);
    assert_int_equal(take(own, 1, &bid), LINK_TAKEN);
    assert_says(own, 1, (const char *[]){"L b 100 5 1", "P 100 5 0 0", NULL});
    assert_int_equal(take(own, 2, &lower), LINK_TAKEN); /* the top stays */
    assert_says(own, 3, (const char *[]){"L b 99 7 1", NULL});

    report sweep = base(BOOK_SELL, 99, 0, 0);
    add_trade(&sweep, 1, 100, 5, 0);
    add_trade(&sweep, 2, 99, 3, 4);
    assert_int_equal(take(own, 3, &sweep), LINK_TAKEN);
    assert_says(
        own, 4,
        (const char *[]){"T 1 100 5", "T 2 99 3", "L b 100 0 0", "L b 99 4 1", "P 99 4 0 0", NULL});

    report replaced = changed(BOOK_BUY, 99, 4, 98, 6, true);
    assert_int_equal(take(own, 4, &replaced), LINK_TAKEN);
    assert_says(own, 9, (const char *[]){"L b 99 0 0", "L b 98 6 1", "P 98 6 0 0", NULL});
    report reduced = changed(BOOK_BUY, 98, 6, 98, 2, true);
    assert_int_equal(take(own, 5, &reduced), LINK_TAKEN);
    assert_says(own, 12, (const char *[]){"L b 98 2 1", "P 98 2 0 0", NULL});
    report cancelled = changed(BOOK_BUY, 98, 2, 98, 2, false);
    assert_int_equal(take(own, 6, &cancelled), LINK_TAKEN);
    assert_says(own, 14, (const char *[]){"L b 98 0 0", "P 0 0 0 0", NULL});
    stream_close(own);
    test_dir_remove(&dir);
}

static void what_changes_no_book_makes_no_message_and_is_confirmed(void **state)
{
    (void)state;
    test_dir dir;
    test_dir_make(&dir, "market");
    stream *own = open_stream(test_path(&dir, "s"));
    exchange_key key;
    report refused = base(BOOK_BUY, 100, 5, 0);
    refused.head.outcome = baton_le16_put(BOOK_BAD_SIZE);
    assert_false(stream_confirmed(own, &key));
    assert_int_equal(take(own, 1, &refused), LINK_TAKEN);
    assert_true(stream_confirmed(own, &key));
    assert_int_equal(baton_le64_get(key.seq), 1);
    const exchange_barrier barrier = {.id = le(7)};
    const exchange_effect effect = effect_of(1, 2, EXCHANGE_BARRIER);
    assert_int_equal(stream_take(own, &effect, &barrier, sizeof(barrier)), LINK_TAKEN);
    assert_true(stream_confirmed(own, &key));
    assert_int_equal(baton_le64_get(key.seq), 2);
    assert_int_equal(stream_durable(own), 0);
    stream_close(own);
    test_dir_remove(&dir);
}

static void an_effect_that_comes_again_makes_nothing_and_is_confirmed_again(void **state)
{
    (void)state;
    test_dir dir;
    test_dir_make(&dir, "market");
    stream *own = open_stream(test_path(&dir, "s"));
    exchange_key key;
    report bid = rests(BOOK_BUY, 100, 5);
    assert_int_equal(take(own, 4, &bid), LINK_TAKEN);
    assert_false(stream_confirmed(own, &key)); /* W1: not durable yet */
    flush(own, 2);
    assert_true(stream_confirmed(own, &key));
    assert_false(stream_confirmed(own, &key));
    stream_close(own);
    own = open_stream(test_path(&dir, "s"));
    assert_int_equal(take(own, 4, &bid), LINK_TAKEN);
    assert_true(stream_confirmed(own, &key));
    assert_int_equal(baton_le64_get(key.seq), 4);
    assert_int_equal(stream_durable(own), 2);
    stream_close(own);
    test_dir_remove(&dir);
}

static void where_there_was_no_room_the_effect_goes_on_also_over_a_new_link(void **state)
{
    (void)state;
    test_dir dir;
    test_dir_make(&dir, "market");
    stream *own = open_stream(test_path(&dir, "s"));
    report bid = rests(BOOK_BUY, 100, 1), reduced = changed(BOOK_BUY, 100, 2, 100, 1, true);
    report first = rests(BOOK_BUY, 100, 2);
    uint64_t seq = 1;
    uint64_t books_seq;
    assert_int_equal(take(own, seq, &first), LINK_TAKEN);
    const report *next = &reduced;
    while (take(own, seq + 1, next) == LINK_TAKEN) { /* no turn: the batch is full at last */
        seq++;
        next = &bid;
        assert_true(seq < 100000);
    }
    assert_null(stream_books(own, &books_seq));         /* between two states */
    assert_int_equal(take(own, seq, next), LINK_TAKEN); /* known: it comes again first */
    assert_int_equal(take(own, seq + 2, next), LINK_STOP);
    while (take(own, seq + 1, next) == LINK_NO_ROOM)
        assert_int_equal(stream_turn(own), 0);
    assert_non_null(stream_books(own, &books_seq));
    flush(own, books_seq);
    char text[64], expected[64];
    snprintf(expected, sizeof(expected), "P 100 %llu 0 0", (unsigned long long)seq);
    text_of(stream_recent(own, books_seq), text);
    assert_string_equal(text, expected);
    stream_close(own);
    test_dir_remove(&dir);
}

static void what_can_not_be_stops_the_link(void **state)
{
    (void)state;
    test_dir dir;
    test_dir_make(&dir, "market");
    stream *own = open_stream(test_path(&dir, "s"));
    report bid = rests(BOOK_BUY, 100, 5);
    assert_int_equal(take(own, 4, &bid), LINK_TAKEN);
    const exchange_effect back = effect_of(2, 3, EXCHANGE_REPORT);
    assert_int_equal(stream_take(own, &back, &bid, report_bytes(&bid)), LINK_STOP);
    const exchange_effect half = effect_of(1, 5, EXCHANGE_REPORT);
    assert_int_equal(stream_take(own, &half, &bid, sizeof(bid.head) - 1), LINK_STOP);
    report other = changed(BOOK_BUY, 50, 5, 50, 5, false);
    assert_int_equal(take(own, 5, &other), LINK_STOP);
    stream_close(own);
    test_dir_remove(&dir);
}

/* ---- cut anywhere ---- */

typedef struct {
    uint16_t type;
    uint32_t bytes;
    uint8_t payload[128];
} entry;

static uint32_t read_all(const char *path, entry entries[ENTRIES_MAX])
{
    const baton_reader_options options = {0};
    baton_reader *reader;
    baton_entry one;
    uint32_t count = 0;
    assert_int_equal(baton_reader_open(path, &options, &reader, NULL), 0);
    while (baton_reader_next(reader, &one, NULL) == 1) {
        entries[count] = (entry){.type = one.type, .bytes = one.payload_bytes};
        memcpy(entries[count++].payload, one.payload, one.payload_bytes);
    }
    baton_reader_close(reader);
    return count;
}

static void write_some(const char *path, const entry *entries, uint32_t count)
{
    const baton_journal_options options = {.service = "market-data"};
    baton_recovery_report found;
    baton_journal *journal;
    assert_int_equal(baton_journal_open(path, &options, &journal, &found, NULL), 0);
    assert_int_equal(baton_journal_begin(journal, &found, NULL), 0);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(baton_journal_append(journal, entries[i].type, entries[i].payload,
                                              entries[i].bytes, NULL),
                         0);
    assert_int_equal(baton_journal_close(journal), 0);
}

static uint32_t flow(report reports[EFFECTS_MAX])
{
    uint32_t count = 0;
    reports[count++] = rests(BOOK_BUY, 100, 5);
    reports[count++] = rests(BOOK_BUY, 99, 7);
    report refused =
        base(BOOK_BUY, 1, 1, 0); /* leaves no trace, so it comes again with what is behind it */
    refused.head.outcome = baton_le16_put(BOOK_BAD_SIZE);
    reports[count++] = refused;
    report piece = base(BOOK_SELL, 98, 0, 0);
    add_trade(&piece, 1, 100, 5, 0);
    piece.head.flags = 0; /* not the last of its command */
    reports[count++] = piece;
    report sweep = rests(BOOK_SELL, 98, 6);
    add_trade(&sweep, 2, 99, 7, 0);
    reports[count++] = sweep;
    reports[count++] = changed(BOOK_SELL, 98, 6, 97, 9, true);
    return count;
}

static void cut_at_any_message_the_stream_goes_on_as_if_it_had_not_been(void **state)
{
    (void)state;
    static entry whole[ENTRIES_MAX], again[ENTRIES_MAX];
    report reports[EFFECTS_MAX];
    const uint32_t effects = flow(reports);
    test_dir dir;
    test_dir_make(&dir, "market");
    stream *own = open_stream(test_path(&dir, "whole"));
    for (uint32_t i = 0; i < effects; i++)
        assert_int_equal(take(own, i + 1, &reports[i]), LINK_TAKEN);
    stream_close(own);
    const uint32_t count = read_all(test_path(&dir, "whole"), whole);
    assert_true(count > 12);

    for (uint32_t cut = 0; cut <= count; cut++) {
        char name[16];
        snprintf(name, sizeof(name), "cut%u", cut);
        write_some(test_path(&dir, name), whole, cut);
        own = open_stream(test_path(&dir, name));
        for (uint32_t i = 0; i < effects; i++)
            assert_int_equal(take(own, i + 1, &reports[i]), LINK_TAKEN);
        uint64_t books_seq;
        assert_non_null(stream_books(own, &books_seq));
        assert_int_equal(books_seq, count);
        stream_close(own);
        assert_int_equal(read_all(test_path(&dir, name), again), count);
        assert_memory_equal(again, whole, count * sizeof(entry));
    }
    test_dir_remove(&dir);
}

static void a_number_is_never_given_to_another_message(void **state)
{
    (void)state;
    static entry whole[ENTRIES_MAX];
    test_dir dir;
    test_dir_make(&dir, "market");
    stream *own = open_stream(test_path(&dir, "whole"));
    report bid = rests(BOOK_BUY, 100, 5), other = rests(BOOK_BUY, 101, 5);
    assert_int_equal(take(own, 1, &bid), LINK_TAKEN);
    stream_close(own);
    assert_int_equal(read_all(test_path(&dir, "whole"), whole), 2);
    write_some(test_path(&dir, "cut"), whole, 1);
    own = open_stream(test_path(&dir, "cut"));
    assert_int_equal(take(own, 1, &other), LINK_STOP);
    stream_close(own);
    own = open_stream(test_path(&dir, "cut"));
    assert_int_equal(take(own, 2, &bid), LINK_STOP); /* the one that was cut has been skipped */
    stream_close(own);
    test_dir_remove(&dir);
}

static void packets_hold_what_fits_and_a_heartbeat_the_next_number(void **state)
{
    (void)state;
    test_dir dir;
    test_dir_make(&dir, "market");
    stream *own = open_stream(test_path(&dir, "s"));
    packet ready;
    market_packet head;
    packet_of_recent(&ready, own, 1, stream_durable(own));
    memcpy(&head, ready.bytes, sizeof(head));
    assert_int_equal(ready.used, sizeof(head));
    assert_int_equal(baton_le64_get(head.first), 1);
    uint64_t last = 0;
    for (uint32_t i = 1; i <= 60; i++) {
        report bid = rests(BOOK_BUY, 100 + i, 5);
        assert_int_equal(take(own, i, &bid), LINK_TAKEN);
        last += 2;
    }
    flush(own, last);
    uint64_t next = 1;
    while (next <= last) {
        packet_of_recent(&ready, own, next, last);
        memcpy(&head, ready.bytes, sizeof(head));
        assert_int_equal(baton_le16_get(head.count), ready.count);
        assert_int_equal(baton_le64_get(head.first), next);
        assert_true(ready.count > 0 && ready.used <= MARKET_PACKET_BYTES_MAX);
        next += ready.count;
    }
    stream_close(own);
    test_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_becomes_its_trades_the_levels_it_changed_and_the_top),
        cmocka_unit_test(what_changes_no_book_makes_no_message_and_is_confirmed),
        cmocka_unit_test(an_effect_that_comes_again_makes_nothing_and_is_confirmed_again),
        cmocka_unit_test(where_there_was_no_room_the_effect_goes_on_also_over_a_new_link),
        cmocka_unit_test(what_can_not_be_stops_the_link),
        cmocka_unit_test(cut_at_any_message_the_stream_goes_on_as_if_it_had_not_been),
        cmocka_unit_test(a_number_is_never_given_to_another_message),
        cmocka_unit_test(packets_hold_what_fits_and_a_heartbeat_the_next_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
