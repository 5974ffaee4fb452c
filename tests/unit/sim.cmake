# The simulated machine itself, and what it found. The journal on it, seed after seed: tests/sim.
baton_test(io_sim_test SOURCES unit/io_sim_test.c MODULES base LIBRARIES baton_sim)
baton_test(journal_found_test SOURCES unit/journal_found_test.c MODULES journal base LIBRARIES baton_sim NOTSAN)
