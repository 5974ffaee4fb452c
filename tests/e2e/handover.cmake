# The handover protocol's model; needs spin, which the build does not.
baton_script_test(handover_model SCRIPT tests/e2e/handover_model.py ARGS Model TIMEOUT 600 NOSAN)
baton_script_test(handover_model_mistakes SCRIPT tests/e2e/handover_model.py ARGS Mistakes Rules TIMEOUT 300 NOSAN)
