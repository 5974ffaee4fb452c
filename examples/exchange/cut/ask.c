/* Questions over a socket, one at a time, and waiting for the answer. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <baton/clock.h>

#include "examples/exchange/cut/cut.h"
#include "examples/exchange/wire/address.h"
#include "examples/exchange/wire/connection.h"

enum { OUT_BYTES_MAX = 1 << 16, PAUSE_MS = 50, AGAIN_MS = 1000 };

typedef struct {
    uint16_t type;
    const void *body;
    uint32_t body_bytes;
    uint16_t answer_type;
    void *answer;
    uint32_t answer_bytes;
} question;

static uint64_t now_ms(void)
{
    return baton_clock_monotonic_ns(baton_clock_system()) / 1000000;
}

static int refused(const void *body, uint32_t body_bytes, baton_error *error)
{
    exchange_error said = {0};
    if (body_bytes == sizeof(said))
        memcpy(&said, body, sizeof(said));
    said.text[sizeof(said.text) - 1] = 0;
    return baton_error_set(error, BATON_E_REFUSED, "ask", (const char *)said.text,
                           "is this the socket of the right service?");
}

/* 1: answered. 0: not yet. */
static int look(connection *stream, const question *ask, baton_error *error)
{
    uint16_t type;
    const void *body;
    uint32_t body_bytes;
    frame_verdict verdict;
    while ((verdict = connection_frame(stream, &type, &body, &body_bytes)) == FRAME_READY) {
        if (type == EXCHANGE_ERROR)
            return refused(body, body_bytes, error);
        const bool answered = type == ask->answer_type && body_bytes == ask->answer_bytes;
        if (answered)
            memcpy(ask->answer, body, body_bytes);
        connection_take(stream);
        if (answered)
            return 1;
    }
    return verdict == FRAME_NONE && !stream->failed && !stream->ended ? 0 : -ECONNRESET;
}

/* Asked again from time to time: a service that was handed over has the connection, and does not know who waits. */
static int talk(connection *stream, const question *ask, uint64_t until_ms, baton_error *error)
{
    const exchange_hello hello = {.version = baton_le32_put(EXCHANGE_PROTOCOL_VERSION)};
    connection_queue(stream, EXCHANGE_HELLO, &hello, sizeof(hello), NULL, 0);
    connection_queue(stream, ask->type, ask->body, ask->body_bytes, NULL, 0);
    uint64_t again_ms = now_ms() + AGAIN_MS;
    int r = 0;
    while (r == 0 && now_ms() < until_ms) {
        if (now_ms() >= again_ms && connection_all_sent(stream)) {
            connection_queue(stream, ask->type, ask->body, ask->body_bytes, NULL, 0);
            again_ms = now_ms() + AGAIN_MS;
        }
        const short wanted = (short)(POLLIN | (connection_all_sent(stream) ? 0 : POLLOUT));
        struct pollfd ready = {.fd = stream->fd, .events = wanted};
        if (poll(&ready, 1, PAUSE_MS) < 0 && errno != EINTR)
            return -errno;
        connection_send(stream);
        if (ready.revents & (POLLIN | POLLHUP | POLLERR))
            connection_receive(stream);
        r = look(stream, ask, error);
    }
    return r;
}

/* A service that is being replaced or restarted is asked again: that changes nothing twice. */
static int ask_until(const char *address, const question *ask, unsigned wait_s, baton_error *error)
{
    const uint64_t until_ms = now_ms() + (uint64_t)wait_s * 1000;
    int r = 0;
    while (r != 1 && now_ms() < until_ms) {
        connection stream;
        int fd;
        r = address_dial(address, &fd);
        if (r == 0 && (r = connection_open(&stream, fd, OUT_BYTES_MAX)) < 0)
            close(fd);
        if (r == 0) {
            r = talk(&stream, ask, until_ms, error);
            connection_close(&stream);
        }
        if (r == BATON_E_REFUSED)
            return r;
        if (r == BATON_E_INVALID)
            return baton_error_set(error, r, address, NULL, "give unix:PATH or tcp:HOST:PORT");
        if (r < 0)
            (void)poll(NULL, 0, PAUSE_MS);
    }
    if (r == 1)
        return 0;
    return baton_error_setf(error, BATON_E_TIMEOUT, address,
                            "do all three services run, and their links (exchange_link_up)?",
                            "no answer in %u s%s%s", wait_s, r < 0 ? ": " : "",
                            r < 0 ? baton_status_text(r) : "");
}

int ask_barrier(const char *orders, uint64_t id, unsigned wait_s, exchange_barrier *ret_done,
                baton_error *error)
{
    const exchange_barrier wish = {.id = baton_le64_put(id)};
    const question ask = {.type = EXCHANGE_BARRIER,
                          .body = &wish,
                          .body_bytes = sizeof(wish),
                          .answer_type = EXCHANGE_BARRIER_DONE,
                          .answer = ret_done,
                          .answer_bytes = sizeof(*ret_done)};
    int r = ask_until(orders, &ask, wait_s, error);
    /* Another one was under way, of a cut that perhaps nobody waits for any more: now ours. */
    if (r == 0 && baton_le64_get(ret_done->id) < id)
        r = ask_until(orders, &ask, wait_s, error);
    if (r < 0 || baton_le64_get(ret_done->id) == id)
        return r;
    return baton_error_setf(error, BATON_E_REFUSED, "the barrier", "give a higher --id, or none",
                            "the order service has had %llu already",
                            (unsigned long long)baton_le64_get(ret_done->id));
}

int ask_reconcile(const char *accounts, unsigned wait_s, exchange_reconciled *ret_answer,
                  baton_error *error)
{
    const question ask = {.type = EXCHANGE_RECONCILE,
                          .answer_type = EXCHANGE_RECONCILED,
                          .answer = ret_answer,
                          .answer_bytes = sizeof(*ret_answer)};
    return ask_until(accounts, &ask, wait_s, error);
}
