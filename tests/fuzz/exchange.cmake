baton_fuzz_target(exchange_client_fuzz SOURCES fuzz/exchange_client_fuzz.c MODULES engine snapshot journal base
    CORPUS tests/fuzz/corpus/exchange_client LIBRARIES exchange_engine_1.1.0 exchange_wire RUNS 20000)
