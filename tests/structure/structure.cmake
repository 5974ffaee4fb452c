# About the source tree itself: the same in every preset, so only run once.
foreach(topic layers headers declare words listed exports format readme guide scripts support)
    baton_script_test(structure_${topic} SCRIPT tests/structure/${topic}_test.py NOSAN LABELS structure)
endforeach()
