//! Opening a partition: trusting what a checkpoint vouches for, reading the rest, cutting a torn tail.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::batch::{BatchError, BatchHeader, HEADER_BYTES};
use super::checkpoint::Checkpoint;
use super::producers::Producers;
use super::segment::{Segment, checkpoint_path};

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What the folder of a partition holds.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// In order; at least one.
    pub(crate) segments: Vec<Segment>,
    pub(crate) producers: Producers,
}

/// Reads the folder of a partition and repairs its end.
///
/// A batch that is not whole and sound ends the log: its segment is cut there, with a warning. Segments behind a cut
/// cannot be trusted to follow; they are set aside as `<first offset>.log.discarded`.
pub(crate) fn recover(folder: &Path, now_ms: i64) -> io::Result<Recovered> {
    fs::create_dir_all(folder)?;
    let mut found = segment_files(folder)?.into_iter();
    let (mut segments, mut producers): (Vec<Segment>, _) = (Vec::new(), Producers::default());
    for (base_offset, path) in found.by_ref() {
        let expected = segments.last().map(|last| last.next_offset);
        if expected.is_some_and(|expected| expected != base_offset) {
            warn!(path = %path.display(), ?expected, "segment does not follow the one before it; set aside");
            set_aside(&path)?;
            break;
        }
        let (segment, cut) = recover_segment(folder, base_offset, &path, &mut producers, now_ms)?;
        segments.push(segment);
        if cut {
            break;
        }
    }
    for (_, path) in found {
        warn!(path = %path.display(), "segment lies behind the end of the log; set aside");
        set_aside(&path)?;
    }
    if segments.is_empty() {
        segments.push(Segment::empty(folder, 0));
    }
    Ok(Recovered { segments, producers })
}

/// The segment files by first offset. Left-overs of an interrupted write are deleted.
fn segment_files(folder: &Path) -> io::Result<Vec<(i64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("log") => found.extend(stem.parse().ok().map(|base: i64| (base, path.clone()))),
            Some("new") => fs::remove_file(&path)?,
            Some("index") if !path.with_extension("log").exists() => fs::remove_file(&path)?,
            _ => {}
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn set_aside(log: &Path) -> io::Result<()> {
    match fs::remove_file(checkpoint_path(log)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::rename(log, log.with_extension("log.discarded")),
    }
}

/// Opens one segment; says whether its end had to be cut.
fn recover_segment(
    folder: &Path,
    base_offset: i64,
    path: &Path,
    producers: &mut Producers,
    now_ms: i64,
) -> io::Result<(Segment, bool)> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let size = file.metadata()?.len();
    let mut segment = Segment::empty(folder, base_offset);
    if let Some(known) = load_checkpoint(path, base_offset, size) {
        segment.bytes = known.bytes;
        segment.next_offset = known.next_offset;
        segment.max_timestamp = known.max_timestamp;
        segment.index = known.index;
        *producers = known.producers;
    }
    let problem = scan(&file, size, &mut segment, producers, now_ms)?;
    if let Some(problem) = problem {
        let lost_bytes = size - segment.bytes;
        warn!(path = %path.display(), offset = segment.next_offset, lost_bytes, %problem, "torn end of the log cut off");
        file.set_len(segment.bytes)?;
        file.sync_data()?;
        return Ok((segment, true));
    }
    Ok((segment, false))
}

fn load_checkpoint(log: &Path, base_offset: i64, size: u64) -> Option<Checkpoint> {
    let path = checkpoint_path(log);
    let known = fs::read(&path).ok().and_then(|bytes| Checkpoint::decode(&bytes));
    match known {
        Some(known) if known.base_offset == base_offset && known.bytes <= size => Some(known),
        _ => {
            if path.exists() {
                warn!(path = %path.display(), "checkpoint does not fit its segment; the segment is read as a whole");
            }
            None
        }
    }
}

/// Reads batches from `segment.bytes` on and counts the sound ones; returns what ended the walk before the file's end.
fn scan(
    file: &File,
    size: u64,
    segment: &mut Segment,
    producers: &mut Producers,
    now_ms: i64,
) -> io::Result<Option<BatchError>> {
    let (mut buffer, mut start) = (Vec::new(), segment.bytes);
    while segment.bytes < size {
        let left = (size - segment.bytes) as usize;
        let mut skip = (segment.bytes - start) as usize;
        let mut need = HEADER_BYTES;
        // Twice: once for the header, and again when the rest of its batch is not in the buffer yet.
        let header = loop {
            if skip + need > buffer.len() {
                (start, skip) = (segment.bytes, 0);
                buffer.resize(need.max(CHUNK_BYTES).min(left), 0);
                file.read_exact_at(&mut buffer, start)?;
            }
            let header = match BatchHeader::parse(&buffer[skip..]) {
                Ok(header) => header,
                Err(problem) => return Ok(Some(problem)),
            };
            if header.bytes > left {
                return Ok(Some(BatchError::Length { said: header.bytes as i64, are: left }));
            }
            if skip + header.bytes <= buffer.len() {
                break header;
            }
            need = header.bytes;
        };
        if let Err(problem) = header.verify(&buffer[skip..skip + header.bytes]) {
            return Ok(Some(problem));
        }
        if header.base_offset != segment.next_offset {
            return Ok(Some(BatchError::Invalid("the batch does not continue the offsets before it")));
        }
        producers.record(&header, header.base_offset, now_ms);
        segment.note(&header);
    }
    Ok(None)
}
