/* tests/sim/breaks.c: which of the breaks of base/breakable.h is chosen. */
#include "base/breakable.h"

int baton_break_chosen = BATON_BREAK_NOTHING;

const char *const baton_break_names[BATON_BREAKS] = {
#define BREAK_NAME(name, text) text,
    BATON_BREAK_LIST(BREAK_NAME)
#undef BREAK_NAME
};
