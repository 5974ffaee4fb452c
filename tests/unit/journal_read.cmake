# The journal's reader: format, recovery, reading, verifying, repairing. Its writer: journal.cmake.
foreach(name format recover damage accept sweep repair live beside tail verify golden)
    if(EXISTS "${CMAKE_CURRENT_LIST_DIR}/journal_${name}_test.c")
        baton_test(journal_${name}_test
            SOURCES unit/journal_${name}_test.c unit/journal_look.c unit/journal_stage.c support/journal_builder.c
            MODULES journal base)
    endif()
endforeach()

# The library's verdicts against a second implementation's.
add_executable(journal_scenarios independent/journal_scenarios.c support/journal_builder.c)
target_include_directories(journal_scenarios PRIVATE "${PROJECT_SOURCE_DIR}")
target_link_libraries(journal_scenarios PRIVATE baton_flags)
baton_link_modules(journal_scenarios PRIVATE journal base)
set_target_properties(journal_scenarios PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
baton_script_test(journal_independent SCRIPT tests/independent/journal_verify_test.py)
