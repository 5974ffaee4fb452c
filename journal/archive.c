/* journal/archive.c: the archiver's thread, and how the journal's thread asks it.
 *
 *   IDLE -> ASKED -> DONE -> IDLE
 *
 * One segment at a time: retirement goes from the oldest on and stops at the first one that must
 * stay, so there is never a second one to ask for. */
#include <baton/archive.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <baton/clock.h>
#include <baton/log.h>

#include "journal/archive_copy.h"

#define ARCHIVE_PATH_BYTES   1280u
#define ARCHIVE_TEXT_BYTES   4096u
#define ARCHIVE_RETRY_NS     UINT64_C(1000000000)
#define ARCHIVE_RETRY_NS_MAX UINT64_C(60000000000)

typedef enum { ARCHIVE_IDLE, ARCHIVE_ASKED, ARCHIVE_DONE } archive_state;

struct baton_archiver {
    bool runs_command;
    char text[ARCHIVE_TEXT_BYTES]; /* the directory, or the command */
    uint64_t retry_ns;
    int event_fd;
    baton_metric *archived_total;
    baton_metric *failures_total;
    baton_metric *failing;

    pthread_t thread;
    bool running;
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* on the monotonic clock */
    archive_state state;    /* under the lock, as the path */
    char path[ARCHIVE_PATH_BYTES];
};

/* ---- the thread ---- */

static void log_failure(const baton_archiver *archiver, const char *path, int r, int status,
                        uint64_t retry_ns)
{
    baton_log(WARN, "journal.archive_failed", BATON_LOG_TEXT("path", path),
              BATON_LOG_TEXT(archiver->runs_command ? "command" : "directory", archiver->text),
              BATON_LOG_TEXT("why", r == BATON_E_REFUSED ? "it did not exit with 0"
                                                         : baton_status_text(r)),
              BATON_LOG_NUMBER("wait_status", status), BATON_LOG_NUMBER("retry_in_ns", retry_ns));
}

/* With the lock held; false: it is time to stop. */
static bool sleep_for(baton_archiver *archiver, uint64_t ns)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    const uint64_t end_ns = (uint64_t)end.tv_sec * 1000000000u + (uint64_t)end.tv_nsec + ns;
    end.tv_sec = (time_t)(end_ns / 1000000000u);
    end.tv_nsec = (long)(end_ns % 1000000000u);
    int r = 0;
    while (r == 0 && !atomic_load(&archiver->stop))
        r = pthread_cond_timedwait(&archiver->changed, &archiver->lock, &end);
    return !atomic_load(&archiver->stop);
}

/* Until it works. False: stopped before. */
static bool archive_one(baton_archiver *archiver, const char *path)
{
    uint64_t retry_ns = archiver->retry_ns;
    for (;;) {
        int status = 0;
        int r = archiver->runs_command
                    ? baton_archive_command(path, archiver->text, &archiver->stop, &status)
                    : baton_archive_copy(path, archiver->text, &archiver->stop);
        if (r == 0) {
            baton_metric_add(archiver->archived_total, 1);
            baton_metric_set(archiver->failing, 0);
            baton_log(INFO, "journal.archived", BATON_LOG_TEXT("path", path));
            return true;
        }
        if (atomic_load(&archiver->stop))
            return false;
        baton_metric_add(archiver->failures_total, 1);
        baton_metric_set(archiver->failing, 1);
        log_failure(archiver, path, r, status, retry_ns);
        pthread_mutex_lock(&archiver->lock);
        const bool go_on = sleep_for(archiver, retry_ns);
        pthread_mutex_unlock(&archiver->lock);
        if (!go_on)
            return false;
        retry_ns = 2 * retry_ns < ARCHIVE_RETRY_NS_MAX ? 2 * retry_ns : ARCHIVE_RETRY_NS_MAX;
    }
}

static void *work(void *context)
{
    baton_archiver *archiver = context;
    char path[ARCHIVE_PATH_BYTES];
    pthread_mutex_lock(&archiver->lock);
    while (!atomic_load(&archiver->stop)) {
        if (archiver->state != ARCHIVE_ASKED) {
            pthread_cond_wait(&archiver->changed, &archiver->lock);
            continue;
        }
        memcpy(path, archiver->path, sizeof(path));
        pthread_mutex_unlock(&archiver->lock);
        const bool archived = archive_one(archiver, path);
        pthread_mutex_lock(&archiver->lock);
        if (!archived)
            break;
        archiver->state = ARCHIVE_DONE;
        const uint64_t one = 1;
        const ssize_t put = write(archiver->event_fd, &one, sizeof(one));
        (void)put; /* it only wakes */
    }
    pthread_mutex_unlock(&archiver->lock);
    return NULL;
}

/* ---- the journal's side ---- */

int baton_archiver_ask(void *context, const char *path)
{
    baton_archiver *archiver = context;
    uint64_t count;
    int answer = 1;
    const ssize_t got = read(archiver->event_fd, &count, sizeof(count));
    (void)got;
    pthread_mutex_lock(&archiver->lock);
    if (archiver->state == ARCHIVE_DONE) {
        answer = strcmp(archiver->path, path) == 0 ? 0 : 1;
        archiver->state = ARCHIVE_IDLE;
    }
    if (answer != 0 && archiver->state == ARCHIVE_IDLE) {
        (void)snprintf(archiver->path, sizeof(archiver->path), "%s", path);
        archiver->state = ARCHIVE_ASKED;
        pthread_cond_signal(&archiver->changed);
    }
    pthread_mutex_unlock(&archiver->lock);
    return answer;
}

int baton_archiver_fd(const baton_archiver *archiver)
{
    return archiver->event_fd;
}

/* ---- open and close ---- */

static int check(const baton_archive_options *options, baton_error *error)
{
    static const char *const what = "set up archiving";
    struct stat status;
    const char *text = options->directory != NULL ? options->directory : options->command;
    if ((options->directory != NULL) == (options->command != NULL) || text[0] == '\0' ||
        strlen(text) >= ARCHIVE_TEXT_BYTES)
        return baton_error_set(error, BATON_E_INVALID, what,
                               "it takes a directory or a command, one of them, below 4 KiB",
                               "name one");
    if (options->command != NULL)
        return 0;
    int r = stat(text, &status) < 0 ? -errno : S_ISDIR(status.st_mode) ? 0 : -ENOTDIR;
    if (r < 0) {
        baton_error_set(error, r, what, baton_status_text(r), "make the archive's directory first");
        baton_error_at(error, text, UINT64_MAX);
    }
    return r;
}

static int open_metrics(baton_archiver *archiver, baton_metrics *metrics)
{
    if (metrics == NULL)
        return 0;
    int r = baton_metrics_counter(metrics, "baton_journal_archived_total", NULL,
                                  "Segments archived", &archiver->archived_total);
    if (r == 0)
        r = baton_metrics_counter(metrics, "baton_journal_archive_failures_total", NULL,
                                  "Tries to archive a segment that failed",
                                  &archiver->failures_total);
    if (r == 0)
        r = baton_metrics_gauge(metrics, "baton_journal_archive_failing", NULL,
                                "1 while segments stay because the last try to archive failed",
                                &archiver->failing);
    return r;
}

int baton_archiver_open(const baton_archive_options *options, baton_archiver **ret_archiver,
                        baton_error *error)
{
    int r = check(options, error);
    if (r < 0)
        return r;
    baton_archiver *archiver = calloc(1, sizeof(*archiver));
    if (archiver == NULL)
        return baton_error_set(error, -ENOMEM, "set up archiving", NULL, "free memory");
    archiver->runs_command = options->command != NULL;
    archiver->retry_ns = options->retry_ns != 0 ? options->retry_ns : ARCHIVE_RETRY_NS;
    (void)snprintf(archiver->text, sizeof(archiver->text), "%s",
                   archiver->runs_command ? options->command : options->directory);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&archiver->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&archiver->lock, NULL);
    archiver->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r = archiver->event_fd < 0 ? -errno : open_metrics(archiver, options->metrics);
    if (r == 0)
        r = -pthread_create(&archiver->thread, NULL, work, archiver);
    if (r < 0) {
        baton_error_set(error, r, "set up archiving", baton_status_text(r), NULL);
        baton_archiver_close(archiver);
        return r;
    }
    archiver->running = true;
    *ret_archiver = archiver;
    return 0;
}

void baton_archiver_close(baton_archiver *archiver)
{
    if (archiver == NULL)
        return;
    if (archiver->running) {
        pthread_mutex_lock(&archiver->lock);
        atomic_store(&archiver->stop, true);
        pthread_cond_signal(&archiver->changed);
        pthread_mutex_unlock(&archiver->lock);
        pthread_join(archiver->thread, NULL);
    }
    pthread_cond_destroy(&archiver->changed);
    pthread_mutex_destroy(&archiver->lock);
    if (archiver->event_fd >= 0)
        close(archiver->event_fd);
    free(archiver);
}
