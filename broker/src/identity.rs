//! Who this broker is: the cluster id, and the next producer id, both for ever.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::durable;
use crate::error::BrokerError;

/// Producer ids that one write to the disk reserves. A crash skips what is left of them.
const RESERVED: i64 = 1_000;

/// The one node of the cluster.
pub(crate) const NODE_ID: i32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct IdentityFile {
    version: u32,
    cluster_id: String,
    /// No producer id at or above this one was ever given out.
    next_producer_id: i64,
}

/// Cluster id and producer ids.
#[derive(Debug)]
pub(crate) struct Identity {
    path: PathBuf,
    cluster_id: String,
    ids: Mutex<Ids>,
}

#[derive(Debug)]
struct Ids {
    next: i64,
    reserved_until: i64,
}

impl Identity {
    /// Reads `broker.json` of the data directory, and creates it at the first start.
    pub(crate) fn open(data_dir: &Path) -> Result<Identity, BrokerError> {
        let path = data_dir.join("broker.json");
        let file = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<IdentityFile>(&bytes)
                .map_err(|error| BrokerError::Damaged { path: path.clone(), detail: error.to_string() })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let cluster_id = Uuid::new_v4().simple().to_string();
                let file = IdentityFile { version: 1, cluster_id, next_producer_id: 0 };
                write(&path, &file).map_err(BrokerError::io("write", &path))?;
                file
            }
            Err(error) => return Err(BrokerError::io("read", &path)(error)),
        };
        if file.version != 1 {
            let detail = format!("version {} was written by a newer broker", file.version);
            return Err(BrokerError::Damaged { path, detail });
        }
        let ids = Ids { next: file.next_producer_id, reserved_until: file.next_producer_id };
        Ok(Identity { path, cluster_id: file.cluster_id, ids: Mutex::new(ids) })
    }

    /// The id of this cluster of one.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// A producer id that nobody had before. Blocks on a file now and then.
    pub(crate) fn new_producer_id(&self) -> io::Result<i64> {
        let mut ids = self.ids.lock();
        if ids.next == ids.reserved_until {
            let reserved_until = ids.next + RESERVED;
            let cluster_id = self.cluster_id.clone();
            write(&self.path, &IdentityFile { version: 1, cluster_id, next_producer_id: reserved_until })?;
            ids.reserved_until = reserved_until;
        }
        ids.next += 1;
        Ok(ids.next - 1)
    }
}

fn write(path: &Path, file: &IdentityFile) -> io::Result<()> {
    durable::replace(path, &serde_json::to_vec_pretty(file)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn ids_are_never_given_twice_and_the_cluster_keeps_its_name() {
        let folder = TempDir::new().expect("folder");
        let first = Identity::open(folder.path()).expect("created");
        let given: Vec<i64> = (0..3).map(|_| first.new_producer_id().expect("id")).collect();
        let second = Identity::open(folder.path()).expect("read");
        assert_eq!(second.cluster_id(), first.cluster_id());
        assert!(second.new_producer_id().expect("id") > given[2]);
    }
}
