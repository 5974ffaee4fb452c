/* tests/e2e/snapshot_kill_service.c: the program that `scripts/campaign snapshot` kills: an engine that
 * takes one snapshot after another under load, and says what it promised. Entry n is the same in every
 * life, so each start knows the state that it must have.
 *
 *     snapshot_kill_service run DIR uring|threads EVERY    until it is killed; on stdout, a line each:
 *         opened SEQ EPOCH FROM SKIPPED    hydrated, and the digests are right; FROM 0: no snapshot
 *         durable SEQ
 *         published SEQ EPOCH AFTER        its name is durable when an entry after AFTER is
 *         failed STATUS                    a snapshot could not be taken
 *         full SEQ, room SEQ               no entry is taken any more; again
 *     snapshot_kill_service check DIR      every snapshot, read and compared: snapshot SEQ EPOCH STATUS
 *
 * Exit code: 3 no space to begin, 4 something is not as it must be (stderr says what), 1 anything else. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/run.h"
#include "snapshot/store.h"
#include "tests/sim/snapshot/snapshot_run.h"

#define VALUE_BYTES    4096u /* of 160 keys: a snapshot of 640 KiB */
#define BURST          16u
#define TURN_NS        UINT64_C(20000000)
#define PACE_NS        UINT64_C(500000) /* after a burst: each start replays in its head what was done */
#define DURABLE_EVERY  1000u
#define SEGMENT_BYTES  (UINT64_C(4) << 20)
#define EXIT_NO_SPACE  3
#define EXIT_WRONG     4
#define PATH_BYTES     4096u
#define ENTRY_TYPE_ADD 1u

static snapshot_run model; /* the uninterrupted run: the entries and digests of the simulated one */

static int say_wrong(const char *what, uint64_t seq)
{
    fprintf(stderr, "snapshot_kill_service: entry %" PRIu64 ": %s\n", seq, what);
    return EXIT_WRONG;
}

/* One write each: a line is heard as a whole, or not at all. */
__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
    char line[128];
    va_list arguments;
    va_start(arguments, format);
    const int bytes = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (write(STDOUT_FILENO, line, (size_t)bytes) != bytes)
        exit(1);
}

/* ---- running ---- */

typedef struct {
    baton_engine *engine;
    uint64_t told_durable;
    uint64_t told_taken;
    int told_status;
    bool full;
} life;

static int submit_some(life *own)
{
    for (uint32_t i = 0; i < BURST; i++) {
        const run_entry add = run_entry_of(&model, baton_engine_applied_seq(own->engine) + 1);
        const int r = baton_engine_submit(own->engine, ENTRY_TYPE_ADD, &add, sizeof(add), NULL);
        if (r == BATON_E_NO_SPACE && !own->full)
            tell("full %" PRIu64 "\n", baton_engine_applied_seq(own->engine));
        if (r == 0 && own->full)
            tell("room %" PRIu64 "\n", baton_engine_applied_seq(own->engine));
        if (r == 0 || r == BATON_E_NO_SPACE)
            own->full = r != 0;
        if (r == BATON_E_FULL || r == BATON_E_NO_SPACE)
            return 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static void tell_news(life *own)
{
    const baton_engine_snapshot_state *state = baton_engine_snapshot_status(own->engine);
    baton_engine_status status;
    if (baton_engine_status_get(own->engine, &status) < 0)
        return;
    if (state->taken_count != own->told_taken)
        tell("published %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", state->last_seq, status.epoch,
             status.seq);
    own->told_taken = state->taken_count;
    if (state->last_status != own->told_status && state->last_status != 0)
        tell("failed %s\n", baton_status_name(state->last_status));
    own->told_status = state->last_status;
    if (status.durable_seq >= own->told_durable + DURABLE_EVERY) {
        tell("durable %" PRIu64 "\n", status.durable_seq);
        own->told_durable = status.durable_seq;
    }
}

static int check_opened(const life *own, const baton_hydrate_report *report)
{
    baton_engine_status status;
    if (baton_engine_status_get(own->engine, &status) < 0)
        return 1;
    const run_digests *expected = run_expected(&model, status.seq);
    if (!baton_digest_equal(status.state_digest, expected->state))
        return say_wrong("another state than that of the uninterrupted run", status.seq);
    if (!baton_digest_equal(status.effect_digest, expected->effects))
        return say_wrong("other effects than those of the uninterrupted run", status.seq);
    tell("opened %" PRIu64 " %" PRIu64 " %" PRIu64 " %u\n", status.seq, status.epoch,
         report->from_snapshot ? report->snapshot_seq : 0, report->snapshots_skipped);
    return 0;
}

static int run(const char *directory, const char *backend, uint64_t every)
{
    life own = {0};
    baton_hydrate_report report;
    baton_error error = {0};
    char text[1024];
    const baton_engine_options options = {
        .backend = strcmp(backend, "uring") == 0 ? BATON_BACKEND_URING : BATON_BACKEND_THREADS,
        .checkpoint_every = every / 3 + 1,
        .snapshot_every = every,
        .segment_bytes = SEGMENT_BYTES,
        .retire = true,
    };
    int r =
        baton_engine_open(&run_service, directory, &options, NULL, &own.engine, &report, &error);
    if (r < 0) {
        fprintf(stderr, "%s\n", baton_error_text(&error, text, sizeof(text)));
        return r == BATON_E_NO_SPACE ? EXIT_NO_SPACE : 1;
    }
    r = check_opened(&own, &report);
    if (r != 0)
        return r;
    while (r == 0) {
        r = submit_some(&own);
        if (r == 0)
            r = baton_engine_turn(own.engine, own.full ? TURN_NS : PACE_NS, &error);
        tell_news(&own);
    }
    fprintf(stderr, "%s\n", baton_error_text(&error, text, sizeof(text)));
    return 1;
}

/* ---- checking ---- */

static int check_one(baton_io *io, const char *directory, const baton_snapshot_listed *listed)
{
    baton_snapshot_reader *reader = NULL;
    baton_machine machine;
    baton_digest state;
    int r = listed->status;
    if (r == 0)
        r = baton_snapshot_verify_with(io, directory, listed, NULL);
    if (r == BATON_E_GONE)
        return 0; /* pruned by a living service since it was listed */
    tell("snapshot %" PRIu64 " %" PRIu64 " %s\n", listed->info.seq, listed->info.epoch,
         baton_status_name(r));
    if (r < 0)
        return 0;
    const run_digests expected = *run_expected(&model, listed->info.seq);
    r = baton_machine_init(&machine, &run_service, NULL, NULL);
    if (r == 0)
        r = baton_snapshot_reader_open(io, directory, listed, &reader, NULL);
    if (r == 0)
        r = baton_machine_unpack(&machine, reader, NULL);
    if (r == 0)
        r = baton_machine_digest(&machine, 1, &state);
    if (r == 0 && (!baton_digest_equal(state, expected.state) ||
                   !baton_digest_equal(listed->info.effect_digest, expected.effects)))
        r = BATON_E_DIVERGED;
    baton_snapshot_reader_close(reader);
    baton_machine_fini(&machine);
    if (r == 0 || r == BATON_E_GONE)
        return 0;
    fprintf(stderr, "%s: ", baton_status_name(r));
    return say_wrong("a snapshot that verifies gives another state", listed->info.seq);
}

static int check(const char *directory)
{
    char snapshots[PATH_BYTES];
    baton_io *io = NULL;
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    (void)snprintf(snapshots, sizeof(snapshots), "%s/snapshots", directory);
    int r = baton_io_open(&(baton_io_options){.choice = BATON_IO_THREADS}, &io, NULL);
    if (r == 0)
        r = baton_snapshot_list_with(io, snapshots, &list, &count, NULL);
    for (uint32_t i = 0; r == 0 && i < count; i++)
        r = check_one(io, snapshots, &list[i]);
    free(list);
    baton_io_close(io);
    return r < 0 ? 1 : r;
}

int main(int argc, char **argv)
{
    model.options.seed = 1;
    run_service_size(VALUE_BYTES);
    if (baton_machine_init(&model.mirror, &run_service, NULL, NULL) < 0)
        return 1;
    if (argc == 3 && strcmp(argv[1], "check") == 0)
        return check(argv[2]);
    if (argc == 5 && strcmp(argv[1], "run") == 0)
        return run(argv[2], argv[3], strtoull(argv[4], NULL, 10));
    fprintf(stderr, "usage: snapshot_kill_service run DIR uring|threads EVERY | check DIR\n");
    return 1;
}
