/* drain/compatibility.h: which versions may talk to each other: of two instances (a handover), and what
 * batond tells about it. By default one minor version around, within the same major. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include <baton/status.h>

typedef struct {
    uint32_t major, minor, patch;
} baton_version_number;

/* MAJOR.MINOR.PATCH, then nothing, or "-..." or "+...", which are not looked at. */
bool baton_version_parse(const char *text, baton_version_number *ret_number);
/* False also when one of them is no version: then nobody knows. */
bool baton_version_is_older(const char *version, const char *than);

/* From min on, up to every patch level of max. */
typedef struct {
    bool
        known; /* false: the own version is no number, and not both ends were given: all may talk */
    bool warn_only;
    baton_version_number min, max;
    char min_text[64], max_text[64];
} baton_compatible;

/* min, max: as given, or NULL: from own. BATON_E_INVALID: one given is no version, or the range is
 * empty. */
BATON_MUST_USE int baton_compatible_init(baton_compatible *compatible, const char *own,
                                         const char *min, const char *max, bool warn_only,
                                         baton_error *error);
/* Is this version of the other instance in it? Also of a window that only warns: BATON_E_REFUSED, "version
 * 1.4.0 outside allowed range [1.5.0, 1.7.0]". */
BATON_MUST_USE int baton_compatible_check(const baton_compatible *compatible, const char *version,
                                          const char *what, baton_error *error);
/* {"min_agent_version":..,"max_agent_version":..}; null when nothing is known. */
json_t *baton_compatible_describe(const baton_compatible *compatible);
