# The reference exchange: book, ledger, and what exchange-replay does with recorded flow.
foreach(name book book_random ledger)
    baton_test(exchange_${name}_test SOURCES unit/${name}_test.c MODULES base LIBRARIES exchange_book)
endforeach()
foreach(name lobster orders)
    baton_test(exchange_${name}_test SOURCES unit/${name}_test.c MODULES base LIBRARIES exchange_replay)
endforeach()
