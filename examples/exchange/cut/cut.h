/* examples/exchange/cut/cut.h: a consistent cut: three services' states at the entries that one barrier is in
 * them, in one directory:
 *
 *   CUT/cut.json           what it is, and the root of each snapshot; written last
 *   CUT/order-service/     one snapshot each, as Baton writes them
 *   CUT/risk-engine/
 *   CUT/matching-engine/
 *
 * Complete or absent: it is made as CUT.partial, and renamed when all of it is durable. */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include <baton/snapshot.h>
#include <jansson.h>

#include "examples/exchange/protocol.h"

enum { CUT_PARTS = 3, CUT_OPTIONS_MAX = 32 };

/* In the order of the barrier's way. */
extern const char *const cut_names[CUT_PARTS];

typedef struct {
    const char *program;
    const char *directory;                /* that the service runs in; not in cut.json */
    const char *options[CUT_OPTIONS_MAX]; /* that its data needs on every start */
    uint32_t options_count;
    baton_snapshot_info info;
} cut_part;

typedef struct {
    uint64_t id; /* the barrier's */
    cut_part parts[CUT_PARTS];
    json_t *text; /* of cut.json, which the parts' texts point into; NULL: they are the caller's */
} cut;

/* ---- ask.c: over a socket ---- */

/* Blocks until the barrier has come back, or wait_s are over: BATON_E_TIMEOUT, -errno, BATON_E_REFUSED. */
BATON_MUST_USE int ask_barrier(const char *orders, uint64_t id, unsigned wait_s,
                               exchange_barrier *ret_done, baton_error *error);
BATON_MUST_USE int ask_reconcile(const char *accounts, unsigned wait_s,
                                 exchange_reconciled *ret_answer, baton_error *error);

/* ---- cut_file.c ---- */

json_t *cut_describe(const cut *own);
/* CUT/cut.json, durable. */
BATON_MUST_USE int cut_write(const cut *own, const char *directory, baton_error *error);
/* Its texts, and the numbers that say which snapshots are meant. End with cut_close. */
BATON_MUST_USE int cut_read(const char *directory, cut *ret_cut, baton_error *error);
void cut_close(cut *own);

/* ---- parts.c: files and programs ---- */

/* -ENAMETOOLONG. */
BATON_MUST_USE int part_path(char path[PATH_MAX], const char *directory, const char *name,
                             baton_error *error);
BATON_MUST_USE int part_sync(const char *directory, baton_error *error);
/* What could not be finished: all of it, as far as possible. */
void part_remove(const char *directory);
/* The one snapshot that is there, all of it read and found good. BATON_E_DAMAGED, BATON_E_NOT_FOUND, ... */
BATON_MUST_USE int part_check(const char *directory, const char *service,
                              baton_snapshot_info *ret_info, char manifest[PATH_MAX],
                              baton_error *error);
/* PROGRAM baton DOOR WHAT MORE... OPTIONS...; more ends with NULL. BATON_E_REFUSED: it said why. */
BATON_MUST_USE int part_run(const cut_part *part, const char *door, const char *what,
                            const char *const *more, baton_error *error);

/* ---- what the program does ---- */

typedef struct {
    const char *orders; /* the order service's --listen */
    const char *directory;
    uint64_t id;     /* 0: by the clock */
    unsigned wait_s; /* for the barrier */
} take_options;
/* parts have their program, directory and options, and get the rest. */
BATON_MUST_USE int cut_take(const take_options *options, cut *own, baton_error *error);
/* Every byte of a cut; with load also that the services' programs read it and find the same state. */
BATON_MUST_USE int cut_verify(const char *directory, bool load, cut *ret_cut, baton_error *error);
/* Into new directories TO/order-service, ...: all, or none. */
BATON_MUST_USE int cut_restore(const char *directory, const char *to, cut *ret_cut,
                               baton_error *error);
