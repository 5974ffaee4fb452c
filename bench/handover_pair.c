/* bench/handover_pair.c: two instances of the matching engine and a load, as processes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/handover_bench.h"
#include "bench/spawn.h"
#include "drain/control_call.h"

/* What is resident, as fill() leaves it: seen from 64 MiB to 4 GiB. A client's struct is larger, but has
 * pages that nobody has touched. */
#define CLIENT_BYTES     1626u
#define CLIENTS_FOR_LOAD 65536u
#define BASE_BYTES       (UINT64_C(94) << 20) /* a book's and the engine's own */
#define ARGUMENTS_MAX    40
#define STEP_MS          5
#define TRIES            20
#define FLOWING          500u /* entries, when a load counts as begun */

static const char *const programs[2] = {"matching-engine-1.0.0", "matching-engine-1.1.0"};

static void sleep_a_step(void)
{
    (void)poll(NULL, 0, STEP_MS);
}

static void within(int64_t deadline_ns, const char *what)
{
    if (bench_now_ns() > deadline_ns)
        hand_die(what, "it takes too long; see the logs in the directory");
    sleep_a_step();
}

/* ---- processes ---- */

static pid_t spawn(const hand_run *run, const char *program, const char *const *arguments,
                   const char *log, int ready_fd)
{
    const pid_t pid = bench_spawn(run->options->programs, program, arguments, log, ready_fd);
    if (pid < 0)
        hand_die("start a process", strerror(-pid));
    return pid;
}

static void reap(pid_t pid, bool must_be_well, const char *what)
{
    int status;
    if (waitpid(pid, &status, 0) != pid ||
        (must_be_well && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)))
        hand_die(what, "it ended badly; see the logs in the directory");
}

static void check_alive(const hand_pair *pair, int which)
{
    int status;
    if (pair->pids[which] != 0 && waitpid(pair->pids[which], &status, WNOHANG) == pair->pids[which])
        hand_die(programs[which], "it ended; see the logs in the directory");
}

static pid_t start_instance(const hand_pair *pair, int which, bool standby, int ready_fd)
{
    const hand_run *run = pair->run;
    char log[HAND_PATH_BYTES + 8], clients[16];
    snprintf(log, sizeof(log), "%s.log", pair->directories[which]);
    snprintf(clients, sizeof(clients), "%u", pair->clients_max);
    const char *arguments[ARGUMENTS_MAX] = {programs[which],
                                            "run",
                                            "--dir",
                                            pair->directories[which],
                                            "--listen",
                                            pair->address,
                                            "--io",
                                            run->options->backend,
                                            "--clients-max",
                                            clients,
                                            "--after-handover",
                                            "standby",
                                            "--rto-target",
                                            "0s",
                                            "--snapshot-at-drain",
                                            "no",
                                            NULL};
    uint32_t count = 0;
    while (arguments[count] != NULL)
        count++;
    if (standby) {
        arguments[count++] = "--standby-of";
        arguments[count++] = pair->directories[1 - which];
    }
    if (ready_fd >= 0) {
        arguments[count++] = "--ready-fd";
        arguments[count++] = "3";
    }
    return spawn(run, programs[which], arguments, log, ready_fd);
}

void hand_stop(hand_pair *pair, int which, int signal_number)
{
    if (pair->pids[which] == 0)
        return;
    (void)kill(pair->pids[which], signal_number);
    reap(pair->pids[which], signal_number == SIGTERM, programs[which]);
    pair->pids[which] = 0;
}

/* ---- the control socket ---- */

/* NULL: nobody answers there. */
static json_t *try_ask_with(const char *directory, const char *word, const json_t *fields)
{
    baton_control_call call = BATON_CONTROL_CALL_CLOSED;
    baton_error error;
    const char *line = NULL;
    json_t *answer = NULL;
    int r = baton_control_call_open(&call, directory, &error);
    if (r == 0)
        r = baton_control_call_ask(&call, word, fields);
    const int64_t deadline = bench_now_ns() + HAND_WAIT_NS;
    while (r == 0 && line == NULL && bench_now_ns() < deadline) {
        const int left = baton_control_call_send(&call);
        struct pollfd wanted = {.fd = call.fd, .events = POLLIN};
        if (left == 1)
            wanted.events |= POLLOUT;
        (void)poll(&wanted, 1, 1000);
        const int got = baton_control_call_line(&call, &line);
        if (got < 0)
            r = got;
    }
    if (r == 0 && line != NULL)
        answer = json_loads(line, 0, NULL);
    baton_control_call_close(&call);
    return answer;
}

static json_t *try_ask(const char *directory, const char *word)
{
    return try_ask_with(directory, word, NULL);
}

json_t *hand_ask(const char *directory, const char *word)
{
    json_t *answer = try_ask(directory, word);
    if (answer != NULL && json_is_true(json_object_get(answer, "ok")))
        return answer;
    const char *why = "it does not answer";
    if (answer != NULL)
        (void)json_unpack(answer, "{s:{s:s}}", "error", "why", &why);
    hand_die(word, why);
}

uint64_t hand_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? (uint64_t)json_integer_value(value) : 0;
}

static bool is_running(const char *directory)
{
    json_t *status = try_ask(directory, "status");
    const char *phase = "";
    if (status != NULL)
        (void)json_unpack(status, "{s:s}", "phase", &phase);
    const bool yes = strcmp(phase, "running") == 0;
    json_decref(status);
    return yes;
}

static bool is_followed(const char *directory)
{
    json_t *status = try_ask(directory, "status");
    const json_t *followers = status != NULL ? json_object_get(status, "followers") : NULL;
    bool yes = false;
    size_t i;
    json_t *follower;
    json_array_foreach(followers, i, follower)
    {
        const uint64_t behind =
            hand_number(status, "durable_seq") - hand_number(follower, "durable_seq");
        yes |= json_is_true(json_object_get(follower, "following")) && behind < 10000;
    }
    json_decref(status);
    return yes;
}

void hand_wait_followed(const hand_pair *pair)
{
    const int64_t deadline = bench_now_ns() + HAND_WAIT_NS;
    while (!is_followed(pair->directories[pair->active])) {
        check_alive(pair, 0);
        check_alive(pair, 1);
        within(deadline, "follow");
    }
}

static void wait_running(const hand_pair *pair)
{
    const int64_t deadline = bench_now_ns() + HAND_WAIT_NS;
    while (!is_running(pair->directories[pair->active])) {
        check_alive(pair, pair->active);
        within(deadline, "start");
    }
}

/* ---- the pair ---- */

void hand_start_standby(hand_pair *pair)
{
    const int which = 1 - pair->active;
    pair->pids[which] = start_instance(pair, which, true, -1);
    hand_wait_followed(pair);
}

void hand_start_fresh_standby(hand_pair *pair)
{
    const int which = 1 - pair->active;
    hand_stop(pair, which, SIGTERM);
    bench_remove_tree(pair->directories[which]);
    hand_start_standby(pair);
}

static void fill(hand_pair *pair, uint32_t clients)
{
    hand_load load;
    hand_load_begin(pair, 200000, 1.6 * clients / 200000, clients, &load);
    hand_load_end(&load, false);
    json_decref(hand_ask(pair->directories[pair->active], "snapshot"));
}

static double resident_bytes(pid_t pid)
{
    char path[64], line[256];
    double kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "RssAnon: %lf", &kib) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return kib * 1024;
}

void hand_pair_open(const hand_run *run, bool with_standby, hand_pair *ret_pair)
{
    static int made;
    hand_pair *pair = ret_pair;
    const uint64_t beyond = run->bytes > BASE_BYTES ? run->bytes - BASE_BYTES : 0;
    const uint32_t clients = (uint32_t)(beyond / CLIENT_BYTES) + 64;
    *pair = (hand_pair){.run = run, .clients_max = clients + CLIENTS_FOR_LOAD, .clients_next = 1};
    for (int i = 0; i < 2; i++)
        snprintf(pair->directories[i], sizeof(pair->directories[i]), "./%d-%c", made, "ab"[i]);
    snprintf(pair->address, sizeof(pair->address), "unix:%d-orders", made++);
    pair->pids[0] = start_instance(pair, 0, false, -1);
    wait_running(pair);
    fill(pair, clients);
    bench_note(run->output, "%llu MiB wanted, %.0f MiB resident, %u clients known",
               (unsigned long long)(run->bytes >> 20), resident_bytes(pair->pids[0]) / 1048576,
               clients);
    if (with_standby)
        hand_start_standby(pair);
}

void hand_pair_close(hand_pair *pair)
{
    hand_stop(pair, 1 - pair->active, SIGTERM);
    hand_stop(pair, pair->active, SIGTERM);
    for (int i = 0; i < 2; i++)
        bench_remove_tree(pair->directories[i]);
}

/* One that the old one refuses, because the standby lags on a busy machine, costs its clients nothing: it is
 * said, and tried again. */
static void change_over(hand_pair *pair, const json_t *fields, uint64_t *ret_seq,
                        int64_t *ret_asked_ns)
{
    const char *why = "it does not answer";
    json_t *answer = NULL;
    for (int left = TRIES; answer == NULL; left--) {
        *ret_asked_ns = bench_now_ns();
        answer = try_ask_with(pair->directories[pair->active], "handover", fields);
        if (answer == NULL || json_is_true(json_object_get(answer, "ok")))
            break;
        (void)json_unpack(answer, "{s:{s:s}}", "error", "why", &why);
        if (left == 0)
            break;
        bench_note(pair->run->output, "a handover was refused (%s): again", why);
        json_decref(answer);
        answer = NULL;
        (void)poll(NULL, 0, 1000);
    }
    if (answer == NULL || !json_is_true(json_object_get(answer, "ok")))
        hand_die("handover", why);
    const json_t *handover = json_object_get(answer, "handover");
    const char *state = "";
    (void)json_unpack(answer, "{s:{s:s}}", "handover", "state", &state);
    if (strcmp(state, "fenced") != 0)
        hand_die("handover", "the old one serves on; see the logs in the directory");
    *ret_seq = hand_number(handover, "seq");
    json_decref(answer);
    pair->active = 1 - pair->active;
}

void hand_over(hand_pair *pair, uint64_t *ret_seq, int64_t *ret_asked_ns)
{
    change_over(pair, NULL, ret_seq, ret_asked_ns);
}

void hand_over_by_snapshot(hand_pair *pair, uint64_t *ret_seq, int64_t *ret_asked_ns)
{
    json_t *fields = json_pack("{s:s, s:i}", "path", "snapshot", "snapshot_gap_ms", 60000);
    change_over(pair, fields, ret_seq, ret_asked_ns);
    json_decref(fields);
}

int64_t hand_cold_start(hand_pair *pair, uint64_t *ret_replayed, bool *ret_from_image)
{
    int ready[2];
    if (pipe(ready) < 0 || fcntl(ready[0], F_SETFD, FD_CLOEXEC) < 0)
        hand_die("pipe", strerror(errno));
    const int64_t began = bench_now_ns();
    pair->pids[pair->active] = start_instance(pair, pair->active, false, ready[1]);
    close(ready[1]);
    FILE *file = fdopen(ready[0], "r");
    char line[65536];
    if (file == NULL || fgets(line, sizeof(line), file) == NULL)
        hand_die("cold start", "it ended before it was ready; see the logs in the directory");
    const int64_t took = bench_now_ns() - began;
    fclose(file);
    json_t *said = json_loads(line, 0, NULL);
    const json_t *hydrate = said != NULL ? json_object_get(said, "hydrate") : NULL;
    const char *form = "";
    (void)json_unpack(said, "{s:{s:s}}", "hydrate", "snapshot_form", &form);
    *ret_replayed = hand_number(hydrate, "replayed_entries");
    *ret_from_image = strcmp(form, "image") == 0;
    json_decref(said);
    return took;
}

/* ---- the load ---- */

static uint64_t released_seq(const hand_pair *pair)
{
    json_t *status = hand_ask(pair->directories[pair->active], "status");
    const uint64_t seq = hand_number(status, "released_seq");
    json_decref(status);
    return seq;
}

/* A short load may be over before it was looked at; reap tells whether it went well. */
static bool has_ended(pid_t pid)
{
    siginfo_t info = {.si_pid = 0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == pid;
}

void hand_load_begin(hand_pair *pair, double rate, double seconds, uint32_t clients,
                     hand_load *ret_load)
{
    const hand_run *run = pair->run;
    char log[HAND_PATH_BYTES + 8], orders[32], a_second[32], count[32], first[32];
    *ret_load = (hand_load){.first_client = pair->clients_next};
    pair->clients_next += clients;
    snprintf(ret_load->acks, sizeof(ret_load->acks), "%s/acks", run->options->directory);
    snprintf(log, sizeof(log), "%s/load.log", run->options->directory);
    snprintf(orders, sizeof(orders), "%.0f", rate * seconds + 1);
    snprintf(a_second, sizeof(a_second), "%.0f", rate);
    snprintf(count, sizeof(count), "%u", clients);
    snprintf(first, sizeof(first), "%u", ret_load->first_client);
    const char *const arguments[] = {
        "exchange-load", "--connect",  pair->address,  "--orders", orders,
        "--rate",        a_second,     "--clients",    count,      "--first-client",
        first,           "--acks-out", ret_load->acks, NULL};
    const uint64_t before = released_seq(pair);
    const int64_t deadline = bench_now_ns() + HAND_WAIT_NS;
    ret_load->pid = spawn(run, "exchange-load", arguments, log, -1);
    /* Its orders are made before the first one is sent: some seconds, if they are millions. */
    while (released_seq(pair) < before + FLOWING && !has_ended(ret_load->pid))
        within(deadline, "answer the load");
}

void hand_load_end(hand_load *load, bool at_once)
{
    if (at_once)
        (void)kill(load->pid, SIGTERM);
    reap(load->pid, true, "exchange-load");
}
