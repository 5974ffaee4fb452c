/* engine/rto.c: the prediction (S7). The formula: rto.h. */
#include "engine/rto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S 1e9

static uint64_t *counts_make(const baton_rto *rto)
{
    return calloc(rto->rates.types_count, sizeof(uint64_t));
}

int baton_rto_init(baton_rto *rto, const baton_service *service, const baton_clock *clock,
                   uint64_t target_ns)
{
    *rto = (baton_rto){
        .target_ns = target_ns,
        .loads = {{.ns_per_byte = BATON_RTO_NS_PER_BYTE}, {.ns_per_byte = BATON_RTO_NS_PER_BYTE}},
        .check_ns_per_byte = BATON_RTO_NS_PER_BYTE,
        .read_ns_per_byte = BATON_RTO_NS_PER_BYTE,
    };
    int r = baton_rates_init(&rto->rates, service, clock);
    if (r < 0)
        return r;
    rto->newest.applied = counts_make(rto);
    rto->taking.applied = counts_make(rto);
    return rto->newest.applied != NULL && rto->taking.applied != NULL ? 0 : -ENOMEM;
}

void baton_rto_fini(baton_rto *rto)
{
    free(rto->newest.applied);
    free(rto->taking.applied);
    baton_rates_fini(&rto->rates);
    *rto = (baton_rto){0};
}

static double or_zero(double value)
{
    return value > 0 ? value : 0;
}

static uint64_t tail_entries(const baton_rto *rto)
{
    return rto->seq > rto->newest.seq ? rto->seq - rto->newest.seq : 0;
}

static double journal_bytes(const baton_rto *rto)
{
    return (double)rto->replay_bytes + (double)rto->live_bytes;
}

/* ---- what is known of rates ---- */

void baton_rto_started(baton_rto *rto, const baton_rto_start *start)
{
    rto->seq = start->snapshot_seq + start->replay_entries;
    rto->replay_bytes = start->replay_bytes;
    rto->newest.seq = start->snapshot_seq;
    rto->newest.raw_bytes = start->load_bytes;
    rto->newest.image = start->load_image;
    rto->rates.live = true;

    if (start->replay_bytes >= BATON_RTO_MEASURE_BYTES) {
        const double read_ns = (double)start->replay_ns - baton_rates_replayed_ns(&rto->rates);
        rto->read_ns_per_byte = or_zero(read_ns) / (double)start->replay_bytes;
        rto->check_ns_per_byte = rto->read_ns_per_byte;
        rto->read_measured = true;
    }
    if (start->load_bytes >= BATON_RTO_MEASURE_BYTES) {
        rto->loads[start->load_image] = (baton_rto_load){
            .ns_per_byte = (double)start->load_ns / (double)start->load_bytes, .measured = true};
    }
    /* How far back recovery looked is known in entries only: they count as large as the tail's. */
    const double entry_bytes = start->replay_entries > 0
                                   ? (double)start->replay_bytes / (double)start->replay_entries
                                   : BATON_RTO_ENTRY_BYTES;
    rto->before.seq = start->before_seq;
    if (start->before_seq < start->snapshot_seq)
        rto->before.journal_bytes =
            -(double)(start->snapshot_seq - start->before_seq) * entry_bytes;
    const double recover_bytes = (double)start->replay_bytes - rto->before.journal_bytes;
    const double check_ns = or_zero((double)start->recover_ns - (double)BATON_RTO_LOCK_NS);
    if (rto->read_measured && check_ns / recover_bytes < rto->check_ns_per_byte)
        rto->check_ns_per_byte = check_ns / recover_bytes; /* it looks at less than a reader does */

    baton_rto_prediction now;
    baton_rto_predict(rto, &now);
    rto->fixed_ns = or_zero((double)start->total_ns - (double)start->load_ns -
                            (double)start->replay_ns - now.recover_ns);
}

void baton_rto_ready(baton_rto *rto, uint64_t since_begin_ns, uint64_t engine_total_ns)
{
    rto->fixed_ns += or_zero((double)since_begin_ns - (double)engine_total_ns);
}

void baton_rto_progress(baton_rto *rto, uint64_t seq, uint64_t live_bytes)
{
    rto->seq = seq;
    rto->live_bytes = live_bytes;
}

/* ---- snapshots ---- */

void baton_rto_kept(baton_rto *rto, const baton_rto_base *at, uint64_t took_ns)
{
    rto->before.seq = rto->newest.seq;
    rto->before.journal_bytes = rto->newest.journal_bytes;
    uint64_t *applied = rto->newest.applied;
    memcpy(applied, at->applied, rto->rates.types_count * sizeof(*applied));
    rto->newest = *at;
    rto->newest.applied = applied;
    rto->take_ns = took_ns;
}

/* The entries behind it are taken for a share of all that this process applied, each type alike. */
void baton_rto_adopted(baton_rto *rto, uint64_t seq, uint64_t raw_bytes, bool image)
{
    uint64_t applied = 0;
    if (seq <= rto->newest.seq || seq > rto->seq)
        return;
    for (uint32_t i = 0; i < rto->rates.types_count; i++)
        applied += rto->rates.types[i].applied;
    const double behind = (double)(rto->seq - seq);
    const double share = behind < (double)applied ? 1 - behind / (double)applied : 0;
    rto->before.seq = rto->newest.seq;
    rto->before.journal_bytes = rto->newest.journal_bytes;
    rto->newest.seq = seq;
    rto->newest.raw_bytes = raw_bytes;
    rto->newest.image = image;
    rto->newest.journal_bytes = journal_bytes(rto) * share;
    for (uint32_t i = 0; i < rto->rates.types_count; i++)
        rto->newest.applied[i] = (uint64_t)((double)rto->rates.types[i].applied * share);
    rto->look_ns = 0;
}

void baton_rto_snapshot_begun(baton_rto *rto)
{
    rto->taking.seq = rto->seq;
    rto->taking.journal_bytes = journal_bytes(rto);
    for (uint32_t i = 0; i < rto->rates.types_count; i++)
        rto->taking.applied[i] = rto->rates.types[i].applied;
}

void baton_rto_snapshot_taken(baton_rto *rto, const baton_rto_taken *taken)
{
    rto->before.seq = rto->newest.seq;
    rto->before.journal_bytes = rto->newest.journal_bytes;
    uint64_t *old = rto->newest.applied;
    rto->newest = rto->taking;
    rto->newest.raw_bytes = taken->raw_bytes;
    rto->newest.image = taken->image;
    rto->taking = (baton_rto_base){.applied = old};
    rto->take_ns = taken->took_ns;
    rto->told_unreachable = false;
    rto->look_ns = 0; /* the prediction jumps down: no rate of growth */
    if (!rto->loads[taken->image].measured && !taken->adds &&
        taken->raw_bytes >= BATON_RTO_MEASURE_BYTES)
        rto->loads[taken->image].ns_per_byte =
            (double)(taken->packed_ns + taken->device_ns) / (double)taken->raw_bytes;
}

void baton_rto_snapshot_failed(baton_rto *rto, uint64_t now_ns)
{
    rto->not_before_ns = now_ns + BATON_RTO_RETRY_NS;
}

/* ---- the prediction ---- */

static double apply_ns(const baton_rto *rto)
{
    double sum = 0;
    for (uint32_t i = 0; i < rto->rates.types_count; i++) {
        const baton_type_rate *type = &rto->rates.types[i];
        const uint64_t entries = type->applied - rto->newest.applied[i];
        if (entries > 0)
            sum += (double)entries * baton_rates_replay_ns(type);
    }
    return sum;
}

void baton_rto_predict(const baton_rto *rto, baton_rto_prediction *ret_prediction)
{
    const double tail_bytes = or_zero(journal_bytes(rto) - rto->newest.journal_bytes);
    const double recover_bytes = or_zero(journal_bytes(rto) - rto->before.journal_bytes);
    baton_rto_prediction p = {
        .fixed_ns = rto->fixed_ns,
        .load_ns = (double)rto->newest.raw_bytes * rto->loads[rto->newest.image].ns_per_byte,
        .recover_ns = recover_bytes * rto->check_ns_per_byte,
        .read_ns = tail_bytes * rto->read_ns_per_byte,
        .apply_ns = apply_ns(rto),
        .ns_per_s = rto->ns_per_s,
        .target_ns = rto->target_ns,
        .snapshot_seq = rto->newest.seq,
        .tail_entries = tail_entries(rto),
        .tail_bytes = (uint64_t)tail_bytes,
        .load_measured = rto->loads[rto->newest.image].measured,
        .read_measured = rto->read_measured,
    };
    p.total_ns = p.fixed_ns + p.load_ns + p.recover_ns + p.read_ns + p.apply_ns;
    *ret_prediction = p;
}

/* ---- when ---- */

static void look(baton_rto *rto, uint64_t now_ns, double total_ns)
{
    if (rto->look_ns != 0 && now_ns - rto->look_ns < BATON_RTO_GROWTH_NS)
        return;
    if (rto->look_ns != 0) {
        const double passed_s = (double)(now_ns - rto->look_ns) / NS_PER_S;
        const double ns_per_s = or_zero(total_ns - rto->look_total_ns) / passed_s;
        /* Up at once, down by halves: a burst that comes again finds it prepared. */
        rto->ns_per_s = ns_per_s > rto->ns_per_s ? ns_per_s : (ns_per_s + rto->ns_per_s) / 2;
        if (rto->ns_per_s < 1)
            rto->ns_per_s = 0;
    }
    rto->look_ns = now_ns;
    rto->look_total_ns = total_ns;
}

bool baton_rto_is_due(baton_rto *rto, uint64_t now_ns, baton_rto_prediction *ret_prediction)
{
    baton_rto_prediction p;
    baton_rto_predict(rto, &p);
    look(rto, now_ns, p.total_ns);
    p.ns_per_s = rto->ns_per_s;
    *ret_prediction = p;
    if (rto->target_ns == 0 || now_ns < rto->not_before_ns || p.tail_entries == 0)
        return false;
    const double take_ns = (double)rto->take_ns;
    const double then_ns = p.total_ns + rto->ns_per_s * take_ns / NS_PER_S;
    return then_ns >= (double)rto->target_ns && p.read_ns + p.apply_ns >= take_ns;
}

bool baton_rto_tells_unreachable(baton_rto *rto, const baton_rto_prediction *prediction)
{
    if (rto->target_ns == 0 || rto->told_unreachable ||
        prediction->fixed_ns + prediction->load_ns < (double)rto->target_ns)
        return false;
    rto->told_unreachable = true;
    return true;
}
