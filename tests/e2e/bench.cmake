baton_script_test(bench_rows SCRIPT tests/e2e/bench_rows.py TIMEOUT 300 NOSAN)
baton_script_test(bench_handover_rows SCRIPT tests/e2e/bench_handover_rows.py TIMEOUT 900 NOSAN)
baton_script_test(bench_snapshot_rows SCRIPT tests/e2e/bench_snapshot_rows.py TIMEOUT 600 NOSAN)
baton_script_test(bench_exchange_rows SCRIPT tests/e2e/bench_exchange_rows.py TIMEOUT 300 NOSAN)
