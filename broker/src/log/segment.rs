//! One segment: a file of batches, and what is known about it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::{BatchHeader, OWN_BYTES};
use super::checkpoint::Checkpoint;
use super::index::Index;
use super::producers::Producers;
use crate::durable;

/// A segment of a partition. Whether it is the one that is written to, its log knows.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base_offset: i64,
    pub(crate) path: PathBuf,
    /// Bytes of whole batches; what lies behind them in the file does not count.
    pub(crate) bytes: u64,
    pub(crate) next_offset: i64,
    /// The greatest timestamp, `i64::MIN` while there is no batch.
    pub(crate) max_timestamp: i64,
    pub(crate) index: Index,
}

impl Segment {
    /// An empty segment that will start at `base_offset`; creates no file.
    pub(crate) fn empty(folder: &Path, base_offset: i64) -> Segment {
        Segment {
            base_offset,
            path: log_path(folder, base_offset),
            bytes: 0,
            next_offset: base_offset,
            max_timestamp: i64::MIN,
            index: Index::default(),
        }
    }

    /// Opens the file for appending and reading, and creates it where it is missing.
    pub(crate) fn open_for_append(&self) -> io::Result<Arc<File>> {
        Ok(Arc::new(OpenOptions::new().create(true).append(true).read(true).open(&self.path)?))
    }

    /// Writes a checked batch, which gets `self.next_offset`. After an error the file may have a torn tail: cut it.
    pub(crate) fn write(&mut self, mut file: &File, batch: &[u8], header: &BatchHeader) -> io::Result<()> {
        let prefix = header.stored_prefix(self.next_offset);
        let (mut head, mut body) = (&prefix[..], &batch[OWN_BYTES..]);
        while !head.is_empty() {
            let written = file.write_vectored(&[IoSlice::new(head), IoSlice::new(body)])?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            let of_head = written.min(head.len());
            head = &head[of_head..];
            body = &body[written - of_head..];
        }
        file.write_all(body)?;
        self.note(&BatchHeader { base_offset: self.next_offset, ..*header });
        Ok(())
    }

    /// Counts a batch that stands at the end of the counted bytes.
    pub(crate) fn note(&mut self, stored: &BatchHeader) {
        self.index.observe(stored, self.bytes, self.max_timestamp);
        self.bytes += stored.bytes as u64;
        self.next_offset = stored.next_offset();
        self.max_timestamp = self.max_timestamp.max(stored.max_timestamp);
    }

    /// What has to happen before the segment may be trusted at the next start without reading it.
    pub(crate) fn seal(&self, file: &Arc<File>, producers: &Producers) -> Seal {
        let checkpoint = Checkpoint {
            base_offset: self.base_offset,
            bytes: self.bytes,
            next_offset: self.next_offset,
            max_timestamp: self.max_timestamp,
            index: self.index.clone(),
            producers: producers.clone(),
        };
        Seal { file: Arc::clone(file), path: checkpoint_path(&self.path), checkpoint: checkpoint.encode() }
    }

    /// Deletes the files. Readers that have them open may finish.
    pub(crate) fn delete(&self) -> io::Result<()> {
        match fs::remove_file(checkpoint_path(&self.path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::remove_file(&self.path),
        }
    }
}

/// A segment's bytes, to be forced to the disk, and the checkpoint to be written after that.
#[derive(Debug)]
pub(crate) struct Seal {
    file: Arc<File>,
    path: PathBuf,
    checkpoint: Vec<u8>,
}

impl Seal {
    /// Waits for the disk twice: for the segment, then for its checkpoint.
    pub(crate) fn run(self) -> io::Result<()> {
        self.file.sync_data()?;
        if !self.path.with_extension("log").exists() {
            return Ok(()); // Retention was faster.
        }
        durable::replace(&self.path, &self.checkpoint)
    }
}

/// Where the batches of a segment lie.
pub(crate) fn log_path(folder: &Path, base_offset: i64) -> PathBuf {
    folder.join(format!("{base_offset:020}.log"))
}

/// Where the checkpoint of the segment at `log` lies.
pub(crate) fn checkpoint_path(log: &Path) -> PathBuf {
    log.with_extension("index")
}
