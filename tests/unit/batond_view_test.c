/* tests/unit/batond_view_test.c: what the endpoints say, from what is known of the service. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drain/batond/view.h"

static const char instance_text[] =
    "{\"service\":\"orders\",\"version\":\"1.6.2\",\"pid\":7,\"nonce\":\"ab\"}";

/* reach and the status answer. */
static batond_view view_of(batond_reach reach, const char *status)
{
    return (batond_view){.reach = reach,
                         .status = status != NULL ? json_loads(status, 0, NULL) : NULL,
                         .instance = json_loads(instance_text, 0, NULL),
                         .why = "",
                         .batond_version = "0.1.0"};
}

static void free_view(batond_view *view)
{
    json_decref((json_t *)(uintptr_t)view->status);
    json_decref((json_t *)(uintptr_t)view->instance);
}

static unsigned ask(unsigned (*look)(const batond_view *, json_t **), const batond_view *view)
{
    json_t *body = NULL;
    const unsigned code = look(view, &body);
    assert_non_null(body);
    if (view->instance != NULL) /* H5: whatever is said, it is said of an instance */
        assert_true(json_equal(json_object_get(body, "instance"), view->instance));
    assert_true((code == 200) == (json_object_get(body, "why") == NULL) ||
                look == batond_view_health);
    json_decref(body);
    return code;
}

static void each_phase_has_its_verdicts(void **state)
{
    static const struct {
        batond_reach reach;
        const char *status;
        unsigned live, ready, started, health;
        const char *word;
    } cases[] = {
        {BATOND_ANSWERS, "{\"phase\":\"running\",\"sealed\":false}", 200, 200, 200, 200, "healthy"},
        {BATOND_ANSWERS, "{\"phase\":\"running\",\"sealed\":true}", 200, 503, 200, 200, "healthy"},
        {BATOND_ANSWERS, "{\"phase\":\"running\"}", 200, 503, 200, 200, "healthy"},
        {BATOND_ANSWERS, "{\"phase\":\"hydrating\"}", 200, 503, 503, 200, "starting"},
        {BATOND_ANSWERS, "{\"phase\":\"fetching\"}", 200, 503, 503, 200, "starting"},
        {BATOND_ANSWERS, "{\"phase\":\"draining\"}", 200, 503, 200, 200, "draining"},
        {BATOND_ANSWERS, "{\"phase\":\"following\"}", 200, 503, 200, 200, "standby"},
        {BATOND_ANSWERS, "{\"phase\":5}", 200, 503, 200, 200, "unknown"},
        {BATOND_ANSWERS, "{}", 200, 503, 200, 200, "unknown"},
        {BATOND_UNKNOWN, NULL, 200, 503, 503, 503, "unknown"},
        {BATOND_SILENT, NULL, 200, 503, 503, 503, "silent"},
        {BATOND_ABSENT, NULL, 200, 503, 503, 503, "absent"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        batond_view view = view_of(cases[i].reach, cases[i].status);
        json_t *body = NULL;
        print_message("%s\n", cases[i].status != NULL ? cases[i].status : cases[i].word);
        assert_int_equal(ask(batond_view_live, &view), cases[i].live);
        assert_int_equal(ask(batond_view_ready, &view), cases[i].ready);
        assert_int_equal(ask(batond_view_started, &view), cases[i].started);
        assert_int_equal(ask(batond_view_health, &view), cases[i].health);
        (void)batond_view_health(&view, &body);
        assert_string_equal(json_string_value(json_object_get(body, "status")), cases[i].word);
        json_decref(body);
        free_view(&view);
    }
}

static void only_one_that_hangs_is_not_alive(void **state)
{
    batond_view view = view_of(BATOND_SILENT, NULL);
    (void)state;
    assert_int_equal(ask(batond_view_live, &view), 200);
    view.hangs = true;
    assert_int_equal(ask(batond_view_live, &view), 503);
    free_view(&view);
}

static void a_batond_that_ends_is_not_ready(void **state)
{
    batond_view view = view_of(BATOND_ANSWERS, "{\"phase\":\"running\",\"sealed\":false}");
    (void)state;
    assert_true(batond_view_is_ready(&view));
    view.ending = true;
    assert_false(batond_view_is_ready(&view));
    free_view(&view);
}

static void progress_is_between_nothing_and_all(void **state)
{
    static const struct {
        const char *status;
        double progress;
    } cases[] = {
        {"{\"phase\":\"hydrating\",\"hydrating\":{\"done\":25,\"of\":100}}", 0.25},
        {"{\"phase\":\"hydrating\",\"hydrating\":{\"done\":0,\"of\":0}}", 0},
        {"{\"phase\":\"hydrating\",\"hydrating\":{\"done\":9,\"of\":3}}", 1},
        {"{\"phase\":\"hydrating\",\"hydrating\":{\"done\":\"x\"}}", 0},
        {"{\"phase\":\"running\"}", 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        batond_view view = view_of(BATOND_ANSWERS, cases[i].status);
        assert_true(batond_view_hydrate_progress(&view) == cases[i].progress);
        free_view(&view);
    }
}

static void what_does_not_fit_into_a_header_is_left_out(void **state)
{
    char text[BATOND_INSTANCE_TEXT_BYTES];
    json_t *instance = json_pack("{s:s, s:s, s:i, s:s}", "service", "a\r\nX: y", "version",
                                 "1\xc3\xa9", "pid", 3, "nonce", "n");
    (void)state;
    assert_string_equal(batond_view_instance_text(instance, text), "a??X: y/1?? pid=3 nonce=n");
    assert_string_equal(batond_view_instance_text(NULL, text), "none");
    json_decref(instance);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_phase_has_its_verdicts),
        cmocka_unit_test(only_one_that_hangs_is_not_alive),
        cmocka_unit_test(a_batond_that_ends_is_not_ready),
        cmocka_unit_test(progress_is_between_nothing_and_all),
        cmocka_unit_test(what_does_not_fit_into_a_header_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
