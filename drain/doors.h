/* drain/doors.h: one look through a door at data at rest: what was asked for, shared by doors.c and
 * door_snapshot.c. */
#pragma once

#include <limits.h>

#include "drain/program.h"

typedef struct {
    const baton_doors *doors;
    const char *directory; /* NULL: none given */
    char journal[PATH_MAX];
    char snapshots[PATH_MAX];
    bool json;
    uint32_t digest_schema;
    bool round_trip;
    uint32_t schema;
    const char *out;
    const char *work;
    const char *effects_path;
    FILE *effects;
    int effects_status;
    baton_replay_options replay;
} baton_door_run;

/* `verify --round-trip`, and `snapshot`. */
BATON_MUST_USE int baton_door_round_trip(baton_door_run *run, baton_error *error);
BATON_MUST_USE int baton_door_snapshot(baton_door_run *run, baton_error *error);
