/* examples/exchange/load/report.h: what a run tells: by command, by client, and all together. */
#pragma once

#include <stdio.h>

#include "examples/exchange/load/run.h"

/* CSV; -errno. */
BATON_MUST_USE int report_acks(const char *path, const load_command *commands,
                               const run_result *result);
BATON_MUST_USE int report_clients(const char *path, const load_command *commands, uint32_t count,
                                  const run_result *result);
/* One JSON object and a newline; path - or NULL: standard output. */
BATON_MUST_USE int report_summary(const char *path, uint32_t count, const run_result *result);
