/* What comes in. */
#include <baton/clock.h>

#include "examples/exchange/load/run_private.h"

/* Across a handover the connection may stay: then a gap shows as silence only. A slow reader's is its own. */
static void note_silence(runner *own, const run_lane *over, const lane *of, uint64_t now_ns)
{
    run_result *result = own->result;
    const uint64_t owed_ns =
        of->first_open != of->next ? result->results[of->first_open].intended_ns : now_ns;
    const uint64_t since_ns = owed_ns > over->last_answer_ns ? owed_ns : over->last_answer_ns;
    if (!over->line.slow && now_ns > since_ns && now_ns - since_ns > result->silence_ns)
        result->silence_ns = now_ns - since_ns;
}

static void note_gap(runner *own, run_lane *over, const lane *of, uint64_t now_ns)
{
    run_result *result = own->result;
    note_silence(own, over, of, now_ns);
    if (over->last_answer_connection != 0 && over->last_answer_connection != over->line.number &&
        !over->line.slow && now_ns - over->last_answer_ns > result->gap_ns)
        result->gap_ns = now_ns - over->last_answer_ns;
    own->last_answer_ns = over->last_answer_ns = now_ns;
    over->last_answer_connection = over->line.number;
}

static int check_deposit(runner *own, uint32_t index)
{
    const command_result *result = &own->result->results[index];
    if (own->options->commands[index].type != EXCHANGE_DEPOSIT || result->outcome == EXCHANGE_DONE)
        return 0;
    return baton_error_setf(
        own->error, BATON_E_REFUSED, "deposit",
        result->outcome == EXCHANGE_NOT_HERE
            ? "give --admin: a gateway's --admin, or the order service's --listen"
            : "see that --deposit names the assets of the risk engine's --pairs, and that the "
              "clients are new: --first-client",
        "outcome %u of client %llu", result->outcome,
        (unsigned long long)baton_le64_get(own->options->commands[index].body.command.client_id));
}

/* Sent again when its first answer was there: one more must come, and be the same. Not when so much was sent since
 * that it may be forgotten. */
static void double_answered(runner *own, run_lane *over, uint32_t index)
{
    if (run_double_manner(own, index) != DOUBLE_WHEN_ANSWERED ||
        lanes_sent_since(&own->lanes, index) >= LANES_CLIENT_WINDOW)
        return;
    run_queue(over, &own->options->commands[index]);
    own->result->results[index].again_on = over->line.number;
    own->result->doubled++;
    over->again_open++;
}

static void take_again(runner *own, run_lane *over, uint32_t index)
{
    command_result *result = &own->result->results[index];
    if (result->again_on != over->line.number)
        return;
    result->again_on = 0;
    over->again_open--;
    own->result->doubled_told++;
}

static int take_ack(runner *own, uint32_t lane_index, const exchange_ack *ack, uint64_t now_ns)
{
    run_lane *over = &own->list[lane_index];
    lane *of = &own->lanes.list[lane_index];
    run_result *result = own->result;
    uint32_t index;
    const answer_verdict verdict =
        answers_ack(&own->answers, ack, now_ns, over->line.number, &index);
    if (index == LANE_END)
        return 0;
    note_gap(own, over, of, now_ns);
    if (verdict != ANSWER_FIRST) {
        take_again(own, over, index);
        return 0;
    }
    const command_result *answered = &result->results[index];
    if (answered->measured != MEASURED_NOT)
        baton_histogram_record(answered->measured == MEASURED ? result->latency
                                                              : result->slow_latency,
                               now_ns - answered->intended_ns);
    while (of->first_open != of->next && result->results[of->first_open].acked_ns != 0)
        of->first_open = own->lanes.follows[of->first_open];
    double_answered(own, over, index);
    return check_deposit(own, index);
}

static int take_frame(runner *own, uint32_t lane_index, uint16_t type, const void *body,
                      uint32_t body_bytes, uint64_t now_ns)
{
    if (type == EXCHANGE_ACK && body_bytes == sizeof(exchange_ack))
        return take_ack(own, lane_index, body, now_ns);
    if (type == EXCHANGE_FILL && body_bytes == sizeof(exchange_fill)) {
        answers_fill(&own->answers, body);
    } else if (type == EXCHANGE_WELCOME) {
        own->list[lane_index].line.stream.greeted = true;
    } else if (type == EXCHANGE_ERROR && body_bytes == sizeof(exchange_error)) {
        const exchange_error *said = body;
        return baton_error_setf(own->error, BATON_E_REFUSED, "send commands",
                                "check that it takes such commands, and is of the same version",
                                "the other side said: %.*s", (int)sizeof(said->text),
                                (const char *)said->text);
    }
    return 0; /* EXPIRED says nothing that the load needs */
}

int run_receive(runner *own, uint32_t lane_index)
{
    connection *stream = &own->list[lane_index].line.stream;
    uint16_t type;
    const void *body;
    uint32_t body_bytes;
    line_receive(&own->list[lane_index].line, baton_clock_monotonic_ns(baton_clock_system()));
    const uint64_t now_ns = baton_clock_monotonic_ns(baton_clock_system());
    frame_verdict verdict;
    while ((verdict = connection_frame(stream, &type, &body, &body_bytes)) == FRAME_READY) {
        int r = take_frame(own, lane_index, type, body, body_bytes, now_ns);
        connection_take(stream);
        if (r < 0)
            return r;
    }
    if (verdict != FRAME_NONE)
        stream->failed = true;
    return 0;
}
