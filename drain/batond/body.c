/* drain/batond/body.c: see body.h. */
#include "drain/batond/body.h"

#include <string.h>

static bool is_field(const char *const *fields, const char *key)
{
    for (; *fields != NULL; fields++)
        if (strcmp(*fields, key) == 0)
            return true;
    return false;
}

bool batond_body_read(const char *body, size_t bytes, const char *const *fields,
                      json_t **ret_fields)
{
    const char *key;
    json_t *value;
    *ret_fields = NULL;
    if (bytes == 0)
        return true;
    *ret_fields = json_loadb(body, bytes, JSON_REJECT_DUPLICATES, NULL);
    json_object_foreach(*ret_fields, key, value)
    {
        const bool is_number = strcmp(key, "max_gap_ms") == 0;
        if (!is_field(fields, key) || !(is_number ? json_is_integer(value) : json_is_string(value)))
            return false;
    }
    return json_object_size(*ret_fields) > 0;
}
