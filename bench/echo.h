// echo.h - what the three echo servers share: port, messages, how long.
// SPDX-License-Identifier: MIT
//
// A server listens on 127.0.0.1, a port of the kernel's choice, prints it, and echoes until
// standard input ends; then it prints its CPU time. Core 0; the client has core 1.
#ifndef BENCH_ECHO_H
#define BENCH_ECHO_H
#include "bench.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { ECHO_BUFFER = 4096, ECHO_CONNECTIONS = 2048 };

static inline int echo_listen(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t length = sizeof address;
    struct rlimit files = { 4096, 4096 };
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setrlimit(RLIMIT_NOFILE, &files);
    bench_pin(0);
    bench_realtime();
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096) ||
        getsockname(fd, (struct sockaddr *)&address, &length))
        bench_fail("listen");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);     // accepted sockets inherit it
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}
static inline void echo_over(void)
{
    printf("%lld\n", (long long)bench_cpu());
    exit(0);
}
#endif
