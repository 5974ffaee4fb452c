baton_script_test(demo_e2e SCRIPT tests/e2e/demo_e2e.py TIMEOUT 300 NOSAN)
baton_script_test(demo_judge SCRIPT tests/e2e/demo_judge.py TIMEOUT 60)
