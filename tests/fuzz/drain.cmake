baton_fuzz_target(peer_wire_fuzz SOURCES fuzz/peer_wire_fuzz.c MODULES drain engine journal base
    CORPUS tests/fuzz/corpus/peer_wire RUNS 20000)
