/* drain/compatibility.c: see compatibility.h. */
#include "drain/compatibility.h"

#include <stdio.h>
#include <string.h>

#include "drain/describe.h"

#define PART_MAX 1000000u

static bool parse_part(const char **text, uint32_t *ret_part)
{
    const char *c = *text;
    uint32_t part = 0;
    if (*c < '0' || *c > '9')
        return false;
    for (; *c >= '0' && *c <= '9'; c++) {
        part = part * 10 + (uint32_t)(*c - '0');
        if (part > PART_MAX)
            return false;
    }
    *ret_part = part;
    *text = c;
    return true;
}

bool baton_version_parse(const char *text, baton_version_number *ret_number)
{
    baton_version_number number = {0};
    const bool fits = parse_part(&text, &number.major) && *text++ == '.' &&
                      parse_part(&text, &number.minor) && *text++ == '.' &&
                      parse_part(&text, &number.patch) &&
                      (*text == '\0' || *text == '-' || *text == '+');
    if (fits)
        *ret_number = number;
    return fits;
}

static int compare(baton_version_number a, baton_version_number b)
{
    if (a.major != b.major)
        return a.major < b.major ? -1 : 1;
    if (a.minor != b.minor)
        return a.minor < b.minor ? -1 : 1;
    return a.patch == b.patch ? 0 : a.patch < b.patch ? -1 : 1;
}

bool baton_version_is_older(const char *version, const char *than)
{
    baton_version_number number, other;
    return baton_version_parse(version, &number) && baton_version_parse(than, &other) &&
           compare(number, other) < 0;
}

static bool read_end(const char *given, baton_version_number otherwise,
                     baton_version_number *ret_number, char text[64])
{
    if (given != NULL) {
        snprintf(text, 64, "%s", given);
        return strlen(given) < 64 && baton_version_parse(given, ret_number);
    }
    *ret_number = otherwise;
    snprintf(text, 64, "%u.%u.0", otherwise.major, otherwise.minor);
    return true;
}

int baton_compatible_init(baton_compatible *compatible, const char *own, const char *min,
                          const char *max, bool warn_only, baton_error *error)
{
    static const char *const todo = "give versions like 1.4.0, the lower one as the minimum";
    baton_version_number number = {0};
    const bool has_number = baton_version_parse(own, &number);
    const baton_version_number below = {number.major, number.minor > 0 ? number.minor - 1 : 0, 0};
    const baton_version_number above = {number.major, number.minor + 1, 0};
    *compatible = (baton_compatible){.warn_only = warn_only,
                                     .known = has_number || (min != NULL && max != NULL)};
    if (!read_end(min, below, &compatible->min, compatible->min_text))
        return baton_error_setf(error, BATON_E_INVALID, "option --compatible-min", todo,
                                "'%.60s' is no version", min);
    if (!read_end(max, above, &compatible->max, compatible->max_text))
        return baton_error_setf(error, BATON_E_INVALID, "option --compatible-max", todo,
                                "'%.60s' is no version", max);
    const baton_version_number top = {compatible->max.major, compatible->max.minor, UINT32_MAX};
    if (compatible->known && compare(compatible->min, top) > 0)
        return baton_error_setf(error, BATON_E_INVALID, "option --compatible-min", todo,
                                "[%s, %s] allows no version at all", compatible->min_text,
                                compatible->max_text);
    return 0;
}

int baton_compatible_check(const baton_compatible *compatible, const char *version,
                           const char *what, baton_error *error)
{
    baton_version_number number;
    if (!compatible->known)
        return 0;
    const baton_version_number top = {compatible->max.major, compatible->max.minor, UINT32_MAX};
    if (baton_version_parse(version, &number) && compare(number, compatible->min) >= 0 &&
        compare(number, top) <= 0)
        return 0;
    return baton_error_setf(
        error, BATON_E_REFUSED, what,
        "use a version in that range, or widen --compatible-min/--compatible-max",
        "version %.31s outside allowed range [%s, %s]", version, compatible->min_text,
        compatible->max_text);
}

json_t *baton_compatible_describe(const baton_compatible *compatible)
{
    if (!compatible->known)
        return json_null();
    return json_pack("{s:o, s:o}", "min_agent_version", baton_describe_text(compatible->min_text),
                     "max_agent_version", baton_describe_text(compatible->max_text));
}
