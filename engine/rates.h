/* engine/rates.h: what applying one entry of each type costs, by samples: one entry in
 * BATON_RATES_EVERY of its type is timed, the others are only counted. Replay and live are kept
 * apart: a live apply runs beside the journal, and takes longer. */
#pragma once

#include <baton/clock.h>
#include <baton/service.h>

#define BATON_RATES_EVERY    64u /* a power of two */
#define BATON_RATES_REPLAYED 8u  /* samples of a replay after which its mean is believed */
#define BATON_RATES_MEMORY   4096u
#define BATON_RATES_DEFAULT  1000.0 /* ns, of a type that was never seen */
/* A replay applies with warm caches and nothing beside it: what it takes of a live apply, until both
 * were measured (0.4 to 0.65 with the matching engine). */
#define BATON_RATES_RATIO 0.6

/* The mean of all samples; of more than BATON_RATES_MEMORY, the latest count most. */
typedef struct {
    double ns;
    uint32_t count; /* up to BATON_RATES_MEMORY */
} baton_rate;

typedef struct {
    uint16_t type;
    uint64_t applied; /* entries, of this process, replayed ones too */
    baton_rate replay;
    baton_rate live;
    double live_first_ns; /* the mean of the first BATON_RATES_MEMORY live ones: fewer are coloured
                             by how busy the first moments are. 0: not yet */
} baton_type_rate;

typedef struct {
    const baton_clock *clock;
    uint64_t clock_ns; /* that two readings of the clock are apart by themselves */
    bool live;         /* which of the two a sample is of */
    uint32_t types_count;
    baton_type_rate *types; /* in the order of the service's table */
} baton_rates;

/* clock NULL: the system's. 0 or -ENOMEM; needs fini in every case. */
BATON_MUST_USE int baton_rates_init(baton_rates *rates, const baton_service *service,
                                    const baton_clock *clock);
void baton_rates_fini(baton_rates *rates);

/* Before an entry: its type, to be given to end after it, or NULL when it is not timed. */
baton_type_rate *baton_rates_begin(baton_rates *rates, uint16_t type, uint64_t *ret_begin_ns);
void baton_rates_end(baton_rates *rates, baton_type_rate *timed, uint64_t begin_ns);

/* A replay begins anew: what the one before applied does not count; its samples do. */
void baton_rates_begin_anew(baton_rates *rates);

/* What a replay would take for one entry of it. */
double baton_rates_replay_ns(const baton_type_rate *type);
/* What the replays so far took for applying, by samples. */
double baton_rates_replayed_ns(const baton_rates *rates);
