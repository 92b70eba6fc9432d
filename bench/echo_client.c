// echo_client.c - starts echo servers and loads them in turn: epoll, one message in flight each.
// SPDX-License-Identifier: MIT
//
//     echo_client folder        folder: where the servers are
//
// A window per server, in turn, BENCH_ROUNDS times: thousand messages per second, and the server's
// CPU time per message. Core 1.
#include "server.h"

#include <sys/epoll.h>

enum { SIZE = 64 };
static int dial(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_port = htons((uint16_t)port);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) bench_fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}
// Messages in `window` ns.
static int64_t load(int epoll, int64_t window)
{
    struct epoll_event events[512];
    char ball[SIZE * 2];
    int64_t count = 0, end = bench_now() + window;
    while (bench_now() < end) {
        int n = epoll_wait(epoll, events, 512, 100);
        for (int i = 0; i < n; i++) {
            ssize_t got = recv(events[i].data.fd, ball, sizeof ball, 0);
            if (got <= 0 || send(events[i].data.fd, ball, (size_t)got, MSG_NOSIGNAL) != got)
                bench_fail("client");
            count++;
        }
    }
    return count;
}
static void measure(const char *folder, const char *name, const char *variant, int connections)
{
    static const char ball[SIZE] = { 1 };
    struct server s;
    int fds[ECHO_CONNECTIONS], epoll = epoll_create1(EPOLL_CLOEXEC);
    int64_t window = bench_env("BENCH_WINDOW_MS", 300) * 1000000;
    server_start(&s, folder, name);
    for (int i = 0; i < connections; i++) {
        struct epoll_event event = { .events = EPOLLIN };
        event.data.fd = fds[i] = dial(s.port);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event)) bench_fail("epoll_ctl");
        if (send(fds[i], ball, SIZE, 0) != SIZE) bench_fail("send");
    }
    int64_t warm = load(epoll, window / 10), begin = bench_now();
    int64_t count = load(epoll, window);
    double rate = (double)count / ((double)(bench_now() - begin) / 1e9);
    int64_t cpu = server_finish(&s);
    for (int i = 0; i < connections; i++) close(fds[i]);
    close(epoll);
    printf("TCP echo, %d connections: time per message\t%s\tns\t%.1f\n", connections, variant,
           1e9 / rate);
    printf("TCP echo, %d connections: server CPU per message\t%s\tns\t%.1f\n", connections, variant,
           (double)cpu / (double)(count + warm));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const int connections[] = { 1, 50, 500 };
    int64_t rounds = bench_env("BENCH_ROUNDS", 5);
    struct rlimit files = { 4096, 4096 };
    const char *folder = argc > 1 ? argv[1] : ".";
    setrlimit(RLIMIT_NOFILE, &files);
    bench_pin(1);
    bench_realtime();
    for (int64_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < sizeof connections / sizeof *connections; i++) {
            measure(folder, "echo_uring", "raw liburing", connections[i]);
            measure(folder, "echo_aio", "aio", connections[i]);
            measure(folder, "echo_uring_many", "raw multishot", connections[i]);
            measure(folder, "echo_aio_many", "aio multishot", connections[i]);
            measure(folder, "echo_epoll", "epoll", connections[i]);
            measure(folder, "echo_uv", "libuv", connections[i]);
        }
    }
    return 0;
}
