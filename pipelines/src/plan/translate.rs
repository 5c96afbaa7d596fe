//! From a query's syntax tree to legs: DataFusion plans over stub tables that stand for the sources, and its physical
//! plan is taken apart, never executed.

use crate::plan::leg::{Leg, ProjectStage, Stage};
use crate::plan::{SourceSpec, types};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{ScalarValue, TableReference};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::SessionContext;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{FunctionRegistry, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF, TableType, Volatility};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use datafusion::prelude::SessionConfig;
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use thermocline_schemas::table::{system, timestamp_type};

/// The columns that every source shows besides its own: `_topic, _partition, _offset, _key, _headers, _timestamp`.
pub fn source_columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(system::TOPIC, DataType::Utf8, true),
        Field::new(system::PARTITION, DataType::Int32, true),
        Field::new(system::OFFSET, DataType::Int64, true),
        Field::new(system::KEY, DataType::Binary, true),
        types::text_field(system::HEADERS),
        Field::new(system::TIMESTAMP, timestamp_type(), true),
    ]))
}

/// The planner of one run: DataFusion with our settings, our functions, and a stub table for each source.
pub(super) struct Planner {
    state: SessionState,
}

impl Planner {
    /// A planner that knows `functions` besides DataFusion's own, and the tables `sources`.
    pub(super) fn new(sources: &[SourceSpec], functions: Vec<ScalarUDF>) -> Result<Self> {
        let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
        let options = config.options_mut();
        options.sql_parser.map_string_types_to_utf8view = false;
        options.sql_parser.collect_spans = true;
        options.execution.time_zone = Some("UTC".to_owned());
        options.optimizer.skip_failed_rules = false;
        let mut state = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features()
            .with_optimizer_rules(stream_rules())
            .with_physical_optimizer_rules(vec![])
            .build();
        for function in functions {
            state.register_udf(Arc::new(function))?;
        }
        let context = SessionContext::new_with_state(state);
        for source in sources {
            let table = SourceTable { name: source.name.as_str().into(), schema: visible(&source.columns()) };
            context.register_table(TableReference::bare(source.name.as_str()), Arc::new(table))?;
        }
        Ok(Self { state: context.state() })
    }

    /// What the functions are called, and what they are.
    pub(super) fn state(&self) -> &SessionState {
        &self.state
    }

    /// The query as a logical plan with its types settled.
    pub(super) fn logical(&self, query: &datafusion::sql::sqlparser::ast::Query) -> Result<LogicalPlan> {
        use datafusion::sql::parser::Statement;
        use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
        let statement = Statement::Statement(Box::new(SqlStatement::Query(Box::new(query.clone()))));
        let plan = futures::executor::block_on(self.state.statement_to_plan(statement))?;
        self.state.analyzer().execute_and_check(plan, &self.state.config_options().clone(), |_, _| {})
    }

    /// The legs of `plan`: one for each leg of its `UNION ALL`, in order, whose columns come out as `output`.
    pub(super) fn legs(&self, plan: &LogicalPlan, output: &SchemaRef) -> Result<Vec<Leg>> {
        let physical = futures::executor::block_on(self.state.create_physical_plan(plan))?;
        let mut legs = legs_of(&physical)?;
        for leg in &mut legs {
            let given = leg.output.fields().iter().map(|field| field.data_type());
            if !given.eq(output.fields().iter().map(|field| field.data_type())) {
                return Err(DataFusionError::Internal(format!("a leg gives {}, not {output}", leg.output)));
            }
            leg.output = output.clone();
        }
        Ok(legs)
    }
}

/// What of the plan is rewritten for a stream. A fixed list, without the rules that nest aggregates or push limits, and
/// without those that make a leg disappear: a branch is a branch even when its filter is never true.
fn stream_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ]
}

/// The columns of a source as SQL sees them: its own, then the source columns that it does not hide.
fn visible(columns: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = columns.fields().iter().cloned().collect();
    let hidden = |field: &Arc<Field>| columns.field_with_name(field.name()).is_ok();
    fields.extend(source_columns().fields().iter().filter(|field| !hidden(field)).map(riding));
    Arc::new(Schema::new(fields))
}

/// The key of the metadata that tells a source column from a declared one of the same name. Its value is that name: an
/// alias keeps the metadata, and makes another column.
const RIDES_AS: &str = "thermocline.rides_as";

fn riding(field: &Arc<Field>) -> Arc<Field> {
    let mark = [(RIDES_AS.to_owned(), field.name().clone())];
    Arc::new(field.as_ref().clone().with_metadata(mark.into()))
}

/// True for a source column under its own name, in whatever plan over the source: it rides beside every row anyway.
pub(super) fn rides(field: &Field) -> bool {
    field.metadata().get(RIDES_AS) == Some(field.name())
}

/// Takes a physical plan apart.
fn legs_of(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<Leg>> {
    let node = plan.as_any();
    if let Some(leaf) = node.downcast_ref::<SourceExec>() {
        let schema = leaf.properties.eq_properties.schema().clone();
        return Ok(vec![Leg {
            source: leaf.source.to_string(),
            input: schema.clone(),
            stages: vec![],
            output: schema,
        }]);
    }
    if let Some(union) = node.downcast_ref::<UnionExec>() {
        let legs: Result<Vec<Vec<Leg>>> = union.inputs().iter().map(legs_of).collect();
        return Ok(legs?.into_iter().flatten().collect());
    }
    if let Some(filter) = node.downcast_ref::<FilterExec>() {
        let mut legs = legs_of(filter.input())?;
        for leg in &mut legs {
            if !is_true(filter.predicate()) {
                leg.stages.push(Stage::Filter(checked(filter.predicate())?));
            }
            if let Some(columns) = filter.projection() {
                let expressions = columns.iter().map(|column| {
                    let name = leg.output.field(*column).name().clone();
                    ProjectionExpr::new(Arc::new(Column::new(&name, *column)), name)
                });
                project(leg, expressions.collect())?;
            }
        }
        return Ok(legs);
    }
    if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        let mut legs = legs_of(projection.input())?;
        for leg in &mut legs {
            project(leg, projection.expr().to_vec())?;
        }
        return Ok(legs);
    }
    if node.is::<CoalescePartitionsExec>() || node.is::<CooperativeExec>() {
        return legs_of(plan.children()[0]);
    }
    Err(DataFusionError::NotImplemented(format!("{} is not supported yet", plan.name())))
}

fn is_true(predicate: &Arc<dyn PhysicalExpr>) -> bool {
    predicate
        .as_any()
        .downcast_ref::<Literal>()
        .is_some_and(|literal| *literal.value() == ScalarValue::Boolean(Some(true)))
}

/// The expression with arithmetic that fails on a row whose result does not fit, where DataFusion's own wraps around.
fn checked(expression: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let check = |part: Arc<dyn PhysicalExpr>| {
        let Some(binary) = part.as_any().downcast_ref::<BinaryExpr>() else { return Ok(Transformed::no(part)) };
        let binary = BinaryExpr::new(binary.left().clone(), *binary.op(), binary.right().clone());
        Ok(Transformed::yes(Arc::new(binary.with_fail_on_overflow(true)) as Arc<dyn PhysicalExpr>))
    };
    Ok(expression.clone().transform_up(check)?.data)
}

fn project(leg: &mut Leg, mut expressions: Vec<ProjectionExpr>) -> Result<()> {
    for column in &mut expressions {
        column.expr = checked(&column.expr)?;
    }
    let fields: Result<Vec<Field>> = expressions
        .iter()
        .map(|column| Ok(Field::new(&column.alias, column.expr.data_type(&leg.output)?, true)))
        .collect();
    let schema = Arc::new(Schema::new(fields?));
    leg.output = schema.clone();
    leg.stages.push(Stage::Project(ProjectStage { expressions, schema }));
    Ok(())
}

/// A function in `plan` that may give another result on replay, or that has to wait: the syntax tree does not show
/// those that operators stand for.
pub(super) fn unrepeatable(plan: &LogicalPlan) -> Result<Option<(String, Volatility, bool)>> {
    use datafusion::common::tree_node::TreeNodeRecursion;
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Expr::ScalarFunction(call) = part {
                    let (volatility, is_async) = (call.func.signature().volatility, call.func.as_async().is_some());
                    if volatility != Volatility::Immutable || is_async {
                        found = Some((call.func.name().to_owned(), volatility, is_async));
                        return Ok(TreeNodeRecursion::Stop);
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// A table that stands for a source while a query is planned.
#[derive(Debug)]
struct SourceTable {
    name: Arc<str>,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for SourceTable {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Arc::new(SourceExec { source: self.name.clone(), properties: Arc::new(properties) }))
    }
}

/// The leaf of a physical plan: where batches of the source come in.
#[derive(Debug)]
struct SourceExec {
    source: Arc<str>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for SourceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceExec: {}", self.source)
    }
}

impl ExecutionPlan for SourceExec {
    fn name(&self) -> &str {
        "SourceExec"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Err(DataFusionError::Internal("a stream's plan is taken apart, not executed".to_owned()))
    }
}
