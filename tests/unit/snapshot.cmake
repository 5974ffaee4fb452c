# The snapshot module's tests. fixture: a made-up service's state that most of them pack and read, in a place of their own.
set(fixture unit/snapshot_fixture.c unit/snapshot_place.c)
foreach(topic pack pack_helped schema chunk manifest publish publish_fault load catalogue notes export diff golden)
    baton_test(snapshot_${topic}_test SOURCES unit/snapshot_${topic}_test.c ${fixture}
        MODULES snapshot base LIBRARIES PkgConfig::MSGPACK)
endforeach()
baton_test(snapshot_export_sweep_test SOURCES unit/snapshot_export_sweep_test.c ${fixture}
    MODULES snapshot base LIBRARIES baton_sim)
# images: a region and a tracker of their own.
foreach(topic image image_share image_crash image_chain image_golden)
    baton_test(snapshot_${topic}_test SOURCES unit/snapshot_${topic}_test.c unit/snapshot_image_fixture.c ${fixture}
        MODULES snapshot base)
endforeach()
baton_test(snapshot_image_fault_test SOURCES unit/snapshot_image_fault_test.c unit/snapshot_image_fixture.c ${fixture}
    MODULES snapshot base NOTSAN)
# The command is a part of the program baton; here it is linked alone and called in the test's process.
if(EXISTS "${PROJECT_SOURCE_DIR}/orchestrator-shim/command.h")
    baton_test(snapshot_command_test
        SOURCES unit/snapshot_command_test.c ${fixture}
            ../orchestrator-shim/snapshot_command.c ../orchestrator-shim/snapshot_choose.c
            ../orchestrator-shim/snapshot_list.c ../orchestrator-shim/snapshot_check.c
            ../orchestrator-shim/snapshot_keep.c ../orchestrator-shim/snapshot_copy.c
            ../orchestrator-shim/snapshot_diff.c ../orchestrator-shim/checksum.c
            ../orchestrator-shim/arguments.c ../orchestrator-shim/output.c ../orchestrator-shim/progress.c
        MODULES journal snapshot base LIBRARIES PkgConfig::JANSSON PkgConfig::CRYPTO)
    baton_test(progress_test SOURCES unit/progress_test.c ../orchestrator-shim/progress.c MODULES base)
endif()
# The arena and the layout of what is in it. fixture: a tree that lives in one.
baton_test(layout_test SOURCES unit/layout_test.c MODULES snapshot base)
foreach(topic arena arena_random arena_image)
    baton_test(${topic}_test SOURCES unit/${topic}_test.c unit/arena_fixture.c MODULES snapshot base NOTSAN)
endforeach()

# The library's rows and verdicts against a second implementation's, and golden snapshots of each shape.
add_executable(snapshot_rows independent/snapshot_rows.c)
target_include_directories(snapshot_rows PRIVATE "${PROJECT_SOURCE_DIR}")
target_link_libraries(snapshot_rows PRIVATE baton_flags)
baton_link_modules(snapshot_rows PRIVATE snapshot base)
set_target_properties(snapshot_rows PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
baton_script_test(snapshot_independent SCRIPT tests/independent/snapshot_read_test.py)
