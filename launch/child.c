#include "launch/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"

/* In the child, between fork and exec: only calls that are safe there. */
static void become(char *const *argv, const char *log, pid_t parent)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* stays so over exec */
    setpgid(0, 0); /* what a terminal sends to its group is for the parent */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127); /* it died before the line above */
    if (log) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (fd < 0 || dup2(fd, STDERR_FILENO) < 0) _exit(127);
    }
    execv("/proc/self/exe", argv);
    _exit(127);
}

enum tr_status tr_child_start(const char *const *words, const char *log,
                              struct tr_child *out, struct tr_err *err)
{
    /* exec takes char *const *, for which C has no cast of const char *const *. */
    union {
        const char *word[TR_CHILD_WORDS + 2];
        char *exec[TR_CHILD_WORDS + 2];
    } argv = {.word = {"troupe"}};
    int n = 1;
    for (; words[n - 1] && n <= TR_CHILD_WORDS; n++) argv.word[n] = words[n - 1];
    if (words[n - 1])
        return tr_err_set(err, TR_BADARG, "a process for %s: more than %d words",
                          words[0], TR_CHILD_WORDS);
    pid_t parent = getpid();
    out->pid = fork();
    if (out->pid == 0) become(argv.exec, log, parent);
    if (out->pid > 0) return TR_OK;
    out->pid = 0;
    return tr_err_set(err, TR_NOMEM, "a process for %s: %s", words[0],
                      tr_err_cause(errno));
}

bool tr_child_ended(struct tr_child *c, bool *failed)
{
    int how = 0;
    *failed = false;
    if (c->pid == 0) return true;
    if (waitpid(c->pid, &how, WNOHANG) == 0) return false;
    c->code = WIFEXITED(how) ? WEXITSTATUS(how) : -WTERMSIG(how);
    *failed = c->code != 0;
    c->pid = 0;
    return true;
}

void tr_child_wait(struct tr_child *c, double until)
{
    bool failed;
    while (!tr_child_ended(c, &failed) && tr_clock_seconds() < until)
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

void tr_child_ask(const struct tr_child *c)
{
    if (c->pid > 0) kill(c->pid, SIGTERM);
}

void tr_child_kill(struct tr_child *c)
{
    bool failed;
    if (tr_child_ended(c, &failed)) return;
    kill(c->pid, SIGKILL);
    waitpid(c->pid, NULL, 0);
    c->pid = 0;
}
