baton_test(drain_options_test SOURCES unit/drain_options_test.c MODULES drain)
baton_test(drain_plan_test SOURCES unit/drain_plan_test.c MODULES drain)
baton_test(drain_handover_test SOURCES unit/drain_handover_test.c MODULES drain)
