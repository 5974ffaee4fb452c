# exchange-replay: against recorded flow (skipped where the data is not there), and its inputs.
baton_script_test(replay_lobster SCRIPT tests/e2e/replay_lobster.py NOTSAN)
baton_script_test(replay_orders SCRIPT tests/e2e/replay_orders.py NOTSAN)
baton_script_test(replay_inputs SCRIPT tests/e2e/replay_inputs.py NOTSAN)
baton_script_test(replay_features SCRIPT tests/e2e/replay_features.py NOTSAN)
# The whole exchange as real processes (scripts/rig/exchange.py).
baton_script_test(service_exchange SCRIPT tests/e2e/exchange_whole_test.py ARGS Whole TIMEOUT 300 NOTSAN)
baton_script_test(exchange_judge SCRIPT tests/e2e/exchange_whole_test.py ARGS Judge NOSAN)
baton_script_test(exchange_full_disk SCRIPT tests/e2e/exchange_full_test.py TIMEOUT 300 NOSAN)
# exchange-load against a matching engine, and against all.
baton_script_test(service_load SCRIPT tests/e2e/service_load_test.py ARGS Engine Wrong NOTSAN)
baton_script_test(service_load_whole SCRIPT tests/e2e/service_load_test.py ARGS Gateways NOTSAN)
# A consistent cut of the three services, and their handovers under load.
baton_script_test(exchange_cut_restore SCRIPT tests/e2e/exchange_cut.py ARGS Restore NOTSAN)
baton_script_test(exchange_cut_faults SCRIPT tests/e2e/exchange_cut.py ARGS Faults NOTSAN)
baton_script_test(exchange_cut_handover SCRIPT tests/e2e/exchange_cut.py ARGS Handover NOTSAN)
