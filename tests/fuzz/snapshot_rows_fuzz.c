/* tests/fuzz/snapshot_rows_fuzz.c: any bytes as a section's rows, in pieces of any size. The
 * first two bytes choose the size of the pieces and how many rows the manifest claims. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "snapshot/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

typedef struct {
    const uint8_t *data;
    size_t left;
    size_t piece_bytes;
    uint8_t *piece; /* exactly as long as what it holds, and freed when the next one is asked for */
} source;

static int more(void *context, const uint8_t **ret_bytes, uint64_t *ret_bytes_count)
{
    source *from = context;
    const size_t part = from->left < from->piece_bytes ? from->left : from->piece_bytes;
    baton_assert(part > 0); /* rows never asks for more than the section has */
    free(from->piece);
    from->piece = malloc(part);
    baton_assert(from->piece != NULL);
    memcpy(from->piece, from->data, part);
    from->data += part;
    from->left -= part;
    *ret_bytes = from->piece;
    *ret_bytes_count = part;
    return 0;
}

/* Reads the field by whichever call fits; one of the four must, or it is no row. */
static int read_field(baton_rows *rows)
{
    uint64_t number;
    int64_t difference;
    const void *bytes;
    uint32_t bytes_count;
    int r = baton_rows_uint(rows, &number);
    if (r == BATON_E_SCHEMA)
        r = baton_rows_int(rows, &difference);
    if (r == BATON_E_SCHEMA)
        r = baton_rows_run(rows, BATON_TOKEN_TEXT, &bytes, &bytes_count);
    if (r == BATON_E_SCHEMA)
        r = baton_rows_run(rows, BATON_TOKEN_BYTES, &bytes, &bytes_count);
    baton_assert(r == 0 || r == BATON_E_DAMAGED);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 2)
        return 0;
    source from = {.data = data + 2, .left = bytes - 2, .piece_bytes = 1 + data[0]};
    baton_rows rows = {.more = more, .context = &from};
    uint64_t seen = 0;
    uint32_t fields_count = 0;
    int r;
    baton_rows_begin(&rows, bytes - 2, data[1]);
    while ((r = baton_rows_next(&rows, &fields_count)) == 1) {
        baton_assert(fields_count >= 1 && fields_count <= BATON_SNAPSHOT_FIELDS_MAX);
        uint32_t wanted =
            seen++ % 2 == 0 ? fields_count : fields_count / 2; /* the rest is skipped */
        while (wanted > 0 && (r = read_field(&rows)) == 0)
            wanted--;
        if (r < 0)
            break;
    }
    baton_assert(r == 0 || r == BATON_E_DAMAGED);
    if (r == 0)
        baton_assert(seen == data[1] && from.left + rows.piece_left == 0);
    else
        baton_assert(rows.fault != NULL);
    baton_rows_fini(&rows);
    free(from.piece);
    return 0;
}
