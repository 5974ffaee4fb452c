# What a simulator is, beside its sources: it compiles those of the modules once more, because there
# the places of base/breakable.h can break; in the libraries they do not exist. And its tests: a sample
# of what scripts/sim does for as long as it is asked to, with fixed seeds, so the same run everywhere.
#   baton_simulator(journal SOURCES .c... MODULES journal... SEEDS n SEEDS_SLOW n
#       [LIBRARIES targets...] [WRAP functions...] [EXCEPT names...] [OWN_WRAP])
# EXCEPT: files of the modules that it has its own of; OWN_WRAP: it has its own wrap.c.
function(baton_simulator name)
    cmake_parse_arguments(ARG "OWN_WRAP" "SEEDS;SEEDS_SLOW" "SOURCES;MODULES;LIBRARIES;WRAP;EXCEPT" ${ARGN})
    if(ARG_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "baton_simulator(${name}): ${ARG_UNPARSED_ARGUMENTS}?")
    endif()
    add_executable(${name}-sim ${ARG_SOURCES} sim/sim_main.c sim/breaks.c)
    if(NOT ARG_OWN_WRAP)
        target_sources(${name}-sim PRIVATE sim/wrap.c)
    endif()
    foreach(module ${ARG_MODULES})
        get_target_property(sources baton_${module} SOURCES)
        list(FILTER sources INCLUDE REGEX "\\.c$")
        foreach(file ${ARG_EXCEPT})
            list(REMOVE_ITEM sources ${file})
        endforeach()
        list(TRANSFORM sources PREPEND "${PROJECT_SOURCE_DIR}/${module}/")
        target_sources(${name}-sim PRIVATE ${sources})
        target_include_directories(${name}-sim PRIVATE "${PROJECT_SOURCE_DIR}/${module}/include")
    endforeach()
    target_compile_definitions(${name}-sim PRIVATE BATON_BREAKABLE)
    target_include_directories(${name}-sim PRIVATE "${PROJECT_SOURCE_DIR}")
    target_link_libraries(${name}-sim PRIVATE baton_flags baton_sim ${ARG_LIBRARIES})
    baton_link_modules(${name}-sim PRIVATE base)
    foreach(wrapped baton_io_open nanosleep getrandom ${ARG_WRAP})
        target_link_options(${name}-sim PRIVATE -Wl,--wrap=${wrapped})
    endforeach()
    set_target_properties(${name}-sim PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")

    set(seeds ${ARG_SEEDS})
    if(BATON_SANITIZE_FLAGS OR BATON_COVERAGE)
        set(seeds ${ARG_SEEDS_SLOW})
    endif()
    if(NOT BATON_SANITIZE STREQUAL "thread") # one thread, as all with the label `sim`
        foreach(part 1 2)
            add_test(NAME ${name}_sim_${part}
                COMMAND ${BATON_TEST_LAUNCHER} "$<TARGET_FILE:${name}-sim>" --seed ${part}00001 --seeds ${seeds}
                WORKING_DIRECTORY "${BATON_TEST_TMP}")
            baton_test_properties(${name}_sim_${part} 120 OFF "sim")
        endforeach()
    endif()
    baton_script_test(${name}_sim_traces SCRIPT tests/sim/${name}_sim_test.py ARGS Traces NOSAN LABELS sim)
    baton_script_test(${name}_sim_breaks SCRIPT tests/sim/${name}_sim_test.py ARGS Breaks NOSAN LABELS sim TIMEOUT 300)
endfunction()

if(NOT TARGET baton_journal)
    return() # a partial tree
endif()
baton_simulator(journal MODULES journal SEEDS 1200 SEEDS_SLOW 80
    SOURCES sim/journal_sim.c sim/run.c sim/step.c sim/life.c sim/check.c sim/model.c)
baton_test(journal_sweep_sim SOURCES sim/journal_sweep_sim.c MODULES journal base LIBRARIES baton_sim LABELS sim)
baton_test(journal_follow_sim SOURCES sim/journal_follow_sim.c MODULES journal base LIBRARIES baton_sim LABELS sim)

# The engine and its snapshots: all of the layers below it too.
if(NOT TARGET baton_snapshot OR NOT TARGET baton_engine)
    return()
endif()
baton_simulator(snapshot MODULES journal snapshot engine SEEDS 130 SEEDS_SLOW 12
    SOURCES sim/snapshot/snapshot_sim.c sim/snapshot/run.c sim/snapshot/step.c sim/snapshot/life.c
        sim/snapshot/judge.c sim/snapshot/service.c sim/snapshot/wrap.c
        sim/snapshot/family.c sim/snapshot/tool.c sim/snapshot/tracker.c
    LIBRARIES PkgConfig::LZ4 PkgConfig::MSGPACK
    WRAP baton_clock_system baton_loop_turn fork getpid)
baton_test(snapshot_sweep_sim SOURCES sim/snapshot_sweep_sim.c MODULES snapshot base LIBRARIES baton_sim LABELS sim)
baton_test(snapshot_image_sweep_sim SOURCES sim/snapshot_image_sweep_sim.c MODULES snapshot base LIBRARIES baton_sim LABELS sim)

# Handovers: the program around it, but for what stands beside it.
if(NOT TARGET baton_drain)
    return()
endif()
baton_simulator(handover MODULES journal snapshot engine drain SEEDS 12 SEEDS_SLOW 2 OWN_WRAP
    SOURCES sim/handover/handover_sim.c sim/handover/world.c sim/handover/process.c sim/handover/service.c
        sim/handover/clients.c sim/handover/judge.c sim/handover/network.c sim/handover/system.c
        sim/handover/files.c sim/handover/fiber.c sim/handover/accidents.c sim/handover/directed.c sim/handover/loop.c
        sim/handover/hosts.c sim/handover/tcp.c
    EXCEPT control.c control_call.c control_request.c control_socket.c door_snapshot.c doors.c hydrating.c
        last_resort.c main.c
    LIBRARIES PkgConfig::LZ4 PkgConfig::MSGPACK PkgConfig::JANSSON PkgConfig::GNUTLS
    WRAP baton_clock_system baton_loop_init baton_loop_fini baton_loop_watch_fd baton_loop_unwatch_fd
        baton_loop_turn baton_log_set_sink baton_describe_failure fork getpid close read write eventfd
        signalfd sigprocmask socket connect accept4 getsockopt shutdown recvmsg sendmsg recv poll
        pthread_create pthread_join pthread_mutex_lock pthread_mutex_unlock
        bind listen getsockname setsockopt gethostname open openat fcntl pread fsync fdatasync rename mkdir stat realpath fopen
        opendir readdir closedir dirfd)
