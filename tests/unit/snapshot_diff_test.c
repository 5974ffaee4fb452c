/* tests/unit/snapshot_diff_test.c: what changed between two snapshots, against a model that counts
 * slowly. */
#include "tests/unit/snapshot_fixture.h"
#include "tests/unit/snapshot_place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <baton/snapshot_diff.h>

#define KEYS     40u
#define ROWS_MAX 300u

static const CMFixtureFunction set_up = place_make, tear_down = place_remove;

/* Small numbers, so that equal rows and equal keys are many. */
typedef struct {
    int64_t key; /* negative ones too */
    uint32_t value;
} pair;

typedef struct {
    const char *section;
    const pair *rows;
    uint32_t count;
} part;

static void publish(uint64_t seq, const part *parts, uint32_t parts_count, const char *service)
{
    const baton_snapshot_options options = {.compress = BATON_COMPRESS_RAW, .chunk_bytes = 4096};
    baton_snapshot_writer *writer = NULL;
    baton_snapshot_info info = fixture_info(seq, 1);
    snprintf(info.service, sizeof(info.service), "%s", service);
    assert_int_equal(baton_snapshot_writer_create(&options, &writer), 0);
    for (uint32_t p = 0; p < parts_count; p++) {
        baton_pack_section(writer, parts[p].section);
        for (uint32_t i = 0; i < parts[p].count; i++) {
            baton_pack_row(writer, 3);
            baton_pack_int(writer, parts[p].rows[i].key);
            baton_pack_uint(writer, parts[p].rows[i].value);
            baton_pack_text(writer, parts[p].rows[i].value % 2 ? "odd" : "even");
        }
    }
    assert_int_equal(baton_snapshot_writer_finish(writer, &info), 0);
    assert_int_equal(baton_snapshot_publish(io, dir.path, writer, &info, NULL), 0);
}

/* ---- what the caller is shown ---- */

typedef struct {
    uint32_t counts[4]; /* by baton_diff_kind */
    int64_t sum[4];     /* of keys and values: which rows, not only how many */
    uint64_t done_bytes;
} shown;

static int see(void *context, const char *section, baton_diff_kind kind,
               baton_snapshot_reader *reader, uint32_t fields_count)
{
    shown *seen = context;
    int64_t key;
    uint64_t value;
    (void)section;
    assert_int_equal(fields_count, 3);
    assert_int_equal(baton_unpack_int(reader, &key), 0);
    assert_int_equal(baton_unpack_uint(reader, &value), 0);
    seen->counts[kind]++;
    seen->sum[kind] += 1000 * key + (int64_t)value;
    return 0;
}

static void see_progress(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    shown *seen = context;
    assert_true(done_bytes >= seen->done_bytes && done_bytes <= all_bytes);
    seen->done_bytes = done_bytes;
}

/* Seq 1 against seq 2; both must have section "rows" only. */
static baton_diff_section compare(uint64_t memory_bytes_max, shown *ret_seen)
{
    const baton_snapshot_listed listed[2] = {fixture_listed(io, dir.path, 1),
                                             fixture_listed(io, dir.path, 2)};
    const baton_diff_side first = {dir.path, &listed[0]};
    const baton_diff_side second = {dir.path, &listed[1]};
    *ret_seen = (shown){0};
    const baton_diff_options options = {.row = see,
                                        .progress = see_progress,
                                        .context = ret_seen,
                                        .memory_bytes_max = memory_bytes_max};
    baton_diff_section *sections = NULL;
    baton_error error = {0};
    char text[1024];
    uint32_t count = 0;
    if (baton_snapshot_diff(&first, &second, &options, &sections, &count, &error) != 0)
        fail_msg("%s", baton_error_text(&error, text, sizeof(text)));
    assert_int_equal(count, 1);
    const baton_diff_section one = sections[0];
    free(sections);
    assert_int_equal(ret_seen->counts[BATON_DIFF_REMOVED], one.removed);
    assert_int_equal(ret_seen->counts[BATON_DIFF_ADDED], one.added);
    assert_int_equal(ret_seen->counts[BATON_DIFF_CHANGED_FROM], one.changed);
    assert_int_equal(ret_seen->counts[BATON_DIFF_CHANGED_TO], one.changed);
    return one;
}

static void remove_both(void)
{
    assert_int_equal(baton_snapshot_remove(io, dir.path, 1, 1), 0);
    assert_int_equal(baton_snapshot_remove(io, dir.path, 2, 1), 0);
}

/* ---- the model: for each key, equal rows go in pairs, what is left changed, came or went ---- */

static baton_diff_section model(const part *first, const part *second, int64_t *ret_sum)
{
    baton_diff_section counts = {.rows_first = first->count, .rows_second = second->count};
    bool used[ROWS_MAX] = {false};
    uint32_t left[2][2 * KEYS] = {{0}};
    *ret_sum = 0; /* second minus first, of all that differs */
    for (uint32_t i = 0; i < first->count; i++) {
        uint32_t j = 0;
        while (j < second->count &&
               (used[j] || memcmp(&first->rows[i], &second->rows[j], sizeof(pair)) != 0))
            j++;
        if (j < second->count)
            used[j] = true;
        else
            left[0][first->rows[i].key + KEYS]++;
        *ret_sum -= 1000 * first->rows[i].key + first->rows[i].value;
    }
    for (uint32_t j = 0; j < second->count; j++) {
        if (!used[j])
            left[1][second->rows[j].key + KEYS]++;
        *ret_sum += 1000 * second->rows[j].key + second->rows[j].value;
    }
    for (uint32_t key = 0; key < 2 * KEYS; key++) {
        const uint32_t changed = left[0][key] < left[1][key] ? left[0][key] : left[1][key];
        counts.changed += changed;
        counts.removed += left[0][key] - changed;
        counts.added += left[1][key] - changed;
    }
    return counts;
}

static uint64_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % below;
}

static uint32_t draw_rows(pair *rows)
{
    const uint32_t count = draw(ROWS_MAX);
    memset(rows, 0, ROWS_MAX * sizeof(*rows)); /* compared with memcmp */
    for (uint32_t i = 0; i < count; i++) {
        rows[i].key = (int64_t)draw(2 * KEYS) - KEYS;
        rows[i].value = draw(3);
    }
    return count;
}

static void any_two_differ_as_a_slow_count_says(void **state)
{
    (void)state;
    static pair rows[2][ROWS_MAX];
    const char *told = getenv("BATON_SEED");
    seed = told != NULL ? strtoull(told, NULL, 10) : (uint64_t)time(NULL);
    printf("seed: BATON_SEED=%llu\n", (unsigned long long)seed);
    for (uint32_t round = 0; round < 40; round++) {
        part parts[2];
        int64_t sum;
        for (uint32_t side = 0; side < 2; side++) {
            parts[side] = (part){"rows", rows[side], draw_rows(rows[side])};
            publish(side + 1, &parts[side], 1, "matching-engine");
        }
        const baton_diff_section wanted = model(&parts[0], &parts[1], &sum);
        static const uint64_t memories[] = {0, 40, 1000}; /* one part; one a row; a few */
        for (uint32_t m = 0; m < 3; m++) {
            shown seen;
            const baton_diff_section got = compare(memories[m], &seen);
            assert_int_equal(got.rows_first, wanted.rows_first);
            assert_int_equal(got.rows_second, wanted.rows_second);
            assert_int_equal(got.added, wanted.added);
            assert_int_equal(got.removed, wanted.removed);
            assert_int_equal(got.changed, wanted.changed);
            assert_int_equal(seen.sum[BATON_DIFF_ADDED] + seen.sum[BATON_DIFF_CHANGED_TO] -
                                 seen.sum[BATON_DIFF_REMOVED] - seen.sum[BATON_DIFF_CHANGED_FROM],
                             sum);
        }
        remove_both();
    }
}

static void the_order_of_rows_is_no_difference(void **state)
{
    (void)state;
    static const pair forward[] = {{1, 1}, {2, 2}, {3, 3}, {3, 4}};
    static const pair backward[] = {{3, 4}, {3, 3}, {2, 2}, {1, 1}};
    shown seen;
    publish(1, &(part){"rows", forward, 4}, 1, "matching-engine");
    publish(2, &(part){"rows", backward, 4}, 1, "matching-engine");
    const baton_diff_section one = compare(0, &seen);
    assert_int_equal(one.added + one.removed + one.changed, 0);
    assert_true(one.in_first && one.in_second);
}

static void each_difference_is_named(void **state)
{
    (void)state;
    static const pair before[] = {{1, 1}, {2, 2}, {3, 3}};
    static const pair after[] = {{1, 1}, {3, 5}, {4, 4}, {5, 5}};
    shown seen;
    publish(1, &(part){"rows", before, 3}, 1, "matching-engine");
    publish(2, &(part){"rows", after, 4}, 1, "matching-engine");
    const baton_diff_section one = compare(0, &seen);
    assert_int_equal(one.added, 2);
    assert_int_equal(one.removed, 1);
    assert_int_equal(one.changed, 1);
    assert_int_equal(seen.sum[BATON_DIFF_REMOVED], 2002);
    assert_int_equal(seen.sum[BATON_DIFF_ADDED], 9009);
    assert_int_equal(seen.sum[BATON_DIFF_CHANGED_FROM], 3003);
    assert_int_equal(seen.sum[BATON_DIFF_CHANGED_TO], 3005);
}

static void a_section_of_one_side_is_all_new_or_all_gone(void **state)
{
    (void)state;
    static const pair rows[] = {{1, 1}, {2, 2}, {3, 3}};
    const part first[] = {{"old", rows, 2}, {"same", rows, 3}};
    const part second[] = {{"new", rows, 3}, {"same", rows, 3}};
    publish(1, first, 2, "matching-engine");
    publish(2, second, 2, "matching-engine");
    const baton_snapshot_listed listed[2] = {fixture_listed(io, dir.path, 1),
                                             fixture_listed(io, dir.path, 2)};
    baton_diff_section *sections = NULL;
    uint32_t count = 0;
    assert_int_equal(baton_snapshot_diff(&(baton_diff_side){dir.path, &listed[0]},
                                         &(baton_diff_side){dir.path, &listed[1]}, NULL, &sections,
                                         &count, NULL),
                     0);
    assert_int_equal(count, 3);
    assert_string_equal(sections[0].name, "old");
    assert_true(sections[0].removed == 2 && !sections[0].in_second);
    assert_string_equal(sections[1].name, "same");
    assert_true(sections[1].removed + sections[1].added + sections[1].changed == 0);
    assert_string_equal(sections[2].name, "new");
    assert_true(sections[2].added == 3 && !sections[2].in_first);
    free(sections);
}

static void another_service_and_damage_are_refused(void **state)
{
    (void)state;
    static const pair rows[] = {{1, 1}, {2, 2}, {3, 3}};
    const part one = {"rows", rows, 3};
    baton_diff_section *sections = NULL;
    baton_error error = {0};
    uint32_t count = 0;
    size_t bytes;
    publish(1, &one, 1, "matching-engine");
    publish(2, &one, 1, "risk-engine");
    publish(3, &one, 1, "matching-engine");
    baton_snapshot_listed listed[3];
    for (uint64_t seq = 1; seq <= 3; seq++)
        listed[seq - 1] = fixture_listed(io, dir.path, seq);
    const baton_diff_side sides[] = {
        {dir.path, &listed[0]}, {dir.path, &listed[1]}, {dir.path, &listed[2]}};
    assert_int_equal(baton_snapshot_diff(&sides[0], &sides[1], NULL, &sections, &count, &error),
                     BATON_E_OTHER_SERVICE);
    assert_non_null(strstr(error.why, "risk-engine"));
    const char *chunks = test_path(&dir, "0000000000000003-0000000000000001.chunks");
    uint8_t *all = fixture_read(chunks, &bytes);
    all[3] ^= 1;
    fixture_write(chunks, all, bytes);
    free(all);
    assert_int_equal(baton_snapshot_diff(&sides[0], &sides[2], NULL, &sections, &count, &error),
                     BATON_E_DAMAGED);
    assert_string_equal(error.path, test_path(&dir, "0000000000000003-0000000000000001.chunks"));
    assert_int_equal(baton_snapshot_remove(io, dir.path, 3, 1), 0);
    assert_int_equal(baton_snapshot_diff(&sides[0], &sides[2], NULL, &sections, &count, &error) < 0,
                     1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(any_two_differ_as_a_slow_count_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_order_of_rows_is_no_difference, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_difference_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_section_of_one_side_is_all_new_or_all_gone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(another_service_and_damage_are_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
