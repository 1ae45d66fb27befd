//! `regexp_match`, `regexp_like`, `regexp_count` and `regexp_instr` with PostgreSQL's flags.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::functions::regex;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::engine::functions::scalar::regexp_flags::{Flags, at_all_characters, translated};
use crate::engine::methods::delegate;
use crate::error::{Error, Subject};

/// A function of DataFusion's, and the place of its flags among the arguments.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RegexpSearch(Arc<ScalarUDF>, usize);

/// All of them.
pub fn all() -> [ScalarUDF; 4] {
    let functions = [
        RegexpSearch(regex::regexp_match(), 2),
        RegexpSearch(regex::regexp_like(), 2),
        RegexpSearch(regex::regexp_count(), 3),
        RegexpSearch(regex::regexp_instr(), 4),
    ];
    functions.map(ScalarUDF::new_from_impl)
}

impl RegexpSearch {
    /// PostgreSQL's flags as those that DataFusion puts before the expression.
    fn modes(&self, letters: &str) -> Result<String> {
        let flags = Flags::parse(letters)?;
        if !flags.all {
            return Ok(flags.modes());
        }
        let name = self.name();
        let message = format!("{name}() does not support the \"global\" option");
        let error = Error::input(Subject::Option, message);
        Err(match name {
            "regexp_match" => error.with_hint("Use the regexp_matches function instead.").into(),
            _ => error.into(),
        })
    }
}

impl ScalarUDFImpl for RegexpSearch {
    delegate! {
        to 0:
        name() -> &str;
        signature() -> &Signature;
        return_type(arg_types: &[DataType]) -> Result<DataType>;
        documentation() -> Option<&Documentation>;
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.get(self.1) {
            Some(flags) => args.args[self.1] = translated(flags, |letters| self.modes(letters))?,
            None => args.args[1] = translated(&args.args[1], |pattern| Ok(at_all_characters(pattern)))?,
        }
        self.0.invoke_with_args(args)
    }
}
