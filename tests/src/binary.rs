//! The binary under test: found beside this test's own executable, built if it is missing or older than its sources.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

/// Where the binary is.
///
/// # Panics
/// When there is none that is up to date and none can be built.
pub(crate) fn thermocline() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(find)
}

fn find() -> PathBuf {
    if let Some(named) = std::env::var_os("THERMOCLINE_BINARY") {
        let named = PathBuf::from(named);
        assert!(named.is_file(), "THERMOCLINE_BINARY={} is no file", named.display());
        return named;
    }
    let test = std::env::current_exe().expect("a process knows its executable");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in <profile>/deps");
    let binary = profile.join("thermocline");
    if let Err(why) = is_fresh(&binary) {
        build(profile, &why);
    }
    binary
}

/// Whether the binary is there and newer than every source that Cargo lists beside it.
fn is_fresh(binary: &Path) -> Result<(), String> {
    let modified = |path: &Path| -> Option<SystemTime> { path.metadata().and_then(|it| it.modified()).ok() };
    let built = modified(binary).ok_or_else(|| format!("there is no {}", binary.display()))?;
    let list = binary.with_extension("d");
    let list = std::fs::read_to_string(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    let sources = list.split_once(": ").map_or("", |(_, sources)| sources);
    // A blank in a path is written `\ `.
    let sources = sources.replace("\\ ", "\0");
    for source in sources.split_whitespace().map(|source| source.replace('\0', " ")) {
        if modified(Path::new(&source)).is_none_or(|changed| changed > built) {
            return Err(format!("{} is older than {source}", binary.display()));
        }
    }
    Ok(())
}

/// Cargo builds binaries for integration tests of their own package only. The same package set as
/// `cargo test --workspace` takes, so that no dependency is built a second time with other features.
fn build(profile: &Path, why: &str) {
    let way_out = "run `cargo build --release --workspace` first";
    let Some(cargo) = std::env::var_os("CARGO") else { panic!("{why}; {way_out}") };
    let mut command = std::process::Command::new(cargo);
    command.args(["build", "--workspace", "--bins"]).current_dir(crate::repository());
    if profile.ends_with("release") {
        command.arg("--release");
    }
    command.env("CARGO_TARGET_DIR", profile.parent().expect("a profile lies in the target directory"));
    eprintln!("{why}: building it");
    let status = command.status().unwrap_or_else(|error| panic!("{why}; cargo cannot run: {error}; {way_out}"));
    assert!(status.success(), "{why}, and it cannot be built; {way_out}");
}
