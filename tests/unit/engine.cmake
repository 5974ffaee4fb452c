# The engine. The fixture opens real directories: every test needs a file system with direct I/O.
baton_test(engine_effect_queue_test SOURCES unit/engine_effect_queue_test.c MODULES engine)
baton_test(engine_rto_model_test SOURCES unit/engine_rto_model_test.c support/toy_service.c MODULES engine)
foreach(name release hydrate milestone trust crash outbox schema snapshot form form_kill form_retry late image image_crash retention loop rto)
    baton_test(engine_${name}_test
        SOURCES unit/engine_${name}_test.c unit/engine_fixture.c support/toy_service.c
        MODULES engine journal snapshot base)
endforeach()
foreach(name standby standby_snapshots promotion way_back diverged)
    baton_test(engine_${name}_test
        SOURCES unit/engine_${name}_test.c unit/engine_pair.c unit/engine_fixture.c support/toy_service.c
        MODULES engine journal snapshot base)
endforeach()
