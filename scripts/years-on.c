/* The clock of day, YEARS_ON seconds later, for programs that this is preloaded to (LD_PRELOAD, by scripts/years-on).
 *
 * Only what day it is, and the times of files with it, so that a file written now is not years old. How long something takes
 * (CLOCK_MONOTONIC) stays as it is: a wait waits as long as ever. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t later;
static char years[64], preload[8192];

__attribute__((constructor)) static void begin(void) {
    const char *said = getenv("YEARS_ON"), *libraries = getenv("LD_PRELOAD");
    later = said ? atol(said) : 0;
    snprintf(years, sizeof years, "YEARS_ON=%ld", (long)later);
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", libraries ? libraries : "");
}

/* A program that is started with an environment of its own, as Postgres is, has the same clock. */
int execve(const char *program, char *const arguments[], char *const environment[]) {
    int count = 0, kept = 0;
    while (environment && environment[count]) count++;
    char *whole[count + 3];
    for (int i = 0; i < count; i++)
        if (strncmp(environment[i], "YEARS_ON=", 9) && strncmp(environment[i], "LD_PRELOAD=", 11)) whole[kept++] = environment[i];
    whole[kept++] = years;
    whole[kept++] = preload;
    whole[kept] = NULL;
    return syscall(SYS_execve, program, arguments, whole);
}

/* --- Clocks --- */

int clock_gettime(clockid_t clock, struct timespec *now) {
    int code = syscall(SYS_clock_gettime, clock, now);
    if (code == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI)) now->tv_sec += later;
    return code;
}

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int code = syscall(SYS_gettimeofday, now, zone);
    if (code == 0 && now) now->tv_sec += later;
    return code;
}

time_t time(time_t *kept) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (kept) *kept = now.tv_sec;
    return now.tv_sec;
}

/* --- Waits until a time of day --- */

/* An interpreter that was built for an older libc waits for a lock with this. */
int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict end) {
    struct timespec real = {end->tv_sec - later, end->tv_nsec};
    return sem_clockwait(semaphore, CLOCK_REALTIME, &real);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *asked, struct timespec *left) {
    struct timespec real = *asked;
    if (clock == CLOCK_REALTIME && (flags & TIMER_ABSTIME)) real.tv_sec -= later;
    return syscall(SYS_clock_nanosleep, clock, flags, &real, left) == 0 ? 0 : errno;
}

/* --- Files: what was written a minute ago is a minute old --- */

int fstatat(int folder, const char *restrict path, struct stat *restrict found, int flags) {
    int code = syscall(SYS_newfstatat, folder, path, found, flags);
    if (code == 0) {
        found->st_atim.tv_sec += later;
        found->st_mtim.tv_sec += later;
        found->st_ctim.tv_sec += later;
    }
    return code;
}

int stat(const char *restrict path, struct stat *restrict found) { return fstatat(AT_FDCWD, path, found, 0); }
int lstat(const char *restrict path, struct stat *restrict found) { return fstatat(AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW); }
int fstat(int file, struct stat *found) { return fstatat(file, "", found, AT_EMPTY_PATH); }

int utimensat(int folder, const char *path, const struct timespec times[2], int flags) {
    struct timespec real[2];
    if (times) {
        for (int i = 0; i < 2; i++) {
            real[i] = times[i];
            if (real[i].tv_nsec != UTIME_NOW && real[i].tv_nsec != UTIME_OMIT) real[i].tv_sec -= later;
        }
    }
    return syscall(SYS_utimensat, folder, path, times ? real : NULL, flags);
}

int futimens(int file, const struct timespec times[2]) { return utimensat(file, NULL, times, 0); }

/* The same by other names: of programs with 64-bit files, and of those built for a libc before 2.33. */
int stat64(const char *path, struct stat64 *found) { return stat(path, (struct stat *)found); }
int lstat64(const char *path, struct stat64 *found) { return lstat(path, (struct stat *)found); }
int fstat64(int file, struct stat64 *found) { return fstat(file, (struct stat *)found); }
int fstatat64(int folder, const char *path, struct stat64 *found, int flags) { return fstatat(folder, path, (struct stat *)found, flags); }
int __xstat(int version, const char *path, struct stat *found) { return (void)version, stat(path, found); }
int __lxstat(int version, const char *path, struct stat *found) { return (void)version, lstat(path, found); }
int __fxstat(int version, int file, struct stat *found) { return (void)version, fstat(file, found); }
int __xstat64(int version, const char *path, struct stat *found) { return (void)version, stat(path, found); }
int __lxstat64(int version, const char *path, struct stat *found) { return (void)version, lstat(path, found); }
int __fxstat64(int version, int file, struct stat *found) { return (void)version, fstat(file, found); }
