#include "examples/exchange/load/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "examples/exchange/wire/address.h"
#include "examples/exchange/wire/connection.h"

enum {
    /* Below what the engine keeps of a client for resends, so that whatever is in doubt after a
     * cut can be asked again. */
    IN_FLIGHT_OF_CLIENT_MAX = EXCHANGE_OUTCOMES_KEPT - 4,
    SEND_BUFFER_BYTES = 256 << 10, /* stop queueing while so much waits for the socket */
    RECONNECT_EVERY_NS = 1000000,
    PROGRESS_EVERY_NS = 200000000,
    STOP_WITHIN_NS = 2000000000,
    SECOND_NS = 1000000000,
};

typedef struct {
    const run_options *options;
    run_result *result;
    baton_error *error;
    connection stream;
    uint32_t next;        /* the next command to send for the first time */
    uint32_t resend_next; /* after a reconnect: the next one to look at, up to `next` */
    uint32_t first_open;  /* all before it are answered */
    uint8_t *in_flight;   /* by client id */
    uint64_t began_ns;
    uint64_t last_answer_ns;
    uint32_t last_answer_connection;
    uint64_t last_progress_ns;
    uint64_t stopping_since_ns;
    uint64_t quiet_since_ns;
    bool owed_before;
} runner;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static uint64_t client_of(const load_command *command)
{
    return baton_le64_get(command->body.command.client_id);
}

/* ---- sending ---- */

static void queue_command(runner *own, uint32_t index)
{
    const load_command *command = &own->options->commands[index];
    connection_queue(&own->stream, command->type, command->body.bytes, command->body_bytes, NULL,
                     0);
}

static bool may_queue(const runner *own)
{
    return !own->stream.failed && own->stream.out_end - own->stream.out_begin < SEND_BUFFER_BYTES;
}

/* First what was in doubt, in its old order: the engine sees the same sequence as if nothing had
 * happened. */
static void queue_due(runner *own, uint64_t now)
{
    while (own->resend_next < own->next && may_queue(own)) {
        uint32_t index = own->resend_next++;
        if (own->result->results[index].acked_ns != 0)
            continue;
        queue_command(own, index);
        own->result->resent++;
    }
    while (own->resend_next == own->next && own->next < own->options->count && may_queue(own)) {
        const load_command *command = &own->options->commands[own->next];
        uint64_t due_ns = own->began_ns + command->intended_ns;
        uint64_t client_id = client_of(command);
        if (due_ns > now || own->stopping_since_ns != 0 ||
            own->in_flight[client_id] >= IN_FLIGHT_OF_CLIENT_MAX)
            return;
        own->result->results[own->next].intended_ns = due_ns;
        own->in_flight[client_id]++;
        queue_command(own, own->next);
        own->next++;
        own->resend_next++;
        own->result->sent++;
    }
}

/* ---- receiving ---- */

static bool is_applied(uint16_t outcome)
{
    return outcome != EXCHANGE_TOO_OLD && outcome != EXCHANGE_CLIENTS_FULL &&
           outcome != EXCHANGE_BAD_COMMAND && outcome != EXCHANGE_NOT_HERE;
}

/* Across a handover the connection may stay: then a gap shows as silence only. */
static void note_silence(runner *own, uint64_t now)
{
    run_result *result = own->result;
    const command_result *oldest = &result->results[own->first_open];
    const uint64_t owed_ns =
        own->first_open < own->next && oldest->intended_ns != 0 ? oldest->intended_ns : now;
    const uint64_t since_ns = owed_ns > own->last_answer_ns ? owed_ns : own->last_answer_ns;
    if (now > since_ns && now - since_ns > result->silence_ns)
        result->silence_ns = now - since_ns;
}

static void note_gap(runner *own, uint64_t now)
{
    run_result *result = own->result;
    note_silence(own, now);
    if (own->last_answer_connection != 0 && own->last_answer_connection != result->connections &&
        now - own->last_answer_ns > result->gap_ns)
        result->gap_ns = now - own->last_answer_ns;
    own->last_answer_ns = now;
    own->last_answer_connection = result->connections;
}

static void take_ack(runner *own, const exchange_ack *ack, uint64_t now)
{
    run_result *result = own->result;
    uint64_t index = baton_le64_get(ack->command.client_seq) - 1;
    const load_command *command = index < own->next ? &own->options->commands[index] : NULL;
    if (!command || client_of(command) != baton_le64_get(ack->command.client_id) ||
        command->type != baton_le16_get(ack->of_type)) {
        result->conflicts++; /* an answer to what was never asked */
        return;
    }
    command_result *known = &result->results[index];
    command_result answer = *known;
    answer.seq = baton_le64_get(ack->seq);
    answer.filled = baton_le64_get(ack->filled);
    answer.remaining = baton_le64_get(ack->remaining);
    answer.outcome = baton_le16_get(ack->outcome);
    note_gap(own, now);
    if (known->acked_ns != 0) {
        if (answer.seq != known->seq || answer.filled != known->filled ||
            answer.remaining != known->remaining || answer.outcome != known->outcome)
            result->conflicts++;
        return;
    }
    answer.acked_ns = now;
    answer.connection = result->connections;
    *known = answer;
    own->in_flight[client_of(command)]--;
    result->acked++;
    if (!is_applied(answer.outcome))
        result->refused++;
    baton_histogram_record(result->latency, now - known->intended_ns);
    while (own->first_open < own->next && result->results[own->first_open].acked_ns != 0)
        own->first_open++;
}

static int take_frame(runner *own, uint16_t type, const void *body, uint32_t body_bytes,
                      uint64_t now)
{
    if (type == EXCHANGE_ACK && body_bytes == sizeof(exchange_ack)) {
        take_ack(own, body, now);
    } else if (type == EXCHANGE_FILL && body_bytes == sizeof(exchange_fill)) {
        own->result->fills++;
    } else if (type == EXCHANGE_ERROR && body_bytes == sizeof(exchange_error)) {
        const exchange_error *said = body;
        return baton_error_setf(own->error, BATON_E_REFUSED, "send commands",
                                "check that engine and load are of the same version",
                                "the engine said: %.*s", (int)sizeof(said->text),
                                (const char *)said->text);
    }
    return 0; /* WELCOME and EXPIRED say nothing that the load needs */
}

static int receive(runner *own)
{
    uint16_t type;
    const void *body;
    uint32_t body_bytes;
    connection_receive(&own->stream);
    uint64_t now = now_ns();
    frame_verdict verdict;
    while ((verdict = connection_frame(&own->stream, &type, &body, &body_bytes)) == FRAME_READY) {
        int r = take_frame(own, type, body, body_bytes, now);
        connection_take(&own->stream);
        if (r < 0)
            return r;
    }
    if (verdict != FRAME_NONE)
        own->stream.failed = true;
    return 0;
}

/* ---- the connection ---- */

static int reconnect(runner *own)
{
    int fd;
    int r = address_connect(own->options->address, &fd);
    if (r == BATON_E_INVALID)
        return baton_error_set(own->error, r, "connect",
                               "the address is not unix:PATH or tcp:HOST:PORT",
                               "correct --connect");
    if (r < 0) /* nobody there, for now */
        return poll(NULL, 0, RECONNECT_EVERY_NS / 1000000) < 0 && errno != EINTR ? -errno : 0;
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ||
        connection_open(&own->stream, fd, UINT64_C(1) << 30) < 0) {
        close(fd);
        return -ENOMEM;
    }
    exchange_hello hello = {.version = baton_le32_put(EXCHANGE_PROTOCOL_VERSION)};
    connection_queue(&own->stream, EXCHANGE_HELLO, &hello, sizeof(hello), NULL, 0);
    own->result->connections++;
    own->resend_next = own->first_open;
    return 0;
}

static uint64_t sleep_ns(const runner *own, uint64_t now)
{
    uint64_t sleep = PROGRESS_EVERY_NS;
    if (own->next < own->options->count && own->resend_next == own->next) {
        const load_command *command = &own->options->commands[own->next];
        uint64_t due_ns = own->began_ns + command->intended_ns;
        if (own->in_flight[client_of(command)] >= IN_FLIGHT_OF_CLIENT_MAX)
            return sleep; /* an answer wakes it */
        uint64_t until_ns = due_ns > now ? due_ns - now : 0;
        sleep = until_ns < sleep ? until_ns : sleep;
    }
    return sleep;
}

static int turn(runner *own)
{
    uint64_t now = now_ns();
    queue_due(own, now);
    connection_send(&own->stream);
    uint64_t sleep = sleep_ns(own, now);
    struct pollfd poll_fd = {.fd = own->stream.fd, .events = POLLIN};
    if (!connection_all_sent(&own->stream))
        poll_fd.events |= POLLOUT;
    struct timespec timeout = {.tv_sec = (time_t)(sleep / SECOND_NS),
                               .tv_nsec = (long)(sleep % SECOND_NS)};
    int ready = ppoll(&poll_fd, 1, &timeout, NULL);
    if (ready < 0 && errno != EINTR)
        return -errno;
    int r = ready > 0 && poll_fd.revents & (POLLIN | POLLHUP | POLLERR) ? receive(own) : 0;
    if (own->stream.failed || own->stream.ended)
        connection_close(&own->stream);
    return r;
}

static void print_progress(runner *own, uint64_t now, bool last)
{
    if (!own->options->progress || (!last && now - own->last_progress_ns < PROGRESS_EVERY_NS))
        return;
    own->last_progress_ns = now;
    fprintf(stderr, "\r%5.1f s  sent %u  acked %u of %u  p99 %.2f ms  connections %u   %s",
            (double)(now - own->began_ns) / SECOND_NS, own->result->sent, own->result->acked,
            own->options->count, (double)baton_histogram_quantile(own->result->latency, 0.99) / 1e6,
            own->result->connections, last ? "\n" : "");
}

static int drive(runner *own)
{
    const run_options *options = own->options;
    own->began_ns = own->last_answer_ns = now_ns();
    while (own->result->acked < options->count) {
        uint64_t now = now_ns();
        print_progress(own, now, false);
        if (*options->stop && own->stopping_since_ns == 0)
            own->stopping_since_ns = now;
        if (own->stopping_since_ns != 0 && (own->result->acked == own->result->sent ||
                                            now - own->stopping_since_ns > STOP_WITHIN_NS))
            return 0;
        /* Silence counts only while something is owed: a stream may have pauses of its own. */
        bool owed = own->result->acked < own->result->sent || own->stream.fd < 0;
        if (!owed || owed != own->owed_before)
            own->quiet_since_ns = now;
        own->owed_before = owed;
        if (own->last_answer_ns > own->quiet_since_ns)
            own->quiet_since_ns = own->last_answer_ns;
        if (now > own->quiet_since_ns && now - own->quiet_since_ns > options->give_up_ns)
            return baton_error_set(own->error, BATON_E_TIMEOUT, "wait for an answer",
                                   "the engine gave none for too long",
                                   "see its log, or raise --give-up");
        int r = own->stream.fd < 0 ? reconnect(own) : turn(own);
        if (r < 0)
            return r;
    }
    return 0;
}

int load_run(const run_options *options, run_result *ret_result, baton_error *error)
{
    runner own = {.options = options, .result = ret_result, .error = error, .stream.fd = -1};
    *ret_result = (run_result){0};
    ret_result->results = calloc(options->count + 1u, sizeof(*ret_result->results));
    own.in_flight = calloc(EXCHANGE_CLIENT_ID_MAX + 1, sizeof(*own.in_flight));
    int r = baton_histogram_create(&ret_result->latency);
    if (r == 0 && (!ret_result->results || !own.in_flight))
        r = -ENOMEM;
    if (r == 0)
        r = drive(&own);
    if (r == -ENOMEM)
        baton_error_set(error, r, "run the load", "not enough memory", "ask for fewer --orders");
    ret_result->elapsed_ns = now_ns() - own.began_ns;
    if (ret_result->latency)
        print_progress(&own, now_ns(), true);
    connection_close(&own.stream);
    free(own.in_flight);
    return r;
}
