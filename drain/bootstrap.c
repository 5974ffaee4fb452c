/* drain/bootstrap.c: a standby's first bytes. */
#include "drain/bootstrap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <baton/log.h>

#include "drain/bootstrap_private.h"
#include "snapshot/names.h"

static const char *const what_fetch = "fetch the active's snapshot";

int baton_follower_address(const char *of, baton_peer_address *ret_address, baton_error *error)
{
    struct stat there;
    char text[sizeof(ret_address->text) + sizeof(BATON_HANDOVER_SOCKET)];
    const bool is_directory = stat(of, &there) == 0 && S_ISDIR(there.st_mode);
    const int n =
        snprintf(text, sizeof(text), "%s%s", of, is_directory ? "/" BATON_HANDOVER_SOCKET : "");
    return n < 0 || (size_t)n >= sizeof(text)
               ? baton_error_set(error, -ENAMETOOLONG, "whom to follow", NULL,
                                 "give a shorter path")
               : baton_peer_address_parse(ret_address, text, error);
}

int baton_follower_target_init(baton_follower_target *target, const char *standby_of,
                               baton_place *place, const baton_service *service,
                               const char *nonce_text, const baton_peer_security *security,
                               baton_error *error)
{
    baton_digest nonce = {{0}};
    *target = (baton_follower_target){.service = service, .security = security, .place = place};
    int r = baton_follower_address(standby_of, &target->active, error);
    if (r < 0)
        return r;
    if (baton_digest_parse(nonce_text, &nonce) < 0)
        return baton_error_set(error, BATON_E_INVALID, "nonce", NULL, NULL);
    memcpy(target->nonce, nonce.bytes, sizeof(target->nonce));
    return 0;
}

void baton_follower_hello(const baton_follower_target *target, const baton_engine *engine,
                          baton_peer_hello *ret_hello)
{
    uint64_t highest = 0, header = 0;
    int r = baton_highest_name(target->place->directory, &highest);
    if (r == 0)
        r = baton_highest_header(target->place->directory, &header);
    (void)r; /* what can't be read is not there for anybody */
    *ret_hello = (baton_peer_hello){
        .highest_name = baton_le64_put(highest),
        .at = baton_place_put(target->place, header),
    };
    baton_fingerprint_put(ret_hello, target->service, engine);
    snprintf((char *)ret_hello->directory, sizeof(ret_hello->directory), "%s",
             target->place->directory);
    snprintf((char *)ret_hello->address, sizeof(ret_hello->address), "%s", target->place->address);
}

/* Of the same journal, and not of a term that was over before the last batch here. */
static int check_authority(const baton_engine *engine, const baton_peer_header *header,
                           const baton_peer_hello *welcome, baton_error *error)
{
    static const char *const what = "follow the active";
    baton_position end;
    baton_digest digest;
    bool needs_start;
    if (engine == NULL &&
        baton_le32_get(welcome->is_active) != 1) /* else the caller judges: R5 a, R7 */
        return baton_error_set(error, BATON_E_REFUSED, what, "who answers there is no active",
                               "look which instance is the active");
    if (engine == NULL)
        return 0;
    const baton_digest id = baton_engine_journal_id(engine);
    if (!baton_digest_is_zero(id) &&
        memcmp(header->journal_id, id.bytes, sizeof(header->journal_id)) != 0)
        return baton_error_set(error, BATON_E_OTHER_JOURNAL, what,
                               "the active has another journal than this standby",
                               "start the standby with an empty directory");
    baton_engine_follow_end(engine, &end, &digest, &needs_start);
    if (baton_le64_get(header->epoch) < end.epoch)
        return baton_error_setf(error, BATON_E_REFUSED, what,
                                "look which instance is the active: this one is not any more",
                                "the active is of an older term: epoch %llu, here is %llu",
                                (unsigned long long)baton_le64_get(header->epoch),
                                (unsigned long long)end.epoch);
    return 0;
}

int baton_follower_judge(const baton_follower_target *target, const baton_engine *engine,
                         const baton_peer_hello *hello, const baton_peer_header *header,
                         const baton_peer_hello *welcome, baton_peer_fault *ret_fault,
                         baton_error *error)
{
    bool outside = false;
    *ret_fault = BATON_PEER_FAULT_FINGERPRINT;
    int r = baton_fingerprint_check(welcome, hello, error);
    if (r == 0) {
        *ret_fault = BATON_PEER_FAULT_AUTHORITY;
        r = check_authority(engine, header, welcome, error);
    }
    if (r == 0) {
        *ret_fault = BATON_PEER_FAULT_VERSION;
        r = baton_fingerprint_window(target->compatible, welcome, "the active", &outside, error);
    }
    if (r == 0 && outside)
        baton_peer_faults_tell(target->faults, BATON_PEER_FAULT_OUTSIDE, error->why,
                               (const char *)welcome->directory);
    return r;
}

/* ---- a conversation that waits ---- */

static int wait_for(void *context, int fd, short events, baton_error *error)
{
    baton_fetching *self = context;
    return baton_pace_wait(&self->pace, fd, events, error);
}

static baton_peer_talk talk_of(baton_fetching *self)
{
    return (baton_peer_talk){&self->channel, &self->inbox, wait_for, self, self->error};
}

static int say(baton_fetching *self, baton_peer_type type, const void *body, uint32_t bytes)
{
    const baton_peer_talk talk = talk_of(self);
    baton_peer_names names = {.protocol = self->protocol};
    baton_peer_outgoing out = {.busy = false};
    memcpy(names.from, self->target->nonce, sizeof(names.from));
    memcpy(names.to, self->active, sizeof(names.to));
    baton_peer_put(&out, type, &names, body, bytes);
    return baton_peer_say(&talk, &out);
}

/* The next message, of this type; a refusal is an error with the active's words. */
static int hear(baton_fetching *self, baton_peer_type type, const baton_peer_header **ret_header,
                const void **ret_body)
{
    const baton_peer_talk talk = talk_of(self);
    int r = baton_peer_hear(&talk, ret_header, ret_body);
    if (r == -EPIPE)
        return baton_error_set(self->error, r, what_fetch, "the active hung up",
                               "look at its log, and start again");
    if (r < 0)
        return r;
    const uint16_t got = baton_le16_get((*ret_header)->type);
    if (got == BATON_PEER_REFUSE)
        return baton_peer_refusal_get(*ret_body, "follow the active", self->error);
    return got == type ? 0
                       : baton_error_set(self->error, BATON_E_INVALID, what_fetch,
                                         "the active says something else", "try again");
}

static int greet(baton_fetching *self)
{
    const baton_peer_header *header;
    const void *body;
    baton_peer_hello hello;
    baton_peer_fault fault;
    baton_follower_hello(self->target, NULL, &hello);
    hello.is_active = baton_le32_put(self->is_beside ? 2 : 0);
    int r = say(self, BATON_PEER_HELLO, &hello, sizeof(hello));
    if (r == 0)
        r = hear(self, BATON_PEER_WELCOME, &header, &body);
    if (r < 0)
        return r;
    memcpy(self->active, header->from, sizeof(self->active));
    memcpy(self->journal_id.bytes, header->journal_id, sizeof(self->journal_id.bytes));
    self->protocol = baton_fingerprint_protocol(body, &hello);
    r = baton_follower_judge(self->target, NULL, &hello, header, body, &fault, self->error);
    baton_peer_took(&self->inbox);
    if (r < 0) {
        const baton_peer_refusal refusal =
            baton_peer_refusal_put(r, self->error->why, self->error->todo);
        baton_error why = *self->error;
        (void)!say(self, BATON_PEER_REFUSE, &refusal, sizeof(refusal)); /* it is told, too */
        *self->error = why;
    }
    return r;
}

/* ---- the files ---- */

/* One file, in pieces, in order, as long as it was said to be; flushed. */
static int receive_file(baton_fetching *self, int fd, bool manifest, uint64_t bytes)
{
    uint64_t have = 0;
    while (have < bytes) {
        const baton_peer_header *header;
        const void *body;
        int r = hear(self, BATON_PEER_PIECE, &header, &body);
        if (r < 0)
            return r;
        const baton_peer_piece *piece = body;
        const uint32_t count = baton_le32_get(piece->bytes);
        if (baton_le64_get(piece->offset) != have || bytes - have < count ||
            baton_le32_get(piece->of_manifest) != (manifest ? 1u : 0u))
            return baton_error_set(self->error, BATON_E_INVALID, what_fetch,
                                   "its pieces are out of order", "try again");
        r = baton_kept_write(fd, piece + 1, count, have);
        if (r < 0)
            return baton_error_set(self->error, r, what_fetch, NULL, "free disk space");
        have += count;
        baton_peer_took(&self->inbox);
        if (self->pulse != NULL)
            self->pulse(self->context);
        r = baton_pace_moved(&self->pace, count);
        if (r < 0)
            return baton_pace_ended(r, what_fetch, self->error);
    }
    return 0;
}

typedef struct {
    baton_fetching *talk;
    const baton_peer_snapshot *said;
} coming_files;

static int fill(void *context, int fd, bool manifest, baton_error *error)
{
    const coming_files *self = context;
    (void)error; /* the conversation's own */
    return receive_file(
        self->talk, fd, manifest,
        baton_le64_get(manifest ? self->said->manifest_bytes : self->said->chunks_bytes));
}

/* A long look at what has come may have lasted too long for who waits there. */
static int open_again(baton_fetching *self)
{
    if (baton_peer_channel_is_alive(&self->channel))
        return 0;
    baton_fetching_close(self);
    return baton_fetching_open(self);
}

int baton_fetching_ask(baton_fetching *self, baton_peer_snapshot *ret_said)
{
    const baton_peer_header *header;
    const void *body;
    int r = open_again(self);
    if (r < 0)
        return r;
    baton_pace_begin(&self->pace, "asking", 0, 0);
    r = say(self, BATON_PEER_FETCH, &self->wanted, sizeof(self->wanted));
    if (r == 0)
        r = hear(self, BATON_PEER_SNAPSHOT, &header, &body);
    if (r < 0)
        return r;
    *ret_said = *(const baton_peer_snapshot *)body;
    baton_peer_took(&self->inbox);
    return 0;
}

/* Its files, under their names, not judged yet. 1: that one is there, and good. */
static int fetch_one(baton_fetching *self, const char *directory, baton_peer_snapshot *ret_said)
{
    baton_digest root;
    int r = baton_fetching_ask(self, ret_said);
    if (r < 0)
        return r;
    memcpy(root.bytes, ret_said->root, sizeof(root.bytes));
    if (baton_digest_is_zero(root))
        return 0;
    r = baton_kept_is_good(directory, root, &self->pace, self->error);
    if (r != 0)
        return r;
    baton_pace_begin(&self->pace, "fetching", baton_le64_get(ret_said->seq),
                     baton_le64_get(ret_said->chunks_bytes) +
                         baton_le64_get(ret_said->manifest_bytes));
    coming_files coming = {.talk = self, .said = ret_said};
    return baton_kept_take(directory, baton_le64_get(ret_said->seq),
                           baton_le64_get(ret_said->epoch), fill, &coming, self->error);
}

/* What an increment adds to, one after the other. What a crash, or a liar, has left of it comes again. */
static int fetch_parents(baton_fetching *self, const char *directory, baton_digest root)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < BATON_PARENTS_MAX; i++) {
        baton_peer_snapshot said;
        root = baton_kept_parent(directory, root);
        if (baton_digest_is_zero(root))
            return 0;
        r = baton_kept_is_good(directory, root, &self->pace, self->error);
        if (r != 0)
            break;
        memcpy(self->wanted.root, root.bytes, sizeof(self->wanted.root));
        r = fetch_one(self, directory, &said);
        if (r >= 0 && memcmp(said.root, root.bytes, sizeof(said.root)) != 0)
            r = baton_error_set(self->error, BATON_E_NOT_FOUND, what_fetch,
                                "the active has no more what an increment adds to", "start again");
    }
    return r < 0 ? r : 0;
}

static int fetch(baton_fetching *self, const char *directory, baton_digest *ret_root)
{
    baton_peer_snapshot said;
    int r = fetch_one(self, directory, &said);
    if (r < 0)
        return r;
    memcpy(ret_root->bytes, said.root, sizeof(said.root));
    if (r == 1 || baton_digest_is_zero(*ret_root))
        return 0;
    r = fetch_parents(self, directory, *ret_root);
    if (r == 0)
        r = baton_kept_is_good(directory, *ret_root, &self->pace, self->error);
    if (r == 0) {
        baton_kept_give_up(directory, baton_le64_get(said.seq), baton_le64_get(said.epoch));
        return baton_error_set(self->error, BATON_E_DAMAGED, what_fetch,
                               "what came is not what was named", "look at the active's snapshots");
    }
    if (r == 1)
        baton_log(INFO, "handover.snapshot_fetched",
                  BATON_LOG_NUMBER("seq", baton_le64_get(said.seq)),
                  BATON_LOG_NUMBER("bytes", baton_le64_get(said.chunks_bytes)));
    return r < 0 ? r : 0;
}

void baton_fetching_init(baton_fetching *self, const baton_follower_target *target,
                         baton_error *error)
{
    *self = (baton_fetching){.target = target,
                             .channel = BATON_PEER_CHANNEL_NONE,
                             .pace = {.watch = target->watch, .stall_ns = target->stall_ns},
                             .error = error};
}

int baton_fetching_open(baton_fetching *self)
{
    baton_pace_begin(&self->pace, "asking", 0, 0);
    if (self->target->service->layout != NULL) {
        const baton_digest layout = baton_layout_digest(self->target->service->layout);
        memcpy(self->wanted.layout, layout.bytes, sizeof(self->wanted.layout));
    }
    int r =
        baton_peer_channel_connect(&self->channel, &self->target->active, self->target->security);
    if (r < 0)
        *self->error = self->channel.error;
    if (r == 0 &&
        baton_peer_inbox_init(&self->inbox, sizeof(baton_peer_piece) + BATON_PEER_PIECE_BYTES) < 0)
        r = baton_error_set(self->error, -ENOMEM, what_fetch, NULL, NULL);
    return r < 0 ? r : greet(self);
}

void baton_fetching_close(baton_fetching *self)
{
    baton_peer_inbox_fini(&self->inbox);
    baton_peer_channel_close(&self->channel);
    self->channel = BATON_PEER_CHANNEL_NONE;
    self->inbox = (baton_peer_inbox){0};
    memset(self->active, 0, sizeof(self->active));
    self->protocol = 0;
}

static int converse(baton_fetching *self, baton_digest *ret_root)
{
    char directory[BATON_SNAPSHOTS_PATH_BYTES];
    int r = baton_snapshots_path(directory, sizeof(directory), self->target->place->directory);
    if (r < 0)
        return baton_error_set(self->error, r, what_fetch, NULL,
                               "give the directory a shorter path");
    r = baton_fetching_open(self);
    if (r == 0)
        r = fetch(self, directory, ret_root);
    baton_fetching_close(self);
    return r;
}

int baton_bootstrap(const baton_follower_target *target, const char *hydrate_from,
                    baton_digest *ret_root, baton_error *error)
{
    uint64_t highest = 0;
    baton_fetching self;
    baton_fetching_init(&self, target, error);
    *ret_root = (baton_digest){{0}};
    int r = baton_highest_name(target->place->directory, &highest);
    if (r < 0)
        return baton_error_set(error, r, target->place->directory, NULL, NULL);
    if (highest != 0 && hydrate_from != NULL)
        baton_log(INFO, "handover.hydrate_from_ignored",
                  BATON_LOG_TEXT("why", "this directory has a journal: it goes on from there"));
    if (highest != 0)
        return 0;
    return hydrate_from != NULL ? baton_hydrate_from(target, hydrate_from, ret_root, error)
                                : converse(&self, ret_root);
}

/* ---- one that the active told of ---- */

int baton_bootstrap_fetch(const baton_follower_target *target, const char *active_directory,
                          const baton_peer_snapshot *said, void (*pulse)(void *context),
                          void *context, baton_error *error)
{
    char from[BATON_SNAPSHOTS_PATH_BYTES], to[BATON_SNAPSHOTS_PATH_BYTES];
    baton_digest root, got;
    baton_fetching self;
    baton_fetching_init(&self, target, error);
    self.pulse = pulse;
    self.context = context;
    self.is_beside = true;
    memcpy(root.bytes, said->root, sizeof(root.bytes));
    memcpy(self.wanted.root, said->root, sizeof(self.wanted.root));
    if (baton_snapshots_path(to, sizeof(to), target->place->directory) == 0 &&
        baton_kept_is_listed(to, root))
        return 0;
    if (active_directory[0] != '\0' && target->active.tcp.bytes == 0 &&
        baton_snapshots_path(from, sizeof(from), active_directory) == 0 &&
        baton_kept_link(from, to, baton_le64_get(said->seq), baton_le64_get(said->epoch)) == 0 &&
        baton_kept_is_listed(to, root))
        return 0;
    int r = converse(&self, &got);
    if (r == 0 && !baton_digest_equal(got, root))
        r = baton_error_set(error, BATON_E_NOT_FOUND, what_fetch, "the active has it no more",
                            "begin again");
    return r;
}
