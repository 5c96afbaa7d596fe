//! What `up` says while it runs, and at its end.

use crate::commands::up::Prepared;
use crate::report::{say, thousands};
use crate::run_file::RunFile;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thermocline_pipelines::coordinator::{self, Snapshot};
use thermocline_pipelines::plan::Pipelines;
use thermocline_schemas::Tier;
use thermocline_schemas::metadata::{CutView, Pause};
use thermocline_schemas::table::DEAD_LETTERS;
use tokio::sync::watch;

/// Prints where everything is.
pub(crate) fn print_banner(data: &Path, bootstrap: &str, prepared: &Prepared, embedded: bool) {
    say!("data       {}", data.display());
    say!("broker     {bootstrap}{}", if embedded { " (embedded)" } else { "" });
    for file in &prepared.files {
        say!("pipeline   {}", file.path);
    }
    for (what, file) in &prepared.settled {
        say!("{what:<10} {file}");
    }
}

/// A topic that the pipelines read, for a command to paste.
pub(crate) fn example_topic(pipelines: &Pipelines) -> String {
    const EXAMPLE: &str = "orders";
    let patterns = || pipelines.sources.iter().map(|source| &source.pattern);
    match patterns().next() {
        Some(first) if !patterns().any(|pattern| pattern.matches(EXAMPLE)) => {
            first.as_str().replace('*', EXAMPLE).replace('?', "1")
        }
        _ => EXAMPLE.to_owned(),
    }
}

/// Follows a run: says which topics it reads, or the command to `paste` while there are none, keeps a status line on a
/// terminal, and shows the run to `status`.
pub(crate) async fn show(data: PathBuf, paste: String, once: bool, mut seen: watch::Receiver<Snapshot>) {
    let line = status_bar();
    let mut topics: Vec<String> = vec![];
    let mut first = true;
    while seen.changed().await.is_ok() {
        let snapshot = seen.borrow_and_update().clone();
        let now: Vec<String> = snapshot
            .sources
            .iter()
            .flat_map(|it| it.topics.iter().map(|topic| format!("{} <- {topic}", it.name)))
            .collect();
        let new: Vec<&str> = now.iter().filter(|topic| !topics.contains(topic)).map(String::as_str).collect();
        if !new.is_empty() {
            line.suspend(|| say!("{}", topic_lines(&new, &data)));
        }
        if first && now.is_empty() && !once {
            line.suspend(|| say!("no topics yet; write to one:\n           {paste}"));
        }
        (topics, first) = (now, false);
        line.set_message(status_line(&snapshot));
        line.tick();
        if let Err(error) = RunFile::write(&data, &snapshot) {
            tracing::warn!(%error, "status cannot be shown");
        }
    }
    line.finish_and_clear();
}

/// A line that turns until it is cleared, for work whose progress nobody counts. Nothing where there is no terminal.
pub(crate) fn spinner(message: &'static str) -> ProgressBar {
    let line = status_bar();
    line.set_message(message);
    line.enable_steady_tick(Duration::from_millis(100));
    line
}

/// The line at the end of a terminal; hidden where there is none.
pub(crate) fn status_bar() -> ProgressBar {
    let line = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    line.with_style(ProgressStyle::with_template("{spinner} {msg}").expect("the template is ours"))
}

/// Why a topic is paused, and the commands to paste.
pub(crate) fn pause_line(pause: &Pause, data: &Path) -> String {
    format!("paused: {}; {}", pause.reason, coordinator::way_out(&pause.topic, &absolute(data)))
}

/// A pasted command may run somewhere else.
fn absolute(data: &Path) -> PathBuf {
    data.canonicalize().unwrap_or_else(|_| data.to_owned())
}

/// Each topic on a line of its own, unless they are many.
fn topic_lines(new: &[&str], data: &Path) -> String {
    const MOST_LINES: usize = 12;
    let shown: Vec<String> = new.iter().take(MOST_LINES).map(|topic| format!("topic      {topic}")).collect();
    let more = new.len().saturating_sub(MOST_LINES);
    let mut lines = shown.join("\n");
    if more > 0 {
        let command = format!("thermocline status --json {}", coordinator::data_flag(&absolute(data)));
        lines.push_str(&format!("\n           and {more} more; `{command}` lists all"));
    }
    lines
}

fn status_line(snapshot: &Snapshot) -> String {
    let lag: u64 = snapshot.sources.iter().map(|source| source.lag).sum();
    let memory = snapshot.used_bytes / (1 << 20);
    let mut text = format!("epoch {}, {} records behind, {memory} MiB under way", snapshot.open_epoch, thousands(lag));
    let dead: u64 = snapshot.dead_letters.values().sum();
    if dead > 0 {
        text.push_str(&format!(", {} dead letters", thousands(dead)));
    }
    if !snapshot.paused.is_empty() {
        text.push_str(&format!(", {} topics paused", snapshot.paused.len()));
    }
    if snapshot.sources.iter().any(|source| !source.healthy) {
        text.push_str(", the broker does not answer");
    }
    text
}

/// Rows of every table by tier, staged ones among them.
pub(crate) fn rows_by_table(view: &CutView) -> BTreeMap<String, [u64; 3]> {
    let mut rows: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for part in &view.parts {
        rows.entry(part.part.table.name.to_string()).or_default()[part.part.table.tier as usize] += part.part.rows;
    }
    for live in &view.versions {
        rows.entry(live.table.name.to_string()).or_default()[live.table.tier as usize] += live.rows;
    }
    rows.retain(|_, tiers| tiers.iter().any(|rows| *rows > 0));
    rows
}

/// Prints rows by domain and tier.
pub(crate) fn print_rows(view: &CutView) {
    let rows = rows_by_table(view);
    if rows.is_empty() {
        say!("no rows yet");
        return;
    }
    let width = rows.keys().map(String::len).max().unwrap_or_default().max(DEAD_LETTERS.len());
    let [hot, warm, cold] = Tier::ALL.map(Tier::as_str);
    say!("{:width$} {hot:>12} {warm:>12} {cold:>12}", "rows");
    let mut sums = [0; 3];
    for (table, tiers) in &rows {
        let [hot, warm, cold] = tiers.map(thousands);
        say!("{table:width$} {hot:>12} {warm:>12} {cold:>12}");
        sums.iter_mut().zip(tiers).for_each(|(sum, rows)| *sum += rows);
    }
    let [hot, warm, cold] = sums.map(thousands);
    say!("{:width$} {hot:>12} {warm:>12} {cold:>12}", "all");
}
