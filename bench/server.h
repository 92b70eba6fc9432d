// server.h - a client's view of the servers: starts one, ends it.
// SPDX-License-Identifier: MIT
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H
#include "echo.h"

#include <sys/wait.h>

struct server {
    pid_t pid;
    int in, port;
    FILE *out;
};
static inline void server_start(struct server *s, const char *folder, const char *name)
{
    char path[512];
    int to[2], from[2];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (pipe(to) || pipe(from)) bench_fail("pipe");
    s->pid = fork();
    if (s->pid < 0) bench_fail("fork");
    if (!s->pid) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        close(to[1]);
        close(from[0]);
        execl(path, path, (char *)0);
        bench_fail(path);
    }
    close(to[0]);
    close(from[1]);
    s->in = to[1];
    s->out = fdopen(from[0], "r");
    if (!s->out || fscanf(s->out, "%d", &s->port) != 1) bench_fail(name);
}
static inline int64_t server_finish(struct server *s)       // its CPU time
{
    long long cpu = 0;
    (void)!write(s->in, "x", 1);
    if (fscanf(s->out, "%lld", &cpu) != 1) cpu = 0;
    close(s->in);
    fclose(s->out);
    waitpid(s->pid, 0, 0);
    return cpu;
}
#endif
