# The journal's writer. Its reader: journal_read.cmake.
foreach(name journal journal_ack journal_fault journal_epoch journal_full journal_spare journal_hint journal_retire journal_archive journal_metrics journal_same_bytes journal_unhurried)
    if(EXISTS "${CMAKE_CURRENT_LIST_DIR}/${name}_test.c")
        baton_test(${name}_test
            SOURCES unit/${name}_test.c unit/journal_fixture.c
            MODULES journal base)
    endif()
endforeach()
if(EXISTS "${CMAKE_CURRENT_LIST_DIR}/../e2e/journal_kill_test.c")
    baton_test(journal_kill_test SOURCES e2e/journal_kill_test.c unit/journal_fixture.c MODULES journal base LABELS e2e)
endif()
baton_test(journal_recycle_test SOURCES unit/journal_recycle_test.c unit/journal_fixture.c MODULES journal base LIBRARIES baton_sim)
foreach(name journal_follow journal_follow_again)
    baton_test(${name}_test
        SOURCES unit/${name}_test.c unit/journal_pair.c unit/journal_fixture.c
        MODULES journal base)
endforeach()
