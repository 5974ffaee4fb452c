/* drain/batond/body.h: the body of a POST. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Nothing, or one object of the fields named (the list ends with NULL): texts, and max_gap_ms, a number. False:
 * something else. *ret_fields: NULL, or an object that the caller gives back, also when it is false. What the
 * fields mean, the service judges. */
bool batond_body_read(const char *body, size_t bytes, const char *const *fields,
                      json_t **ret_fields);
