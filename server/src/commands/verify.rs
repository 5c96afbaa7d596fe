//! `thermocline verify`.

use crate::cli::ReportArgs;
use crate::commands::up::progress::spinner;
use crate::exit;
use crate::report::{print_json, thousands};
use anyhow::Result;
use std::process::ExitCode;
use std::sync::Arc;
use thermocline_schemas::time::SystemClock;
use thermocline_sql::Engine;
use thermocline_sql::verify::{Figures, Verified, verify};

pub(crate) async fn run(args: ReportArgs) -> Result<ExitCode> {
    let engine = Engine::open(&args.data.data, Arc::new(SystemClock)).await?;
    let session = engine.session().await?;
    let line = spinner("recounting");
    let verified = verify(&session).await;
    line.finish_and_clear();
    session.close().await;
    let verified = verified?;
    if args.json {
        print_json(&verified)?;
    } else {
        print(&verified);
    }
    Ok(if verified.ok { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}

/// The last line where something is wrong.
pub(crate) const BROKEN: &str = "the law of conservation does not hold, which is a fault of Thermocline or of the disk: keep \
    a copy of the data directory for the report; `thermocline reset-offsets` reads records again that are missing";

fn print(verified: &Verified) {
    for branch in &verified.branches {
        let closed = if branch.live { "" } else { " (closed)" };
        println!("branch {} {} -> {}{closed}", branch.branch, branch.source, branch.target);
        println!("  {}", law(&branch.figures));
        if branch.figures.again > 0 {
            println!("  and {} offsets that reset-offsets had read again", thousands(branch.figures.again));
        }
    }
    for problem in &verified.problems {
        println!("problem: {problem}");
    }
    let again: u64 = verified.branches.iter().map(|branch| branch.figures.again).sum();
    match (verified.ok, again) {
        (false, _) => println!("{BROKEN}"),
        (true, 0) => println!("every record is there, once"),
        (true, _) => println!("every record is there, once but for those that reset-offsets had read again"),
    }
}

/// `read 10 = rows 8 + windowed 0 + filtered 1 + late 0 + dead letters 1`.
pub(crate) fn law(figures: &Figures) -> String {
    format!(
        "read {} = rows {} + windowed {} + filtered {} + late {} + dead letters {}",
        thousands(figures.read),
        thousands(figures.rows),
        thousands(figures.windowed),
        thousands(figures.filtered),
        thousands(figures.late),
        thousands(figures.dead_letters)
    )
}
