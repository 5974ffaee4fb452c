/* tests/fuzz/batond_body_fuzz.c: any bytes as the body of a POST to batond. What is accepted holds the known fields
 * only, of their kinds, and can be written again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "drain/batond/body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const fields[] = {"nonce", "to", "max_gap_ms", NULL};
    json_t *object = NULL, *value;
    const char *key;
    size_t known = 0;
    const bool fits = batond_body_read((const char *)data, bytes, fields, &object);
    if (fits && bytes > 0) {
        json_object_foreach(object, key, value)
        {
            const bool is_number = strcmp(key, "max_gap_ms") == 0;
            baton_assert(is_number || strcmp(key, "nonce") == 0 || strcmp(key, "to") == 0);
            baton_assert(is_number ? json_is_integer(value) : json_is_string(value));
            known++;
        }
        baton_assert(known >= 1 && known <= 3);
        char *text = json_dumps(object, JSON_COMPACT);
        baton_assert(text != NULL);
        free(text);
    }
    baton_assert(fits || bytes > 0);
    json_decref(object);
    return 0;
}
