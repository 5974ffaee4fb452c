/* tests/unit/engine_form_kill_test.c: kill -9 at every step of portable snapshots that a child
 * packs: of the child, of the service, of the service under its child. What was released is there,
 * every snapshot is whole or absent, and no child outlives its parent. */
#include "tests/unit/engine_fixture.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 2u  /* snapshots in a life */
#define EACH   40u /* entries before each */
#define HANG_S 120 /* only bounds a hang */

typedef enum { KILL_SELF, KILL_PARENT } victim;

/* What the service, its children and the test see. */
typedef struct {
    _Atomic uint64_t steps;
    _Atomic uint64_t steps_of_children;
    _Atomic uint64_t released;
    uint64_t at; /* the step to end at; KILL_PARENT: counted in children */
    victim victim;
    _Atomic int killed_in_child;
} shared;
static shared *seen;
static pid_t service_pid;
static engine_expected *expected;
static baton_service service; /* toy_service_arena, pinned: every snapshot is portable */

static void step(void)
{
    const bool in_child = getpid() != service_pid;
    uint64_t n = atomic_fetch_add(&seen->steps, 1) + 1;
    const uint64_t in_children = atomic_fetch_add(&seen->steps_of_children, in_child) + in_child;
    if (seen->victim == KILL_PARENT)
        n = in_child ? in_children : 0;
    if (n != seen->at)
        return;
    if (in_child)
        atomic_store(&seen->killed_in_child, 1);
    kill(seen->victim == KILL_PARENT ? getppid() : getpid(), SIGKILL);
    for (;;)
        pause(); /* the kernel ends it, nobody else does */
}

static int decide(void *context, uint64_t n, const baton_io_op *op)
{
    (void)context;
    (void)n;
    (void)op;
    step();
    return 0;
}

static int stepping_snapshot(const void *state, uint32_t schema, baton_snapshot_writer *writer)
{
    step();
    int r = toy_service_arena.snapshot(state, schema, writer);
    step();
    return r;
}

static int make_world(void **unused)
{
    (void)unused;
    expected = engine_stream_expected(ROUNDS * EACH + 100);
    service = toy_service_arena;
    service.schema.write = 2;
    service.snapshot = stepping_snapshot;
    seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return seen == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0; /* orphans come to us */
}

static int free_world(void **unused)
{
    (void)unused;
    free(expected);
    munmap(seen, sizeof(*seen));
    return 0;
}

static void released(void *context, const baton_effect *effect)
{
    (void)context;
    atomic_store(&seen->released, effect->seq);
}

/* In a process of its own, where no assertion of the test's may run: how it went is its exit. */
static int serve(const engine_fixture *f)
{
    const baton_engine_hooks hooks = {.release = released};
    io_fault *faults[2] = {io_fault_new(), io_fault_new()};
    baton_engine_options options = f->options;
    baton_hydrate_report report;
    baton_engine *engine = NULL;
    options.pin_schema = 1;
    options.snapshot_io_backend = options.image_io_backend = io_fault_backend();
    options.snapshot_io_context = faults[0];
    options.image_io_context = faults[1];
    service_pid = getpid();
    if (baton_engine_open(&service, f->path, &options, &hooks, &engine, &report, NULL) < 0)
        return 2;
    const baton_engine_snapshot_state *state = baton_engine_snapshot_status(engine);
    for (int i = 0; i < 2; i++)
        io_fault_set_decide(faults[i], decide, NULL);
    uint32_t failed = 0;
    for (uint64_t n = 0; n < ROUNDS * EACH;) {
        const toy_add add = engine_stream_entry(++n);
        if (baton_engine_submit(engine, TOY_ADD, &add, sizeof(add), NULL) < 0)
            return 3;
        if (baton_engine_turn(engine, 1000000, NULL) < 0)
            return 4;
        if (n % EACH != 0)
            continue;
        if (baton_engine_snapshot_begin(engine, NULL) < 0)
            return 5;
        while (state->running)
            if (baton_engine_turn(engine, 1000000, NULL) < 0)
                return 6;
        failed += state->last_status < 0;
    }
    if (state->taken_count + failed != ROUNDS || failed > 1)
        return 7;
    if (state->taken_count > 0 && strcmp(state->portable_by, "fork") != 0)
        return 8;
    return baton_engine_close(engine) < 0 ? 9 : 0;
}

/* Until nobody is left: a child that outlived its parent would keep it for ever. */
static void wait_for_all(pid_t pid, int *ret_status)
{
    int status;
    pid_t ended;
    alarm(HANG_S);
    while ((ended = waitpid(-1, &status, 0)) > 0 || errno == EINTR)
        if (ended == pid)
            *ret_status = status;
    alarm(0);
    assert_int_equal(errno, ECHILD);
}

static void assert_whole(const engine_fixture *f)
{
    char directory[TEST_PATH_BYTES + 32];
    baton_snapshot_listed *listed;
    uint32_t count;
    baton_error error;
    snprintf(directory, sizeof(directory), "%s/snapshots", f->path);
    assert_int_equal(baton_snapshot_list(directory, &listed, &count, NULL), 0);
    for (uint32_t i = 0; i < count; i++)
        if (baton_snapshot_verify(directory, &listed[i], &error) != 0)
            fail_msg("%s: %s", listed[i].manifest_path, error.why);
    free(listed);
}

static void assert_nothing_unfinished(const engine_fixture *f)
{
    char command[TEST_PATH_BYTES + 96];
    snprintf(command, sizeof(command), "test -z \"$(find '%s' -name '*.partial')\"", f->path);
    assert_int_equal(system(command), 0);
}

/* Returns the steps of a whole life. */
static uint64_t one_life(uint64_t at, victim whom)
{
    engine_fixture f;
    int status = 0;
    engine_fixture_make(&f, "form_kill");
    *seen = (shared){.at = at, .victim = whom};
    const pid_t pid = fork();
    if (pid == 0)
        _exit(serve(&f));
    assert_true(pid > 0);
    wait_for_all(pid, &status);
    const bool died = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (!died && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
        fail_msg("at step %" PRIu64 ": the service ended with status 0x%x", at, (unsigned)status);
    if (seen->killed_in_child)
        assert_int_equal(died, whom == KILL_PARENT);
    assert_whole(&f);

    engine_fixture_open(&f, &toy_service_arena_other);
    const uint64_t seq = engine_fixture_status(&f).seq;
    if (seq < seen->released)
        fail_msg("at step %" PRIu64 ": released %" PRIu64 ", found %" PRIu64, at,
                 (uint64_t)seen->released, seq);
    engine_assert_uninterrupted(&f, expected);
    if (f.report.snapshots_skipped > 0)
        assert_non_null(strstr(f.report.snapshot_skipped_why, "nothing durable"));
    assert_nothing_unfinished(&f);
    engine_fixture_submit_stream(&f, seq + 1, seq + 20);
    assert_int_equal(engine_fixture_snapshot(&f), 0);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
    return seen->steps;
}

static void sweep(victim whom)
{
    const uint64_t all = one_life(UINT64_MAX, whom);
    print_message("%" PRIu64 " steps, %" PRIu64 " of them in children\n", all,
                  (uint64_t)seen->steps_of_children);
    assert_true(seen->steps_of_children > 5 * ROUNDS && all > 2 * seen->steps_of_children);
    uint64_t in_children = 0;
    const uint64_t end = whom == KILL_PARENT ? seen->steps_of_children : all;
    for (uint64_t at = 1; at <= end; at += engine_sweep_stride()) {
        (void)one_life(at, whom);
        in_children += (uint64_t)seen->killed_in_child;
    }
    assert_true(in_children > 2);
}

static void whoever_is_killed_nothing_half_made_is_seen(void **unused)
{
    (void)unused;
    sweep(KILL_SELF);
}

static void a_child_does_not_outlive_its_parent(void **unused)
{
    (void)unused;
    sweep(KILL_PARENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_is_killed_nothing_half_made_is_seen),
        cmocka_unit_test(a_child_does_not_outlive_its_parent),
    };
    return cmocka_run_group_tests(tests, make_world, free_world);
}
