/* Preloaded into a process, counts its system calls that change the disk below one folder, says each on a
 * descriptor, and kills the process before the one that it was told to. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static char root[PATH_MAX];
static long fatal = -1, count;
static int report = -1;

/* From now on. A negative moment kills at none. */
void moments_watch(const char *folder, long moment, int descriptor)
{
    snprintf(root, sizeof root, "%s", folder);
    fatal = moment;
    report = descriptor;
    count = 0;
}

static void pass_by(const char *call, const char *path)
{
    if (!root[0] || strncmp(path, root, strlen(root)) != 0)
        return;
    if (count++ == fatal) {
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
    if (report >= 0)
        dprintf(report, "%s %s\n", call, path + strlen(root));
}

static void pass_by_at(const char *call, int folder, const char *path)
{
    char place[PATH_MAX] = "", link[64], whole[2 * PATH_MAX];
    if (path[0] == '/') {
        pass_by(call, path);
        return;
    }
    if (folder == AT_FDCWD) {
        if (!getcwd(place, sizeof place))
            return;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, place, sizeof place - 1);
        place[length > 0 ? length : 0] = 0;
    }
    snprintf(whole, sizeof whole, "%s%s%s", place, path[0] ? "/" : "", path);
    pass_by(call, whole);
}

static void pass_by_file(const char *call, int file)
{
    if (file != report)
        pass_by_at(call, file, "");
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define CHANGES(flags) ((flags) & (O_CREAT | O_TRUNC))

#define OPEN(name)                                                     \
    int name(const char *path, int flags, ...)                         \
    {                                                                  \
        va_list rest;                                                  \
        va_start(rest, flags);                                         \
        mode_t mode = CHANGES(flags) ? va_arg(rest, mode_t) : 0;       \
        va_end(rest);                                                  \
        if (CHANGES(flags))                                            \
            pass_by_at("create", AT_FDCWD, path);                      \
        return REAL(name)(path, flags, mode);                          \
    }
#define OPENAT(name)                                                   \
    int name(int folder, const char *path, int flags, ...)             \
    {                                                                  \
        va_list rest;                                                  \
        va_start(rest, flags);                                         \
        mode_t mode = CHANGES(flags) ? va_arg(rest, mode_t) : 0;       \
        va_end(rest);                                                  \
        if (CHANGES(flags))                                            \
            pass_by_at("create", folder, path);                        \
        return REAL(name)(folder, path, flags, mode);                  \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

#define ON_FILE(result, name, call, parameters, arguments)             \
    result name parameters                                             \
    {                                                                  \
        pass_by_file(call, file);                                      \
        return REAL(name) arguments;                                   \
    }
ON_FILE(ssize_t, write, "write", (int file, const void *bytes, size_t size), (file, bytes, size))
ON_FILE(ssize_t, pwrite, "write", (int file, const void *bytes, size_t size, off_t at), (file, bytes, size, at))
ON_FILE(ssize_t, pwrite64, "write", (int file, const void *bytes, size_t size, off64_t at), (file, bytes, size, at))
ON_FILE(ssize_t, sendfile, "write", (int file, int from, off_t *at, size_t size), (file, from, at, size))
ON_FILE(ssize_t, sendfile64, "write", (int file, int from, off64_t *at, size_t size), (file, from, at, size))
ON_FILE(int, ftruncate, "write", (int file, off_t size), (file, size))
ON_FILE(int, ftruncate64, "write", (int file, off64_t size), (file, size))
ON_FILE(int, fchmod, "chmod", (int file, mode_t mode), (file, mode))
ON_FILE(int, fsync, "sync", (int file), (file))
ON_FILE(int, fdatasync, "sync", (int file), (file))

#define ON_PATH(name, call, parameters, arguments)                     \
    int name parameters                                                \
    {                                                                  \
        pass_by_at(call, AT_FDCWD, path);                              \
        return REAL(name) arguments;                                   \
    }
ON_PATH(unlink, "unlink", (const char *path), (path))
ON_PATH(rmdir, "rmdir", (const char *path), (path))
ON_PATH(mkdir, "mkdir", (const char *path, mode_t mode), (path, mode))
ON_PATH(chmod, "chmod", (const char *path, mode_t mode), (path, mode))

#define ON_PATH_AT(name, call, parameters, arguments)                  \
    int name parameters                                                \
    {                                                                  \
        pass_by_at(call, folder, path);                                \
        return REAL(name) arguments;                                   \
    }
ON_PATH_AT(unlinkat, "unlink", (int folder, const char *path, int flags), (folder, path, flags))
ON_PATH_AT(mkdirat, "mkdir", (int folder, const char *path, mode_t mode), (folder, path, mode))
ON_PATH_AT(fchmodat, "chmod", (int folder, const char *path, mode_t mode, int flags), (folder, path, mode, flags))

int symlink(const char *target, const char *path)
{
    pass_by_at("symlink", AT_FDCWD, path);
    return REAL(symlink)(target, path);
}

int symlinkat(const char *target, int folder, const char *path)
{
    pass_by_at("symlink", folder, path);
    return REAL(symlinkat)(target, folder, path);
}

int rename(const char *from, const char *to)
{
    pass_by_at("rename", AT_FDCWD, to);
    return REAL(rename)(from, to);
}

int renameat(int old_folder, const char *from, int folder, const char *to)
{
    pass_by_at("rename", folder, to);
    return REAL(renameat)(old_folder, from, folder, to);
}
