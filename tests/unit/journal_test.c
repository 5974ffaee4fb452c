/* The writer in ordinary use, over both production backends. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "journal/format.h"
#include "journal/records.h"
#include "tests/unit/journal_fixture.h"

static baton_backend backend; /* set by main for a whole run of the tests */
static test_dir dir;
static const char *journal_dir;

static int set_up(void **state)
{
    (void)state;
    test_dir_make(&dir, "journal");
    journal_dir = strdup(test_path(&dir, "j"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free((void *)(uintptr_t)journal_dir);
    test_dir_remove(&dir);
    return 0;
}

static baton_journal_options options_here(void)
{
    baton_journal_options options = fixture_options();
    options.backend = backend;
    return options;
}

static void what_was_appended_is_read_again(void **state)
{
    (void)state;
    baton_journal_options options = options_here();
    baton_journal *journal = fixture_begin(journal_dir, &options);
    fixture_append_durable(journal, 1000);
    assert_int_equal(baton_journal_close(journal), 0);
    fixture_expect(journal_dir, 1, 1000);
}

static void many_segments_make_one_journal_over_three_epochs(void **state)
{
    (void)state;
    baton_journal_options options = options_here();
    for (uint32_t epoch = 1; epoch <= 3; epoch++) {
        baton_journal *journal = fixture_begin(journal_dir, &options);
        assert_int_equal(baton_journal_epoch(journal), epoch);
        fixture_append_durable(journal, 6000);
        assert_int_equal(baton_journal_close(journal), 0);
    }
    assert_true(fixture_segments(journal_dir, NULL, NULL) >= 6);
    fixture_expect(journal_dir, 1, 18000);
}

static void a_closed_journal_is_proven_to_its_end(void **state)
{
    (void)state;
    baton_journal_options options = options_here();
    baton_journal *journal = fixture_begin(journal_dir, &options);
    fixture_append_durable(journal, 10);
    assert_int_equal(baton_journal_close(journal), 0);

    baton_recovery_report report;
    assert_int_equal(baton_journal_open(journal_dir, &options, &journal, &report, NULL), 0);
    assert_int_equal(report.last.seq, 10);
    assert_int_equal(report.evidence.seq, 10);
    assert_int_equal(report.unproven, 0);
    assert_int_equal(report.torn_cut, 0);
    assert_int_equal(report.acked_lost, 0);
    baton_journal_abandon(journal);

    baton_journal_summary summary;
    assert_int_equal(baton_journal_verify(journal_dir, backend, NULL, NULL, &summary, NULL), 0);
    assert_true(summary.closed);
    assert_int_equal(summary.entries_count, 10);
}

static void an_idle_journal_proves_its_tail_by_one_mark(void **state)
{
    (void)state;
    baton_journal_options options = options_here();
    baton_journal *journal = fixture_begin(journal_dir, &options);
    fixture_append_durable(journal, 1);
    baton_position entry = baton_journal_durable_position(journal);
    for (int i = 0; i < 60000 && baton_journal_durable_position(journal).batch == entry.batch;
         i++) {
        assert_int_equal(baton_journal_poll(journal), 0);
        usleep(1000);
    }
    assert_int_equal(baton_journal_durable_position(journal).batch, entry.batch + 1);
    /* Proven now: nothing more is due but the next segment's steps. */
    for (int i = 0; i < 20; i++) {
        assert_int_equal(baton_journal_poll(journal), 0);
        usleep(500);
    }
    assert_int_equal(baton_journal_durable_position(journal).batch, entry.batch + 1);
    baton_journal_abandon(journal); /* without a close mark */

    baton_recovery_report report;
    assert_int_equal(baton_journal_open(journal_dir, &options, &journal, &report, NULL), 0);
    assert_int_equal(report.last.seq, 1);
    assert_int_equal(report.evidence.seq, 1);
    assert_int_equal(report.unproven, 0);
    baton_journal_abandon(journal);
}

static void a_claim_is_written_in_place_and_may_shrink_or_be_dropped(void **state)
{
    (void)state;
    baton_journal_options options = options_here();
    baton_journal *journal = fixture_begin(journal_dir, &options);
    void *payload;
    assert_int_equal(baton_journal_claim(journal, 100, &payload), 0);
    assert_int_equal((uintptr_t)payload % 8, 0);
    assert_int_equal(baton_journal_append(journal, 1, "x", 1, NULL), BATON_E_INVALID);
    assert_int_equal(baton_journal_commit(journal, 1, 101, NULL), BATON_E_INVALID);
    assert_int_equal(baton_journal_commit(journal, 1, BATON_CLAIM_DROP, NULL), 0);
    assert_int_equal(baton_journal_commit(journal, 1, 1, NULL), BATON_E_INVALID);
    assert_int_equal(baton_journal_last_seq(journal), 0);

    uint8_t bytes[FIXTURE_PAYLOAD_MAX];
    for (uint64_t seq = 1; seq <= 50; seq++) {
        uint32_t count = fixture_payload(seq, bytes);
        assert_int_equal(baton_journal_claim(journal, FIXTURE_PAYLOAD_MAX, &payload), 0);
        memset(payload, 0xee,
               FIXTURE_PAYLOAD_MAX); /* what is not committed must not reach the disk */
        memcpy(payload, bytes, count);
        baton_entry entry;
        assert_int_equal(baton_journal_commit(journal, fixture_type(seq), count, &entry), 0);
        assert_ptr_equal(entry.payload, payload);
        assert_int_equal(entry.seq, seq);
        assert_int_equal(baton_journal_wait(journal, seq, FIXTURE_WAIT_NS), 0);
    }
    assert_int_equal(baton_journal_close(journal), 0);
    fixture_expect(journal_dir, 1, 50);
}

static void an_open_claim_is_not_submitted_by_a_poll(void **state)
{
    (void)state;
    baton_journal_options options = options_here();
    baton_journal *journal = fixture_begin(journal_dir, &options);
    void *payload;
    assert_int_equal(baton_journal_claim(journal, FIXTURE_PAYLOAD_MAX, &payload), 0);
    uint32_t count = fixture_payload(1, payload);
    assert_int_equal(baton_journal_poll(journal), 0);
    assert_int_equal(baton_journal_commit(journal, fixture_type(1), count, NULL), 0);
    assert_int_equal(baton_journal_close(journal), 0);
    fixture_expect(journal_dir, 1, 1);
}

static void payloads_of_nothing_and_of_the_most_are_taken(void **state)
{
    (void)state;
    baton_journal_options options = options_here();
    baton_journal *journal = fixture_begin(journal_dir, &options);
    uint8_t *most = malloc(BATON_ENTRY_BYTES_MAX + 1);
    assert_non_null(most);
    memset(most, 7, BATON_ENTRY_BYTES_MAX + 1);
    void *claimed;
    assert_int_equal(baton_journal_append(journal, 1, NULL, 0, NULL), 0);
    assert_int_equal(baton_journal_append(journal, 2, most, BATON_ENTRY_BYTES_MAX, NULL), 0);
    assert_int_equal(baton_journal_append(journal, 3, most, BATON_ENTRY_BYTES_MAX + 1, NULL),
                     BATON_E_TOO_LARGE);
    assert_int_equal(baton_journal_claim(journal, BATON_ENTRY_BYTES_MAX + 1, &claimed),
                     BATON_E_TOO_LARGE);
    assert_int_equal(baton_journal_flush(journal), 0);
    assert_int_equal(baton_journal_close(journal), 0);

    baton_reader *reader;
    baton_entry entry;
    assert_int_equal(baton_reader_open(journal_dir, NULL, &reader, NULL), 0);
    assert_int_equal(baton_reader_next(reader, &entry, NULL), 1);
    assert_int_equal(entry.payload_bytes, 0);
    assert_int_equal(baton_reader_next(reader, &entry, NULL), 1);
    assert_int_equal(entry.payload_bytes, BATON_ENTRY_BYTES_MAX);
    assert_memory_equal(entry.payload, most, BATON_ENTRY_BYTES_MAX);
    assert_int_equal(baton_reader_next(reader, &entry, NULL), 0);
    baton_reader_close(reader);
    free(most);
}

static void without_polling_it_gets_full_and_a_poll_makes_room(void **state)
{
    (void)state;
    baton_journal_options options = options_here();
    baton_journal *journal = fixture_begin(journal_dir, &options);
    uint8_t payload[8192] = {1};
    uint32_t taken = 0;
    int r;
    while ((r = baton_journal_append(journal, 1, payload, sizeof(payload), NULL)) == 0)
        assert_true(++taken < 1000);
    assert_int_equal(r, BATON_E_FULL);
    assert_int_equal(baton_journal_last_seq(journal), taken);
    assert_int_equal(baton_journal_wait(journal, taken, FIXTURE_WAIT_NS), 0);
    for (int i = 0;
         i < 60000 && (r = baton_journal_append(journal, 1, payload, 1, NULL)) == BATON_E_FULL;
         i++) {
        assert_int_equal(baton_journal_poll(journal), 0);
        usleep(1000);
    }
    assert_int_equal(r, 0);
    assert_int_equal(baton_journal_close(journal), 0);
}

static void a_sealed_journal_takes_records_only(void **state)
{
    (void)state;
    baton_journal_options options = options_here();
    baton_journal *journal = fixture_begin(journal_dir, &options);
    fixture_append_durable(journal, 3);
    baton_journal_seal(journal);
    void *payload;
    assert_int_equal(baton_journal_append(journal, 1, "x", 1, NULL), BATON_E_SEALED);
    assert_int_equal(baton_journal_claim(journal, 1, &payload), BATON_E_SEALED);
    baton_finalize_wire finalize = {.schema = baton_le32_put(4)};
    assert_int_equal(
        baton_journal_append_record(journal, BATON_RECORD_FINALIZE, &finalize, sizeof(finalize)),
        0);
    assert_int_equal(baton_journal_append_record(journal, BATON_RECORD_FINALIZE, &finalize, 7),
                     BATON_E_INVALID);
    assert_int_equal(baton_journal_flush(journal), 0);
    assert_int_equal(baton_journal_last_seq(journal), 3);
    assert_int_equal(baton_journal_close(journal), 0);
    fixture_expect(journal_dir, 1, 3);
}

static void standing_facts_outlive_segments_and_epochs(void **state)
{
    (void)state;
    baton_journal_options options = options_here();
    baton_journal *journal = fixture_begin(journal_dir, &options);
    fixture_append_durable(journal, 5);
    baton_finalize_wire finalize = {.schema = baton_le32_put(7)};
    baton_root_wire root = {.seq = baton_le64_put(5), .root = {1, 2, 3}};
    baton_handover_wire handover = {.epoch = baton_le64_put(1), .last_seq = baton_le64_put(5)};
    assert_int_equal(
        baton_journal_append_record(journal, BATON_RECORD_FINALIZE, &finalize, sizeof(finalize)),
        0);
    assert_int_equal(baton_journal_append_record(journal, BATON_RECORD_ROOT, &root, sizeof(root)),
                     0);
    assert_int_equal(
        baton_journal_append_record(journal, BATON_RECORD_HANDOVER, &handover, sizeof(handover)),
        0);
    fixture_append_durable(journal, 8000); /* several segments later */
    assert_int_equal(baton_journal_close(journal), 0);

    journal = fixture_begin(journal_dir, &options);
    uint32_t removed;
    assert_int_equal(baton_journal_retire(journal, baton_journal_last_seq(journal) + 1, &removed),
                     0);
    assert_true(removed > 0); /* the segment with the records among them */
    assert_int_equal(baton_journal_close(journal), 0);

    journal = fixture_begin(journal_dir, &options);
    const baton_facts *facts = baton_journal_facts(journal);
    assert_int_equal(facts->finalized_schema, 7);
    assert_int_equal(facts->roots_count, 1);
    assert_memory_equal(&facts->roots[0], &root, sizeof(root));
    assert_memory_equal(&facts->handover, &handover, sizeof(handover));
    assert_int_equal(baton_journal_close(journal), 0);
}

static void the_fd_wakes_an_event_loop(void **state)
{
    (void)state;
    baton_journal_options options = options_here();
    baton_journal *journal = fixture_begin(journal_dir, &options);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(fixture_append(journal), 0);
        assert_int_equal(baton_journal_poll_within_ns(journal),
                         0); /* there is something to submit */
        assert_int_equal(baton_journal_poll(journal), 0);
        while (baton_journal_durable_seq(journal) < baton_journal_last_seq(journal)) {
            struct pollfd ready = {.fd = baton_journal_fd(journal), .events = POLLIN};
            assert_int_equal(poll(&ready, 1, 120000), 1);
            assert_int_equal(baton_journal_poll(journal), 0);
        }
    }
    assert_int_equal(baton_journal_close(journal), 0);
    fixture_expect(journal_dir, 1, 100);
}

/* A handover's record, or a mark: the durable position moves on, the durable seq does not. */
static void the_fd_wakes_an_event_loop_for_records_and_marks_alone(void **state)
{
    (void)state;
    for (uint32_t marks = 0; marks < 2; marks++) {
        baton_journal_options options = options_here();
        options.idle_mark_ns = marks ? 1 : UINT64_C(1000000000000);
        baton_journal *journal = fixture_begin(journal_dir, &options);
        baton_confirm_wire confirm = {.seq = baton_le64_put(1)};
        for (uint32_t i = 0; i < 20; i++) {
            uint64_t batch = baton_journal_durable_position(journal).batch + 1 + marks;
            assert_int_equal(baton_journal_append_record(journal, BATON_RECORD_CONFIRM, &confirm,
                                                         sizeof(confirm)),
                             0);
            assert_int_equal(baton_journal_poll(journal), 0);
            while (baton_journal_durable_position(journal).batch < batch) {
                struct pollfd ready = {.fd = baton_journal_fd(journal), .events = POLLIN};
                if (baton_journal_poll_within_ns(journal) > 1)
                    assert_int_equal(poll(&ready, 1, 120000), 1);
                assert_int_equal(baton_journal_poll(journal), 0);
            }
        }
        assert_int_equal(baton_journal_durable_seq(journal), 0);
        assert_int_equal(baton_journal_close(journal), 0);
    }
}

static void wrong_calls_get_an_answer(void **state)
{
    (void)state;
    baton_journal_options options = options_here();
    baton_journal *journal;
    baton_recovery_report report;
    assert_int_equal(baton_journal_open(journal_dir, &options, &journal, &report, NULL), 0);
    void *payload;
    uint32_t removed;
    assert_int_equal(baton_journal_append(journal, 1, "x", 1, NULL),
                     BATON_E_INVALID); /* before begin */
    assert_int_equal(baton_journal_claim(journal, 1, &payload), BATON_E_INVALID);
    assert_int_equal(baton_journal_retire(journal, 1, &removed), BATON_E_INVALID);
    assert_int_equal(baton_journal_poll(journal), 0);
    assert_true(baton_journal_poll_within_ns(journal) == UINT64_MAX);
    assert_int_equal(baton_journal_begin(journal, NULL, NULL), 0);
    assert_int_equal(baton_journal_begin(journal, NULL, NULL), BATON_E_INVALID);
    assert_int_equal(baton_journal_wait(journal, 1, 0), BATON_E_INVALID); /* never appended */
    assert_int_equal(baton_journal_wait(journal, 0, 0), 0);
    assert_int_equal(baton_journal_close(journal), 0);
    assert_int_equal(baton_journal_close(NULL), 0);
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    const baton_journal_options wrong[] = {
        {.segment_bytes = 4096},
        {.segment_bytes = (1 << 20) + 1},
        {.segment_bytes = UINT64_C(8) << 30},
        {.first_segment_bytes = 4096},
        {.segment_bytes = 1 << 20, .first_segment_bytes = 2 << 20},
        {.batch_bytes_max = 4096},
        {.batch_bytes_max = 8 << 20},
        {.first_segment_bytes = 256 << 10, .batch_bytes_max = 256 << 10},
        {.batches_in_flight_max = 65},
        {.service = "a name that is far too long for a service"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        baton_journal *journal;
        baton_recovery_report report;
        baton_error error = {0};
        assert_int_equal(baton_journal_open(journal_dir, &wrong[i], &journal, &report, &error),
                         BATON_E_INVALID);
        assert_true(error.why[0] != '\0' && error.todo[0] != '\0');
        assert_false(fixture_exists(journal_dir));
    }
}

static void another_service_is_refused(void **state)
{
    (void)state;
    baton_journal_options options = options_here();
    baton_journal *journal = fixture_begin(journal_dir, &options);
    fixture_append_durable(journal, 1);
    assert_int_equal(baton_journal_close(journal), 0);
    options.service = "another";
    assert_int_equal(fixture_try_begin(journal_dir, &options, &journal), BATON_E_OTHER_SERVICE);
    options.service = NULL;
    assert_int_equal(fixture_try_begin(journal_dir, &options, &journal), 0);
    assert_int_equal(baton_journal_close(journal), 0);
    fixture_expect(journal_dir, 1, 1);
}

static void a_missing_parent_is_a_clear_error(void **state)
{
    (void)state;
    baton_journal_options options = options_here();
    baton_journal *journal;
    baton_recovery_report report;
    baton_error error = {0};
    assert_int_equal(
        baton_journal_open(test_path(&dir, "no/such"), &options, &journal, &report, &error),
        -ENOENT);
    assert_non_null(strstr(error.path, "no/such"));
    assert_true(error.todo[0] != '\0');
}

static void tmpfs_is_refused_in_durable_mode_and_taken_in_mode_written(void **state)
{
    (void)state;
    struct statfs shm;
    if (statfs("/dev/shm", &shm) != 0 || shm.f_type != 0x01021994) {
        print_message("skipped: /dev/shm is no tmpfs here\n");
        skip();
    }
    char path[64];
    snprintf(path, sizeof(path), "/dev/shm/baton-%ld", (long)getpid());
    baton_journal_options options = options_here();
    baton_journal *journal;
    baton_recovery_report report;
    baton_error error = {0};
    int refused = baton_journal_open(path, &options, &journal, &report, &error);
    options.mode = BATON_MODE_WRITTEN;
    int written = fixture_try_begin(path, &options, &journal);
    if (written == 0)
        written = baton_journal_close(journal);
    test_dir made;
    snprintf(made.path, sizeof(made.path), "%s", path);
    test_dir_remove(&made);
    assert_int_equal(refused, BATON_E_FILE_SYSTEM);
    assert_non_null(strstr(error.why, "tmpfs"));
    assert_int_equal(written, 0);
}

static void mode_written_survives_a_reopen_and_says_so_in_its_headers(void **state)
{
    (void)state;
    baton_journal_options options = options_here();
    options.mode = BATON_MODE_WRITTEN;
    for (uint32_t i = 0; i < 2; i++) {
        baton_journal *journal = fixture_begin(journal_dir, &options);
        fixture_append_durable(journal, 6000);
        assert_int_equal(baton_journal_close(journal), 0);
    }
    fixture_expect(journal_dir, 1, 12000);
    char first[TEST_PATH_BYTES];
    fixture_segments(journal_dir, first, NULL);
    baton_segment_header header;
    assert_int_equal(fixture_read_file(first, 0, &header, sizeof(header)), sizeof(header));
    assert_int_equal(baton_le32_get(header.flags), BATON_SEGMENT_WRITTEN_MODE);
}

static void metrics_tell_what_happened(void **state)
{
    (void)state;
    baton_metrics *metrics;
    assert_int_equal(baton_metrics_create(&metrics), 0);
    baton_journal_options options = options_here();
    options.metrics = metrics;
    baton_journal *journal = fixture_begin(journal_dir, &options);
    fixture_append_durable(journal, 25);
    char *text;
    size_t bytes;
    assert_int_equal(baton_metrics_print(metrics, &text, &bytes), 0);
    assert_non_null(strstr(text, "\nbaton_journal_durable_seq 25\n"));
    assert_non_null(strstr(text, "\nbaton_journal_entries_total 25\n"));
    assert_non_null(strstr(text, "\nbaton_journal_broken 0\n"));
    assert_non_null(
        strstr(text, "baton_journal_commit_primitive{primitive=\"O_DIRECT write, RWF_DSYNC"));
    assert_non_null(strstr(text, "baton_journal_backend{backend="));
    free(text);
    assert_int_equal(baton_journal_close(journal), 0);
    baton_metrics_destroy(metrics);
}

#define BOTH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(what_was_appended_is_read_again),
        BOTH(many_segments_make_one_journal_over_three_epochs),
        BOTH(a_closed_journal_is_proven_to_its_end),
        BOTH(an_idle_journal_proves_its_tail_by_one_mark),
        BOTH(a_claim_is_written_in_place_and_may_shrink_or_be_dropped),
        BOTH(an_open_claim_is_not_submitted_by_a_poll),
        BOTH(payloads_of_nothing_and_of_the_most_are_taken),
        BOTH(without_polling_it_gets_full_and_a_poll_makes_room),
        BOTH(a_sealed_journal_takes_records_only),
        BOTH(standing_facts_outlive_segments_and_epochs),
        BOTH(the_fd_wakes_an_event_loop),
        BOTH(the_fd_wakes_an_event_loop_for_records_and_marks_alone),
        BOTH(wrong_calls_get_an_answer),
        BOTH(options_out_of_range_are_refused),
        BOTH(another_service_is_refused),
        BOTH(a_missing_parent_is_a_clear_error),
        BOTH(tmpfs_is_refused_in_durable_mode_and_taken_in_mode_written),
        BOTH(mode_written_survives_a_reopen_and_says_so_in_its_headers),
        BOTH(metrics_tell_what_happened),
    };
    backend = BATON_BACKEND_THREADS;
    int failed = cmocka_run_group_tests_name("journal, threads", tests, NULL, NULL);
    if (fixture_uring_is_denied())
        return failed;
    backend = BATON_BACKEND_URING;
    return failed + cmocka_run_group_tests_name("journal, uring", tests, NULL, NULL);
}
