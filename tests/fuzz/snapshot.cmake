baton_fuzz_target(snapshot_manifest_fuzz SOURCES fuzz/snapshot_manifest_fuzz.c MODULES snapshot base
    CORPUS tests/fuzz/corpus/snapshot_manifest RUNS 20000)
baton_fuzz_target(snapshot_rows_fuzz SOURCES fuzz/snapshot_rows_fuzz.c MODULES snapshot base
    CORPUS tests/fuzz/corpus/snapshot_rows RUNS 20000)
baton_fuzz_target(snapshot_import_fuzz SOURCES fuzz/snapshot_import_fuzz.c MODULES snapshot base
    CORPUS tests/fuzz/corpus/snapshot_import RUNS 800)
baton_fuzz_target(snapshot_directory_fuzz SOURCES fuzz/snapshot_directory_fuzz.c MODULES snapshot base
    LIBRARIES baton_sim CORPUS tests/fuzz/corpus/snapshot_directory RUNS 3000)
