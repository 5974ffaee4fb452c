# The matching engine's state machine, in its newer version, without sockets.
baton_test(service_engine_test SOURCES unit/matching_engine_test.c unit/exchange_machine.c
    MODULES engine snapshot journal base LIBRARIES exchange_engine_1.1.0)
baton_test(service_engine_arena_test SOURCES unit/matching_engine_arena_test.c unit/exchange_machine.c
    MODULES engine snapshot journal base LIBRARIES exchange_engine_1.1.0)
baton_test(service_clients_test SOURCES unit/clients_test.c MODULES base LIBRARIES exchange_engine_1.1.0)
baton_test(service_connection_test SOURCES unit/connection_test.c MODULES base LIBRARIES exchange_wire)
baton_test(service_link_test SOURCES unit/link_test.c MODULES base LIBRARIES exchange_wire)
baton_test(service_orders_test SOURCES unit/order_service_test.c
    MODULES engine snapshot journal base LIBRARIES exchange_order_service)
baton_test(service_risk_test SOURCES unit/risk_engine_test.c
    MODULES engine snapshot journal base LIBRARIES exchange_risk_engine)
baton_test(service_risk_mirror_test SOURCES unit/risk_mirror_test.c
    MODULES engine snapshot journal base LIBRARIES exchange_risk_engine)
# Before the real matching engine: random commands, of all that may be under way.
baton_test(service_risk_random_test SOURCES unit/risk_random_test.c
    MODULES engine snapshot journal base LIBRARIES exchange_risk_engine exchange_engine_1.1.0 NOTSAN)
baton_test(service_gateway_test SOURCES unit/gateway_test.c MODULES base LIBRARIES exchange_gateway)
baton_test(service_market_stream_test SOURCES unit/market_stream_test.c
    MODULES journal base LIBRARIES exchange_market_data)
baton_test(service_load_stream_test SOURCES unit/load_stream_test.c MODULES base LIBRARIES exchange_stream)
baton_test(service_load_answers_test SOURCES unit/load_answers_test.c MODULES base LIBRARIES exchange_load_run)
baton_test(service_load_timeline_test SOURCES unit/load_timeline_test.c MODULES base LIBRARIES exchange_load_run)
# The same program twice: generated flow always, recorded flow where there is some.
baton_test(service_twin_test SOURCES unit/restore_twin_test.c unit/exchange_machine.c
    MODULES engine snapshot journal base LIBRARIES exchange_engine_1.1.0 exchange_stream NOTSAN)
if(TARGET service_twin_test)
    add_test(NAME service_twin_recorded_test
        COMMAND ${BATON_TEST_LAUNCHER} "$<TARGET_FILE:service_twin_test>" recorded
        WORKING_DIRECTORY "${BATON_TEST_TMP}")
    baton_test_properties(service_twin_recorded_test "" OFF "")
endif()
