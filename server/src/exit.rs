//! Exit statuses, and how an error is printed: its chain, once, and the way out.

use std::process::ExitCode;
use thermocline_broker::BrokerError;
use thermocline_pipelines::PipelineError;
use thermocline_schemas::metadata::MetaError;
use thermocline_sinks::SinkError;

/// Something failed, or the law of conservation does not hold.
pub(crate) const FAILED: u8 = 1;
/// A newer run owns the data directory. A supervisor must not restart on this, or two runs evict each other for ever.
pub(crate) const FENCED: u8 = 3;
/// Topics are paused: most of their records are dead letters.
pub(crate) const PAUSED: u8 = 4;
/// Interrupted: a second time, or before `--once` had read everything.
pub(crate) const INTERRUPTED: u8 = 130;

/// Prints `error` and says with which status to end.
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error}");
    let mut said = error.to_string();
    for cause in error.chain().skip(1) {
        // Layers that only pass a message on would say it twice.
        let message = cause.to_string();
        if !said.contains(&message) {
            eprintln!("  because: {message}");
            said = message;
        }
    }
    if let Some(broker) = error.chain().find_map(|cause| cause.downcast_ref::<BrokerError>()) {
        eprintln!("  what to do: {}", broker.advice());
    }
    ExitCode::from(if is_fenced(error) { FENCED } else { FAILED })
}

fn is_fenced(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let meta = cause
            .downcast_ref::<MetaError>()
            .or_else(|| match cause.downcast_ref::<SinkError>() {
                Some(SinkError::Meta(meta)) => Some(meta),
                _ => None,
            })
            .or_else(|| match cause.downcast_ref::<PipelineError>() {
                Some(PipelineError::Sink(SinkError::Meta(meta))) => Some(meta),
                Some(PipelineError::Meta(meta)) => Some(meta),
                _ => None,
            });
        matches!(meta, Some(MetaError::Fenced { .. }))
    })
}
