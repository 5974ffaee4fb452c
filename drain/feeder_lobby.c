/* drain/feeder_lobby.c: see feeder_lobby.h. */
#include "drain/feeder_lobby.h"

#include <string.h>

#include "drain/now.h"

#define ROOM_AFTER_NS UINT64_C(500000000)
#define LOOK_AGAIN_MS 100

void baton_lobby_init(feeder_lobby *lobby, baton_peer_faults *faults)
{
    *lobby = (feeder_lobby){.faults = faults};
    for (uint32_t i = 0; i < BATON_LOBBY_MAX; i++)
        lobby->guests[i].channel = BATON_PEER_CHANNEL_NONE;
}

static void leave(lobby_guest *guest)
{
    baton_peer_channel_leave(&guest->channel);
    guest->leaving = true;
}

/* Who leaves first, then the longest one that has not said who it is. NULL: the first of them may make room in a
 * moment. */
static lobby_guest *find_seat(feeder_lobby *lobby)
{
    lobby_guest *oldest = &lobby->guests[0];
    for (uint32_t i = 0; i < BATON_LOBBY_MAX; i++) {
        lobby_guest *guest = &lobby->guests[i];
        if (guest->channel.fd < 0)
            return guest;
        if (guest->leaving != oldest->leaving ? guest->leaving : guest->came_ns < oldest->came_ns)
            oldest = guest;
    }
    return oldest->leaving || baton_now_ns() - oldest->came_ns > ROOM_AFTER_NS ? oldest : NULL;
}

bool baton_lobby_has_room(feeder_lobby *lobby)
{
    return find_seat(lobby) != NULL;
}

static void empty(feeder_lobby *lobby, lobby_guest *guest)
{
    if (guest->channel.fd >= 0 && !guest->leaving) {
        baton_error_set(&guest->channel.error, BATON_E_TIMEOUT, "the connection of a standby",
                        "it has not said who it is, and others wait",
                        "if it is a standby, it comes again by itself");
        baton_peer_faults_tell(lobby->faults, BATON_PEER_FAULT_SILENT, guest->channel.error.why,
                               guest->channel.other);
    }
    baton_peer_channel_close(&guest->channel);
}

void baton_lobby_take(feeder_lobby *lobby, const baton_peer_channel *channel)
{
    lobby_guest *guest = find_seat(lobby);
    if (guest == NULL) /* the caller has asked */
        return;
    empty(lobby, guest);
    *guest = (lobby_guest){.channel = *channel, .came_ns = baton_now_ns()};
}

void baton_lobby_see_off(feeder_lobby *lobby, baton_peer_channel *channel)
{
    lobby_guest *guest = find_seat(lobby);
    if (guest == NULL) {
        baton_peer_channel_close(channel);
        return;
    }
    empty(lobby, guest);
    *guest = (lobby_guest){.channel = *channel, .came_ns = baton_now_ns()};
    leave(guest);
}

uint32_t baton_lobby_poll(const feeder_lobby *lobby, struct pollfd *wanted, int *ret_timeout_ms)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < BATON_LOBBY_MAX; i++) {
        const lobby_guest *guest = &lobby->guests[i];
        if (guest->channel.fd < 0)
            continue;
        const short events =
            guest->leaving ? POLLIN : baton_peer_channel_wants(&guest->channel, false);
        wanted[count++] = (struct pollfd){.fd = guest->channel.fd, .events = events};
    }
    *ret_timeout_ms = count > 0 ? LOOK_AGAIN_MS : -1;
    return count;
}

int baton_lobby_turn(feeder_lobby *lobby, baton_peer_channel *ret_channel)
{
    for (uint32_t i = 0; i < BATON_LOBBY_MAX; i++) {
        lobby_guest *guest = &lobby->guests[i];
        if (guest->channel.fd < 0)
            continue;
        if (guest->leaving) {
            if (baton_peer_channel_has_left(&guest->channel))
                baton_peer_channel_close(&guest->channel);
            continue;
        }
        int r = baton_peer_channel_advance(&guest->channel);
        if (r == 1) {
            *ret_channel = guest->channel;
            guest->channel = BATON_PEER_CHANNEL_NONE;
            return 1;
        }
        if (r < 0) {
            baton_peer_faults_tell(lobby->faults, BATON_PEER_FAULT_CERTIFICATE,
                                   guest->channel.error.why, guest->channel.other);
            leave(guest);
        }
    }
    return 0;
}

void baton_lobby_close(feeder_lobby *lobby)
{
    for (uint32_t i = 0; i < BATON_LOBBY_MAX; i++)
        baton_peer_channel_close(&lobby->guests[i].channel);
}
