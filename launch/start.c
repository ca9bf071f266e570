#include "launch/start.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/cgroup.h"

static int usable_cpus(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return tr_cgroup_threads("", CPU_COUNT(&set));
}

enum tr_status tr_start_exec(const char *isa, int64_t threads, enum tr_math math,
                             struct tr_exec *ex, struct tr_err *err)
{
    int n = threads > 0 ? (int)threads : usable_cpus();
    int rc = tr_exec_init(ex, isa, n, math);
    if (rc == -1)
        return tr_err_set(
            err, TR_BADARG,
            "%s is no instruction set of this CPU: expected scalar, avx2 or avx512",
            isa ? isa : "TROUPE_ISA");
    if (rc != 0) return tr_err_set(err, TR_NOMEM, "%d threads cannot be had", n);
    return TR_OK;
}

/* A library may have started threads before main (OpenBLAS does), and those do not have the signal
 * blocked: one of them gets it. It hands it to the main thread, whose id is the process's, where
 * it waits to be read. */
static void pass_on(int signal)
{
    int before = errno;
    syscall(SYS_tgkill, getpid(), getpid(), signal);
    errno = before;
}

static bool is_ignored(int signal)
{
    struct sigaction now;
    return sigaction(signal, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

/* A signal that whoever started us has ignored (nohup, a shell's &) stays ignored. */
static int divert(int signal)
{
    struct sigaction on = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
    sigemptyset(&on.sa_mask);
    return is_ignored(signal) ? 0 : sigaction(signal, &on, NULL);
}

int tr_start_stop_fd(void)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
        if (stops[i] != SIGHUP ||
            !is_ignored(SIGHUP)) /* what is blocked is read, if ignored too */
            sigaddset(&set, stops[i]);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0) return -1;
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
        if (divert(stops[i]) != 0) return -1;
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}
