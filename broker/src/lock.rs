//! One broker per data directory: a file lock that the operating system drops with the process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::BrokerError;

/// How often a held lock is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// The claim on a data directory; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    /// Takes the lock, and waits up to `wait` while another process has it.
    pub(crate) async fn take(data_dir: &Path, wait: Duration) -> Result<DataDirLock, BrokerError> {
        let path = data_dir.join("lock");
        let started = Instant::now();
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(BrokerError::io("open", &path))?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(BrokerError::io("lock", &path)(source)),
                Err(TryLockError::WouldBlock) if started.elapsed() >= wait => {
                    let mut holder = String::new();
                    let _ = file.read_to_string(&mut holder);
                    let holder = match holder.trim() {
                        "" => "another process".to_string(),
                        pid => format!("process {pid}"),
                    };
                    return Err(BrokerError::Locked { data_dir: data_dir.to_path_buf(), holder, waited: wait });
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(RETRY).await,
            }
        }
        let pid = format!("{}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(pid.as_bytes()))
            .map_err(BrokerError::io("write", &path))?;
        Ok(DataDirLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[tokio::test]
    async fn the_second_taker_waits_and_then_names_the_holder() {
        let folder = TempDir::new().expect("folder");
        let first = DataDirLock::take(folder.path(), Duration::ZERO).await.expect("free");
        let error = DataDirLock::take(folder.path(), Duration::from_millis(60)).await.expect_err("held");
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        let path = folder.path().to_path_buf();
        let second = tokio::spawn(async move { DataDirLock::take(&path, Duration::from_secs(10)).await });
        drop(first);
        second.await.expect("no panic").expect("taken when the first let go");
    }
}
