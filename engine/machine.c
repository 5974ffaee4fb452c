/* engine/machine.c: the making of a machine, and its way into a snapshot and back. */
#include "engine/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/store.h"

#define ENGINE_FIELDS 1u /* effects_count */

static bool name_is_good(const char *name)
{
    size_t bytes = strlen(name);
    return bytes >= 1 && bytes < BATON_SERVICE_NAME_BYTES &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == bytes;
}

int baton_service_check(const baton_service *service, baton_error *error)
{
    const char *why = NULL;
    if (service->name == NULL || !name_is_good(service->name))
        why = "its name must be 1 to 31 of a-z, 0-9 and '-'";
    else if (service->version == NULL || strlen(service->version) == 0 ||
             strlen(service->version) > 31)
        why = "its version must have 1 to 31 bytes";
    else if (service->schema.read_min < 1 || service->schema.read_min > service->schema.write)
        why = "schema.read_min must be 1 or more, and at most schema.write";
    else if (service->entry_types == NULL || service->entry_types_count == 0)
        why = "it knows no entry type";
    else if (!service->create || !service->destroy || !service->apply || !service->digest ||
             !service->snapshot || !service->restore)
        why = "a function of its table is missing";
    if (why == NULL && service->sections != NULL)
        why = baton_schema_table_fault(&(const baton_schema_table){
            service->sections, service->sections_count, service->schema.write});
    if (why != NULL)
        return baton_error_set(error, BATON_E_INVALID, "use this baton_service", why,
                               "correct the service's table");
    return service->layout != NULL ? baton_layout_check(service->layout, error) : 0;
}

const baton_entry_type *baton_service_entry_type(const baton_service *service, uint16_t type)
{
    for (uint32_t i = 0; i < service->entry_types_count; i++) {
        if (service->entry_types[i].type == type)
            return &service->entry_types[i];
    }
    return NULL;
}

static int fill_config(baton_machine *machine, const baton_service_config *config)
{
    const baton_service *service = machine->service;
    if (config != NULL)
        machine->config = *config;
    machine->config.arena = NULL;
    if (machine->config.values != NULL)
        return 0;
    machine->defaults = calloc((size_t)service->options_count + 1, sizeof(*machine->defaults));
    if (machine->defaults == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < service->options_count; i++)
        machine->defaults[i] = service->options[i].default_value;
    machine->config.values = machine->defaults;
    return 0;
}

int baton_machine_init(baton_machine *machine, const baton_service *service,
                       const baton_service_config *config, baton_error *error)
{
    memset(machine, 0, sizeof(*machine));
    machine->service = service;
    int r = baton_service_check(service, error);
    if (r < 0)
        return r;
    r = fill_config(machine, config);
    if (r < 0)
        return baton_error_set(error, r, "make an empty state", NULL, "free memory");
    return baton_machine_reset(machine, error);
}

static void drop_state(baton_machine *machine)
{
    if (machine->state != NULL)
        machine->service->destroy(machine->state);
    machine->state = NULL;
    baton_outbox_fini(&machine->outbox);
}

void baton_machine_fini(baton_machine *machine)
{
    drop_state(machine);
    baton_effect_queue_fini(&machine->held);
    baton_arena_destroy(machine->arena);
    machine->arena = NULL;
    free(machine->defaults);
    machine->defaults = NULL;
}

/* An empty one for create, if the service wants one. */
static int empty_arena(baton_machine *machine, baton_error *error)
{
    int r = 0;
    if (machine->service->layout == NULL)
        return 0;
    if (machine->arena == NULL)
        r = baton_arena_create(&machine->config.arena_options, machine->service->layout,
                               &machine->arena, error);
    else
        r = baton_arena_reset(machine->arena, error);
    machine->config.arena = machine->arena;
    return r;
}

static int set_root(baton_machine *machine, baton_error *error)
{
    if (machine->arena == NULL)
        return 0;
    if (!baton_arena_holds(machine->arena, machine->state))
        return baton_error_set(error, BATON_E_INVALID, "use this baton_service",
                               "its layout says that the state is in the arena, and create "
                               "returned another place",
                               "take the state's memory from config->arena");
    baton_arena_set_root(machine->arena, machine->state);
    return 0;
}

int baton_machine_reset(baton_machine *machine, baton_error *error)
{
    drop_state(machine);
    machine->seq = 0;
    machine->time_ns = 0;
    machine->effect_digest = (baton_digest){0};
    machine->effects_count = 0;

    int r = empty_arena(machine, error);
    if (r < 0)
        return r;
    baton_error why = {0};
    r = machine->service->create(&machine->config, &machine->state, &why);
    if (r == 0)
        return set_root(machine, error);
    if (r > 0)
        r = BATON_E_REFUSED;
    machine->state = NULL;
    if (why.status != 0) {
        if (error != NULL)
            *error = why;
        return r;
    }
    if (machine->arena != NULL && baton_arena_refusal(machine->arena) == BATON_E_FULL)
        return baton_error_set(error, BATON_E_FULL, "make an empty state",
                               "the arena that it is in is too small for it",
                               "raise --arena-size, or choose a smaller state by the service's "
                               "options");
    return baton_error_set(error, r, "make an empty state", NULL, "look at the service's options");
}

int baton_machine_digest(const baton_machine *machine, uint32_t schema, baton_digest *ret_digest)
{
    int r = machine->service->digest(machine->state, schema, ret_digest);
    return r > 0 ? BATON_E_REFUSED : r;
}

/* ---- snapshots ---- */

static baton_schema_table table_of(const baton_service *service)
{
    return (baton_schema_table){service->sections, service->sections_count, service->schema.write};
}

int baton_machine_pack(const baton_machine *machine, uint32_t schema, baton_snapshot_writer *writer)
{
    const baton_schema_table table = table_of(machine->service);
    baton_pack_section(writer, "baton.engine");
    baton_pack_row(writer, ENGINE_FIELDS);
    baton_pack_uint(writer, machine->effects_count);
    baton_outbox_pack(&machine->outbox, writer);

    int r = 0;
    if (machine->service->sections != NULL)
        r = baton_snapshot_writer_declare(writer, &table, schema);
    if (r == 0)
        r = machine->service->snapshot(machine->state, schema, writer);
    if (r != 0)
        return r > 0 ? BATON_E_REFUSED : r;
    return baton_pack_error(writer);
}

static int unpack_engine(baton_machine *machine, baton_snapshot_reader *reader)
{
    uint32_t fields_count;
    int r = baton_unpack_section(reader, "baton.engine");
    if (r == 0)
        r = baton_unpack_row(reader, &fields_count);
    if (r < 0)
        return r;
    if (r == 0 || fields_count != ENGINE_FIELDS)
        return BATON_E_SCHEMA;
    r = baton_unpack_uint(reader, &machine->effects_count);
    if (r == 0)
        r = baton_unpack_row(reader, &fields_count);
    return r > 0 ? BATON_E_SCHEMA : r;
}

/* Sections of ours that this build does not know may hold what it must not lose (E7). */
static int check_sections(const baton_snapshot_reader *reader)
{
    static const char *const known[] = {"baton.engine", "baton.confirmed", "baton.outbox"};
    const char *name;
    for (uint32_t i = 0; (name = baton_snapshot_reader_section_name(reader, i)) != NULL; i++) {
        bool found = strncmp(name, "baton.", 6) != 0;
        for (uint32_t k = 0; !found && k < sizeof(known) / sizeof(known[0]); k++)
            found = strcmp(name, known[k]) == 0;
        if (!found)
            return BATON_E_SCHEMA;
    }
    return 0;
}

static int unpack_all(baton_machine *machine, uint32_t schema, baton_snapshot_reader *reader)
{
    int r = check_sections(reader);
    if (r == 0)
        r = unpack_engine(machine, reader);
    if (r == 0)
        r = baton_outbox_unpack(&machine->outbox, reader);
    if (r == 0)
        r = machine->service->restore(machine->state, schema, reader);
    return r > 0 ? BATON_E_REFUSED : r;
}

/* What a newer build of the same schema may have put beside: it must not be lost (E7). */
static int check_all_read(const baton_snapshot_reader *reader, baton_error *error)
{
    const char *unread = baton_snapshot_reader_unread(reader);
    if (unread == NULL)
        return 0;
    return baton_error_setf(error, BATON_E_SCHEMA, "load a snapshot", "use the build that took it",
                            "version %s wrote section %s, which this build does not read",
                            baton_snapshot_reader_info(reader)->version, unread);
}

static int compare_digest(const baton_machine *machine, const baton_snapshot_info *info,
                          baton_error *error)
{
    static const char *const what = "load a snapshot";
    baton_digest digest;
    int r = baton_machine_digest(machine, info->schema, &digest);
    if (r < 0)
        return baton_error_set(error, r, what, "the state's digest could not be computed", NULL);
    if (baton_digest_equal(digest, info->state_digest))
        return 0;
    char is[BATON_DIGEST_TEXT_BYTES];
    char was[BATON_DIGEST_TEXT_BYTES];
    return baton_error_setf(
        error, BATON_E_DIVERGED, what,
        "use the build that took it, with the options that it had, or an older snapshot",
        "the loaded state has digest %s, the manifest says %s", baton_digest_text(digest, is),
        baton_digest_text(info->state_digest, was));
}

int baton_machine_arrive(baton_machine *machine, const baton_snapshot_info *info,
                         baton_error *error)
{
    machine->seq = info->seq;
    machine->time_ns = info->entry_time_ns;
    machine->effect_digest = info->effect_digest;
    return compare_digest(machine, info, error);
}

int baton_machine_unpack(baton_machine *machine, baton_snapshot_reader *reader, baton_error *error)
{
    const baton_snapshot_info *info = baton_snapshot_reader_info(reader);
    const baton_schema_table table = table_of(machine->service);
    int r = 0;
    if (table.sections != NULL)
        r = baton_snapshot_reader_declare(reader, &table, error);
    if (r < 0)
        return r;
    r = unpack_all(machine, info->schema, reader);
    if (r < 0) {
        const baton_error *why = baton_snapshot_reader_error(reader);
        if (r == BATON_E_DAMAGED && why != NULL && why->status != 0) {
            if (error != NULL)
                *error = *why;
            return r;
        }
        return baton_error_setf(error, r, "load a snapshot", "use the build that took it",
                                "schema %u, taken by version %s: %s", info->schema, info->version,
                                baton_status_text(r));
    }
    r = check_all_read(reader, error);
    return r < 0 ? r : baton_machine_arrive(machine, info, error);
}
