/* The journal that format v1's first writer wrote (tests/golden/journal-v1) reads today as it did
 * then. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <baton/journal.h>

#include "tests/support/journal_builder.h"
#include "tests/support/test_dir.h"

static char line[256];

static FILE *golden(const char *name)
{
    const char *source = getenv("BATON_SOURCE");
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/tests/golden/journal-v1/%s", source ? source : ".",
                   name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail_msg("%s is not there; BATON_SOURCE names the source tree", path);
    return file;
}

static unsigned nibble(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void write_groups(const char *path, const char *text)
{
    uint64_t offset;
    unsigned count;
    char hex[33];
    uint8_t group[16];

    assert_int_equal(sscanf(text, "%" SCNu64 " %u %32s", &offset, &count, hex), 3);
    for (unsigned i = 0; i < 16; i++)
        group[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    uint8_t *bytes = malloc(16u * count);
    assert_non_null(bytes);
    for (unsigned i = 0; i < count; i++)
        memcpy(bytes + 16 * i, group, 16);
    builder_write(path, offset, bytes, 16u * count);
    free(bytes);
}

static void unpack(const char *directory)
{
    FILE *file = golden("segments.txt");
    char path[TEST_PATH_BYTES + 64] = "";
    char name[64];
    uint64_t bytes;

    assert_int_equal(mkdir(directory, 0750), 0);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "file %63s %" SCNu64, name, &bytes) == 2) {
            (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
            FILE *made = fopen(path, "w");
            assert_non_null(made);
            assert_int_equal(fclose(made), 0);
            builder_truncate(path, bytes);
        } else {
            write_groups(path, line);
        }
    }
    assert_int_equal(fclose(file), 0);
}

static uint64_t fnv(const void *bytes, size_t bytes_count)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < bytes_count; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static void expect_line(FILE *expected, const char *found)
{
    assert_non_null(fgets(line, sizeof(line), expected));
    assert_string_equal(found, line);
}

static void journal_of_format_v1_reads_as_it_was_written(void **state)
{
    const baton_reader_options options = {.with_records = true, .backend = BATON_BACKEND_THREADS};
    baton_journal_summary summary;
    char found[256], digest[BATON_DIGEST_TEXT_BYTES];
    baton_reader *reader;
    baton_entry entry;
    baton_error error;
    test_dir dir;
    (void)state;

    test_dir_make(&dir, "journal_golden");
    char directory[TEST_PATH_BYTES];
    (void)snprintf(directory, sizeof(directory), "%s", test_path(&dir, "j"));
    unpack(directory);
    FILE *expected = golden("expected.txt");
    assert_int_equal(baton_reader_open(directory, &options, &reader, &error), 0);
    while (baton_reader_next(reader, &entry, &error) == 1) {
        (void)snprintf(found, sizeof(found),
                       "%s seq %" PRIu64 " type %u epoch %" PRIu64 " time %" PRIu64
                       " bytes %u fnv %016" PRIx64 "\n",
                       entry.is_record ? "record" : "entry", entry.seq, entry.type, entry.epoch,
                       entry.time_ns, entry.payload_bytes, fnv(entry.payload, entry.payload_bytes));
        expect_line(expected, found);
    }
    baton_reader_close(reader);
    assert_int_equal(
        baton_journal_verify(directory, BATON_BACKEND_THREADS, NULL, NULL, &summary, &error), 0);
    const baton_position *last = &summary.recovery.last;
    (void)snprintf(
        found, sizeof(found), "end epoch %" PRIu64 " batch %" PRIu64 " seq %" PRIu64 " digest %s\n",
        last->epoch, last->batch, last->seq, baton_digest_text(summary.last_digest, digest));
    expect_line(expected, found);
    assert_null(fgets(line, sizeof(line), expected));
    assert_int_equal(fclose(expected), 0);
    assert_true(summary.closed);
    assert_string_equal(summary.service, "golden");
    test_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(journal_of_format_v1_reads_as_it_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
