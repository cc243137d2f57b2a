/* Preloaded into a process, moves its wall clock by the nanoseconds that lie in a shared file.
 * The machine's own clock, and every monotonic one, stay as they are. Waits until a moment of the wall clock
 * are moved back by as much, as the kernel would do if its own clock had been set. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset_ns;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void open_offset(void)
{
    const char *path = getenv("WALLCLOCK_OFFSET");
    real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED)
        offset_ns = page;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    if (!real_clock_gettime)
        open_offset();
    int result = real_clock_gettime(clock, time);
    if (result == 0 && offset_ns && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec + *offset_ns;
        time->tv_sec = ns / 1000000000;
        time->tv_nsec = ns % 1000000000;
    }
    return result;
}

/* What a condition waits by is not visible from outside, but no machine has been up for 30 years. */
#define WALL_CLOCK_FROM 1000000000

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until)
{
    static int (*real_wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real_wait) {
        /* Without its version the linker gives the symbol of an older ABI. */
        void *found = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
        real_wait = found ? found : dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    }
    struct timespec moved = *until;
    if (offset_ns && until->tv_sec > WALL_CLOCK_FROM) {
        int64_t ns = (int64_t)until->tv_sec * 1000000000 + until->tv_nsec - *offset_ns;
        moved.tv_sec = ns / 1000000000;
        moved.tv_nsec = ns % 1000000000;
    }
    return real_wait(condition, mutex, &moved);
}
