# The snapshot module's tests. fixture: a made-up service's state that most of them pack and read.
set(fixture unit/snapshot_fixture.c)
foreach(topic pack chunk manifest publish publish_fault load catalogue golden)
    baton_test(snapshot_${topic}_test SOURCES unit/snapshot_${topic}_test.c ${fixture}
        MODULES snapshot base LIBRARIES PkgConfig::MSGPACK)
endforeach()
# images: a region and a tracker of their own.
foreach(topic image image_fault image_crash image_chain image_golden)
    baton_test(snapshot_${topic}_test SOURCES unit/snapshot_${topic}_test.c unit/snapshot_image_fixture.c ${fixture}
        MODULES snapshot base)
endforeach()
# The command is a part of the program baton; here it is linked alone and called in the test's process.
if(EXISTS "${PROJECT_SOURCE_DIR}/orchestrator-shim/command.h")
    baton_test(snapshot_command_test
        SOURCES unit/snapshot_command_test.c ${fixture}
            ../orchestrator-shim/snapshot_command.c ../orchestrator-shim/arguments.c ../orchestrator-shim/output.c
        MODULES journal snapshot base LIBRARIES PkgConfig::JANSSON)
endif()
# The arena and the layout of what is in it. fixture: a tree that lives in one.
baton_test(layout_test SOURCES unit/layout_test.c MODULES snapshot base)
foreach(topic arena arena_random arena_image)
    baton_test(${topic}_test SOURCES unit/${topic}_test.c unit/arena_fixture.c MODULES snapshot base)
endforeach()
