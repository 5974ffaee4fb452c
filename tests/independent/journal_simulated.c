/* tests/independent/journal_simulated.c: journals that were left by crashes on a simulated machine,
 * written to real directories: journal_read_test.py lets both readers judge them.
 *
 *     journal_simulated DIRECTORY SEED
 *
 * One machine, several lives of a writer; on every third one it retires so fast that its segments are
 * recycled. After each death, by a kill or a power cut in the middle of an operation, what the disk
 * holds then is written to DIRECTORY/LIFE; now and then a bit of it has rotted, which can end the
 * lives. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <baton/journal.h>
#include <baton/log.h>

#include "base/assert.h"
#include "base/io_sim.h"
#include "journal/records.h"
#include "tests/sim/sim_run.h"

#define LIVES 4u

typedef struct {
    baton_sim *sim;
    sim_random random;
    bool churn;          /* large entries, retired at once: segments are recycled */
    char directory[512]; /* where to */
} machine;

static void export_file(machine *m, const char *name)
{
    char from[128], to[1024];
    uint8_t *bytes = malloc(4u << 20);
    baton_assert(bytes != NULL);

    (void)snprintf(from, sizeof(from), RUN_DIRECTORY "/%s", name);
    (void)snprintf(to, sizeof(to), "%s/%s", m->directory, name);
    int64_t count = baton_sim_look(m->sim, from, bytes, 4u << 20, 0);
    FILE *file = fopen(to, "wb");
    baton_assert(count >= 0 && file != NULL);
    baton_assert(fwrite(bytes, 1, (size_t)count, file) == (size_t)count && fclose(file) == 0);
    free(bytes);
}

static int visit(void *context, const char *name)
{
    if (strlen(name) > 4 && strcmp(name + strlen(name) - 4, ".seg") == 0)
        export_file(context, name);
    return 0;
}

static void export(machine *m, const char *root, uint32_t life)
{
    (void)snprintf(m->directory, sizeof(m->directory), "%s/%u", root, life);
    baton_assert(mkdir(m->directory, 0750) == 0);
    (void)baton_sim_list(m->sim, RUN_DIRECTORY, visit, m);
}

/* One turn of a service. False: the journal is broken, or its process dead. */
static bool act(machine *m, baton_journal *journal)
{
    static const uint8_t payload[BATON_ENTRY_BYTES_MAX] = {1, 2, 3};
    const baton_confirm_wire confirm = {.epoch = baton_le64_put(1), .seq = baton_le64_put(1)};
    uint64_t what = sim_random_below(&m->random, 20);
    uint64_t bytes_max = what < 3 ? BATON_ENTRY_BYTES_MAX / 4 : 1500;
    int r = 0;
    uint32_t removed;

    if (m->churn)
        bytes_max = BATON_ENTRY_BYTES_MAX;
    if (m->churn && what < 5)
        r = baton_journal_retire(journal, baton_journal_durable_seq(journal), &removed);
    if (r < 0)
        return false;

    if (what == 0)
        baton_sim_advance(m->sim, 5000000); /* quiet: a mark follows */
    else if (what == 1)
        r = baton_journal_append_record(journal, BATON_RECORD_CONFIRM, &confirm, sizeof(confirm));
    else
        r = baton_journal_append(journal, (uint16_t)what, payload,
                                 (uint32_t)sim_random_below(&m->random, bytes_max), NULL);
    baton_sim_advance(m->sim, sim_random_below(&m->random, 100000));
    return baton_journal_poll(journal) == 0 &&
           (r == 0 || r == BATON_E_FULL || r == BATON_E_NO_SPACE);
}

/* False: nothing can be written here any more. */
static bool live(machine *m, baton_journal_options *options)
{
    baton_sim_process *process = baton_sim_start(m->sim);
    baton_recovery_report report;
    baton_journal *journal;

    options->io_context = process;
    wrap_become(m->sim, process);
    int r = baton_journal_open(RUN_DIRECTORY, options, &journal, &report, NULL);
    if (r == 0) {
        baton_sim_crash_at(m->sim,
                           baton_sim_counts_of(m->sim)->operations + 1 +
                               sim_random_below(&m->random, m->churn ? 900 : 250),
                           sim_random_below(&m->random, 2) == 0 ? BATON_SIM_KILL
                                                                : BATON_SIM_POWER_CUT);
        bool begun = baton_journal_begin(journal, &report, NULL) == 0;
        while (begun && !baton_sim_is_dead(process))
            begun = act(m, journal);
        baton_journal_abandon(journal);
    }
    if (!baton_sim_is_dead(process))
        baton_sim_kill(process);
    baton_sim_crash_at(m->sim, 0, BATON_SIM_KILL);
    if (sim_random_below(&m->random, 4) == 0)
        (void)baton_sim_rot(m->sim, ".seg");
    return r == 0;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: journal_simulated DIRECTORY SEED\n");
        return 1;
    }
    uint64_t seed = strtoull(argv[2], NULL, 10);
    machine m = {.sim = baton_sim_new(seed), .random = {.state = ~seed}, .churn = seed % 3 == 0};
    baton_journal_options options = {
        .service = "simulated",
        .segment_bytes = UINT64_C(1) << 20,
        .first_segment_bytes = (m.churn ? UINT64_C(1024) : UINT64_C(256)) << 10,
        .batch_bytes_max = 128 << 10,
        .no_ballast = true,
        .clock = baton_sim_clock(m.sim),
        .io_backend = baton_sim_backend(),
    };
    wrap_seed(seed);
    baton_log_set_sink(NULL, NULL, BATON_LOG_INFO);
    for (uint32_t life = 0; life < LIVES; life++) {
        bool goes_on = live(&m, &options);
        export(&m, argv[1], life);
        if (!goes_on)
            break;
    }
    baton_sim_free(m.sim);
    return 0;
}
