//! Which crate may use which, and that the lock holds one of each library that must agree with itself.

use std::fs;
use thermocline_tests::repository;

/// Folder, crate, and the crates of ours it may use. An arrow that is not here is a decision, not a detail.
const ARROWS: &[(&str, &str, &[&str])] = &[
    ("broker", "thermocline-broker", &[]),
    ("schemas", "thermocline-schemas", &[]),
    ("operators", "thermocline-operators", &["schemas"]),
    ("sinks", "thermocline-sinks", &["schemas"]),
    ("pipelines", "thermocline-pipelines", &["schemas", "operators", "sinks"]),
    ("sql", "thermocline-sql", &["schemas", "operators", "sinks"]),
    ("server", "thermocline", &["broker", "schemas", "operators", "sinks", "pipelines", "sql"]),
    ("tests", "thermocline-tests", &[]),
];

/// Further arrows of tests alone.
const ARROWS_OF_TESTS: &[(&str, &str)] = &[("pipelines", "broker")];

/// What can reach a broker or a store. `operators` names none of them, so it cannot do so by accident.
const CLIENTS: &[&str] = &["rdkafka", "rdkafka-sys", "sqlx", "object_store", "deltalake", "iceberg", "lance", "tokio"];

/// The dependencies that a manifest names: line, name, and whether only tests use it.
fn dependencies(folder: &str) -> Vec<(usize, String, bool)> {
    let path = repository().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut section, mut found) = (String::new(), vec![]);
    for (number, line) in text.lines().enumerate().map(|(number, line)| (number + 1, line.trim())) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
        } else if section.ends_with("dependencies") && !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default().trim_matches('"');
            found.push((number, name.to_owned(), section.ends_with("dev-dependencies")));
        }
    }
    found
}

#[test]
fn arrows_between_crates_point_the_way_they_should() {
    for (folder, _, allowed) in ARROWS {
        for (line, name, of_tests) in dependencies(folder) {
            let Some((used, ..)) = ARROWS.iter().find(|(_, package, _)| *package == name) else { continue };
            let is_allowed = allowed.contains(used) || (of_tests && ARROWS_OF_TESTS.contains(&(*folder, *used)));
            assert!(is_allowed, "{folder}/Cargo.toml:{line}: {folder} may not use {used}; it may use {allowed:?}");
        }
    }
}

#[test]
fn every_member_of_the_workspace_is_in_the_table() {
    let root = fs::read_to_string(repository().join("Cargo.toml")).expect("the workspace has a manifest");
    let members = root.lines().find(|line| line.starts_with("members = ")).expect("it lists its members");
    for (folder, package, _) in ARROWS {
        assert!(members.contains(&format!("\"{folder}\"")), "{folder} is no member");
        let manifest =
            fs::read_to_string(repository().join(folder).join("Cargo.toml")).expect("a member has a manifest");
        assert!(manifest.contains(&format!("name = \"{package}\"")), "{folder} is not called {package}");
    }
    assert_eq!(members.matches('"').count() / 2, ARROWS.len(), "{members}");
}

#[test]
fn operators_cannot_reach_a_broker_or_a_store() {
    for (line, name, _) in dependencies("operators") {
        assert!(!CLIENTS.contains(&name.as_str()), "operators/Cargo.toml:{line}: {name} does I/O");
    }
}

#[test]
fn versions_are_said_once_in_the_root_manifest() {
    for (folder, ..) in ARROWS {
        let text = fs::read_to_string(repository().join(folder).join("Cargo.toml")).expect("a member has a manifest");
        let lines: Vec<&str> = text.lines().collect();
        for (number, name, _) in dependencies(folder) {
            let line = lines[number - 1];
            assert!(
                line.contains("workspace = true"),
                "{folder}/Cargo.toml:{number}: {name} says its own version: {line}"
            );
        }
    }
}

/// The versions of a package in the lock.
fn locked(package: &str) -> Vec<String> {
    let lock = fs::read_to_string(repository().join("Cargo.lock")).expect("the lock is committed");
    let mut lines = lock.lines();
    let mut versions = vec![];
    while let Some(line) = lines.next() {
        if line == format!("name = \"{package}\"") {
            let version = lines.next().and_then(|line| line.strip_prefix("version = ")).unwrap_or_default();
            versions.push(version.trim_matches('"').to_owned());
        }
    }
    versions
}

#[test]
fn the_lock_holds_one_of_what_must_agree_with_itself() {
    for package in ["arrow", "arrow-array", "datafusion", "object_store", "parquet", "deltalake", "iceberg", "lance"] {
        let versions = locked(package);
        assert_eq!(versions.len(), 1, "{package} is locked at {versions:?}");
    }
    // 1.0.1 is for a kernel that this set of versions cannot take.
    assert_eq!(locked("buoyant_kernel_derive"), ["1.0.0"]);
}

/// The packages of the binary with their features, when the workspace is resolved with these kinds of dependencies.
fn resolved(edges: &str) -> Vec<String> {
    let tree = |arguments: &[&str]| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = std::process::Command::new(cargo);
        command.current_dir(repository()).args(["tree", "--offline", "--locked", "--prefix", "none"]).args(arguments);
        let output = command.output().expect("cargo can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| line.replace(" (*)", "").replace(" (proc-macro)", "").trim().to_owned())
            .collect();
        lines
    };
    let binary: std::collections::BTreeSet<String> =
        tree(&["--package", "thermocline", "--edges", "normal", "--format", "{p}"]).into_iter().collect();
    let mut all = tree(&["--workspace", "--edges", edges, "--format", "{p}|{f}"]);
    all.retain(|line| line.split('|').next().is_some_and(|package| binary.contains(package)));
    all.sort();
    all.dedup();
    all
}

#[test]
fn tests_ask_for_no_feature_that_the_binary_is_built_without() {
    // Else `make test` after `make demo` builds DataFusion a second time: name the dependency of the tests, which asks
    // for more, in tests/Cargo.toml too.
    assert_eq!(resolved("normal,dev"), resolved("normal"));
}
