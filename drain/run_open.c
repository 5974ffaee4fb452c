/* drain/run_open.c: the start of `run` up to a state: whom to follow, or whether this directory may begin a term
 * (R7), before and after the engine opens. */
#include "drain/other_directory.h"
#include "drain/run_private.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

int baton_run_aim(service_run *run, const char *standby_of, baton_error *error)
{
    int r = baton_follower_target_init(&run->target, standby_of, &run->place, run->doors->service,
                                       run->instance.nonce, &run->options->peer_security, error);
    run->target.compatible = &run->options->compatible;
    run->target.faults = &run->faults;
    run->target.stall_ns = run->options->fetch_stall_ns;
    return r;
}

/* Beside what it waits for before there is an engine. */
static int while_starting(void *context, const baton_fetch_progress *progress)
{
    service_run *run = context;
    if (progress->step != NULL)
        baton_hydrating_fetch(&run->hydrating, progress);
    return baton_run_told_to_end(run) ? -ECANCELED : 0;
}

/* Whom to follow, and what to begin with, before the engine opens. */
static int find_active(service_run *run, baton_engine_options *options, baton_error *error)
{
    baton_digest root;
    uint64_t highest = 0;
    int r = baton_run_aim(run, run->options->standby_of, error);
    run->target.watch = &run->start_watch;
    if (r == 0 && baton_highest_name(run->place.directory, &highest) == 0 && highest == 0)
        r = baton_hydrating_open(&run->hydrating, error);
    if (r == 0)
        r = baton_bootstrap(&run->target, run->options->hydrate_from, &root, error);
    if (r < 0)
        return r;
    options->standby = run->following = true;
    if (!baton_digest_is_zero(root))
        options->trust_root = root;
    return 0;
}

/* R7: the engine refused to begin a term by itself here. As a standby it may look. */
static int open_by_decision(service_run *run, baton_engine_options *options,
                            const baton_engine_hooks *hooks, baton_error *error)
{
    baton_error refusal = *error, other = {0};
    options->standby = true;
    options->copies_when_diverged = false;
    if (baton_engine_open(run->doors->service, run->options->directory, options, hooks,
                          &run->engine, &run->hydrate, &other) < 0) {
        run->engine = NULL;
        *error = other.status == BATON_E_DIVERGED ? other : refusal;
        return error->status;
    }
    int r = run->partner.far
                ? BATON_E_LOCKED
                : baton_partner_decide(run->engine, run->place.directory, &run->start_watch, error);
    if (r == BATON_E_LOCKED) { /* nobody can be looked at: the other one must be asked */
        run->undecided = run->following = true;
        return 0;
    }
    if (r == BATON_E_NOT_FOUND) {
        *error = refusal;
        r = BATON_E_REFUSED;
    }
    return r;
}

/* R12: another instance has said that it serves in a higher epoch than any here. */
static int refuse_fenced(const service_run *run, baton_error *error)
{
    uint64_t names = 0;
    int r = baton_highest_name(run->place.directory, &names);
    if (r < 0 || run->partner.fenced_by <= names)
        return 0; /* what can't be read, the open will say */
    return baton_error_setf(
        error, BATON_E_REFUSED, "take over this directory",
        "start this one with --standby-of that one; what stands only here, `baton "
        "journal verify` of both directories says",
        "fenced: %.120s on %.60s serves in epoch %llu%s", run->partner.directory, run->partner.host,
        (unsigned long long)run->partner.fenced_by,
        baton_epoch_forced_count(run->partner.fenced_by) > 0 ? ", after a forced promotion" : "");
}

static int know_place(service_run *run, baton_error *error)
{
    const char *directory = run->options->directory;
    if (run->options->standby_of != NULL && mkdir(directory, 0777) < 0 && errno != EEXIST)
        return baton_error_set(error, -errno, directory, NULL, "give --dir another path");
    int r = baton_place_open(&run->place, directory, run->door.text, error);
    if (r == 0)
        (void)baton_partner_read(run->place.directory, &run->partner);
    return r;
}

int baton_run_open_engine(service_run *run, const baton_engine_hooks *hooks, baton_error *error)
{
    baton_engine_options options = run->options->engine;
    struct stat there;
    int r = 0;
    options.on_progress = baton_hydrating_progress;
    options.progress_context = &run->hydrating;
    run->start_watch =
        (baton_fetch_watch){.step = while_starting, .context = run, .wake_fd = run->signal_fd};
    const bool known =
        run->options->standby_of != NULL || stat(run->options->directory, &there) == 0;
    if (known)
        r = know_place(run, error);
    if (r == 0 && run->options->standby_of != NULL)
        r = find_active(run, &options, error);
    else if (r == 0)
        r = refuse_fenced(run, error);
    if (r < 0)
        return r;
    r = baton_engine_open(run->doors->service, run->options->directory, &options, hooks,
                          &run->engine, &run->hydrate, error);
    if (r == BATON_E_REFUSED && !options.standby) {
        run->engine = NULL;
        r = open_by_decision(run, &options, hooks, error);
    }
    return r == 0 && !known ? know_place(run, error) : r;
}
