baton_test(drain_options_test SOURCES unit/drain_options_test.c MODULES drain)
baton_test(drain_compatibility_test SOURCES unit/drain_compatibility_test.c MODULES drain base
    LIBRARIES PkgConfig::JANSSON)
baton_test(drain_plan_test SOURCES unit/drain_plan_test.c MODULES drain)
baton_test(drain_peer_channel_test SOURCES unit/drain_peer_channel_test.c MODULES drain)
baton_test(drain_unix_address_test SOURCES unit/drain_unix_address_test.c MODULES drain)
baton_test(batond_config_test SOURCES unit/batond_config_test.c ../drain/batond/config.c MODULES drain)
baton_test(batond_token_test SOURCES unit/batond_token_test.c ../drain/batond/token.c MODULES drain)
baton_test(batond_view_test SOURCES unit/batond_view_test.c ../drain/batond/view.c MODULES drain
    LIBRARIES PkgConfig::JANSSON)
foreach(name connections peer_socket)
    baton_test(drain_${name}_test SOURCES unit/drain_${name}_test.c unit/drain_connections_list.c MODULES drain)
endforeach()
baton_test(drain_partner_test SOURCES unit/drain_partner_test.c MODULES drain base)
baton_test(drain_handover_test SOURCES unit/drain_handover_test.c MODULES drain)
baton_test(drain_grant_look_test
    SOURCES unit/drain_grant_look_test.c unit/engine_pair.c unit/engine_fixture.c support/toy_service.c
    MODULES drain engine journal snapshot base)
baton_test(drain_peer_tls_test SOURCES unit/drain_peer_tls_test.c MODULES drain LIBRARIES PkgConfig::GNUTLS)
