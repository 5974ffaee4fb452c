# The matching engine by its real programs: what clients may send it, and its life cut short, 23 times in all.
baton_script_test(service_frames SCRIPT tests/e2e/service_wire.py ARGS Frames Neighbours)
baton_script_test(service_clients SCRIPT tests/e2e/service_wire.py ARGS Trading Resends Versions Crowds)
baton_script_test(service_arena SCRIPT tests/e2e/service_arena.py)
baton_script_test(service_feed SCRIPT tests/e2e/service_feed.py)
baton_script_test(service_cut_hour SCRIPT tests/e2e/service_cut.py ARGS Hour TIMEOUT 300 NOSAN)
baton_script_test(service_cut_orders SCRIPT tests/e2e/service_cut.py ARGS Orders TIMEOUT 300 NOSAN)
baton_script_test(service_cut_small SCRIPT tests/e2e/service_cut.py ARGS Small TIMEOUT 300)
