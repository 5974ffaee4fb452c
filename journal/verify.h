/* journal/verify.h: what verify.c and stat.c share. */
#pragma once

#include "journal/recover.h"

void baton_verify_summary(const baton_recovery *recovery, baton_journal_summary *summary);
/* Fills *error; returns BATON_E_TORN. */
int baton_verify_torn(const char *directory, const baton_recovery *recovery, baton_error *error);
