/* baton/status.h: one list of results for the whole library.
 *
 * A function that can fail returns 0 (or a count) on success and a negative number on failure:
 * -errno for what the operating system said, or one of the BATON_E_* below. The class tells the
 * caller what to do. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BATON_MUST_USE __attribute__((warn_unused_result))

/* What the caller should do about a result. */
typedef enum {
    BATON_CLASS_OK,      /* nothing */
    BATON_CLASS_RETRY,   /* the same call can succeed later */
    BATON_CLASS_CALLER,  /* the request or the set-up is wrong: change it */
    BATON_CLASS_CORRUPT, /* stored bytes are not what was written: stop and look */
    BATON_CLASS_BROKEN,  /* this object is finished: close it */
    BATON_CLASS_SYSTEM,  /* the operating system refused: -errno */
} baton_class;

/* X(name, class, text) */
#define BATON_STATUS_LIST(X)                                                                       \
    X(FULL, RETRY, "no room for it right now")                                                     \
    X(AGAIN, RETRY, "not finished yet")                                                            \
    X(TIMEOUT, RETRY, "the time is over")                                                          \
    X(NO_SPACE, RETRY, "the disk is full")                                                         \
    X(LAGGING, RETRY, "a consumer has not confirmed enough effects")                               \
    X(LOCKED, CALLER, "another process holds the directory")                                       \
    X(SEALED, CALLER, "intake has been stopped")                                                   \
    X(INVALID, CALLER, "an argument is out of its range")                                          \
    X(TOO_LARGE, CALLER, "larger than the format allows")                                          \
    X(NOT_FOUND, CALLER, "it does not exist")                                                      \
    X(GONE, CALLER, "it was retired")                                                              \
    X(FILE_SYSTEM, CALLER, "the file system cannot keep what durable promises")                    \
    X(DEVICE, CALLER, "the device cannot do what the format needs")                                \
    X(OTHER_JOURNAL, CALLER, "it belongs to another journal")                                      \
    X(OTHER_SERVICE, CALLER, "it belongs to another service")                                      \
    X(NEWER_FORMAT, CALLER, "a newer version wrote it")                                            \
    X(SCHEMA, CALLER, "this build does not read that schema")                                      \
    X(UNKNOWN_TYPE, CALLER, "unknown type or flag: refused, never skipped")                        \
    X(UNTRUSTED, CALLER, "nothing durable names this snapshot")                                    \
    X(REFUSED, CALLER, "the service refused it")                                                   \
    X(TORN, CORRUPT, "an unfinished write at the end")                                             \
    X(DAMAGED, CORRUPT, "acknowledged data is damaged")                                            \
    X(DIVERGED, CORRUPT, "replay gave another result than the first run")                          \
    X(BROKEN, BROKEN, "an earlier write failed")                                                   \
    X(STANDBY, CALLER, "this instance follows another one")

/* Numbers are part of the ABI: append to the list, never reorder it. */
enum {
    BATON_E_BASE = -10000,
#define BATON_STATUS_ENUM(name, class, text) BATON_E_ORDINAL_##name,
    BATON_E_ORDINALS_BEGIN = 0,
    BATON_STATUS_LIST(BATON_STATUS_ENUM)
#undef BATON_STATUS_ENUM
#define BATON_STATUS_VALUE(name, class, text)                                                      \
    BATON_E_##name = BATON_E_BASE - BATON_E_ORDINAL_##name,
        BATON_STATUS_LIST(BATON_STATUS_VALUE)
#undef BATON_STATUS_VALUE
};

const char *baton_status_name(int status);  /* "BATON_E_FULL", "ENOSPC", "OK"; static storage */
const char *baton_status_text(int status);  /* one line, no full stop; static storage */
baton_class baton_status_class(int status); /* 0 and above: BATON_CLASS_OK */

/* What went wrong, for a person: `what: why: what to do`. Caller's memory; every field is a
 * terminated string, "" when not known. A function that takes a `baton_error *` accepts NULL and
 * writes it on failure only. */
typedef struct {
    int status;
    char what[192];  /* what was attempted, with the name of the thing */
    char why[256];   /* why it failed */
    char todo[256];  /* what the user can do */
    char path[256];  /* the file it is about, or "" */
    uint64_t offset; /* byte offset in that file, UINT64_MAX when it has none */
} baton_error;

/* Fill *error (may be NULL) and return status, so that a failing path is one line. The texts are
 * taken literally; what and todo may be NULL, why NULL is baton_status_text. path may be NULL. */
int baton_error_set(baton_error *error, int status, const char *what, const char *why,
                    const char *todo);
void baton_error_at(baton_error *error, const char *path, uint64_t offset);
/* As baton_error_set, the text of `why` from a format. */
int baton_error_setf(baton_error *error, int status, const char *what, const char *todo,
                     const char *why_format, ...) __attribute__((format(printf, 5, 6)));
/* "what: why: what to do" with path and offset where known, into text of text_bytes; always
 * terminated. Returns text. */
char *baton_error_text(const baton_error *error, char *text, size_t text_bytes);

#ifdef __cplusplus
}
#endif
