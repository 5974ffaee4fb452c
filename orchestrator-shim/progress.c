/* orchestrator-shim/progress.c: see progress.h. */
#include "orchestrator-shim/progress.h"

#include <inttypes.h>
#include <string.h>

#define NS_PER_MS      UINT64_C(1000000)
#define NS_PER_S       UINT64_C(1000000000)
#define QUIET_NS       NS_PER_S
#define BAR_EVERY_NS   (100 * NS_PER_MS)
#define LINES_EVERY_NS (10 * NS_PER_S)
#define BAR_CELLS      24u

void progress_init(progress *bar, FILE *file, bool is_terminal, const baton_clock *clock)
{
    *bar = (progress){.file = file, .is_terminal = is_terminal, .clock = clock};
}

static void print_bar(progress *bar, const char *what, uint64_t done_bytes, uint64_t all_bytes,
                      uint64_t elapsed_ns)
{
    char cells[BAR_CELLS + 1];
    char done[HUMAN_BYTES], all[HUMAN_BYTES], rate[HUMAN_BYTES], left[HUMAN_BYTES];
    const double part = (double)done_bytes / (double)all_bytes;
    const double seconds = (double)elapsed_ns / (double)NS_PER_S;
    const uint32_t filled = (uint32_t)(part * BAR_CELLS);
    const double left_s = part > 0 ? seconds / part - seconds : 0;
    memset(cells, '-', BAR_CELLS);
    memset(cells, '#', filled < BAR_CELLS ? filled : BAR_CELLS);
    cells[BAR_CELLS] = '\0';
    fprintf(bar->file, "%s%s  [%s] %3u %%  %s of %s  %s/s  %s left%s", bar->is_terminal ? "\r" : "",
            what, cells, (uint32_t)(part * 100), human_size(done_bytes, done),
            human_size(all_bytes, all), human_size((uint64_t)((double)done_bytes / seconds), rate),
            human_time((uint64_t)(left_s * (double)NS_PER_S), left),
            bar->is_terminal ? "\033[K" : "\n");
    fflush(bar->file);
}

void progress_step(progress *bar, const char *what, uint64_t done_bytes, uint64_t all_bytes)
{
    const uint64_t now_ns = baton_clock_monotonic_ns(bar->clock);
    if (!bar->begun) {
        bar->begun = true;
        bar->begun_ns = now_ns;
    }
    const uint64_t every_ns = bar->is_terminal ? BAR_EVERY_NS : LINES_EVERY_NS;
    if (now_ns - bar->begun_ns < QUIET_NS || all_bytes == 0 ||
        (bar->told && now_ns - bar->told_ns < every_ns))
        return;
    bar->told = true;
    bar->told_ns = now_ns;
    bar->on_screen = bar->is_terminal;
    print_bar(bar, what, done_bytes < all_bytes ? done_bytes : all_bytes, all_bytes,
              now_ns - bar->begun_ns);
}

void progress_end(progress *bar)
{
    if (bar->on_screen) {
        fputs("\r\033[K", bar->file);
        fflush(bar->file);
    }
    bar->begun = bar->told = bar->on_screen = false;
}

/* ---- sizes and times ---- */

char *human_size(uint64_t bytes, char text[HUMAN_BYTES])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double size = (double)bytes;
    uint32_t unit = 0;
    /* What would be rounded up to 1024.0 is 1.0 of the next. */
    for (; size >= (unit == 0 ? 1024.0 : 1023.95) && unit < 6; unit++)
        size /= 1024.0;
    if (unit == 0)
        snprintf(text, HUMAN_BYTES, "%" PRIu64 " B", bytes);
    else
        snprintf(text, HUMAN_BYTES, "%.1f %s", size, units[unit]);
    return text;
}

char *human_time(uint64_t ns, char text[HUMAN_BYTES])
{
    static const struct {
        uint64_t ns;
        const char *unit;
    } units[] = {{86400 * NS_PER_S, "d"}, {3600 * NS_PER_S, "h"}, {60 * NS_PER_S, "min"},
                 {NS_PER_S, "s"},         {NS_PER_MS, "ms"},      {1000, "us"}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        const uint64_t whole = ns / units[i].ns;
        if (whole > 0) {
            snprintf(text, HUMAN_BYTES, "%" PRIu64 " %s", whole, units[i].unit);
            return text;
        }
    }
    snprintf(text, HUMAN_BYTES, ns == 0 ? "-" : "%" PRIu64 " ns", ns);
    return text;
}
