# The matching engine by its real programs: what clients may send it, and its life cut short, 31 times in all.
baton_script_test(service_frames SCRIPT tests/e2e/service_wire.py ARGS Frames Neighbours NOTSAN)
baton_script_test(service_clients SCRIPT tests/e2e/service_wire.py ARGS Trading Resends Versions Crowds NOTSAN)
baton_script_test(service_arena SCRIPT tests/e2e/service_arena.py NOTSAN)
baton_script_test(service_image SCRIPT tests/e2e/service_image.py)
baton_script_test(service_feed SCRIPT tests/e2e/service_feed.py NOTSAN)
baton_script_test(service_stream SCRIPT tests/e2e/service_stream.py)
baton_script_test(service_cut_hour SCRIPT tests/e2e/service_cut.py ARGS Hour TIMEOUT 300 NOSAN)
baton_script_test(service_cut_orders SCRIPT tests/e2e/service_cut.py ARGS Orders TIMEOUT 300 NOSAN)
baton_script_test(service_cut_images SCRIPT tests/e2e/service_cut.py ARGS Images TIMEOUT 300 NOSAN)
baton_script_test(service_cut_small SCRIPT tests/e2e/service_cut.py ARGS Small TIMEOUT 300)
baton_script_test(service_rto SCRIPT tests/e2e/service_rto.py TIMEOUT 300 NOTSAN)
# The order service, between stages that play the other services.
baton_script_test(service_orders SCRIPT tests/e2e/service_orders_test.py ARGS Life NOTSAN)
baton_script_test(service_links SCRIPT tests/e2e/service_orders_test.py ARGS Links NOTSAN)
baton_script_test(service_matching SCRIPT tests/e2e/service_orders_test.py ARGS Matching NOTSAN)
# The risk engine between the real two.
baton_script_test(service_risk_feature SCRIPT tests/e2e/service_risk_test.py ARGS Feature NOTSAN)
baton_script_test(service_risk_money SCRIPT tests/e2e/service_risk_test.py ARGS Money NOTSAN)
baton_script_test(service_risk_kills SCRIPT tests/e2e/service_risk_test.py ARGS Kills TIMEOUT 300 NOTSAN)
# Its mirror in a real Redis (skipped where there is no redis-server).
baton_script_test(service_mirror_once SCRIPT tests/e2e/service_mirror_test.py ARGS Once NOTSAN)
baton_script_test(service_mirror_beside SCRIPT tests/e2e/service_mirror_test.py ARGS Beside NOSAN)
baton_script_test(service_mirror_versions SCRIPT tests/e2e/service_mirror_test.py ARGS Versions NOSAN)
baton_script_test(service_mirror_wrong SCRIPT tests/e2e/service_mirror_test.py ARGS Wrong NOTSAN)
# The gateway, before an order service by hand, and before the real ones behind it.
baton_script_test(service_gateway SCRIPT tests/e2e/service_gateway_test.py ARGS Sessions Life NOTSAN)
baton_script_test(service_gateway_handover SCRIPT tests/e2e/service_gateway_test.py ARGS Handover NOTSAN)
baton_script_test(service_gateway_faults SCRIPT tests/e2e/service_gateway_test.py ARGS Faults NOTSAN)
# Market data and settlement behind the real matching engine.
baton_script_test(service_market_once SCRIPT tests/e2e/service_market_test.py ARGS Once NOTSAN)
baton_script_test(service_market_stream SCRIPT tests/e2e/service_market_test.py ARGS Stream NOTSAN)
baton_script_test(service_settlement_full SCRIPT tests/e2e/service_market_test.py ARGS Full NOTSAN)
