// Runs a command in which io_uring's system calls are refused, as by a container's profile.
//     refuse ENOSYS|EPERM|EACCES setup|enter|register|all command …
// SPDX-License-Identifier: MIT
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct word { const char *text; unsigned first, last; };
static const struct word errors[] = {
    { "ENOSYS", ENOSYS, 0 }, { "EPERM", EPERM, 0 }, { "EACCES", EACCES, 0 }, { 0, 0, 0 },
};
static const struct word calls[] = {
    { "setup", SYS_io_uring_setup, SYS_io_uring_setup },
    { "enter", SYS_io_uring_enter, SYS_io_uring_enter },
    { "register", SYS_io_uring_register, SYS_io_uring_register },
    { "all", SYS_io_uring_setup, SYS_io_uring_register },
    { 0, 0, 0 },
};
static const struct word *find(const struct word *list, const char *text)
{
    while (list->text && strcmp(list->text, text)) list++;
    return list->text ? list : NULL;
}
int main(int argc, char **argv)
{
    const struct word *error = argc > 3 ? find(errors, argv[1]) : NULL;
    const struct word *call = argc > 3 ? find(calls, argv[2]) : NULL;
    if (!error || !call) {
        fprintf(stderr, "usage: refuse ENOSYS|EPERM|EACCES setup|enter|register|all command ...\n");
        return 2;
    }
    // The three calls have numbers that follow each other.
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, call->first, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, call->last, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error->first),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        perror("seccomp");
        return 77;
    }
    execvp(argv[3], argv + 3);
    perror(argv[3]);
    return 127;
}
