//! Sums, differences and products of whole numbers as one call, however deep their operators are nested.
//!
//! DataFusion works out the name and the type of a call from those of its arguments, anew at every level: calls within
//! calls take it time that grows with more than the cube of their number.

use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::engine::functions::scalar::arithmetic::{Operation, of_binary_numbers};
use crate::error::Error;

/// Arguments of one formula: the columns of all of them are in memory together.
const ARGUMENTS_MAX: usize = 256;

/// What a formula does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// Takes its next argument.
    Argument,
    /// Replaces the last two numbers by what they give.
    Apply(Operation),
}

/// Operators between whole numbers of one type, in postfix notation; an error where a result does not fit the type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Formula {
    steps: Vec<Step>,
    /// The operators between the places of the arguments, which tells it from every other formula.
    name: String,
    signature: Signature,
}

/// The operator between two whole numbers of one type; formulas among them become part of this one.
pub fn joined(operation: Operation, left: Expr, right: Expr) -> Expr {
    let fits = arguments(&left) + arguments(&right) <= ARGUMENTS_MAX;
    let (mut steps, mut numbers) = parts(left, fits);
    let (more, others) = parts(right, fits);
    steps.extend(more);
    steps.push(Step::Apply(operation));
    numbers.extend(others);
    let name = match steps.len() {
        3 => operation.name().to_owned(),
        _ => written(&steps),
    };
    let signature = Signature::user_defined(Volatility::Immutable);
    ScalarUDF::new_from_impl(Formula { steps, name, signature }).call(numbers)
}

/// The first number of a formula, which has its type; a number that is no formula is its own.
pub fn first_number(mut number: &Expr) -> &Expr {
    while let Expr::ScalarFunction(call) = number
        && call.func.inner().is::<Formula>()
        && let Some(first) = call.args.first()
    {
        number = first;
    }
    number
}

/// The arguments that a number brings into a formula.
fn arguments(number: &Expr) -> usize {
    match number {
        Expr::ScalarFunction(call) if call.func.inner().is::<Formula>() => call.args.len(),
        _ => 1,
    }
}

/// The steps to a number and their arguments; a formula is an argument itself unless it is to be opened.
fn parts(number: Expr, open: bool) -> (Vec<Step>, Vec<Expr>) {
    match number {
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            match func.inner().downcast_ref::<Formula>().filter(|_| open) {
                Some(formula) => (formula.steps.clone(), args),
                None => (vec![Step::Argument], vec![Expr::ScalarFunction(ScalarFunction { func, args })]),
            }
        }
        number => (vec![Step::Argument], vec![number]),
    }
}

/// The steps in words, such as `($1 + $2) * $3`.
fn written(steps: &[Step]) -> String {
    let (mut numbers, mut arguments) = (Vec::<(String, Option<Operation>)>::new(), 0);
    for step in steps {
        let Step::Apply(operation) = step else {
            arguments += 1;
            numbers.push((format!("${arguments}"), None));
            continue;
        };
        let right = numbers.pop().unwrap_or_default();
        let (mut text, within) = numbers.pop().unwrap_or_default();
        if *operation == Operation::Times && within.is_some_and(|inner| inner != Operation::Times) {
            text = format!("({text})");
        }
        let (open, close) = if right.1.is_some() { ("(", ")") } else { ("", "") };
        for part in [" ", operation.sign(), " ", open, right.0.as_str(), close] {
            text.push_str(part);
        }
        numbers.push((text, Some(*operation)));
    }
    numbers.pop().map(|(text, _)| text).unwrap_or_default()
}

impl ScalarUDFImpl for Formula {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.return_type(types)?;
        Ok(types.to_vec())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [first, others @ ..]
                if first.is_signed_integer() && others.iter().all(|other| other == first) =>
            {
                Ok(first.clone())
            }
            _ => Err(Error::internal("a formula of other types than it was made for").into()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ScalarFunctionArgs { args, return_field, .. } = args;
        let missing = || Error::internal("a formula has as many arguments as it takes");
        let (mut arguments, mut numbers) = (args.into_iter(), Vec::<ColumnarValue>::new());
        for step in &self.steps {
            let number = match step {
                Step::Argument => arguments.next().ok_or_else(missing)?,
                Step::Apply(operation) => {
                    let (right, left) = (numbers.pop(), numbers.pop());
                    let (left, right) = left.zip(right).ok_or_else(missing)?;
                    of_binary_numbers(*operation, &left, &right, return_field.data_type())?
                }
            };
            numbers.push(number);
        }
        Ok(numbers.pop().ok_or_else(missing)?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::datatypes::Field;
    use datafusion::common::config::ConfigOptions;
    use datafusion::logical_expr::{col, lit};
    use datafusion::scalar::ScalarValue;

    use super::*;

    fn call(formula: &Expr) -> &ScalarFunction {
        let Expr::ScalarFunction(call) = formula else { panic!("{formula} is a call") };
        call
    }

    fn value(formula: &Expr, numbers: &[i64]) -> Result<i64> {
        let numbers = numbers.iter().map(|number| ColumnarValue::Scalar(ScalarValue::from(*number)));
        let field = Arc::new(Field::new("number", DataType::Int64, true));
        let args = ScalarFunctionArgs {
            args: numbers.collect(),
            arg_fields: vec![Arc::clone(&field); call(formula).args.len()],
            number_rows: 1,
            return_field: field,
            config_options: Arc::new(ConfigOptions::new()),
        };
        match call(formula).func.invoke_with_args(args)? {
            ColumnarValue::Scalar(ScalarValue::Int64(Some(number))) => Ok(number),
            other => panic!("a number, not {other:?}"),
        }
    }

    #[test]
    fn operators_within_operators_are_one_call() {
        use Operation::{Minus, Plus, Times};
        let sum = joined(Plus, col("a"), col("b"));
        assert_eq!(call(&sum).func.name(), "number_plus");
        let difference = joined(Minus, joined(Times, sum, lit(2_i64)), joined(Minus, col("c"), col("d")));
        assert_eq!(call(&difference).func.name(), "($1 + $2) * $3 - ($4 - $5)");
        assert_eq!(call(&difference).args, [col("a"), col("b"), lit(2_i64), col("c"), col("d")]);
        assert_eq!(value(&difference, &[1, 2, 2, 10, 7]).unwrap(), 3);
        assert!(value(&difference, &[i64::MAX, 1, 0, 0, 0]).is_err());
        assert_eq!(first_number(&difference), &col("a"));
    }

    #[test]
    fn long_formulas_are_arguments_of_the_next() {
        let ones = vec![1; ARGUMENTS_MAX];
        let add = |sum, _: &i64| joined(Operation::Plus, sum, lit(1_i64));
        let sum = ones[1..].iter().fold(lit(1_i64), add);
        assert_eq!(value(&sum, &ones).unwrap(), ARGUMENTS_MAX as i64);
        let next = add(sum.clone(), &1);
        assert_eq!(call(&next).args, [sum, lit(1_i64)]);
        assert_eq!(first_number(&next), &lit(1_i64));
    }
}
