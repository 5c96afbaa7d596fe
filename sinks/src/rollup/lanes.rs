//! How the parts of a rollup are dealt out: into lanes, which are worked on at the same time (in warm and cold each writes
//! data files of its own; in hot each computes its vectors); and within a lane into rounds, which are merged one after the
//! other, so that memory stays flat however many parts one commit takes.

use crate::segment::BLOCK_BYTES;
use thermocline_schemas::metadata::Part;

/// Staged bytes that are worth a lane, and so data files, of their own.
pub(crate) const LANE_BYTES: u64 = 32 << 20;

/// A round takes no more parts than hold this many bytes while they are merged, two blocks each, on average. Of parts of a
/// megabyte and more these are 16.
const ROUND_BYTES: u64 = 16 << 20;

/// How many lanes these parts are worth, one for so many bytes: at least one.
pub(super) fn wanted(parts: &[Part], lane_bytes: u64) -> usize {
    let worth = usize::try_from(all(parts) / lane_bytes).unwrap_or(usize::MAX);
    worth.clamp(1, parts.len().max(1))
}

/// The parts in at most `most` lanes of about the same bytes, none empty, in order: what was written together stays
/// together.
pub(super) fn lanes(parts: &[Part], most: usize) -> Vec<Vec<Part>> {
    let most = most.max(1) as u64;
    let share = all(parts).div_ceil(most).max(1);
    let mut before = 0;
    chunks(parts, |part| {
        let lane = (before / share).min(most - 1);
        before += bytes(part);
        lane
    })
}

/// The parts of a lane in rounds, in order.
pub(super) fn rounds(parts: &[Part]) -> Vec<Vec<Part>> {
    let (mut round, mut held) = (0, 0);
    chunks(parts, |part| {
        let more = bytes(part).min(2 * BLOCK_BYTES as u64);
        if held > 0 && held + more > ROUND_BYTES {
            (round, held) = (round + 1, 0);
        }
        held += more;
        round
    })
}

fn chunks(parts: &[Part], mut number: impl FnMut(&Part) -> u64) -> Vec<Vec<Part>> {
    let mut chunks: Vec<Vec<Part>> = vec![];
    let mut newest = None;
    for part in parts {
        let at = Some(number(part));
        if at != newest {
            newest = at;
            chunks.push(vec![]);
        }
        chunks.last_mut().expect("the first part begins a chunk").push(part.clone());
    }
    chunks
}

fn all(parts: &[Part]) -> u64 {
    parts.iter().map(bytes).sum()
}

fn bytes(part: &Part) -> u64 {
    part.part.bytes.end - part.part.bytes.start
}
