// http_uv.c - echo_uv.c with HTTP instead of echo.
// SPDX-License-Identifier: MIT
// LIBS: -luv -lhttp_parser
#define BENCH_HTTP
#include "echo_uv.c"
