/* drain/feeder_lobby.h: connections over TCP before they are anybody: the handshake of TLS, of a few at a time, in
 * the accepting thread. Who has shown who it is gets a place of the feeder's; who has not, a line in the log and a
 * moment to read why. A flood costs this thread, never the loop, and waits in the kernel's queue when there is no
 * room; the longest unfinished one makes room after a moment. */
#pragma once

#include <poll.h>

#include "drain/peer_channel.h"
#include "drain/peer_faults.h"

#define BATON_LOBBY_MAX 32u

typedef struct {
    baton_peer_channel channel; /* fd -1: the seat is free */
    uint64_t came_ns;
    bool leaving;
} lobby_guest;

typedef struct {
    lobby_guest guests[BATON_LOBBY_MAX];
    baton_peer_faults *faults;
} feeder_lobby;

void baton_lobby_init(feeder_lobby *lobby, baton_peer_faults *faults);
bool baton_lobby_has_room(feeder_lobby *lobby);
void baton_lobby_take(feeder_lobby *lobby, const baton_peer_channel *channel);
/* One that the feeder has no place for: it was told why. */
void baton_lobby_see_off(feeder_lobby *lobby, baton_peer_channel *channel);
/* What to poll for, behind the caller's own; how many were put there. *ret_timeout_ms: when to come again at the latest. */
uint32_t baton_lobby_poll(const feeder_lobby *lobby, struct pollfd *wanted, int *ret_timeout_ms);
/* Everybody one step on; the next one that has shown who it is: 1, and the channel is the caller's; 0: none. */
int baton_lobby_turn(feeder_lobby *lobby, baton_peer_channel *ret_channel);
void baton_lobby_close(feeder_lobby *lobby);
