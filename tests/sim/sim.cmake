# The journal on the simulated machine. It compiles the journal's sources once more: there the places
# of base/breakable.h can break, in the library they do not exist.
if(NOT TARGET baton_journal)
    return() # a partial tree
endif()
get_target_property(journal_sources baton_journal SOURCES)
list(FILTER journal_sources INCLUDE REGEX "\\.c$")
list(TRANSFORM journal_sources PREPEND "${PROJECT_SOURCE_DIR}/journal/")
add_executable(journal-sim
    sim/journal_sim.c sim/run.c sim/step.c sim/life.c sim/check.c sim/model.c sim/wrap.c sim/breaks.c
    ${journal_sources})
target_compile_definitions(journal-sim PRIVATE BATON_BREAKABLE)
target_include_directories(journal-sim PRIVATE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/journal/include")
target_link_libraries(journal-sim PRIVATE baton_flags baton_sim)
baton_link_modules(journal-sim PRIVATE base)
target_link_options(journal-sim PRIVATE
    -Wl,--wrap=baton_io_open -Wl,--wrap=nanosleep -Wl,--wrap=getrandom)
set_target_properties(journal-sim PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")

# A sample of what scripts/sim does for as long as it is asked to. Fixed seeds: the same run everywhere.
set(seeds 1200)
if(BATON_SANITIZE_FLAGS OR BATON_COVERAGE)
    set(seeds 80)
endif()
foreach(part 1 2)
    add_test(NAME journal_sim_${part}
        COMMAND ${BATON_TEST_LAUNCHER} "$<TARGET_FILE:journal-sim>" --seed ${part}00001 --seeds ${seeds}
        WORKING_DIRECTORY "${BATON_TEST_TMP}")
    baton_test_properties(journal_sim_${part} 120 OFF "sim")
endforeach()
baton_script_test(journal_sim_traces SCRIPT tests/sim/journal_sim_test.py ARGS Traces LABELS sim)
baton_script_test(journal_sim_breaks SCRIPT tests/sim/journal_sim_test.py ARGS Breaks NOSAN LABELS sim)
baton_test(journal_sweep_sim SOURCES sim/journal_sweep_sim.c MODULES journal base LIBRARIES baton_sim LABELS sim)

# The engine and its snapshots there: it needs all of the layers below it once more, breakable.
if(NOT TARGET baton_snapshot OR NOT TARGET baton_engine)
    return()
endif()
set(engine_sources)
foreach(module journal snapshot engine)
    get_target_property(sources baton_${module} SOURCES)
    list(FILTER sources INCLUDE REGEX "\\.c$")
    list(TRANSFORM sources PREPEND "${PROJECT_SOURCE_DIR}/${module}/")
    list(APPEND engine_sources ${sources})
endforeach()
add_executable(snapshot-sim
    sim/snapshot/snapshot_sim.c sim/snapshot/run.c sim/snapshot/step.c sim/snapshot/life.c sim/snapshot/judge.c
    sim/snapshot/service.c sim/snapshot/wrap.c sim/wrap.c sim/breaks.c ${engine_sources})
target_compile_definitions(snapshot-sim PRIVATE BATON_BREAKABLE)
target_include_directories(snapshot-sim PRIVATE "${PROJECT_SOURCE_DIR}"
    "${PROJECT_SOURCE_DIR}/journal/include" "${PROJECT_SOURCE_DIR}/snapshot/include" "${PROJECT_SOURCE_DIR}/engine/include")
target_link_libraries(snapshot-sim PRIVATE baton_flags baton_sim PkgConfig::LZ4 PkgConfig::MSGPACK)
baton_link_modules(snapshot-sim PRIVATE base)
target_link_options(snapshot-sim PRIVATE
    -Wl,--wrap=baton_io_open -Wl,--wrap=nanosleep -Wl,--wrap=getrandom
    -Wl,--wrap=baton_clock_system -Wl,--wrap=baton_loop_turn)
set_target_properties(snapshot-sim PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")

set(seeds 250)
if(BATON_SANITIZE_FLAGS OR BATON_COVERAGE)
    set(seeds 20)
endif()
foreach(part 1 2)
    add_test(NAME snapshot_sim_${part}
        COMMAND ${BATON_TEST_LAUNCHER} "$<TARGET_FILE:snapshot-sim>" --seed ${part}00001 --seeds ${seeds}
        WORKING_DIRECTORY "${BATON_TEST_TMP}")
    baton_test_properties(snapshot_sim_${part} 120 OFF "sim")
endforeach()
baton_script_test(snapshot_sim_traces SCRIPT tests/sim/snapshot_sim_test.py ARGS Traces LABELS sim)
baton_script_test(snapshot_sim_breaks SCRIPT tests/sim/snapshot_sim_test.py ARGS Breaks NOSAN LABELS sim)
baton_test(snapshot_sweep_sim SOURCES sim/snapshot_sweep_sim.c MODULES snapshot base LIBRARIES baton_sim LABELS sim)
