/* A libcuda.so.1 that knows whether cuInit was called, and by which process: until then, and in a fork of a process that
 * called it, everything answers CUDA_ERROR_NOT_INITIALIZED (triton-lang/triton#10443 has it of a real one).
 *
 * It cannot show that loading a real driver, or asking it this question, opens and starts nothing, nor that some
 * library of a CUDA wheel does not call cuInit by itself when it is loaded.
 */
#include <unistd.h>

enum { SUCCESS = 0, NOT_INITIALIZED = 3 };

static pid_t owner;

int cuInit(unsigned flags) {
    (void)flags;
    if (owner == 0) owner = getpid();
    return owner == getpid() ? SUCCESS : NOT_INITIALIZED;
}

int cuDeviceGetCount(int *count) {
    if (owner != getpid()) return NOT_INITIALIZED;
    *count = 2;
    return SUCCESS;
}
