# Shared by the scripts of this folder: `. "$(dirname "$0")/lib.sh"`. POSIX sh.
# Afterwards the current directory is the top of the source tree.

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
top=$(dirname -- "$here")
cd "$top" || exit 1

presets="dev release asan tsan fuzz coverage"

say() { printf '%s\n' "$*"; }

# die WHAT WHY REMEDY: the form of every message of this project.
die()
{
    printf 'baton: %s: %s: %s\n' "$1" "$2" "$3" >&2
    exit 1
}

# The comment block at the top of the script, without the first line, is its --help.
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//;t print;d;:print;p;}' "$here/$(basename -- "$0")"; }

# How many jobs at once: every CPU, at least 2, at most 8 (the tests share one disk).
jobs()
{
    n=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
    [ "$n" -ge 2 ] || n=2
    [ "$n" -le 8 ] || n=8
    echo "$n"
}

is_preset()
{
    case " $presets " in *" $1 "*) return 0 ;; esac
    return 1
}

# Configure and build one preset: live on a terminal, else silent unless something fails.
build_preset()
{
    log=build/$1.log
    mkdir -p build
    if ! cmake --preset "$1" >"$log" 2>&1; then
        cat "$log" >&2
        return 1
    fi
    if [ -t 1 ]; then
        cmake --build "build/$1" -j "$(jobs)"
    elif ! cmake --build "build/$1" -j "$(jobs)" -- --quiet >"$log" 2>&1; then
        tail -n 60 "$log" >&2
        return 1
    fi
}
