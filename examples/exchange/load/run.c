/* The life of a run: connections, what is due, storms, and the end. */
#include "examples/exchange/load/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <baton/clock.h>

#include "examples/exchange/load/run_private.h"

enum {
    PROGRESS_EVERY_NS = 1000000000,
    SLEEP_NS_MAX = 20000000,
    STOP_SILENCE_NS = 5000000000,
    SECOND_NS = 1000000000,
    EVENTS_AT_ONCE = 64,
};

static uint64_t now_ns(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}

/* ---- connections ---- */

static void note_made(runner *own, uint32_t lane_index, uint64_t now)
{
    run_lane *over = &own->list[lane_index];
    const bool again = over->line.number != 0;
    over->line.number = ++own->result->connections;
    over->asked_ns = now;
    over->again_open = 0;
    own->lanes.list[lane_index].resend_next = own->lanes.list[lane_index].first_open;
    own->lanes_down--;
    if (again)
        events_note(&own->result->events, now, EVENT_MADE, 1, NULL);
}

static void drop(runner *own, uint32_t lane_index, uint64_t now)
{
    run_lane *over = &own->list[lane_index];
    own->lanes_down += over->line.state == LINE_LIVE;
    over->again_open = 0; /* whoever asks for a second answer loses it with the connection */
    line_drop(&over->line, now);
}

static int lane_turn(runner *own, uint32_t lane_index, uint64_t now)
{
    line *over = &own->list[lane_index].line;
    bool made;
    int r = line_turn(over, own->epoll_fd, lane_index, now, &made);
    if (r == BATON_E_INVALID)
        return baton_error_setf(own->error, r, "connect", "correct --connect or --admin",
                                "%s is not unix:PATH or tcp:HOST:PORT",
                                over->to->addresses[over->address]);
    if (r < 0)
        return r;
    if (made)
        note_made(own, lane_index, now);
    if (over->state != LINE_LIVE)
        return 0;
    run_send(own, lane_index, now);
    connection_send(&over->stream);
    r = over->slow && now >= over->read_at_ns ? run_receive(own, lane_index) : 0;
    if (line_is_over(over)) {
        events_note(&own->result->events, now, EVENT_LOST, 1, NULL);
        drop(own, lane_index, now);
    }
    line_watch(over, own->epoll_fd, lane_index, now);
    return r;
}

/* Deposits are answered: the flow begins, and nobody needs their connection any more. */
static void begin_flow(runner *own, uint64_t now)
{
    own->result->began_ns = now;
    own->phase_end = own->options->count;
    if (own->lanes_count > own->lanes.lanes_count) {
        drop(own, own->lanes.lanes_count, now);
        own->lanes_count--;
        own->lanes_down--;
    }
    own->storm_at_ns = now + own->options->storm_every_ns;
}

static int turn(runner *own, uint64_t now)
{
    uint64_t until_ns = now + SLEEP_NS_MAX;
    for (uint32_t i = 0; i < own->lanes_count; i++) {
        int r = lane_turn(own, i, now);
        if (r < 0)
            return r;
        const uint64_t next_ns = run_next_ns(own, i);
        until_ns = next_ns < until_ns ? next_ns : until_ns;
    }
    struct epoll_event ready[EVENTS_AT_ONCE];
    now = now_ns();
    const uint64_t sleep_ns = until_ns > now ? until_ns - now : 0;
    const struct timespec timeout = {.tv_sec = (time_t)(sleep_ns / SECOND_NS),
                                     .tv_nsec = (long)(sleep_ns % SECOND_NS)};
    const int count = epoll_pwait2(own->epoll_fd, ready, EVENTS_AT_ONCE, &timeout, NULL);
    if (count < 0 && errno != EINTR)
        return -errno;
    for (int i = 0; i < count; i++) {
        const uint32_t lane_index = (uint32_t)ready[i].data.u64;
        const bool readable = (ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
        int r = readable && own->list[lane_index].line.state == LINE_LIVE
                    ? run_receive(own, lane_index)
                    : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- storms ---- */

/* Some of our own connections end at once, wherever they are, and come back at once; strangers come with them. */
static void storm(runner *own, uint64_t now)
{
    const run_options *options = own->options;
    const uint32_t count =
        options->storm_count < options->connections ? options->storm_count : options->connections;
    const uint32_t first = (uint32_t)(stream_random(&own->random) % options->connections);
    for (uint32_t i = 0; i < count; i++)
        if (own->list[(first + i) % options->connections].line.state == LINE_LIVE)
            drop(own, (first + i) % options->connections, now);
    visitors_come(&own->visitors, options->storm_count, now);
    own->result->storms++;
    events_note(&own->result->events, now, EVENT_STORM, count, NULL);
    /* The mean is storm_every_ns. */
    own->storm_at_ns =
        now + options->storm_every_ns / 2 + stream_random(&own->random) % options->storm_every_ns;
}

static void storms_turn(runner *own, uint64_t now)
{
    if (own->options->storm_every_ns != 0 && own->phase_end == own->options->count &&
        own->stopping_since_ns == 0 && now >= own->storm_at_ns)
        storm(own, now);
    visitors_turn(&own->visitors, now);
}

/* ---- the end ---- */

static uint32_t again_open(const runner *own)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < own->lanes_count; i++)
        count += own->list[i].again_open;
    return count;
}

static bool is_over(runner *own, uint64_t now)
{
    const run_result *result = own->result;
    if (*own->options->stop && own->stopping_since_ns == 0)
        own->stopping_since_ns = now;
    const bool stopping = own->stopping_since_ns != 0;
    const uint32_t wanted = stopping ? result->sent : own->options->count;
    const uint64_t since_ns =
        own->stopping_since_ns > own->last_answer_ns ? own->stopping_since_ns : own->last_answer_ns;
    return (own->answers.counts.acked == wanted && again_open(own) == 0) ||
           (stopping && now > since_ns && now - since_ns > STOP_SILENCE_NS);
}

/* Silence counts only while something is owed: a stream may have pauses of its own. */
static int check_silence(runner *own, uint64_t now)
{
    const bool owed = own->answers.counts.acked < own->result->sent || own->lanes_down > 0;
    if (!owed || owed != own->owed_before)
        own->quiet_since_ns = now;
    own->owed_before = owed;
    if (own->last_answer_ns > own->quiet_since_ns)
        own->quiet_since_ns = own->last_answer_ns;
    if (now > own->quiet_since_ns && now - own->quiet_since_ns > own->options->give_up_ns)
        return baton_error_set(own->error, BATON_E_TIMEOUT, "wait for an answer",
                               "the engine gave none for too long",
                               "see its log, or raise --give-up");
    return 0;
}

static void print_progress(runner *own, uint64_t now, bool last)
{
    const run_progress how = own->options->progress;
    if (how == PROGRESS_NONE || (!last && now - own->last_progress_ns < PROGRESS_EVERY_NS))
        return;
    own->last_progress_ns = now;
    const double seconds =
        now > own->result->began_ns ? (double)(now - own->result->began_ns) / SECOND_NS : 0;
    fprintf(stderr, "%s%5.1f s  sent %u  acked %u of %u  p99 %.2f ms  connections %u   %s",
            how == PROGRESS_TERMINAL ? "\r" : "", seconds, own->result->sent,
            own->answers.counts.acked, own->options->count,
            (double)baton_histogram_quantile(own->result->latency, 0.99) / 1e6,
            own->result->connections, last || how == PROGRESS_LINES ? "\n" : "");
}

static int drive(runner *own)
{
    uint64_t now = now_ns();
    own->result->began_ns = own->last_answer_ns = own->last_progress_ns = now;
    own->phase_end = own->options->deposits_count;
    if (own->phase_end == 0)
        begin_flow(own, now);
    while (!is_over(own, now)) {
        print_progress(own, now, false);
        marks_look(&own->marks, &own->result->events, (uint32_t)*own->options->marks, now);
        int r = check_silence(own, now);
        if (r < 0)
            return r;
        storms_turn(own, now);
        r = turn(own, now);
        if (r < 0)
            return r;
        now = now_ns();
        if (own->phase_end != own->options->count && own->answers.counts.acked == own->phase_end)
            begin_flow(own, now);
    }
    return 0;
}

/* ---- begin and end ---- */

static int init_result(run_result *result, uint32_t count)
{
    *result = (run_result){.results = calloc(count + 1u, sizeof(*result->results))};
    int r = result->results ? events_init(&result->events) : -ENOMEM;
    if (r == 0)
        r = baton_histogram_create(&result->latency);
    if (r == 0)
        r = baton_histogram_create(&result->slow_latency);
    return r;
}

void run_result_fini(run_result *result)
{
    baton_histogram_destroy(result->latency);
    baton_histogram_destroy(result->slow_latency);
    events_fini(&result->events);
    free(result->results);
    *result = (run_result){0};
}

static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)!setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int init(runner *own)
{
    const run_options *options = own->options;
    const uint32_t apart = options->admin ? options->deposits_count : 0;
    own->to = (line_addresses){options->addresses, options->addresses_count};
    own->admin = (line_addresses){&options->admin, 1};
    own->random = options->seed;
    own->marks.path = options->mark_file;
    visitors_init(&own->visitors, &own->to, options->seed + 1);
    raise_descriptors();
    int r = init_result(own->result, options->count);
    if (r == 0)
        r = lanes_init(&own->lanes, options->commands, options->count, options->connections, apart);
    if (r < 0)
        return r;
    own->answers = (answers){.lanes = &own->lanes, .results = own->result->results};
    own->lanes_count = own->lanes_down = options->connections + (apart > 0);
    own->list = calloc(own->lanes_count, sizeof(*own->list));
    own->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!own->list || own->epoll_fd < 0)
        return own->list ? -errno : -ENOMEM;
    for (uint32_t i = 0; i < own->lanes_count; i++) {
        line *over = &own->list[i].line;
        line_init(over, i < options->connections ? &own->to : &own->admin, i);
        over->slow = i < options->connections && options->connections - i <= options->slow_readers;
        over->random = options->seed + i;
    }
    return 0;
}

static void fini(runner *own)
{
    for (uint32_t i = 0; own->list && i < own->lanes_count; i++)
        connection_close(&own->list[i].line.stream);
    visitors_end(&own->visitors);
    if (own->epoll_fd >= 0)
        close(own->epoll_fd);
    lanes_fini(&own->lanes);
    free(own->list);
    free(own);
}

int load_run(const run_options *options, run_result *ret_result, baton_error *error)
{
    runner *own = calloc(1, sizeof(*own));
    *ret_result = (run_result){0};
    int r = own ? 0 : -ENOMEM;
    if (own) {
        own->options = options;
        own->result = ret_result;
        own->error = error;
        own->epoll_fd = -1;
        r = init(own);
        if (r == 0)
            r = drive(own);
        ret_result->counts = own->answers.counts;
        if (own->list && ret_result->slow_latency) {
            ret_result->elapsed_ns = now_ns() - ret_result->began_ns;
            ret_result->sums = answers_add_up(&own->answers);
            print_progress(own, now_ns(), true);
        }
        fini(own);
    }
    if (r == -ENOMEM)
        baton_error_set(error, r, "run the load", "not enough memory", "ask for fewer --orders");
    else if (r < 0 && r > -4096 && error->what[0] == '\0')
        baton_error_set(error, r, "run the load", NULL, "see the system's log");
    return r;
}
