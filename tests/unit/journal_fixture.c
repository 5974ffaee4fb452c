#include "tests/unit/journal_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "journal/format.h"

bool fixture_uring_is_denied(void)
{
    const baton_io_options uring = {.choice = BATON_IO_URING};
    baton_io *io;
    if (baton_io_open(&uring, &io, NULL) < 0) {
        print_message("io_uring is denied here: only the thread backend was tested\n");
        return true;
    }
    baton_io_close(io);
    return false;
}

baton_journal_options fixture_options(void)
{
    return (baton_journal_options){
        .service = "fixture",
        .segment_bytes = 1 << 20,
        .first_segment_bytes = 256 << 10,
        .batch_bytes_max = 128 << 10,
        .batches_in_flight_max = 4,
        .no_ballast = true,
    };
}

int fixture_try_begin(const char *directory, const baton_journal_options *options,
                      baton_journal **ret_journal)
{
    baton_recovery_report report;
    baton_error error = {0};
    *ret_journal = NULL;
    baton_journal *journal;
    int r = baton_journal_open(directory, options, &journal, &report, &error);
    if (r < 0)
        return r;
    r = baton_journal_begin(journal, &report, &error);
    if (r < 0) {
        baton_journal_abandon(journal);
        return r;
    }
    *ret_journal = journal;
    return 0;
}

baton_journal *fixture_begin(const char *directory, const baton_journal_options *options)
{
    baton_recovery_report report;
    baton_error error = {0};
    char text[1024];
    baton_journal *journal;
    int r = baton_journal_open(directory, options, &journal, &report, &error);
    if (r == 0)
        r = baton_journal_begin(journal, &report, &error);
    if (r < 0)
        fail_msg("%s", baton_error_text(&error, text, sizeof(text)));
    return journal;
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 29;
    return x;
}

uint32_t fixture_payload(uint64_t seq, uint8_t payload[FIXTURE_PAYLOAD_MAX])
{
    uint32_t bytes = (uint32_t)(mix(seq + 77) % (seq % 7 == 0 ? FIXTURE_PAYLOAD_MAX + 1 : 300));
    for (uint32_t i = 0; i < bytes; i++)
        payload[i] = (uint8_t)mix(seq * 4096 + i);
    return bytes;
}

uint16_t fixture_type(uint64_t seq)
{
    return (uint16_t)(mix(seq) & 0xffff);
}

int fixture_append(baton_journal *journal)
{
    uint8_t payload[FIXTURE_PAYLOAD_MAX];
    uint64_t seq = baton_journal_last_seq(journal) + 1;
    uint32_t bytes = fixture_payload(seq, payload);
    baton_entry entry;
    int r = baton_journal_append(journal, fixture_type(seq), payload, bytes, &entry);
    if (r == 0) {
        assert_int_equal(entry.seq, seq);
        assert_int_equal(entry.payload_bytes, bytes);
        assert_memory_equal(entry.payload, payload, bytes);
    }
    return r;
}

void fixture_append_durable(baton_journal *journal, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int r;
        while ((r = fixture_append(journal)) == BATON_E_FULL) {
            assert_int_equal(baton_journal_poll(journal), 0);
            usleep(50); /* leaves the CPU to the flush worker; nothing depends on how long */
        }
        assert_int_equal(r, 0);
    }
    assert_int_equal(baton_journal_wait(journal, baton_journal_last_seq(journal), FIXTURE_WAIT_NS),
                     0);
    assert_int_equal(baton_journal_durable_seq(journal), baton_journal_last_seq(journal));
}

static uint64_t read_range(const char *directory, uint64_t first)
{
    baton_reader *reader;
    baton_reader_options options = {.backend = BATON_BACKEND_THREADS};
    baton_error error = {0};
    char text[1024];
    int r = baton_reader_open(directory, &options, &reader, &error);
    if (r < 0)
        fail_msg("%s", baton_error_text(&error, text, sizeof(text)));
    uint64_t seq = first;
    uint64_t time_ns = 0;
    baton_entry entry;
    while ((r = baton_reader_next(reader, &entry, &error)) == 1) {
        uint8_t payload[FIXTURE_PAYLOAD_MAX];
        assert_int_equal(entry.seq, seq);
        assert_int_equal(entry.type, fixture_type(seq));
        assert_int_equal(entry.payload_bytes, fixture_payload(seq, payload));
        assert_memory_equal(entry.payload, payload, entry.payload_bytes);
        assert_true(entry.time_ns >= time_ns);
        time_ns = entry.time_ns;
        seq++;
    }
    if (r < 0)
        fail_msg("%s", baton_error_text(&error, text, sizeof(text)));
    baton_reader_close(reader);
    return seq - 1;
}

void fixture_expect(const char *directory, uint64_t first, uint64_t last)
{
    assert_int_equal(read_range(directory, first), last);
}

uint64_t fixture_read_all(const char *directory)
{
    return read_range(directory, 1);
}

uint32_t fixture_segments(const char *directory, char *ret_first, char *ret_last)
{
    char first[64] = "";
    char last[64] = "";
    uint32_t count = 0;
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        uint64_t epoch, index;
        if (!baton_segment_name_parse(entry->d_name, &epoch, &index))
            continue;
        count++;
        if (first[0] == '\0' || strcmp(entry->d_name, first) < 0)
            snprintf(first, sizeof(first), "%.63s", entry->d_name);
        if (strcmp(entry->d_name, last) > 0)
            snprintf(last, sizeof(last), "%.63s", entry->d_name);
    }
    closedir(dir);
    if (ret_first)
        snprintf(ret_first, TEST_PATH_BYTES, "%s/%s", directory, first);
    if (ret_last)
        snprintf(ret_last, TEST_PATH_BYTES, "%s/%s", directory, last);
    return count;
}

size_t fixture_read_file(const char *path, uint64_t offset, void *buffer, size_t bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("%s: cannot be opened", path);
    ssize_t got = pread(fd, buffer, bytes, (off_t)offset);
    close(fd);
    assert_true(got >= 0);
    return (size_t)got;
}

bool fixture_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static uint64_t clock_monotonic(const baton_clock *clock)
{
    return ((const fixture_clock *)(const void *)clock)->monotonic_ns;
}

static uint64_t clock_wall(const baton_clock *clock)
{
    return ((const fixture_clock *)(const void *)clock)->wall_ns;
}

void fixture_clock_init(fixture_clock *clock)
{
    *clock = (fixture_clock){
        .clock = {.monotonic_ns = clock_monotonic, .wall_ns = clock_wall},
        .monotonic_ns = UINT64_C(5000000000),
        .wall_ns = UINT64_C(1700000000000000000),
    };
}
