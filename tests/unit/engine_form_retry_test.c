/* tests/unit/engine_form_retry_test.c: a snapshot that is due by its form and fails is not tried in
 * every turn, and whose fault it is is said (S4). */
#include "tests/unit/engine_fixture.h"

#include <errno.h>

#include <baton/log.h>

static struct {
    uint32_t due;
    uint32_t failed;
} told;

static void count_line(void *context, baton_log_level level, const char *line)
{
    (void)context;
    (void)level;
    told.due += strstr(line, " engine.snapshot_due ") != NULL;
    told.failed += strstr(line, " engine.snapshot_failed ") != NULL;
}

static uint64_t clock_now_ns;

static uint64_t clock_reads(const baton_clock *clock)
{
    (void)clock;
    return clock_now_ns;
}

static const baton_clock by_hand = {.monotonic_ns = clock_reads, .wall_ns = clock_reads};

/* Due by the journal, of which a byte is too much. */
static void make(engine_fixture *f, const char *name)
{
    engine_fixture_make(f, name);
    clock_now_ns = UINT64_C(1000000000);
    f->options.clock = &by_hand;
    f->options.retire = true;
    f->options.journal_bytes_max = 1;
    memset(&told, 0, sizeof(told));
    baton_log_set_sink(count_line, NULL, BATON_LOG_INFO);
}

static void remove_all(engine_fixture *f)
{
    engine_fixture_close(f);
    baton_log_set_sink(NULL, NULL, BATON_LOG_INFO);
    engine_fixture_remove(f);
}

/* So many looks, with a new entry before each. */
static void look(engine_fixture *f, uint32_t times)
{
    const baton_engine_snapshot_state *state = baton_engine_snapshot_status(f->engine);
    for (uint32_t i = 0; i < times; i++) {
        const uint64_t n = baton_engine_applied_seq(f->engine) + 1;
        clock_now_ns += UINT64_C(20000000);
        engine_fixture_submit_stream(f, n, n);
        engine_fixture_settle(f);
        do
            engine_fixture_turn(f);
        while (state->running);
    }
}

/* While the schema is pinned a portable one is for this layout's builds, too. */
static void a_failed_one_is_left_alone_for_a_while(const baton_service *service,
                                                   uint32_t pin_schema)
{
    engine_fixture f;
    io_fault *fault = io_fault_new();
    make(&f, "form_retry");
    f.options.pin_schema = pin_schema;
    f.options.snapshot_io_backend = io_fault_backend();
    f.options.snapshot_io_context = fault;
    engine_fixture_open(&f, service);
    io_fault_fail_all(fault, BATON_IO_RENAME, ENOSPC);
    look(&f, 20);
    assert_int_equal(told.failed, 1);
    clock_now_ns += BATON_RTO_RETRY_NS;
    look(&f, 2);
    assert_int_equal(told.failed, 2);
    io_fault_fail_all(fault, BATON_IO_RENAME, 0);
    clock_now_ns += BATON_RTO_RETRY_NS;
    look(&f, 2);
    assert_int_equal(told.failed, 2);
    assert_string_equal(baton_engine_snapshot_status(f.engine)->last_form, "portable");
    remove_all(&f);
    io_fault_free(fault);
}

static void one_for_builds_of_another_layout(void **unused)
{
    (void)unused;
    a_failed_one_is_left_alone_for_a_while(&toy_service_arena, 0);
}

static void one_of_a_pinned_schema(void **unused)
{
    (void)unused;
    a_failed_one_is_left_alone_for_a_while(&toy_service_arena_v2, 1);
}

/* Due while an image is taken, which then holds this very state: one of it is enough. */
static void nothing_new_since_an_image_is_no_reason(void **unused)
{
    (void)unused;
    engine_fixture f;
    make(&f, "form_nothing_new");
    engine_fixture_open(&f, &toy_service_arena);
    engine_fixture_turn(&f);
    engine_fixture_submit_stream(&f, 1, 100);
    engine_fixture_settle(&f);
    assert_int_equal(baton_engine_snapshot_begin(f.engine, &f.error), 0);
    clock_now_ns += UINT64_C(20000000);
    const baton_engine_snapshot_state *state = baton_engine_snapshot_status(f.engine);
    while (state->running)
        engine_fixture_turn(&f);
    assert_string_equal(state->last_form, "image");
    assert_int_equal(state->last_seq, 100);
    for (int i = 0; i < 5; i++)
        engine_fixture_turn(&f);
    assert_int_equal(told.due, 0);
    look(&f, 1); /* as soon as there is something new */
    assert_int_equal(told.due, 1);
    assert_string_equal(state->last_form, "portable");
    remove_all(&f);
}

static int wrong_snapshot(const void *state, uint32_t schema, baton_snapshot_writer *writer)
{
    (void)state;
    (void)schema;
    baton_pack_section(writer, "no section's name!");
    return 0;
}

static void what_a_service_does_wrong_is_not_the_disk_s(void **unused)
{
    (void)unused;
    engine_fixture f;
    baton_service wrong = toy_service_arena_v2;
    wrong.snapshot = wrong_snapshot;
    make(&f, "form_wrong");
    f.options.retire = false;
    f.options.pin_schema = 1; /* portable */
    for (int in_the_loop = 0; in_the_loop < 2; in_the_loop++) {
        f.options.pack_fork_error = in_the_loop ? -EAGAIN : 0;
        engine_fixture_open(&f, &wrong);
        look(&f, 1);
        assert_int_equal(engine_fixture_snapshot(&f), BATON_E_INVALID);
        const baton_engine_snapshot_state *state = baton_engine_snapshot_status(f.engine);
        assert_string_equal(state->last_error.todo, "look at the service's snapshot function");
        engine_fixture_close(&f);
    }
    engine_fixture_open(&f, &toy_service_arena);
    remove_all(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_for_builds_of_another_layout),
        cmocka_unit_test(one_of_a_pinned_schema),
        cmocka_unit_test(nothing_new_since_an_image_is_no_reason),
        cmocka_unit_test(what_a_service_does_wrong_is_not_the_disk_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
