// echo_epoll.c - the echo server by hand on epoll, level-triggered. See echo.h.
// SPDX-License-Identifier: MIT
#include "echo.h"
#include "protocol.h"
#include <sys/epoll.h>

static char buffer[ECHO_BUFFER];
static struct protocol protocols[2 * ECHO_CONNECTIONS];     // by descriptor

static void watch(int epoll, int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) bench_fail("epoll_ctl");
}
int main(void)
{
    struct epoll_event events[512];
    int listener = echo_listen(), epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(epoll, listener);
    watch(epoll, 0);
    for (;;) {
        int n = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == 0) echo_over();
            if (fd == listener) {
                fd = accept4(listener, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
                protocol_init(&protocols[fd]);
                watch(epoll, fd);
                continue;
            }
            const char *out;
            ssize_t got = recv(fd, buffer, sizeof buffer, 0), size = 0;
            if (got > 0) size = (ssize_t)protocol_reply(&protocols[fd], buffer, (size_t)got, &out);
            if (got <= 0 || (size && send(fd, out, (size_t)size, MSG_NOSIGNAL) != size)) close(fd);
        }
    }
}
