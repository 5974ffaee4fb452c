/* base/time_text.c: a moment as a person writes it. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <baton/clock.h>

#define SECOND_NS UINT64_C(1000000000)

/* Exactly `digits` digits, from min to max; *at moves behind them. */
static bool take(const char **at, uint32_t digits, int min, int max, int *ret_number)
{
    int number = 0;
    for (uint32_t i = 0; i < digits; i++) {
        const char c = (*at)[i];
        if (c < '0' || c > '9')
            return false;
        number = 10 * number + (c - '0');
    }
    *at += digits;
    *ret_number = number;
    return number >= min && number <= max;
}

static bool take_char(const char **at, char wanted)
{
    if (**at != wanted)
        return false;
    ++*at;
    return true;
}

/* .5 is 500 ms; digits below a nanosecond are refused: they would be dropped unsaid. */
static bool take_fraction(const char **at, uint64_t *ret_ns)
{
    uint64_t unit = SECOND_NS;
    *ret_ns = 0;
    if (!take_char(at, '.'))
        return true;
    for (; **at >= '0' && **at <= '9'; ++*at) {
        unit /= 10;
        if (unit == 0)
            return false;
        *ret_ns += unit * (uint64_t)(**at - '0');
    }
    return unit < SECOND_NS;
}

static bool take_zone(const char **at, int64_t *ret_east_s)
{
    int hours, minutes;
    *ret_east_s = 0;
    if (take_char(at, 'Z') || take_char(at, 'z'))
        return true;
    const bool east = **at == '+';
    if (!take_char(at, '+') && !take_char(at, '-'))
        return false;
    if (!take(at, 2, 0, 23, &hours) || !take_char(at, ':') || !take(at, 2, 0, 59, &minutes))
        return false;
    *ret_east_s = (east ? 1 : -1) * (hours * 3600 + minutes * 60);
    return true;
}

static bool parse_rfc3339(const char *text, uint64_t *ret_ns)
{
    struct tm t = {0};
    const char *at = text;
    int year, month;
    uint64_t fraction_ns;
    int64_t east_s;
    if (!take(&at, 4, 1970, 2500, &year) || !take_char(&at, '-') || !take(&at, 2, 1, 12, &month) ||
        !take_char(&at, '-') || !take(&at, 2, 1, 31, &t.tm_mday) ||
        (!take_char(&at, 'T') && !take_char(&at, 't') && !take_char(&at, ' ')) ||
        !take(&at, 2, 0, 23, &t.tm_hour) || !take_char(&at, ':') ||
        !take(&at, 2, 0, 59, &t.tm_min) || !take_char(&at, ':') ||
        !take(&at, 2, 0, 59, &t.tm_sec) || !take_fraction(&at, &fraction_ns) ||
        !take_zone(&at, &east_s) || *at != '\0')
        return false;
    t.tm_year = year - 1900;
    t.tm_mon = month - 1;
    const int day = t.tm_mday;
    const int64_t seconds = (int64_t)timegm(&t);
    if (t.tm_mday != day || seconds < east_s) /* the 31st of June becomes the 1st of July */
        return false;
    *ret_ns = (uint64_t)(seconds - east_s) * SECOND_NS + fraction_ns;
    return true;
}

int baton_time_parse(const char *text, uint64_t *ret_ns)
{
    if (text[0] == '@') {
        char *rest;
        if (text[1] < '0' || text[1] > '9')
            return -EINVAL;
        errno = 0;
        *ret_ns = strtoull(text + 1, &rest, 10);
        return errno != 0 || *rest != '\0' ? -EINVAL : 0;
    }
    return parse_rfc3339(text, ret_ns) ? 0 : -EINVAL;
}
