/* tests/sim/handover/handover_run.h: one run of several instances of a service on one simulated
 * machine: the program itself (drain/run.c and all below it), with its threads, sockets, files and
 * signals replaced where the linker can (-Wl,--wrap), in one thread, from one seed.
 *
 *   fiber.c    every thread of every process is a fiber; who runs next is drawn
 *   system.c   descriptors, sockets, poll, threads, time
 *   loop.c     the engine's loop
 *   files.c    what drain/ asks of the file system by itself, on the simulated disk
 *   network.c  stream sockets: delays, cuts that lose what was under way, a link between hosts
 *   tcp.c      what only TCP sockets are asked
 *   process.c  a process: its start, its stop, its death; what stands in for the control socket
 *   service.c  the simulated service and its program: takes orders in, gives acks out
 *   clients.c  clients that send, resend, and remember every ack
 *   world.c    one run from its seed: who is started how, handovers to and fro, accidents, the end
 *   hosts.c    two hosts: what the operator sees on both, and decides
 *   accidents.c  what goes wrong, and when
 *   directed.c   accidents in the one order that a rule is there for
 *   judge.c    what is demanded: while it runs, and at rest */
#pragma once

#include <stdnoreturn.h>
#include <sys/socket.h>
#include <ucontext.h>

#include "base/io_sim.h"
#include "drain/control.h"
#include "drain/program.h"
#include "engine/machine.h"
#include "tests/sim/sim_main.h"
#include "tests/sim/wrap.h"

#define INSTANCES_MAX     3u
#define CLIENTS           3u
#define FIBERS_MAX        40u
#define LIVES_MAX         4096u
#define CONNECTIONS_MAX   48u
#define INBOX_MAX         256u
#define MS                UINT64_C(1000000)
#define SOCKET_NAME_BYTES 320u

typedef struct world world;
typedef struct sim_life sim_life;
typedef struct sim_fiber sim_fiber;

/* ---- fiber.c ---- */

typedef bool (*fiber_ready)(void *context);

struct sim_fiber {
    ucontext_t context;
    ucontext_t *caller;
    void *stack;
    sim_life *life;
    void *(*main)(void *argument);
    void *argument;
    void *result;
    bool used, finished;
    fiber_ready ready; /* what it waits for, beside the time */
    void *ready_context;
    uint64_t until_ns;
};

sim_fiber *fiber_start(sim_life *life, void *(*main)(void *), void *argument);
void fiber_resume(sim_fiber *fiber); /* until it waits or has ended */
void fiber_free(sim_fiber *fiber);
sim_fiber *fiber_current(void); /* NULL: the simulator itself */
/* Of the fiber that runs: until it is ready or the time has come. In a dead process: at once. */
void fiber_wait(fiber_ready ready, void *context, uint64_t until_ns);
void fiber_rest(void);
void fiber_sleep(uint64_t ns);
bool fiber_may_run(const sim_fiber *fiber);
sim_fiber *fiber_at(uint32_t index); /* of FIBERS_MAX; NULL: not used */

/* ---- network.c ---- */

typedef struct sim_connection sim_connection;

void network_reset(void);
/* A living process's are closed; a dead one's peers see it at once. */
void network_life_ended(sim_life *life, bool died);
void network_cut(world *w); /* one connection, drawn; what was under way is lost */
void network_hold(uint32_t instance, uint64_t until_ns); /* nothing comes or goes until then */
void network_heal(void);
uint64_t network_next_ns(void); /* when something arrives; UINT64_MAX */
void network_turn(world *w);    /* what happens by itself */
/* Between the hosts. noticed: something on the way ends the connections; else both sides wait. */
void network_link_down(world *w, uint64_t until_ns, bool noticed);
/* Endpoints, by what a descriptor holds. */
int network_connect(sim_life *life, const char *path, void **ret_end);
void network_connect_far(sim_life *life, const char *name, uint32_t instance, void **ret_end);
bool network_is_refused(const void *end);
uint32_t network_other_instance(const void *end);
int network_accept(void *listener, void **ret_end); /* 1, 0: nobody */
bool network_can_accept(void *listener);
bool network_can_read(void *end);
bool network_can_write(void *end);
bool network_is_hung_up(void *end); /* the other one is gone, whatever is still to be read */
ssize_t network_read(void *end, void *buffer, size_t bytes, bool peek);
ssize_t network_write(void *end, const void *buffer, size_t bytes);
void network_close(void *end);
void network_unlisten(void *listener);

/* ---- system.c ---- */

typedef enum { FD_FREE, FD_EVENT, FD_SOCKET, FD_LISTENER, FD_FILE, FD_DIRECTORY } fd_kind;

typedef struct {
    fd_kind kind;
    sim_life *life;
    uint64_t count; /* of an eventfd */
    void *end;      /* of a connection, or a listener; NULL: not connected */
    baton_io_file file;
    uint64_t offset;
    char path[256];
} sim_fd;

int fd_new(fd_kind kind, sim_life *life);
sim_fd *fd_of(int fd); /* NULL: none of the simulation's */
void fd_close_all(const sim_life *life);
void fd_reset(void);
bool fd_is_readable(const sim_fd *fd);
int network_listen(sim_fd *fd, const char *path); /* 0 or -errno */

/* tcp.c */
void tcp_name_of(uint32_t instance, struct sockaddr *ret_address, socklen_t *ret_bytes);
void tcp_text_of(uint32_t instance, char text[SOCKET_NAME_BYTES]);
int tcp_connect(sim_fd *fd, const struct sockaddr *address); /* -errno */

/* files.c */
ssize_t file_write(sim_fd *fd, const void *buffer, size_t bytes);
void file_close(sim_fd *fd);

/* ---- process.c ---- */

typedef enum { ROLE_ACTIVE, ROLE_STANDBY } life_role;

typedef struct {
    uint32_t client;
    uint64_t client_seq;
} inbox_order;

/* What its status said last. */
typedef struct {
    uint64_t at_ns; /* 0: nothing yet */
    bool undecided, connected;
    bool nobody_there;      /* where it was told to follow */
    uint64_t dumb_since_ns; /* it should say that it is undecided, and does not */
} life_screen;

struct sim_life {
    world *w;
    uint64_t id; /* of the run, from 1 */
    uint32_t instance;
    life_role role; /* as it was started */
    uint32_t standby_of;
    baton_sim_process *process;
    baton_io *io; /* for files.c; opened when needed */
    sim_fiber *main;
    uint64_t stopped_until_ns; /* SIGSTOP */
    uint64_t stuck_until_ns;   /* its disk does nothing */
    bool kicked;               /* the loop is to look at everything once */
    bool diverges;             /* a build that applies some entries otherwise */
    bool after_handover_standby;
    int exit_code;
    baton_error failure; /* what it said when it ended; status 0: nothing */

    const baton_control_actions *actions; /* once it can be asked */
    bool wants_handover;
    uint64_t wanted_gap_ns;
    bool wants_drain;
    bool wants_look, wants_promote; /* hosts.c */
    bool was_promoted;              /* it said that it would serve */
    life_screen screen;

    /* service.c */
    baton_engine *engine; /* while its program runs */
    bool intake;
    inbox_order inbox[INBOX_MAX];
    uint32_t inbox_first, inbox_count;
    char step[16]; /* the last one that it reached */
};

/* Never NULL. */
sim_life *life_start(world *w, uint32_t instance, life_role role, uint32_t standby_of);
bool life_is_dead(const sim_life *life); /* killed: nothing of it leaves it any more */
bool life_is_stopped(const sim_life *life);
/* A start as the active that has not come to an end yet, one that is undecided, or has granted the authority. */
bool life_decides(const sim_life *life);
sim_life *life_current(void);   /* NULL: the simulator itself */
void life_bury(sim_life *life); /* it is dead or has ended: take it down, free it */
const baton_io_backend *life_backend(void);
/* Whose calls are answered now; system.c. */
baton_sim *wrap_sim(void);
baton_sim_process *wrap_process(void);

/* ---- service.c ---- */

typedef struct {
    baton_le32 client;
    baton_le32 value;
    baton_le64 client_seq;
} sim_order;

typedef struct {
    baton_le32 client;
    baton_le32 accepted; /* 0: it had been there */
    baton_le64 client_seq;
    baton_digest chain; /* of all that was accepted up to this entry */
} sim_ack;

typedef struct {
    uint64_t last[CLIENTS];
    uint64_t accepted;
    baton_digest chain;
} sim_state;

extern const baton_service sim_service;
extern const baton_program sim_program;
sim_order sim_order_of(const world *w, uint32_t client, uint64_t client_seq);

/* ---- clients.c ---- */

typedef struct {
    uint64_t at_ns;
    uint64_t life_id;
    uint32_t client;
    bool is_ack;
    uint64_t client_seq;
} sim_mail;

#define MAIL_MAX 4096u

typedef struct {
    uint64_t sent;    /* orders there are, from 1 */
    uint64_t acked;   /* all up to here */
    uint64_t life_id; /* whom it is connected to; 0 */
    uint64_t heard_ns;
    uint64_t next_ns;
} sim_client;

void clients_turn(world *w);
uint64_t clients_next_ns(const world *w);
void clients_settle(world *w, const sim_state *state);
void clients_ack(sim_life *life, uint32_t client, uint64_t client_seq);

/* ---- world.c ---- */

typedef struct {
    sim_totals common;
    uint64_t asked, handed_over, not_handed_over, fell_back, found, decided, refused;
    uint64_t orders, acks, resent, connections, cuts, stops, starts;
    uint64_t far, link_cuts, undecided, forced, forced_over, forced_away, set_aside, fenced;
} run_totals;

typedef struct {
    bool there;
    bool can_start; /* it has a journal of its own */
    sim_life *life; /* NULL: not running */
    uint64_t start_at_ns;
    life_role next_role;
    uint32_t next_of;
    uint64_t promised;  /* durable in it, as an answer (M5) says */
    char path[24];      /* of its directory, for one who sees all disks */
    uint32_t path_from; /* where its host's own path begins in it */
    uint32_t set_aside; /* so many directories were before this one */
    uint64_t turned_away_ns;
    bool by_hand;      /* it is to be started as the active */
    uint64_t fork_seq; /* overruled: what stands behind this entry, the authority has not */
    bool overruled;    /* by force: another one is the authority, and this one may not know it */
} sim_instance;

#define ASIDES_MAX 64u
typedef struct {
    char path[24];
    uint64_t fork_seq; /* up to here it has what the others have */
} sim_aside;

typedef struct {
    bool there;
    uint64_t epoch;
    uint64_t life_id;
    sim_ack ack;
} sim_released;

typedef enum { PLOT_NONE, PLOT_LATE_RECORD, PLOT_UNFLUSHED, PLOT_LATE_LANDING, PLOTS } world_plot;

struct world {
    run_options options;
    run_totals *totals;
    baton_sim *sim;
    sim_random random;
    uint32_t instances_count;
    sim_instance instances[INSTANCES_MAX];
    uint64_t lives_count;
    uint64_t held_until_ns[INSTANCES_MAX];
    sim_client clients[CLIENTS];
    sim_mail mail[MAIL_MAX];
    uint32_t mail_count;
    bool quiet; /* no more accidents */
    bool orders_end;
    bool may_diverge; /* standbys of a build that applies otherwise */
    struct {
        uint64_t at_ns; /* 0: none */
        uint32_t kind, instance;
    } planned[8]; /* accidents */
    world_plot plot;
    uint32_t plot_instance; /* whose record it is about; INSTANCES_MAX: nobody's yet */
    uint64_t nobody_since_ns;
    uint32_t hosts; /* 1, or 2: each instance on its own */
    bool same_path; /* on both */
    uint64_t link_down_ns, link_up_ns;
    struct {
        uint64_t looked_ns, waits_since_ns;
        uint64_t patience_ns; /* how long the operator waits before he decides; 0: not drawn yet */
        uint32_t instance;    /* told to serve by force, and does not yet; INSTANCES_MAX: none */
        uint64_t asked_ns;
        bool said;             /* it was told, and said that it would */
        uint64_t panics_at_ns; /* 0: he does not */
        bool over_living;      /* the other one lives, and he believes it dead */
        bool forked;
    } operator_of;
    sim_aside asides[ASIDES_MAX];
    uint32_t asides_count;
    bool hurry;   /* who is killed is started again at once */
    bool by_hand; /* nobody serves: all are down, and are started one by one */
    uint32_t by_hand_next;

    /* judge.c */
    uint64_t highest_epoch, highest_life;
    sim_released *released; /* by seq */
    uint64_t released_room;
    uint64_t highest_released;
};

uint64_t world_now(const world *w);
static inline uint64_t world_draw(world *w, uint64_t below)
{
    return sim_random_below(&w->random, below);
}
static inline bool world_one_in(world *w, uint64_t n)
{
    return world_draw(w, n) == 0;
}
void world_seed(const run_options *options, run_totals *totals, baton_digest *ret_trace);
void world_pump(world *w, uint64_t until_ns);
void world_kill(world *w, uint32_t instance); /* when it lives */
const char *instance_path(uint32_t instance); /* "/a", or "/two/a" on the disk of host two */
const char *instance_directory(const world *w, uint32_t instance); /* as its own host has it */
const char *host_name(const world *w, uint32_t instance);
static inline bool link_is_down(const world *w)
{
    return world_now(w) < w->link_up_ns;
}
sim_life *world_life(const world *w, uint64_t id); /* alive; NULL */
sim_life *world_serving(const world *w);           /* one that takes orders in */
/* The last of these are printed when the run goes wrong. */
__attribute__((format(printf, 2, 3))) void world_note(world *w, const char *format, ...);
__attribute__((format(printf, 2, 3))) noreturn void world_fail(world *w, const char *format, ...);

bool world_has_journal(const world *w, uint32_t instance);
void world_start(world *w, uint32_t instance, life_role role);
void world_path(world *w, uint32_t instance); /* a directory of its own, that is not there yet */

/* ---- hosts.c ---- */

void hosts_operate(world *w);     /* those that have ended, and those that wait */
void hosts_asked(sim_life *life); /* in its own turn: look, promote */
void hosts_down(world *w, bool noticed);

/* ---- accidents.c ---- */

enum { ACCIDENT_KILL, ACCIDENT_POWER, ACCIDENT_OTHERS };
uint32_t accident_draw(world *w); /* a kind */
void accident_plan(world *w, uint64_t in_ns, uint32_t kind, uint32_t instance);
void accident_have(world *w, uint32_t kind, uint32_t instance);
void accidents_planned(world *w); /* those whose time has come */
void world_step_reached(sim_life *life, const char *step);

/* ---- directed.c ---- */

void plot_step(sim_life *life, const char *step);
void plot_started(world *w, uint32_t instance);
uint64_t plot_start_ns(world *w, uint32_t instance);

/* ---- judge.c ---- */

/* Its engine is open, with what was found on the disk. */
void judge_found(sim_life *life, const baton_engine *engine);
void judge_answers(sim_life *life); /* M5 says what is durable here */
void judge_serves(sim_life *life);  /* it begins or goes on with a term */
/* False: of one that was overruled by force, and may not know it yet: it is nobody's ack. */
bool judge_release(sim_life *life, const baton_effect *effect);
void judge_at_rest(world *w, sim_life *serving);
