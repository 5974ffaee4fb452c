/* journal/primitive.c: from what the probe found to the commit primitive, or a refusal. */
#include "journal/primitive.h"

#include <stdio.h>

static int refuse(journal_primitive *primitive, int status, const char *why, const char *todo)
{
    primitive->why = why;
    primitive->todo = todo;
    return status;
}

int journal_primitive_choose(const baton_io_probe *probe, bool written_mode,
                             journal_primitive *ret_primitive)
{
    const baton_io_probe *p = probe;
    *ret_primitive = (journal_primitive){0};
    if (written_mode) {
        (void)snprintf(ret_primitive->text, sizeof(ret_primitive->text),
                       "buffered write, flushed later, %s", p->file_system);
        return 0;
    }
    if (p->refuse_durable)
        return refuse(
            ret_primitive, BATON_E_FILE_SYSTEM, p->refuse_why,
            "use a directory on a local disk, or mode `written` if losing power may lose data");
    if (p->direct_alignment > BATON_IO_UNIT)
        return refuse(ret_primitive, BATON_E_DEVICE,
                      "it wants direct I/O in larger units than 4096 bytes",
                      "use a device with 4096-byte or smaller blocks");
    if (!p->direct_io)
        return refuse(ret_primitive, BATON_E_FILE_SYSTEM, "it does not do direct I/O",
                      "use ext4 or xfs on a local disk");
    if (!p->write_durable)
        return refuse(ret_primitive, BATON_E_FILE_SYSTEM, "it does not do RWF_DSYNC writes",
                      "use ext4 or xfs on a local disk");
    (void)snprintf(ret_primitive->text, sizeof(ret_primitive->text),
                   "O_DIRECT write, RWF_DSYNC, zeroed segments, device cache %s%s", p->write_cache,
                   p->device_fua ? ", FUA" : "");
    return 0;
}
