baton_fuzz_target(journal_units_fuzz SOURCES fuzz/journal_units_fuzz.c MODULES journal base
    CORPUS tests/fuzz/corpus/journal_units RUNS 20000)
baton_fuzz_target(journal_recover_fuzz SOURCES fuzz/journal_recover_fuzz.c support/journal_builder.c
    MODULES journal base CORPUS tests/fuzz/corpus/journal_recover RUNS 300)
