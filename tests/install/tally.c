/* tally.c: about the smallest whole service: it adds up the numbers it is given. Built against
 * an installed Baton by install_test.py, with nothing else in reach. Every start adds 1, 2 and 3
 * and says what was there before. */
#include <baton/main.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int create(const baton_service_config *config, void **ret_state, baton_error *error)
{
    (void)config;
    *ret_state = calloc(1, sizeof(uint64_t));
    return *ret_state ? 0 : baton_error_set(error, BATON_E_FULL, "tally", "no memory", "free some");
}

static int apply(void *state, const baton_entry *entry, baton_effects *effects)
{
    uint64_t number;
    if (entry->payload_bytes != sizeof(number))
        return BATON_E_INVALID;
    memcpy(&number, entry->payload, sizeof(number));
    *(uint64_t *)state += number;
    baton_effect_emit(effects, BATON_CONSUMER_NONE, 1, state, sizeof(number));
    return 0;
}

static int digest(const void *state, uint32_t schema, baton_digest *ret_digest)
{
    (void)schema;
    *ret_digest = baton_digest_of(state, sizeof(uint64_t));
    return 0;
}

static int snapshot(const void *state, uint32_t schema, baton_snapshot_writer *writer)
{
    (void)schema;
    baton_pack_section(writer, "tally");
    baton_pack_row(writer, 1);
    baton_pack_uint(writer, *(const uint64_t *)state);
    return baton_pack_error(writer);
}

static int restore(void *state, uint32_t schema, baton_snapshot_reader *reader)
{
    (void)schema;
    uint32_t fields = 0;
    int r = baton_unpack_section(reader, "tally");
    if (r >= 0)
        r = baton_unpack_row(reader, &fields);
    return r == 1 && fields == 1 ? baton_unpack_uint(reader, state) : BATON_E_SCHEMA;
}

static int start(void *context, baton_engine *engine, const char *const *values, baton_error *error)
{
    (void)context;
    (void)values;
    (void)error;
    printf("found %" PRIu64 "\n", *(const uint64_t *)baton_engine_state(engine));
    int r = 0;
    uint64_t seq;
    for (uint64_t number = 1; number <= 3 && r == 0; number++)
        r = baton_engine_submit(engine, 1, &number, sizeof(number), &seq);
    return r;
}

static void release(void *context, const baton_effect *effect)
{
    uint64_t total;
    (void)context;
    memcpy(&total, effect->payload, sizeof(total));
    printf("durable: seq %" PRIu64 " total %" PRIu64 "\n", effect->seq, total);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const baton_entry_type types[] = {{.type = 1, .schema_min = 1}};
    static const baton_service tally = {
        .name = "tally",
        .version = "1.0.0",
        .schema = {.write = 1, .read_min = 1},
        .entry_types = types,
        .entry_types_count = 1,
        .create = create,
        .destroy = free,
        .apply = apply,
        .digest = digest,
        .snapshot = snapshot,
        .restore = restore,
    };
    static const baton_program program = {.start = start, .release = release};
    return baton_main(argc, argv, &tally, &program, NULL);
}
