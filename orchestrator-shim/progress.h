/* orchestrator-shim/progress.h: how far a long piece of work is, on stderr: a bar that overwrites
 * itself on a terminal, a line now and then elsewhere, and nothing at all for what takes less than
 * a second. And sizes and times as people read them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <baton/clock.h>

typedef struct {
    FILE *file;
    bool is_terminal;
    const baton_clock *clock;
    bool begun;
    bool on_screen; /* a bar stands there */
    bool told;      /* a line was written */
    uint64_t begun_ns;
    uint64_t told_ns;
} progress;

void progress_init(progress *bar, FILE *file, bool is_terminal, const baton_clock *clock);
/* what: the work, one or two words. The first call starts the clock. */
void progress_step(progress *bar, const char *what, uint64_t done_bytes, uint64_t all_bytes);
/* Takes the bar away; a next step begins anew. */
void progress_end(progress *bar);

#define HUMAN_BYTES 24u
/* "17 B", "1.7 GiB"; "42 s", "3 h"; what is not known, 0, is "-". Return text. */
char *human_size(uint64_t bytes, char text[HUMAN_BYTES]);
char *human_time(uint64_t ns, char text[HUMAN_BYTES]);
