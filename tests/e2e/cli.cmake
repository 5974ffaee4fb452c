# The `baton` command, the doors of a service and its control socket, by their real programs.
foreach(topic journal damage crash refusals)
    baton_script_test(cli_${topic} SCRIPT tests/e2e/cli_${topic}.py)
endforeach()

# Services built for these tests only: in tests/, not in bin/.
function(baton_toy name)
    cmake_parse_arguments(ARG "" "" "SOURCES;DEFINITIONS" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_compile_definitions(${name} PRIVATE ${ARG_DEFINITIONS})
    target_link_libraries(${name} PRIVATE baton_flags)
    baton_link_modules(${name} PRIVATE drain)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
endfunction()

set(toy "${CMAKE_CURRENT_LIST_DIR}/toy/toy_service.c")
baton_toy(toy-1.0.0 SOURCES "${toy}" DEFINITIONS TOY_VERSION="1.0.0" TOY_SCHEMA=1)
baton_toy(toy-1.1.0 SOURCES "${toy}" DEFINITIONS TOY_VERSION="1.1.0" TOY_SCHEMA=2)
add_library(toy-hang MODULE "${CMAKE_CURRENT_LIST_DIR}/toy/hang.c")
set_target_properties(toy-hang PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
baton_toy(counter SOURCES "${PROJECT_SOURCE_DIR}/examples/counter/counter.c")
foreach(topic doors control drain hydrate snapshots trust_root)
    baton_script_test(cli_${topic} SCRIPT tests/e2e/cli_${topic}.py)
endforeach()
