/* What goes out. */
#include "examples/exchange/load/run_private.h"

enum { SEND_BUFFER_BYTES = 256 << 10 }; /* stop queueing while so much waits for the socket */

void run_queue(run_lane *over, const load_command *command)
{
    connection_queue(&over->line.stream, command->type, command->body.bytes, command->body_bytes,
                     NULL, 0);
}

static bool may_queue(const run_lane *over)
{
    const connection *stream = &over->line.stream;
    return !stream->failed && stream->out_end - stream->out_begin < SEND_BUFFER_BYTES;
}

double_manner run_double_manner(const runner *own, uint32_t index)
{
    uint64_t state = own->options->seed ^ (UINT64_C(0x2545f4914f6cdd1d) * (index + 1u));
    const uint64_t random = stream_random(&state);
    if (random % 1000 >= own->options->resend_permille ||
        own->options->commands[index].type == EXCHANGE_DEPOSIT)
        return DOUBLE_NOT;
    return random >> 32 & 1 ? DOUBLE_AT_ONCE : DOUBLE_WHEN_ANSWERED;
}

/* What waits for its answer for too long may have been told to another connection: all that is open is asked again, and
 * not again before as much time has passed once more. */
static void ask_again(runner *own, run_lane *over, lane *of, uint64_t now_ns)
{
    const uint64_t patience_ns = own->options->ask_again_ns;
    if (patience_ns == 0 || of->first_open == of->next || of->resend_next != of->next)
        return;
    const uint64_t sent_ns = own->result->results[of->first_open].sent_ns;
    if (now_ns < sent_ns + patience_ns || now_ns < over->asked_ns + patience_ns)
        return;
    over->asked_ns = now_ns;
    of->resend_next = of->first_open;
    own->result->asked_again++;
}

static uint8_t measure_of(const runner *own, uint32_t index, const run_lane *over)
{
    if (own->options->commands[index].type == EXCHANGE_DEPOSIT)
        return MEASURED_NOT;
    return over->line.slow ? MEASURED_SLOW : MEASURED;
}

static void send_first(runner *own, run_lane *over, lane *of, uint64_t now_ns)
{
    const uint32_t index = of->next;
    command_result *result = &own->result->results[index];
    result->intended_ns = own->result->began_ns + own->options->commands[index].intended_ns;
    result->sent_ns = now_ns;
    result->measured = measure_of(own, index, over);
    lanes_sent(&own->lanes, of);
    own->result->sent++;
    run_queue(over, &own->options->commands[index]);
    if (run_double_manner(own, index) == DOUBLE_AT_ONCE) {
        run_queue(over, &own->options->commands[index]);
        own->result->doubled++;
    }
}

/* When the lane's next new command is due; UINT64_MAX: it has none, or must wait for an answer. */
static uint64_t due_ns(const runner *own, const lane *of)
{
    if (of->next == LANE_END || of->next >= own->phase_end || own->stopping_since_ns != 0 ||
        !lanes_may_send(&own->lanes, of->next))
        return UINT64_MAX;
    return own->result->began_ns + own->options->commands[of->next].intended_ns;
}

/* First what was in doubt, in its old order: the other side sees the same sequence as if nothing had
 * happened. */
void run_send(runner *own, uint32_t lane_index, uint64_t now_ns)
{
    run_lane *over = &own->list[lane_index];
    lane *of = &own->lanes.list[lane_index];
    ask_again(own, over, of, now_ns);
    while (of->resend_next != of->next && may_queue(over)) {
        const uint32_t index = of->resend_next;
        of->resend_next = own->lanes.follows[index];
        if (own->result->results[index].acked_ns != 0)
            continue;
        run_queue(over, &own->options->commands[index]);
        own->result->resent++;
    }
    while (of->resend_next == of->next && due_ns(own, of) <= now_ns && may_queue(over))
        send_first(own, over, of, now_ns);
}

uint64_t run_next_ns(const runner *own, uint32_t lane_index)
{
    const run_lane *over = &own->list[lane_index];
    const lane *of = &own->lanes.list[lane_index];
    const uint64_t by_itself_ns = line_wake_ns(&over->line);
    if (over->line.state != LINE_LIVE || !connection_all_sent(&over->line.stream))
        return by_itself_ns;
    if (of->resend_next != of->next)
        return 0;
    const uint64_t due = due_ns(own, of);
    return due < by_itself_ns ? due : by_itself_ns;
}
