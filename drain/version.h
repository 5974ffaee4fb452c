/* drain/version.h: which of two versions of a service is the older one. */
#pragma once

/* Numbers between dots, compared one by one; what is behind them, as "-rc1", counts for nothing. <0, 0,
 * >0: a is older, neither, newer. What begins with no number is older than everything else. */
int baton_version_compare(const char *a, const char *b);
