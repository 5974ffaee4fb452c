# baton_test(NAME SOURCES ... MODULES <modules> [LIBRARIES ...] [TIMEOUT s] [NOSAN] [NOTSAN] [SERIAL] [LABELS ...])
#     A cmocka test, linked with tests/support.
# baton_script_test(NAME SCRIPT tests/e2e/x.py [ARGS ...] [TIMEOUT s] [NOSAN] [NOTSAN] [SERIAL] [LABELS ...])
#     A Python unittest, run with tests/support on its path.
# baton_fuzz_target(NAME SOURCES ... MODULES <modules> CORPUS tests/fuzz/corpus/x [RUNS n])
#     A libFuzzer target where there is libFuzzer, else a replay of the corpus and seeded mutations under ctest.
#
# Every test gets BATON_TEST_TMP (a place on a real file system, inside the build tree), BATON_BIN (the programs),
# BATON_SOURCE and BATON_SANITIZE. Tests with the label `sim` are left out under ThreadSanitizer: a simulated
# machine has one thread (docs/hacking.md); so are those with NOTSAN, whose programs have one, or whose threads another
# test has, too. NOSAN: under every sanitizer. Exit 77 is a skip, with its reason printed. A timeout only bounds a hang.

set(BATON_TEST_TMP "${PROJECT_BINARY_DIR}/tests/tmp")
file(MAKE_DIRECTORY "${BATON_TEST_TMP}")
find_package(Python3 REQUIRED COMPONENTS Interpreter)

# TSan of gcc 12 needs the address space in its usual order; a kernel with a large vm.mmap_rnd_bits breaks that.
set(BATON_TEST_LAUNCHER "")
if(BATON_SANITIZE STREQUAL "thread")
    find_program(BATON_SETARCH setarch)
    if(BATON_SETARCH)
        execute_process(COMMAND "${BATON_SETARCH}" -R true RESULT_VARIABLE denied OUTPUT_QUIET ERROR_QUIET)
        if(denied EQUAL 0)
            set(BATON_TEST_LAUNCHER "${BATON_SETARCH}" -R)
        endif()
    endif()
endif()

function(baton_test_properties name timeout serial labels)
    if(NOT timeout)
        set(timeout 120)
    endif()
    if(BATON_SANITIZE_FLAGS OR BATON_COVERAGE)
        math(EXPR timeout "${timeout} * 4")
    endif()
    set(environment
        "BATON_TEST_TMP=${BATON_TEST_TMP}"
        "BATON_BIN=${PROJECT_BINARY_DIR}/bin"
        "BATON_BUILD=${PROJECT_BINARY_DIR}"
        "BATON_SOURCE=${PROJECT_SOURCE_DIR}"
        "BATON_SANITIZE=${BATON_SANITIZE}"
        "CC=${CMAKE_C_COMPILER}"
        "PYTHONPATH=${PROJECT_SOURCE_DIR}/tests/support:${PROJECT_SOURCE_DIR}/scripts/rig"
        "PYTHONDONTWRITEBYTECODE=1"
        "PYTHONUNBUFFERED=1"
        "ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1"
        "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1"
        "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1")
    set_tests_properties(${name} PROPERTIES
        TIMEOUT ${timeout} SKIP_RETURN_CODE 77 ENVIRONMENT "${environment}" LABELS "${labels}")
    if(serial)
        set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
    endif()
endfunction()

function(baton_test name)
    cmake_parse_arguments(ARG "NOSAN;NOTSAN;SERIAL" "TIMEOUT" "SOURCES;MODULES;LIBRARIES;LABELS" ${ARGN})
    if(ARG_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "baton_test(${name}): ${ARG_UNPARSED_ARGUMENTS}?")
    endif()
    baton_missing_sources("test ${name}" ${ARG_SOURCES})
    if(missing_sources)
        return()
    endif()
    if((ARG_NOSAN OR "nosan" IN_LIST ARG_LABELS) AND BATON_SANITIZE_FLAGS)
        return()
    endif()
    if((ARG_NOTSAN OR "sim" IN_LIST ARG_LABELS) AND BATON_SANITIZE STREQUAL "thread")
        return()
    endif()
    add_executable(${name} ${ARG_SOURCES})
    target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}")
    target_link_libraries(${name} PRIVATE baton_flags)
    if(TARGET baton_test_support)
        target_link_libraries(${name} PRIVATE baton_test_support)
    endif()
    baton_link_modules(${name} PRIVATE ${ARG_MODULES})
    target_link_libraries(${name} PRIVATE PkgConfig::CMOCKA ${ARG_LIBRARIES})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    add_test(NAME ${name} COMMAND ${BATON_TEST_LAUNCHER} "$<TARGET_FILE:${name}>"
        WORKING_DIRECTORY "${BATON_TEST_TMP}")
    baton_test_properties(${name} "${ARG_TIMEOUT}" ${ARG_SERIAL} "${ARG_LABELS}")
endfunction()

function(baton_script_test name)
    cmake_parse_arguments(ARG "NOSAN;NOTSAN;SERIAL" "SCRIPT;TIMEOUT" "ARGS;LABELS" ${ARGN})
    if(ARG_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "baton_script_test(${name}): ${ARG_UNPARSED_ARGUMENTS}?")
    endif()
    if((ARG_NOSAN OR "nosan" IN_LIST ARG_LABELS) AND BATON_SANITIZE_FLAGS)
        return()
    endif()
    if((ARG_NOTSAN OR "sim" IN_LIST ARG_LABELS) AND BATON_SANITIZE STREQUAL "thread")
        return()
    endif()
    add_test(NAME ${name}
        COMMAND ${BATON_TEST_LAUNCHER} "${Python3_EXECUTABLE}" "${PROJECT_SOURCE_DIR}/${ARG_SCRIPT}" ${ARG_ARGS}
        WORKING_DIRECTORY "${BATON_TEST_TMP}")
    baton_test_properties(${name} "${ARG_TIMEOUT}" ${ARG_SERIAL} "${ARG_LABELS}")
endfunction()

function(baton_fuzz_target name)
    if(BATON_SANITIZE STREQUAL "thread")
        return() # one thread each
    endif()
    cmake_parse_arguments(ARG "" "CORPUS;RUNS" "SOURCES;MODULES;LIBRARIES" ${ARGN})
    if(ARG_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "baton_fuzz_target(${name}): ${ARG_UNPARSED_ARGUMENTS}?")
    endif()
    baton_missing_sources("test ${name}" ${ARG_SOURCES})
    if(missing_sources)
        return()
    endif()
    if(NOT ARG_RUNS)
        set(ARG_RUNS 2000)
    endif()
    set(corpus "${PROJECT_SOURCE_DIR}/${ARG_CORPUS}")
    add_executable(${name} ${ARG_SOURCES})
    target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}")
    target_link_libraries(${name} PRIVATE baton_flags)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    if(TARGET baton_test_support)
        target_link_libraries(${name} PRIVATE baton_test_support)
    endif()
    baton_link_modules(${name} PRIVATE ${ARG_MODULES})
    target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES})
    if(BATON_FUZZ AND CMAKE_C_COMPILER_ID MATCHES "Clang")
        target_link_options(${name} PRIVATE -fsanitize=fuzzer)
        # -runs=0 replays the corpus; a campaign runs the same program for as long as it likes.
        add_test(NAME ${name} COMMAND ${name} -runs=0 "${corpus}" WORKING_DIRECTORY "${BATON_TEST_TMP}")
    else()
        target_sources(${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests/support/fuzz_main.c")
        add_test(NAME ${name}
            COMMAND ${BATON_TEST_LAUNCHER} "$<TARGET_FILE:${name}>" --runs ${ARG_RUNS} "${corpus}"
            WORKING_DIRECTORY "${BATON_TEST_TMP}")
    endif()
    baton_test_properties(${name} "" OFF "fuzz")
endfunction()
