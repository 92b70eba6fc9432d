# aio: headers only, so there is nothing to build but examples, tests and benchmarks. `make help`.
BUILD ?= build
CC ?= cc
CXX ?= c++
CFLAGS ?= -O2 -g
CXXFLAGS ?= $(CFLAGS)
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SUFFIXES:

HEADERS := $(wildcard aio.h aio_loop.h aio_io_uring.h aio_epoll.h)
EXAMPLES := $(patsubst examples/%.c,$(BUILD)/examples/%,$(wildcard examples/*.c))
TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/t_*.c))
# Examples that are valid C++17 too, by name; they are built and run in both languages.
CXX_EXAMPLES ?= 01_hello 05_echo
EXAMPLES_CXX := $(patsubst %,$(BUILD)/examples/%-cxx,$(CXX_EXAMPLES))
# What examples/demo.sh shows; it needs no further library.
DEMO := 02_sleep 05_echo 06_copy 08_virtual_time 10_scan 14_chess 29_proxy 30_chat
# Tests in the shared language of C and C++.
CXX_TESTS := $(notdir $(basename $(wildcard tests/t_language.c tests/t_lhs.c tests/t_drop.c tests/t_generator.c tests/t_arguments.c)))
TESTS_CXX := $(patsubst %,$(BUILD)/tests/%-cxx,$(CXX_TESTS))

# What every program needs, after the user's own flags. -iquote: <aio.h> stays POSIX's.
WERROR ?= $(if $(CI),-Werror)
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wundef $(WERROR)
NEED := -iquote . -pthread -MMD -MP
NEED_C := $(NEED) $(WARNINGS) -Wstrict-prototypes
NEED_CXX := -std=c++17 $(NEED) $(WARNINGS)
# A source names further libraries in a line "// LIBS: -lm".
MORE_LIBS = $(shell sed -n 's|^// LIBS: *||p' $<)
LIBS = $(MORE_LIBS) -luring -lpthread

ifeq ($(V),1)
  Q :=
  SAY := @:
else
  Q := @
  SAY := @echo
endif
VERSION = $(shell sed -n 's/^.define AIO_VERSION_[A-Z]* //p' aio.h | paste -sd.)

.PHONY: all examples
all: examples
examples: $(EXAMPLES) ## build all examples (default)

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## *\(.*\)/  make \1	\2/p' Makefile | expand -t 24
	@echo "Variables: CC CXX CPPFLAGS CFLAGS CXXFLAGS LDFLAGS BUILD PREFIX DESTDIR, V=1 shows the commands."

# --- compiling
$(BUILD)/%: %.c
	$(SAY) "CC    $<"
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(NEED_C) $(LDFLAGS) -o $@ $< $(LIBS)
# An example whose library is not installed is left out, aloud.
$(BUILD)/examples/%: examples/%.c
	$(SAY) "CC    $<"
	@mkdir -p $(@D)
	$(Q)if [ -n "$(MORE_LIBS)" ] && ! echo "int main(void) { return 0; }" | \
	    $(CC) -x c - -o $@ $(MORE_LIBS) 2>/dev/null; then \
	    echo "      left out, for $(MORE_LIBS) is missing (tools/deps.sh check installs it)"; else \
	$(CC) $(CPPFLAGS) $(CFLAGS) $(NEED_C) $(LDFLAGS) -o $@ $< $(LIBS); fi
$(BUILD)/tests/%: tests/%.c
	$(SAY) "CC    $<"
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(NEED_C) -iquote tests $(LDFLAGS) -o $@ $< -lcmocka $(LIBS)
$(BUILD)/tests/%-cxx: tests/%.c
	$(SAY) "CXX   $<"
	@mkdir -p $(@D)
	$(Q)$(CXX) $(CPPFLAGS) $(CXXFLAGS) $(NEED_CXX) -iquote tests $(LDFLAGS) -o $@ -x c++ $< -x none \
	    -lcmocka $(LIBS)
$(BUILD)/examples/%-cxx: examples/%.c
	$(SAY) "CXX   $<"
	@mkdir -p $(@D)
	$(Q)$(CXX) $(CPPFLAGS) $(CXXFLAGS) $(NEED_CXX) $(LDFLAGS) -o $@ -x c++ $< -x none $(LIBS)
$(BUILD)/differential: tests/differential/interpreter.c
	$(SAY) "CC    $<"
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(NEED_C) $(LDFLAGS) -o $@ $<
-include $(wildcard $(BUILD)/*.d $(BUILD)/*/*.d)

# --- tests. Those who need packages install them first.
.PHONY: test
test: $(TESTS) $(TESTS_CXX) $(EXAMPLES) $(EXAMPLES_CXX) ## run the tests; T=name: those whose name contains it
	@CC="$(CC)" CXX="$(CXX)" BUILD="$(BUILD)" tests/run.sh T="$(T)"

# CHECK: what it does one after the other.
CHECK ?= lint test asan
.PHONY: check
check: ## everything: packages, lint, tests, compile matrix, sanitizers (under 10 minutes)
	@tools/deps.sh check
	@mkdir -p $(BUILD) && : >$(BUILD)/tally
	@failed=; for step in $(CHECK); do \
	    TALLY="$(abspath $(BUILD)/tally)" $(MAKE) --no-print-directory -j$(JOBS) $$step T= || failed="$$failed $$step"; done; \
	    [ -z "$$failed" ] || echo "check failed:$$failed"; \
	    awk '{ p += $$1; f += $$2; s += $$3 } END { \
	        printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f != 0 }' $(BUILD)/tally && \
	    [ -z "$$failed" ]

# Those that meet the kernel.
.PHONY: check-kernels
check-kernels: $(filter %/t_cores $(BUILD)/tests/t_uring_%,$(TESTS)) ## the ring's tests on Linux 6.1, in user-mode-linux
	@tools/deps.sh kernels
	@BUILD="$(BUILD)" SKIPS_ALLOWED="$(CURDIR)/tests/kernels/uml.skips" tests/kernels/uml.sh $(abspath $^)

.PHONY: differential
differential: $(BUILD)/differential ## build the interpreter that is compared with CPython's asyncio

# The programs alone, for checkers that watch them run.
.PHONY: test-programs
test-programs: $(TESTS)
	@BUILD="$(BUILD)" tests/run.sh T="$(T)" $(TESTS) tests/differential.sh

.PHONY: asan
asan: ## the test programs under the address and undefined-behaviour sanitizers
	@$(MAKE) --no-print-directory test-programs BUILD=$(BUILD)/asan WERROR= \
	    CFLAGS="-O0 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"

# gcc and clang find different things. (clang's frames are too large for the stack at -O0.)
.PHONY: asan-clang
asan-clang: ## the same, compiled by clang
	@$(MAKE) --no-print-directory test-programs BUILD=$(BUILD)/asan-clang WERROR= CC=clang \
	    CFLAGS="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"

.PHONY: tsan
tsan: ## the test programs under the thread sanitizer
	@$(MAKE) --no-print-directory test-programs BUILD=$(BUILD)/tsan WERROR= CFLAGS="-O1 -g -fsanitize=thread"

# Not those that fork or spawn, take the process's descriptors away, or need threads that run at a time.
# (t_steps_http: valgrind does not see the ring fill a buffer that was not zeroed.)
VALGRIND := $(filter-out %/t_fork %/t_uring_fork %/t_uring_fault %/t_uring_refused %/t_uring_names %/t_uring_process \
    %/t_uring_inventory %/t_uring_registered %/t_uring_ring %/t_steps_http,$(TESTS))
.PHONY: valgrind
valgrind: ## the test programs under valgrind
	@$(MAKE) --no-print-directory valgrind-programs BUILD=$(BUILD)/valgrind CPPFLAGS="$(CPPFLAGS) -DAIO_VALGRIND"
.PHONY: valgrind-programs
valgrind-programs: $(VALGRIND)
	@WRAP="valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite" \
	    BUILD="$(BUILD)" tests/run.sh T="$(T)" $(VALGRIND)

.PHONY: cxx
cxx: $(TESTS_CXX) $(EXAMPLES_CXX) ## build tests and examples as C++17 and run the tests
	@BUILD="$(BUILD)" tests/run.sh T="$(T)" $(TESTS_CXX)

.PHONY: demo
demo: ## a tour: installs what is missing, builds and runs the examples
	@tools/deps.sh demo
	@$(MAKE) --no-print-directory $(DEMO:%=$(BUILD)/examples/%)
	@examples/demo.sh

.PHONY: bench
bench: ## build and run the benchmarks, with libuv, epoll and wrk beside them
	@tools/deps.sh bench
	@BUILD="$(BUILD)" bench/run.sh

.PHONY: mutate
mutate: ## which small changes of the headers the tests notice (an hour): SEED=1 COUNT=380
	@tools/deps.sh mutate
	@BUILD="$(BUILD)" tools/mutate --seed $(or $(SEED),1) --count $(or $(COUNT),380)

# --- lint
.PHONY: lint
lint: lint-lite ## style checks, and the lost-locals analysis of examples and tests
	@tools/lint.sh $(wildcard examples/*.c tests/t_*.c)

.PHONY: lint-lite
lint-lite:
	@tools/style.sh

.PHONY: lint-file
lint-file: ## the lost-locals analysis of your own code: FILES="a.c b.c" [CPPFLAGS=…]
	@tools/deps.sh lint
	@VERBOSE=1 CPPFLAGS="$(CPPFLAGS)" tools/lint.sh $(FILES)

.PHONY: fmt
fmt: ## clang-format tests, examples and benchmarks (or FILES=…)
	@clang-format -i $(or $(FILES),$(wildcard tests/*.[ch] examples/*.[ch] bench/*.[ch]))

# --- documentation
.PHONY: docs
docs: ## makes docs/api.md from the headers
	@mkdir -p "$(BUILD)"
	@tools/gen-api.sh > "$(BUILD)/api.md" && cp "$(BUILD)/api.md" docs/api.md

# --- install
.PHONY: install
install: ## headers to PREFIX/include/aio, aio.pc for pkg-config; DESTDIR as usual
	@install -d "$(DESTDIR)$(PREFIX)/include/aio" "$(DESTDIR)$(PREFIX)/share/pkgconfig"
	@install -m 644 $(HEADERS) "$(DESTDIR)$(PREFIX)/include/aio"
	@printf '%s\n' 'prefix=$(PREFIX)' 'includedir=$${prefix}/include' '' 'Name: aio' \
	    'Description: Stackless coroutines for C on io_uring, headers only: #include <aio/aio_io_uring.h>' \
	    'Version: $(VERSION)' 'Libs: -luring -pthread' 'Cflags: -I$${includedir} -pthread' \
	    > "$(DESTDIR)$(PREFIX)/share/pkgconfig/aio.pc"

.PHONY: uninstall
uninstall: ## takes that back
	@rm -f $(addprefix "$(DESTDIR)$(PREFIX)/include/aio"/,aio.h aio_loop.h aio_io_uring.h aio_epoll.h)
	@-rmdir "$(DESTDIR)$(PREFIX)/include/aio" 2>/dev/null
	@rm -f "$(DESTDIR)$(PREFIX)/share/pkgconfig/aio.pc"

.PHONY: clean
clean: ## removes build/
	@rm -rf "$(BUILD)"
