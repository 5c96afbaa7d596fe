//! The functions that a question may call, over the domains of its cut.

use datafusion::logical_expr::ScalarUDF;
use std::sync::{Arc, Mutex, PoisonError};
use thermocline_operators::classify::Classifier;
use thermocline_operators::functions_over;
use thermocline_schemas::TableSchema;
use thermocline_schemas::domain::Registry;
use thermocline_schemas::metadata::CutView;
use tracing::warn;

/// Makes the functions, and keeps the newest: a classifier is dear to make, and domains change seldom.
#[derive(Debug, Clone, Default)]
pub(crate) struct Functions(Arc<Mutex<Option<Made>>>);

#[derive(Debug)]
struct Made {
    /// The tables with something declared for the classifier.
    of: Vec<TableSchema>,
    functions: Vec<Arc<ScalarUDF>>,
}

impl Functions {
    /// Those over the shipped domains and the ones that pipeline files declared up to `view`.
    pub(crate) fn at(&self, view: &CutView) -> Vec<Arc<ScalarUDF>> {
        let declared = || view.tables.iter().filter(|table| !table.phrases.is_empty());
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = newest.as_ref().filter(|made| made.of.iter().eq(declared())) {
            return made.functions.clone();
        }
        let of: Vec<TableSchema> = declared().cloned().collect();
        let classifier = match of.as_slice() {
            [] => Classifier::shipped(),
            declared => Arc::new(Classifier::new(&registry(declared))),
        };
        let functions: Vec<_> = functions_over(classifier).into_iter().map(Arc::new).collect();
        *newest = Some(Made { of, functions: functions.clone() });
        functions
    }
}

/// Another version may ship a column of the same name and another type: no reason to answer no question at all.
fn registry(declared: &[TableSchema]) -> Registry {
    Registry::declared(declared).unwrap_or_else(|error| {
        warn!(%error, "classify() knows the shipped domains only; start `up` with the pipeline files mended");
        Registry::shipped()
    })
}
