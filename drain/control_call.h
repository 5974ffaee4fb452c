/* drain/control_call.h: the caller's side of the control socket (control.h): one connection, lines
 * out and lines in. Nothing here blocks: the caller waits for the descriptor, with its own clock. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include <baton/status.h>

#define BATON_CONTROL_ANSWER_BYTES_MAX (1u << 20)

/* Caller's memory; all functions accept one that is closed. */
typedef struct {
    int fd; /* -1: closed */
    char *out;
    size_t out_bytes, out_sent;
    char *in;
    size_t in_bytes, in_room;
    size_t taken_bytes; /* of the line that was handed out last */
} baton_control_call;
#define BATON_CONTROL_CALL_CLOSED ((baton_control_call){.fd = -1})

/* path: the socket, or the directory that holds control.sock. Errors: -ENOENT and -ECONNREFUSED
 * (nobody answers there), BATON_E_AGAIN (somebody does, and takes no more callers), -errno. */
BATON_MUST_USE int baton_control_call_open(baton_control_call *call, const char *path,
                                           baton_error *error);
void baton_control_call_close(baton_control_call *call);

/* Queue one request; one at a time. fields: an object of what it says beside its word, as
 * {"nonce":"..."}; may be NULL. 0, -ENOMEM. */
BATON_MUST_USE int baton_control_call_ask(baton_control_call *call, const char *word,
                                          const json_t *fields);
/* 0: all of it left; 1: wait until it can be written; -EPIPE: hung up, though an answer may stand
 * in the socket. */
BATON_MUST_USE int baton_control_call_send(baton_control_call *call);
/* 1: *ret_line is an answer, terminated, without its newline, until the next call; 0: wait until
 * it can be read; BATON_E_GONE: hung up; BATON_E_TOO_LARGE, -errno. */
BATON_MUST_USE int baton_control_call_line(baton_control_call *call, const char **ret_line);
