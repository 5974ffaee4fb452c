baton_script_test(bench_rows SCRIPT tests/e2e/bench_rows.py TIMEOUT 300 NOSAN)
