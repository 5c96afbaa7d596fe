#!/usr/bin/env bash
# Installs what building Thermocline needs where it can (Debian and Ubuntu), else says exactly what to install.
#
#     deploy/setup.sh [--check] [--kafka]
#
#   --check   only report: exit status 0 when all is there, 1 and a list when not; installs nothing
#   --kafka   also what the tests need to run Apache Kafka itself: a Java 17 or newer, and Maven
#
# Does nothing, and quickly, when all is there.
set -eu

check=no kafka=no
for argument in "$@"; do
    case $argument in
        --check) check=yes ;;
        --kafka) kafka=yes ;;
        -h | --help)
            sed -n '2,9s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        *)
            echo "setup.sh: no option is called $argument; see setup.sh --help" >&2
            exit 2
            ;;
    esac
done

have() { command -v "$1" >/dev/null 2>&1; }

# rustup may be installed without this shell's PATH knowing yet.
[ -d "$HOME/.cargo/bin" ] && PATH=$PATH:$HOME/.cargo/bin

# The parts that are missing, each by one word; `install_words` turns a word into package names.
find_missing() {
    missing=
    have cc && have c++ || missing="$missing compiler"
    have make || missing="$missing make"
    have pkg-config || missing="$missing pkg-config"
    have protoc && protoc_has_its_types || missing="$missing protoc"
    have curl || missing="$missing curl"
    if ! have python3; then
        missing="$missing python3"
    elif [ "$on_debian" = yes ] && ! python_can_venv; then
        missing="$missing venv"
    fi
    if [ "$kafka" = yes ]; then
        java_is_17 || missing="$missing java"
        have mvn || missing="$missing maven"
    fi
    missing=${missing# }
}

# Debian keeps the well-known types (google/protobuf/*.proto) in a package of their own.
protoc_has_its_types() {
    [ "$(command -v protoc)" != /usr/bin/protoc ] || [ -e /usr/include/google/protobuf/any.proto ]
}

# Debian keeps the half of `venv` that installs pip (ensurepip) in a package of its own. Looking for the files is quicker
# than asking Python; a Python that is not Debian's (pyenv, conda) has them.
python_can_venv() {
    case $(command -v python3) in
        /usr/bin/*) ;;
        *) return 0 ;;
    esac
    for folder in /usr/lib/python3.*/ensurepip /usr/lib/python3/dist-packages/ensurepip; do
        [ -d "$folder" ] && return 0
    done
    return 1
}

# The version is read from the runtime's `release` file where there is one: starting a JVM takes longer than all else here.
java_is_17() {
    have java || return 1
    home=${JAVA_HOME:-}
    if [ -z "$home" ]; then
        home=$(readlink -f "$(command -v java)" 2>/dev/null) || home=
        home=${home%/bin/java}
    fi
    if [ -r "$home/release" ]; then
        version=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$home/release")
    else
        version=$(java -version 2>&1 | sed -n '1s/[^"]*"\([0-9]*\).*/\1/p')
    fi
    [ "${version:-0}" -ge 17 ]
}

# Package names of the missing parts for one package manager.
install_words() {
    for part in $missing; do
        case $1:$part in
            apt:compiler) echo build-essential g++ ;;
            apt:protoc) echo protobuf-compiler libprotobuf-dev ;;
            apt:venv) echo python3-venv ;;
            apt:python3) echo python3 python3-venv ;;
            apt:java) echo openjdk-17-jdk-headless ;;
            dnf:compiler) echo gcc gcc-c++ ;;
            dnf:protoc) echo protobuf-compiler protobuf-devel ;;
            dnf:java) echo java-latest-openjdk-headless ;;
            dnf:pkg-config) echo pkgconf-pkg-config ;;
            pacman:compiler) echo base-devel ;;
            pacman:protoc) echo protobuf ;;
            pacman:java) echo jdk-openjdk ;;
            pacman:pkg-config) echo pkgconf ;;
            pacman:python3) echo python ;;
            brew:protoc) echo protobuf ;;
            brew:java) echo openjdk ;;
            brew:pkg-config) echo pkgconf ;;
            brew:compiler) ;; # comes with the command line tools, named apart
            *) echo "$part" ;;
        esac
    done | tr '\n' ' ' | sed 's/ $//'
}

say_how() {
    {
        [ -z "$missing" ] || echo "missing: $missing"
        if [ -n "$missing" ]; then
            echo "install with"
            if [ "$on_debian" = yes ]; then
                echo "  Debian, Ubuntu   sudo apt-get install -y $(install_words apt)"
            elif [ "$(uname -s)" = Darwin ]; then
                case " $missing " in *" compiler "*) echo "  macOS            xcode-select --install" ;; esac
                words=$(install_words brew)
                [ -z "$words" ] || echo "  macOS            brew install $words"
            elif have dnf; then
                echo "  Fedora           sudo dnf install -y $(install_words dnf)"
            elif have pacman; then
                echo "  Arch             sudo pacman -S --needed $(install_words pacman)"
            else
                echo "  Debian, Ubuntu   sudo apt-get install -y $(install_words apt)"
                echo "  Fedora           sudo dnf install -y $(install_words dnf)"
                echo "  Arch             sudo pacman -S --needed $(install_words pacman)"
                echo "  macOS            brew install $(install_words brew)"
            fi
        fi
        if ! have cargo; then
            echo "missing: cargo, the Rust tool chain; install rustup (https://rustup.rs) with"
            echo "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
            echo "then open a new shell, or run: . \"\$HOME/.cargo/env\"; rustup fetches the version that rust-toolchain.toml names"
        fi
    } >&2
}

on_debian=no
have apt-get && [ -e /etc/debian_version ] && on_debian=yes

find_missing
if [ -z "$missing" ] && have cargo; then
    exit 0
fi

if [ "$check" = no ] && [ -n "$missing" ] && [ "$on_debian" = yes ]; then
    sudo=
    if [ "$(id -u)" != 0 ]; then
        if have sudo; then sudo="sudo"; else sudo=none; fi
    fi
    if [ "$sudo" != none ]; then
        words=$(install_words apt)
        echo "installing with apt-get: $words" >&2
        # shellcheck disable=SC2086 # a list of words
        if { $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $words; } >&2; then
            hash -r
            find_missing
        fi
    fi
fi

if [ -z "$missing" ] && have cargo; then
    exit 0
fi
say_how
exit 1
