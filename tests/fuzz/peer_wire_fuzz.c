/* tests/fuzz/peer_wire_fuzz.c: any bytes as a message of the other instance. The digest is put in:
 * nobody guesses a fitting one. What is accepted must go through the wire types and back unchanged. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "drain/connections.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Every byte that a connection points to is read, by packing them again. */
static void check_connections(const baton_peer_connections *body, uint32_t bytes)
{
    int fds[BATON_PEER_CONNECTIONS_MAX];
    uint32_t used, left;
    baton_connections taken = {.list = NULL};
    const uint32_t count = baton_le32_get(body->count);
    for (uint32_t i = 0; i < count; i++) {
        fds[i] = dup(STDERR_FILENO);
        baton_assert(fds[i] >= 0);
    }
    baton_connections_add(&taken, body, bytes, fds, count);
    baton_assert(taken.count == count && taken.lost == 0);
    baton_parcel *again = baton_parcel_pack(taken.list, taken.count, &used, &left);
    baton_assert(again != NULL);
    if (used == count) /* together they may be more than one message is given */
        baton_assert(left == 0 && again->body_bytes == bytes &&
                     memcmp(again->body, body, bytes) == 0);
    baton_parcel_free(again);
    baton_connections_close(&taken);
}

static void check_accepted(const baton_peer_header *header, const void *body)
{
    const uint16_t type = baton_le16_get(header->type);
    baton_error error = {0};
    baton_assert(baton_peer_type_name((baton_peer_type)type) != NULL);
    if (type == BATON_PEER_FINAL || type == BATON_PEER_ANSWER) {
        const baton_engine_point point = baton_peer_point_get(body);
        const baton_peer_point again = baton_peer_point_put(&point);
        baton_assert(memcmp(&again, body, sizeof(again)) == 0);
    }
    if (type == BATON_PEER_START) {
        const baton_follow_start start = baton_peer_start_get(body);
        const baton_peer_start again = baton_peer_start_put(&start);
        baton_assert(memcmp(&again, body, sizeof(again)) == 0);
    }
    if (type == BATON_PEER_CONNECTIONS)
        check_connections(body, baton_le32_get(header->body_bytes));
    if (type == BATON_PEER_REFUSE || type == BATON_PEER_ABORT || type == BATON_PEER_AUTHORITY) {
        baton_assert(baton_peer_refusal_get(body, "fuzzed", &error) < 0);
        baton_assert(error.why[0] != '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    baton_peer_header header = {0};
    baton_error error = {0};
    const size_t before = offsetof(baton_peer_header, digest);
    if (bytes < before)
        return 0;
    memcpy(&header, data, before);
    const size_t body_bytes = bytes - before;
    int r = baton_peer_check_header(&header, &error);
    if (r < 0) {
        baton_assert(error.why[0] != '\0');
        return 0;
    }
    /* The length is the input's: a mutated one would hardly ever fit. */
    header.body_bytes = baton_le32_put((uint32_t)body_bytes);
    if (baton_peer_check_header(&header, &error) < 0)
        return 0;
    uint64_t *body = malloc(body_bytes + 8);
    baton_assert(body != NULL);
    memcpy(body, data + before, body_bytes);
    baton_assert(baton_peer_check(&header, body, &error) < 0); /* no digest */
    baton_digest_stream stream;
    baton_digest_init(&stream);
    baton_digest_update(&stream, &header, before);
    baton_digest_update(&stream, body, body_bytes);
    const baton_digest digest = baton_digest_final(&stream);
    memcpy(header.digest, digest.bytes, sizeof(header.digest));
    r = baton_peer_check(&header, body, &error);
    if (r == 0)
        check_accepted(&header, body);
    else
        baton_assert(error.why[0] != '\0');
    free(body);
    return 0;
}
