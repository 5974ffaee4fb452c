/* tests/sim/check.c: what is read back is compared with the model, item by item; and the disk is
 * searched for evidence without the journal's help. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/sim_run.h"

/* ---- reading ---- */

/* The item must be the next one of the model; the first one says where reading began. False: it was
 * cut once, and came back: a disk that lost what had cut it, and every proof of that, can do so. */
static bool take_entry(sim_run *run, run_read *read, const baton_entry *entry)
{
    const uint64_t at = read->first == UINT64_MAX ? model_find(&run->model, entry) : read->end;
    if (at != UINT64_MAX && model_matches(&run->model, at, entry)) {
        if (read->first == UINT64_MAX)
            read->first = at;
        read->end = at + 1;
        return true;
    }
    if (run_media_hit(run) && model_was_cut(&run->model, entry))
        return false;
    run_fail(run,
             "read what was never appended there: %s %" PRIu64 " of epoch %" PRIu64
             " (type %u, %u bytes) as item %" PRIu64,
             entry->is_record ? "a record after entry" : "entry", entry->seq, entry->epoch,
             entry->type, entry->payload_bytes, at);
}

run_read run_read_all(sim_run *run, uint64_t from_seq)
{
    run_read read = {.first = UINT64_MAX};
    baton_sim_process *process = baton_sim_start(run->sim);
    const baton_reader_options options = {.from_seq = from_seq,
                                          .with_records = true,
                                          .io_backend = baton_sim_backend(),
                                          .io_context = process};
    baton_reader *reader;
    baton_entry entry;

    wrap_become(run->sim, process);
    read.status = baton_reader_open(RUN_DIRECTORY, &options, &reader, &read.error);
    if (read.status < 0)
        return read;
    while (!read.resurrected && (read.status = baton_reader_next(reader, &entry, &read.error)) == 1)
        read.resurrected = !take_entry(run, &read, &entry);
    baton_reader_close(reader);
    return read;
}

/* ---- a live reader ---- */

static void reader_open(sim_run *run)
{
    run->reader_process = baton_sim_start(run->sim);
    const baton_reader_options options = {
        .from_seq = run_draw(run, 3) == 0 ? run_draw(run, run->model.acked_seq + 1) : 0,
        .with_records = true,
        .live = true,
        .io_backend = baton_sim_backend(),
        .io_context = run->reader_process};
    baton_error error;
    wrap_become(run->sim, run->reader_process);
    run->reader_any = false;
    int r = baton_reader_open(RUN_DIRECTORY, &options, &run->reader, &error);
    if (r == 0)
        return;
    run->reader = NULL;
    if (r == -EIO || r == BATON_E_GONE || (r == BATON_E_DAMAGED && run_bytes_may_go(run)))
        return;
    run_fail(run, "a live reader was not let in: %s: %s", baton_status_name(r), error.why);
}

/* Beside a living writer nothing is handed out that is not acknowledged. False: it has a batch in
 * hand that was lost since, on a disk that may lose. */
static bool reader_take(sim_run *run, const baton_entry *entry)
{
    const uint64_t at = run->reader_any ? run->reader_next : model_find(&run->model, entry);
    if (at == UINT64_MAX || !model_matches(&run->model, at, entry)) {
        if (run_bytes_may_go(run) && model_was_cut(&run->model, entry))
            return false;
        run_fail(run,
                 "a live reader got what was never appended there: seq %" PRIu64
                 " of epoch %" PRIu64,
                 entry->seq, entry->epoch);
    }
    if (run->begun && !run->broken && !entry->is_record && entry->seq > run->model.acked_seq)
        run_fail(run, "a live reader got entry %" PRIu64 ", acknowledged is %" PRIu64, entry->seq,
                 run->model.acked_seq);
    run->reader_next = at + 1;
    run->reader_any = true;
    return true;
}

void run_reader_close(sim_run *run)
{
    if (run->reader == NULL)
        return;
    baton_reader_close(run->reader);
    run->reader = NULL;
}

void run_read_live(sim_run *run)
{
    baton_entry entry;
    baton_error error;
    if (run->reader == NULL) {
        reader_open(run);
        return;
    }
    wrap_become(run->sim, run->reader_process);
    int r = 1;
    bool stale = false;
    for (uint64_t left = 1 + run_draw(run, 200); left > 0 && r == 1 && !stale; left--) {
        r = baton_reader_next(run->reader, &entry, &error);
        if (r == 1)
            stale = !reader_take(run, &entry);
    }
    if (r >= 0 && !stale && !run_one_in(run, 20))
        return;
    const bool excused = r >= 0 || r == -EIO || r == BATON_E_GONE ||
                         ((r == BATON_E_DAMAGED || r == BATON_E_DIVERGED) && run_bytes_may_go(run));
    if (!excused)
        run_fail(run, "a live reader failed: %s: %s", baton_status_name(r), error.why);
    if (r == BATON_E_GONE && run->model.keep_from == 0)
        run_fail(run, "a live reader was told that entries were retired; none was");
    run_reader_close(run);
}

/* ---- evidence ---- */

#define SEARCH_BYTES (UINT64_C(1) << 20) /* the largest segment of a run */

typedef struct {
    sim_run *run;
    baton_position last;
    uint64_t epoch;      /* the highest that a whole header begins: it voids older claims (J10) */
    uint64_t last_index; /* of the segment that holds the journal's last batch */
    uint64_t next_index; /* of one whose header goes on from it: the end stands in there */
    bool first_pass;     /* finds these three */
    baton_position highest;
    uint8_t *bytes;
} evidence_search;

static void note_batch(evidence_search *search, uint64_t index, const baton_batch_header *batch)
{
    const uint64_t epoch = baton_le64_get(batch->epoch);
    const baton_position durable = {.epoch = baton_le64_get(batch->durable_epoch),
                                    .batch = baton_le64_get(batch->durable_batch),
                                    .seq = baton_le64_get(batch->durable_seq)};
    if (search->first_pass) {
        if (epoch == search->last.epoch && baton_le64_get(batch->batch) == search->last.batch)
            search->last_index = index;
    } else if (index >= search->last_index && epoch >= search->epoch &&
               baton_position_compare(durable, search->highest) > 0) {
        search->highest = durable;
    }
}

static void note_header(evidence_search *search, uint64_t epoch, uint64_t index,
                        const baton_segment_header *header)
{
    const baton_position continues = baton_position_get(&header->continues);
    if (epoch > search->epoch)
        search->epoch = epoch;
    if (epoch == continues.epoch && index > search->next_index &&
        baton_position_compare(continues, search->last) == 0)
        search->next_index = index;
}

static int search_segment(void *context, const char *name)
{
    evidence_search *search = context;
    uint64_t epoch, index;
    char path[64];
    if (!baton_segment_name_parse(name, &epoch, &index))
        return 0;
    (void)snprintf(path, sizeof(path), RUN_DIRECTORY "/%s", name);
    const int64_t got = baton_sim_look(search->run->sim, path, search->bytes, SEARCH_BYTES, 0);
    if (got >= (int64_t)BATON_IO_UNIT &&
        baton_segment_header_check((const void *)search->bytes) == BATON_UNIT_VALID)
        note_header(search, epoch, index, (const void *)search->bytes);
    for (int64_t at = BATON_IO_UNIT; at + (int64_t)BATON_IO_UNIT <= got; at += BATON_IO_UNIT) {
        const baton_batch_header *batch = (const void *)(search->bytes + at);
        baton_digest digest;
        if (baton_batch_check(batch, (uint64_t)(got - at), &digest) == BATON_UNIT_VALID &&
            baton_le64_get(batch->epoch) == epoch)
            note_batch(search, index, batch);
    }
    return 0;
}

baton_position run_evidence_on_disk(sim_run *run, baton_position last)
{
    evidence_search search = {
        .run = run, .last = last, .first_pass = true, .bytes = malloc(SEARCH_BYTES)};
    baton_assert(search.bytes != NULL);
    (void)baton_sim_list(run->sim, RUN_DIRECTORY, search_segment, &search);
    search.first_pass = false;
    if (search.next_index > search.last_index)
        search.last_index = search.next_index;
    (void)baton_sim_list(run->sim, RUN_DIRECTORY, search_segment, &search);
    free(search.bytes);
    return search.highest;
}

/* ---- recycled segments ---- */

typedef struct {
    sim_run *run;
    bool found;
} recycled_search;

static int look_for_recycled(void *context, const char *name)
{
    recycled_search *search = context;
    uint64_t epoch, index;
    char path[64];
    static const uint8_t zero[BATON_IO_UNIT];
    uint8_t units[2 * BATON_IO_UNIT] __attribute__((aligned(8)));
    const baton_segment_header *header = (const void *)units;
    if (!baton_segment_name_parse(name, &epoch, &index))
        return 0;
    (void)snprintf(path, sizeof(path), RUN_DIRECTORY "/%s", name);
    if (baton_sim_look(search->run->sim, path, units, sizeof(units), 0) != (int64_t)sizeof(units))
        return 0;
    const bool ready = memcmp(units, zero, BATON_IO_UNIT) == 0;
    const bool used = baton_segment_header_check(header) == BATON_UNIT_VALID &&
                      (baton_le32_get(header->flags) & BATON_SEGMENT_RECYCLED) != 0;
    search->found |= used || (ready && memcmp(units + BATON_IO_UNIT, zero, BATON_IO_UNIT) != 0);
    return 0;
}

bool run_recycled_on_disk(sim_run *run)
{
    recycled_search search = {.run = run};
    (void)baton_sim_list(run->sim, RUN_DIRECTORY, look_for_recycled, &search);
    return search.found;
}
