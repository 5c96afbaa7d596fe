//! The operators as functions of SQL: `embed(text)`, `classify(payload [, topic])`.

use crate::classify::Classifier;
use crate::embed::{embed_texts, embedding_type};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float32Array, StringArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use std::any::Any;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};
use thermocline_schemas::format::{ShapeTable, parse};

/// The functions of this crate, over the domains that `classifier` knows, a user's among them.
pub fn functions_over(classifier: Arc<Classifier>) -> Vec<ScalarUDF> {
    vec![ScalarUDF::new_from_impl(Classify::new(classifier)), ScalarUDF::new_from_impl(Embed::new())]
}

/// `classify(payload [, topic])`: the domain of a record and how sure that is. Never fails: what is no record is
/// unclassified.
#[derive(Debug)]
struct Classify {
    signature: Signature,
    classifier: Arc<Classifier>,
}

impl PartialEq for Classify {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.classifier, &other.classifier)
    }
}

impl Eq for Classify {}

impl Hash for Classify {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.classifier).hash(state);
    }
}

impl Classify {
    fn new(classifier: Arc<Classifier>) -> Self {
        let signature = Signature::one_of(vec![TypeSignature::Any(1), TypeSignature::Any(2)], Volatility::Immutable);
        Self { signature, classifier }
    }

    fn fields() -> Fields {
        vec![Field::new("domain", DataType::Utf8, false), Field::new("confidence", DataType::Float32, false)].into()
    }
}

/// Shapes of records that reach us through SQL.
static SHAPES: LazyLock<ShapeTable> = LazyLock::new(ShapeTable::default);

impl ScalarUDFImpl for Classify {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        "classify"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(Self::fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let payloads = bytes_of(&arrays[0]);
        let topics = arrays.get(1).and_then(|topics| cast(topics, &DataType::Utf8).ok());
        let topics = topics.as_ref().map(|topics| topics.as_string::<i32>());
        let (domains, confidences) = self.classify(&payloads, topics);
        let columns: Vec<ArrayRef> = vec![Arc::new(domains), Arc::new(confidences)];
        Ok(ColumnarValue::Array(Arc::new(StructArray::new(Self::fields(), columns, None))))
    }
}

/// Any column as bytes; what has no text is null.
fn bytes_of(array: &ArrayRef) -> BinaryArray {
    let text = || cast(&cast(array, &DataType::Utf8)?, &DataType::Binary);
    match cast(array, &DataType::Binary).or_else(|_| text()) {
        Ok(bytes) => bytes.as_binary().clone(),
        Err(_) => BinaryArray::new_null(array.len()),
    }
}

impl Classify {
    fn classify(&self, payloads: &BinaryArray, topics: Option<&StringArray>) -> (StringArray, Float32Array) {
        let (parsed, _) = parse(payloads, &SHAPES);
        let mut domains = vec![self.classifier.unclassified(); payloads.len()];
        let mut confidences = vec![0.0; payloads.len()];
        let mut verdicts = ahash::AHashMap::new();
        for (at, row) in parsed.accepted().values().iter().enumerate() {
            let row = *row as usize;
            let topic = topics.filter(|topics| topics.is_valid(row)).map_or("", |topics| topics.value(row));
            let verdict = verdicts
                .entry((topic, parsed.shape_index(at)))
                .or_insert_with(|| self.classifier.shape(topic, parsed.shape(at)));
            let verdict = self.classifier.record(verdict, &parsed, at);
            domains[row] = verdict.domain;
            confidences[row] = verdict.confidence;
        }
        (domains.into_iter().map(|domain| Some(self.classifier.name(domain))).collect(), confidences.into())
    }
}

/// `embed(text)`: the vector of a text, null without one.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Embed {
    signature: Signature,
}

impl Embed {
    fn new() -> Self {
        Self { signature: Signature::string(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Embed {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        "embed"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(embedding_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [texts] = &arrays[..] else { return exec_err!("embed takes one text") };
        let texts = cast(texts, &DataType::Utf8)?;
        Ok(ColumnarValue::Array(Arc::new(embed_texts(texts.as_string()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use datafusion::config::ConfigOptions;

    fn call(name: &str, columns: &[ArrayRef]) -> ArrayRef {
        let function =
            functions_over(Classifier::shipped()).into_iter().find(|function| function.name() == name).unwrap();
        let rows = columns[0].len();
        let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
        let args = ScalarFunctionArgs {
            args: columns.iter().cloned().map(ColumnarValue::Array).collect(),
            arg_fields: types.iter().map(|kind| Arc::new(Field::new("x", kind.clone(), true))).collect(),
            number_rows: rows,
            return_field: Arc::new(Field::new("r", function.return_type(&types).unwrap(), true)),
            config_options: Arc::new(ConfigOptions::default()),
        };
        function.invoke_with_args(args).unwrap().into_array(rows).unwrap()
    }

    fn domains(columns: &[ArrayRef]) -> Vec<String> {
        let result = call("classify", columns);
        let domains = result.as_struct().column(0).as_string::<i32>();
        domains.iter().map(|domain| domain.unwrap().to_owned()).collect()
    }

    #[test]
    fn classify_takes_any_column_and_never_fails() {
        let log = r#"{"level":"INFO","message":"started","host":"a","logger":"main"}"#;
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some(log), None, Some("{"), Some("")]));
        let expected = ["logs", "unclassified", "unclassified", "unclassified"];
        assert_eq!(domains(std::slice::from_ref(&texts)), expected);
        let bytes: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![Some(log.as_bytes()), Some(b"\xff")]));
        assert_eq!(domains(&[bytes]), expected[..2]);
        let topics: ArrayRef = Arc::new(StringArray::from(vec![Some("app.logs"), None, Some("x"), Some("y")]));
        assert_eq!(domains(&[texts, topics]), expected);
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        assert_eq!(domains(&[numbers]).len(), 2);
        let structs: ArrayRef = Arc::new(StructArray::new_null(Classify::fields(), 2));
        assert_eq!(domains(&[structs]), ["unclassified", "unclassified"]);
    }

    #[test]
    fn embed_gives_vectors_of_the_declared_type() {
        let vectors = call("embed", &[Arc::new(StringArray::from(vec![Some("hello"), None]))]);
        assert_eq!(vectors.data_type(), &embedding_type());
        assert!(vectors.is_valid(0) && vectors.is_null(1));
    }
}
