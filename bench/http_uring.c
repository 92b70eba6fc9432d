// http_uring.c - echo_uring_many.c with HTTP instead of echo.
// SPDX-License-Identifier: MIT
// LIBS: -lhttp_parser
#define BENCH_HTTP
#include "echo_uring_many.c"
