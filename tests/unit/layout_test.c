/* The layout of declared types: what its digest notices, and which declarations are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <baton/layout.h>

typedef struct {
    int32_t x;
    uint16_t y[2];
} point;

typedef enum { RED, GREEN } color;

typedef struct thing thing;
struct thing {
    uint64_t id;
    thing *next;
    point corners[2];
    double weight;
    baton_digest digest;
    bool seen;
    color paint;
};

static const baton_layout_field point_fields[] = {
    BATON_FIELD(point, x),
    BATON_FIELD_ARRAY(point, y),
};
static const baton_layout_type point_type = BATON_LAYOUT_TYPE(point, point_fields);

static const baton_layout_field thing_fields[] = {
    BATON_FIELD(thing, id),
    BATON_POINTER(thing, next, thing),
    BATON_STRUCT(thing, corners, point_type),
    BATON_FIELD(thing, weight),
    BATON_OPAQUE(thing, digest),
    BATON_FIELD(thing, seen),
    BATON_FIELD(thing, paint),
};
enum { THING_FIELDS = sizeof(thing_fields) / sizeof(thing_fields[0]) };
static const baton_layout_type thing_type = BATON_LAYOUT_TYPE(thing, thing_fields);

/* A copy to change one thing of, beside the declared one. */
typedef struct {
    baton_layout_field fields[THING_FIELDS];
    baton_layout_type type;
    const baton_layout_type *types[2];
    baton_layout layout;
} copied;

static void copy(copied *own)
{
    memcpy(own->fields, thing_fields, sizeof(thing_fields));
    own->type = thing_type;
    own->type.fields = own->fields;
    own->types[0] = &own->type;
    own->types[1] = &point_type;
    own->layout = (baton_layout){"things", 1, own->types, 2};
}

static baton_digest digest_of(const copied *own)
{
    baton_error error = {0};
    assert_int_equal(baton_layout_check(&own->layout, &error), 0);
    return baton_layout_digest(&own->layout);
}

static void the_canonical_text_says_every_field(void **state)
{
    (void)state;
    static const char expected[] = "baton-layout 1 arena 1 machine le8\n"
                                   "layout things 1\n"
                                   "type thing 64 8\n"
                                   "field id 0 8 u\n"
                                   "field next 8 8 p thing\n"
                                   "field corners 16 16 t point 8 {\n"
                                   "field x 0 4 s\n"
                                   "field y 4 4 u\n"
                                   "}\n"
                                   "field weight 32 8 r\n"
                                   "field digest 40 16 o\n"
                                   "field seen 56 1 u\n"
                                   "field paint 60 4 u\n"
                                   "type point 8 4\n"
                                   "field x 0 4 s\n"
                                   "field y 4 4 u\n";
    copied own;
    char text[1024], cut[10];
    copy(&own);
    assert_int_equal(baton_layout_text(&own.layout, text, sizeof(text)), sizeof(expected) - 1);
    assert_string_equal(text, expected);
    assert_int_equal(baton_layout_text(&own.layout, cut, sizeof(cut)), sizeof(expected) - 1);
    assert_string_equal(cut, "baton-lay");
    const baton_digest digest = baton_layout_digest(&own.layout);
    assert_true(baton_digest_equal(digest, baton_digest_of(expected, sizeof(expected) - 1)));
}

/* Each change of its own, on a fresh copy. */
static void rename_field(copied *own)
{
    own->fields[0].name = "number";
}
static void rename_type(copied *own)
{
    own->type.name = "item";
}
static void rename_layout(copied *own)
{
    own->layout.name = "items";
}
static void raise_revision(copied *own)
{
    own->layout.revision++;
}
static void other_kind(copied *own)
{
    own->fields[0].kind = BATON_FIELD_SIGNED;
}
static void pointer_to_number(copied *own)
{
    own->fields[1].kind = BATON_FIELD_UNSIGNED;
}
static void pointer_to_another(copied *own)
{
    own->fields[1].target = "point";
}
static void move_field(copied *own)
{
    own->fields[5].offset++;
}
static void widen_field(copied *own)
{
    own->fields[5].bytes = 2;
}
static void drop_field(copied *own)
{
    own->type.fields_count--;
}
static void drop_type(copied *own)
{
    own->layout.types_count--;
}
static void swap_types(copied *own)
{
    own->types[0] = &point_type;
    own->types[1] = &own->type;
}
static void change_inner(copied *own)
{
    static baton_layout_field inner[2];
    static baton_layout_type of;
    memcpy(inner, point_fields, sizeof(inner));
    inner[0].name = "left";
    of = point_type;
    of.fields = inner;
    own->fields[2].of = &of;
}

static void every_change_of_a_type_changes_the_digest(void **state)
{
    (void)state;
    static void (*const changes[])(copied *) = {
        rename_field,      rename_type,        rename_layout, raise_revision, other_kind,
        pointer_to_number, pointer_to_another, move_field,    widen_field,    drop_field,
        drop_type,         swap_types,         change_inner,
    };
    enum { CHANGES = sizeof(changes) / sizeof(changes[0]) };
    baton_digest digests[CHANGES + 1];
    copied own;
    copy(&own);
    digests[CHANGES] = digest_of(&own);
    for (uint32_t i = 0; i < CHANGES; i++) {
        copy(&own);
        changes[i](&own);
        digests[i] = digest_of(&own);
    }
    for (uint32_t i = 0; i <= CHANGES; i++) {
        for (uint32_t k = 0; k < i; k++)
            assert_false(baton_digest_equal(digests[i], digests[k]));
    }
    copy(&own);
    assert_true(baton_digest_equal(digest_of(&own), digests[CHANGES]));
}

static void expect_refused(const copied *own, const char *field, const char *why)
{
    baton_error error = {0};
    assert_int_equal(baton_layout_check(&own->layout, &error), BATON_E_INVALID);
    if (strstr(error.why, why) == NULL || strstr(error.why, field) == NULL)
        fail_msg("'%s' does not say '%s' of '%s'", error.why, why, field);
}

static void a_field_left_out_that_could_be_a_pointer_is_named(void **state)
{
    (void)state;
    copied own;
    copy(&own);
    memmove(&own.fields[1], &own.fields[2], (THING_FIELDS - 2) * sizeof(own.fields[0]));
    own.type.fields_count--;
    expect_refused(&own, "thing.corners", "bytes before it are not declared");
    copy(&own);
    own.type.fields_count = 4;
    expect_refused(&own, "thing", "bytes at its end are not declared");
}

static void fields_out_of_order_or_of_the_struct_are_refused(void **state)
{
    (void)state;
    copied own;
    copy(&own);
    own.fields[1] = own.fields[0];
    expect_refused(&own, "thing.id", "in their order");
    copy(&own);
    own.fields[6].offset = own.type.bytes - 3;
    expect_refused(&own, "thing.paint", "inside the struct");
    copy(&own);
    own.fields[2].bytes = 12;
    expect_refused(&own, "thing.corners", "whole number");
    copy(&own);
    own.fields[1].bytes = 4;
    expect_refused(&own, "thing.next", "another size");
    copy(&own);
    own.fields[0].name = "two words";
    expect_refused(&own, "two words", "letters");
    copy(&own);
    own.types[1] = &own.type;
    expect_refused(&own, "thing", "twice");
    copy(&own);
    own.layout.types_count = 0;
    expect_refused(&own, "", "1 to 200 types");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_canonical_text_says_every_field),
        cmocka_unit_test(every_change_of_a_type_changes_the_digest),
        cmocka_unit_test(a_field_left_out_that_could_be_a_pointer_is_named),
        cmocka_unit_test(fields_out_of_order_or_of_the_struct_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
