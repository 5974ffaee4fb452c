#include "bench/whole_chain.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/common.h"
#include "bench/raw.h"

enum {
    TOKENS_A_UNIT = BENCH_UNIT_BYTES / CHAIN_TOKEN_BYTES,
    WRITE_BYTES_MAX = 256 << 10,
    PASSER_BYTES = 16 << 20, /* more than the load ever has open */
};
#define FILE_BYTES (64 * BENCH_MIB)

static _Noreturn void chain_die(const char *what, int r)
{
    (void)bench_fail(what, r);
    _exit(1);
}

/* ---- the one before them ---- */

/* One direction: what was read and is not sent yet. */
typedef struct {
    int from, to;
    uint8_t *bytes;
    size_t begin, end;
    bool ended;
} passage;

static void pass(passage *own, bool readable)
{
    if (readable) {
        if (own->begin == own->end)
            own->begin = own->end = 0;
        const ssize_t got =
            recv(own->from, own->bytes + own->end, PASSER_BYTES - own->end, MSG_DONTWAIT);
        own->ended = got == 0;
        own->end += got > 0 ? (size_t)got : 0;
    }
    if (own->begin == own->end)
        return;
    const ssize_t sent =
        send(own->to, own->bytes + own->begin, own->end - own->begin, MSG_DONTWAIT | MSG_NOSIGNAL);
    own->begin += sent > 0 ? (size_t)sent : 0;
}

static _Noreturn void run_passer(int load, int first, int last)
{
    passage there = {.from = load, .to = first, .bytes = malloc(PASSER_BYTES)};
    passage back = {.from = last, .to = load, .bytes = malloc(PASSER_BYTES)};
    if (!there.bytes || !back.bytes)
        chain_die("pass tokens", -ENOMEM);
    while (!there.ended && !back.ended) {
        struct pollfd wanted[] = {{.fd = load, .events = POLLIN},
                                  {.fd = last, .events = POLLIN},
                                  {.fd = first, .events = POLLOUT}};
        if (back.begin < back.end)
            wanted[0].events |= POLLOUT;
        if (poll(wanted, there.begin < there.end ? 3 : 2, -1) < 0 && errno != EINTR)
            chain_die("pass tokens", -errno);
        pass(&there, (wanted[0].revents & (POLLIN | POLLHUP)) != 0);
        pass(&back, (wanted[1].revents & (POLLIN | POLLHUP)) != 0);
    }
    _exit(0);
}

/* ---- the three ---- */

typedef struct {
    uint8_t *tokens; /* WRITE_BYTES_MAX */
    uint32_t bytes;
    bool done;
} batch;

typedef struct {
    int from, to;
    raw_device *raw;
    uint32_t depth;
    batch batches[RAW_DEPTH_MAX + 1]; /* in flight from `first` on; `next` gathers what comes */
    uint64_t first, next;
    bool watched, ended;
} chain_link;

static batch *batch_at(chain_link *own, uint64_t index)
{
    return &own->batches[index % (own->depth + 1)];
}

static void pass_on(const chain_link *own, const batch *tokens)
{
    for (uint32_t sent = 0; sent < tokens->bytes;) {
        const ssize_t r = send(own->to, tokens->tokens + sent, tokens->bytes - sent, MSG_NOSIGNAL);
        if (r < 0 && errno != EINTR)
            chain_die("pass a token on", -errno);
        sent += r > 0 ? (uint32_t)r : 0;
    }
}

static void gather(chain_link *own, int flags)
{
    batch *open = batch_at(own, own->next);
    const ssize_t got =
        recv(own->from, open->tokens + open->bytes, WRITE_BYTES_MAX - open->bytes, flags);
    own->ended = got == 0;
    open->bytes += got > 0 ? (uint32_t)got : 0;
}

/* A unit holds TOKENS_A_UNIT of them. */
static uint32_t write_bytes(const batch *tokens)
{
    return (tokens->bytes + BENCH_UNIT_BYTES - 1) / BENCH_UNIT_BYTES * BENCH_UNIT_BYTES;
}

static void run_blocking(chain_link *own)
{
    batch *open = batch_at(own, 0);
    while (!own->ended) {
        gather(own, 0);
        const int64_t took_ns = open->bytes > 0 ? raw_write(own->raw, write_bytes(open)) : 0;
        if (took_ns < 0)
            chain_die("write a token", (int)took_ns);
        pass_on(own, open);
        open->bytes = 0;
    }
}

static void take_in(chain_link *own)
{
    uint64_t tag;
    int r;
    while ((r = raw_reap(own->raw, &tag)) == 1) {
        if (tag == RAW_READABLE) {
            own->watched = false;
            gather(own, MSG_DONTWAIT);
        } else {
            batch_at(own, tag)->done = true;
        }
    }
    if (r < 0)
        chain_die("write a token", r);
}

static void run_ring(chain_link *own)
{
    while (!own->ended || own->first < own->next) {
        if (!own->watched && !own->ended && batch_at(own, own->next)->bytes < WRITE_BYTES_MAX) {
            raw_watch(own->raw, own->from);
            own->watched = true;
        }
        int r = raw_turn(own->raw, UINT64_MAX);
        if (r < 0)
            chain_die("write a token", r);
        take_in(own);
        for (; own->first < own->next && batch_at(own, own->first)->done; own->first++) {
            batch *done = batch_at(own, own->first);
            pass_on(own, done);
            done->bytes = 0;
            done->done = false;
        }
        const batch *open = batch_at(own, own->next);
        if (open->bytes > 0 && own->next - own->first < own->depth) {
            r = raw_submit(own->raw, write_bytes(open), own->next++);
            if (r < 0)
                chain_die("write a token", r);
        }
    }
}

static _Noreturn void run_link(const whole_chain_options *options, int number, int from, int to)
{
    char path[BENCH_PATH_BYTES];
    chain_link own = {.from = from, .to = to, .depth = options->threads ? 1 : options->depth};
    snprintf(path, sizeof(path), "%s/tokens-%d", options->directory, number);
    int r = raw_open(&(raw_options){.path = path,
                                    .file_bytes = FILE_BYTES,
                                    .write_bytes_max = WRITE_BYTES_MAX,
                                    .depth_max = own.depth,
                                    .file = RAW_WRITTEN_BEFORE,
                                    .threads = options->threads},
                     &own.raw);
    if (r < 0)
        chain_die(path, r);
    for (uint32_t i = 0; i <= own.depth; i++)
        if (!(own.batches[i].tokens = malloc(WRITE_BYTES_MAX)))
            chain_die("pass tokens", -ENOMEM);
    if (options->threads)
        run_blocking(&own);
    else
        run_ring(&own);
    raw_close(own.raw);
    _exit(0);
}

/* ---- all of them ---- */

static uint32_t put_token(void *context, uint64_t i, uint8_t *at)
{
    (void)context;
    memset(at, 0, CHAIN_TOKEN_BYTES);
    memcpy(at, &i, sizeof(i));
    return CHAIN_TOKEN_BYTES;
}

static uint32_t get_token(void *context, const uint8_t *bytes, uint32_t count,
                          uint64_t *ret_answered)
{
    (void)context;
    if (count < CHAIN_TOKEN_BYTES)
        return 0;
    memcpy(ret_answered, bytes, sizeof(*ret_answered));
    return CHAIN_TOKEN_BYTES;
}

enum { SOCKETS = CHAIN_LINKS + 2 }; /* the load's, and one before each link and behind the last */

/* Process `number` (0: the passer) has one end of two or three sockets; all others are closed in it. */
static _Noreturn void run_process(const whole_chain_options *options, int number,
                                  int sockets[SOCKETS][2], pid_t parent)
{
    const int kept[] = {number == 0 ? sockets[0][1] : sockets[number][1], sockets[number + 1][0],
                        number == 0 ? sockets[CHAIN_LINKS + 1][1] : -1};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    for (int i = 0; i < SOCKETS; i++)
        for (int end = 0; end < 2; end++)
            if (sockets[i][end] != kept[0] && sockets[i][end] != kept[1] &&
                sockets[i][end] != kept[2])
                close(sockets[i][end]);
    if (number == 0)
        run_passer(kept[0], kept[1], kept[2]);
    run_link(options, number, kept[0], kept[1]);
}

int whole_chain_open(const whole_chain_options *options, whole_chain *ret_chain)
{
    const pid_t parent = getpid();
    int sockets[SOCKETS][2];
    *ret_chain = (whole_chain){.side = {.fd = -1, .put = put_token, .get = get_token}};
    for (int i = 0; i < SOCKETS; i++)
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets[i]) < 0)
            return -errno;
    fflush(NULL);
    for (int i = 0; i <= CHAIN_LINKS; i++) {
        ret_chain->pids[i] = fork();
        if (ret_chain->pids[i] == 0)
            run_process(options, i, sockets, parent);
        if (ret_chain->pids[i] < 0)
            return -errno;
    }
    for (int i = 0; i < SOCKETS; i++) {
        if (i > 0)
            close(sockets[i][0]);
        close(sockets[i][1]);
    }
    ret_chain->side.fd = sockets[0][0];
    return fcntl(ret_chain->side.fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

int whole_chain_close(whole_chain *chain)
{
    int r = 0;
    close(chain->side.fd);
    for (int i = 0; i <= CHAIN_LINKS; i++) {
        int status;
        if (waitpid(chain->pids[i], &status, 0) != chain->pids[i] || status != 0)
            r = -ECHILD;
    }
    return r;
}
