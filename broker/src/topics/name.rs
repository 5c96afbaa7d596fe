//! Which names a topic may have: Kafka's rule, which also keeps them safe as folder names.

/// Says what is wrong with a topic name.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > 249 {
        return Err(format!("a topic name has 1 to 249 characters, this one has {}", name.len()));
    }
    if name == "." || name == ".." || !name.bytes().all(legal) {
        return Err(format!("{name:?} is no topic name: use letters a-z and A-Z, digits, '.', '_' and '-'"));
    }
    Ok(())
}
