/* baton/layout.h: what a service's structs look like in memory, and a digest of that.
 *
 * A service that keeps its state in an arena (baton/arena.h) declares the types in it, by macros
 * that take offsets and sizes from the structs themselves. An image of the arena is used only by a
 * build whose declared types have the same digest (S3). Every pointer is declared as one; leaving a
 * field out that could be a pointer is found when the arena is made. So where a type is aligned to
 * more than 8 bytes, padding of 8 bytes or more needs a field of its own. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <baton/digest.h>
#include <baton/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers stand in no file; the letters in the canonical text do (layout.c). */
typedef enum {
    BATON_FIELD_UNSIGNED, /* integers, enums, bool */
    BATON_FIELD_SIGNED,
    BATON_FIELD_REAL,
    BATON_FIELD_POINTER, /* NULL, or into the arena; one or several */
    BATON_FIELD_STRUCT,  /* one or more of another declared type, inside */
    BATON_FIELD_OPAQUE,  /* bytes that hold no pointer: digests, texts */
} baton_field_kind;

typedef struct baton_layout_type baton_layout_type;

typedef struct {
    const char *name;
    uint32_t offset;
    uint32_t bytes; /* all elements of an array */
    baton_field_kind kind;
    const baton_layout_type *of; /* BATON_FIELD_STRUCT */
    const char *target;          /* BATON_FIELD_POINTER: the name of what it points to */
} baton_layout_field;

struct baton_layout_type {
    const char *name;
    uint32_t bytes;
    uint32_t align;
    const baton_layout_field *fields; /* by offset, all of them */
    uint32_t fields_count;
};

#define BATON_LAYOUT_TYPES_MAX 200u

typedef struct {
    const char *name;
    /* Raise it when the bytes mean something else although no struct has changed: another hash
     * function of a table, another order in a tree. */
    uint32_t revision;
    const baton_layout_type *const *types;
    uint32_t types_count; /* 1..BATON_LAYOUT_TYPES_MAX */
} baton_layout;

/* ---- declaring (C only) ----
 *
 *   static const baton_layout_field order_fields[] = {
 *       BATON_FIELD(order, id),
 *       BATON_POINTER(order, next, order),
 *   };
 *   const baton_layout_type order_type = BATON_LAYOUT_TYPE(order, order_fields);
 *   static const baton_layout_type *const types[] = {&order_type};
 *   static const baton_layout layout = {"orders", 1, types, 1};
 */
#define BATON_LAYOUT_MEMBER(type, field) (((type *)0)->field)
/* Zero, or no compilation. */
#define BATON_LAYOUT_CLAIM(claim)  (0u * (uint32_t)sizeof(char[(claim) ? 1 : -1]))
#define BATON_LAYOUT_CLASS(member) __builtin_classify_type(member)
#define BATON_LAYOUT_IS_NUMBER(member)                                                             \
    ((BATON_LAYOUT_CLASS(member) >= 1 && BATON_LAYOUT_CLASS(member) <= 4) ||                       \
     BATON_LAYOUT_CLASS(member) == 8)
#define BATON_LAYOUT_KIND(member)                                                                  \
    _Generic((member), signed char                                                                 \
             : BATON_FIELD_SIGNED, short                                                           \
             : BATON_FIELD_SIGNED, int                                                             \
             : BATON_FIELD_SIGNED, long                                                            \
             : BATON_FIELD_SIGNED, long long                                                       \
             : BATON_FIELD_SIGNED, __int128                                                        \
             : BATON_FIELD_SIGNED, float                                                           \
             : BATON_FIELD_REAL, double                                                            \
             : BATON_FIELD_REAL, long double                                                       \
             : BATON_FIELD_REAL, default                                                           \
             : BATON_FIELD_UNSIGNED)
#define BATON_LAYOUT_ENTRY(type, member_name, claim, kind, of, target)                             \
    {                                                                                              \
#member_name, (uint32_t)offsetof(type, member_name) + BATON_LAYOUT_CLAIM(claim),           \
            (uint32_t)sizeof(BATON_LAYOUT_MEMBER(type, member_name)), kind, of, target             \
    }

/* A number, an enum or a bool; compiles for nothing else. */
#define BATON_FIELD(type, field)                                                                   \
    BATON_LAYOUT_ENTRY(type, field, BATON_LAYOUT_IS_NUMBER(BATON_LAYOUT_MEMBER(type, field)),      \
                       BATON_LAYOUT_KIND(BATON_LAYOUT_MEMBER(type, field)), NULL, NULL)
/* An array of them. */
#define BATON_FIELD_ARRAY(type, field)                                                             \
    BATON_LAYOUT_ENTRY(type, field, BATON_LAYOUT_IS_NUMBER(BATON_LAYOUT_MEMBER(type, field)[0]),   \
                       BATON_LAYOUT_KIND(BATON_LAYOUT_MEMBER(type, field)[0]), NULL, NULL)
/* A pointer to one or many of `pointee`. A pointer to a function or out of the arena has no place
 * in a state. */
#define BATON_POINTER(type, field, pointee)                                                        \
    BATON_LAYOUT_ENTRY(type, field,                                                                \
                       BATON_LAYOUT_CLASS(BATON_LAYOUT_MEMBER(type, field)) == 5 &&                \
                           sizeof(BATON_LAYOUT_MEMBER(type, field)) == sizeof(void *),             \
                       BATON_FIELD_POINTER, NULL, #pointee)
/* An array of such pointers. */
#define BATON_POINTER_ARRAY(type, field, pointee)                                                  \
    BATON_LAYOUT_ENTRY(type, field,                                                                \
                       BATON_LAYOUT_CLASS(BATON_LAYOUT_MEMBER(type, field)[0]) == 5 &&             \
                           sizeof(BATON_LAYOUT_MEMBER(type, field)[0]) == sizeof(void *),          \
                       BATON_FIELD_POINTER, NULL, #pointee)
/* A struct, or an array of it, whose type is declared: a baton_layout_type. */
#define BATON_STRUCT(type, field, declared)                                                        \
    BATON_LAYOUT_ENTRY(type, field, 1, BATON_FIELD_STRUCT, &(declared), NULL)
/* Any bytes, on your word that there is no pointer in them. */
#define BATON_OPAQUE(type, field) BATON_LAYOUT_ENTRY(type, field, 1, BATON_FIELD_OPAQUE, NULL, NULL)

#define BATON_LAYOUT_TYPE(type, type_fields)                                                       \
    {                                                                                              \
#type, (uint32_t)sizeof(type), (uint32_t) __alignof__(type), type_fields,                  \
            (uint32_t)(sizeof(type_fields) / sizeof((type_fields)[0]))                             \
    }

/* ---- using ---- */

/* Is it whole: names of letters, digits and '_', each once; fields in order, apart, inside their
 * struct; no gap that could hide a pointer; inner structs that fit? BATON_E_INVALID names the type
 * and the field. */
BATON_MUST_USE int baton_layout_check(const baton_layout *layout, baton_error *error);
/* Over the canonical text. It changes when a field is added, removed, renamed, moved, of another
 * size or kind; when a type is; with the name, the revision, the machine's pointers and the
 * arena's own format. The layout must be whole. */
baton_digest baton_layout_digest(const baton_layout *layout);
/* The canonical text, one line a type and a field; terminated, cut to text_bytes. Returns the
 * bytes that all of it has. To see by eye why two digests differ. */
size_t baton_layout_text(const baton_layout *layout, char *text, size_t text_bytes);

#ifdef __cplusplus
}
#endif
