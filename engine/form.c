/* engine/form.c: which form the next snapshot has, and why. Images hold the service up least and
 * load fastest, but only builds with the same layout read them; a portable one is for the others.
 * In the form auto that is decided anew for each snapshot:
 *
 * | when                                                     | form                                |
 * |----------------------------------------------------------|-------------------------------------|
 * | the service has no arena; the schema is pinned (E4)      | portable                            |
 * | at a drain                                               | portable, where twice the measured  |
 * |                                                          | time for it is left; else image     |
 * | a start from the last portable one, plus the journal     | portable: it is due. One image goes |
 * | after it, would take BATON_PORTABLE_RTO_MULTIPLE times   | before it when the RTO target would |
 * | the RTO target; or, with retire, half of                 | be passed while it is taken         |
 * | journal_bytes_max was written after it                   |                                     |
 * | else: scheduled, or asked for                            | image                               |
 *
 * Half, because the journal after the last but one is kept, too (generations.c). */
#include <baton/clock.h>

#include "engine/engine_private.h"

#define NS_PER_BYTE_ASSUMED 10.0   /* of packing, until one was measured */
#define ENTRY_NS_ASSUMED    1000.0 /* to apply one, until one was seen */
#define DRAIN_MARGIN        2 /* a drain's portable one fits when so many times its time is left */

static double positive(double value)
{
    return value > 0 ? value : 0;
}

static double journal_at(const baton_engine *engine)
{
    return (double)engine->rto.replay_bytes + (double)engine->rto.live_bytes;
}

static double state_bytes(const baton_engine *engine)
{
    const baton_machine *machine = &engine->machine;
    const double bytes = (double)machine->outbox.bytes;
    return machine->arena != NULL ? bytes + (double)baton_arena_used(machine->arena).bytes_count
                                  : bytes + (double)engine->form.portable_bytes;
}

/* ---- the newest portable one, and a start from it ---- */

void baton_form_open(baton_engine *engine, const baton_engine_options *options)
{
    engine_form *form = &engine->form;
    form->wanted = options->snapshot_form;
    form->journal_bytes_max =
        options->journal_bytes_max != 0 ? options->journal_bytes_max : BATON_JOURNAL_BYTES_MAX;
}

static const engine_generation *newest_portable(const engine_snapshot_task *task)
{
    for (uint32_t i = 0; i < task->generations_count; i++)
        if (task->generations[i].good && !task->generations[i].is_image)
            return &task->generations[i];
    return NULL;
}

/* Entries that this process did not see count as large as those that it saw. */
static double entry_bytes(const baton_engine *engine)
{
    const uint64_t seen = engine->rto.seq - engine->form.start_seq;
    return seen > 0 ? journal_at(engine) / (double)seen : BATON_RTO_ENTRY_BYTES;
}

void baton_form_started(baton_engine *engine, const baton_hydrate_report *report)
{
    engine_form *form = &engine->form;
    const engine_generation *portable = newest_portable(&engine->snapshot);
    form->start_seq = report->snapshot_seq;
    uint64_t from_seq = report->recovery.first_seq > 0 ? report->recovery.first_seq - 1 : 0;
    if (portable != NULL) {
        form->portable_seq = from_seq = portable->seq;
        form->portable_bytes = portable->raw_bytes;
    }
    form->portable_at = ((double)from_seq - (double)form->start_seq) * entry_bytes(engine);
    engine->snapshot.status.portable_seq = form->portable_seq;
}

static double entry_ns(const baton_engine *engine)
{
    const baton_rates *rates = &engine->rto.rates;
    double sum = 0;
    uint64_t count = 0;
    for (uint32_t i = 0; i < rates->types_count; i++) {
        if (rates->types[i].applied > 0)
            sum += (double)rates->types[i].applied * baton_rates_replay_ns(&rates->types[i]);
        count += rates->types[i].applied;
    }
    return count > 0 ? sum / (double)count : ENTRY_NS_ASSUMED;
}

static double load_ns(const baton_engine *engine)
{
    return (double)engine->form.portable_bytes * engine->rto.loads[false].ns_per_byte;
}

uint64_t baton_form_estimate_ns(const baton_engine *engine)
{
    const double rate =
        engine->form.take_ns_per_byte > 0 ? engine->form.take_ns_per_byte : NS_PER_BYTE_ASSUMED;
    return (uint64_t)(state_bytes(engine) * rate);
}

/* ---- is one due ---- */

static const char *due_why(const baton_engine *engine, const baton_rto_prediction *prediction,
                           double tail_ns)
{
    const engine_form *form = &engine->form;
    const double limit_ns = (double)engine->rto.target_ns * BATON_PORTABLE_RTO_MULTIPLE;
    /* Nothing after it, or after the snapshot that there is: it would hold the same. */
    if (engine->machine.seq <= form->portable_seq || prediction->tail_entries == 0)
        return NULL;
    /* Not only for its own load: a portable one does not make that shorter. */
    if (limit_ns > 0 && form->start_ns > limit_ns && tail_ns > limit_ns / 2)
        return "a build with another layout would take too long to start";
    if (engine->retire &&
        journal_at(engine) - form->portable_at >= (double)form->journal_bytes_max / 2)
        return "the journal can't be let go without one";
    return NULL;
}

void baton_form_look(baton_engine *engine, uint64_t now_ns, const baton_rto_prediction *prediction)
{
    engine_form *form = &engine->form;
    if (engine->image.source == NULL)
        return;
    const double entries = (double)(engine->machine.seq - form->portable_seq);
    const double tail_ns =
        positive(journal_at(engine) - form->portable_at) * engine->rto.read_ns_per_byte +
        entries * entry_ns(engine);
    form->start_ns = engine->rto.fixed_ns + load_ns(engine) + tail_ns;
    engine->snapshot.status.portable_start_ns = form->start_ns;
    baton_metric_set(engine->metric.portable_seconds, form->start_ns / 1e9);
    form->due_why = form->wanted == BATON_FORM_AUTO && now_ns >= form->not_before_ns
                        ? due_why(engine, prediction, tail_ns)
                        : NULL;
}

/* ---- the choice ---- */

static bool rto_needs_an_image_first(baton_engine *engine)
{
    baton_rto_prediction now;
    if (engine->rto.target_ns == 0 || engine->form.image_came_first)
        return false;
    baton_engine_rto_get(engine, &now);
    const double taking_s = (double)baton_form_estimate_ns(engine) / 1e9;
    return now.total_ns + now.ns_per_s * taking_s >= (double)engine->rto.target_ns;
}

static const char *choose_auto(baton_engine *engine, uint64_t within_ns, bool *ret_image)
{
    engine_form *form = &engine->form;
    if (engine->sealed) {
        *ret_image = baton_form_estimate_ns(engine) > within_ns / DRAIN_MARGIN;
        return *ret_image ? "a drain without the time for a portable one"
                          : "a drain: the next build may have another layout";
    }
    *ret_image = form->due_why == NULL || rto_needs_an_image_first(engine);
    if (form->due_why == NULL)
        return "for a start of this layout";
    form->image_came_first = *ret_image;
    return *ret_image ? "the RTO target would be passed while a portable one is packed"
                      : form->due_why;
}

void baton_form_choose(baton_engine *engine, uint64_t within_ns)
{
    engine_form *form = &engine->form;
    form->image = form->for_others = false;
    if (form->for_successor)
        form->why = "a handover to a version that decides otherwise";
    else if (form->wanted == BATON_FORM_PORTABLE)
        form->why = "asked for";
    else if (engine->image.source == NULL)
        form->why = engine->service->layout == NULL ? "the service has no arena"
                                                    : "more generations are kept than of images";
    else if (engine->schema != engine->service->schema.write)
        form->why = "the schema is pinned: the build before must be able to read it";
    else if (form->wanted == BATON_FORM_AUTO) {
        form->why = choose_auto(engine, within_ns, &form->image);
        form->for_others = !form->image;
    } else {
        form->why = "asked for";
        form->image = true;
    }
}

/* ---- what came of it ---- */

/* device_ns: of writing, where taken_ns does not have it. */
void baton_form_named(baton_engine *engine, double device_ns)
{
    engine_form *form = &engine->form;
    const baton_snapshot_info *info = &engine->snapshot.info;
    const double ns = (double)info->taken_ns + device_ns;
    if (form->image)
        return;
    form->portable_seq = info->seq;
    form->portable_bytes = info->raw_bytes;
    form->portable_at = engine->rto.taking.journal_bytes;
    form->image_came_first = false;
    form->due_why = NULL;
    engine->snapshot.status.portable_seq = info->seq;
    const double bytes = state_bytes(engine);
    if (bytes >= (double)BATON_RTO_MEASURE_BYTES)
        form->take_ns_per_byte = ns / bytes;
}

void baton_form_failed(baton_engine *engine)
{
    engine_form *form = &engine->form;
    if (form->image)
        return;
    form->due_why = NULL;
    form->image_came_first = false;
    form->not_before_ns = baton_clock_monotonic_ns(engine->clock) + BATON_RTO_RETRY_NS;
}
