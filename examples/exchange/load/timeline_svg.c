/* The picture of a timeline: latencies above (logarithmic), rates below, marks across both. */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "examples/exchange/load/timeline.h"

enum {
    WIDTH = 1200,
    HEIGHT = 640,
    LEFT = 90,
    RIGHT = 1180,
    LATENCY_TOP = 96,
    LATENCY_BOTTOM = 420,
    RATE_TOP = 462,
    RATE_BOTTOM = 580,
    MARK_TEXT_GAP = 13, /* closer ones would be written over each other */
    MARK_ROWS = 3,      /* of texts above the picture; one more for those of storms */
};

typedef struct {
    FILE *file;
    const timeline *of;
    double seconds;                   /* shown */
    double decade_first, decade_last; /* of nanoseconds: their logarithms */
    double rate_max;
} chart;

static const char head[] =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
    "role=\"img\">\n"
    "<title>exchange-load: latency over time</title>\n"
    "<style>\n"
    "text{font:13px system-ui,sans-serif;fill:#333}.small{font-size:12px}.title{font-size:16px}\n"
    ".ground{fill:#fff}.grid{stroke:#ddd;stroke-width:1}.axis{stroke:#888;stroke-width:1}\n"
    "path{fill:none;stroke-linecap:round;stroke-linejoin:round}\n"
    ".max{stroke:#9a9a9a;stroke-width:1.2}.p99{stroke:#d55e00;stroke-width:1.6}"
    ".p50{stroke:#0072b2;stroke-width:1.8}\n"
    ".sent{stroke:#9a9a9a;stroke-width:1.2}.acked{stroke:#00805c;stroke-width:1.6}\n"
    ".lost{fill:#c2185b}.made{fill:#00805c}.unanswered{fill:#c2185b}\n"
    ".storm{stroke:#a47c00;stroke-width:1;stroke-dasharray:3 3}.stormtext{fill:#806000}\n"
    ".mark{stroke:#7b3fa0;stroke-width:1.5}.marktext{fill:#7b3fa0;font-weight:600}\n"
    "@media (prefers-color-scheme:dark){\n"
    "text{fill:#ddd}.ground{fill:#16181c}.grid{stroke:#33373d}.axis{stroke:#777}\n"
    ".max{stroke:#8b8f96}.p99{stroke:#ff9d4d}.p50{stroke:#62b8f0}.sent{stroke:#8b8f96}"
    ".acked{stroke:#3fd0a0}\n"
    ".lost,.unanswered{fill:#ff6fa5}.made{fill:#3fd0a0}.storm{stroke:#e0b840}"
    ".stormtext{fill:#e0b840}\n"
    ".mark{stroke:#c79bea}.marktext{fill:#c79bea}}\n"
    "</style>\n"
    "<rect class=\"ground\" width=\"100%%\" height=\"100%%\"/>\n";

/* ---- where things are ---- */

static double x_of(const chart *own, double seconds)
{
    return LEFT + (RIGHT - LEFT) * seconds / own->seconds;
}

static double x_of_row(const chart *own, uint32_t row)
{
    return x_of(own, (row + 0.5) * (double)own->of->window_ns / 1e9);
}

static double y_of_latency(const chart *own, uint64_t ns)
{
    const double decade = log10(ns > 0 ? (double)ns : 1);
    const double share = (decade - own->decade_first) / (own->decade_last - own->decade_first);
    return LATENCY_BOTTOM - (LATENCY_BOTTOM - LATENCY_TOP) * (share > 0 ? share : 0);
}

static double rate_of(const chart *own, uint32_t commands)
{
    return commands * 1e9 / (double)own->of->window_ns;
}

static double y_of_rate(const chart *own, double rate)
{
    return RATE_BOTTOM - (RATE_BOTTOM - RATE_TOP) * rate / own->rate_max;
}

/* 1, 2 or 5 times a power of ten, not below value. */
static double round_up(double value)
{
    const double power = pow(10, floor(log10(value)));
    const double times[] = {1, 2, 5, 10};
    for (int i = 0; i < 3; i++)
        if (value <= times[i] * power * (1 + 1e-9))
            return times[i] * power;
    return times[3] * power;
}

static void find_ranges(chart *own)
{
    uint64_t least = UINT64_MAX, most = 0;
    double rate = 1;
    for (uint32_t i = 0; i < own->of->count; i++) {
        const timeline_row *row = &own->of->rows[i];
        if (row->measured > 0) {
            least = row->p50_ns < least ? row->p50_ns : least;
            most = row->max_ns > most ? row->max_ns : most;
        }
        rate = fmax(rate, rate_of(own, row->sent > row->acked ? row->sent : row->acked));
    }
    own->seconds = (double)own->of->count * (double)own->of->window_ns / 1e9;
    own->decade_first = most > 0 ? floor(log10(fmax(1, (double)least))) : 4;
    own->decade_last = fmax(own->decade_first + 1, ceil(log10(fmax(1, (double)most))));
    own->rate_max = round_up(rate);
}

/* ---- axes ---- */

static void line(const chart *own, const char *class, double x1, double y1, double x2, double y2)
{
    fprintf(own->file, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
            class, x1, y1, x2, y2);
}

static void draw_latency_axis(const chart *own)
{
    static const char *const units[] = {"ns", "\xc2\xb5s", "ms", "s"};
    for (int decade = (int)own->decade_first; decade <= (int)own->decade_last; decade++) {
        const double y = LATENCY_BOTTOM - (LATENCY_BOTTOM - LATENCY_TOP) *
                                              (decade - own->decade_first) /
                                              (own->decade_last - own->decade_first);
        const int unit = decade / 3 < 3 ? decade / 3 : 3;
        line(own, "grid", LEFT, y, RIGHT, y);
        fprintf(own->file, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.0f %s</text>\n",
                LEFT - 8, y + 4, pow(10, decade - 3 * unit), units[unit]);
    }
    fprintf(own->file,
            "<text transform=\"translate(18 %d) rotate(-90)\" text-anchor=\"middle\">latency "
            "(log)</text>\n",
            (LATENCY_TOP + LATENCY_BOTTOM) / 2);
}

static void draw_rate_axis(const chart *own)
{
    for (int i = 0; i <= 2; i++) {
        const double rate = own->rate_max * i / 2, y = y_of_rate(own, rate);
        line(own, "grid", LEFT, y, RIGHT, y);
        fprintf(own->file, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.*f</text>\n", LEFT - 8,
                y + 4, rate != floor(rate), rate);
    }
    fprintf(own->file,
            "<text transform=\"translate(18 %d) rotate(-90)\" text-anchor=\"middle\">commands/s"
            "</text>\n",
            (RATE_TOP + RATE_BOTTOM) / 2);
}

static void draw_time_axis(const chart *own)
{
    const double step = round_up(own->seconds / 12);
    for (int i = 0; i * step <= own->seconds * (1 + 1e-9); i++) {
        const double x = x_of(own, i * step);
        line(own, "grid", x, LATENCY_TOP, x, LATENCY_BOTTOM);
        line(own, "grid", x, RATE_TOP, x, RATE_BOTTOM);
        fprintf(own->file, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.*f</text>\n", x,
                RATE_BOTTOM + 18, step < 1 ? (int)ceil(-log10(step)) : 0, i * step);
    }
    line(own, "axis", LEFT, LATENCY_BOTTOM, RIGHT, LATENCY_BOTTOM);
    line(own, "axis", LEFT, RATE_BOTTOM, RIGHT, RATE_BOTTOM);
    fprintf(own->file, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">seconds</text>\n",
            (LEFT + RIGHT) / 2, RATE_BOTTOM + 38);
}

/* ---- curves ---- */

typedef enum { CURVE_MAX, CURVE_P99, CURVE_P50, CURVE_SENT, CURVE_ACKED } curve;

/* False: it has no point here. */
static bool point(const chart *own, curve which, const timeline_row *row, double *ret_y)
{
    const uint64_t latency_ns = which == CURVE_MAX   ? row->max_ns
                                : which == CURVE_P99 ? row->p99_ns
                                                     : row->p50_ns;
    if (which == CURVE_SENT || which == CURVE_ACKED)
        *ret_y = y_of_rate(own, rate_of(own, which == CURVE_SENT ? row->sent : row->acked));
    else
        *ret_y = y_of_latency(own, latency_ns);
    return which == CURVE_SENT || which == CURVE_ACKED || row->measured > 0;
}

/* Where nothing was due there is no line; a window alone is a dot. */
static void draw_curve(const chart *own, curve which, const char *class)
{
    bool drawing = false;
    double y;
    fprintf(own->file, "<path class=\"%s\" d=\"", class);
    for (uint32_t i = 0; i < own->of->count; i++) {
        if (!point(own, which, &own->of->rows[i], &y)) {
            drawing = false;
            continue;
        }
        fprintf(own->file, drawing ? "L%.1f %.1f" : "M%.1f %.1fh.01", x_of_row(own, i), y);
        drawing = true;
    }
    fputs("\"/>\n", own->file);
}

static void draw_unanswered(const chart *own)
{
    const double width = fmax(2, (RIGHT - LEFT) / (double)own->of->count);
    for (uint32_t i = 0; i < own->of->count; i++)
        if (own->of->rows[i].unanswered > 0)
            fprintf(own->file,
                    "<rect class=\"unanswered\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"5\"/>"
                    "\n",
                    x_of_row(own, i) - width / 2, LATENCY_TOP, width);
}

/* ---- events ---- */

static void draw_text(const chart *own, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '<' || *text == '&' || *text == '>')
            fprintf(own->file, "&#%d;", *text);
        else if ((unsigned char)*text >= ' ')
            fputc(*text, own->file);
    }
}

/* Where each row of texts above the picture has room again. */
typedef struct {
    double ends[MARK_ROWS + 1];
} text_rows;

static double text_width(const char *text)
{
    double width = 10;
    for (; *text != '\0'; text++)
        width += 7.5;
    return width;
}

/* One that has no room in any of its rows is left to its line. */
static void draw_mark_text(const chart *own, text_rows *rows, bool is_mark, const char *text,
                           double x)
{
    const double width = text_width(text);
    const bool to_the_left = x + width > RIGHT;
    const double begin = to_the_left ? x - width : x;
    const int first = is_mark ? 0 : MARK_ROWS, last = is_mark ? MARK_ROWS - 1 : MARK_ROWS;
    for (int row = first; row <= last; row++) {
        if (begin < rows->ends[row])
            continue;
        rows->ends[row] = begin + width;
        fprintf(own->file, "<text class=\"small %s\" x=\"%.1f\" y=\"%d\"%s>",
                is_mark ? "marktext" : "stormtext", x, LATENCY_TOP - 8 - MARK_TEXT_GAP * row,
                to_the_left ? " text-anchor=\"end\"" : "");
        draw_text(own, text);
        fputs("</text>\n", own->file);
        return;
    }
}

static void draw_mark(const chart *own, text_rows *rows, const load_event *event, double x)
{
    const bool is_mark = event->kind == EVENT_MARK;
    char text[EVENT_TEXT_BYTES];
    line(own, is_mark ? "mark" : "storm", x, LATENCY_TOP - 4, x, RATE_BOTTOM);
    if (is_mark)
        snprintf(text, sizeof(text), "%s", event->text);
    else
        snprintf(text, sizeof(text), "storm, %u", event->count);
    draw_mark_text(own, rows, is_mark, text, x);
}

/* Connections that ended stand below their moment, those that were made again beside them. */
static void draw_connection(const chart *own, const load_event *event, double x)
{
    const bool lost = event->kind == EVENT_LOST;
    fprintf(own->file,
            "<path class=\"%s\" stroke=\"none\" d=\"M%.1f %dl-4 %d h8z\"><title>%u connections "
            "%s</title></path>\n",
            lost ? "lost" : "made", x, LATENCY_BOTTOM + (lost ? 3 : 23), lost ? 8 : -8,
            event->count, lost ? "lost" : "made");
}

static void draw_events(const chart *own, const events *happened)
{
    text_rows rows = {0};
    for (uint32_t i = 0; i < happened->count; i++) {
        const load_event *event = &happened->list[i];
        const double seconds = ((double)event->at_ns - (double)own->of->began_ns) / 1e9;
        const double x = x_of(own, fmin(fmax(0, seconds), own->seconds));
        if (event->kind == EVENT_MARK || event->kind == EVENT_STORM)
            draw_mark(own, &rows, event, x);
        else
            draw_connection(own, event, x);
    }
}

static void draw_legend(const chart *own)
{
    static const struct {
        const char *class;
        const char *text;
        int x, y;
    } entries[] = {{"p50", "p50", 560, 22},
                   {"p99", "p99", 620, 22},
                   {"max", "max", 680, 22},
                   {"sent", "sent", 760, 22},
                   {"acked", "acked", 825, 22}};
    fprintf(own->file,
            "<text class=\"title\" x=\"%d\" y=\"26\">Latency from due to acked, by the moment it "
            "was due</text>\n",
            LEFT);
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
        fprintf(own->file,
                "<path class=\"%s\" d=\"M%d %dh18\"/><text class=\"small\" x=\"%d\" y=\"%d\">%s"
                "</text>\n",
                entries[i].class, entries[i].x, entries[i].y, entries[i].x + 23, entries[i].y + 4,
                entries[i].text);
    fprintf(own->file,
            "<path class=\"lost\" stroke=\"none\" d=\"M905 18l-4 8h8z\"/><text class=\"small\" "
            "x=\"914\" y=\"26\">connection lost</text><path class=\"made\" stroke=\"none\" "
            "d=\"M1025 26l-4 -8h8z\"/><text class=\"small\" x=\"1034\" y=\"26\">made again"
            "</text>\n");
    fprintf(own->file,
            "<text class=\"small\" x=\"%d\" y=\"%d\" text-anchor=\"end\">windows of %g ms</text>\n",
            RIGHT, RATE_BOTTOM + 38, (double)own->of->window_ns / 1e6);
}

int timeline_write_svg(const char *path, const timeline *of, const events *happened)
{
    chart own = {.file = fopen(path, "we"), .of = of};
    if (!own.file)
        return -errno;
    find_ranges(&own);
    fprintf(own.file, head, WIDTH, HEIGHT, WIDTH, HEIGHT);
    draw_latency_axis(&own);
    draw_rate_axis(&own);
    draw_time_axis(&own);
    draw_unanswered(&own);
    draw_events(&own, happened);
    draw_curve(&own, CURVE_MAX, "max");
    draw_curve(&own, CURVE_P99, "p99");
    draw_curve(&own, CURVE_P50, "p50");
    draw_curve(&own, CURVE_SENT, "sent");
    draw_curve(&own, CURVE_ACKED, "acked");
    draw_legend(&own);
    fputs("</svg>\n", own.file);
    int bad = ferror(own.file);
    return fclose(own.file) != 0 || bad ? -EIO : 0;
}
