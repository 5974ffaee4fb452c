/* tests/fuzz/exchange_client_fuzz.c: any bytes from a client: through a connection's framing, the
 * check of commands and, when it passes, apply. The first byte chooses in what pieces they come. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "engine/machine.h"
#include "examples/exchange/wire/connection.h"
#include "examples/exchange/matching-engine/matching_engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

typedef struct {
    baton_machine machine;
    connection stream;
    uint32_t acks;
    bool refused; /* as the server: an ERROR, and nothing more is taken */
} client;

static void on_effect(void *context, const baton_effect *effect)
{
    client *own = context;
    baton_assert(effect->payload_bytes > 0 && effect->payload_bytes <= BATON_EFFECT_BYTES_MAX);
    if (effect->type == EFFECT_ACK)
        own->acks++;
    else
        baton_assert(effect->type == EFFECT_REPORT);
}

static baton_digest digest_of(const client *own)
{
    baton_digest digest;
    baton_assert(baton_machine_digest(&own->machine, 2, &digest) == 0);
    return digest;
}

/* As intake.c does: judged first, and submitted only when it is new. */
static void take(client *own, uint16_t type, const void *body, uint32_t body_bytes)
{
    exchange_command command;
    const baton_entry entry = {.seq = own->machine.seq + 1,
                               .epoch = 1,
                               .time_ns = own->machine.time_ns + 1,
                               .type = type,
                               .payload = body,
                               .payload_bytes = body_bytes};
    int r = matching_engine_command(type, body, body_bytes, &command);
    own->refused = r == BATON_E_UNKNOWN_TYPE || r == BATON_E_INVALID;
    baton_assert(r == 0 || own->refused || r == BATON_E_TOO_LARGE);
    if (r < 0)
        return;
    const matching_engine *state = own->machine.state;
    uint64_t client_id = baton_le64_get(command.client_id);
    uint64_t client_seq = baton_le64_get(command.client_seq);
    if (clients_judge(state->clients, client_id, client_seq, NULL) != CLIENT_NEW_COMMAND)
        return;
    own->acks = 0;
    baton_assert(baton_machine_apply(&own->machine, &entry) == 0);
    baton_assert(own->acks == 1);
    baton_assert(clients_judge(state->clients, client_id, client_seq, NULL) == CLIENT_SENT_BEFORE);
}

static void take_all(client *own)
{
    uint16_t type;
    const void *body;
    uint32_t body_bytes;
    frame_verdict verdict = FRAME_NONE;
    connection_receive(&own->stream);
    while (!own->refused &&
           (verdict = connection_frame(&own->stream, &type, &body, &body_bytes)) == FRAME_READY) {
        /* Exactly as long as it is, for the sanitizer: what is behind it is another's. */
        void *alone = malloc(body_bytes + 1u);
        baton_assert(alone != NULL);
        memcpy(alone, body, body_bytes);
        void *exact = realloc(alone, body_bytes > 0 ? body_bytes : 1);
        baton_assert(exact != NULL);
        take(own, type, exact, body_bytes);
        free(exact);
        connection_take(&own->stream);
    }
    own->refused = own->refused || (verdict != FRAME_NONE && verdict != FRAME_READY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const small[] = {"64", "16", "4", "market-data", "2", "cancel-resting"};
    const baton_service_config config = {.values = small};
    baton_error error = {0};
    client own = {0};
    int pair[2];
    if (bytes < 1)
        return 0;
    baton_assert(baton_machine_init(&own.machine, &matching_engine_service, &config, &error) == 0);
    own.machine.on_effect = on_effect;
    own.machine.on_effect_context = &own;
    baton_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    baton_assert(connection_open(&own.stream, pair[0], CONNECTION_OUT_BYTES_MAX) == 0);

    size_t piece_bytes = 1 + (size_t)data[0] * data[0];
    for (size_t at = 1; at < bytes && !own.refused;) {
        size_t piece = bytes - at < piece_bytes ? bytes - at : piece_bytes;
        baton_assert(send(pair[1], data + at, piece, 0) == (ssize_t)piece);
        at += piece;
        take_all(&own);
    }
    close(pair[1]);
    take_all(&own);
    baton_assert(own.refused || (own.stream.ended && !own.stream.failed));

    const matching_engine *state = own.machine.state;
    baton_assert(book_check(state->book, true) == NULL);
    baton_assert(baton_digest_equal(book_digest(state->book), book_digest_recomputed(state->book)));
    baton_assert(baton_digest_equal(digest_of(&own), digest_of(&own)));
    connection_close(&own.stream);
    baton_machine_fini(&own.machine);
    return 0;
}
