#!/usr/bin/env bash
# Installs what building Thermocline needs where it can (packages on Debian and Ubuntu, Rust everywhere), else says exactly
# what to install.
#
#     deploy/setup.sh [--check] [--kafka] [--foreign]
#
#   --check     only report: exit status 0 when all is there, 1 and a list when not; installs nothing
#   --kafka     also what the tests need to run Apache Kafka itself: a Java 17 or newer, and Maven
#   --foreign   also what the tests need to try the broker with the clients of others: kcat, Node.js and npm
#
# Does nothing, and quickly, when all is there.
set -eu

check=no kafka=no foreign=no
for argument in "$@"; do
    case $argument in
        --check) check=yes ;;
        --kafka) kafka=yes ;;
        --foreign) foreign=yes ;;
        -h | --help)
            sed -n '2,11s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        *)
            echo "setup.sh: no option is called $argument; see setup.sh --help" >&2
            exit 2
            ;;
    esac
done

have() { command -v "$1" >/dev/null 2>&1; }

# rustup may be installed without this shell's PATH knowing yet; the Makefile, tests/run.sh and .ci/run look there too.
cargo_bin=${CARGO_HOME:-$HOME/.cargo}/bin
PATH=$cargo_bin:$PATH

# macOS has commands of these names that only ask to install the real ones.
have_compiler() {
    have cc && have c++ && { [ "$(uname -s)" != Darwin ] || xcode-select -p >/dev/null 2>&1; }
}

# The parts that are missing, each by one word; `install_words` turns a word into package names.
find_missing() {
    missing=
    have_compiler || missing="$missing compiler"
    have make || missing="$missing make"
    have pkg-config || missing="$missing pkg-config"
    have protoc && protoc_has_its_types || missing="$missing protoc"
    have curl || missing="$missing curl"
    # curl comes without them where only what is necessary gets installed.
    [ "$on_debian" = no ] || [ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
    if ! have python3; then
        missing="$missing python3"
    elif [ "$on_debian" = yes ] && ! python_can_venv; then
        missing="$missing venv"
    fi
    if [ "$kafka" = yes ]; then
        java_is_17 || missing="$missing java"
        have mvn || missing="$missing maven"
    fi
    if [ "$foreign" = yes ]; then
        have kcat || missing="$missing kcat"
        have node || missing="$missing node"
        have npm || missing="$missing npm"
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
        /usr/bin/* | /bin/*) ;;
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

# rustup fetches the Rust that rust-toolchain.toml names; a Rust without rustup has to be new enough by itself.
have_rust() {
    have cargo || return 1
    have rustup && return 0
    wanted=$(sed -n 's/^rust-version = "1\.\([0-9]*\).*/\1/p' "$(dirname "$0")/../Cargo.toml")
    found=$(cargo --version 2>/dev/null | sed -n 's/^cargo 1\.\([0-9]*\).*/\1/p')
    [ "${found:-0}" -ge "${wanted:-0}" ]
}

# Into the user's folder, which needs no rights; profiles of the shell stay as they are.
install_rust() {
    echo "installing rustup, which fetches the Rust that rust-toolchain.toml names, to ${cargo_bin%/bin}" >&2
    script=$(mktemp)
    { curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs -o "$script" &&
        sh "$script" -y --quiet --no-modify-path --default-toolchain none; } >&2 || true
    rm -f "$script"
    hash -r
}

# Debian and Ubuntu have other versions of Java each year.
apt_java() {
    for version in 17 21 25; do
        if apt-cache show "openjdk-$version-jdk-headless" >/dev/null 2>&1; then
            echo "openjdk-$version-jdk-headless"
            return
        fi
    done
    echo default-jdk-headless
}

# Whether the lists of packages are there, and this one is not in them.
apt_lacks() {
    ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 && ! apt-cache show "$1" >/dev/null 2>&1
}

# Package names of the missing parts for one package manager.
install_words() {
    for part in $missing; do
        case $1:$part in
            apt:compiler) echo build-essential g++ ;;
            apt:protoc) echo protobuf-compiler libprotobuf-dev ;;
            apt:venv) echo python3-venv ;;
            apt:python3) echo python3 python3-venv ;;
            apt:java) apt_java ;;
            apt:node) echo nodejs ;;
            apt:kcat) apt_lacks kcat || echo kcat ;; # older ones have none, named apart
            dnf:compiler) echo gcc gcc-c++ ;;
            dnf:protoc) echo protobuf-compiler protobuf-devel ;;
            dnf:java) echo java-latest-openjdk-headless ;;
            dnf:pkg-config) echo pkgconf-pkg-config ;;
            dnf:node) echo nodejs ;;
            dnf:npm) echo nodejs-npm ;;
            pacman:compiler) echo base-devel ;;
            pacman:protoc) echo protobuf ;;
            pacman:java) echo jdk-openjdk ;;
            pacman:pkg-config) echo pkgconf ;;
            pacman:python3) echo python ;;
            pacman:node) echo nodejs ;;
            brew:protoc) echo protobuf ;;
            brew:java) echo openjdk ;;
            brew:pkg-config) echo pkgconf ;;
            dnf:kcat | pacman:kcat) ;; # they have none, named apart
            brew:npm) ;;               # comes with node
            brew:compiler) ;;          # comes with the command line tools, named apart
            *) echo "$part" ;;
        esac
    done | tr '\n' ' ' | sed 's/ $//'
}

# A command and its words, if there are any.
say_line() {
    [ -z "$2" ] || echo "$1 $2"
}

say_how() {
    {
        [ -z "$missing" ] || echo "missing: $missing"
        if [ -n "$missing" ]; then
            echo "install with"
            if [ "$on_debian" = yes ]; then
                say_line "  Debian, Ubuntu   sudo apt-get update && sudo apt-get install -y" "$(install_words apt)"
            elif [ "$(uname -s)" = Darwin ]; then
                case " $missing " in *" compiler "*) echo "  macOS            xcode-select --install" ;; esac
                say_line "  macOS            brew install" "$(install_words brew)"
                have brew || echo "  brew             https://brew.sh"
            elif have dnf; then
                say_line "  Fedora           sudo dnf install -y" "$(install_words dnf)"
            elif have pacman; then
                say_line "  Arch             sudo pacman -S --needed" "$(install_words pacman)"
            else
                echo "  Debian, Ubuntu   sudo apt-get update && sudo apt-get install -y $(install_words apt)"
                echo "  Fedora           sudo dnf install -y $(install_words dnf)"
                echo "  Arch             sudo pacman -S --needed $(install_words pacman)"
                echo "  macOS            brew install $(install_words brew)"
            fi
            case " $missing " in *" kcat "*) echo "  kcat             where no package has it: https://github.com/edenhill/kcat" ;; esac
        fi
        if ! have_rust; then
            if have cargo; then echo "too old: $(cargo --version)"; else echo "missing: cargo, the Rust tool chain"; fi
            echo "install rustup (https://rustup.rs), which fetches the version that rust-toolchain.toml names, with"
            echo "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
        fi
        echo "then run the same command again"
    } >&2
}

on_debian=no
have apt-get && [ -e /etc/debian_version ] && on_debian=yes

find_missing
if [ -z "$missing" ] && have_rust; then
    exit 0
fi

if [ "$check" = no ] && [ -n "$missing" ] && [ "$on_debian" = yes ]; then
    sudo=
    if [ "$(id -u)" != 0 ]; then
        if have sudo; then sudo="sudo"; else sudo=none; fi
    fi
    if [ "$sudo" != none ]; then
        echo "installing with apt-get: $missing" >&2
        # What packages there are is known after the update only.
        # shellcheck disable=SC2046 # a list of words
        { $sudo apt-get update -q &&
            $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(install_words apt); } >&2 || true
        hash -r
        find_missing
    fi
fi
if [ "$check" = no ] && ! have_rust && have curl; then
    install_rust
fi

if [ -z "$missing" ] && have_rust; then
    exit 0
fi
say_how
exit 1
