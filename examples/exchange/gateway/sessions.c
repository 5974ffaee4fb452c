#include "examples/exchange/gateway/sessions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(exchange_new_order) <= SESSION_COMMAND_BYTES_MAX, "the largest commands");
static_assert(sizeof(exchange_replace) <= SESSION_COMMAND_BYTES_MAX, "the largest commands");

/* Indices count from 1; 0 is none. */
typedef struct {
    session_command command;
    uint32_t session;
    uint32_t next,
        previous; /* in the order of arrival, of all clients; next: of the free ones, too */
    uint32_t next_of_client;
    uint64_t sent_round; /* 0: not on this connection */
} open_command;

typedef struct {
    uint64_t client_id;
    uint64_t highest_seq;
    uint64_t told;                           /* of the last fill: its trade id and whose it was */
    uint64_t window[EXCHANGE_OUTCOMES_KEPT]; /* the seqs of its last commands, a ring */
    uint32_t window_oldest, window_count;
    uint32_t open_first, open_last, open_count; /* its commands without an answer, oldest first */
    uint32_t next, previous;                    /* of those that have none: the idle list */
    session_command last;                       /* that took effect; client_id 0: none */
} session;

typedef struct {
    uint32_t first, last;
} list_ends;

struct sessions {
    sessions_options options;
    uint32_t *by_client; /* client id -> session */
    session *list;
    uint32_t used;  /* places at and below it have been used */
    list_ends idle; /* the one that became idle first is the first to be forgotten */
    open_command *open;
    uint32_t open_used, open_free, open_count;
    list_ends queue;
    uint32_t unsent;  /* the first in the queue that was not sent on this connection */
    uint32_t overdue; /* the next one to look at */
    uint64_t round;
};

int sessions_create(const sessions_options *options, sessions **ret_sessions)
{
    if (options->clients_max == 0 || options->open_max == 0 ||
        options->clients_max > EXCHANGE_CLIENT_ID_MAX || options->open_max > EXCHANGE_CLIENT_ID_MAX)
        return BATON_E_INVALID;
    sessions *own = calloc(1, sizeof(*own));
    if (!own)
        return -ENOMEM;
    own->options = *options;
    own->round = 1;
    own->by_client = calloc(EXCHANGE_CLIENT_ID_MAX + 1, sizeof(*own->by_client));
    own->list = calloc(options->clients_max + 1u, sizeof(*own->list));
    own->open = calloc(options->open_max + 1u, sizeof(*own->open));
    if (!own->by_client || !own->list || !own->open) {
        sessions_destroy(own);
        return -ENOMEM;
    }
    *ret_sessions = own;
    return 0;
}

void sessions_destroy(sessions *own)
{
    if (!own)
        return;
    free(own->by_client);
    free(own->list);
    free(own->open);
    free(own);
}

/* ---- clients ---- */

static void idle_append(sessions *own, uint32_t index)
{
    session *one = &own->list[index];
    one->next = 0;
    one->previous = own->idle.last;
    if (own->idle.last != 0)
        own->list[own->idle.last].next = index;
    else
        own->idle.first = index;
    own->idle.last = index;
}

static void idle_remove(sessions *own, uint32_t index)
{
    const session *one = &own->list[index];
    if (one->previous != 0)
        own->list[one->previous].next = one->next;
    else
        own->idle.first = one->next;
    if (one->next != 0)
        own->list[one->next].previous = one->previous;
    else
        own->idle.last = one->previous;
}

/* A place for a new client, if need be that of the one that has been idle for longest; 0: all have something
 * open. */
static uint32_t add_session(sessions *own, uint64_t client_id)
{
    uint32_t index;
    if (own->used < own->options.clients_max) {
        index = ++own->used;
    } else {
        index = own->idle.first;
        if (index == 0)
            return 0;
        idle_remove(own, index);
        own->by_client[own->list[index].client_id] = 0;
    }
    own->list[index] = (session){.client_id = client_id};
    own->by_client[client_id] = index;
    idle_append(own, index);
    return index;
}

static session *find_session(const sessions *own, uint64_t client_id)
{
    const uint32_t index = own->by_client[client_id & EXCHANGE_CLIENT_ID_MAX];
    return index != 0 && own->list[index].client_id == client_id ? &own->list[index] : NULL;
}

/* ---- open commands ---- */

static uint32_t find_open(const sessions *own, const session *one, uint64_t client_seq)
{
    uint32_t index = one->open_first;
    while (index != 0 && own->open[index].command.client_seq != client_seq)
        index = own->open[index].next_of_client;
    return index;
}

static uint32_t new_open(sessions *own)
{
    uint32_t index = own->open_free;
    if (index != 0)
        own->open_free = own->open[index].next;
    else if (own->open_used < own->options.open_max)
        index = ++own->open_used;
    return index;
}

static void append_open(sessions *own, uint32_t index, uint32_t session_index)
{
    session *one = &own->list[session_index];
    open_command *made = &own->open[index];
    made->session = session_index;
    made->next = made->next_of_client = 0;
    made->previous = own->queue.last;
    made->sent_round = 0;
    if (own->queue.last != 0)
        own->open[own->queue.last].next = index;
    else
        own->queue.first = index;
    own->queue.last = index;
    if (own->unsent == 0)
        own->unsent = index;
    if (one->open_count++ == 0) {
        idle_remove(own, session_index);
        one->open_first = index;
    } else {
        own->open[one->open_last].next_of_client = index;
    }
    one->open_last = index;
    own->open_count++;
}

static void remove_of_client(sessions *own, session *one, uint32_t index)
{
    uint32_t before = 0;
    for (uint32_t i = one->open_first; i != index; i = own->open[i].next_of_client)
        before = i;
    if (before != 0)
        own->open[before].next_of_client = own->open[index].next_of_client;
    else
        one->open_first = own->open[index].next_of_client;
    if (one->open_last == index)
        one->open_last = before;
    one->open_count--;
}

static void remove_open(sessions *own, uint32_t index)
{
    open_command *gone = &own->open[index];
    if (own->unsent == index)
        own->unsent = gone->next;
    if (own->overdue == index)
        own->overdue = gone->next;
    if (gone->previous != 0)
        own->open[gone->previous].next = gone->next;
    else
        own->queue.first = gone->next;
    if (gone->next != 0)
        own->open[gone->next].previous = gone->previous;
    else
        own->queue.last = gone->previous;
    remove_of_client(own, &own->list[gone->session], index);
    if (own->list[gone->session].open_count == 0)
        idle_append(own, gone->session);
    gone->next = own->open_free;
    own->open_free = index;
    own->open_count--;
}

/* ---- commands come ---- */

static bool window_is_full(const sessions *own, const session *one)
{
    return one->window_count == EXCHANGE_OUTCOMES_KEPT &&
           find_open(own, one, one->window[one->window_oldest]) != 0;
}

static void window_push(session *one, uint64_t client_seq)
{
    const uint32_t place = (one->window_oldest + one->window_count) % EXCHANGE_OUTCOMES_KEPT;
    if (one->window_count < EXCHANGE_OUTCOMES_KEPT)
        one->window_count++;
    else
        one->window_oldest = (one->window_oldest + 1) % EXCHANGE_OUTCOMES_KEPT;
    one->window[place] = client_seq;
    one->highest_seq = client_seq;
}

session_verdict sessions_take(sessions *own, uint16_t type, const void *body, uint32_t body_bytes)
{
    exchange_command name;
    memcpy(&name, body, sizeof(name));
    const uint64_t client_id = baton_le64_get(name.client_id);
    const uint64_t client_seq = baton_le64_get(name.client_seq);
    session *one = find_session(own, client_id);
    if (!one && add_session(own, client_id) == 0)
        return SESSION_CLIENTS_FULL;
    one = find_session(own, client_id);
    if (find_open(own, one, client_seq) != 0)
        return SESSION_OPEN;
    const bool is_new = client_seq > one->highest_seq;
    if (one->open_count == EXCHANGE_OUTCOMES_KEPT || (is_new && window_is_full(own, one)))
        return SESSION_NO_ROOM;
    const uint32_t index = new_open(own);
    if (index == 0)
        return SESSION_NO_ROOM;
    session_command *command = &own->open[index].command;
    *command = (session_command){.type = type,
                                 .body_bytes = (uint16_t)body_bytes,
                                 .client_id = client_id,
                                 .client_seq = client_seq};
    memcpy(command->body, body, body_bytes);
    append_open(own, index, own->by_client[client_id]);
    if (is_new)
        window_push(one, client_seq);
    return SESSION_TAKEN;
}

/* ---- and go ---- */

const session_command *sessions_next(const sessions *own)
{
    return own->unsent != 0 ? &own->open[own->unsent].command : NULL;
}

void sessions_sent(sessions *own)
{
    open_command *sent = &own->open[own->unsent];
    sent->sent_round = own->round;
    own->unsent = sent->next;
}

void sessions_again(sessions *own)
{
    for (uint32_t i = own->queue.first; i != own->unsent; i = own->open[i].next)
        own->open[i].sent_round = 0;
    own->unsent = own->queue.first;
    own->overdue = 0;
}

void sessions_round(sessions *own)
{
    own->round++;
    own->overdue = own->queue.first;
}

const session_command *sessions_overdue(sessions *own)
{
    while (own->overdue != 0 && own->overdue != own->unsent) {
        open_command *one = &own->open[own->overdue];
        own->overdue = one->next;
        if (one->sent_round + SESSION_ROUNDS_PATIENT > own->round)
            continue;
        one->sent_round = own->round;
        return &one->command;
    }
    own->overdue = 0;
    return NULL;
}

uint32_t sessions_leave(sessions *own, uint64_t client_id)
{
    const session *one = find_session(own, client_id);
    const uint32_t count = one ? one->open_count : 0;
    for (uint32_t i = 0; i < count; i++)
        remove_open(own, one->open_first);
    return count;
}

/* ---- answers ---- */

bool sessions_ack(sessions *own, uint64_t client_id, uint64_t client_seq, bool applied)
{
    session *one = find_session(own, client_id);
    const uint32_t index = one ? find_open(own, one, client_seq) : 0;
    if (index == 0)
        return false;
    const session_command *command = &own->open[index].command;
    if (applied && client_seq > one->last.client_seq)
        one->last = *command;
    remove_open(own, index);
    return true;
}

bool sessions_fill(sessions *own, uint64_t client_id, uint64_t trade_id, bool is_taker)
{
    session *one = find_session(own, client_id);
    const uint64_t number =
        trade_id * 2 + is_taker; /* the maker is told first, of the same trade */
    if (!one)
        return true;
    if (number <= one->told)
        return false;
    one->told = number;
    return true;
}

const session_command *sessions_quiet(const sessions *own, uint32_t *cursor)
{
    while (*cursor < own->used) {
        const session *one = &own->list[++*cursor];
        if (one->open_count == 0 && one->last.client_seq != 0)
            return &one->last;
    }
    return NULL;
}

uint32_t sessions_count(const sessions *own)
{
    return own->used;
}

uint32_t sessions_open(const sessions *own)
{
    return own->open_count;
}
