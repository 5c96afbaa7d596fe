//! From files and arguments to pipelines, a router and a committer.

use crate::cli::UpArgs;
use crate::commands::up::Prepared;
use crate::data_dir::DataDir;
use anyhow::{Context, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thermocline_operators::classify::Classifier;
use thermocline_operators::{MappingOverrides, Router, TopicRules, functions_over};
use thermocline_pipelines::PipelineError;
use thermocline_pipelines::plan::{self, Pipelines, Refusal};
use thermocline_schemas::domain::Registry;
use thermocline_sinks::committer::{Committer, Stores};
use thermocline_sinks::disk::Durability;
use thermocline_sinks::formats::Formats;
use thermocline_sinks::rollup::RollupConfig;

/// The pipeline that ships and runs when none is given: it takes every topic.
const SHIPPED: (&str, &str) = ("pipelines/sql/events.sql", include_str!("../../../../pipelines/sql/events.sql"));

/// A pipeline file, read.
#[derive(Debug, Clone)]
pub(crate) struct PipelineFile {
    /// As it was given.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
}

/// Reads everything that can be wrong before anything is touched.
pub(crate) fn prepare(args: &UpArgs) -> Result<Prepared> {
    let files = if args.pipeline.is_empty() {
        vec![PipelineFile { path: format!("{} (ships with thermocline)", SHIPPED.0), text: SHIPPED.1.to_owned() }]
    } else {
        read_pipelines(&args.pipeline)?
    };
    let mut registry = Registry::shipped();
    let pipelines = load_pipelines(&files, &mut registry).inspect_err(|error| {
        if let Some(PipelineError::Refused { refusals }) = error.downcast_ref() {
            eprint!("{}", render(refusals, &files));
        }
    });
    let pipelines = match pipelines {
        Err(error) if error.is::<PipelineError>() => anyhow::bail!("the pipelines cannot run as they are"),
        other => other?,
    };
    let mut settled = vec![];
    let rules = match optional(args.topics.as_deref(), &args.data.data, "topics.toml")? {
        Some((path, text)) => {
            settled.push(("rules", path.display().to_string()));
            TopicRules::from_toml(&path.display().to_string(), &text)?
        }
        None => TopicRules::default(),
    };
    let overrides = match optional(args.mappings.as_deref(), &args.data.data, "mappings.toml")? {
        Some((path, text)) => {
            settled.push(("mappings", path.display().to_string()));
            MappingOverrides::from_toml(&path.display().to_string(), &text)?
        }
        None => MappingOverrides::default(),
    };
    let registry = Arc::new(registry);
    let router = Arc::new(Router::new(registry.clone(), rules, overrides)?);
    Ok(Prepared { pipelines, files, settled, router, registry })
}

/// The report of all refusals, as rustc prints its errors.
pub(crate) fn render(refusals: &[Refusal], files: &[PipelineFile]) -> String {
    let texts: Vec<(&str, &str)> = files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    plan::render_all(refusals, &texts)
}

/// Reads pipeline files.
pub(crate) fn read_pipelines(paths: &[PathBuf]) -> Result<Vec<PipelineFile>> {
    let read = |path: &PathBuf| -> Result<PipelineFile> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read pipeline {}", path.display()))?;
        Ok(PipelineFile { path: path.display().to_string(), text })
    };
    paths.iter().map(read).collect()
}

/// Plans pipeline files, and puts the domains that they declare into `registry`; `classify` in SQL knows those too.
pub(crate) fn load_pipelines(files: &[PipelineFile], registry: &mut Registry) -> Result<Pipelines> {
    let texts: Vec<(&str, &str)> = files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    let functions = |registry: &Registry| functions_over(Arc::new(Classifier::new(registry)));
    Ok(plan::load(&texts, registry, functions).map_err(|refusals| PipelineError::Refused { refusals })?)
}

/// The file that was named, or the one of this name in the data directory, if it is there.
fn optional(named: Option<&Path>, data: &Path, default: &str) -> Result<Option<(PathBuf, String)>> {
    let path = named.map_or_else(|| data.join(default), Path::to_owned);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        // That the data directory is none, whoever opens it says better.
        Err(error) if named.is_none() && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Takes over the data directory: whoever ran here before is fenced, and stops by itself.
pub(crate) async fn take_over(data: &DataDir, durability: Durability) -> Result<Arc<Committer>> {
    let formats = Formats::open(&data.path, data.meta.store(), durability)?;
    let stores = Stores {
        meta: data.meta.clone(),
        tables: Arc::new(formats),
        clock: data.clock.clone(),
        embedder: Some(Arc::new(|schema, rows| Ok(thermocline_operators::hot::with_embedding(schema, rows)?))),
        data_dir: data.path.clone(),
        durability,
    };
    Ok(Arc::new(Committer::begin(stores, RollupConfig::default(), &data.run_info()).await?))
}
