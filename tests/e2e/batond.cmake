# batond beside the toy service and the matching engine: what it says, who may change something, what strangers can't do, and its end.
foreach(topic look bounds exchange)
    baton_script_test(batond_${topic} SCRIPT tests/e2e/batond_${topic}.py NOTSAN)
endforeach()
foreach(topic change end)
    baton_script_test(batond_${topic} SCRIPT tests/e2e/batond_${topic}.py NOSAN)
endforeach()
