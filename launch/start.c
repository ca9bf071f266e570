#include "launch/start.h"

#include <sched.h>
#include <signal.h>
#include <sys/signalfd.h>

static int usable_cpus(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
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

int tr_start_stop_fd(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}
