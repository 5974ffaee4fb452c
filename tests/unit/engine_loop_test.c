/* tests/unit/engine_loop_test.c: watches that come and go inside callbacks, ticks. */
#include "tests/unit/engine_fixture.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/loop.h"

typedef struct watcher watcher;
struct watcher {
    baton_loop *loop;
    int fd;
    uint32_t calls;
    watcher *others; /* all of them */
    uint32_t others_count;
};

static int ready_fd(void)
{
    int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(fd >= 0);
    return fd;
}

static void count_calls(void *context, int fd, uint32_t events)
{
    watcher *w = context;
    assert_int_equal(fd, w->fd);
    assert_true(events & EPOLLIN);
    w->calls++;
}

static void unwatch_all(void *context, int fd, uint32_t events)
{
    watcher *w = context;
    count_calls(context, fd, events);
    for (uint32_t i = 0; i < w->others_count; i++)
        baton_loop_unwatch_fd(w->loop, w->others[i].fd);
}

static void a_watch_ended_in_a_callback_gets_no_collected_event(void **unused)
{
    (void)unused;
    baton_loop loop;
    watcher w[10];
    assert_int_equal(baton_loop_init(&loop), 0);
    for (uint32_t i = 0; i < 10; i++) {
        w[i] = (watcher){.loop = &loop, .fd = ready_fd(), .others = w, .others_count = 10};
        assert_int_equal(baton_loop_watch_fd(&loop, w[i].fd, EPOLLIN, unwatch_all, &w[i]), 0);
    }
    assert_int_equal(baton_loop_turn(&loop, 0), 0);
    assert_int_equal(baton_loop_turn(&loop, 0), 0);
    uint32_t calls = 0;
    for (uint32_t i = 0; i < 10; i++) {
        calls += w[i].calls;
        close(w[i].fd);
    }
    assert_int_equal(calls, 1);
    baton_loop_fini(&loop);
}

typedef struct {
    baton_loop *loop;
    watcher *victim;
    watcher fresh;
} replacing;

/* Closes the other's descriptor and watches a new one that gets the same number. */
static void replace(void *context, int fd, uint32_t events)
{
    replacing *self = context;
    (void)events;
    baton_loop_unwatch_fd(self->loop, fd);
    const int number = self->victim->fd;
    baton_loop_unwatch_fd(self->loop, number);
    const int quiet = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(quiet >= 0);
    assert_int_equal(dup2(quiet, number), number);
    close(quiet);
    self->fresh = (watcher){.loop = self->loop, .fd = number};
    assert_int_equal(baton_loop_watch_fd(self->loop, number, EPOLLIN, count_calls, &self->fresh),
                     0);
}

static void an_old_event_does_not_reach_a_new_watch_of_the_same_number(void **unused)
{
    (void)unused;
    baton_loop loop;
    assert_int_equal(baton_loop_init(&loop), 0);
    watcher a = {.loop = &loop, .fd = ready_fd()};
    watcher b = {.loop = &loop, .fd = ready_fd()};
    replacing ra = {.loop = &loop, .victim = &b};
    replacing rb = {.loop = &loop, .victim = &a};
    assert_int_equal(baton_loop_watch_fd(&loop, a.fd, EPOLLIN, replace, &ra), 0);
    assert_int_equal(baton_loop_watch_fd(&loop, b.fd, EPOLLIN, replace, &rb), 0);
    assert_int_equal(baton_loop_turn(&loop, 0), 0); /* whichever comes first replaces the other */
    assert_int_equal(ra.fresh.calls + rb.fresh.calls, 0);
    watcher *fresh = ra.fresh.loop != NULL ? &ra.fresh : &rb.fresh;
    assert_true((ra.fresh.loop != NULL) != (rb.fresh.loop != NULL));
    assert_int_equal(eventfd_write(fresh->fd, 1), 0);
    assert_int_equal(baton_loop_turn(&loop, 0), 0);
    assert_int_equal(fresh->calls, 1);
    close(a.fd);
    close(b.fd);
    baton_loop_fini(&loop);
}

static void a_number_closed_without_unwatch_can_be_watched_again(void **unused)
{
    (void)unused;
    baton_loop loop;
    assert_int_equal(baton_loop_init(&loop), 0);
    watcher old = {.loop = &loop, .fd = ready_fd()};
    assert_int_equal(baton_loop_watch_fd(&loop, old.fd, EPOLLIN, count_calls, &old), 0);
    close(old.fd);
    watcher fresh = {.loop = &loop, .fd = ready_fd()};
    assert_int_equal(fresh.fd, old.fd);
    assert_int_equal(baton_loop_watch_fd(&loop, fresh.fd, EPOLLIN, count_calls, &fresh), 0);
    assert_int_equal(baton_loop_turn(&loop, 0), 0);
    assert_int_equal(old.calls, 0);
    assert_int_equal(fresh.calls, 1);
    baton_loop_unwatch_fd(&loop, fresh.fd);
    baton_loop_unwatch_fd(&loop, fresh.fd);
    baton_loop_unwatch_fd(&loop, -1);
    baton_loop_unwatch_fd(&loop, 100000);
    close(fresh.fd);
    baton_loop_fini(&loop);
}

static void watching_again_changes_events_and_callback(void **unused)
{
    (void)unused;
    baton_loop loop;
    assert_int_equal(baton_loop_init(&loop), 0);
    watcher a = {.loop = &loop, .fd = ready_fd()};
    watcher b = {.loop = &loop, .fd = a.fd};
    assert_int_equal(baton_loop_watch_fd(&loop, a.fd, 0, count_calls, &a), 0);
    assert_int_equal(baton_loop_turn(&loop, 0), 0);
    assert_int_equal(a.calls, 0);
    assert_int_equal(baton_loop_watch_fd(&loop, a.fd, EPOLLIN, count_calls, &b), 0);
    assert_int_equal(baton_loop_turn(&loop, 0), 0);
    assert_int_equal(a.calls, 0);
    assert_int_equal(b.calls, 1);
    assert_int_equal(baton_loop_watch_fd(&loop, -1, EPOLLIN, count_calls, &b), BATON_E_INVALID);
    close(a.fd);
    baton_loop_fini(&loop);
}

static void many_descriptors_grow_the_table(void **unused)
{
    (void)unused;
    enum { COUNT = 300 };
    baton_loop loop;
    static watcher w[COUNT];
    assert_int_equal(baton_loop_init(&loop), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        w[i] = (watcher){.loop = &loop, .fd = ready_fd()};
        assert_int_equal(baton_loop_watch_fd(&loop, w[i].fd, EPOLLIN, count_calls, &w[i]), 0);
    }
    for (uint32_t turns = 0; turns < COUNT; turns++)
        assert_int_equal(baton_loop_turn(&loop, 0), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_true(w[i].calls > 0); /* nobody starves */
        close(w[i].fd);
    }
    baton_loop_fini(&loop);
}

static void without_epoll_pwait2_it_sleeps_in_whole_milliseconds(void **unused)
{
    (void)unused;
    baton_loop loop;
    assert_int_equal(baton_loop_init(&loop), 0);
    loop.whole_ms_only = true;
    watcher a = {.loop = &loop, .fd = ready_fd()};
    assert_int_equal(baton_loop_turn(&loop, 1), 0);
    assert_int_equal(baton_loop_watch_fd(&loop, a.fd, EPOLLIN, count_calls, &a), 0);
    assert_int_equal(baton_loop_turn(&loop, UINT64_MAX), 0);
    assert_int_equal(a.calls, 1);
    close(a.fd);
    baton_loop_fini(&loop);
}

/* ---- in an engine ---- */

static void tick(void *context)
{
    engine_fixture *f = context;
    const toy_tick entry = {baton_le64_put(baton_engine_time_ns(f->engine))};
    uint64_t seq;
    int r = baton_engine_submit(f->engine, TOY_TICK, &entry, sizeof(entry), &seq);
    assert_int_equal(r, 0);
}

static void ticks_come_until_the_drain_begins(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "loop_ticks");
    engine_fixture_open(&f, &toy_service_v1);
    baton_engine_tick_every(f.engine, 1000000, tick, &f);
    for (int i = 0; i < 100000 && toy_ticks(baton_engine_state(f.engine)) < 20; i++)
        assert_int_equal(baton_engine_turn(f.engine, UINT64_MAX, &f.error), 0);
    assert_int_equal(toy_ticks(baton_engine_state(f.engine)), 20);
    baton_engine_seal(f.engine);
    for (int i = 0; i < 20; i++)
        engine_fixture_turn(&f);
    engine_fixture_settle(&f);
    assert_int_equal(toy_ticks(baton_engine_state(f.engine)), 20);
    engine_fixture_close(&f);

    engine_fixture_open(&f, &toy_service_v1);
    baton_engine_tick_every(f.engine, 1000000, tick, &f);
    baton_engine_tick_every(f.engine, 0, tick, &f);
    for (int i = 0; i < 5; i++)
        engine_fixture_turn(&f);
    assert_int_equal(toy_ticks(baton_engine_state(f.engine)), 20);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

typedef struct {
    engine_fixture *f;
    int fd;
} input;

static void take_input(void *context, int fd, uint32_t events)
{
    input *in = context;
    eventfd_t value;
    (void)events;
    assert_int_equal(eventfd_read(fd, &value), 0);
    assert_int_equal(engine_fixture_add(in->f, 3, 1), 0);
}

static void a_watched_descriptor_wakes_the_engine_and_its_entry_is_released(void **unused)
{
    (void)unused;
    engine_fixture f;
    engine_fixture_make(&f, "loop_watch");
    engine_fixture_open(&f, &toy_service_v1);
    input in = {&f, ready_fd()};
    assert_int_equal(baton_engine_watch(f.engine, in.fd, EPOLLIN, take_input, &in), 0);
    while (baton_engine_released_seq(f.engine) < 1) /* without a limit: only events can wake it */
        assert_int_equal(baton_engine_turn(f.engine, UINT64_MAX, &f.error), 0);
    const uint64_t turns = f.turns_count;
    assert_true(turns > 0);
    baton_engine_unwatch(f.engine, in.fd);
    assert_int_equal(eventfd_write(in.fd, 1), 0);
    for (int i = 0; i < 3; i++)
        engine_fixture_turn(&f);
    assert_int_equal(baton_engine_applied_seq(f.engine), 1);
    close(in.fd);
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watch_ended_in_a_callback_gets_no_collected_event),
        cmocka_unit_test(an_old_event_does_not_reach_a_new_watch_of_the_same_number),
        cmocka_unit_test(a_number_closed_without_unwatch_can_be_watched_again),
        cmocka_unit_test(watching_again_changes_events_and_callback),
        cmocka_unit_test(many_descriptors_grow_the_table),
        cmocka_unit_test(without_epoll_pwait2_it_sleeps_in_whole_milliseconds),
        cmocka_unit_test(ticks_come_until_the_drain_begins),
        cmocka_unit_test(a_watched_descriptor_wakes_the_engine_and_its_entry_is_released),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
