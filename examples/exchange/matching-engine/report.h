/* examples/exchange/matching-engine/report.h: what becomes of one command, or of time that passes, gathered
 * while the book is at work and sent out as REPORT effects, each to every consumer. Without consumers only
 * what the engine's own clients must be told is sent: trades and orders that are gone. */
#pragma once

#include "examples/exchange/matching-engine/matching_engine.h"

enum {
    TRADES_PER_REPORT = (BATON_EFFECT_BYTES_MAX - sizeof(exchange_report)) / sizeof(exchange_trade),
    GONE_PER_REPORT = (BATON_EFFECT_BYTES_MAX - sizeof(exchange_report)) / sizeof(exchange_gone),
};

/* Each piece as it goes out. Large: report_begin sets what is read, and no more. */
typedef struct {
    matching_engine *engine;
    baton_effects *effects;
    exchange_report head;
    uint32_t trades_count;
    uint32_t gone_count;
    struct {
        exchange_report head;
        exchange_trade items[TRADES_PER_REPORT];
    } trades;
    struct {
        exchange_report head;
        exchange_gone items[GONE_PER_REPORT];
    } gone;
} report;

/* head: what is known before the book is asked. */
void report_begin(report *own, matching_engine *engine, baton_effects *effects,
                  const exchange_report *head);
book_events report_events(report *own);
void report_trade(report *own, const book_fill *fill);
void report_gone(report *own, const book_resting *order);
/* The rest, with the head as it is now; the last piece is flagged. */
void report_end(report *own);
