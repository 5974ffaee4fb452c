#include "tests/unit/journal_look.h"

#include <string.h>

static void count_states(journal_look *look, const baton_recovery *recovery)
{
    for (uint32_t i = 0; i < recovery->segments_count; i++) {
        switch (recovery->segments[i].state) {
        case BATON_SEGMENT_ACCEPTED:
            look->accepted++;
            break;
        case BATON_SEGMENT_READY:
            look->ready++;
            break;
        case BATON_SEGMENT_VOID:
            look->voided++;
            break;
        case BATON_SEGMENT_UNCHECKED:
            look->unchecked++;
            break;
        }
    }
}

static int read_entries(io_fault *fault, const char *directory,
                        const baton_recover_options *options, journal_look *look)
{
    baton_reader_options reader_options = {.evidence = options->evidence,
                                           .from_seq = options->from_seq,
                                           .io_backend = io_fault_backend(),
                                           .io_context = fault};
    baton_reader *reader;
    baton_entry entry;
    baton_error error;
    uint64_t expected = 0;

    int r = baton_reader_open(directory, &reader_options, &reader, &error);
    if (r < 0)
        return r;
    while ((r = baton_reader_next(reader, &entry, &error)) == 1) {
        assert_true(builder_entry_is_right(&entry));
        if (expected != 0)
            assert_int_equal(entry.seq, expected);
        expected = entry.seq + 1;
        look->entries++;
        assert_true(entry.seq <= look->report.last.seq);
    }
    if (look->entries > 0)
        assert_int_equal(expected - 1, look->report.last.seq);
    baton_reader_close(reader);
    return r;
}

journal_look look_with(const char *directory, const baton_recover_options *options)
{
    io_fault *fault = io_fault_new();
    baton_io_options io_options = {.custom = io_fault_backend(), .custom_context = fault};
    baton_recovery recovery;
    journal_look look = {0};
    baton_io *io;

    assert_int_equal(baton_io_open(&io_options, &io, &look.error), 0);
    look.status = baton_recover(io, directory, options, &recovery, &look.error);
    look.report = recovery.report;
    look.recovery = recovery;
    look.recovery.segments = NULL;
    count_states(&look, &recovery);
    baton_recovery_fini(&recovery);
    baton_io_close(io);

    if (options->service == NULL)
        assert_int_equal(read_entries(fault, directory, options, &look), look.status);
    io_fault_free(fault);
    return look;
}

journal_look look_at(const char *directory)
{
    const baton_recover_options options = {0};
    return look_with(directory, &options);
}
