/* snapshot/names.c: see names.h. */
#include "snapshot/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEX_DIGITS 16u

static const char *const suffixes[] = {
    [BATON_NAME_CHUNKS] = ".chunks",
    [BATON_NAME_MANIFEST] = ".manifest",
    [BATON_NAME_CHUNKS_PARTIAL] = ".chunks.partial",
    [BATON_NAME_MANIFEST_PARTIAL] = ".manifest.partial",
    [BATON_NAME_PIN] = ".pin",
    [BATON_NAME_IMPORT] = ".import.partial",
    [BATON_NAME_VERIFIED] = ".verified",
};

int baton_snapshot_path(char path[BATON_SNAPSHOT_PATH_BYTES], const char *directory, uint64_t seq,
                        uint64_t epoch, baton_snapshot_name kind)
{
    int n = snprintf(path, BATON_SNAPSHOT_PATH_BYTES, "%s/%016" PRIx64 "-%016" PRIx64 "%s",
                     directory, seq, epoch, suffixes[kind]);
    return n < 0 || (unsigned)n >= BATON_SNAPSHOT_PATH_BYTES ? BATON_E_INVALID : 0;
}

/* 16 lower-case hex digits, nothing else: one number has one name. */
static bool parse_hex(const char *text, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < HEX_DIGITS; i++) {
        const char c = text[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *ret_value = value;
    return true;
}

bool baton_snapshot_name_parse(const char *name, baton_snapshot_name *ret_kind, uint64_t *ret_seq,
                               uint64_t *ret_epoch)
{
    if (strnlen(name, 2 * HEX_DIGITS + 1) != 2 * HEX_DIGITS + 1 || !parse_hex(name, ret_seq) ||
        name[HEX_DIGITS] != '-' || !parse_hex(name + HEX_DIGITS + 1, ret_epoch))
        return false;
    for (unsigned kind = 0; kind < sizeof(suffixes) / sizeof(suffixes[0]); kind++) {
        if (strcmp(name + 2 * HEX_DIGITS + 1, suffixes[kind]) == 0) {
            *ret_kind = (baton_snapshot_name)kind;
            return true;
        }
    }
    return false;
}
