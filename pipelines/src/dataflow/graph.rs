//! The graph of one worker, readable top to bottom.

use crate::PipelineError;
use crate::dataflow::branch::{self, Branch};
use crate::dataflow::decode::{self, Decode, DecodeSpec};
use crate::dataflow::seal::{self, Sealed};
use crate::dataflow::source::{self, LastEpoch};
use crate::dataflow::tally::Ledger;
use crate::failures::Failures;
use crate::plan::{BranchSpec, SourceFormat};
use crate::source::ingress::Ingress;
use std::sync::Arc;
use thermocline_operators::Router;
use thermocline_schemas::Epoch;
use thermocline_schemas::domain::Registry;
use thermocline_schemas::format::ShapeTable;
use thermocline_schemas::metadata::BranchId;
use timely::dataflow::operators::core::Concatenate;
use timely::dataflow::operators::core::probe::{Handle, Probe};
use timely::worker::Worker;

/// One source and its branches.
#[derive(Debug, Clone)]
pub struct SourceGraph {
    /// Where its raw batches come from.
    pub ingress: Arc<Ingress>,
    /// Its format.
    pub format: SourceFormat,
    /// What reads it.
    pub branches: Vec<(BranchId, Arc<BranchSpec>)>,
}

/// What every worker builds its part of.
#[derive(Debug, Clone)]
pub struct Dataflow {
    /// The sources.
    pub sources: Vec<SourceGraph>,
    /// Classifies and maps; its caches are shared.
    pub router: Arc<Router>,
    /// The domains.
    pub registry: Arc<Registry>,
    /// The shapes of all records.
    pub shapes: Arc<ShapeTable>,
    /// The first epoch of the run.
    pub first: Epoch,
    /// The last one, once the run stops.
    pub last: LastEpoch,
    /// Where operators leave their errors.
    pub failures: Failures,
}

/// Builds this worker's part. `hand_over` gets every epoch once, in order, and must not wait.
///
/// # Errors
/// A source whose columns no decoder takes.
pub fn build(
    worker: &mut Worker,
    dataflow: &Dataflow,
    hand_over: impl Fn(Sealed) + 'static,
) -> Result<Handle<u64>, PipelineError> {
    let ledger = Ledger::default();
    let mut decoders = vec![];
    for (number, source) in dataflow.sources.iter().enumerate() {
        let branches = source.branches.iter().map(|(id, _)| *id).collect();
        let spec = DecodeSpec {
            source: number,
            name: source.ingress.source().to_owned(),
            format: source.format.clone(),
            branches,
        };
        decoders.push(Decode::new(spec, dataflow.shapes.clone())?);
    }
    let failures = &dataflow.failures;
    Ok(worker.dataflow::<u64, _, _>(|scope| {
        let mut written = vec![];
        for (number, (source, decoder)) in dataflow.sources.iter().zip(decoders).enumerate() {
            let raw = source::add(scope, source.ingress.clone(), dataflow.last.clone(), failures.clone());
            let decoded = decode::add(raw, decoder, ledger.clone(), failures.clone());
            for (id, spec) in &source.branches {
                let branch = Branch {
                    id: *id,
                    source: number,
                    spec: spec.clone(),
                    router: dataflow.router.clone(),
                    registry: dataflow.registry.clone(),
                    shapes: dataflow.shapes.clone(),
                };
                written.push(branch::add(decoded.clone(), branch, ledger.clone(), failures.clone()));
            }
            written.push(decoded);
        }
        let all = scope.concatenate(written);
        let sealed = seal::add(all, dataflow.first, dataflow.last.clone(), ledger.clone(), hand_over);
        sealed.probe().0
    }))
}
