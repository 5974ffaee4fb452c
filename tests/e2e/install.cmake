# The shared library is not built under sanitizers.
baton_script_test(install SCRIPT tests/install/install_test.py TIMEOUT 300 NOSAN LABELS e2e)
