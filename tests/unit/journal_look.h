/* tests/unit/journal_look.h: look at a journal in every way there is, and hold the answers against
 * each other. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "journal/recover.h"
#include "tests/support/io_fault.h"
#include "tests/support/journal_builder.h"
#include "tests/support/test_dir.h"

typedef struct {
    int status; /* of recovery: 0, BATON_E_DAMAGED, ... */
    baton_recovery_report report;
    baton_recovery recovery; /* without its segments */
    baton_error error;
    uint64_t entries; /* read one by one, each checked; not above report.last.seq */
    uint32_t accepted;
    uint32_t ready;
    uint32_t voided;
    uint32_t unchecked;
} journal_look;

/* Recovery, and a reader at rest over the same directory: both must end at the same entry with the
 * same verdict, and every entry must be the builder's. */
journal_look look_at(const char *directory);
journal_look look_with(const char *directory, const baton_recover_options *options);
