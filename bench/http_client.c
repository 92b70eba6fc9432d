// http_client.c - starts the HTTP servers and loads them in turn with wrk.
// SPDX-License-Identifier: MIT
//
//     http_client folder        folder: where the servers are
//
// A window of a second per server, in turn, BENCH_ROUNDS times: microseconds per request as wrk
// sees them, and the server's CPU time per request. wrk has core 1, one thread.
#include "server.h"

static void measure(const char *folder, const char *name, const char *variant, int connections)
{
    struct server s;
    char command[256], line[256];
    double rate = 0;
    long long requests = 0;
    server_start(&s, folder, name);
    snprintf(command, sizeof command, "wrk -t1 -c%d -d%llds http://127.0.0.1:%d/", connections,
             (long long)bench_env("BENCH_WRK_S", 1), s.port);
    FILE *wrk = popen(command, "r");
    if (!wrk) bench_fail("wrk");
    while (fgets(line, sizeof line, wrk)) {
        sscanf(line, "Requests/sec: %lf", &rate);
        sscanf(line, " %lld requests in", &requests);
        if (strstr(line, "Socket errors") || strstr(line, "Non-2xx")) bench_fail(line);
    }
    if (pclose(wrk) || rate <= 0 || !requests) bench_fail("wrk");
    int64_t cpu = server_finish(&s);
    printf("HTTP, %d connections: time per request\t%s\tns\t%.1f\n", connections, variant,
           1e9 / rate);
    printf("HTTP, %d connections: server CPU per request\t%s\tns\t%.1f\n", connections, variant,
           (double)cpu / (double)requests);
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
    for (int64_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < sizeof connections / sizeof *connections; i++) {
            measure(folder, "http_uring", "raw multishot", connections[i]);
            measure(folder, "http_aio", "aio multishot", connections[i]);
            measure(folder, "http_epoll", "epoll", connections[i]);
            measure(folder, "http_uv", "libuv", connections[i]);
        }
    }
    return 0;
}
