/* baton/main.h: the program around a service. baton_main gives every service the same doors
 * (E1):
 *
 *   SERVICE run --dir DIR [--control PATH] [--drain-deadline 25s] ...      until SIGTERM
 *   SERVICE baton info|replay|verify|digest [DIR] [-o json]                a binary and data at rest
 *
 * `SERVICE --help` lists every option with its default, the service's own included. DIR holds
 * `journal/`, `snapshots/` and, while the service runs, the control socket. Exit codes: design
 * §9 (README). */
#pragma once

#include <baton/engine.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An open descriptor that goes along to the successor in a handover, e.g. a listening socket. */
#define BATON_PASSED_FDS_MAX 8u
typedef struct baton_passed_fd {
    int fd;
    char name[16]; /* the program's own, so that another version knows what it is */
} baton_passed_fd;

/* A connected plaintext socket on its way to the successor (H4): the descriptor, and what stands between
 * it and the program. Up to BATON_CONNECTIONS_MAX of them; all bytes of one up to
 * BATON_CONNECTION_BYTES_MAX, of all together up to BATON_CONNECTIONS_BYTES_MAX. What does not fit, or finds no
 * descriptors free, is not passed: its client connects again. That is logged, and counted in `status`. */
#define BATON_CONNECTIONS_MAX       4096u
#define BATON_CONNECTION_BYTES_MAX  (UINT32_C(1) << 20)
#define BATON_CONNECTIONS_BYTES_MAX (UINT32_C(16) << 20)
typedef struct baton_connection {
    int fd;
    char name[16];        /* the program's own kind of it, not empty */
    const void *received; /* read from the socket and not taken yet: half a request, or some */
    const void *unsent;   /* queued for it, and not sent: from half an answer on */
    const void *notes; /* what else the program knows of it, in a form that other versions read */
    uint32_t received_bytes, unsent_bytes, notes_bytes;
} baton_connection;

/* The process around the state: sockets, clients. All functions may be NULL. context is the one
 * given to baton_main. */
typedef struct baton_program {
    const baton_service_option *options; /* `run` options of the program, e.g. --listen */
    uint32_t options_count;
    /* Hydrated, epoch durable: open sockets, watch them. values in the order of options.
     * Non-zero stops the start: fill error. */
    int (*start)(void *context, baton_engine *engine, const char *const *values,
                 baton_error *error);
    /* One effect whose entry is durable and applied, in order. Queue it for its client; do not
     * block. */
    void (*release)(void *context, const baton_effect *effect);
    /* After the releases of each turn of the loop: send what release queued; take up clients
     * that were held back. */
    void (*turn)(void *context);
    /* Drain begins: accept and read nothing more. Entries already submitted are finished and
     * their effects released. */
    void (*stop_intake)(void *context);
    /* True when everything that release queued has left for the clients (or they are gone); the
     * drain waits for it, until its deadline. NULL: always true. */
    bool (*all_sent)(void *context);
    /* For a handover to a living successor; without the first two there is none. Accept and read nothing
     * for a moment, as in stop_intake, but close nothing; then go on, or not: */
    void (*pause_intake)(void *context);
    void (*resume_intake)(void *context);
    /* Before a handover: fill in what the successor gets copies of, and return how many. They stay
     * this program's, and open. */
    uint32_t (*give_fds)(void *context, baton_passed_fd fds[BATON_PASSED_FDS_MAX]);
    /* For a handover on this machine, intake being paused and everything released: fill in the connected
     * sockets, at most connections_max of them, those first that matter most, and return how many. What they
     * point to is the program's and stays unchanged until this is over; descriptors are copied. From here
     * on the program neither reads, writes nor closes any of them, nor watches them, whatever they do, until
     * one of: resume_intake (the successor's copies are closed, and it goes on where it was); or let_go and stop:
     * it closes its own copies, without shutdown(). Answers that clients have not taken are not
     * waited for. NULL: connections end at a handover, and clients come again. */
    uint32_t (*give_connections)(void *context, baton_connection *connections,
                                 uint32_t connections_max);
    /* After start, in a successor, whose term has begun: the descriptors are the program's from here on,
     * watched by nobody; what it can't use, it closes. The bytes are valid during the call, and not
     * aligned. They come from another process, maybe of another version: check them. */
    void (*take_connections)(void *context, const baton_connection *connections,
                             uint32_t connections_count);
    /* The successor serves: close, and leave what was passed to it in place (the paths of Unix sockets).
     * stop follows. */
    void (*let_go)(void *context);
    /* Before start, in a successor: these are the program's from here on; what it does not know, it
     * closes. */
    void (*take_fds)(void *context, const baton_passed_fd *fds, uint32_t fds_count);
    /* A handover has come to this step ("preparing", "stopped", "offered", "submitted", "granted",
     * "fenced"; of a standby "ready", "answered", "taking", "serving"). For logs and tests. */
    void (*reached)(void *context, const char *step);
    /* The loop is over: close sockets, free. Called once after every start that succeeded. */
    void (*stop)(void *context);
} baton_program;

/* Runs the whole program; returns its exit code. program may be NULL: a service without clients
 * (replay and verify work). */
int baton_main(int argc, char **argv, const baton_service *service, const baton_program *program,
               void *context);

#ifdef __cplusplus
}
#endif
