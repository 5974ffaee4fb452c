# scripts/campaign itself: that it finds what is wrong, and leaves nothing behind.
baton_script_test(campaign SCRIPT tests/e2e/service_cut.py ARGS Campaign TIMEOUT 300 NOSAN)
