#include "bench/whole_exchange.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/common.h"
#include "bench/spawn.h"
#include "examples/exchange/wire/address.h"

/* ---- processes ---- */

#define SERVICE(io) "--io", io, "--rto-target", "0s", "--snapshot-at-drain", "no"

enum { GATEWAY, ORDER_SERVICE, RISK_ENGINE, MATCHING_ENGINE };
enum { ADMIN = FLOW_CLIENTS + 1, ASSETS = 2, WINDOW = 32, ARGUMENTS_MAX = 24 };

static const char *const programs[WHOLE_PROCESSES] = {
    [GATEWAY] = "gateway",
    [ORDER_SERVICE] = "order-service",
    [RISK_ENGINE] = "risk-engine",
    [MATCHING_ENGINE] = "matching-engine-1.1.0",
};

/* Names in the working directory, so that they are short. */
static const char *const arguments_of[WHOLE_PROCESSES][ARGUMENTS_MAX] = {
    [GATEWAY] = {"--listen", "unix:clients", "--orders", "unix:orders"},
    [ORDER_SERVICE] = {"run", "--dir", "order-service", "--listen", "unix:orders", "--feed",
                       "unix:commands", "--risk", "unix:checked", "--matching", "unix:reports"},
    [RISK_ENGINE] = {"run", "--dir", "risk-engine", "--listen", "unix:accounts", "--feed",
                     "unix:checked", "--orders", "unix:commands", "--matching", "unix:reports",
                     "--pairs", "1/2/1"},
    [MATCHING_ENGINE] = {"run", "--dir", "matching-engine", "--listen", "unix:direct", "--feed",
                         "unix:reports", "--risk", "unix:checked", "--outbox",
                         "order-service,risk-engine"},
};

static void start(whole_exchange *own, int which)
{
    const char *const more[] = {SERVICE(own->run->backend), NULL};
    const char *arguments[ARGUMENTS_MAX + 8] = {programs[which]};
    char log[64];
    uint32_t count = 1;
    snprintf(log, sizeof(log), "%s.log", programs[which]);
    for (uint32_t i = 0; arguments_of[which][i]; i++)
        arguments[count++] = arguments_of[which][i];
    for (uint32_t i = 0; which != GATEWAY && more[i]; i++)
        arguments[count++] = more[i];
    own->pids[which] = bench_spawn(own->run->choice->programs, programs[which], arguments, log, -1);
    if (own->pids[which] < 0)
        exchange_die(programs[which], own->pids[which]);
}

static void check_alive(const whole_exchange *own)
{
    for (int i = 0; i < WHOLE_PROCESSES; i++)
        if (waitpid(own->pids[i], NULL, WNOHANG) == own->pids[i])
            exchange_die(programs[i], -ECHILD);
}

static int dial(const whole_exchange *own, const char *address)
{
    const exchange_hello hello = {.version = baton_le32_put(EXCHANGE_PROTOCOL_VERSION)};
    const exchange_frame head = {.body_bytes = baton_le32_put(sizeof(hello)),
                                 .type = baton_le16_put(EXCHANGE_HELLO)};
    const int64_t give_up_ns = bench_now_ns() + (int64_t)BENCH_WAIT_NS;
    int fd;
    while (address_connect(address, &fd) < 0) {
        check_alive(own);
        if (bench_now_ns() > give_up_ns)
            exchange_die(address, -ETIMEDOUT);
        (void)poll(NULL, 0, 5);
    }
    if (write(fd, &head, sizeof(head)) != sizeof(head) ||
        write(fd, &hello, sizeof(hello)) != sizeof(hello) || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        exchange_die(address, -errno);
    return fd;
}

/* ---- messages ---- */

static uint32_t put_frame(uint8_t *at, uint16_t type, const void *body, uint32_t body_bytes)
{
    const exchange_frame head = {.body_bytes = baton_le32_put(body_bytes),
                                 .type = baton_le16_put(type)};
    memcpy(at, &head, sizeof(head));
    memcpy(at + sizeof(head), body, body_bytes);
    return (uint32_t)sizeof(head) + body_bytes;
}

/* The bytes of the first frame; 0: it is not whole. True in *ret_is_ack: *ret_ack is set. */
static uint32_t get_frame(const uint8_t *bytes, uint32_t count, exchange_ack *ret_ack,
                          bool *ret_is_ack)
{
    exchange_frame head;
    if (count < sizeof(head))
        return 0;
    memcpy(&head, bytes, sizeof(head));
    const uint32_t all = (uint32_t)sizeof(head) + baton_le32_get(head.body_bytes);
    if (count < all)
        return 0;
    const uint16_t type = baton_le16_get(head.type);
    if (type == EXCHANGE_ERROR)
        exchange_die("the exchange said ERROR", BATON_E_REFUSED);
    *ret_is_ack = type == EXCHANGE_ACK;
    if (*ret_is_ack)
        memcpy(ret_ack, bytes + sizeof(head), sizeof(*ret_ack));
    return all;
}

static uint32_t put_command(void *context, uint64_t i, uint8_t *at)
{
    const whole_exchange *own = context;
    const flow_command *command = &own->commands[own->begin + i];
    return put_frame(at, command->type, &command->body, command->bytes);
}

static uint32_t get_answer(void *context, const uint8_t *bytes, uint32_t count,
                           uint64_t *ret_answered)
{
    whole_exchange *own = context;
    exchange_ack ack;
    bool is_ack;
    const uint32_t all = get_frame(bytes, count, &ack, &is_ack);
    *ret_answered = WHOLE_NONE;
    if (all == 0 || !is_ack)
        return all;
    const uint64_t client = baton_le64_get(ack.command.client_id);
    const uint64_t nth = baton_le64_get(ack.command.client_seq) - own->seq_before[client] - 1;
    own->refused += baton_le16_get(ack.outcome) != EXCHANGE_DONE;
    *ret_answered = own->places[own->first_of[client] + nth];
    return all;
}

/* ---- money ---- */

static uint32_t put_deposit(void *context, uint64_t i, uint8_t *at)
{
    const exchange_transfer deposit = {
        .command = {.client_id = baton_le64_put(ADMIN), .client_seq = baton_le64_put(i + 1)},
        .client_id = baton_le64_put(i / ASSETS + 1),
        .amount = baton_le64_put(UINT64_C(1000000000000)),
        .asset = baton_le32_put((uint32_t)(i % ASSETS) + 1)};
    (void)context;
    return put_frame(at, EXCHANGE_DEPOSIT, &deposit, sizeof(deposit));
}

static uint32_t get_deposited(void *context, const uint8_t *bytes, uint32_t count,
                              uint64_t *ret_answered)
{
    exchange_ack ack;
    bool is_ack;
    const uint32_t all = get_frame(bytes, count, &ack, &is_ack);
    (void)context;
    *ret_answered = WHOLE_NONE;
    if (all == 0 || !is_ack)
        return all;
    if (baton_le16_get(ack.outcome) != EXCHANGE_DONE)
        exchange_die("give the clients money", BATON_E_REFUSED);
    *ret_answered = baton_le64_get(ack.command.client_seq) - 1;
    return all;
}

/* Straight to the order service: a gateway takes no such commands of clients. */
static void give_money(const whole_exchange *own)
{
    const whole_side side = {
        .fd = dial(own, "unix:orders"), .put = put_deposit, .get = get_deposited};
    const whole_schedule schedule = {
        .rate = 1e6, .count = (uint64_t)FLOW_CLIENTS * ASSETS, .seed = 1, .open_max = WINDOW};
    baton_histogram *ignored;
    whole_outcome outcome;
    int r = baton_histogram_create(&ignored);
    if (r == 0)
        r = whole_load_run(&side, &schedule, ignored, &outcome);
    if (r < 0)
        exchange_die("give the clients money", r);
    baton_histogram_destroy(ignored);
    close(side.fd);
}

/* ---- its life ---- */

void whole_exchange_open(const exchange_run *run, const flow_command *commands, uint64_t count,
                         whole_exchange *ret_exchange)
{
    whole_exchange *own = ret_exchange;
    *own = (whole_exchange){.run = run, .commands = commands, .commands_count = count};
    own->places = calloc(count, sizeof(*own->places));
    if (!own->places)
        exchange_die("the exchange's commands", -ENOMEM);
    for (int i = 0; i < WHOLE_PROCESSES; i++)
        start(own, i);
    give_money(own);
    own->side = (whole_side){
        .fd = dial(own, "unix:clients"), .put = put_command, .get = get_answer, .context = own};
}

bool whole_exchange_block(whole_exchange *own, uint64_t count)
{
    uint32_t counts[WHOLE_NAMES] = {0}, put[WHOLE_NAMES] = {0};
    for (uint64_t i = own->begin; i < own->end; i++)
        own->seq_before[baton_le64_get(own->commands[i].body.order.command.client_id)]++;
    own->begin = own->end;
    if (count > own->commands_count - own->begin)
        return false;
    own->end += count;
    for (uint64_t i = own->begin; i < own->end; i++)
        counts[baton_le64_get(own->commands[i].body.order.command.client_id)]++;
    for (uint32_t client = 1; client < WHOLE_NAMES; client++)
        own->first_of[client] = own->first_of[client - 1] + counts[client - 1];
    for (uint64_t i = own->begin; i < own->end; i++) {
        const uint64_t client = baton_le64_get(own->commands[i].body.order.command.client_id);
        own->places[own->first_of[client] + put[client]++] = (uint32_t)(i - own->begin);
    }
    return true;
}

/* From the clients on, so that nobody is missed before it ends. */
void whole_exchange_close(whole_exchange *own)
{
    close(own->side.fd);
    for (int i = 0; i < WHOLE_PROCESSES; i++) {
        int status;
        (void)kill(own->pids[i], SIGTERM);
        if (waitpid(own->pids[i], &status, 0) != own->pids[i] || status != 0)
            exchange_die(programs[i], -ECHILD);
        own->pids[i] = 0;
    }
    free(own->places);
    for (int i = 1; i < WHOLE_PROCESSES; i++)
        bench_remove_tree(programs[i]);
    bench_remove_tree("matching-engine");
}
