/* tests/unit/engine_late_test.c: what a dead writer's ring still does when the next one has read which
 * snapshots there are (S1, J10). */
#include "tests/unit/engine_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static char waiting[TEST_PATH_BYTES + 64]; /* the manifest, until it gets its name */
static char named[TEST_PATH_BYTES + 96];

/* In the replay the catalogue was read already. */
static int renaming_apply(void *state, const baton_entry *entry, baton_effects *effects)
{
    if (entry->seq == 150)
        assert_int_equal(rename(waiting, named), 0);
    return toy_service_arena.apply(state, entry, effects);
}

static void go_and_take(engine_fixture *f, uint64_t to)
{
    engine_fixture_submit_stream(f, baton_engine_applied_seq(f->engine) + 1, to);
    engine_fixture_settle(f);
    assert_int_equal(engine_fixture_snapshot(f), 0);
}

static bool is_there(const engine_fixture *f, uint64_t seq)
{
    baton_snapshot_listed *list = NULL;
    uint32_t count = 0;
    char path[TEST_PATH_BYTES + 64];
    bool there = false;
    snprintf(path, sizeof(path), "%s/snapshots", f->path);
    assert_int_equal(baton_snapshot_list(path, &list, &count, NULL), 0);
    for (uint32_t i = 0; i < count; i++)
        there = there || list[i].info.seq == seq;
    free(list);
    return there;
}

static void an_increment_that_comes_late_goes_before_what_it_adds_to(void **unused)
{
    (void)unused;
    engine_fixture f;
    baton_service renaming = toy_service_arena;
    renaming.apply = renaming_apply;
    engine_fixture_make(&f, "late");
    f.options.snapshot_form = BATON_FORM_IMAGE;
    engine_fixture_open(&f, &toy_service_arena);
    go_and_take(&f, 100);
    go_and_take(&f, 200);
    const bool adds = !baton_engine_snapshot_status(f.engine)->last_full;
    engine_fixture_close(&f);
    if (!adds) {
        print_message("pages can't be watched here\n");
        engine_fixture_remove(&f);
        skip();
    }
    snprintf(named, sizeof(named), "%s", engine_snapshot_path(&f, 0, "manifest"));
    snprintf(waiting, sizeof(waiting), "%s/late", f.path);
    assert_int_equal(rename(named, waiting), 0);

    f.options.image_full_every = 1;
    engine_fixture_open(&f, &renaming);
    assert_int_equal(f.report.snapshot_seq, 100);
    assert_true(is_there(&f, 200));
    go_and_take(&f, 300);
    go_and_take(&f, 400);
    engine_fixture_submit_stream(&f, 401, 410);
    engine_fixture_settle(&f);
    for (int i = 0; i < 5; i++)
        engine_fixture_turn(&f);
    assert_false(is_there(&f, 100));
    assert_false(is_there(&f, 200));
    engine_fixture_close(&f);
    engine_fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_increment_that_comes_late_goes_before_what_it_adds_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
