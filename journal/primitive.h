/* journal/primitive.h: how commits are made durable in a directory (J3). */
#pragma once

#include "base/io.h"

typedef struct {
    char text[256];  /* for people; "" when refused */
    const char *why; /* refused: one clause, and what to do */
    const char *todo;
} journal_primitive;

/* 0, BATON_E_FILE_SYSTEM, BATON_E_DEVICE. *ret_primitive may point into *probe. */
BATON_MUST_USE int journal_primitive_choose(const baton_io_probe *probe, bool written_mode,
                                            journal_primitive *ret_primitive);
