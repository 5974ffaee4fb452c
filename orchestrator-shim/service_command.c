/* orchestrator-shim/service_command.c: `baton service WORD SOCKET`: ask a running service. The
 * protocol: drain/README.md.
 *
 * drain/control_call.h is a client of it, too, that batond uses. Not here: it is private to drain/, and this program
 * includes public headers alone. As a public one it would promise its calls, and jansson's types, to every user of
 * the library. It never waits, either, and this one waits for everything, up to --timeout. */
#include "orchestrator-shim/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <baton/clock.h>

#define ANSWER_BYTES_MAX (1u << 20)

static const char help[] =
    "baton service WORD SOCKET [options]\n"
    "\n"
    "  status      who runs there, where it is, its digests, what its start and its journal were "
    "like\n"
    "  drain       stop intake, finish, hand over, end; waits until the process is gone\n"
    "  snapshot    take one; waits until it is published\n"
    "  finalize    from here on the newest schema is written; there is no way back to a version "
    "that can't read it\n"
    "  handover    to a standby that follows it (`SERVICE run --standby-of DIR`); waits until that "
    "one\n"
    "              serves, or this one serves on, and says why\n"
    "  promote     --force: a standby, or one that waits undecided, serves from here on; first "
    "make sure that "
    "the\n"
    "              other one is dead and stays so. Adds 2^32 to the epoch, which says so for ever\n"
    "  follow      of a standby: from here on that one: `follow SOCKET DIR`, the active's "
    "directory, or its\n"
    "              handover socket\n"
    "\n"
    "SOCKET is the control socket, or the directory that holds control.sock.\n"
    "\n"
    "  --timeout TIME             how long to wait (default: 30s); exit code 8 when it is over\n"
    "  --nonce NONCE              refuse unless this very instance answers (`status` tells the "
    "nonce)\n"
    "  --to NONCE                 handover: the standby's nonce, when there are several\n"
    "  --max-gap TIME             handover: how long nobody may take orders (default: 250ms)\n"
    "  --path auto|cutover|snapshot  handover: auto is a cutover, and, to an older version whose "
    "digests\n"
    "                             differ, through a snapshot of the last entry (default: auto)\n"
    "  --snapshot-gap TIME        handover: in place of --max-gap on that way (default: 10s)\n"
    "  --run-epoch N              handover: of the run that asks; one below the highest heard is "
    "refused\n"
    "  --force                    promote: it is asked for\n"
    "  --wait                     handover: also for the end of the process\n"
    "  -o, --output text|json     for people or for machines\n"
    "\n"
    "Examples:\n"
    "  baton service status /var/lib/orders/control.sock\n"
    "  baton service handover /var/lib/orders-a --max-gap 100ms\n"
    "  baton service handover /var/lib/orders-b --path snapshot --timeout 60s\n"
    "  baton service drain /var/lib/orders --timeout 60s -o json\n";

/* What a request says beside its word; NULL, 0: nothing. */
typedef struct {
    const char *nonce;
    const char *to;
    uint64_t max_gap_ms;
    uint64_t run_epoch;
    bool force;
    const char *path;
    uint64_t snapshot_gap_ms;
    const char *of;
    bool wait;
    bool json;
} service_request;

typedef struct {
    const char *word;
    char path[4096];
    int fd;
    int pid_fd; /* of the peer; -1 when it is not known */
    uint64_t until_ns;
    char *input; /* ANSWER_BYTES_MAX */
    size_t input_bytes;
    baton_error error;
} service_call;

static uint64_t now_ns(void)
{
    return baton_clock_monotonic_ns(baton_clock_system());
}

static int refuse(service_call *call, int status, const char *why, const char *todo)
{
    char what[192];
    snprintf(what, sizeof(what), "service %s %.150s", call->word, call->path);
    return baton_error_set(&call->error, status, what, why, todo);
}

/* Sleep for fd until the time is over. */
static int wait_for(service_call *call, int fd, short events)
{
    for (;;) {
        const uint64_t now = now_ns();
        const uint64_t left = call->until_ns > now ? call->until_ns - now : 0;
        const struct timespec timeout = {.tv_sec = (time_t)(left / 1000000000),
                                         .tv_nsec = (long)(left % 1000000000)};
        struct pollfd wanted = {.fd = fd, .events = events};
        const int n = ppoll(&wanted, 1, &timeout, NULL);
        if (n > 0)
            return 0;
        if (n == 0)
            return refuse(call, BATON_E_TIMEOUT, "no answer in time",
                          "give it more --timeout, or look at its log");
        if (errno != EINTR)
            return refuse(call, -errno, NULL, "try again");
    }
}

/* sockaddr_un holds 108 bytes. A longer path is reached through its directory's descriptor. */
static int make_address(service_call *call, struct sockaddr_un *address, int *ret_directory_fd)
{
    char directory[sizeof(call->path)];
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    *ret_directory_fd = -1;
    if (strlen(call->path) < sizeof(address->sun_path)) {
        memcpy(address->sun_path, call->path, strlen(call->path));
        return 0;
    }
    memcpy(directory, call->path, sizeof(directory));
    char *slash = strrchr(directory, '/');
    if (slash == NULL)
        return -ENAMETOOLONG;
    *slash = '\0';
    *ret_directory_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*ret_directory_fd < 0)
        return -errno;
    const int n = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s",
                           *ret_directory_fd, slash + 1);
    return n > 0 && (size_t)n < sizeof(address->sun_path) ? 0 : -ENAMETOOLONG;
}

/* A service that hangs accepts nobody, and its queue of callers fills up: then connect blocks. */
static void bound_connect(const service_call *call)
{
    const uint64_t now = now_ns();
    const uint64_t left_us = (call->until_ns > now ? call->until_ns - now : 0) / 1000 + 1;
    const struct timeval limit = {.tv_sec = (time_t)(left_us / 1000000),
                                  .tv_usec = (suseconds_t)(left_us % 1000000)};
    (void)setsockopt(call->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static int connect_to(service_call *call)
{
    struct sockaddr_un address;
    struct ucred peer;
    socklen_t bytes = sizeof(peer);
    int directory_fd = -1;
    int r = make_address(call, &address, &directory_fd);
    call->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (r == 0 && call->fd < 0)
        r = -errno;
    if (r == 0)
        bound_connect(call);
    if (r == 0 && connect(call->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        r = -errno;
    if (directory_fd >= 0)
        close(directory_fd);
    if (r == -EAGAIN)
        return refuse(call, BATON_E_TIMEOUT, "it takes no caller",
                      "give it more --timeout, or look at its log");
    if (r == -ENOENT || r == -ECONNREFUSED)
        return refuse(call, r, "no service answers there",
                      "is it running, and is this its control socket?");
    if (r < 0)
        return refuse(call, r, NULL, "is this its control socket, and yours to use?");
    if (getsockopt(call->fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 && peer.pid > 0)
        call->pid_fd = (int)syscall(SYS_pidfd_open, peer.pid, 0);
    return 0;
}

static int send_request(service_call *call, const service_request *asked)
{
    json_t *request = json_pack("{s:i, s:s, s:s*, s:s*}", "baton", 1, "do", call->word, "nonce",
                                asked->nonce, "to", asked->to);
    if (request != NULL && asked->max_gap_ms != 0)
        json_object_set_new(request, "max_gap_ms", json_integer((json_int_t)asked->max_gap_ms));
    if (request != NULL && asked->run_epoch != 0)
        json_object_set_new(request, "run_epoch", json_integer((json_int_t)asked->run_epoch));
    if (request != NULL && asked->force)
        json_object_set_new(request, "force", json_true());
    if (request != NULL && asked->snapshot_gap_ms != 0)
        json_object_set_new(request, "snapshot_gap_ms",
                            json_integer((json_int_t)asked->snapshot_gap_ms));
    if (request != NULL && asked->path != NULL)
        json_object_set_new(request, "path", json_string(asked->path));
    if (request != NULL && asked->of != NULL)
        json_object_set_new(request, "of", json_string(asked->of));
    char *line = request != NULL ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    if (line == NULL)
        return refuse(call, BATON_E_INVALID, "the nonce is no text",
                      "take it from `baton service status`");
    const size_t bytes = strlen(line);
    line[bytes] = '\n'; /* its terminator's place: the length is known */
    size_t sent = 0;
    int r = 0;
    while (sent < bytes + 1 && r == 0) {
        ssize_t n = send(call->fd, line + sent, bytes + 1 - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
            sent += (size_t)n;
        else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            r = wait_for(call, call->fd, POLLOUT);
        else if (n < 0 && errno != EINTR)
            break; /* it may have answered before it hung up: read that */
    }
    free(line);
    return r;
}

/* The next answer line. 1, 0 when the service hung up, or an error. */
static int read_answer(service_call *call, json_t **ret_answer)
{
    for (;;) {
        char *newline = memchr(call->input, '\n', call->input_bytes);
        if (newline != NULL) {
            const size_t bytes = (size_t)(newline - call->input) + 1;
            *ret_answer = json_loadb(call->input, bytes, 0, NULL);
            call->input_bytes -= bytes;
            memmove(call->input, newline + 1, call->input_bytes);
            return json_is_object(*ret_answer)
                       ? 1
                       : refuse(call, BATON_E_INVALID, "its answer is no JSON object",
                                "is this the control socket of a Baton service?");
        }
        if (call->input_bytes == ANSWER_BYTES_MAX)
            return refuse(call, BATON_E_TOO_LARGE, "its answer has no end",
                          "is this the control socket of a Baton service?");
        int r = wait_for(call, call->fd, POLLIN);
        if (r < 0)
            return r;
        ssize_t n = recv(call->fd, call->input + call->input_bytes,
                         ANSWER_BYTES_MAX - call->input_bytes, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return 0;
        if (n < 0 && errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)
            return refuse(call, -errno, NULL, "try again");
        call->input_bytes += n > 0 ? (size_t)n : 0;
    }
}

/* An answer that says no becomes our error, with the service's words. */
static int check_answer(service_call *call, const json_t *answer)
{
    if (json_is_true(json_object_get(answer, "ok")))
        return 0;
    const json_t *error = json_object_get(answer, "error");
    if (error == NULL)
        error = json_object_get(json_object_get(answer, "drain"), "error");
    const char *why = json_string_value(json_object_get(error, "why"));
    const char *todo = json_string_value(json_object_get(error, "todo"));
    return refuse(call, BATON_E_REFUSED, why, todo != NULL ? todo : "look at the service's log");
}

/* After the answer to `drain`: the report line, then the end of the process itself. */
static int await_end(service_call *call, json_t **answer)
{
    json_t *report = NULL;
    int r = read_answer(call, &report);
    if (r == 0)
        r = refuse(call, BATON_E_BROKEN, "it ended without a drain report",
                   "look at its log, then verify its journal");
    if (r > 0) {
        json_decref(*answer);
        *answer = report;
        r = call->pid_fd >= 0 ? wait_for(call, call->pid_fd, POLLIN) : 0;
    }
    return r < 0 ? r : check_answer(call, *answer);
}

static int run_call(service_call *call, const service_request *asked)
{
    json_t *answer = NULL;
    int r = connect_to(call);
    if (r == 0)
        r = send_request(call, asked);
    if (r == 0) {
        r = read_answer(call, &answer);
        if (r == 0)
            r = refuse(call, BATON_E_BROKEN, "it hung up", "look at its log");
        else if (r > 0)
            r = check_answer(call, answer);
    }
    if (r == 0 && strcmp(call->word, "drain") == 0)
        r = await_end(call, &answer);
    if (r == 0 && asked->wait && call->pid_fd >= 0)
        r = wait_for(call, call->pid_fd, POLLIN);

    int printed = 0;
    if (json_is_object(answer) && asked->json)
        printed = print_json(json_incref(answer));
    else if (r == 0)
        printed = print_text(json_incref(answer));
    json_decref(answer);
    if (r < 0) {
        call->error.status = r;
        return fail_with(&call->error);
    }
    return printed;
}

static int call_service(const char *word, const char *path, const service_request *asked,
                        uint64_t timeout_ns)
{
    service_call call = {.word = word, .fd = -1, .pid_fd = -1, .until_ns = now_ns() + timeout_ns};
    struct stat there;
    const bool is_directory = stat(path, &there) == 0 && S_ISDIR(there.st_mode);
    const int n =
        snprintf(call.path, sizeof(call.path), "%s%s", path, is_directory ? "/control.sock" : "");
    if (n < 0 || (size_t)n >= sizeof(call.path))
        return fail_usage("service", "the path is too long", "give a shorter one");
    call.input = malloc(ANSWER_BYTES_MAX);
    if (call.input == NULL)
        return fail_usage("service", "memory is short", "give the process more memory");
    const int code = run_call(&call, asked);
    if (call.fd >= 0)
        close(call.fd);
    if (call.pid_fd >= 0)
        close(call.pid_fd);
    free(call.input);
    return code;
}

static bool read_run_epoch(const char *text, uint64_t *ret_epoch)
{
    char *rest;
    errno = 0;
    const unsigned long long epoch = strtoull(text, &rest, 10);
    if (errno != 0 || text[0] < '1' || text[0] > '9' || *rest != '\0' || epoch > INT64_MAX) {
        fail_usage("option --run-epoch", "it is a whole number, 1 or more", "see --help");
        return false;
    }
    *ret_epoch = epoch;
    return true;
}

static uint64_t as_ms(uint64_t ns)
{
    return ns == 0 || ns >= 1000000 ? ns / 1000000 : 1;
}

/* False: told, and not to go on. */
static bool take_option(int option, service_request *asked, uint64_t *timeout_ns)
{
    uint64_t ns = 0;
    bool fits = option != OPTION_WRONG;
    if (option == 't')
        fits = read_duration("--timeout", optarg, timeout_ns);
    else if (option == 'n')
        asked->nonce = optarg;
    else if (option == 'T')
        asked->to = optarg;
    else if (option == 'p')
        asked->path = optarg;
    else if (option == 'g')
        fits = read_duration("--max-gap", optarg, &ns);
    else if (option == 'G')
        fits = read_duration("--snapshot-gap", optarg, &ns);
    else if (option == 'r')
        fits = read_run_epoch(optarg, &asked->run_epoch);
    else if (option == 'f')
        asked->force = true;
    else if (option == 'w')
        asked->wait = true;
    else if (option == 'o')
        fits = read_output(optarg, &asked->json);
    if (fits && option == 'g')
        asked->max_gap_ms = as_ms(ns);
    if (fits && option == 'G')
        asked->snapshot_gap_ms = as_ms(ns);
    return fits;
}

int service_command(int argc, char **argv)
{
    static const char *const words[] = {"status", "drain",    "snapshot", "finalize",
                                        "follow", "handover", "promote"};
    static const struct option options[] = {{"timeout", required_argument, NULL, 't'},
                                            {"nonce", required_argument, NULL, 'n'},
                                            {"to", required_argument, NULL, 'T'},
                                            {"max-gap", required_argument, NULL, 'g'},
                                            {"path", required_argument, NULL, 'p'},
                                            {"snapshot-gap", required_argument, NULL, 'G'},
                                            {"run-epoch", required_argument, NULL, 'r'},
                                            {"force", no_argument, NULL, 'f'},
                                            {"wait", no_argument, NULL, 'w'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    uint64_t timeout_ns = UINT64_C(30000000000);
    service_request asked = {.nonce = NULL};
    if (argc < 2) {
        fputs(help, stderr);
        return 1;
    }
    for (int option; (option = next_option(argc, argv, options, help)) != -1;) {
        if (option == OPTION_HELP)
            return 0;
        if (!take_option(option, &asked, &timeout_ns))
            return 1;
    }
    const bool follow = argc > optind && strcmp(argv[optind], "follow") == 0;
    if (argc - optind != (follow ? 3 : 2))
        return fail_usage("service", "it takes a word and a socket, and `follow` whom",
                          "see --help");
    if (strcmp(argv[optind], "handover") != 0 &&
        (asked.to != NULL || asked.max_gap_ms != 0 || asked.path != NULL ||
         asked.snapshot_gap_ms != 0 || asked.run_epoch != 0 || asked.wait))
        return fail_usage(
            "service",
            "--to, --path, --max-gap, --snapshot-gap, --run-epoch and --wait belong to "
            "`handover`",
            "see --help");
    if (strcmp(argv[optind], "promote") != 0 && asked.force)
        return fail_usage("service", "--force belongs to `promote`", "see --help");
    if (follow)
        asked.of = argv[optind + 2];
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(argv[optind], words[i]) == 0)
            return call_service(words[i], argv[optind + 1], &asked, timeout_ns);
    return fail_usage(
        argv[optind], "there is no such word of `baton service`",
        "the words are status, drain, snapshot, finalize, follow, handover and promote");
}
