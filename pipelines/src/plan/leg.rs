//! What a branch does to a batch: filters and projections, evaluated column by column.
//!
//! An expression that fails on a batch (a cast, a division) is bisected down to the rows it fails on: these come out as
//! failed, to become dead letters of the branch, and all others go on. Nothing is copied where no row leaves: columns
//! are shared, and a projection that only renames costs nothing.

use crate::PipelineError;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_empty_array,
    new_null_array,
};
use arrow::compute::{concat, filter_record_batch, take};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionExpr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use thermocline_schemas::columns;

/// A batch of a source, to be evaluated.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The decoded columns.
    pub batch: &'a RecordBatch,
    /// The source columns of the same rows ([`super::source_columns`]): those that some leg's `input` names will do. A
    /// decoded column of the same name comes first.
    pub source: &'a RecordBatch,
}

impl Input<'_> {
    /// The column `name`: a decoded one, else a source column.
    ///
    /// # Errors
    /// [`PipelineError::Schema`] when neither batch has it.
    pub fn column(&self, name: &str) -> Result<&ArrayRef, PipelineError> {
        match self.batch.column_by_name(name) {
            Some(column) => Ok(column),
            None => Ok(columns::column(self.source, name)?),
        }
    }
}

/// What became of a batch. `selection.len() + filtered + failed.len()` is the input's rows.
#[derive(Debug, Clone)]
pub struct Output {
    /// The rows that are left, with the leg's output columns.
    pub batch: RecordBatch,
    /// For each of these rows, its row in the input, ascending; none: all rows of the input are here.
    pub selection: Option<UInt32Array>,
    /// Rows that a filter dropped.
    pub filtered: u64,
    /// Rows that an expression failed on, ascending.
    pub failed: Vec<Failed>,
}

impl Output {
    /// The row of the input that became row `row` of `batch`.
    pub fn input_row(&self, row: usize) -> usize {
        self.selection.as_ref().map_or(row, |selection| selection.value(row) as usize)
    }

    /// The rows of `of`, a column of the input, that are left.
    pub fn select(&self, of: &ArrayRef) -> Result<ArrayRef, PipelineError> {
        match &self.selection {
            None => Ok(of.clone()),
            Some(selection) => take(of, selection, None).map_err(|source| columns_error("selected rows", source)),
        }
    }
}

/// A row that an expression failed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Its row in the input.
    pub row: usize,
    /// `filter`, `project` or `bind`.
    pub stage: &'static str,
    /// Why: the column's name, and what the expression said.
    pub error: String,
}

/// One step of a leg.
#[derive(Debug, Clone)]
pub enum Stage {
    /// Only rows for which this is true go on; false and null are dropped.
    Filter(Arc<dyn PhysicalExpr>),
    /// New columns.
    Project(ProjectStage),
}

impl Stage {
    fn name(&self) -> &'static str {
        match self {
            Stage::Filter(_) => "filter",
            Stage::Project(_) => "project",
        }
    }
}

/// New columns, computed from the old.
#[derive(Debug, Clone)]
pub struct ProjectStage {
    /// The expressions with their names.
    pub expressions: Vec<ProjectionExpr>,
    /// The columns they make, all nullable.
    pub schema: SchemaRef,
}

/// What a branch does to a batch of its source: the stages, one after the other.
#[derive(Debug, Clone)]
pub struct Leg {
    /// The declared source.
    pub source: String,
    /// The columns that the stages need of it, in order, source columns among them.
    pub input: SchemaRef,
    /// What is done.
    pub stages: Vec<Stage>,
    /// The columns that come out.
    pub output: SchemaRef,
}

impl Leg {
    /// True when rows may leave by a filter.
    pub fn filters(&self) -> bool {
        self.stages.iter().any(|stage| matches!(stage, Stage::Filter(_)))
    }

    /// The column of the source that comes out as output column `column`, unchanged; none where it is computed.
    pub fn untouched(&self, column: usize) -> Option<&str> {
        let mut column = column;
        for stage in self.stages.iter().rev() {
            if let Stage::Project(project) = stage {
                column = project.expressions.get(column)?.expr.as_any().downcast_ref::<Column>()?.index();
            }
        }
        self.input.fields().get(column).map(|field| field.name().as_str())
    }

    /// An expression that gives another type than it declared, if there is one, as text: found on no row and on a row of
    /// nulls, before any row comes. What a row of nulls fails on is left to the rows.
    pub(super) fn mistyped(&self) -> Option<String> {
        let mut schema = &self.input;
        for stage in &self.stages {
            let nulls = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
            let batch = batch_of(schema, nulls, 1).ok()?;
            let found = [batch.slice(0, 0), batch].iter().find_map(|batch| mistyped(stage, batch));
            if found.is_some() {
                return found;
            }
            if let Stage::Project(project) = stage {
                schema = &project.schema;
            }
        }
        None
    }

    /// Does it to a batch. Columns of the result share memory with the input wherever no row has left.
    ///
    /// # Errors
    /// Only when the input has not the columns of [`Leg::input`], or expressions break their own types: never because
    /// of a row.
    pub fn evaluate(&self, input: &Input<'_>) -> Result<Output, PipelineError> {
        let mut columns = Vec::with_capacity(self.input.fields().len());
        for field in self.input.fields() {
            columns.push(input.column(field.name())?.clone());
        }
        let batch = batch_of(&self.input, columns, input.batch.num_rows())?;
        let mut output = Output { batch, selection: None, filtered: 0, failed: vec![] };
        for stage in &self.stages {
            if output.batch.num_rows() == 0 {
                let rows = output.selection.is_some().then(|| UInt32Array::from(Vec::<u32>::new()));
                let batch = RecordBatch::new_empty(self.output.clone());
                return Ok(Output { batch, selection: rows, ..output });
            }
            output = step(stage, output)?;
        }
        let rows = output.batch.num_rows();
        output.batch = batch_of(&self.output, output.batch.columns().to_vec(), rows)?;
        output.failed.sort_by_key(|failed| failed.row);
        Ok(output)
    }
}

/// An expression of the stage that gives another type than it declared, if there is one.
fn mistyped(stage: &Stage, batch: &RecordBatch) -> Option<String> {
    let columns: Vec<(&Arc<dyn PhysicalExpr>, &str, &DataType)> = match stage {
        Stage::Filter(predicate) => vec![(predicate, "the filter", &DataType::Boolean)],
        Stage::Project(project) => {
            let fields = project.schema.fields().iter();
            let columns = project.expressions.iter().zip(fields);
            columns.map(|(column, field)| (&column.expr, column.alias.as_str(), field.data_type())).collect()
        }
    };
    columns.into_iter().find_map(|(expression, name, declared)| {
        let given = guarded(expression, batch).ok()?;
        let differs = given.data_type() != declared;
        differs.then(|| format!("{name} is declared as {declared}, and its function gives {}", given.data_type()))
    })
}

/// One stage over what is left so far.
fn step(stage: &Stage, so_far: Output) -> Result<Output, PipelineError> {
    let evaluated = Evaluated::new(stage, &so_far.batch)?;
    let Output { batch, selection, mut filtered, mut failed } = so_far;
    let input_row = |row: usize| selection.as_ref().map_or(row, |selection| selection.value(row) as usize);
    failed.extend(evaluated.failed.into_iter().map(|(row, error)| Failed {
        row: input_row(row),
        stage: stage.name(),
        error,
    }));
    match stage {
        Stage::Project(project) => {
            let rows = evaluated.good.as_ref().map_or(batch.num_rows(), UInt32Array::len);
            let batch = batch_of(&project.schema, evaluated.columns, rows)?;
            Ok(Output { batch, selection: compose(selection, evaluated.good)?, filtered, failed })
        }
        Stage::Filter(_) => {
            let mask = mask_of(&evaluated.columns[0]);
            let good = mask.len();
            let mask = match &evaluated.good {
                None => mask,
                Some(rows) => spread(&mask, rows, batch.num_rows()),
            };
            let left = mask.true_count();
            filtered += (good - left) as u64;
            if left == batch.num_rows() {
                return Ok(Output { batch, selection, filtered, failed });
            }
            let rows = UInt32Array::from_iter_values(mask.values().set_indices().map(|row| row as u32));
            let batch =
                filter_record_batch(&batch, &mask).map_err(|source| columns_error("a filtered batch", source))?;
            Ok(Output { batch, selection: compose(selection, Some(rows))?, filtered, failed })
        }
    }
}

/// The predicate's result with null as false.
fn mask_of(column: &ArrayRef) -> BooleanArray {
    let mask = column.as_boolean();
    match mask.nulls() {
        Some(nulls) if nulls.null_count() > 0 => BooleanArray::new(mask.values() & nulls.inner(), None),
        _ => BooleanArray::new(mask.values().clone(), None),
    }
}

/// `mask`, which speaks of the rows `rows`, as a mask over all `all` rows.
fn spread(mask: &BooleanArray, rows: &UInt32Array, all: usize) -> BooleanArray {
    let mut wide = vec![false; all];
    for (row, value) in rows.values().iter().zip(mask.values().iter()) {
        wide[*row as usize] = value;
    }
    BooleanArray::from(wide)
}

/// `rows` of the rows `selection`.
fn compose(selection: Option<UInt32Array>, rows: Option<UInt32Array>) -> Result<Option<UInt32Array>, PipelineError> {
    match (selection, rows) {
        (selection, None) => Ok(selection),
        (None, rows) => Ok(rows),
        (Some(selection), Some(rows)) => {
            let taken = take(&selection, &rows, None).map_err(|source| columns_error("selected rows", source))?;
            Ok(Some(taken.as_primitive().clone()))
        }
    }
}

/// The columns of a stage: the mask of a filter, or the new columns of a projection.
struct Evaluated {
    columns: Vec<ArrayRef>,
    /// The rows the columns speak of; none: all.
    good: Option<UInt32Array>,
    /// The other rows, and why.
    failed: Vec<(usize, String)>,
}

impl Evaluated {
    fn new(stage: &Stage, batch: &RecordBatch) -> Result<Self, PipelineError> {
        if let Ok(columns) = evaluate(stage, batch) {
            return Ok(Self { columns, good: None, failed: vec![] });
        }
        let (mut pieces, mut failed) = (vec![], vec![]);
        let half = batch.num_rows() / 2;
        if half > 0 {
            bisect(stage, batch, 0, half, &mut pieces, &mut failed);
        }
        bisect(stage, batch, half, batch.num_rows(), &mut pieces, &mut failed);
        let good = pieces.iter().flat_map(|(start, end, _)| *start as u32..*end as u32).collect::<Vec<u32>>();
        let columns = match (&*pieces, stage) {
            ([], Stage::Filter(_)) => vec![Arc::new(BooleanArray::from(Vec::<bool>::new())) as ArrayRef],
            ([], Stage::Project(project)) => {
                project.schema.fields().iter().map(|field| new_empty_array(field.data_type())).collect()
            }
            ([(.., first), ..], _) => (0..first.len())
                .map(|column| {
                    let parts: Vec<&dyn Array> = pieces.iter().map(|(.., columns)| columns[column].as_ref()).collect();
                    concat(&parts)
                })
                .collect::<Result<_, ArrowError>>()
                .map_err(|source| columns_error("the good rows of a batch", source))?,
        };
        Ok(Self { columns, good: Some(UInt32Array::from(good)), failed })
    }
}

/// Rows `start..end` that evaluate together, with their columns.
type Piece = (usize, usize, Vec<ArrayRef>);

/// Evaluates the rows `start..end`, in halves of halves where they fail.
fn bisect(
    stage: &Stage,
    batch: &RecordBatch,
    start: usize,
    end: usize,
    pieces: &mut Vec<Piece>,
    failed: &mut Vec<(usize, String)>,
) {
    match evaluate(stage, &batch.slice(start, end - start)) {
        Ok(columns) => pieces.push((start, end, columns)),
        Err(error) if end - start == 1 => failed.push((start, error)),
        Err(_) => {
            let middle = start + (end - start) / 2;
            bisect(stage, batch, start, middle, pieces, failed);
            bisect(stage, batch, middle, end, pieces, failed);
        }
    }
}

/// The stage's columns for all rows of `batch`, or what its expression says.
fn evaluate(stage: &Stage, batch: &RecordBatch) -> Result<Vec<ArrayRef>, String> {
    match stage {
        Stage::Filter(predicate) => Ok(vec![guarded(predicate, batch)?]),
        Stage::Project(project) => project
            .expressions
            .iter()
            .map(|column| guarded(&column.expr, batch).map_err(|error| said_of(&column.alias, error)))
            .collect(),
    }
}

/// `error` with the column's name. What several columns share the planner computes once, under a name that nobody wrote.
fn said_of(column: &str, error: String) -> String {
    if column.starts_with("__common_expr") { error } else { format!("{column}: {error}") }
}

/// Evaluates one expression. A function that panics on a row fails on that row, rather than stopping the pipeline each
/// time it comes to it.
fn guarded(expression: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef, String> {
    let result = catch_unwind(AssertUnwindSafe(|| {
        expression.evaluate(batch).and_then(|value| value.into_array_of_size(batch.num_rows()))
    }));
    match result {
        Ok(result) => result.map_err(|error| reason(&error)),
        Err(_) => Err("a function panicked".to_owned()),
    }
}

/// What an expression says of a row, without the names of the layers it came through.
fn reason(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::ArrowError(error, _) => match &**error {
            ArrowError::CastError(text) | ArrowError::ComputeError(text) | ArrowError::ParseError(text) => text.clone(),
            ArrowError::ArithmeticOverflow(text) | ArrowError::InvalidArgumentError(text) => text.clone(),
            ArrowError::DivideByZero => "division by zero".to_owned(),
            other => other.to_string(),
        },
        DataFusionError::Execution(text) => text.clone(),
        other => other.strip_backtrace(),
    }
}

/// A batch of `columns`, which may be none, with the names and nullability of `schema`.
pub(super) fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, PipelineError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|source| columns_error(&format!("a batch of {}", names(schema)), source))
}

pub(super) fn columns_error(what: &str, source: ArrowError) -> PipelineError {
    PipelineError::Columns { what: what.to_owned(), source }
}

fn names(schema: &Schema) -> String {
    schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
}
