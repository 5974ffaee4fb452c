/* snapshot/names.c: see names.h. */
#include "snapshot/names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"

static const char *const suffixes[] = {
    [BATON_NAME_CHUNKS] = ".chunks",
    [BATON_NAME_MANIFEST] = ".manifest",
    [BATON_NAME_CHUNKS_PARTIAL] = ".chunks.partial",
    [BATON_NAME_MANIFEST_PARTIAL] = ".manifest.partial",
    [BATON_NAME_PIN] = ".pin",
    [BATON_NAME_IMPORT] = ".import.partial",
    [BATON_NAME_VERIFIED] = ".verified",
};

int baton_snapshots_path(char *ret_path, size_t path_bytes, const char *directory)
{
    const int n = snprintf(ret_path, path_bytes, "%s/snapshots", directory);
    if (n >= 0 && (size_t)n < path_bytes)
        return 0;
    ret_path[0] = '\0';
    return -ENAMETOOLONG;
}

int baton_snapshot_path(char path[BATON_SNAPSHOT_PATH_BYTES], const char *directory, uint64_t seq,
                        uint64_t epoch, baton_snapshot_name kind)
{
    int n = snprintf(path, BATON_SNAPSHOT_PATH_BYTES, "%s/%016" PRIx64 "-%016" PRIx64 "%s",
                     directory, seq, epoch, suffixes[kind]);
    return n < 0 || (unsigned)n >= BATON_SNAPSHOT_PATH_BYTES ? BATON_E_INVALID : 0;
}

bool baton_snapshot_name_parse(const char *name, baton_snapshot_name *ret_kind, uint64_t *ret_seq,
                               uint64_t *ret_epoch)
{
    if (strnlen(name, 2 * BATON_HEX_DIGITS + 1) != 2 * BATON_HEX_DIGITS + 1 ||
        !baton_hex_parse(name, ret_seq) || name[BATON_HEX_DIGITS] != '-' ||
        !baton_hex_parse(name + BATON_HEX_DIGITS + 1, ret_epoch))
        return false;
    for (unsigned kind = 0; kind < sizeof(suffixes) / sizeof(suffixes[0]); kind++) {
        if (strcmp(name + 2 * BATON_HEX_DIGITS + 1, suffixes[kind]) == 0) {
            *ret_kind = (baton_snapshot_name)kind;
            return true;
        }
    }
    return false;
}
