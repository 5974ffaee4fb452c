#include "examples/exchange/load/lanes.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t client_of(const load_command *command)
{
    return baton_le64_get(command->body.command.client_id);
}

static uint32_t place_of(uint64_t client_id)
{
    return client_id == LOAD_CLOCK_CLIENT ? 0 : (uint32_t)client_id;
}

lane_client *lanes_client(const lanes *own, uint64_t client_id)
{
    return &own->clients[place_of(client_id)];
}

uint32_t lanes_of(const lanes *own, uint32_t index)
{
    if (index < own->deposits_apart)
        return own->lanes_count;
    return (uint32_t)(client_of(&own->commands[index]) % own->lanes_count);
}

static int allocate(lanes *own, uint32_t all_lanes)
{
    uint32_t place_max = 0;
    for (uint32_t i = 0; i < own->count; i++) {
        const uint32_t place = place_of(client_of(&own->commands[i]));
        place_max = place > place_max ? place : place_max;
    }
    own->list = calloc(all_lanes, sizeof(*own->list));
    own->follows = malloc((own->count + 1u) * sizeof(*own->follows));
    own->ordinal = malloc((own->count + 1u) * sizeof(*own->ordinal));
    own->clients = calloc(place_max + 1u, sizeof(*own->clients));
    return own->list && own->follows && own->ordinal && own->clients ? 0 : -ENOMEM;
}

int lanes_init(lanes *own, const load_command *commands, uint32_t count, uint32_t lanes_count,
               uint32_t deposits_apart)
{
    *own = (lanes){.commands = commands,
                   .count = count,
                   .lanes_count = lanes_count,
                   .deposits_apart = deposits_apart};
    const uint32_t all_lanes = lanes_count + (deposits_apart > 0);
    int r = allocate(own, all_lanes);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < all_lanes; i++)
        own->list[i].next = LANE_END;
    for (uint32_t i = count; i-- > 0;) { /* from the end: each is put before what it has so far */
        lane *of = &own->list[lanes_of(own, i)];
        own->follows[i] = of->next;
        of->next = i;
    }
    for (uint32_t i = 0; i < all_lanes; i++)
        own->list[i].resend_next = own->list[i].first_open = own->list[i].next;
    for (uint32_t i = 0; i < count; i++)
        own->ordinal[i] = lanes_client(own, client_of(&commands[i]))->sent++;
    for (uint32_t i = 0; i < count; i++)
        lanes_client(own, client_of(&commands[i]))->sent = 0;
    return 0;
}

void lanes_fini(lanes *own)
{
    free(own->list);
    free(own->follows);
    free(own->ordinal);
    free(own->clients);
    *own = (lanes){0};
}

bool lanes_may_send(const lanes *own, uint32_t index)
{
    const lane_client *client = lanes_client(own, client_of(&own->commands[index]));
    return own->ordinal[index] - client->base < LANES_CLIENT_WINDOW;
}

void lanes_sent(lanes *own, lane *of)
{
    const uint32_t index = of->next;
    lane_client *client = lanes_client(own, client_of(&own->commands[index]));
    client->open |= UINT64_C(1) << (own->ordinal[index] - client->base);
    client->sent++;
    of->next = of->resend_next = own->follows[index];
}

void lanes_answered(lanes *own, uint32_t index)
{
    lane_client *client = lanes_client(own, client_of(&own->commands[index]));
    client->open &= ~(UINT64_C(1) << (own->ordinal[index] - client->base));
    if (client->open == 0) {
        client->base = client->sent;
        return;
    }
    const uint32_t answered = (uint32_t)__builtin_ctzll(client->open);
    client->base += answered;
    client->open >>= answered;
}

uint32_t lanes_sent_since(const lanes *own, uint32_t index)
{
    return lanes_client(own, client_of(&own->commands[index]))->sent - own->ordinal[index] - 1;
}
