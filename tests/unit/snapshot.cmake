# The snapshot module's tests. fixture: a made-up service's state that most of them pack and read.
set(fixture unit/snapshot_fixture.c)
foreach(topic pack chunk manifest publish publish_fault load catalogue golden)
    baton_test(snapshot_${topic}_test SOURCES unit/snapshot_${topic}_test.c ${fixture}
        MODULES snapshot base LIBRARIES PkgConfig::MSGPACK)
endforeach()
# The command is a part of the program baton; here it is linked alone and called in the test's process.
if(EXISTS "${PROJECT_SOURCE_DIR}/orchestrator-shim/command.h")
    baton_test(snapshot_command_test
        SOURCES unit/snapshot_command_test.c ${fixture}
            ../orchestrator-shim/snapshot_command.c ../orchestrator-shim/arguments.c ../orchestrator-shim/output.c
        MODULES journal snapshot base LIBRARIES PkgConfig::JANSSON)
endif()

# The library's rows and verdicts against a second implementation's, and golden snapshots of each shape.
add_executable(snapshot_rows independent/snapshot_rows.c)
target_include_directories(snapshot_rows PRIVATE "${PROJECT_SOURCE_DIR}")
target_link_libraries(snapshot_rows PRIVATE baton_flags)
baton_link_modules(snapshot_rows PRIVATE snapshot base)
set_target_properties(snapshot_rows PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
baton_script_test(snapshot_independent SCRIPT tests/independent/snapshot_read_test.py)
