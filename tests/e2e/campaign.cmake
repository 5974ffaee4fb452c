# scripts/campaign itself: that it finds what is wrong, and leaves nothing behind.
baton_script_test(campaign SCRIPT tests/e2e/service_cut.py ARGS Campaign TIMEOUT 300 NOSAN)

# The program that `scripts/campaign kill` kills.
add_executable(journal_kill_writer e2e/journal_kill_writer.c)
target_include_directories(journal_kill_writer PRIVATE "${PROJECT_SOURCE_DIR}")
target_link_libraries(journal_kill_writer PRIVATE baton_flags)
baton_link_modules(journal_kill_writer PRIVATE journal base)
set_target_properties(journal_kill_writer PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
baton_script_test(journal_kill_campaign SCRIPT tests/e2e/journal_kill.py TIMEOUT 300 NOSAN LABELS e2e)

# The program that `scripts/campaign snapshot` kills. Its entries and digests are those of the simulated runs.
add_executable(snapshot_kill_service e2e/snapshot_kill_service.c sim/snapshot/service.c)
target_include_directories(snapshot_kill_service PRIVATE "${PROJECT_SOURCE_DIR}")
target_link_libraries(snapshot_kill_service PRIVATE baton_flags)
baton_link_modules(snapshot_kill_service PRIVATE engine journal snapshot base)
set_target_properties(snapshot_kill_service PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
baton_script_test(snapshot_kill_campaign SCRIPT tests/e2e/snapshot_kill.py TIMEOUT 300 NOSAN LABELS e2e)

# Two instances that hand over to each other. The campaigns themselves: `scripts/campaign handover` and `pingpong`.
baton_script_test(handover_disturbed SCRIPT tests/e2e/handover_campaign.py ARGS Disturbed TIMEOUT 300 NOSAN)
baton_script_test(handover_in_a_row SCRIPT tests/e2e/handover_campaign.py ARGS InARow TIMEOUT 300 NOSAN)
baton_script_test(handover_campaign SCRIPT tests/e2e/handover_campaign.py ARGS Campaign TIMEOUT 300 NOSAN)

# The whole exchange, any one or two of its processes killed under load. The campaign itself: `scripts/campaign exchange`.
baton_script_test(exchange_campaign SCRIPT tests/e2e/exchange_campaign_test.py TIMEOUT 300 NOSAN)
