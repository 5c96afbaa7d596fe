//! The commands that an operator is told to paste.

use std::path::Path;

/// How a topic that is paused goes on, in the data directory `data`.
pub fn way_out(topic: &str, data: &Path) -> String {
    let data = data_flag(data);
    format!(
        "look at them with `thermocline dead-letters list --topic {topic} {data}`, then go on with `thermocline resume \
         --topic {topic} {data}`"
    )
}

/// `--data DIR` for `data`, quoted where a shell would not take it as it is.
pub fn data_flag(data: &Path) -> String {
    let path = data.display().to_string();
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-+@%:,=".contains(char);
    if path.chars().all(is_plain) {
        format!("--data {path}")
    } else {
        format!("--data '{}'", path.replace('\'', r"'\''"))
    }
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
