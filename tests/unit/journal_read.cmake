# The journal's reader: format, recovery, reading, verifying, repairing. Its writer: journal.cmake.
foreach(name format recover damage stale twin accept sweep repair live recent beside race tail verify golden)
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
baton_script_test(journal_independent SCRIPT tests/independent/journal_read_test.py NOTSAN)

# Golden journals, and the program that made them: built so that it can be read, and run by hand for a new format.
add_executable(journal_shapes_make golden/journal_shapes_make.c support/journal_builder.c)
target_include_directories(journal_shapes_make PRIVATE "${PROJECT_SOURCE_DIR}")
target_link_libraries(journal_shapes_make PRIVATE baton_flags)
baton_link_modules(journal_shapes_make PRIVATE journal base)
set_target_properties(journal_shapes_make PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
baton_script_test(journal_shapes SCRIPT tests/golden/journal_shapes_test.py NOSAN)

# Journals that crashes on the simulated machine left, for both readers.
add_executable(journal_simulated independent/journal_simulated.c sim/wrap.c)
target_include_directories(journal_simulated PRIVATE "${PROJECT_SOURCE_DIR}")
target_link_libraries(journal_simulated PRIVATE baton_flags baton_sim)
baton_link_modules(journal_simulated PRIVATE journal base)
target_link_options(journal_simulated PRIVATE
    -Wl,--wrap=baton_io_open -Wl,--wrap=nanosleep -Wl,--wrap=getrandom)
set_target_properties(journal_simulated PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
