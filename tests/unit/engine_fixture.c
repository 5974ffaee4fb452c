/* tests/unit/engine_fixture.c */
#include "tests/unit/engine_fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <baton/clock.h>

#include "engine/machine.h"

static void released(void *context, const baton_effect *effect)
{
    engine_fixture *fixture = context;
    baton_engine_status status;
    if (fixture->engine != NULL) {
        assert_int_equal(baton_engine_status_get(fixture->engine, &status), 0);
        if (status.durable_seq < effect->seq)
            fixture->durable_broken_count++;
    }
    assert_true(fixture->seen_count < FIXTURE_EFFECTS_MAX);
    fixture->seen[fixture->seen_count++] = (engine_seen){
        .epoch = effect->epoch,
        .seq = effect->seq,
        .index = effect->index,
        .consumer = effect->consumer,
        .type = effect->type,
        .resent = effect->resent,
    };
    if (fixture->on_release != NULL)
        fixture->on_release(fixture->on_release_context, effect);
}

static void turned(void *context)
{
    ((engine_fixture *)context)->turns_count++;
}

void engine_fixture_make(engine_fixture *fixture, const char *name)
{
    memset(fixture, 0, sizeof(*fixture));
    test_dir_make(&fixture->dir, name);
    snprintf(fixture->path, sizeof(fixture->path), "%s/data", fixture->dir.path);
    fixture->seen = calloc(FIXTURE_EFFECTS_MAX, sizeof(*fixture->seen));
    assert_non_null(fixture->seen);
    fixture->options.segment_bytes = 1 << 20;
}

void engine_fixture_remove(engine_fixture *fixture)
{
    int r = baton_engine_close(fixture->engine);
    (void)r;
    free(fixture->seen);
    test_dir_remove(&fixture->dir);
}

int engine_fixture_try_open(engine_fixture *fixture, const baton_service *service)
{
    const baton_engine_hooks hooks = {.release = released, .turn = turned, .context = fixture};
    memset(&fixture->error, 0, sizeof(fixture->error));
    fixture->engine = NULL;
    return baton_engine_open(service, fixture->path, &fixture->options, &hooks, &fixture->engine,
                             &fixture->report, &fixture->error);
}

static void must(const engine_fixture *fixture, int r, const char *what)
{
    char text[1024];
    if (r != 0)
        fail_msg("%s: %s: %s", what, baton_status_name(r),
                 baton_error_text(&fixture->error, text, sizeof(text)));
}

void engine_fixture_open(engine_fixture *fixture, const baton_service *service)
{
    must(fixture, engine_fixture_try_open(fixture, service), "open");
}

void engine_fixture_close(engine_fixture *fixture)
{
    int r = baton_engine_close(fixture->engine);
    fixture->engine = NULL;
    must(fixture, r, "close");
}

toy_add engine_stream_entry(uint64_t n)
{
    uint64_t x = n * UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 29;
    return (toy_add){
        .key = baton_le32_put((uint32_t)(x % TOY_KEYS)),
        .amount = baton_le32_put((uint32_t)(x >> 40) % 1000 + 1),
    };
}

void engine_fixture_submit_stream(engine_fixture *fixture, uint64_t from_n, uint64_t to_n)
{
    const uint64_t begin_ns = baton_clock_monotonic_ns(baton_clock_system());
    for (uint64_t n = from_n; n <= to_n; n++) {
        const toy_add add = engine_stream_entry(n);
        uint64_t seq = 0;
        int r;
        while ((r = baton_engine_submit(fixture->engine, TOY_ADD, &add, sizeof(add), &seq)) ==
               BATON_E_FULL) {
            engine_fixture_turn(fixture);
            assert_true(baton_clock_monotonic_ns(baton_clock_system()) - begin_ns <
                        FIXTURE_HANG_NS);
        }
        must(fixture, r, "submit");
        assert_int_equal(seq, n);
    }
}

int engine_fixture_add(engine_fixture *fixture, uint32_t key, uint32_t amount)
{
    const toy_add add = {baton_le32_put(key), baton_le32_put(amount)};
    uint64_t seq;
    return baton_engine_submit(fixture->engine, TOY_ADD, &add, sizeof(add), &seq);
}

int engine_fixture_burst(engine_fixture *fixture, uint32_t count, uint32_t bytes, uint32_t consumer)
{
    const toy_burst burst = {baton_le32_put(count), baton_le32_put(bytes),
                             baton_le32_put(consumer)};
    uint64_t seq;
    return baton_engine_submit(fixture->engine, TOY_BURST, &burst, sizeof(burst), &seq);
}

void engine_fixture_turn(engine_fixture *fixture)
{
    must(fixture, baton_engine_turn(fixture->engine, 10000000, &fixture->error), "turn");
}

void engine_fixture_settle(engine_fixture *fixture)
{
    const uint64_t begin_ns = baton_clock_monotonic_ns(baton_clock_system());
    while (!baton_engine_all_released(fixture->engine)) {
        engine_fixture_turn(fixture);
        assert_true(baton_clock_monotonic_ns(baton_clock_system()) - begin_ns < FIXTURE_HANG_NS);
    }
    assert_int_equal(fixture->durable_broken_count, 0);
}

void engine_fixture_hand_over(engine_fixture *fixture)
{
    const uint64_t begin_ns = baton_clock_monotonic_ns(baton_clock_system());
    baton_engine_seal(fixture->engine);
    engine_fixture_settle(fixture);
    must(fixture, baton_engine_handover_record(fixture->engine, &fixture->error),
         "handover record");
    while (!baton_engine_handover_durable(fixture->engine)) {
        engine_fixture_turn(fixture);
        assert_true(baton_clock_monotonic_ns(baton_clock_system()) - begin_ns < FIXTURE_HANG_NS);
    }
}

int engine_fixture_snapshot(engine_fixture *fixture)
{
    const uint64_t begin_ns = baton_clock_monotonic_ns(baton_clock_system());
    const baton_engine_snapshot_state *state = baton_engine_snapshot_status(fixture->engine);
    int r = BATON_E_AGAIN;
    while (state->running || r == BATON_E_AGAIN) {
        if (r == BATON_E_AGAIN) /* one that was due is being written */
            r = baton_engine_snapshot_begin(fixture->engine, &fixture->error);
        if (r < 0 && r != BATON_E_AGAIN)
            return r;
        engine_fixture_turn(fixture);
        assert_true(baton_clock_monotonic_ns(baton_clock_system()) - begin_ns < FIXTURE_HANG_NS);
    }
    return state->last_status;
}

int engine_fixture_finalize(engine_fixture *fixture)
{
    const uint64_t begin_ns = baton_clock_monotonic_ns(baton_clock_system());
    int r;
    while ((r = baton_engine_finalize(fixture->engine, &fixture->error)) == BATON_E_AGAIN) {
        engine_fixture_turn(fixture);
        assert_true(baton_clock_monotonic_ns(baton_clock_system()) - begin_ns < FIXTURE_HANG_NS);
    }
    return r;
}

engine_expected *engine_stream_expected(uint64_t entries_count)
{
    baton_machine *machine = malloc(sizeof(*machine));
    engine_expected *expected = calloc(entries_count + 1, sizeof(*expected));
    assert_non_null(machine);
    assert_non_null(expected);
    assert_int_equal(baton_machine_init(machine, &toy_service_v1, NULL, NULL), 0);
    for (uint64_t n = 0; n <= entries_count; n++) {
        const toy_add add = engine_stream_entry(n);
        const baton_entry entry = {
            .seq = n, .epoch = 1, .type = TOY_ADD, .payload = &add, .payload_bytes = sizeof(add)};
        if (n > 0)
            assert_int_equal(baton_machine_apply(machine, &entry), 0);
        assert_int_equal(baton_machine_digest(machine, 1, &expected[n].state), 0);
        expected[n].effects = machine->effect_digest;
        expected[n].effects_count = machine->effects_count;
        expected[n].outbox_bytes = machine->outbox.bytes;
        expected[n].outbox_effects = machine->outbox.count;
    }
    baton_machine_fini(machine);
    free(machine);
    return expected;
}

void engine_assert_expected(engine_fixture *fixture, const engine_expected *expected)
{
    const baton_engine_status status = engine_fixture_status(fixture);
    assert_memory_equal(&status.state_digest, &expected[status.seq].state, sizeof(baton_digest));
    assert_memory_equal(&status.effect_digest, &expected[status.seq].effects, sizeof(baton_digest));
    assert_int_equal(status.effects_count, expected[status.seq].effects_count);
}

void engine_assert_uninterrupted(engine_fixture *fixture, const engine_expected *expected)
{
    uint64_t counters[TOY_KEYS] = {0};
    const baton_engine_status status = engine_fixture_status(fixture);
    engine_assert_expected(fixture, expected);
    for (uint64_t n = 1; n <= status.seq; n++) {
        const toy_add add = engine_stream_entry(n);
        counters[baton_le32_get(add.key)] += baton_le32_get(add.amount);
    }
    for (uint32_t key = 0; key < TOY_KEYS; key++)
        assert_int_equal(toy_counter(baton_engine_state(fixture->engine), key), counters[key]);
    assert_int_equal(status.outbox_effects, expected[status.seq].outbox_effects);
    assert_int_equal(status.outbox_bytes, expected[status.seq].outbox_bytes);
}

baton_engine_status engine_fixture_status(const engine_fixture *fixture)
{
    baton_engine_status status;
    assert_int_equal(baton_engine_status_get(fixture->engine, &status), 0);
    return status;
}

uint32_t engine_fixture_snapshots_count(const engine_fixture *fixture)
{
    char path[TEST_PATH_BYTES + 32];
    baton_snapshot_listed *listed;
    uint32_t count;
    snprintf(path, sizeof(path), "%s/snapshots", fixture->path);
    assert_int_equal(baton_snapshot_list(path, &listed, &count, NULL), 0);
    free(listed);
    return count;
}

void engine_damage(const char *path, long offset)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, offset < 0 ? SEEK_END : SEEK_SET), 0);
    const long at = ftell(file);
    const int byte = fgetc(file);
    assert_true(byte != EOF);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 0xff, file), byte ^ 0xff);
    assert_int_equal(fclose(file), 0);
}

const char *engine_snapshot_path(const engine_fixture *fixture, uint32_t n, const char *suffix)
{
    static char path[TEST_PATH_BYTES + 128];
    char directory[TEST_PATH_BYTES + 32];
    baton_snapshot_listed *listed;
    uint32_t count;
    snprintf(directory, sizeof(directory), "%s/snapshots", fixture->path);
    assert_int_equal(baton_snapshot_list(directory, &listed, &count, NULL), 0);
    assert_true(n < count);
    snprintf(path, sizeof(path), "%s/%016llx-%016llx.%s", directory,
             (unsigned long long)listed[n].info.seq, (unsigned long long)listed[n].info.epoch,
             suffix);
    free(listed);
    return path;
}

static void copy_file(const char *from, const char *to)
{
    static char buffer[1 << 16];
    FILE *in = fopen(from, "rb");
    FILE *out = fopen(to, "wb");
    size_t n;
    assert_non_null(in);
    assert_non_null(out);
    while ((n = fread(buffer, 1, sizeof(buffer), in)) > 0)
        assert_int_equal(fwrite(buffer, 1, n, out), n);
    assert_int_equal(fclose(in), 0);
    assert_int_equal(fclose(out), 0);
}

void engine_copy_directory(const char *from, const char *to)
{
    assert_int_equal(mkdir(to, 0750), 0);
    DIR *directory = opendir(from);
    assert_non_null(directory);
    for (struct dirent *item = readdir(directory); item != NULL; item = readdir(directory)) {
        char source[TEST_PATH_BYTES + 300];
        char target[TEST_PATH_BYTES + 300];
        struct stat stat_buffer;
        snprintf(source, sizeof(source), "%s/%s", from, item->d_name);
        snprintf(target, sizeof(target), "%s/%s", to, item->d_name);
        assert_int_equal(stat(source, &stat_buffer), 0);
        if (S_ISREG(stat_buffer.st_mode))
            copy_file(source, target);
    }
    closedir(directory);
}

uint64_t engine_sweep_stride(void)
{
    const char *sanitizer = getenv("BATON_SANITIZE");
    return sanitizer != NULL && sanitizer[0] != '\0' ? 5 : 1;
}
