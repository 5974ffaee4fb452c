/* tests/e2e/toy/toy_service.c: a small service for the tests of the doors, the control socket and
 * the drain.
 *
 * State: counters by key. A client connects to --listen (SOCK_SEQPACKET) and sends "KEY DELTA",
 * one message each; the answer "SEQ KEY TOTAL" comes when it is durable, or "error STATUS".
 * Built twice: as 1.0.0 with schema 1, and as 1.1.0 with schema 2, which adds how often each key
 * was changed. */
#include <baton/main.h>

#include <baton/wire.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define KEYS        4096u
#define WAITING_MAX 4096u
#define CLIENTS_MAX 64u
#define SLOW_US     2000u
#define ENTRY_ADD   1
#define ENTRY_RESET 2 /* known from schema 2 on */

typedef struct {
    int64_t key; /* so that an item is unlike that of another key */
    int64_t total;
    uint64_t changes; /* schema 2 */
} counter;

typedef struct {
    counter counters[KEYS];
    baton_digest digest_1;  /* over key and total */
    baton_digest digest_2;  /* over all fields */
    bool lies;              /* --lie: apply gives something else than it did before */
    bool lies_silently;     /* ... only in the state */
    uint64_t lies_from;     /* --lie-from: from this entry on */
    uint64_t die_at;        /* --die-at: this entry kills the process */
    const char *slow_until; /* --slow-until: each apply takes a while, until this file exists */
} toy_state;

typedef struct {
    baton_le64 key;
    baton_le64 delta;
} add_wire;

/* A test may want to see a process end, or stand still, at any step of a handover, and while a snapshot
 * is packed or loaded. */
static void pass(const char *step)
{
    const char *die_in = getenv("TOY_DIE_IN"), *stop_in = getenv("TOY_STOP_IN");
    if (die_in != NULL && strcmp(step, die_in) == 0)
        (void)kill(getpid(), SIGKILL);
    if (stop_in != NULL && strcmp(step, stop_in) == 0)
        (void)kill(getpid(), SIGSTOP);
}

/* ---- the state ---- */

static int toy_create(const baton_service_config *config, void **ret_state, baton_error *error)
{
    toy_state *state = calloc(1, sizeof(*state));
    if (state == NULL)
        return baton_error_set(error, -ENOMEM, "toy", NULL, "");
    for (uint32_t i = 0; i < KEYS; i++) {
        counter *c = &state->counters[i];
        c->key = i;
        baton_digest_add(&state->digest_1, c, offsetof(counter, changes));
        baton_digest_add(&state->digest_2, c, sizeof(*c));
    }
    state->lies_silently = strcmp(config->values[0], "silently") == 0;
    state->lies = strcmp(config->values[0], "yes") == 0 || state->lies_silently;
    state->lies_from = strtoull(config->values[3], NULL, 10);
    state->slow_until = config->values[1];
    state->die_at = strtoull(config->values[2], NULL, 10);
    *ret_state = state;
    return 0;
}

static void change(toy_state *state, counter *c, int64_t total, uint64_t changes)
{
    baton_digest_remove(&state->digest_1, c, offsetof(counter, changes));
    baton_digest_remove(&state->digest_2, c, sizeof(*c));
    c->total = total;
    c->changes = changes;
    baton_digest_add(&state->digest_1, c, offsetof(counter, changes));
    baton_digest_add(&state->digest_2, c, sizeof(*c));
}

static int toy_apply(void *context, const baton_entry *entry, baton_effects *effects)
{
    toy_state *state = context;
    add_wire add;
    char text[64];
    if (entry->payload_bytes != sizeof(add))
        return BATON_E_INVALID;
    memcpy(&add, entry->payload, sizeof(add));
    if (entry->seq == state->die_at)
        (void)kill(getpid(), SIGKILL);
    if (state->slow_until[0] != '\0' && access(state->slow_until, F_OK) != 0)
        usleep(SLOW_US);
    const uint64_t key = baton_le64_get(add.key);
    if (key >= KEYS)
        return BATON_E_INVALID;
    counter *c = &state->counters[key];
    const bool lie = state->lies && entry->seq >= state->lies_from;
    const int64_t delta = (int64_t)baton_le64_get(add.delta) + (lie && !state->lies_silently);
    if (lie && state->lies_silently) /* of a key that no test asks for */
        change(state, &state->counters[KEYS - 1], state->counters[KEYS - 1].total + 1, 1);
    change(state, c, entry->type == ENTRY_RESET ? 0 : c->total + delta, c->changes + 1);
    const int n =
        snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 " %" PRId64, entry->seq, key, c->total);
    baton_effect_emit(effects, BATON_CONSUMER_NONE, 1, text, (uint32_t)n);
    return 0;
}

static int toy_digest(const void *context, uint32_t schema, baton_digest *ret_digest)
{
    const toy_state *state = context;
    *ret_digest = schema == 1 ? state->digest_1 : state->digest_2;
    return 0;
}

static int toy_snapshot(const void *context, uint32_t schema, baton_snapshot_writer *writer)
{
    const toy_state *state = context;
    pass("packing");
    baton_pack_section(writer, "counters");
    for (uint32_t i = 0; i < KEYS; i++) {
        const counter *c = &state->counters[i];
        if (c->changes == 0 && c->total == 0)
            continue;
        baton_pack_row(writer, 1 + schema);
        baton_pack_uint(writer, i);
        baton_pack_int(writer, c->total);
        if (schema >= 2)
            baton_pack_uint(writer, c->changes);
    }
    return baton_pack_error(writer);
}

static int toy_restore(void *context, uint32_t schema, baton_snapshot_reader *reader)
{
    toy_state *state = context;
    uint32_t fields = 0;
    pass("loading");
    int r = baton_unpack_section(reader, "counters");
    if (r < 0)
        return r;
    while ((r = baton_unpack_row(reader, &fields)) == 1) {
        uint64_t key = 0, changes = 1;
        int64_t total = 0;
        if (fields != 1 + schema)
            return BATON_E_SCHEMA;
        if ((r = baton_unpack_uint(reader, &key)) < 0 || (r = baton_unpack_int(reader, &total)) < 0)
            return r;
        if (schema >= 2 && (r = baton_unpack_uint(reader, &changes)) < 0)
            return r;
        if (key >= KEYS)
            return BATON_E_SCHEMA;
        change(state, &state->counters[key], total, changes);
    }
    return r;
}

/* ---- the program ---- */

typedef struct {
    uint64_t seq;
    int fd;
} waiting;

typedef struct {
    baton_engine *engine;
    int listen_fd;
    bool stopped;
    bool never_sent; /* --never-sent yes: as if a client did not read */
    int clients[CLIENTS_MAX];
    uint32_t clients_count;
    waiting queue[WAITING_MAX];
    uint32_t first, count;
} toy_program;

static void answer(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void drop_client(toy_program *toy, int fd)
{
    baton_engine_unwatch(toy->engine, fd);
    for (uint32_t i = 0; i < toy->clients_count; i++)
        if (toy->clients[i] == fd)
            toy->clients[i--] = toy->clients[--toy->clients_count];
    for (uint32_t i = 0; i < toy->count; i++) {
        waiting *w = &toy->queue[(toy->first + i) % WAITING_MAX];
        if (w->fd == fd)
            w->fd = -1;
    }
    close(fd);
}

static void on_message(void *context, int fd, uint32_t events)
{
    toy_program *toy = context;
    char text[256];
    uint64_t key = 0, seq = 0;
    int64_t delta = 0;
    (void)events;
    const ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop_client(toy, fd);
        return;
    }
    text[n] = '\0';
    const bool reset = strncmp(text, "reset ", 6) == 0;
    if (sscanf(reset ? text + 6 : text, "%" SCNu64 " %" SCNd64, &key, &delta) != 2 || key >= KEYS ||
        toy->count == WAITING_MAX) {
        answer(fd, "error malformed");
        return;
    }
    const add_wire add = {baton_le64_put(key), baton_le64_put((uint64_t)delta)};
    const int r =
        baton_engine_submit(toy->engine, reset ? ENTRY_RESET : ENTRY_ADD, &add, sizeof(add), &seq);
    if (r < 0) {
        snprintf(text, sizeof(text), "error %s", baton_status_name(r));
        answer(fd, text);
        return;
    }
    toy->queue[(toy->first + toy->count++) % WAITING_MAX] = (waiting){seq, fd};
}

static void on_client(void *context, int listen_fd, uint32_t events)
{
    toy_program *toy = context;
    (void)events;
    const int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0 && (toy->clients_count == CLIENTS_MAX ||
                    baton_engine_watch(toy->engine, fd, EPOLLIN, on_message, toy) < 0))
        close(fd);
    else if (fd >= 0)
        toy->clients[toy->clients_count++] = fd;
}

static int toy_start(void *context, baton_engine *engine, const char *const *values,
                     baton_error *error)
{
    toy_program *toy = context;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    toy->engine = engine;
    toy->never_sent = strcmp(values[1], "yes") == 0;
    if (toy->listen_fd >= 0) /* passed on */
        return baton_engine_watch(engine, toy->listen_fd, EPOLLIN, on_client, toy);
    if (values[0][0] == '\0')
        return 0;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", values[0]);
    unlink(values[0]);
    toy->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(toy->listen_fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(toy->listen_fd, 16) < 0)
        return baton_error_set(error, -errno, "toy --listen", NULL, "give another path");
    return baton_engine_watch(engine, toy->listen_fd, EPOLLIN, on_client, toy);
}

static void toy_release(void *context, const baton_effect *effect)
{
    toy_program *toy = context;
    char text[64];
    while (toy->count > 0 && toy->queue[toy->first].seq <= effect->seq) {
        const waiting w = toy->queue[toy->first];
        toy->first = (toy->first + 1) % WAITING_MAX;
        toy->count--;
        if (w.seq != effect->seq || w.fd < 0)
            continue;
        snprintf(text, sizeof(text), "%.*s", (int)effect->payload_bytes,
                 (const char *)effect->payload);
        answer(w.fd, text);
    }
}

static void toy_stop_intake(void *context)
{
    toy_program *toy = context;
    if (toy->listen_fd >= 0)
        baton_engine_unwatch(toy->engine, toy->listen_fd);
    toy->stopped = true;
}

static void toy_pause_intake(void *context)
{
    toy_program *toy = context;
    if (toy->listen_fd >= 0)
        baton_engine_unwatch(toy->engine, toy->listen_fd);
    toy->stopped = true;
    for (uint32_t i = 0; i < toy->clients_count; i++)
        baton_engine_unwatch(toy->engine, toy->clients[i]);
}

static void toy_resume_intake(void *context)
{
    toy_program *toy = context;
    toy->stopped = false;
    int r = toy->listen_fd < 0
                ? 0
                : baton_engine_watch(toy->engine, toy->listen_fd, EPOLLIN, on_client, toy);
    for (uint32_t i = 0; i < toy->clients_count && r == 0; i++)
        r = baton_engine_watch(toy->engine, toy->clients[i], EPOLLIN, on_message, toy);
    if (r < 0)
        abort();
}

static uint32_t toy_give_fds(void *context, baton_passed_fd fds[BATON_PASSED_FDS_MAX])
{
    const toy_program *toy = context;
    if (toy->listen_fd < 0)
        return 0;
    fds[0] = (baton_passed_fd){toy->listen_fd, "clients"};
    return 1;
}

static void toy_take_fds(void *context, const baton_passed_fd *fds, uint32_t fds_count)
{
    toy_program *toy = context;
    for (uint32_t i = 0; i < fds_count; i++)
        toy->listen_fd = fds[i].fd;
}

static void toy_reached(void *context, const char *step)
{
    (void)context;
    pass(step);
}

static bool toy_all_sent(void *context)
{
    const toy_program *toy = context;
    return !toy->never_sent;
}

static void toy_stop(void *context)
{
    toy_program *toy = context;
    if (toy->listen_fd >= 0) {
        baton_engine_unwatch(toy->engine, toy->listen_fd);
        close(toy->listen_fd);
        toy->listen_fd = -1; /* it may start again, as the successor's successor */
    }
    while (toy->clients_count > 0)
        drop_client(toy, toy->clients[0]);
}

int main(int argc, char **argv)
{
    static const baton_entry_type types[] = {{ENTRY_ADD, 1}, {ENTRY_RESET, 2}};
    static const baton_service_option options[] = {
        {"lie", "no",
         "yes: apply is not what it was; silently: nor the state, and no effect shows it"},
        {"slow-until", "", "apply takes 2 ms until this file exists"},
        {"die-at", "0", "the process is killed when it comes to this entry"},
        {"lie-from", "0", "the lie begins with this entry"}};
    static const baton_service_option program_options[] = {
        {"listen", "", "a path for clients"},
        {"never-sent", "no", "yes: a client never takes its answers"}};
    static const baton_service service = {
        .name = "toy",
        .version = TOY_VERSION,
        .schema = {.write = TOY_SCHEMA, .read_min = 1},
        .entry_types = types,
        .entry_types_count = TOY_SCHEMA, /* type n came with schema n */
        .options = options,
        .options_count = 4,
        .create = toy_create,
        .destroy = free,
        .apply = toy_apply,
        .digest = toy_digest,
        .snapshot = toy_snapshot,
        .restore = toy_restore,
    };
    static const baton_program program = {
        .options = program_options,
        .options_count = 2,
        .start = toy_start,
        .release = toy_release,
        .stop_intake = toy_stop_intake,
        .all_sent = toy_all_sent,
        .pause_intake = toy_pause_intake,
        .resume_intake = toy_resume_intake,
        .give_fds = toy_give_fds,
        .take_fds = toy_take_fds,
        .reached = toy_reached,
        .stop = toy_stop,
    };
    static toy_program toy = {.listen_fd = -1};
    return baton_main(argc, argv, &service, &program, &toy);
}
