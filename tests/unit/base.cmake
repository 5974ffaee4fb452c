# base/: one program a source file; the seam's are split by what they ask of it.
foreach(name status wire digest hex histogram metrics log clock standard_fds)
    baton_test(base_${name}_test SOURCES unit/${name}_test.c MODULES base)
endforeach()
target_link_libraries(base_digest_test PRIVATE PkgConfig::XXHASH) # its own hash is the judge
target_link_libraries(base_histogram_test PRIVATE m)

# Each over io_uring, threads and the fault backend; io_files over the simulated machine too.
foreach(name io_files io_flight io_locks)
    baton_test(base_${name}_test SOURCES unit/${name}_test.c unit/io_case.c MODULES base LIBRARIES baton_sim)
endforeach()
foreach(name io_open io_posix io_probe io_fault)
    baton_test(base_${name}_test SOURCES unit/${name}_test.c MODULES base)
endforeach()
