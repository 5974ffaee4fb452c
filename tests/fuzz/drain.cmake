baton_fuzz_target(peer_wire_fuzz SOURCES fuzz/peer_wire_fuzz.c MODULES drain engine journal base
    CORPUS tests/fuzz/corpus/peer_wire RUNS 20000)
baton_fuzz_target(control_request_fuzz SOURCES fuzz/control_request_fuzz.c MODULES drain engine base
    CORPUS tests/fuzz/corpus/control_request LIBRARIES PkgConfig::JANSSON RUNS 20000)
baton_fuzz_target(batond_body_fuzz SOURCES fuzz/batond_body_fuzz.c ../drain/batond/body.c MODULES base
    CORPUS tests/fuzz/corpus/batond_body LIBRARIES PkgConfig::JANSSON RUNS 20000)
