# The reference exchange: book, ledger, and what exchange-replay does with recorded flow.
foreach(name book book_random ledger)
    baton_test(exchange_${name}_test SOURCES unit/${name}_test.c MODULES base LIBRARIES exchange_book)
endforeach()
foreach(name lobster orders)
    baton_test(exchange_${name}_test SOURCES unit/${name}_test.c MODULES base LIBRARIES exchange_replay)
endforeach()
# The matching engine against a plain one: a sample of scripts/campaign engine.
baton_test(exchange_engine_random_test SOURCES unit/engine_random_test.c unit/plain_exchange.c
    MODULES engine snapshot journal base LIBRARIES exchange_engine_1.1.0 NOTSAN)
