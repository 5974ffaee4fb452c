/* cut.json: what a cut is. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <baton/digest.h>

#include "examples/exchange/cut/cut.h"

enum { CUT_VERSION = 1 };

const char *const cut_names[CUT_PARTS] = {"order-service", "risk-engine", "matching-engine"};

static json_t *describe_digest(baton_digest digest)
{
    char text[BATON_DIGEST_TEXT_BYTES];
    return json_string(baton_digest_text(digest, text));
}

static json_t *describe_part(const char *name, const cut_part *part)
{
    const baton_snapshot_info *info = &part->info;
    json_t *options = json_array();
    for (uint32_t i = 0; i < part->options_count; i++)
        json_array_append_new(options, json_string(part->options[i]));
    return json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "service", name,
                     "version", info->version, "program", part->program, "options", options,
                     "schema", (json_int_t)info->schema, "seq", (json_int_t)info->seq, "epoch",
                     (json_int_t)info->epoch, "journal", describe_digest(info->journal_id),
                     "state_digest", describe_digest(info->state_digest), "effect_digest",
                     describe_digest(info->effect_digest), "root", describe_digest(info->root));
}

json_t *cut_describe(const cut *own)
{
    json_t *parts = json_array();
    for (uint32_t i = 0; i < CUT_PARTS; i++)
        json_array_append_new(parts, describe_part(cut_names[i], &own->parts[i]));
    return json_pack("{s:i, s:I, s:o}", "cut", (int)CUT_VERSION, "id", (json_int_t)own->id,
                     "services", parts);
}

int cut_write(const cut *own, const char *directory, baton_error *error)
{
    char path[PATH_MAX];
    json_t *text = cut_describe(own);
    int r = part_path(path, directory, "cut.json", error);
    FILE *file = r == 0 ? fopen(path, "wxe") : NULL;
    if (r == 0 && (file == NULL || json_dumpf(text, file, JSON_INDENT(2)) < 0 ||
                   fputc('\n', file) == EOF || fflush(file) != 0 || fsync(fileno(file)) < 0))
        r = baton_error_set(error, errno != 0 ? -errno : -EIO, path, NULL, "is its disk full?");
    if (file != NULL && fclose(file) != 0 && r == 0)
        r = baton_error_set(error, -EIO, path, NULL, "is its disk full?");
    json_decref(text);
    return r;
}

/* ---- reading ---- */

static bool read_digest(const json_t *from, const char *key, baton_digest *ret_digest)
{
    const char *text = json_string_value(json_object_get(from, key));
    return text != NULL && baton_digest_parse(text, ret_digest) == 0;
}

static bool read_part(const json_t *from, const char *name, cut_part *part)
{
    const json_t *options = json_object_get(from, "options");
    const char *service = json_string_value(json_object_get(from, "service"));
    baton_snapshot_info *info = &part->info;
    part->program = json_string_value(json_object_get(from, "program"));
    info->seq = (uint64_t)json_integer_value(json_object_get(from, "seq"));
    info->epoch = (uint64_t)json_integer_value(json_object_get(from, "epoch"));
    if (service == NULL || strcmp(service, name) != 0 || part->program == NULL || info->seq == 0 ||
        json_array_size(options) > CUT_OPTIONS_MAX || !read_digest(from, "root", &info->root) ||
        !read_digest(from, "state_digest", &info->state_digest))
        return false;
    for (; part->options_count < json_array_size(options); part->options_count++) {
        const char *text = json_string_value(json_array_get(options, part->options_count));
        if (text == NULL)
            return false;
        part->options[part->options_count] = text;
    }
    return true;
}

static int not_a_cut(const char *path, const char *why, baton_error *error)
{
    return baton_error_set(error, BATON_E_DAMAGED, path, why,
                           "give a directory that `exchange-cut take` made");
}

int cut_read(const char *directory, cut *ret_cut, baton_error *error)
{
    char path[PATH_MAX];
    json_error_t why;
    *ret_cut = (cut){0};
    int r = part_path(path, directory, "cut.json", error);
    if (r < 0)
        return r;
    if (access(path, R_OK) < 0)
        return baton_error_set(error, -errno, path, NULL,
                               "give a directory that `exchange-cut take` made");
    ret_cut->text = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (ret_cut->text == NULL)
        return not_a_cut(path, why.text, error);
    const json_t *parts = json_object_get(ret_cut->text, "services");
    ret_cut->id = (uint64_t)json_integer_value(json_object_get(ret_cut->text, "id"));
    bool good = json_integer_value(json_object_get(ret_cut->text, "cut")) == CUT_VERSION &&
                json_array_size(parts) == CUT_PARTS;
    for (uint32_t i = 0; i < CUT_PARTS && good; i++)
        good = read_part(json_array_get(parts, i), cut_names[i], &ret_cut->parts[i]);
    return good ? 0 : not_a_cut(path, "not what a cut of version 1 says", error);
}

void cut_close(cut *own)
{
    json_decref(own->text);
    own->text = NULL;
}
