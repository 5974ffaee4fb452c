/* drain/grant_look.c: reading another directory's journal, under its LOCK when it is free. */
#include "drain/grant_look.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/breakable.h"
#include "drain/other_directory.h"

#define TURNS_MAX 10000 /* of a millisecond: for what was found to find room */

typedef struct {
    baton_engine *engine;
    const char *directory;
    char journal[4200];
    const uint8_t *nonce;
    int lock_fd;
    bool locked;
    const baton_peer_channel *connection;
    uint64_t epoch; /* of the record that was found */
    baton_error *error;
} looking;

static bool names_me(const looking *self, const baton_batch_header *batch)
{
    uint32_t offset = sizeof(*batch);
    uint64_t next_seq = baton_le64_get(batch->first_seq);
    baton_entry entry;
    while (baton_batch_next(batch, &offset, &next_seq, &entry)) {
        if (!entry.is_record || entry.type != BATON_RECORD_HANDOVER)
            continue;
        const baton_handover_wire *wire = entry.payload;
        return memcmp(wire->successor_nonce, self->nonce, sizeof(wire->successor_nonce)) == 0;
    }
    return false;
}

static int open_reader(const looking *self, baton_reader **ret_reader)
{
    const baton_reader_options options = {.with_records = true};
    baton_position end;
    baton_digest digest;
    bool needs_start;
    baton_engine_follow_end(self->engine, &end, &digest, &needs_start);
    return baton_reader_open_after(self->journal, &options, end, digest, ret_reader, self->error);
}

/* 1: the record is there. */
static int find(looking *self)
{
    baton_reader *reader = NULL;
    const baton_batch_header *batch;
    int found = 0;
    int r = open_reader(self, &reader);
    while (r == 0 && (r = baton_reader_next_batch(reader, &batch, self->error)) == 1) {
        found = names_me(self, batch) ? 1 : found;
        self->epoch = baton_le64_get(batch->epoch);
        r = 0;
    }
    baton_reader_close(reader);
    return r < 0 ? r : found;
}

/* After the flush: is it still that very process, or is nobody there? */
static bool may_act(const looking *self)
{
    uint64_t highest = 0;
    if (baton_highest_name(self->directory, &highest) < 0 ||
        (highest > self->epoch && !BATON_BREAK(NAMES_IGNORED)))
        return false;
    if (self->locked)
        return true;
    return baton_peer_channel_is_alive(self->connection);
}

static int take_in(looking *self)
{
    baton_reader *reader = NULL;
    const baton_batch_header *batch;
    int r = open_reader(self, &reader);
    while (r == 0 && (r = baton_reader_next_batch(reader, &batch, self->error)) == 1) {
        uint32_t turns = 0;
        while ((r = baton_engine_follow(self->engine, batch, baton_le32_get(batch->batch_bytes),
                                        self->error)) == BATON_E_FULL &&
               ++turns < TURNS_MAX)
            if ((r = baton_engine_turn(self->engine, 1000000, self->error)) < 0)
                break;
    }
    baton_reader_close(reader);
    return r;
}

int baton_grant_look(baton_engine *engine, const char *directory, const uint8_t nonce[16],
                     const baton_peer_channel *connection, baton_error *error)
{
    looking self = {.engine = engine,
                    .directory = directory,
                    .nonce = nonce,
                    .connection = connection,
                    .error = error};
    snprintf(self.journal, sizeof(self.journal), "%s/journal", directory);
    self.lock_fd = -1;
    self.locked = baton_lock_other(directory, &self.lock_fd) == 0;
    int r = self.locked || connection->fd >= 0 ? find(&self) : BATON_E_LOCKED;
    if (r == 1) {
        r = BATON_BREAK(NO_FLUSH_BEFORE_ACTING)
                ? 0
                : baton_flush_journal(
                      directory); /* power loss must not take back what is acted on */
        if (r < 0)
            baton_error_set(error, r, "flush the other instance's journal", NULL, NULL);
        else if (may_act(&self))
            r = (r = take_in(&self)) < 0 ? r : 1;
    }
    if (self.lock_fd >= 0)
        close(self.lock_fd);
    return r;
}
