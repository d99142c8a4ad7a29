/* A libnvidia-ml.so.1 whose calls ask whether the descriptor that nvmlInit opened is still theirs, and note down that
 * they were made: "PID NAME" a line, in $PALATE_FAKE_DEVICES/asked.
 *
 * As the real one it opens the control device once, keeps it open until it is shut down, and believes what it
 * remembers: after a fork too, where its descriptors may be closed or another file's. It cannot show which calls of a
 * real driver fail then, nor how NCCL takes it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, UNKNOWN = 999, DEVICES = 2 };

static int users, own = -1;
static struct stat opened;

static void note(const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/asked", getenv("PALATE_FAKE_DEVICES"));
    FILE *file = fopen(path, "a");
    if (!file) abort();
    fprintf(file, "%d %s\n", (int)getpid(), name);
    fclose(file);
}

static int still_ours(void) {
    struct stat found;
    return fstat(own, &found) == 0 && found.st_dev == opened.st_dev && found.st_ino == opened.st_ino;
}

int nvmlInit_v2(void) {
    note("nvmlInit");
    if (users++ > 0) return SUCCESS;
    char path[4096];
    snprintf(path, sizeof path, "%s/nvidiactl", getenv("PALATE_FAKE_DEVICES"));
    own = open(path, O_RDWR | O_CLOEXEC);
    if (own < 0 || fstat(own, &opened) != 0) abort();
    return SUCCESS;
}

int nvmlInit(void) { return nvmlInit_v2(); }

int nvmlShutdown(void) {
    note("nvmlShutdown");
    if (users == 0) return UNINITIALIZED;
    if (--users == 0) close(own);
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    note("nvmlDeviceGetCount");
    if (users == 0) return UNINITIALIZED;
    if (!still_ours()) return UNKNOWN;
    *count = DEVICES;
    return SUCCESS;
}
