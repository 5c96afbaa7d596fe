//! Only plans that read.

use crate::SqlError;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;

/// Refuses every plan that creates, writes, copies or sets anything.
///
/// # Errors
/// [`SqlError::Writes`] with what the plan is.
pub fn only_reads(plan: &LogicalPlan) -> Result<(), SqlError> {
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options.verify_plan(plan).map_err(|_| SqlError::Writes { found: kind(plan) })
}

fn kind(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::Dml(dml) => dml.op.to_string().to_uppercase(),
        LogicalPlan::Ddl(ddl) => ddl.name().to_uppercase(),
        LogicalPlan::Copy(_) => "COPY".to_owned(),
        LogicalPlan::Statement(statement) => statement.name().to_uppercase(),
        _ => "a statement that writes".to_owned(),
    }
}
