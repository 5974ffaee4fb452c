/* drain/bootstrap.c: a standby's first bytes. */
#include "drain/bootstrap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <baton/log.h>

#include "snapshot/names.h"
#include "snapshot/store.h"

#define ANSWER_MS   10000
#define PARENTS_MAX 64u /* an active takes a full one long before */

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

typedef struct {
    const baton_follower_target *target;
    baton_peer_channel channel;
    baton_peer_inbox inbox;
    uint8_t active[BATON_PEER_NONCE_BYTES];
    baton_peer_fetch wanted;
    void (*pulse)(void *context); /* may be NULL */
    void *context;
    uint32_t protocol;
    baton_error *error;
} fetching;

/* False: nothing happened in all that time. */
static bool wait_for(fetching *self, bool to_send)
{
    struct pollfd wanted = {.fd = self->channel.fd,
                            .events = baton_peer_channel_wants(&self->channel, to_send)};
    return poll(&wanted, 1, ANSWER_MS) != 0;
}

static int say(fetching *self, baton_peer_type type, const void *body, uint32_t bytes)
{
    baton_peer_names names = {.protocol = self->protocol};
    baton_peer_outgoing out = {.busy = false};
    memcpy(names.from, self->target->nonce, sizeof(names.from));
    memcpy(names.to, self->active, sizeof(names.to));
    baton_peer_put(&out, type, &names, body, bytes);
    int r;
    while ((r = baton_peer_send(&out, &self->channel)) == 0 && wait_for(self, true))
        ;
    if (r == 0)
        r = baton_error_set(self->error, BATON_E_TIMEOUT, what_fetch, "the active takes nothing",
                            "look at its log");
    else if (r < 0)
        *self->error = self->channel.error;
    return r < 0 ? r : 0;
}

/* The next message, of this type; a refusal is an error with the active's words. */
static int hear(fetching *self, baton_peer_type type, const baton_peer_header **ret_header,
                const void **ret_body)
{
    for (;;) {
        int r = baton_peer_next(&self->inbox, ret_header, ret_body, self->error);
        if (r < 0)
            return r;
        if (r == 1) {
            const uint16_t got = baton_le16_get((*ret_header)->type);
            if (got == type)
                return 0;
            if (got == BATON_PEER_REFUSE)
                return baton_peer_refusal_get(*ret_body, "follow the active", self->error);
            return baton_error_set(self->error, BATON_E_INVALID, what_fetch,
                                   "the active says something else", "try again");
        }
        r = baton_peer_receive(&self->inbox, &self->channel);
        if (r == -EPIPE)
            return baton_error_set(self->error, r, what_fetch, "the active hung up",
                                   "look at its log, and start again");
        if (r < 0) {
            *self->error = self->channel.error;
            return r;
        }
        if (r == 0 && !wait_for(self, false))
            return baton_error_set(self->error, BATON_E_TIMEOUT, what_fetch,
                                   "the active does not answer", "look at its log");
    }
}

static int greet(fetching *self)
{
    const baton_peer_header *header;
    const void *body;
    baton_peer_hello hello;
    baton_peer_fault fault;
    baton_follower_hello(self->target, NULL, &hello);
    int r = say(self, BATON_PEER_HELLO, &hello, sizeof(hello));
    if (r == 0)
        r = hear(self, BATON_PEER_WELCOME, &header, &body);
    if (r < 0)
        return r;
    memcpy(self->active, header->from, sizeof(self->active));
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

static int write_whole(int fd, const void *bytes, size_t count, uint64_t offset)
{
    const uint8_t *at = bytes;
    while (count > 0) {
        const ssize_t n = pwrite(fd, at, count, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        at += n;
        count -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

/* One file, in pieces, in order, as long as it was said to be; flushed. */
static int receive_file(fetching *self, int fd, bool manifest, uint64_t bytes)
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
        r = write_whole(fd, piece + 1, count, have);
        if (r < 0)
            return baton_error_set(self->error, r, what_fetch, NULL, "free disk space");
        have += count;
        baton_peer_took(&self->inbox);
        if (self->pulse != NULL)
            self->pulse(self->context);
    }
    if (fsync(fd) < 0)
        return baton_error_set(self->error, -errno, what_fetch, NULL, NULL);
    return 0;
}

static int flush_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || fsync(fd) < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return r;
}

/* Under its name only when it is whole; the manifest last (S1). */
static int fetch_file(fetching *self, const char *directory, const baton_peer_snapshot *said,
                      bool manifest)
{
    char partial[BATON_SNAPSHOT_PATH_BYTES], path[BATON_SNAPSHOT_PATH_BYTES];
    const uint64_t seq = baton_le64_get(said->seq), epoch = baton_le64_get(said->epoch);
    int r = baton_snapshot_path(partial, directory, seq, epoch,
                                manifest ? BATON_NAME_MANIFEST_PARTIAL : BATON_NAME_CHUNKS_PARTIAL);
    if (r == 0)
        r = baton_snapshot_path(path, directory, seq, epoch,
                                manifest ? BATON_NAME_MANIFEST : BATON_NAME_CHUNKS);
    const int fd = r < 0 ? -1 : open(partial, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (r < 0 || fd < 0)
        return baton_error_set(self->error, r < 0 ? r : -errno, what_fetch, NULL,
                               "give --dir a path that can be written");
    r = receive_file(self, fd, manifest,
                     baton_le64_get(manifest ? said->manifest_bytes : said->chunks_bytes));
    close(fd);
    if (r == 0 && (rename(partial, path) < 0 || flush_directory(directory) < 0))
        r = baton_error_set(self->error, -errno, what_fetch, NULL, NULL);
    return r;
}

/* 1: it is listed; its chunks are judged when they are loaded. */
static int find(const char *directory, baton_digest root, baton_snapshot_listed *ret_listed,
                baton_error *error)
{
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    int r = baton_snapshot_list(directory, &list, &count, error);
    for (uint32_t i = 0; i < count && r == 0; i++)
        if (list[i].status == 0 && baton_digest_equal(list[i].info.root, root)) {
            *ret_listed = list[i];
            r = 1;
        }
    free(list);
    return r;
}

/* 1: the snapshot of that root is there, and every chunk of it, and of what it adds to, is good. */
static int is_there(const char *directory, baton_digest root, baton_error *error)
{
    baton_snapshot_listed listed;
    int r = find(directory, root, &listed, error);
    return r == 1 ? baton_snapshot_verify(directory, &listed, error) == 0 : r;
}

/* Nothing stays that claims to be a snapshot. */
static void take_back(const char *directory, const baton_peer_snapshot *said)
{
    char path[BATON_SNAPSHOT_PATH_BYTES];
    if (baton_snapshot_path(path, directory, baton_le64_get(said->seq), baton_le64_get(said->epoch),
                            BATON_NAME_MANIFEST) == 0)
        (void)unlink(path);
}

/* Zero: it stands alone, or is not there. */
static baton_digest parent_of(const char *directory, baton_digest root)
{
    baton_snapshot_listed listed;
    return find(directory, root, &listed, NULL) == 1 ? listed.info.parent : (baton_digest){{0}};
}

/* Its files, under their names, not judged yet. 1: that one is there, and good. */
static int fetch_one(fetching *self, const char *directory, baton_peer_snapshot *ret_said)
{
    const baton_peer_header *header;
    const void *body;
    baton_digest root;
    int r = say(self, BATON_PEER_FETCH, &self->wanted, sizeof(self->wanted));
    if (r == 0)
        r = hear(self, BATON_PEER_SNAPSHOT, &header, &body);
    if (r < 0)
        return r;
    *ret_said = *(const baton_peer_snapshot *)body;
    baton_peer_took(&self->inbox);
    memcpy(root.bytes, ret_said->root, sizeof(root.bytes));
    if (baton_digest_is_zero(root))
        return 0;
    r = is_there(directory, root, self->error);
    if (r != 0)
        return r;
    if (mkdir(directory, 0777) < 0 && errno != EEXIST)
        return baton_error_set(self->error, -errno, what_fetch, NULL, NULL);
    r = fetch_file(self, directory, ret_said, false);
    return r < 0 ? r : fetch_file(self, directory, ret_said, true);
}

/* What an increment adds to, one after the other. What a crash, or a liar, has left of it comes again. */
static int fetch_parents(fetching *self, const char *directory, baton_digest root)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < PARENTS_MAX; i++) {
        baton_peer_snapshot said;
        root = parent_of(directory, root);
        if (baton_digest_is_zero(root))
            return 0;
        r = is_there(directory, root, self->error);
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

static int fetch(fetching *self, const char *directory, baton_digest *ret_root)
{
    baton_peer_snapshot said;
    int r = greet(self);
    if (r == 0)
        r = fetch_one(self, directory, &said);
    if (r < 0)
        return r;
    memcpy(ret_root->bytes, said.root, sizeof(said.root));
    if (r == 1 || baton_digest_is_zero(*ret_root))
        return 0;
    r = fetch_parents(self, directory, *ret_root);
    if (r == 0)
        r = is_there(directory, *ret_root, self->error);
    if (r == 0) {
        take_back(directory, &said);
        return baton_error_set(self->error, BATON_E_DAMAGED, what_fetch,
                               "what came is not what was named", "look at the active's snapshots");
    }
    if (r == 1)
        baton_log(INFO, "handover.snapshot_fetched",
                  BATON_LOG_NUMBER("seq", baton_le64_get(said.seq)),
                  BATON_LOG_NUMBER("bytes", baton_le64_get(said.chunks_bytes)));
    return r < 0 ? r : 0;
}

static int converse(fetching *self, baton_digest *ret_root)
{
    char directory[4200];
    snprintf(directory, sizeof(directory), "%s/snapshots", self->target->place->directory);
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
    if (r == 0)
        r = fetch(self, directory, ret_root);
    baton_peer_inbox_fini(&self->inbox);
    baton_peer_channel_close(&self->channel);
    return r;
}

int baton_bootstrap(const baton_follower_target *target, baton_digest *ret_root, baton_error *error)
{
    uint64_t highest = 0;
    fetching self = {.target = target, .channel = BATON_PEER_CHANNEL_NONE, .error = error};
    *ret_root = (baton_digest){{0}};
    int r = baton_highest_name(target->place->directory, &highest);
    if (r < 0)
        return baton_error_set(error, r, target->place->directory, NULL, NULL);
    if (highest != 0)
        return 0;
    return converse(&self, ret_root);
}

/* ---- one that the active told of ---- */

/* Its files are durable, and never written again: a name of our own is all that there is to make. */
static int link_file(const char *from, const char *to, uint64_t seq, uint64_t epoch,
                     baton_snapshot_name kind)
{
    char source[BATON_SNAPSHOT_PATH_BYTES], path[BATON_SNAPSHOT_PATH_BYTES];
    int r = baton_snapshot_path(source, from, seq, epoch, kind);
    if (r == 0)
        r = baton_snapshot_path(path, to, seq, epoch, kind);
    if (r == 0 && link(source, path) < 0 && errno != EEXIST)
        r = -errno;
    return r < 0 ? r : flush_directory(to);
}

static int link_both(const char *from, const char *to, const baton_peer_snapshot *said)
{
    const uint64_t seq = baton_le64_get(said->seq), epoch = baton_le64_get(said->epoch);
    int r = mkdir(to, 0777) < 0 && errno != EEXIST ? -errno : 0;
    if (r == 0)
        r = link_file(from, to, seq, epoch, BATON_NAME_CHUNKS);
    return r < 0 ? r : link_file(from, to, seq, epoch, BATON_NAME_MANIFEST);
}

static bool is_listed(const char *directory, baton_digest root)
{
    baton_snapshot_listed listed;
    return find(directory, root, &listed, NULL) == 1;
}

int baton_bootstrap_fetch(const baton_follower_target *target, const char *active_directory,
                          const baton_peer_snapshot *said, void (*pulse)(void *context),
                          void *context, baton_error *error)
{
    char from[4200], to[4200];
    baton_digest root, got;
    fetching self = {.target = target,
                     .channel = BATON_PEER_CHANNEL_NONE,
                     .pulse = pulse,
                     .context = context,
                     .error = error};
    memcpy(root.bytes, said->root, sizeof(root.bytes));
    memcpy(self.wanted.root, said->root, sizeof(self.wanted.root));
    snprintf(from, sizeof(from), "%s/snapshots", active_directory);
    snprintf(to, sizeof(to), "%s/snapshots", target->place->directory);
    if (is_listed(to, root))
        return 0;
    if (target->active.tcp.bytes == 0 && link_both(from, to, said) == 0 && is_listed(to, root))
        return 0;
    int r = converse(&self, &got);
    if (r == 0 && !baton_digest_equal(got, root))
        r = baton_error_set(error, BATON_E_NOT_FOUND, what_fetch, "the active has it no more",
                            "begin again");
    return r;
}
