/* drain/undecided.c: waiting for the other side, or for the operator. */
#include "drain/undecided.h"

#include <string.h>
#include <unistd.h>

#include "drain/now.h"

#define TELL_NS   UINT64_C(10000000000)
#define LOOK_NS   UINT64_C(20000000)
#define SETTLE_NS UINT64_C(500000000) /* a connection that is made again is no wait yet */

static const baton_partner *other_of(const service_run *run)
{
    static const uint8_t nowhere[BATON_PLACE_BYTES];
    if (run->follower != NULL && run->following && run->follower->active.directory[0] != '\0' &&
        memcmp(run->follower->active.place, nowhere, sizeof(nowhere)) != 0)
        return &run->follower->active;
    return run->cutover.engine != NULL && run->cutover.peer.directory[0] != '\0'
               ? &run->cutover.peer
               : &run->partner;
}

/* ---- is it one? ---- */

static bool waits(const service_run *run)
{
    const baton_follower *follower = run->follower;
    const baton_old *old = &run->cutover.old;
    if (run->engine == NULL)
        return false;
    if (run->undecided)
        return true;
    if (run->following && follower != NULL) /* a promise is out, and its active can't be heard */
        return follower->cutover.state == BATON_NEW_ANSWERED && follower->active.far &&
               follower->channel.fd < 0;
    return run->cutover.engine != NULL && old->state == BATON_OLD_GRANTED &&
           run->cutover.peer.far && run->cutover.peer_cut;
}

bool baton_undecided_is(const service_run *run)
{
    return run->undecided_since_ns != 0 && baton_now_ns() - run->undecided_since_ns >= SETTLE_NS;
}

/* ---- what it knows ---- */

static uint64_t own_names(const service_run *run)
{
    uint64_t names = 0;
    int r = baton_highest_name(run->place.directory, &names);
    return r < 0 ? 0 : names;
}

static uint64_t heard_ns(const service_run *run)
{
    uint64_t heard = run->cutover.engine != NULL ? run->cutover.peer_heard_ns : 0;
    return run->follower != NULL && run->follower->heard_ns > heard ? run->follower->heard_ns
                                                                    : heard;
}

static json_t *describe_here(const service_run *run)
{
    baton_engine_point point = {0};
    uint64_t header = 0;
    int r = baton_engine_digests(run->engine, 0, &point, NULL);
    if (r == 0)
        r = baton_highest_header(run->place.directory, &header);
    (void)r; /* what is not known is 0 */
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "host",
        baton_describe_text(run->place.host), "directory",
        baton_describe_text(run->place.directory), "address",
        baton_describe_text(run->place.address), "epoch",
        baton_describe_number(point.position.epoch), "batch",
        baton_describe_number(point.position.batch), "seq", baton_describe_number(point.seq),
        "durable_seq", baton_describe_number(point.durable.seq), "highest_header",
        baton_describe_number(header), "highest_name", baton_describe_number(own_names(run)));
}

static json_t *describe_other(const service_run *run)
{
    const baton_partner *other = other_of(run);
    const uint64_t heard = heard_ns(run);
    char nonce[BATON_NONCE_TEXT_BYTES];
    json_t *object = json_pack(
        "{s:o, s:o, s:o, s:s, s:o}", "host", baton_describe_text(other->host), "directory",
        baton_describe_text(other->directory), "address", baton_describe_text(other->address),
        "nonce", baton_nonce_text(other->nonce, nonce), "heard_ms_ago",
        heard != 0 ? baton_describe_number((baton_now_ns() - heard) / 1000000) : json_null());
    if (object == NULL)
        return NULL;
    if (run->following && run->follower != NULL && run->follower->cutover.offered)
        json_object_update_new(
            object,
            json_pack("{s:o, s:o, s:o}", "epoch",
                      baton_describe_number(run->follower->cutover.offer.position.epoch), "batch",
                      baton_describe_number(run->follower->cutover.offer.position.batch), "seq",
                      baton_describe_number(run->follower->cutover.offer.seq)));
    else if (run->cutover.engine != NULL &&
             run->cutover.peer_durable.batch + run->cutover.peer_durable.seq != 0)
        json_object_update_new(
            object,
            json_pack("{s:o, s:o}", "epoch", baton_describe_number(run->cutover.peer_durable.epoch),
                      "seq", baton_describe_number(run->cutover.peer_durable.seq)));
    if (run->follower != NULL && run->follower->last_refusal.status != 0)
        json_object_set_new(object, "error", baton_describe_error(&run->follower->last_refusal));
    return object;
}

static const char *reason(const service_run *run)
{
    if (!run->following)
        return "the authority was granted to the other one, which can't be heard: it may serve, or "
               "may not have begun";
    if (run->cutover.engine != NULL && run->cutover.found)
        return run->cutover.highest_header > run->cutover.epoch
                   ? "a term was begun here after a grant and not proven, and the other one can't "
                     "be heard: "
                     "it may have begun a later one"
                   : "the authority was granted to the other one, which can't be heard: it may "
                     "serve, "
                     "or may not have begun";
    return "this one gave its answer to a handover, and can't hear whether it was granted: the "
           "other one "
           "may serve on";
}

static json_t *choices(const service_run *run)
{
    const baton_partner *other = other_of(run);
    const char *control = run->options->control_path;
    return json_pack(
        "[{s:s, s:s}, {s:o, s:o}, {s:o, s:o}]", "do",
        "restore the connection between the two hosts", "then",
        "both go on by themselves, whoever is the authority", "do",
        json_sprintf("on this host: baton service promote %s --force", control), "then",
        json_sprintf(
            "this one serves; first make sure that the instance in %s on %s is dead and stays so: "
            "what it acknowledged and this one has not is lost",
            other->directory, other->host),
        "do",
        json_sprintf("on %s: baton service promote %s/control.sock --force", other->host,
                     other->directory),
        "then",
        json_sprintf("the other one serves; this one must be dead first (pid %ld)",
                     (long)getpid()));
}

json_t *baton_undecided_describe(const service_run *run)
{
    if (!baton_undecided_is(run))
        return NULL;
    return json_pack("{s:o, s:s, s:o, s:o, s:o}", "since_ms",
                     baton_describe_number((baton_now_ns() - run->undecided_since_ns) / 1000000),
                     "why", reason(run), "here", describe_here(run), "other", describe_other(run),
                     "choices", choices(run));
}

/* Once, and then each 10 s. */
static void tell(service_run *run)
{
    if (run->undecided_told_ns != 0 && baton_now_ns() - run->undecided_told_ns < TELL_NS)
        return;
    run->undecided_told_ns = baton_now_ns();
    json_t *object = baton_undecided_describe(run);
    char *here = json_dumps(json_object_get(object, "here"), JSON_COMPACT);
    char *other = json_dumps(json_object_get(object, "other"), JSON_COMPACT);
    baton_log(WARN, "handover.undecided", BATON_LOG_TEXT("why", reason(run)),
              BATON_LOG_NUMBER("since_ms", (baton_now_ns() - run->undecided_since_ns) / 1000000),
              BATON_LOG_TEXT("here", here != NULL ? here : ""),
              BATON_LOG_TEXT("other", other != NULL ? other : ""));
    baton_log(WARN, "handover.choose",
              BATON_LOG_TEXT("a", "restore the connection: both go on by themselves"),
              BATON_LOG_TEXT(
                  "b", "when the other one is dead: baton service promote SOCKET --force, here"),
              BATON_LOG_TEXT("c", "or there, when this one is dead"),
              BATON_LOG_TEXT("socket", run->options->control_path));
    free(here);
    free(other);
    json_decref(object);
}

/* ---- a start ---- */

int baton_undecided_start(service_run *run, baton_error *error)
{
    static const uint8_t nobody[BATON_PEER_NONCE_BYTES];
    const baton_handover_wire *record = &baton_engine_facts(run->engine)->handover;
    const bool granted = memcmp(record->successor_nonce, nobody, sizeof(nobody)) != 0;
    const char *where =
        run->partner.address[0] != '\0' ? run->partner.address : run->partner.directory;
    uint64_t header = 0;
    int r = baton_highest_header(run->place.directory, &header);
    if (r == 0)
        r = baton_flush_journal(run->place.directory); /* R9: what is found is acted on */
    if (r < 0)
        return baton_error_set(error, r, "decide who serves", NULL, "look at the directory");
    r = baton_run_aim(run, where, error);
    if (r < 0)
        return r;
    if (granted && header >= baton_le64_get(record->epoch)) {
        baton_cutover_found(&run->cutover, run->doors, run->engine, run->options, &run->instance,
                            &run->place, run->door.fd >= 0 ? &run->door : NULL, &run->faults,
                            &run->partner, header);
        run->follower->deciding = true;
    }
    return 0;
}

/* The other one is the authority: this one follows it. */
static int give_way(service_run *run, baton_error *error)
{
    const baton_cutover *cutover = &run->cutover;
    const baton_partner *by = cutover->higher_epoch != 0 ? &cutover->higher : &cutover->peer;
    const char *where = by->address[0] != '\0' ? by->address : by->directory;
    int r = baton_run_aim(run, where, error);
    if (r < 0)
        return r;
    baton_cutover_close(&run->cutover);
    run->cutover = (baton_cutover){.engine = NULL};
    run->undecided = run->follower->deciding = false;
    baton_log(INFO, "handover.decided", BATON_LOG_TEXT("authority", where));
    return 0;
}

/* R7 on one host: the partner lived when this one started, and may have died since: then nobody is left to be
 * asked, and both LOCKs decide as they do at a start. */
static void look_again(service_run *run)
{
    uint64_t epoch = 0;
    baton_error why;
    const baton_cutover *cutover = &run->cutover;
    if (!run->undecided || run->partner.far || run->partner_lock_fd >= 0 ||
        cutover->higher_epoch != 0 || cutover->old.state == BATON_OLD_FENCED ||
        run->follower->cutover.state >= BATON_NEW_TAKING ||
        baton_now_ns() - run->undecided_looked_ns < LOOK_NS)
        return;
    run->undecided_looked_ns = baton_now_ns();
    if (baton_partner_look(run->place.directory, run->partner.directory,
                           baton_engine_journal_id(run->engine), &epoch, &run->partner_lock_fd,
                           &why) == 0)
        (void)baton_new_on_leave(&run->follower->cutover, epoch);
}

/* A term of its own after a grant that nobody took (R6): whom it is told to hears the new epoch. */
static bool begins_anew(const service_run *run)
{
    return !run->following && !run->to_let_follow && run->cutover.engine != NULL &&
           run->cutover.old.state == BATON_OLD_SERVING && run->cutover.epoch != run->told_epoch;
}

int baton_undecided_turn(service_run *run, baton_error *error)
{
    baton_cutover *cutover = &run->cutover;
    baton_herald_news news;
    if (run->undecided && run->follower != NULL && run->follower->following &&
        !run->follower->deciding) { /* its welcome said that it serves in a later term */
        if (cutover->engine != NULL)
            baton_cutover_close(cutover);
        *cutover = (baton_cutover){.engine = NULL};
        run->undecided = false;
    }
    if (run->undecided && cutover->found && baton_cutover_may_leave(cutover)) {
        int r = give_way(run, error);
        if (r < 0)
            return r;
    }
    if (run->undecided && cutover->found && cutover->word) {
        const uint64_t names = baton_higher_epoch(own_names(run), cutover->word_names);
        cutover->word = false;
        (void)baton_new_on_leave(&run->follower->cutover,
                                 baton_higher_epoch(names, cutover->epoch + 1) + 1);
    }
    look_again(run);
    if (baton_herald_get(run->herald, &news) && news.serves && news.epoch > cutover->highest_header)
        baton_cutover_fence(cutover, &news.other, news.epoch, &news.said);
    if (begins_anew(run))
        baton_undecided_serves(run);

    if (!waits(run))
        run->undecided_since_ns = run->undecided_told_ns = 0;
    else if (run->undecided_since_ns == 0)
        run->undecided_since_ns = baton_now_ns();
    if (baton_undecided_is(run))
        tell(run);
    return 0;
}

/* ---- by force ---- */

/* Nobody runs on the other directory while this is decided, where that can be known. */
static int lock_other(const baton_partner *other, int *ret_lock_fd, baton_error *error)
{
    if (other->directory[0] != '/' || other->far ||
        baton_lock_other(other->directory, ret_lock_fd) != BATON_E_LOCKED)
        return 0;
    return baton_error_setf(error, BATON_E_REFUSED, "promote by force", "end that process first",
                            "an instance lives in %.150s, on this host", other->directory);
}

/* What it would begin a term of has not come yet. */
static bool has_nothing(const service_run *run)
{
    baton_position end;
    baton_digest digest;
    bool needs_start;
    baton_engine_follow_end(run->engine, &end, &digest, &needs_start);
    return needs_start;
}

/* Whom it overrules: the one that it was told to follow, also where it has not heard it. A partner of an earlier
 * handover may be another one. */
static void know_other(service_run *run)
{
    baton_partner other;
    if (!run->following || run->undecided || run->follower == NULL ||
        other_of(run) == &run->follower->active)
        return;
    baton_partner_told(&run->target.active, &other);
    if (other.far == run->partner.far && strcmp(other.address, run->partner.address) == 0 &&
        (other.far || strcmp(other.directory, run->partner.directory) == 0))
        return;
    other.fenced_by = run->partner.fenced_by;
    run->partner = other;
}

static int may_promote(const service_run *run, int *ret_lock_fd, baton_error *error)
{
    static const char *const what = "promote by force";
    const baton_follower *follower = run->follower;
    const bool serves = !run->following && run->cutover.old.state != BATON_OLD_GRANTED;
    if (serves || (run->following && follower == NULL))
        return baton_error_set(error, BATON_E_INVALID, what, "this instance serves, or drains",
                               "nothing is to be done");
    if (run->following && follower->following)
        return baton_error_set(error, BATON_E_REFUSED, what,
                               "the active is there, and is connected",
                               "use `baton service handover` on it");
    if (run->following && has_nothing(run))
        return baton_error_set(error, BATON_E_REFUSED, what,
                               "nothing of the journal has come here yet",
                               "start the active again; this directory can begin nothing");
    if (run->following && follower->cutover.state >= BATON_NEW_TAKING)
        return baton_error_set(error, BATON_E_AGAIN, what, "it begins a term already",
                               "look at its status");
    if (!run->following && run->cutover.peer.far && !run->cutover.peer_cut)
        return baton_error_set(error, BATON_E_REFUSED, what,
                               "the successor is there, and is connected",
                               "wait until it serves, or end it");
    return lock_other(other_of(run), ret_lock_fd, error);
}

/* On one host: whoever starts there next finds that it is fenced (R12), as one on another host is told. The
 * caller holds its LOCK. */
static void fence_other(const service_run *run)
{
    uint8_t nonce[BATON_PEER_NONCE_BYTES];
    baton_error error = {0};
    baton_instance_nonce(&run->instance, nonce);
    baton_partner here = baton_partner_here(&run->place, nonce);
    here.fenced_by = run->forced_epoch;
    if (baton_partner_write(other_of(run)->directory, &here, &error) < 0)
        baton_log(ERROR, "handover.partner", BATON_LOG_TEXT("why", error.why),
                  BATON_LOG_TEXT("todo", "see to it that nothing starts there but a standby"));
}

/* Above whatever is known here. 0: nothing can be. */
static uint64_t forced_epoch(const service_run *run, const baton_engine_point *point)
{
    const baton_cutover *cutover = &run->cutover;
    uint64_t floor = baton_higher_epoch(own_names(run), point->position.epoch);
    floor = baton_higher_epoch(floor,
                               baton_higher_epoch(run->partner.fenced_by, run->place.forced_epoch));
    if (cutover->engine != NULL)
        floor =
            baton_higher_epoch(floor, baton_higher_epoch(cutover->epoch + 1, cutover->word_names));
    if (run->follower != NULL)
        floor = baton_higher_epoch(floor, run->follower->seen_epoch);
    return floor > BATON_PEER_EPOCH_MAX - BATON_EPOCH_FORCED ? 0 : floor + BATON_EPOCH_FORCED;
}

/* Whom to tell, from now on; and where the next start here looks (R7). */
static int keep_partner(service_run *run, baton_error *error)
{
    if (!run->following)
        return 0;
    if (other_of(run)->directory[0] == '/')
        run->partner = *other_of(run);
    run->partner.fenced_by = 0;
    return run->partner.directory[0] == '/' || run->partner.far
               ? baton_partner_write(run->place.directory, &run->partner, error)
               : 0;
}

static void begin_forced(service_run *run)
{
    if (!run->following)
        run->cutover.forced_epoch = run->forced_epoch;
    else
        (void)baton_new_on_leave(&run->follower->cutover, run->forced_epoch);
}

int baton_undecided_promote(service_run *run, baton_error *error)
{
    baton_engine_point point = {0};
    int lock_fd = -1;
    know_other(run);
    int r = may_promote(run, &lock_fd, error);
    if (r == 0)
        r = baton_engine_digests(run->engine, 0, &point, error);
    if (r == 0) {
        run->forced_epoch = forced_epoch(run, &point);
        if (run->forced_epoch == 0)
            r = baton_error_set(error, BATON_E_REFUSED, "promote by force",
                                "an epoch is known here that none can be forced above",
                                "look at the names in journal/, and at fenced_by in PARTNER: which "
                                "of them is so high?");
    }
    if (r == 0) {
        baton_log(WARN, "handover.forced_promotion", BATON_LOG_NUMBER("epoch", run->forced_epoch),
                  BATON_LOG_NUMBER("seq", point.seq),
                  BATON_LOG_TEXT("other", other_of(run)->directory),
                  BATON_LOG_TEXT("host", other_of(run)->host));
        r = keep_partner(run, error);
    }
    if (r == 0 && lock_fd >= 0)
        fence_other(run);
    if (r == 0)
        begin_forced(run);
    if (lock_fd >= 0)
        close(lock_fd);
    return r;
}

int baton_undecided_promote_state(service_run *run, json_t **ret_report, baton_error *error)
{
    const uint64_t epoch = baton_engine_epoch(run->engine);
    if (run->follower != NULL && run->follower->fatal < 0) {
        *error = run->follower->failure;
        return run->follower->fatal;
    }
    if (run->following || epoch < run->forced_epoch)
        return 0;
    *ret_report =
        json_pack("{s:o, s:o, s:b, s:o}", "epoch", baton_describe_number(epoch), "seq",
                  baton_describe_number(baton_engine_applied_seq(run->engine)), "forced", 1,
                  "forced_promotions", baton_describe_number(baton_epoch_forced_count(epoch)));
    return *ret_report != NULL ? 1 : -ENOMEM;
}

/* ---- of one that serves ---- */

void baton_undecided_serves(service_run *run)
{
    const uint64_t epoch = baton_engine_epoch(run->engine);
    baton_metric *forced;
    baton_herald_options options = {.epoch = epoch,
                                    .journal_id = baton_engine_journal_id(run->engine)};
    baton_error error;
    run->undecided = false;
    run->told_epoch = epoch;
    if (run->forced_metric == NULL &&
        baton_metrics_counter(
            baton_engine_metrics(run->engine), "baton_forced_promotions_total", NULL,
            "Promotions by force in the life of the journal: from the epoch.", &forced) == 0)
        run->forced_metric = forced;
    if (run->forced_metric != NULL && baton_epoch_forced_count(epoch) > run->forced_counted) {
        baton_metric_add(run->forced_metric, baton_epoch_forced_count(epoch) - run->forced_counted);
        run->forced_counted = baton_epoch_forced_count(epoch);
    }
    if (baton_epoch_forced_count(epoch) > 0)
        baton_log(WARN, "service.forced_epoch", BATON_LOG_NUMBER("epoch", epoch),
                  BATON_LOG_NUMBER("forced_promotions", baton_epoch_forced_count(epoch)));
    baton_undecided_close(run);
    if (!baton_partner_read(run->place.directory, &run->partner) || !run->partner.far ||
        run->partner.address[0] == '\0' ||
        baton_follower_target_init(&options.target, run->partner.address, &run->place,
                                   run->doors->service, run->instance.nonce,
                                   &run->options->peer_security, &error) < 0)
        return;
    run->herald = baton_herald_open(&options);
}

void baton_undecided_close(service_run *run)
{
    if (run->partner_lock_fd >= 0)
        close(run->partner_lock_fd);
    run->partner_lock_fd = -1;
    baton_herald_close(run->herald);
    run->herald = NULL;
}
