baton_test(drain_options_test SOURCES unit/drain_options_test.c MODULES drain)
baton_test(drain_plan_test SOURCES unit/drain_plan_test.c MODULES drain)
baton_test(drain_handover_test SOURCES unit/drain_handover_test.c MODULES drain)
baton_test(drain_grant_look_test
    SOURCES unit/drain_grant_look_test.c unit/engine_pair.c unit/engine_fixture.c support/toy_service.c
    MODULES drain engine journal snapshot base)
