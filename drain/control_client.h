/* drain/control_client.h: one connection to the control socket; shared by control.c (bytes) and
 * control_request.c (words). */
#pragma once

#include "drain/control.h"

typedef enum {
    BATON_CONTROL_WAITS_NONE,
    BATON_CONTROL_WAITS_SNAPSHOT_BEGIN, /* one is being written; its own comes after that */
    BATON_CONTROL_WAITS_SNAPSHOT_END,
    BATON_CONTROL_WAITS_FINALIZE,
    BATON_CONTROL_WAITS_HANDOVER,
    BATON_CONTROL_WAITS_PROMOTE,
    BATON_CONTROL_WAITS_DRAIN, /* answered by the end of the process */
} baton_control_waits;

typedef struct baton_control_client {
    baton_control *control;
    int fd; /* -1: the place is free */
    baton_control_waits waits;
    uint64_t snapshots_before; /* taken_count when its snapshot began */
    bool input_over;           /* it has sent its last byte, and may still read */
    bool ending;               /* hang up when the output has left */
    bool broken;
    uint64_t last_active; /* a counter, not a time */
    char in[BATON_CONTROL_LINE_BYTES];
    size_t in_bytes;
    char *out;
    size_t out_bytes;
    size_t out_sent;
} baton_control_client;

struct baton_control {
    baton_control_socket socket;
    baton_instance instance;
    baton_engine *engine; /* NULL: not yet; only `status` is answered */
    baton_loop *loop;     /* until then */
    baton_control_actions actions;
    bool detached;
    int spare_fd;
    uint64_t activity;
    uint64_t refused_total, refused_told_ns; /* strangers */
    baton_control_client clients[BATON_CONTROL_CLIENTS_MAX];
};

void baton_control_client_event(void *context, int fd, uint32_t events);
/* Queue one answer line; takes over answer. */
void baton_control_answer(baton_control_client *client, json_t *answer);
/* {"baton":1,"ok":false,...}; word may be NULL. */
json_t *baton_control_refusal(const baton_control *control, const char *word,
                              const baton_error *error);
/* One request line: answers it, or sets what it waits for. */
void baton_control_request(baton_control_client *client, const char *line, size_t line_bytes);
/* True when a waiting client got its answer now. */
bool baton_control_waiting_step(baton_control_client *client);
