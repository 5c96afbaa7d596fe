//! Fits the classifier's model to the records in `data`, says how right it is on sources left out whole, and writes it.
//!
//! `fit [OUT]`: without a file nothing is written. The model that ships is in `models/domains/model.safetensors`.

use std::collections::BTreeMap;
use thermocline_operators::classify::fit::{Examples, Labelled, shares_by_domain};

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let records = Labelled::shipped();
    let examples = Examples::new(&records);
    println!("{} records of {} sources", records.len(), examples.sources());
    print_cross_validation(&examples);
    if let Some(out) = std::env::args().nth(1) {
        let fitted = examples.fit();
        let bytes = fitted.to_bytes()?;
        println!("\n{} and {} marks, {} bytes to {out}", fitted.by_shape.len(), fitted.by_record.len(), bytes.len());
        std::fs::write(out, bytes)?;
    }
    Ok(())
}

fn print_cross_validation(examples: &Examples) {
    let judged = examples.cross_validate(5);
    let shares = shares_by_domain(&judged);
    println!("\nright, of sources left out whole, topic blank");
    for (domain, (share, sources)) in &shares {
        println!("  {domain:<14} {share:.3}  of {sources} sources");
    }
    let sum: f64 = shares.values().map(|(share, _)| share).sum();
    println!("  {:<14} {:.3}", "mean", sum / shares.len() as f64);

    let mut by_confidence = BTreeMap::<u32, (usize, usize)>::new();
    for it in &judged {
        let (right, all) = by_confidence.entry((it.confidence * 10.0) as u32).or_default();
        *right += usize::from(it.is_right());
        *all += 1;
    }
    println!("\nconfidence     records  right");
    for (tenth, (right, all)) in &by_confidence {
        let from = f64::from(*tenth) / 10.0;
        println!("  {from:.1} to {:.1}   {all:>7}   {:.2}", from + 0.1, *right as f64 / *all as f64);
    }
}
