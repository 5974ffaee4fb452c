/* tests/sim/wrap.c: what the journal takes from elsewhere than the seam. The linker sends these calls
 * here (-Wl,--wrap): time asleep is time of the simulation, chance comes from the seed, and a tool
 * that opens I/O without being told how (verify, repair) gets the simulated machine too. */
#include <string.h>
#include <sys/types.h>
#include <time.h>

#include "base/assert.h"
#include "tests/sim/wrap.h"

int __real_baton_io_open(const baton_io_options *options, baton_io **ret_io, baton_error *error);
int __wrap_baton_io_open(const baton_io_options *options, baton_io **ret_io, baton_error *error);
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *ret_left);
ssize_t __wrap_getrandom(void *buffer, size_t bytes, unsigned flags);

static baton_sim *current_sim;
static baton_sim_process *current_process;
static sim_random chance;

void wrap_become(baton_sim *sim, baton_sim_process *process)
{
    current_sim = sim;
    current_process = process;
}

void wrap_seed(uint64_t seed)
{
    chance.state = ~seed;
}

int __wrap_baton_io_open(const baton_io_options *options, baton_io **ret_io, baton_error *error)
{
    baton_io_options simulated = *options;
    baton_assert(current_sim != NULL);
    if (simulated.custom == NULL) {
        simulated.custom = baton_sim_backend();
        simulated.custom_context = current_process;
    }
    if (simulated.clock == NULL)
        simulated.clock = baton_sim_clock(current_sim);
    return __real_baton_io_open(&simulated, ret_io, error);
}

int __wrap_nanosleep(const struct timespec *wanted, struct timespec *ret_left)
{
    (void)ret_left;
    baton_sim_advance(current_sim,
                      (uint64_t)wanted->tv_sec * 1000000000u + (uint64_t)wanted->tv_nsec);
    return 0;
}

ssize_t __wrap_getrandom(void *buffer, size_t bytes, unsigned flags)
{
    (void)flags;
    uint8_t *to = buffer;
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)sim_random_next(&chance);
    return (ssize_t)bytes;
}
