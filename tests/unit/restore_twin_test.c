/* tests/unit/restore_twin_test.c: a matching engine that was restored from a snapshot runs beside the
 * one it was taken of: after every entry both have sent out the same, and every so often their states are
 * the same. A state digest alone would not see an order of iteration that a restore changes. Every
 * 25,000 entries the twin is replaced by one restored from its own snapshot, so that what a restore
 * changes would add up.
 *
 *     restore_twin_test             the built-in generator
 *     restore_twin_test recorded    recorded order flow, from BATON_DATA */
#include "tests/unit/exchange_machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "examples/exchange/load/stream.h"
#include "snapshot/store.h"
#include "tests/support/test_dir.h"

#define BESIDE_MIN    100000u /* entries that both apply */
#define RESTORE_EVERY 25000u
#define COMPARE_EVERY 1000u
#define BEGIN_AFTER   5000u /* so much state before the first snapshot */

static char recorded[TEST_PATH_BYTES];
static char seed_book[TEST_PATH_BYTES];

typedef struct {
    load_command *commands;
    uint32_t count;
} flow;

/* ---- through a published snapshot ---- */

typedef struct {
    test_dir dir;
    baton_io *io;
} disk;

static void publish(disk *to, const exchange_machine *from, uint32_t schema)
{
    baton_snapshot_writer *writer = NULL;
    baton_snapshot_info info = {.schema = schema,
                                .seq = from->machine.seq,
                                .epoch = schema,
                                .state_digest = machine_digest(from, schema),
                                .effect_digest = from->machine.effect_digest};
    strcpy(info.service, matching_engine_service.name);
    strcpy(info.version, matching_engine_service.version);
    assert_int_equal(baton_snapshot_writer_create(NULL, &writer), 0);
    assert_int_equal(baton_machine_pack(&from->machine, schema, writer), 0);
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), 0);
    assert_int_equal(baton_snapshot_publish(to->io, to->dir.path, writer, &info, NULL), 0);
}

static void restore(disk *from, exchange_machine *to, uint64_t seq, uint32_t schema)
{
    baton_snapshot_listed *list = NULL;
    baton_snapshot_reader *reader = NULL;
    uint32_t count = 0;
    baton_error error = {0};
    assert_int_equal(baton_snapshot_list_with(from->io, from->dir.path, &list, &count, &error), 0);
    for (uint32_t i = 0; i < count; i++)
        if (list[i].info.seq == seq && list[i].info.schema == schema)
            assert_int_equal(
                baton_snapshot_reader_open(from->io, from->dir.path, &list[i], &reader, &error), 0);
    free(list);
    assert_non_null(reader);
    machine_make(to, (machine_wish){0});
    if (baton_machine_unpack(&to->machine, reader, &error) != 0)
        fail_msg("%s", error.why);
    baton_snapshot_reader_close(reader);
}

/* ---- side by side ---- */

static void compare(const exchange_machine *original, const exchange_machine *twin)
{
    for (uint32_t schema = 1; schema <= 2; schema++)
        if (!baton_digest_equal(machine_digest(original, schema), machine_digest(twin, schema)))
            fail_msg("after entry %d the states differ", (int)original->machine.seq);
    assert_null(book_check(machine_state(twin)->book, true));
}

static void apply(exchange_machine *own, const load_command *command, uint64_t time_ns)
{
    const baton_entry entry = {.seq = own->machine.seq + 1,
                               .epoch = 1,
                               .time_ns = time_ns,
                               .type = command->type,
                               .payload = command->body.bytes,
                               .payload_bytes = command->body_bytes};
    own->effects_count = 0;
    assert_int_equal(baton_machine_apply(&own->machine, &entry), 0);
}

/* Returns how many entries both applied. */
static uint32_t run(const flow *from)
{
    exchange_machine original, twin;
    disk own;
    uint32_t beside = 0, restored = 0;
    uint64_t effects = 0;
    test_dir_make(&own.dir, "restore_twin");
    assert_int_equal(baton_io_open(&(baton_io_options){.ops_max = 16}, &own.io, NULL), 0);
    machine_make(&original, (machine_wish){0});
    for (uint32_t i = 0; i < from->count; i++) {
        const uint64_t time_ns = 1 + from->commands[i].intended_ns;
        if (i >= BEGIN_AFTER && (i - BEGIN_AFTER) % RESTORE_EVERY == 0) {
            const exchange_machine *source = restored > 0 ? &twin : &original;
            publish(&own, source, 2);
            if (restored++ > 0)
                machine_end(&twin);
            restore(&own, &twin, original.machine.seq, 2);
            compare(&original, &twin);
        }
        apply(&original, &from->commands[i], time_ns);
        effects += original.effects_count;
        if (restored == 0)
            continue;
        apply(&twin, &from->commands[i], time_ns);
        if (!baton_digest_equal(original.machine.effect_digest, twin.machine.effect_digest))
            fail_msg("entry %d sends out something else", (int)original.machine.seq);
        if (++beside % COMPARE_EVERY == 0)
            compare(&original, &twin);
    }
    assert_true(restored > 3);
    compare(&original, &twin);
    print_message("%d entries side by side, %d effects, %d restores, at last %d orders rest\n",
                  (int)beside, (int)effects, (int)restored,
                  (int)book_orders_count(machine_state(&twin)->book));
    machine_end(&twin);
    machine_end(&original);
    baton_io_close(own.io);
    test_dir_remove(&own.dir);
    return beside;
}

static uint64_t seed(void)
{
    const char *text = getenv("BATON_SEED");
    const uint64_t number = text != NULL ? strtoull(text, NULL, 10) : 20261121;
    print_message("seed: BATON_SEED=%llu\n", (unsigned long long)number);
    return number;
}

static void a_restored_engine_is_a_twin_for_100000_generated_entries(void **state)
{
    (void)state;
    flow made;
    baton_error error = {0};
    const stream_options options = {.commands = 120000,
                                    .clients = 50,
                                    .seed = seed(),
                                    .rate = 10000,
                                    .compression = 1,
                                    .virtual_time = true};
    assert_int_equal(stream_generate(&options, &made.commands, &made.count, &error), 0);
    assert_true(run(&made) >= BESIDE_MIN);
    free(made.commands);
}

static void a_restored_engine_is_a_twin_for_100000_recorded_entries(void **state)
{
    (void)state;
    flow made;
    baton_error error = {0};
    const stream_options options = {.clients = 50,
                                    .rate = 10000,
                                    .compression = 1,
                                    .virtual_time = true,
                                    .lobster = recorded,
                                    .seed_book = seed_book,
                                    .match = true};
    assert_int_equal(stream_read_lobster(&options, &made.commands, &made.count, &error), 0);
    assert_true(run(&made) >= BESIDE_MIN);
    free(made.commands);
}

static bool find_recorded(void)
{
    const char *data = getenv("BATON_DATA");
    const char *source = getenv("BATON_SOURCE");
    char folder[TEST_PATH_BYTES - 64];
    if (data != NULL)
        (void)snprintf(folder, sizeof(folder), "%s", data);
    else
        (void)snprintf(folder, sizeof(folder), "%s/../shared/data", source != NULL ? source : ".");
    (void)snprintf(recorded, sizeof(recorded), "%s/lobster-aapl-hour/messages.csv", folder);
    (void)snprintf(seed_book, sizeof(seed_book), "%s/lobster-aapl-hour/seed-book.csv", folder);
    return access(recorded, R_OK) == 0 && access(seed_book, R_OK) == 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest generated[] = {
        cmocka_unit_test(a_restored_engine_is_a_twin_for_100000_generated_entries),
    };
    const struct CMUnitTest from_record[] = {
        cmocka_unit_test(a_restored_engine_is_a_twin_for_100000_recorded_entries),
    };
    if (argc != 2 || strcmp(argv[1], "recorded") != 0)
        return cmocka_run_group_tests(generated, NULL, NULL);
    if (!find_recorded()) {
        printf("%s is not there: set BATON_DATA to a folder of recorded order flow\n", recorded);
        return 77;
    }
    return cmocka_run_group_tests(from_record, NULL, NULL);
}
