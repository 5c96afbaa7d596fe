//! The dataflow as text: what `thermocline check` prints.

use crate::plan::leg::{ProjectStage, Stage};
use crate::plan::{
    BranchSpec, DeclaredDomain, EventTimeFrom, Pipelines, SourceFormat, SourceSpec, Target, duration, types,
};
use arrow::datatypes::{Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr_common::physical_expr::fmt_sql;
use std::fmt::Write;
use std::sync::Arc;

/// Prints the dataflow graph: each source with its topics, and below it each of its branches down to the target.
pub fn explain(pipelines: &Pipelines) -> String {
    let mut text = String::new();
    for domain in &pipelines.domains {
        explain_domain(domain, &mut text);
        text.push('\n');
    }
    for source in &pipelines.sources {
        let branches: Vec<&BranchSpec> = pipelines.branches_of(&source.name).collect();
        explain_source(source, &branches, &mut text);
        for (index, branch) in branches.iter().enumerate() {
            explain_branch(branch, index + 1 == branches.len(), &mut text);
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a String takes all that is written to it");
    text.push('\n');
}

fn explain_domain(domain: &DeclaredDomain, text: &mut String) {
    let what = if domain.is_new { "new" } else { "ships with more columns here" };
    line(text, format_args!("domain {} ({what})", domain.name));
    let fields = domain.columns.iter().map(column).collect::<Vec<_>>();
    line(text, format_args!("    columns     {}", if fields.is_empty() { "none".into() } else { fields.join(", ") }));
    if !domain.phrases.is_empty() {
        line(text, format_args!("    phrases     {}", domain.phrases.join("; ")));
    }
    let ages = [("hot for", domain.hot_for), ("warm for", domain.warm_for)];
    let ages: Vec<String> =
        ages.iter().filter_map(|(word, age)| age.map(|age| format!("{word} {}", duration::print(age)))).collect();
    if !ages.is_empty() {
        line(text, format_args!("    tiers       {}", ages.join(", ")));
    }
    if let Some(columns) = &domain.text_columns {
        line(text, format_args!("    embedded    {}", columns.join(", ")));
    }
}

fn explain_source(source: &SourceSpec, branches: &[&BranchSpec], text: &mut String) {
    line(text, format_args!("source {}", source.name));
    let topics = match source.pattern.as_str() {
        "*" => "all".to_owned(),
        pattern => pattern.to_owned(),
    };
    line(text, format_args!("│   topics      {topics}"));
    match &source.format {
        SourceFormat::Auto => {
            line(text, format_args!("│   format      auto: JSON or text, mapped by the shape of each record"))
        }
        SourceFormat::Json(schema) => line(text, format_args!("│   format      json: {}", columns(schema))),
    }
    let event_time = source_time(source, branches);
    line(text, format_args!("│   event time  {event_time}"));
    let (disorder, idle) = (duration::print(source.max_disorder), duration::print(source.idle_after));
    line(text, format_args!("│   watermark   up to {disorder} behind, idle after {idle}"));
}

/// Where the event time of a source's rows comes from. On the way into `domains` the shape of a record decides, whatever
/// the source's format is.
fn source_time(source: &SourceSpec, branches: &[&BranchSpec]) -> String {
    const SHAPE: &str = "chosen by the shape of each record, else the broker's timestamp";
    if let Some(column) = &source.event_time {
        return column.clone();
    }
    let routed = branches.iter().filter(|branch| matches!(branch.target, Target::Domains)).count();
    match routed {
        0 => "the broker's timestamp".to_owned(),
        routed if routed == branches.len() => SHAPE.to_owned(),
        _ => format!("the broker's timestamp; into domains, {SHAPE}"),
    }
}

fn explain_branch(branch: &BranchSpec, is_last: bool, text: &mut String) {
    let (corner, bar) = if is_last { ("└─", "  ") } else { ("├─", "│ ") };
    line(text, format_args!("│"));
    line(text, format_args!("{corner} branch at {}", branch.position));
    for stage in &branch.leg.stages {
        match stage {
            Stage::Filter(predicate) => line(text, format_args!("{bar}    filter    {}", sql(predicate))),
            Stage::Project(project) => line(text, format_args!("{bar}    project   {}", expressions(project))),
        }
    }
    match &branch.target {
        Target::Domains => {
            line(text, format_args!("{bar}    classify, map to the domain's columns, route by age"));
            line(text, format_args!("{bar}    into      domains"));
        }
        Target::Table { schema, binding } => {
            let bound = schema.columns.iter().zip(&binding.columns);
            let filled: Vec<String> =
                bound.filter(|(_, from)| from.is_some()).map(|(field, _)| column(field)).collect();
            let event_time = match &branch.event_time {
                EventTimeFrom::Output(_) => "as selected".to_owned(),
                EventTimeFrom::Source(column) => column.clone(),
                EventTimeFrom::Broker => "the broker's timestamp".to_owned(),
            };
            line(text, format_args!("{bar}    bind      {}; event_time: {event_time}", filled.join(", ")));
            line(text, format_args!("{bar}    into      {}", schema.name));
        }
    }
}

fn expressions(project: &ProjectStage) -> String {
    let text = |column: &datafusion::physical_expr::projection::ProjectionExpr| {
        let sql = sql(&column.expr);
        if sql == column.alias { sql } else { format!("{sql} AS {}", column.alias) }
    };
    project.expressions.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// An expression as SQL. DataFusion prints texts without their quotes, so a name that has them stands in for each.
fn sql(expression: &Arc<dyn PhysicalExpr>) -> String {
    let quote = |part: Arc<dyn PhysicalExpr>| {
        let literal =
            part.as_any().downcast_ref::<Literal>().and_then(|literal| literal.value().try_as_str().flatten());
        Ok(match literal.map(|text| format!("'{}'", text.replace('\'', "''"))) {
            Some(quoted) => Transformed::yes(Arc::new(Column::new(&quoted, 0)) as Arc<dyn PhysicalExpr>),
            None => Transformed::no(part),
        })
    };
    let quoted = expression.clone().transform(quote).map_or_else(|_| expression.clone(), |quoted| quoted.data);
    fmt_sql(quoted.as_ref()).to_string()
}

fn column(field: &Field) -> String {
    format!("{} {}", field.name(), types::name(field.data_type()))
}

fn columns(schema: &Schema) -> String {
    schema.fields().iter().map(|field| column(field)).collect::<Vec<_>>().join(", ")
}
