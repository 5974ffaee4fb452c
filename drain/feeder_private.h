/* drain/feeder_private.h: what feeder.c (the loop's side, accepting) and feeder_peer.c (a standby's
 * thread) share. Fields are grouped by who touches them. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "drain/connections.h"
#include "drain/control.h"
#include "drain/feeder.h"
#include "drain/feeder_lobby.h"
#include "drain/peer_socket.h"

#define MAILBOX_MAX  64u /* messages that wait for one peer */
#define MAILBOX_KEPT 8u  /* of those, for what is no parcel */
#define MESSAGES_MAX 64u /* that wait for the loop */

typedef struct {
    baton_peer_type type;
    uint64_t try_number;
    uint32_t body_bytes;
    int fds[BATON_PEER_LISTENERS_MAX];
    uint32_t fds_count;
    uint64_t body[BATON_PEER_SHORT_BYTES_MAX / 8];
    baton_parcel *parcel; /* instead of body and fds; NULL: none */
} peer_letter;

typedef struct {
    uint64_t *buffer;           /* of one PIECE */
    int chunks_fd, manifest_fd; /* -1: none, or sent */
    uint64_t chunks_bytes, manifest_bytes;
    uint64_t offset;
} peer_files;

typedef struct feeder_peer {
    baton_feeder *feeder;
    /* the accepting thread's */
    pthread_t thread;
    bool used;                  /* the place is taken, until the thread was joined */
    baton_peer_channel channel; /* the peer's thread's, while there is one */
    /* any thread */
    int wake_fd;
    atomic_bool sleeping;
    atomic_bool greeted;
    atomic_bool superfluous; /* another takes its place: the thread hangs up */
    atomic_bool ended;       /* the thread is about to return */
    /* under the feeder's mutex */
    baton_feeder_peer known;
    peer_letter mailbox[MAILBOX_MAX];
    uint32_t mailbox_first, mailbox_count;
    /* the thread's own */
    baton_peer_inbox inbox;
    baton_peer_outgoing out;
    peer_letter letter; /* what `out` sends, when it is a letter */
    baton_reader *reader;
    bool wants_start;
    const baton_batch_header *batch; /* read, and not given to `out` yet */
    peer_files files;
    bool posted;   /* the loop knows of it, and has to hear of its end */
    bool ending;   /* hang up when `out` has left */
    bool refusing; /* before that, when `out` is free: */
    baton_peer_refusal refusal;
    uint64_t try_number; /* of the last letter; what is of another one is ignored */
    uint32_t tried;      /* set of types that came in it */
    uint32_t ignored_count;
    uint64_t heard_ns, sent_ns;
} feeder_peer;

struct baton_feeder {
    baton_feeder_options options;
    baton_control_socket socket;
    feeder_lobby lobby; /* the accepting thread's */
    pthread_t thread;
    bool has_thread;
    int stop_fd; /* readable for ever once it closes: every thread polls it */
    int event_fd;
    atomic_uint_fast64_t published; /* counts wakes */
    atomic_uint_fast64_t end_seq, end_batch;
    atomic_bool closing;
    atomic_bool over;     /* it does not serve any more, or not yet */
    uint64_t peers_count; /* of all that ever came: ids */
    feeder_peer peers[BATON_FEEDER_PEERS_MAX];
    pthread_mutex_t mutex;
    uint32_t schema_pinned, schema_finalized;    /* under mutex */
    baton_feeder_message messages[MESSAGES_MAX]; /* under mutex */
    uint32_t messages_first, messages_count;
};

/* Everything of it that is not sent yet. */
void baton_feeder_drop_letter(peer_letter *letter);
void baton_feeder_tell_loop(feeder_peer *peer, const baton_peer_header *header, const void *body);
void *baton_feeder_peer_main(void *context);
/* One line for the peer, one for the log; then the connection ends. */
void baton_feeder_refuse(feeder_peer *peer, baton_peer_fault fault, const baton_error *error);
/* The body of what the thread itself says; nothing else is on its way. */
void baton_feeder_put_copy(feeder_peer *peer, baton_peer_type type, const void *body,
                           uint32_t body_bytes);
/* feeder_hello.c: the first message of a connection, checked by peer_wire.h. */
void baton_feeder_take_hello(feeder_peer *peer, const baton_peer_header *header,
                             const baton_peer_hello *hello);
/* The place's thread ends soon. Under the mutex, or by the thread that gives places. */
void baton_feeder_hang_up(feeder_peer *peer, const char *why);
/* feeder_peer.c asks; under no lock. False: the loop does not take any more. */
bool baton_feeder_post(feeder_peer *peer, const baton_peer_header *header, const void *body);
/* feeder_files.c: the newest snapshot that a standby can begin with, opened for sending. *ret_body
 * says which; its root is zero when there is none. */
BATON_MUST_USE int baton_feeder_files_open(feeder_peer *peer, const baton_peer_fetch *wanted,
                                           baton_peer_snapshot *ret_body, baton_error *error);
/* The next PIECE into the buffer: its bytes, 0 when all were, or an error. */
BATON_MUST_USE int baton_feeder_files_next(feeder_peer *peer, uint32_t *ret_bytes);
void baton_feeder_files_close(feeder_peer *peer);
