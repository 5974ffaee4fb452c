/* base/io_backend.h: what stands behind the seam. Three kinds exist: io_uring, threads, and one
 * that a test brings (simulator, fault injection). Everybody else includes base/io.h. */
#pragma once

#include "base/io.h"

/* All functions are required. `self` is what open returned. See the same-named calls in base/io.h
 * for what each promises; base/io.c keeps the counts, the region and the finished list. */
struct baton_io_backend {
    const char *name;
    int (*open)(const baton_io_options *options, void *region, uint64_t region_bytes,
                void **ret_self, baton_error *error);
    void (*close)(void *self); /* nothing is in flight any more */

    int (*submit)(void *self, baton_io_op *op);
    int (*enter)(void *self);
    baton_io_op *(*reap)(void *self);
    int (*wait)(void *self, uint64_t timeout_ns);
    int (*event_fd)(void *self);

    int64_t (*run)(void *self, baton_io_op *op);
    int (*file_size)(void *self, baton_io_file file, uint64_t *ret_bytes);
    int (*directory_make)(void *self, const char *path);
    int (*directory_list)(void *self, const char *path, baton_io_visit visit, void *context);
    int (*file_lock)(void *self, baton_io_file file);
    int (*file_is_locked)(void *self, baton_io_file file);
    int (*file_hold)(void *self, baton_io_file file);
    void (*file_register)(void *self, baton_io_file file);
    int (*map)(void *self, baton_io_file file, uint64_t bytes, bool writable, void **ret_address);
    void (*unmap)(void *self, void *address, uint64_t bytes);
    int (*probe_directory)(void *self, const char *path, baton_io_probe *ret_probe);
};

extern const baton_io_backend baton_io_backend_uring;
extern const baton_io_backend baton_io_backend_threads;

/* The blocking calls as plain system calls: shared by both production backends, and what a test's
 * backend wraps. */
int64_t baton_io_posix_run(void *self, baton_io_op *op);
int baton_io_posix_file_size(void *self, baton_io_file file, uint64_t *ret_bytes);
int baton_io_posix_directory_make(void *self, const char *path);
int baton_io_posix_directory_list(void *self, const char *path, baton_io_visit visit,
                                  void *context);
int baton_io_posix_file_lock(void *self, baton_io_file file);
int baton_io_posix_file_is_locked(void *self, baton_io_file file);
int baton_io_posix_map(void *self, baton_io_file file, uint64_t bytes, bool writable,
                       void **ret_address);
void baton_io_posix_unmap(void *self, void *address, uint64_t bytes);
int baton_io_posix_probe_directory(void *self, const char *path, baton_io_probe *ret_probe);
