/* drain/cutover_connections.c: the active gives its connected sockets along with the offer (R10). Its own stay
 * open, and untouched by the program, until the verdict. */
#include "drain/cutover.h"

#include <stdlib.h>

bool baton_cutover_passes_connections(const baton_cutover *cutover)
{
    return cutover->doors->program->give_connections != NULL && !cutover->peer.far; /* R12 */
}

/* Of the list, those within the bound of all bytes. */
static uint32_t within_bounds(const baton_connection *list, uint32_t count)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t own =
            (uint64_t)list[i].received_bytes + list[i].unsent_bytes + list[i].notes_bytes;
        bytes += own <= BATON_CONNECTION_BYTES_MAX ? own : 0;
        if (bytes > BATON_CONNECTIONS_BYTES_MAX)
            return i;
    }
    return count;
}

static void send_all(baton_cutover *cutover, const baton_connection *list, uint32_t count)
{
    uint32_t next = 0;
    while (next < count) {
        uint32_t used, left;
        baton_parcel *parcel = baton_parcel_pack(list + next, count - next, &used, &left);
        const uint32_t held = parcel != NULL ? parcel->fds_count : 0;
        const bool sent =
            parcel != NULL && baton_feeder_send_parcel(cutover->feeder, cutover->peer_id,
                                                       cutover->try_number, parcel);
        if (!sent)
            baton_parcel_free(parcel);
        cutover->connections_passed += sent ? held : 0;
        cutover->connections_left += sent ? left : left + held;
        next += used;
    }
}

void baton_cutover_give_connections(baton_cutover *cutover)
{
    const baton_program *program = cutover->doors->program;
    cutover->connections_passed = cutover->connections_left = 0;
    if (!baton_cutover_passes_connections(cutover))
        return;
    baton_connection *list = calloc(BATON_CONNECTIONS_MAX, sizeof(*list));
    if (list == NULL) {
        baton_log(WARN, "handover.connections", BATON_LOG_TEXT("why", "memory is short"));
        return;
    }
    const uint32_t count =
        program->give_connections(cutover->doors->context, list, BATON_CONNECTIONS_MAX);
    const uint32_t fitting = within_bounds(list, count);
    cutover->connections_left = count - fitting;
    send_all(cutover, list, fitting);
    free(list);
    baton_log(INFO, "handover.connections", BATON_LOG_NUMBER("passed", cutover->connections_passed),
              BATON_LOG_NUMBER("left", cutover->connections_left));
}
