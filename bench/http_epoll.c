// http_epoll.c - echo_epoll.c with HTTP instead of echo.
// SPDX-License-Identifier: MIT
// LIBS: -lhttp_parser
#define BENCH_HTTP
#include "echo_epoll.c"
