/* repair: a torn tail is cut as a start would, damage only when its loss is accepted, and nothing
 * is ever deleted. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/unit/journal_look.h"

typedef struct {
    test_dir dir;
    journal_builder builder;
    baton_repair_report report;
    baton_error error;
} repair_stage;

static int setup(void **state)
{
    static repair_stage stage;
    test_dir_make(&stage.dir, "journal_repair");
    builder_init(&stage.builder, test_path(&stage.dir, "j"));
    *state = &stage;
    return 0;
}

static int teardown(void **state)
{
    repair_stage *stage = *state;
    test_dir_remove(&stage->dir);
    return 0;
}

static int repair(repair_stage *stage, bool accept_loss)
{
    return baton_journal_repair(stage->builder.directory, BATON_BACKEND_THREADS, accept_loss,
                                &stage->report, &stage->error);
}

/* Files in torn/ and their bytes. */
static uint64_t kept_bytes(const repair_stage *stage, uint32_t *ret_files)
{
    char path[BUILDER_PATH_BYTES];
    uint64_t bytes = 0;
    struct dirent *entry;
    struct stat status;

    *ret_files = 0;
    (void)snprintf(path, sizeof(path), "%s/torn", stage->builder.directory);
    DIR *directory = opendir(path);
    if (directory == NULL)
        return 0;
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(fstatat(dirfd(directory), entry->d_name, &status, 0), 0);
        bytes += (uint64_t)status.st_size;
        ++*ret_files;
    }
    (void)closedir(directory);
    return bytes;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* The repaired journal takes a writer, who goes on with the next seq and an epoch above every one
 * that was burnt. */
static void assert_writable(const repair_stage *stage, uint64_t last_seq, uint64_t epoch_above)
{
    const baton_journal_options options = {
        .backend = BATON_BACKEND_THREADS, .segment_bytes = 1 << 20, .no_ballast = true};
    baton_recovery_report report;
    baton_journal *journal;
    baton_entry entry;
    baton_error error;
    char text[1200];

    int r = baton_journal_open(stage->builder.directory, &options, &journal, &report, &error);
    if (r < 0)
        fail_msg("%s", baton_error_text(&error, text, sizeof(text)));
    assert_int_equal(report.last.seq, last_seq);
    assert_int_equal(baton_journal_begin(journal, &report, &error), 0);
    assert_true(baton_journal_epoch(journal) > epoch_above);
    assert_int_equal(baton_journal_append(journal, 1, "new", 3, &entry), 0);
    assert_int_equal(entry.seq, last_seq + 1);
    assert_int_equal(baton_journal_close(journal), 0);
    baton_journal_summary summary;
    assert_int_equal(baton_journal_verify(stage->builder.directory, BATON_BACKEND_THREADS, NULL,
                                          NULL, &summary, &error),
                     0);
    assert_true(summary.closed);
    assert_int_equal(summary.recovery.last.seq, last_seq + 1);
}

static void healthy_or_absent_journal_needs_nothing(void **state)
{
    repair_stage *stage = *state;
    char nowhere[BUILDER_PATH_BYTES];

    builder_epoch(&stage->builder, 1);
    builder_batch(&stage->builder, 3);
    builder_mark(&stage->builder, BATON_BATCH_CLOSE);
    for (int accept = 0; accept < 2; accept++) {
        assert_int_equal(repair(stage, accept), 0);
        assert_int_equal(stage->report.cut_bytes, 0);
        assert_string_equal(stage->report.kept_path, "");
        assert_int_equal(stage->report.last.seq, 3);
    }
    assert_int_equal(look_at(stage->builder.directory).recovery.epoch_highest, 1);
    (void)snprintf(nowhere, sizeof(nowhere), "%s", test_path(&stage->dir, "nowhere"));
    assert_int_equal(
        baton_journal_repair(nowhere, BATON_BACKEND_THREADS, true, &stage->report, &stage->error),
        0);
    assert_false(exists(nowhere));
}

/* A roll was under way: a torn batch, and in the next segment batches before its header. */
static void torn_tail_of_several_segments_is_kept_whole(void **state)
{
    repair_stage *stage = *state;
    journal_builder *builder = &stage->builder;
    uint8_t torn[3][4096];
    uint8_t kept[4096];
    char path[BUILDER_PATH_BYTES + 96];
    uint64_t offsets[3];
    uint32_t files;

    builder_epoch(builder, 1);
    builder_batch(builder, 3);
    builder->keep_durable = true;
    offsets[0] = builder_batch(builder, 3);
    builder_flip(builder_path(builder, 1, 1), offsets[0] + 130, 1);
    for (uint64_t index = 2; index <= 3; index++) {
        builder_roll(builder);
        builder_zero(builder_path(builder, 1, index - 1), builder->segment_bytes - 4096, 4096);
        offsets[index - 1] = builder_batch(builder, 2);
        builder_zero(builder_path(builder, 1, index), 0, 4096);
    }
    for (uint64_t index = 1; index <= 3; index++)
        builder_read(builder_path(builder, 1, index), offsets[index - 1], torn[index - 1],
                     sizeof(torn[0]));
    assert_int_equal(repair(stage, false), 0);
    assert_int_equal(stage->report.cut_bytes, 3 * 4096);
    assert_int_equal(stage->report.last.seq, 3);
    assert_int_equal(kept_bytes(stage, &files), 3 * 4096);
    assert_int_equal(files, 3);
    for (uint64_t index = 1; index <= 3; index++) {
        (void)snprintf(path, sizeof(path), "%s/0000000000000001-%016llx-%016llx.torn",
                       stage->report.kept_path, (unsigned long long)index,
                       (unsigned long long)offsets[index - 1]);
        builder_read(path, 0, kept, sizeof(kept));
        assert_memory_equal(kept, torn[index - 1], sizeof(kept));
    }
    assert_writable(stage, 3, 1);
}

static void torn_tail_is_cut_and_kept_aside(void **state)
{
    repair_stage *stage = *state;
    uint8_t torn[4096], kept[4096];

    builder_epoch(&stage->builder, 1);
    builder_batch(&stage->builder, 3);
    uint64_t offset = builder_batch(&stage->builder, 3);
    builder_flip(builder_path(&stage->builder, 1, 1), offset + 130, 1);
    builder_read(builder_path(&stage->builder, 1, 1), offset, torn, sizeof(torn));
    assert_int_equal(repair(stage, false), 0);
    assert_int_equal(stage->report.cut_bytes, 4096);
    assert_int_equal(stage->report.lost_entries_at_least, 0);
    assert_int_equal(stage->report.last.seq, 3);
    builder_read(stage->report.kept_path, 0, kept, sizeof(kept));
    assert_memory_equal(kept, torn, sizeof(torn));
    builder_read(builder_path(&stage->builder, 1, 1), offset, kept, sizeof(kept));
    assert_memory_equal(kept, torn, sizeof(torn)); /* void now, never overwritten */
    journal_look look = look_at(stage->builder.directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.report.torn_cut, 0);
    assert_int_equal(repair(stage, false), 0);
    assert_int_equal(stage->report.cut_bytes, 0);
    assert_writable(stage, 3, 2);
}

static void damage_is_refused_unless_its_loss_is_accepted(void **state)
{
    repair_stage *stage = *state;
    uint32_t files;

    builder_epoch(&stage->builder, 1);
    builder_batch(&stage->builder, 3);
    uint64_t offset = builder_batch(&stage->builder, 3);
    builder_batch(&stage->builder, 3);
    builder_mark(&stage->builder, 0);
    builder_flip(builder_path(&stage->builder, 1, 1), offset + 130, 1);
    assert_int_equal(repair(stage, false), BATON_E_DAMAGED);
    assert_int_equal(stage->error.offset, offset);
    assert_int_equal(kept_bytes(stage, &files), 0);

    assert_int_equal(repair(stage, true), 0);
    assert_int_equal(stage->report.lost_entries_at_least, 6);
    assert_int_equal(stage->report.last.seq, 3);
    assert_true(kept_bytes(stage, &files) >= stage->builder.segment_bytes);
    uint8_t byte, kept_byte;
    char kept[BUILDER_PATH_BYTES + 64];
    (void)snprintf(kept, sizeof(kept), "%s/0000000000000001-0000000000000001.000.seg",
                   stage->report.kept_path);
    for (uint64_t at = 4096; at < 6 * 4096; at += 511) { /* the whole segment, damage included */
        builder_read(kept, at, &kept_byte, 1);
        builder_read(builder_path(&stage->builder, 1, 1), at, &byte, 1);
        assert_int_equal(byte, at < offset ? kept_byte : 0);
    }
    assert_int_equal(look_at(stage->builder.directory).entries, 3);
    assert_writable(stage, 3, 1);
}

static void later_segments_and_epochs_move_aside_and_stay_burnt(void **state)
{
    repair_stage *stage = *state;
    uint32_t files;

    builder_epoch(&stage->builder, 1);
    builder_batch(&stage->builder, 3);
    uint64_t offset = builder_batch(&stage->builder, 2);
    builder_roll(&stage->builder);
    builder_batch(&stage->builder, 3);
    builder_epoch(&stage->builder, 6);
    builder_batch(&stage->builder, 3);
    builder_mark(&stage->builder, BATON_BATCH_CLOSE);
    builder_zero(builder_path(&stage->builder, 1, 1), offset, 4096);
    assert_int_equal(repair(stage, true), 0);
    assert_int_equal(stage->report.last.seq, 3);
    assert_true(stage->report.lost_entries_at_least >= 2);
    (void)kept_bytes(stage, &files);
    assert_int_equal(files, 3);
    assert_false(exists(builder_path(&stage->builder, 1, 2)));
    journal_look look = look_at(stage->builder.directory);
    assert_int_equal(look.status, 0);
    assert_int_equal(look.entries, 3);
    assert_int_equal(look.recovery.epoch_highest, 6);
    assert_int_equal(look.recovery.index_highest, 3);
    assert_writable(stage, 3, 6);
}

static void damaged_headers_and_missing_segments_are_cut_too(void **state)
{
    repair_stage *stage = *state;
    char directory[3][BUILDER_PATH_BYTES];

    for (int how = 0; how < 3; how++) {
        journal_builder *builder = &stage->builder;
        (void)snprintf(directory[how], sizeof(directory[how]), "%s-%d", test_path(&stage->dir, "h"),
                       how);
        builder_init(builder, directory[how]);
        builder_epoch(builder, 1);
        builder_batch(builder, 3);
        builder_epoch(builder, 2);
        builder_batch(builder, 3);
        builder_roll(builder);
        builder_batch(builder, 3);
        builder_epoch(builder, 3);
        builder_batch(builder, 3);
        builder_mark(builder, 0);
        if (how == 0)
            builder_flip(builder_path(builder, 2, 3), 100, 1);
        else if (how == 1)
            assert_int_equal(unlink(builder_path(builder, 2, 2)), 0);
        else
            builder_flip(builder_path(builder, 1, 1), 100, 1);
        const uint64_t left = how == 0 ? 6 : how == 1 ? 3 : 0;
        assert_int_equal(look_at(builder->directory).status, BATON_E_DAMAGED);
        assert_int_equal(repair(stage, true), 0);
        journal_look look = look_at(builder->directory);
        assert_int_equal(look.status, 0);
        assert_int_equal(look.entries, left);
        assert_true(look.recovery.epoch_highest >= 3); /* a torn rest costs one more */
        assert_writable(stage, left, 3);
    }
}

/* A second run finds nothing to do: no further cut, no further copy. */
static void repair_that_is_run_twice_changes_nothing_more(void **state)
{
    repair_stage *stage = *state;
    uint32_t files, files_again;

    builder_epoch(&stage->builder, 1);
    builder_batch(&stage->builder, 3);
    uint64_t offset = builder_batch(&stage->builder, 3);
    builder_mark(&stage->builder, 0);
    builder_zero(builder_path(&stage->builder, 1, 1), offset, 4096);
    assert_int_equal(repair(stage, true), 0);
    uint64_t bytes = kept_bytes(stage, &files);
    assert_int_equal(repair(stage, true), 0);
    assert_int_equal(stage->report.cut_bytes, 0);
    assert_int_equal(kept_bytes(stage, &files_again), bytes);
    assert_int_equal(files, files_again);
}

static void other_journals_and_newer_formats_are_left_alone(void **state)
{
    repair_stage *stage = *state;
    uint32_t files;

    builder_epoch(&stage->builder, 1);
    builder_batch(&stage->builder, 3);
    baton_segment_header header = stage->builder.header;
    header.version = baton_le32_put(2);
    baton_segment_header_seal(&header);
    builder_write(builder_path(&stage->builder, 1, 1), 0, &header, sizeof(header));
    assert_int_equal(repair(stage, true), BATON_E_NEWER_FORMAT);
    assert_int_equal(kept_bytes(stage, &files), 0);
    assert_true(exists(builder_path(&stage->builder, 1, 1)));
}

static void journal_with_a_writer_is_left_alone(void **state)
{
    repair_stage *stage = *state;
    baton_io_options options = {.choice = BATON_IO_THREADS};
    char path[BUILDER_PATH_BYTES];
    baton_io_file lock;
    baton_io *io;

    builder_epoch(&stage->builder, 1);
    builder_batch(&stage->builder, 3);
    (void)snprintf(path, sizeof(path), "%s/LOCK", stage->builder.directory);
    assert_int_equal(baton_io_open(&options, &io, NULL), 0);
    assert_int_equal(
        baton_io_file_open(io, path,
                           BATON_IO_FOR_READ | BATON_IO_FOR_WRITE | BATON_IO_CREATE_OR_OPEN, &lock),
        0);
    assert_int_equal(baton_io_file_lock(io, lock), 0);
    assert_int_equal(repair(stage, true), BATON_E_LOCKED);
    baton_io_file_close(io, lock);
    baton_io_close(io);
    assert_int_equal(repair(stage, true), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(healthy_or_absent_journal_needs_nothing),
        TEST(torn_tail_is_cut_and_kept_aside),
        TEST(torn_tail_of_several_segments_is_kept_whole),
        TEST(damage_is_refused_unless_its_loss_is_accepted),
        TEST(later_segments_and_epochs_move_aside_and_stay_burnt),
        TEST(damaged_headers_and_missing_segments_are_cut_too),
        TEST(repair_that_is_run_twice_changes_nothing_more),
        TEST(other_journals_and_newer_formats_are_left_alone),
        TEST(journal_with_a_writer_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
