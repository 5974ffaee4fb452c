#include "examples/exchange/market-data/subscribers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "examples/exchange/market-data/packet.h"
#include "examples/exchange/market-data/readers.h"

enum {
    OUT_BYTES_MAX = 1 << 20,
    TURN_BYTES = 1 << 18, /* for one client at a time */
    LEVELS_PER_FRAME = 250,
    /* of a packet out of the journal: as many as fit, however large they are */
    MESSAGES_PER_READ = (MARKET_PACKET_BYTES_MAX - sizeof(market_packet)) /
                        (sizeof(market_head) + MARKET_BODY_BYTES_MAX),
};

/* What a connection is to be told. */
typedef struct {
    uint64_t connection; /* whose place this was; another one's: nothing */
    uint64_t next;       /* the next message */
    uint64_t last;       /* and the last; UINT64_MAX: no end */
    market_level *book;  /* a snapshot comes first; malloc'ed */
    uint64_t book_seq;
    uint64_t book_count;
    uint64_t book_told;
} wish;

struct subscribers {
    subscribers_options options;
    door *door;
    uint32_t looked_at; /* one wish a turn: is its connection still there? */
    readers readers;
    wish wishes[DOOR_CONNECTIONS_MAX];
};

static void forget(subscribers *own, wish *one)
{
    free(one->book);
    readers_give_back(&own->readers, one->connection);
    *one = (wish){0};
}

static wish *wish_of(subscribers *own, const door_place *place)
{
    wish *found = &own->wishes[place->stream.id % DOOR_CONNECTIONS_MAX];
    if (found->connection != place->stream.id)
        forget(own, found);
    found->connection = place->stream.id;
    return found;
}

/* ---- what is asked ---- */

/* False: the books are between two states. They are told when they are durable. */
static bool want_snapshot(subscribers *own, door_place *place)
{
    uint64_t seq;
    const levels *books = stream_books(own->options.stream, &seq);
    if (!books)
        return false;
    wish *mine = wish_of(own, place);
    forget(own, mine);
    mine->connection = place->stream.id;
    mine->book_seq = seq;
    mine->book_count = levels_list(books, NULL);
    mine->next = seq + 1;
    mine->last = UINT64_MAX;
    mine->book = malloc((mine->book_count + 1) * sizeof(*mine->book));
    if (!mine->book) {
        door_refuse(place, -ENOMEM, "not enough memory for a snapshot: come again later");
        return true;
    }
    (void)levels_list(books, mine->book);
    place->behind = true;
    return true;
}

static void want_messages(subscribers *own, door_place *place, const market_request *request)
{
    const uint64_t from = baton_le64_get(request->from), to = baton_le64_get(request->to);
    const uint64_t end = stream_durable(own->options.stream);
    if (from == 0 || from > end + 1 || (to != 0 && (to < from || to > end))) {
        door_refuse(place, BATON_E_INVALID, "messages that are not there: see the heartbeats");
        return;
    }
    wish *mine = wish_of(own, place);
    forget(own, mine);
    mine->connection = place->stream.id;
    mine->next = from;
    mine->last = to != 0 ? to : UINT64_MAX;
    place->behind = true;
}

static bool take(void *owner, door_place *place, uint16_t type, const void *body,
                 uint32_t body_bytes)
{
    subscribers *own = owner;
    market_request request;
    if (type == MARKET_SNAPSHOT && body_bytes == 0)
        return want_snapshot(own, place);
    if (type == MARKET_REQUEST && body_bytes == sizeof(request)) {
        memcpy(&request, body, sizeof(request));
        want_messages(own, place, &request);
        return true;
    }
    door_refuse(place, BATON_E_UNKNOWN_TYPE, "MARKET_SNAPSHOT and MARKET_REQUEST are known here");
    return true;
}

/* ---- what is told ---- */

static void tell_book(const subscribers *own, wish *mine, door_place *place)
{
    if (stream_durable(own->options.stream) < mine->book_seq)
        return;
    do {
        const uint64_t left = mine->book_count - mine->book_told;
        const uint32_t count = left < LEVELS_PER_FRAME ? (uint32_t)left : LEVELS_PER_FRAME;
        const market_book head = {.stream = baton_le64_put(stream_id(own->options.stream)),
                                  .seq = baton_le64_put(mine->book_seq),
                                  .levels_count = baton_le32_put(count),
                                  .more = baton_le32_put(count < left)};
        connection_queue(&place->stream, MARKET_BOOK, &head, sizeof(head),
                         mine->book + mine->book_told, count * (uint32_t)sizeof(*mine->book));
        mine->book_told += count;
    } while (mine->book_told < mine->book_count && connection_has_room(&place->stream, TURN_BYTES));
    if (mine->book_told < mine->book_count)
        return;
    free(mine->book);
    mine->book = NULL;
}

/* Out of the journal: a packet of what is there; an empty one when there is nothing yet, or no reader is free. */
static int packet_of_journal(subscribers *own, const wish *mine, uint64_t last, packet *ready)
{
    baton_reader *reader;
    baton_entry entry;
    market_entry head;
    market_message message;
    packet_begin(ready, stream_id(own->options.stream), mine->next);
    int r = readers_get(&own->readers, mine->connection, stream_directory(own->options.stream),
                        mine->next, &reader);
    while (r == 0 && reader != NULL && ready->count < MESSAGES_PER_READ &&
           ready->first + ready->count <= last) {
        r = baton_reader_next(reader, &entry, NULL);
        if (r <= 0)
            return r;
        if (entry.seq != ready->first + ready->count)
            return BATON_E_DAMAGED;
        r = stream_message_of(&entry, &head, &message);
        if (r == 0 && !packet_add(ready, &message))
            return BATON_E_TOO_LARGE;
    }
    return r;
}

/* False: nothing for now. */
static bool tell_packet(subscribers *own, wish *mine, uint64_t last, door_place *place)
{
    packet ready;
    if (stream_recent(own->options.stream, mine->next)) {
        packet_of_recent(&ready, own->options.stream, mine->next, last);
        readers_give_back(&own->readers, mine->connection);
    } else if (packet_of_journal(own, mine, last, &ready) < 0) {
        door_refuse(place, BATON_E_BROKEN, "the journal can't be read: see the log");
        return false;
    }
    if (ready.count == 0)
        return false;
    connection_queue(&place->stream, MARKET_PACKET, ready.bytes, ready.used, NULL, 0);
    mine->next += ready.count;
    return true;
}

/* All that was queued is sent, and the client is to be told more. */
static void has_room(void *owner, door_place *place)
{
    subscribers *own = owner;
    wish *mine = wish_of(own, place);
    if (mine->book)
        tell_book(own, mine, place);
    if (mine->book || mine->next == 0)
        return;
    const uint64_t durable = stream_durable(own->options.stream);
    const uint64_t last = mine->last < durable ? mine->last : durable;
    for (uint32_t bytes = 0; bytes < TURN_BYTES && mine->next <= last;
         bytes += MARKET_PACKET_BYTES_MAX)
        if (!tell_packet(own, mine, last, place))
            break;
    if (mine->next > mine->last) {
        place->behind = false;
        forget(own, mine);
    }
}

/* ---- life ---- */

static const door_role roles[] = {
    {.name = "market", .out_bytes_max = OUT_BYTES_MAX, .take = take, .has_room = has_room}};

int subscribers_open(const subscribers_options *options, subscribers **ret_own, baton_error *error)
{
    subscribers *own = calloc(1, sizeof(*own));
    if (!own)
        return baton_error_set(error, -ENOMEM, options->address, NULL, "free some memory");
    own->options = *options;
    const door_options door_is = {.version = "1", .roles = roles, .roles_count = 1, .owner = own};
    int r = door_create(&door_is, &own->door);
    if (r < 0) {
        free(own);
        return baton_error_set(error, r, options->address, NULL, "free some memory");
    }
    const door_start_options start = {.loop = options->loop,
                                      .epoch = 0,
                                      .addresses = &own->options.address,
                                      .port_file = options->port_file};
    r = door_start(own->door, &start, error);
    if (r < 0) {
        subscribers_close(own);
        return r;
    }
    *ret_own = own;
    return 0;
}

void subscribers_close(subscribers *own)
{
    if (!own)
        return;
    door_stop(own->door);
    door_destroy(own->door);
    for (uint32_t i = 0; i < DOOR_CONNECTIONS_MAX; i++)
        forget(own, &own->wishes[i]);
    readers_close(&own->readers);
    free(own);
}

const char *subscribers_address(const subscribers *own)
{
    return door_address(own->door, 0);
}

void subscribers_turn(subscribers *own)
{
    wish *next = &own->wishes[own->looked_at++ % DOOR_CONNECTIONS_MAX];
    if (next->connection != 0 && door_named(own->door, next->connection) == NULL)
        forget(own, next);
    door_tick(own->door);
    door_turn(own->door);
}
