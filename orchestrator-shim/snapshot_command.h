/* orchestrator-shim/snapshot_command.h: the verbs of `baton snapshot`, and what they share. */
#pragma once

#include <baton/snapshot.h>

#include "orchestrator-shim/command.h"

#define SNAPSHOT_PATH_BYTES 512u
#define SNAPSHOT_SEQS_MAX   64u

/* argv[0] is the verb. */
int snapshot_ls(int argc, char **argv);
int snapshot_info(int argc, char **argv);
int snapshot_verify(int argc, char **argv);
int snapshot_prune(int argc, char **argv);
int snapshot_pin(int argc, char **argv);
int snapshot_unpin(int argc, char **argv);
int snapshot_diff(int argc, char **argv);
int snapshot_export(int argc, char **argv);
int snapshot_import(int argc, char **argv);

/* ---- snapshot_choose.c ---- */

typedef struct {
    char directory[SNAPSHOT_PATH_BYTES]; /* of the snapshots themselves */
    bool json;
    bool with_epoch;
    bool dry_run;
    bool note;
    bool rows;
    bool force;
    baton_compress compress;
    uint32_t seqs_count;
    uint64_t seqs[SNAPSHOT_SEQS_MAX];
    uint64_t epoch;
    uint64_t keep;
    uint64_t keep_days;
} snapshot_choices;

/* Entries of a verb's option table; after them SNAPSHOT_OPTIONS_END. */
#define SNAPSHOT_OPTION_SEQ                                                                        \
    {                                                                                              \
        "seq", required_argument, NULL, 's'                                                        \
    }
#define SNAPSHOT_OPTION_EPOCH                                                                      \
    {                                                                                              \
        "epoch", required_argument, NULL, 'e'                                                      \
    }
#define SNAPSHOT_OPTIONS_END                                                                       \
    {"output", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'},                    \
    {                                                                                              \
        NULL, 0, NULL, 0                                                                           \
    }

/* Options only: words are left at optind. False: the exit code is in *ret_code. */
bool snapshot_options(int argc, char **argv, const struct option *options, const char *help,
                      snapshot_choices *chosen, int *ret_code);
/* The same, and the one directory: DIR, or DIR/snapshots when that is a directory. */
bool snapshot_options_directory(int argc, char **argv, const struct option *options,
                                const char *help, snapshot_choices *chosen, int *ret_code);
/* For import, which may have to make it: DIR/snapshots also when DIR/journal is a directory. False
 * when that was told. */
bool snapshot_directory(const char *word, bool to_make, char directory[SNAPSHOT_PATH_BYTES]);

/* *ret_list is malloc'ed. 0, or the exit code of what was told. */
int snapshot_list(const snapshot_choices *chosen, baton_snapshot_listed **ret_list,
                  uint32_t *ret_count);
bool snapshot_is_wanted(const snapshot_choices *chosen, const baton_snapshot_listed *listed);
/* The newest that is wanted, and has that manifest (manifest_path, NULL: any; from its last slash on).
 * 0, or the exit code of what was told. */
int snapshot_pick(const snapshot_choices *chosen, const char *manifest_path,
                  baton_snapshot_listed *ret_listed);
/* Tells that there is none; the exit code. seq may be NULL: none at all. */
int snapshot_none_such(const char *directory, const uint64_t *seq);
/* One snapshot by a word: DIR (its newest), DIR@SEQ, DIR@SEQ-EPOCH, or a manifest's path. directory
 * gets the place of its files. 0, or the exit code of what was told. */
int snapshot_by_word(const char *word, char directory[SNAPSHOT_PATH_BYTES],
                     baton_snapshot_listed *ret_listed);
/* The journal's lock, so that no service publishes meanwhile. *ret_fd is -1 when there is no
 * journal beside the snapshots. 0, or the exit code of what was told. */
int snapshot_lock(const char *directory, const char *what, int *ret_fd);

/* ---- snapshot_list.c ---- */

const char *snapshot_verdict(int status);
json_t *snapshot_describe(const baton_snapshot_listed *listed);

/* ---- checksum.c ---- */

#define CHECKSUM_TEXT_BYTES 65u
typedef struct checksum checksum; /* SHA-256 */
checksum *checksum_begin(void);   /* NULL: no memory */
void checksum_add(checksum *sum, const void *bytes, uint64_t bytes_count);
/* Ends and frees it; text is empty when it failed or sum was NULL. */
void checksum_end(checksum *sum, char text[CHECKSUM_TEXT_BYTES]);
/* PATH.sha256, as sha256sum writes it, complete or absent; replaces one that is there. 0 or
 * -errno. */
int checksum_write(const char *path, const char *text, baton_error *error);
/* 1 and the sum, 0 when there is none, BATON_E_DAMAGED when it is none, -errno. */
int checksum_read(const char *path, char text[CHECKSUM_TEXT_BYTES], baton_error *error);
