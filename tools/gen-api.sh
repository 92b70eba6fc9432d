#!/usr/bin/env bash
# Prints docs/api.md, made of the >>api sections of the three headers and of their public structs.
#   tools/gen-api.sh > docs/api.md
cd "$(dirname "$0")/.." || exit 1
cat <<'END'
# API

Made by `tools/gen-api.sh` from the `>>api` sections of the headers: edit those, not this page.
A result is a value >= 0 or a negative errno. "Awaitable": for `aio_await` and `aio_try`.
END
for header in aio.h aio_loop.h aio_io_uring.h; do
    printf '\n## %s\n' "$header"
    awk '
    # A paragraph of the header ends: its comment, then its declarations.
    function flush() {
        if (comment != "" || code != "") {
            if (!fence) print "```c"
            else print ""
            fence = 1
            printf "%s%s", comment, code
        }
        comment = code = ""
    }
    function close_fence() {
        flush()
        if (fence) print "```"
        fence = 0
    }
    function heading(text,   dot) {
        close_fence()
        if ((dot = index(text, ". ")) > 0) {
            comment = "// " substr(text, dot + 2) "\n"
            text = substr(text, 1, dot - 1)
        }
        printf "\n### %s%s\n\n", toupper(substr(text, 1, 1)), substr(text, 2)
    }
    /^\/\/ -+ >>/ {
        close_fence()
        api = index($0, ">>api")
        types = index($0, ">>types")
        if (types) headed = 0
        next
    }
    # Structs that a program fills in or reads.
    types && /^(struct|enum) aio_[a-z_]+ \{$/ && \
        $2 ~ /_options$|^aio_(report|backend|allocator|clock|awaitable|await_class|wait_class|scope_class)$/ {
        if (!headed++) heading("structs")
        code = comment
        comment = ""
        inside = 1
    }
    # Structs of which a program reads some members: those before the private ones.
    types && /^(typedef )?struct aio_(bytes|server|process|process_io|many) \{/ {
        if (!headed++) heading("structs")
        code = comment
        comment = ""
        inside = 1
    }
    types && inside && /\/\/ [Pp]rivate/ { hidden = 1 }
    types && inside && /^(\}|typedef .*\} aio_[a-z]+;$)/ {
        if (hidden) code = code "    // … and private members.\n"
        code = code $0 "\n"
        flush()
        inside = hidden = 0
        next
    }
    types && hidden { next }
    types && inside { code = code $0 "\n"; next }
    types && /^\/\// { comment = comment $0 "\n"; next }
    types { comment = ""; next }
    !api { next }
    continued { continued = /\\$/; next }
    /^# *define AIO_(FN|NODISCARD|COLD|SLOW|HOT|INLINE|TABLE)[ (]/ { comment = ""; continued = /\\$/; next }
    /^#(ifdef|else|endif)/ { cplusplus = /^#ifdef __cplusplus/; next }
    cplusplus { sub(/;.*/, ";") }
    /^\/\/ --- / { heading(substr($0, 8)); next }
    /^\/\// { if (code != "") flush(); comment = comment $0 "\n"; next }
    /^$/ { flush(); next }
    # A macro: its comment says how it is called, or else its name and parameters do.
    /^# *define aio_/ {
        continued = /\\$/
        sub(/^# *define /, "")
        match($0, /^aio_[a-z_]+(\([^)]*\))?/)
        signature = substr($0, 1, RLENGTH)
        name = signature
        sub(/\(.*/, "", name)
        if (index(comment, name) == 0 && index(code, name "(") == 0) code = code signature ";\n"
        next
    }
    { gsub(/(AIO_FN|AIO_INLINE|AIO_HOT|AIO_NODISCARD) /, ""); code = code $0 "\n" }
    END { close_fence() }' "$header"
done
