/* drain/batond/actions.h: what changes something: drain, snapshot and the like, each asked on a connection of
 * its own, so that a long answer holds up nobody else's question. A drain that has begun is listened
 * to until its end, whoever began it: its report is kept. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "drain/control_call.h"
#include "engine/loop.h"

#define BATOND_ACTIONS_MAX 8u /* the last one is for the drain that others began */

typedef enum {
    BATOND_ACTION_FREE,
    BATOND_ACTION_ASKED,
    BATOND_ACTION_ACCEPTED, /* a drain that goes on */
    BATOND_ACTION_LISTENS,  /* to a service that does not drain, for when it does */
    BATOND_ACTION_DONE,     /* answer is the last word */
    BATOND_ACTION_LOST,     /* the connection ended before it */
} batond_action_state;

typedef struct batond_action {
    struct batond_actions *actions;
    batond_action_state state;
    bool is_drain;
    baton_control_call call;
    json_t *answer; /* the newest line */
    uint32_t waiters;
} batond_action;

typedef struct batond_actions {
    baton_loop *loop; /* the caller's, as path */
    const char *path;
    uint64_t drains_count; /* that ended */
    char deaf[64];         /* the nonce of one that can't be listened to */
    json_t *last_drain; /* {ok, instance, drain}; drain is null when no report came; NULL: none */
    batond_action all[BATOND_ACTIONS_MAX];
} batond_actions;

void batond_actions_init(batond_actions *actions, baton_loop *loop, const char *path);
void batond_actions_fini(batond_actions *actions);

/* Ask the service; fields as in baton_control_call_ask. The action is kept until it is released, a drain that was
 * accepted to its end.
 * BATON_E_FULL: too many at once; else as baton_control_call_open. */
BATON_MUST_USE int batond_action_begin(batond_actions *actions, const char *word,
                                       const json_t *fields, batond_action **ret_action,
                                       baton_error *error);
BATON_MUST_USE int batond_action_begin_drain(batond_actions *actions, const char *nonce,
                                             batond_action **ret_action, baton_error *error);
void batond_action_release(batond_action *action);
/* The service, of that instance, answers: listen for the end of its drain, whoever begins it, and
 * however soon it is over. */
void batond_actions_listen(batond_actions *actions, const json_t *instance, bool drains);
/* A drain's report may be on its way. */
bool batond_actions_is_listening(const batond_actions *actions);
bool batond_actions_drain_under_way(const batond_actions *actions);
