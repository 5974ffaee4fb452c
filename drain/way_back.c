/* drain/way_back.c: a handover through a snapshot (R13): to a version that would have decided
 * otherwise. What was released stays: it takes the state that is, and decides from there on.
 *
 * All of it stands between "everything is released" and M4; the rest of the handover is as ever, and so
 * is what happens at each crash point. */
#include <stdio.h>
#include <string.h>

#include <baton/clock.h>

#include "drain/cutover.h"
#include "drain/compatibility.h"

#define PREPARE_NS UINT64_C(5000000000)

void baton_way_back_begin(baton_way_back *way, const baton_handover_request *request,
                          const char *standby_version, const char *own_version)
{
    *way = (baton_way_back){
        .asked = request->path,
        .snapshot_gap_ns = request->snapshot_gap_ns,
        .older = baton_version_is_older(standby_version, own_version),
        .by_snapshot = request->path == BATON_PATH_SNAPSHOT,
    };
    snprintf(way->why, sizeof(way->why), "%s",
             request->path != BATON_PATH_AUTO ? "asked for" : "the digests of both are equal");
}

/* In the same turn: the request goes on. */
void baton_way_back_resumed(baton_cutover *cutover, const baton_error *why)
{
    baton_way_back *way = &cutover->way;
    if (why->status != BATON_E_DIVERGED || way->by_snapshot || way->asked != BATON_PATH_AUTO ||
        !way->older)
        return;
    way->again = true;
    snprintf(way->why, sizeof(way->why), "to an older version, and %.240s", why->why);
}

bool baton_way_back_is_ready(baton_cutover *cutover)
{
    baton_way_back *way = &cutover->way;
    baton_error error = {0};
    if (!way->by_snapshot || way->taken)
        return true;
    int r = baton_engine_snapshot_for_successor(cutover->engine, &way->snapshot, &error);
    if (r == BATON_E_AGAIN)
        return false;
    if (r < 0) {
        error.status = r;
        baton_old_on_abort(&cutover->old, &error);
        return false;
    }
    way->taken = true;
    way->snapshot_ns = baton_clock_monotonic_ns(baton_clock_system()) - cutover->old.stopped_ns;
    baton_log(INFO, "handover.snapshot", BATON_LOG_NUMBER("seq", way->snapshot.seq),
              BATON_LOG_TEXT("form", way->snapshot.form),
              BATON_LOG_NUMBER("bytes", way->snapshot.raw_bytes),
              BATON_LOG_NUMBER("after_us", way->snapshot_ns / 1000));
    return true;
}

void baton_way_back_tell(baton_cutover *cutover)
{
    const baton_snapshot_info *info = &cutover->way.snapshot;
    baton_peer_snapshot body = {.seq = baton_le64_put(info->seq),
                                .epoch = baton_le64_put(info->epoch)};
    if (!cutover->way.by_snapshot)
        return;
    memcpy(body.root, info->root.bytes, sizeof(body.root));
    (void)baton_feeder_send(cutover->feeder, cutover->peer_id, BATON_PEER_SNAPSHOT,
                            cutover->try_number, &body, sizeof(body), NULL, 0);
}

void baton_way_back_describe(const baton_cutover *cutover, json_t *report)
{
    const baton_way_back *way = &cutover->way;
    json_object_set_new(report, "path", json_string(way->by_snapshot ? "snapshot" : "cutover"));
    json_object_set_new(report, "path_why", baton_describe_text(way->why));
    if (way->taken)
        json_object_set_new(report, "snapshot",
                            json_pack("{s:o, s:s, s:o, s:f}", "seq",
                                      baton_describe_number(way->snapshot.seq), "form",
                                      way->snapshot.form, "bytes",
                                      baton_describe_number(way->snapshot.raw_bytes), "taken_ms",
                                      (double)way->snapshot_ns / 1e6));
}

/* The standby is chosen. */
void baton_cutover_try(baton_cutover *cutover, uint64_t max_gap_ns)
{
    cutover->peer_cut = cutover->word = false;
    cutover->try_number++;
    cutover->gap_ns = 0;
    cutover->connections_passed = cutover->connections_left = 0;
    cutover->level_ns = 0;
    cutover->way.taken = false;
    cutover->way.snapshot_ns = 0;
    baton_log(INFO, "handover.begin", BATON_LOG_TEXT("to", cutover->peer.directory),
              BATON_LOG_TEXT("path", cutover->way.by_snapshot ? "snapshot" : "cutover"),
              BATON_LOG_TEXT("path_why", cutover->way.why),
              BATON_LOG_NUMBER("max_gap_ms", max_gap_ns / 1000000));
    (void)baton_old_begin(&cutover->old, max_gap_ns, PREPARE_NS);
}

/* R13: the two differ, and the standby is the older version. */
void baton_way_back_again(baton_cutover *cutover)
{
    if (!cutover->way.again || cutover->old.state != BATON_OLD_SERVING)
        return;
    cutover->way.again = false;
    cutover->way.by_snapshot = true;
    baton_cutover_try(cutover, cutover->way.snapshot_gap_ns);
}
