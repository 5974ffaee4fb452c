/* snapshot/layout.c: declared types: are they whole, and what is their digest.
 *
 * The canonical text, which is what the digest is over:
 *
 *   baton-layout 1 arena 1 machine le8        text format, arena format, byte order and pointer
 *   layout NAME REVISION
 *   type NAME BYTES ALIGN                     in the declared order: its place is a type's number
 *   field NAME OFFSET BYTES LETTER [OF]       letter: u s r p t o; OF: of p and t
 */
#include <baton/layout.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "snapshot/arena.h"

#define LINE_BYTES       320u
#define NAME_BYTES_MAX   96u
#define STRUCT_DEPTH_MAX 8u

static const char *const name_characters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.[]";

static bool name_is_good(const char *name)
{
    size_t bytes = name != NULL ? strlen(name) : 0;
    return bytes >= 1 && bytes <= NAME_BYTES_MAX && strspn(name, name_characters) == bytes;
}

/* ---- is it whole ---- */

static int refuse(baton_error *error, const baton_layout_type *type, const char *field,
                  const char *why)
{
    return baton_error_setf(error, BATON_E_INVALID, "use this baton_layout",
                            "correct the declaration: see baton/layout.h", "%s%s%s: %s",
                            type != NULL && type->name != NULL ? type->name : "a type",
                            field != NULL ? "." : "", field != NULL ? field : "", why);
}

static const char *what_is_wrong_inside(const baton_layout_field *field, uint32_t depth)
{
    const baton_layout_type *of = field->of;
    if (of == NULL || of->bytes == 0 || field->bytes % of->bytes != 0)
        return "its bytes are no whole number of the struct it is said to be";
    if (depth == STRUCT_DEPTH_MAX)
        return "structs inside structs go too deep";
    if (field->offset % (of->align != 0 ? of->align : 1) != 0)
        return "the struct inside is not aligned as its type says";
    return NULL;
}

static const char *what_is_wrong(const baton_layout_field *field, const baton_layout_type *type)
{
    if (!name_is_good(field->name))
        return "a field's name must be letters, digits and '_'";
    if (field->bytes == 0 || field->bytes > type->bytes ||
        field->offset > type->bytes - field->bytes)
        return "it does not lie inside the struct";
    if (field->kind == BATON_FIELD_POINTER &&
        (field->bytes % sizeof(void *) != 0 || field->offset % sizeof(void *) != 0))
        return "a pointer has another size or place";
    if (field->kind == BATON_FIELD_POINTER && !name_is_good(field->target))
        return "what it points to must be one word";
    return NULL;
}

/* Bytes that nobody declared: padding is smaller than the alignment, and a pointer is not. */
static bool gap_may_hide(uint32_t from, uint32_t to)
{
    const uint32_t first = (from + (uint32_t)sizeof(void *) - 1) & ~((uint32_t)sizeof(void *) - 1);
    return to >= first && to - first >= sizeof(void *);
}

static int check_type(const baton_layout_type *type, uint32_t depth, baton_error *error)
{
    if (!name_is_good(type->name))
        return refuse(error, type, NULL, "a type's name must be letters, digits and '_'");
    if (type->bytes == 0 || type->align == 0 || (type->align & (type->align - 1)) != 0 ||
        type->bytes % type->align != 0 || type->align > BATON_ARENA_ALIGN_MAX)
        return refuse(error, type, NULL, "its size or alignment is none");
    if (type->fields == NULL || type->fields_count == 0)
        return refuse(error, type, NULL, "it has no fields");

    uint32_t end = 0;
    for (uint32_t i = 0; i < type->fields_count; i++) {
        const baton_layout_field *field = &type->fields[i];
        const char *why = what_is_wrong(field, type);
        if (why == NULL && field->offset < end)
            why = "fields must be declared in their order, each once";
        if (why == NULL && gap_may_hide(end, field->offset))
            why = "bytes before it are not declared";
        if (why == NULL && field->kind == BATON_FIELD_STRUCT)
            why = what_is_wrong_inside(field, depth);
        if (why != NULL)
            return refuse(error, type, field->name, why);
        if (field->kind == BATON_FIELD_STRUCT) {
            int r = check_type(field->of, depth + 1, error);
            if (r < 0)
                return r;
        }
        end = field->offset + field->bytes;
    }
    if (gap_may_hide(end, type->bytes))
        return refuse(error, type, NULL, "bytes at its end are not declared");
    return 0;
}

int baton_layout_check(const baton_layout *layout, baton_error *error)
{
    if (layout->types == NULL || layout->types_count == 0 ||
        layout->types_count > BATON_LAYOUT_TYPES_MAX || !name_is_good(layout->name))
        return refuse(error, NULL, NULL, "the layout needs a name, and 1 to 200 types");
    for (uint32_t i = 0; i < layout->types_count; i++) {
        int r = check_type(layout->types[i], 0, error);
        if (r < 0)
            return r;
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(layout->types[i]->name, layout->types[k]->name) == 0)
                return refuse(error, layout->types[i], NULL, "it is declared twice");
        }
    }
    return 0;
}

/* ---- canonical text ---- */

typedef struct {
    baton_digest_stream *digest; /* or NULL */
    char *text;
    size_t text_bytes;
    size_t written; /* of all of it */
} sink;

__attribute__((format(printf, 2, 3))) static void put(sink *to, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    baton_assert(bytes > 0 && (size_t)bytes < sizeof(line)); /* names are bounded */
    if (to->digest != NULL)
        baton_digest_update(to->digest, line, (size_t)bytes);
    for (int i = 0; i < bytes && to->written + (size_t)i + 1 < to->text_bytes; i++)
        to->text[to->written + (size_t)i] = line[i];
    to->written += (size_t)bytes;
}

static char letter_of(baton_field_kind kind)
{
    switch (kind) {
    case BATON_FIELD_UNSIGNED:
        return 'u';
    case BATON_FIELD_SIGNED:
        return 's';
    case BATON_FIELD_REAL:
        return 'r';
    case BATON_FIELD_POINTER:
        return 'p';
    case BATON_FIELD_STRUCT:
        return 't';
    case BATON_FIELD_OPAQUE:
        return 'o';
    }
    return '?';
}

/* An inner struct may be declared nowhere else: its fields stand where it stands. */
static void put_fields(sink *to, const baton_layout_type *type)
{
    for (uint32_t i = 0; i < type->fields_count; i++) {
        const baton_layout_field *field = &type->fields[i];
        put(to, "field %s %" PRIu32 " %" PRIu32 " %c", field->name, field->offset, field->bytes,
            letter_of(field->kind));
        if (field->kind == BATON_FIELD_POINTER)
            put(to, " %s", field->target);
        if (field->kind == BATON_FIELD_STRUCT) {
            put(to, " %s %" PRIu32 " {\n", field->of->name, field->of->bytes);
            put_fields(to, field->of);
            put(to, "}");
        }
        put(to, "\n");
    }
}

static void put_layout(sink *to, const baton_layout *layout)
{
    const char *order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? "le" : "be";
    put(to, "baton-layout 1 arena %u machine %s%zu\n", BATON_ARENA_VERSION, order, sizeof(void *));
    put(to, "layout %s %" PRIu32 "\n", layout->name, layout->revision);
    for (uint32_t i = 0; i < layout->types_count; i++) {
        const baton_layout_type *type = layout->types[i];
        put(to, "type %s %" PRIu32 " %" PRIu32 "\n", type->name, type->bytes, type->align);
        put_fields(to, type);
    }
}

baton_digest baton_layout_digest(const baton_layout *layout)
{
    baton_digest_stream stream;
    baton_digest_init(&stream);
    sink to = {.digest = &stream};
    put_layout(&to, layout);
    return baton_digest_final(&stream);
}

size_t baton_layout_text(const baton_layout *layout, char *text, size_t text_bytes)
{
    sink to = {.text = text, .text_bytes = text_bytes};
    put_layout(&to, layout);
    if (text_bytes > 0)
        text[to.written < text_bytes ? to.written : text_bytes - 1] = '\0';
    return to.written;
}
