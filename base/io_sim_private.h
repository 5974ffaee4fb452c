/* base/io_sim_private.h: the simulated machine as its own files see it: sim_machine.c (time,
 * processes, open files), sim_flight.c (operations and their faults), sim_crash.c (deaths and
 * accidents), io_sim.c (the backend). */
#pragma once

#include "base/io_posix.h"
#include "base/io_sim.h"

#define SIM_HANDLES_MAX  512u
#define SIM_HANDLE_FIRST 100000 /* no number that the system could give */
#define SIM_LINE_BYTES   256u

struct baton_sim_process {
    baton_sim_process *next;
    baton_sim *sim;
    uint64_t id;
    sim_node *root; /* paths begin there */
    bool dead;
};

/* One baton_io of one process. */
typedef struct sim_io sim_io;
struct sim_io {
    sim_io *next; /* of all open ones */
    baton_sim *sim;
    baton_sim_process *process;
    baton_io_op *queued; /* submitted, not entered; oldest first */
    baton_io_op *queued_last;
    baton_io_op *done; /* finished, not reaped */
    baton_io_op *done_last;
    int event_fd; /* -1 until somebody asks for it */
    bool signalled;
};

/* An operation that the kernel has. Nobody waits for those of the dead. */
typedef struct sim_flight sim_flight;
struct sim_flight {
    sim_flight *next; /* in order of due_ns */
    baton_sim_process *process;
    sim_io *io;       /* NULL: blocking, or its process is dead */
    baton_io_op *op;  /* the owner's; NULL when its process is dead */
    baton_io_op call; /* what was asked; of the dead, with copies of what it points to */
    bool call_owned;
    bool blocking;
    bool finished;
    bool makes_directory;
    sim_node *node; /* of call.file */
    uint32_t handle_flags;
    uint64_t number;
    uint64_t due_ns;
    uint64_t sync_change; /* a flush: what had landed when it began */
    uint64_t sync_size;
    baton_digest content; /* of a small write when it was entered: it must not change in flight */
};

typedef struct {
    sim_node *node;             /* NULL: free */
    baton_sim_process *process; /* NULL: a lock that outlives its process */
    uint32_t flags;
    bool locked;
    bool held;
    uint64_t until_ns;
} sim_handle;

typedef struct sim_map sim_map;
struct sim_map {
    sim_map *next;
    baton_sim_process *process;
    sim_node *node;
    void *address;
    uint64_t bytes;
    bool writable;
};

typedef struct {
    baton_clock clock; /* first: it is cast back */
    baton_sim *sim;
} sim_clock;

struct baton_sim {
    sim_random random;
    sim_clock clock;
    uint64_t now_ns;
    int64_t wall_ns;
    sim_disk disk;
    uint32_t slowness; /* drawn: how far apart the operations in flight finish */

    baton_sim_process *processes;
    uint64_t processes_count;
    sim_io *ios;
    sim_flight *flights;
    sim_handle handles[SIM_HANDLES_MAX];
    sim_map *maps;

    uint64_t crash_at; /* 0: no plan */
    bool crash_at_header;
    bool crash_held;
    baton_sim_crash crash_how;
    uint64_t fail_at;
    int fail_error;
    baton_sim_faults faults;
    baton_sim_counts counts;
    baton_digest trace;
    baton_sim_tell tell;
    void *tell_context;
};

/* io_sim.c */
void sim_io_finish(sim_io *io, baton_io_op *op, int64_t result);

/* sim_machine.c */
void sim_trace(baton_sim *sim, const char *what, const uint64_t *words, uint32_t count);
sim_handle *sim_handle_of(const baton_sim *sim, baton_io_file file);
void sim_handle_close(baton_sim *sim, sim_handle *handle);

/* sim_flight.c */
/* Takes off. NULL: the process died with it. */
sim_flight *sim_flight_start(baton_sim *sim, baton_sim_process *process, sim_io *io,
                             baton_io_op *op);
void sim_flight_insert(baton_sim *sim, sim_flight *flight);
void sim_flight_free(baton_sim *sim, sim_flight *flight);
/* What the kernel would do for it now; the result of one call. */
int64_t sim_flight_attempt(baton_sim *sim, sim_flight *flight);
/* Everything due by then lands. */
void sim_run_until(baton_sim *sim, uint64_t ns);
bool sim_land_next(baton_sim *sim);

/* sim_crash.c */
void sim_crash_now(baton_sim_process *process, baton_sim_crash how);
bool sim_misdirect(baton_sim *sim, const sim_flight *flight, sim_node **ret_node,
                   uint64_t *ret_offset);
bool sim_node_is_named(const baton_sim *sim, const sim_node *node, const char *name_end);
