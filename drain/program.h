/* drain/program.h: the doors of one program, shared by main.c, run.c, run_options.c and doors.c. */
#pragma once

#include <baton/log.h>
#include <baton/main.h>

#include "drain/compatibility.h"
#include "drain/describe.h"
#include "drain/options.h"
#include "drain/peer_channel.h"

typedef struct {
    const char *path; /* argv[0] */
    const baton_service *service;
    const baton_program *program; /* never NULL: an empty one stands in */
    void *context;
} baton_doors;

/* A table of options: a command's own, then the service's, then the program's (both may be
 * empty). The values of a part are values + its first index, in the part's order. */
typedef struct {
    baton_option *options; /* heap */
    const char **values;   /* heap */
    uint32_t options_count;
    uint32_t service_first;
    uint32_t program_first;
} baton_option_set;
BATON_MUST_USE int baton_option_set_init(baton_option_set *set, const baton_option *own,
                                         uint32_t own_count, const baton_doors *doors,
                                         bool with_program, baton_error *error);
void baton_option_set_fini(baton_option_set *set);

/* What a standby does when its digests differ from the active's. */
typedef enum {
    BATON_IF_DIVERGED_AUTO, /* copy when its version is older than the active's, else end */
    BATON_IF_DIVERGED_COPY, /* go on as a copy of the journal: the way back (R13) */
    BATON_IF_DIVERGED_END,
} baton_if_diverged;

/* `run` as the command line says it. The strings point into argv and the tables. */
typedef struct {
    const char *directory;
    char control_path[4096];
    uint64_t drain_deadline_ns;
    bool snapshot_at_drain;
    const char *standby_of;   /* NULL: the active */
    const char *hydrate_from; /* an empty standby's first snapshot; NULL: the active sends it */
    uint64_t fetch_stall_ns;  /* as pace.h has it */
    baton_if_diverged if_diverged;
    bool standby_after_handover;   /* follow the successor, in this process */
    baton_tcp_address peer_listen; /* bytes 0: standbys come over the Unix socket alone */
    baton_peer_security peer_security;
    int ready_fd;  /* -1: none */
    int report_fd; /* -1: none */
    baton_log_level log_level;
    baton_compatible compatible; /* versions of the other side of a handover */
    baton_engine_options engine;
    const char *const *program_values;
} baton_run_options;
extern const baton_option baton_run_option_table[];
extern const uint32_t baton_run_option_count;
/* Of a service whose state is in an arena; others take and ignore them. Each command that makes a
 * state has both. */
#define BATON_OPTION_ARENA_ADDRESS                                                                 \
    {                                                                                              \
        "arena-address", "auto|ADDRESS", "auto",                                                   \
            "where the state's memory is: a multiple of 2 MiB, as 0x551000000000"                  \
    }
#define BATON_OPTION_ARENA_SIZE                                                                    \
    {                                                                                              \
        "arena-size", "SIZE", "64GiB",                                                             \
            "addresses kept for it, the most it can grow to; costs no memory"                      \
    }
BATON_MUST_USE int baton_arena_options_read(baton_arena_options *options, const char *address,
                                            const char *size, baton_error *error);
/* version: the service's own. */
BATON_MUST_USE int baton_run_options_read(baton_run_options *options, const baton_option_set *set,
                                          const char *version, baton_error *error);

/* The commands; argv after the command's words. They print their own errors and return the exit
 * code. */
int baton_run_command(const baton_doors *doors, int argc, char **argv);
int baton_door_command(const baton_doors *doors, const char *door, int argc, char **argv);
extern const char *const baton_door_names[]; /* ends with NULL */
