/* tests/sim/wrap.h: whose calls the simulated machine answers that do not go through the seam. */
#pragma once

#include "base/io_sim.h"

/* Calls without a backend of their own are made by this process of the simulation. */
void wrap_become(baton_sim *sim, baton_sim_process *process);
void wrap_seed(uint64_t seed);
