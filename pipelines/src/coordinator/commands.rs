//! The commands that an operator is told to paste.

use std::path::Path;
use thermocline_schemas::shell_word;

/// How a topic that is paused goes on, in the data directory `data`.
pub fn way_out(topic: &str, data: &Path) -> String {
    let (look, data) = (list_dead_letters(topic, data), data_flag(data));
    format!("look at them with {look}, then go on with `thermocline resume --topic {topic} {data}`")
}

/// How the dead letters of a topic are shown.
pub(super) fn list_dead_letters(topic: &str, data: &Path) -> String {
    format!("`thermocline dead-letters list --topic {topic} {}`", data_flag(data))
}

/// `--data DIR` for `data`, as a shell takes it.
pub fn data_flag(data: &Path) -> String {
    format!("--data {}", shell_word(&data.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_the_directory_as_it_is() {
        let flag = |path: &str| data_flag(Path::new(path));
        assert_eq!(flag("/srv/data-1"), "--data /srv/data-1");
        assert_eq!(flag("/srv/my data"), "--data '/srv/my data'");
        assert_eq!(flag("/srv/it's"), r"--data '/srv/it'\''s'");
    }
}
