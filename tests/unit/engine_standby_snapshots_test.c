/* tests/unit/engine_standby_snapshots_test.c: snapshots of the active's in a standby's directory: they count as its
 * own when its journal names them, and not before (S1, S7). */
#include "tests/unit/engine_pair.h"

#include <stdio.h>
#include <stdlib.h>

#include "snapshot/store.h"

static engine_fixture a;
static engine_fixture b;
static engine_expected *expected;

static char *snapshots_of(const engine_fixture *f, char path[1000])
{
    snprintf(path, 1000, "%s/snapshots", f->path);
    return path;
}

/* All of the active's, oldest first: how many of them count from here on. */
static int adopt_all(void)
{
    char from[1000], to[1000], command[2100];
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    int adopted = 0;
    snprintf(command, sizeof(command), "mkdir -p '%s' && cp -n '%s'/* '%s'/", snapshots_of(&b, to),
             snapshots_of(&a, from), to);
    assert_int_equal(system(command), 0);
    assert_int_equal(baton_snapshot_list(to, &list, &count, NULL), 0);
    for (uint32_t i = count; i-- > 0;) {
        const bool had = baton_engine_has_snapshot(b.engine, list[i].info.seq, list[i].info.root);
        const int r = baton_engine_adopt_snapshot(b.engine, &list[i].info, &b.error);
        assert_true(r == 0 || r == BATON_E_UNTRUSTED);
        assert_int_equal(baton_engine_has_snapshot(b.engine, list[i].info.seq, list[i].info.root),
                         r == 0);
        adopted += r == 0 && !had;
    }
    free(list);
    return adopted;
}

static void they_count_once_the_journal_names_them_and_the_older_go(void **unused)
{
    (void)unused;
    engine_feed feed = {0};
    baton_rto_prediction before, after;
    engine_fixture_make(&a, "adopt_active");
    engine_fixture_make(&b, "adopt_standby");
    engine_fixture_open(&a, &toy_service_v1);
    engine_pair_open_standby(&b, &toy_service_v1);
    engine_feed_open(&feed, &a, &b);
    engine_fixture_submit_stream(&a, 1, 300);
    engine_fixture_settle(&a);
    engine_feed_catch_up(&feed);
    assert_int_equal(engine_fixture_snapshot(&a), 0);
    assert_int_equal(adopt_all(), 0); /* the record that names it has not come */
    engine_fixture_submit_stream(&a, 301, 400);
    engine_fixture_settle(&a);
    engine_feed_catch_up(&feed);
    baton_engine_rto_get(b.engine, &before);
    assert_int_equal(adopt_all(), 1);
    baton_engine_rto_get(b.engine, &after);
    assert_int_equal(before.tail_entries, 400);
    assert_int_equal(after.snapshot_seq, 300);
    assert_int_equal(after.tail_entries, 100);
    assert_true(after.tail_bytes < before.tail_bytes);
    assert_int_equal(adopt_all(), 0); /* once */

    for (uint64_t n = 401; n <= 800; n += 200) {
        assert_int_equal(engine_fixture_snapshot(&a), 0);
        engine_fixture_submit_stream(&a, n, n + 199);
        engine_fixture_settle(&a);
        engine_feed_catch_up(&feed);
        assert_int_equal(adopt_all(), 1);
        engine_fixture_turn(&b);
    }
    assert_int_equal(engine_fixture_snapshots_count(&b), 2);
    engine_pair_assert_equal(&feed);
    engine_feed_close(&feed);
    engine_fixture_close(&b);
    engine_pair_open_standby(&b, &toy_service_v1);
    assert_int_equal(b.report.snapshot_seq, 600);
    assert_int_equal(b.report.replayed_entries, 200);
    engine_assert_expected(&b, expected);
    engine_fixture_remove(&a);
    engine_fixture_remove(&b);
}

static void an_active_adopts_none(void **unused)
{
    (void)unused;
    const baton_snapshot_info info = {.seq = 1};
    engine_fixture_make(&a, "adopt_none");
    engine_fixture_open(&a, &toy_service_v1);
    assert_int_equal(baton_engine_adopt_snapshot(a.engine, &info, &a.error), BATON_E_INVALID);
    engine_fixture_remove(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_count_once_the_journal_names_them_and_the_older_go),
        cmocka_unit_test(an_active_adopts_none),
    };
    expected = engine_stream_expected(800);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(expected);
    return failed;
}
