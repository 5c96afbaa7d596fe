//! Fits the classifier's model to the records in `data`, says how right it is on sources left out whole, and writes it.
//!
//! `fit [OUT]`: without a file nothing is written. The model that ships is in `models/domains/model.safetensors`.

use std::collections::BTreeMap;
use thermocline_operators::classify::fit::{Examples, Labelled};
use thermocline_operators::classify::model::{Model, Weights, to_bytes};

const FOLDS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let records = Labelled::shipped();
    let examples = Examples::new(&records);
    println!("{} records of {} sources", records.len(), examples.sources());
    cross_validate(&examples);
    if let Some(out) = std::env::args().nth(1) {
        let (by_shape, by_record) = examples.fit(|_| true);
        let bytes = to_bytes(examples.domains(), &by_shape, &by_record)?;
        println!("\n{} and {} marks, {} bytes to {out}", by_shape.len(), by_record.len(), bytes.len());
        std::fs::write(out, bytes)?;
    }
    Ok(())
}

fn cross_validate(examples: &Examples) {
    let (folds, mut judged) = (examples.folds(FOLDS), vec![]);
    for fold in 0..FOLDS {
        let (by_shape, by_record) = examples.fit(|source| folds[source] != fold);
        let model = Model {
            domains: examples.domains().to_vec(),
            by_shape: Weights::new(&by_shape),
            by_record: Weights::new(&by_record),
        };
        judged.extend(examples.judge(&model, |source| folds[source] == fold));
    }
    let mut by_domain: BTreeMap<&str, BTreeMap<&str, Vec<bool>>> = BTreeMap::new();
    let mut by_confidence = BTreeMap::<u32, Vec<bool>>::new();
    for it in &judged {
        by_domain.entry(it.domain).or_default().entry(it.source).or_default().push(it.is_right());
        by_confidence.entry((it.confidence * 10.0) as u32).or_default().push(it.is_right());
    }
    let share = |right: &[bool]| right.iter().filter(|it| **it).count() as f64 / right.len() as f64;
    let mut sum = 0.0;
    println!("\nright, of sources left out whole, topic blank");
    for (domain, sources) in &by_domain {
        let mean = sources.values().map(|right| share(right)).sum::<f64>() / sources.len() as f64;
        println!("  {domain:<14} {mean:.3}  of {} sources", sources.len());
        sum += mean;
    }
    println!("  {:<14} {:.3}", "mean", sum / by_domain.len() as f64);
    println!("\nconfidence     records  right");
    for (tenth, right) in &by_confidence {
        let from = f64::from(*tenth) / 10.0;
        println!("  {from:.1} to {:.1}   {:>7}   {:.2}", from + 0.1, right.len(), share(right));
    }
}
