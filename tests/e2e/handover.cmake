# The handover protocol's model; needs spin, which the build does not.
baton_script_test(handover_model SCRIPT tests/e2e/handover_model.py ARGS Model TIMEOUT 600 NOSAN)
baton_script_test(handover_model_mistakes SCRIPT tests/e2e/handover_model.py ARGS Mistakes Rules TIMEOUT 300 NOSAN)
# The handover itself, by real processes on one host.
baton_script_test(service_handover SCRIPT tests/e2e/service_handover_test.py ARGS Toy Peers)
baton_script_test(service_bad_peer SCRIPT tests/e2e/service_bad_peer_test.py ARGS Protocols Fingerprints Frames Cutovers)
baton_script_test(service_bad_peer_floods SCRIPT tests/e2e/service_bad_peer_test.py ARGS Floods TIMEOUT 300 NOTSAN)
baton_script_test(service_lying_active SCRIPT tests/e2e/service_lying_active_test.py ARGS First Between TIMEOUT 300 NOTSAN)
baton_script_test(service_lying_active_warm SCRIPT tests/e2e/service_lying_active_test.py ARGS Warm TIMEOUT 300 NOSAN)
baton_script_test(service_handover_deaths SCRIPT tests/e2e/service_handover_deaths_test.py ARGS Deaths Stops NOSAN)
baton_script_test(service_handover_load SCRIPT tests/e2e/service_handover_test.py ARGS Exchange)
baton_script_test(service_handover_rounds SCRIPT tests/e2e/service_handover_deaths_test.py ARGS Rounds TIMEOUT 300 NOTSAN)
baton_script_test(service_follow SCRIPT tests/e2e/service_follow_test.py)
baton_script_test(service_partner SCRIPT tests/e2e/service_partner_test.py NOTSAN)
# Between two hosts, played on one.
baton_script_test(service_peer_tcp SCRIPT tests/e2e/service_peer_tcp_test.py)
baton_script_test(service_far SCRIPT tests/e2e/service_far_test.py ARGS Deaths OneHost Orders TIMEOUT 300 NOSAN)
baton_script_test(service_far_partition SCRIPT tests/e2e/service_far_test.py ARGS Partition TIMEOUT 300)
baton_script_test(service_peer_tls SCRIPT tests/e2e/service_peer_tls_test.py ARGS Good Start Exchange NOTSAN)
baton_script_test(service_peer_tls_refused SCRIPT tests/e2e/service_peer_tls_test.py ARGS Refused NOTSAN)
baton_script_test(service_peer_tls_strangers SCRIPT tests/e2e/service_peer_tls_test.py ARGS Strangers NOTSAN)
# What a standby begins with.
baton_script_test(service_hydrate SCRIPT tests/e2e/service_hydrate_test.py ARGS Elsewhere Sent Images NOTSAN)
baton_script_test(service_fetching SCRIPT tests/e2e/service_hydrate_test.py ARGS Waiting NOTSAN)
# What it gets while it follows.
baton_script_test(service_standby_snapshots SCRIPT tests/e2e/service_standby_snapshots_test.py ARGS OneHost NOTSAN)
baton_script_test(service_standby_snapshots_far SCRIPT tests/e2e/service_standby_snapshots_test.py ARGS TwoHosts NOTSAN)
# Connected sockets go along (R10): the matching engine, and one that ends or stands still at a step.
set(engine "${PROJECT_SOURCE_DIR}/examples/exchange/matching-engine")
baton_toy(matching-engine-halting
    SOURCES
        "${CMAKE_CURRENT_LIST_DIR}/toy/halting_engine.c"
        "${engine}/intake.c"
        "${engine}/release.c"
        "${engine}/server.c")
target_link_libraries(matching-engine-halting PRIVATE exchange_engine_1.1.0 exchange_service)
baton_script_test(service_connections SCRIPT tests/e2e/service_connections_test.py ARGS Sessions Bounds)
baton_script_test(service_connections_deaths SCRIPT tests/e2e/service_connections_test.py ARGS Deaths Stops NOTSAN)
# Back to the old version.
baton_script_test(service_way_back SCRIPT tests/e2e/service_way_back_test.py ARGS Paths DeadVersion Follow)
baton_script_test(service_way_back_deaths SCRIPT tests/e2e/service_way_back_test.py ARGS Deaths NOTSAN)
