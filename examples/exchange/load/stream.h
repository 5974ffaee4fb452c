/* examples/exchange/load/stream.h: the commands a load consists of, in the order in which they
 * are sent. A stream depends on its options only: the same options give the same commands, byte
 * for byte, whatever the engine answers. */
#pragma once

#include "examples/exchange/protocol.h"

#define LOAD_COMMANDS_MAX 20000000u
#define LOAD_CLOCK_CLIENT EXCHANGE_CLIENT_ID_MAX /* the client that sends CLOCK commands */

/* The client seq of a command is its number in the stream, from 1: so an answer says which one
 * it is for. */
typedef struct {
    uint64_t intended_ns; /* after the load's start */
    uint16_t type;        /* exchange_frame_type */
    uint16_t body_bytes;
    union {
        exchange_command command;
        exchange_new_order new_order;
        exchange_cancel cancel;
        exchange_reduce reduce;
        exchange_replace replace;
        exchange_transfer deposit;
        exchange_clock clock;
        uint8_t bytes[48];
    } body;
} load_command;

/* Shares of a generated flow, in percent of all commands; what is left are plain limit orders. */
typedef struct {
    uint8_t cancel;
    uint8_t reduce;
    uint8_t replace;
    uint8_t ioc;
    uint8_t gtd; /* plain ones, without virtual_time: a time of day would make two runs differ */
    uint8_t market;
    uint8_t fok;
    uint8_t post_only;
} stream_mix;
extern const stream_mix stream_mix_default;

/* "NAME=PERCENT,...", of the names above, post-only; the others stay at the default. False: not that, or cancels,
 * reductions and replacements reach 100, or all together pass it. */
BATON_MUST_USE bool stream_mix_parse(const char *text, stream_mix *ret_mix);

enum { DEPOSIT_ASSETS_MAX = 64, SYMBOLS_MAX = 64 };

/* Before the flow: so much of each of these assets, for every client that the stream has. */
typedef struct {
    uint64_t amount; /* 0: none */
    uint32_t assets_count;
    uint32_t assets[DEPOSIT_ASSETS_MAX];
} stream_deposits;

typedef struct {
    uint32_t commands;       /* generator: how many, clock commands not counted */
    uint32_t clients_before; /* client ids clients_before + 1 .. + clients */
    uint32_t clients;
    uint64_t seed;
    double rate;           /* generator: commands a second on average */
    bool virtual_time;     /* CLOCK commands and expire times on the stream's own time line */
    const char *lobster;   /* a LOBSTER message file instead of the generator; NULL: generator */
    const char *seed_book; /* with lobster: the book to begin with, or NULL */
    double compression;    /* lobster: how many recorded seconds pass in one */
    bool match; /* lobster: an execution becomes an opposite IOC, for the engine to match */
    uint32_t messages_max; /* lobster: stop after so many messages; 0: all */
    uint32_t symbols;      /* interleaved, from 0; 0 is 1. lobster: the same recording on each */
    double symbol_shift_s; /* lobster: each symbol's so many recorded seconds later */
    const stream_mix *mix; /* generator; NULL: the default */
    stream_deposits deposits;
} stream_options;

/* All commands at once: *ret_commands is malloc'ed, the caller frees it. Deposits are the first
 * stream_deposits_count() of them, due at options->rate from 0 on; the flow's own time begins at 0 again. */
BATON_MUST_USE int stream_generate(const stream_options *options, load_command **ret_commands,
                                   uint32_t *ret_count, baton_error *error);
BATON_MUST_USE int stream_read_lobster(const stream_options *options, load_command **ret_commands,
                                       uint32_t *ret_count, baton_error *error);
uint32_t stream_deposits_count(const stream_options *options);

/* ---- for the two sources ---- */

typedef struct {
    load_command *commands;
    uint32_t count;
    uint32_t capacity;
    uint64_t clock_due_ns; /* virtual time: when the next CLOCK is due */
    bool virtual_time;
} stream_builder;

/* Append a command of client_id; first the CLOCK commands that are due by then. NULL: no memory,
 * or too many. */
load_command *stream_append(stream_builder *builder, uint64_t intended_ns, uint16_t type,
                            uint64_t client_id);
/* What comes before the flow. False as above. */
BATON_MUST_USE bool stream_append_deposits(stream_builder *builder, const stream_options *options);

/* splitmix64: public domain, Sebastiano Vigna. Also a good hash of what *state begins with. */
uint64_t stream_random(uint64_t *state);
