/* The matching engine in its arena: all of it is there, and its bytes are all of it. */
#include "tests/unit/exchange_machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COMMANDS = 20000, CLIENTS = 40 };

/* A flow of commands that is the same for every state it meets. */
typedef struct {
    uint64_t random;
    uint64_t client_seqs[CLIENTS];
} command_flow;

static command_flow flow_of(uint64_t seed)
{
    return (command_flow){.random = seed};
}

static uint64_t below(command_flow *own, uint64_t bound)
{
    uint64_t mixed = own->random += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return (mixed ^ mixed >> 31) % bound;
}

static uint64_t seed(void)
{
    const char *given = getenv("BATON_SEED");
    uint64_t value = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("seed: BATON_SEED=%llu\n", (unsigned long long)value);
    return value;
}

static void one_command(command_flow *own, exchange_machine *machine)
{
    const uint64_t client = below(own, CLIENTS), kind = below(own, 100);
    const uint64_t order = 1 + below(own, machine->machine.seq + 1);
    const uint64_t time_ns = machine->machine.time_ns;
    if (kind < 5) {
        assert_int_equal(machine_tick(machine, time_ns + below(own, 50)), 0);
        return;
    }
    const uint64_t client_seq = ++own->client_seqs[client];
    if (kind < 30) {
        const exchange_cancel cancel = cancel_of(client + 1, client_seq, order);
        assert_int_equal(machine_apply(machine, ENTRY_CANCEL, &cancel, sizeof(cancel)), 0);
    } else if (kind < 40) {
        const exchange_reduce reduce = reduce_of(client + 1, client_seq, order, 1 + below(own, 20));
        assert_int_equal(machine_apply(machine, ENTRY_REDUCE, &reduce, sizeof(reduce)), 0);
    } else {
        exchange_new_order made =
            order_of(client + 1, client_seq, below(own, 2) == 0 ? BOOK_BUY : BOOK_SELL,
                     (int64_t)(1000 + below(own, 200)), 1 + below(own, 50));
        if (kind > 80) {
            made.time_in_force = BOOK_GTD;
            made.expire_ns = baton_le64_put(time_ns + 1 + below(own, 4000));
        }
        assert_int_equal(machine_apply(machine, ENTRY_NEW_ORDER, &made, sizeof(made)), 0);
    }
}

static void commands(command_flow *own, exchange_machine *machine, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        one_command(own, machine);
}

static void expect_sound(const baton_arena *arena)
{
    baton_error error = {0};
    const char *wrong = baton_arena_check(arena);
    if (wrong != NULL)
        fail_msg("%s", wrong);
    if (baton_arena_scan(arena, &error) < 0)
        fail_msg("%s", error.why);
}

static void no_pointer_of_a_busy_engine_leaves_its_arena(void **state)
{
    (void)state;
    exchange_machine own;
    command_flow flow = flow_of(seed());
    machine_make(&own, (machine_wish){.outbox = "trades"});
    const matching_engine *engine = machine_state(&own);
    assert_non_null(own.machine.arena);
    assert_ptr_equal(baton_arena_root(own.machine.arena), engine);
    assert_true(baton_arena_holds(own.machine.arena, engine->book));
    assert_true(baton_arena_holds(own.machine.arena, engine->clients));
    for (uint32_t i = 0; i < 4; i++) {
        commands(&flow, &own, COMMANDS / 4);
        expect_sound(own.machine.arena);
    }
    assert_true(book_orders_count(engine->book) > 100);
    machine_end(&own);
}

/* "No call after creation allocates" is a promise of the book: here it can be seen. */
static void applying_takes_no_memory(void **state)
{
    (void)state;
    exchange_machine own;
    baton_arena_usage before, after;
    command_flow flow = flow_of(seed());
    machine_make(&own, (machine_wish){0});
    baton_arena_get_usage(own.machine.arena, &before);
    commands(&flow, &own, COMMANDS);
    baton_arena_get_usage(own.machine.arena, &after);
    assert_memory_equal(&before, &after, sizeof(before));
    machine_end(&own);
}

typedef struct {
    baton_digest state;
    baton_digest effects;
} outcome;

static outcome outcome_of(const exchange_machine *own)
{
    return (outcome){.state = machine_digest(own, 2), .effects = own->machine.effect_digest};
}

/* Go on with `count` commands on another state than the machine's own. */
static outcome go_on_with(void *engine, const baton_machine *at, command_flow flow, uint32_t count)
{
    exchange_machine other;
    machine_make(&other, (machine_wish){.outbox = "trades"});
    void *own = other.machine.state;
    other.machine.state = engine;
    other.machine.seq = at->seq;
    other.machine.time_ns = at->time_ns;
    other.machine.effect_digest = at->effect_digest;
    commands(&flow, &other, count);
    const outcome result = outcome_of(&other);
    other.machine.state = own;
    machine_end(&other);
    return result;
}

static void the_bytes_at_the_same_address_go_on_as_the_engine_does(void **state)
{
    (void)state;
    exchange_machine own;
    baton_error error = {0};
    command_flow flow = flow_of(seed());
    machine_make(&own, (machine_wish){.outbox = "trades"});
    commands(&flow, &own, COMMANDS);
    const baton_arena_range used = baton_arena_used(own.machine.arena);
    void *image = malloc(used.bytes_count);
    assert_non_null(image);
    memcpy(image, used.base, used.bytes_count);
    const outcome then = outcome_of(&own);
    const command_flow flow_then = flow;
    const baton_machine at = {.seq = own.machine.seq,
                              .time_ns = own.machine.time_ns,
                              .effect_digest = own.machine.effect_digest};
    commands(&flow, &own, COMMANDS);
    const outcome expected = outcome_of(&own);
    assert_false(baton_digest_equal(expected.state, then.state));
    machine_end(&own);

    const baton_arena_options options = {.address = (uintptr_t)used.base};
    baton_arena *arena = NULL;
    assert_int_equal(baton_arena_place(&options, used.bytes_count, &arena, &error), 0);
    memcpy(arena, image, used.bytes_count);
    assert_int_equal(
        baton_arena_adopt(arena, used.bytes_count, matching_engine_service.layout, &error), 0);
    const outcome got = go_on_with(baton_arena_root(arena), &at, flow_then, COMMANDS);
    assert_memory_equal(&got, &expected, sizeof(got));
    expect_sound(arena);
    baton_arena_destroy(arena);
    free(image);
}

static void a_state_on_the_heap_does_the_same(void **state)
{
    (void)state;
    exchange_machine own;
    baton_error error = {0};
    void *heap = NULL;
    const command_flow flow_start = flow_of(seed());
    command_flow flow = flow_start;
    machine_make(&own, (machine_wish){.outbox = "trades"});
    const baton_machine at = {0};
    const baton_service_config config = {.values = own.values};
    assert_int_equal(matching_engine_service.create(&config, &heap, &error), 0);
    commands(&flow, &own, COMMANDS);
    const outcome expected = outcome_of(&own);
    assert_false(baton_arena_holds(own.machine.arena, heap));
    machine_end(&own);
    const outcome got = go_on_with(heap, &at, flow_start, COMMANDS);
    assert_memory_equal(&got, &expected, sizeof(got));
    matching_engine_service.destroy(heap);
}

static void a_reset_machine_has_the_same_state_at_the_same_place(void **state)
{
    (void)state;
    exchange_machine own;
    baton_error error = {0};
    const uint64_t value = seed();
    command_flow flow = flow_of(value);
    machine_make(&own, (machine_wish){0});
    const void *place = own.machine.state;
    const outcome empty = outcome_of(&own);
    commands(&flow, &own, COMMANDS / 4);
    const outcome expected = outcome_of(&own);
    assert_int_equal(baton_machine_reset(&own.machine, &error), 0);
    assert_ptr_equal(own.machine.state, place);
    outcome got = outcome_of(&own);
    assert_memory_equal(&got, &empty, sizeof(got));
    flow = flow_of(value);
    commands(&flow, &own, COMMANDS / 4);
    got = outcome_of(&own);
    assert_memory_equal(&got, &expected, sizeof(got));
    machine_end(&own);
}

/* ---- what is refused ---- */

static int create_on_the_heap(const baton_service_config *config, void **ret_state,
                              baton_error *error)
{
    const baton_service_config without = {.values = config->values};
    return matching_engine_service.create(&without, ret_state, error);
}

static void expect_init(const baton_service *service, baton_arena_options options, int status,
                        const char *why, const char *todo)
{
    baton_machine machine;
    baton_error error = {0};
    const baton_service_config config = {.arena_options = options};
    assert_int_equal(baton_machine_init(&machine, service, &config, &error), status);
    if (strstr(error.why, why) == NULL || strstr(error.todo, todo) == NULL)
        fail_msg("'%s: %s' does not say '%s: %s'", error.why, error.todo, why, todo);
    baton_machine_fini(&machine);
}

static void an_arena_that_does_not_fit_is_refused_with_what_to_do(void **state)
{
    (void)state;
    const uint64_t mib = UINT64_C(1) << 20;
    exchange_machine other;
    expect_init(&matching_engine_service, (baton_arena_options){.reserve_bytes = 2 * mib},
                BATON_E_FULL, "too small", "--arena-size");
    expect_init(&matching_engine_service, (baton_arena_options){.address = 4096 * 5},
                BATON_E_INVALID, "multiple of 2 MiB", "another");
    machine_make(&other, (machine_wish){0});
    expect_init(&matching_engine_service,
                (baton_arena_options){.address = (uintptr_t)other.machine.arena}, -EEXIST,
                "already", "--arena-address");
    machine_end(&other);
}

static void a_state_outside_of_the_arena_is_refused(void **state)
{
    (void)state;
    baton_service wrong = matching_engine_service;
    wrong.create = create_on_the_heap;
    expect_init(&wrong, (baton_arena_options){0}, BATON_E_INVALID, "another place",
                "config->arena");
    const baton_layout empty = {.name = "none", .revision = 1};
    wrong = matching_engine_service;
    wrong.layout = &empty;
    expect_init(&wrong, (baton_arena_options){0}, BATON_E_INVALID, "types", "baton/layout.h");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_pointer_of_a_busy_engine_leaves_its_arena),
        cmocka_unit_test(applying_takes_no_memory),
        cmocka_unit_test(the_bytes_at_the_same_address_go_on_as_the_engine_does),
        cmocka_unit_test(a_state_on_the_heap_does_the_same),
        cmocka_unit_test(a_reset_machine_has_the_same_state_at_the_same_place),
        cmocka_unit_test(an_arena_that_does_not_fit_is_refused_with_what_to_do),
        cmocka_unit_test(a_state_outside_of_the_arena_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
