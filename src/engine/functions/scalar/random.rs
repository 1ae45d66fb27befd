//! `random()` and `setseed(seed)`: in a session that has set a seed, the numbers of PostgreSQL that follow it.
//!
//! Source: PostgreSQL 15, pg_prng.c; Blackman and Vigna 2018, "Scrambled Linear Pseudorandom Number Generators".

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, Float64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::error::Result;
use datafusion::functions::math::random::RandomFunc;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use parking_lot::Mutex;

use crate::engine::methods::delegate;
use crate::engine::settings::carried;
use crate::error::{Error, Subject};

/// The random numbers of a session that has set a seed.
#[derive(Debug, Clone, Default)]
pub struct SeededNumbers(Arc<Mutex<Option<Generator>>>);

carried!(SeededNumbers, "random");

/// xoroshiro128**.
#[derive(Debug)]
struct Generator(u64, u64);

impl Generator {
    fn of(seed: f64) -> Self {
        // Through a signed number: the sign of the seed counts.
        let mut state = (((1_u64 << 52) - 1) as f64 * seed) as i64 as u64;
        let (first, second) = (split_mix(&mut state), split_mix(&mut state));
        Self(first, second)
    }

    /// The next number, at least 0 and less than 1.
    fn draw(&mut self) -> f64 {
        let Self(first, second) = *self;
        let (mixed, drawn) = (second ^ first, first.wrapping_mul(5).rotate_left(7).wrapping_mul(9));
        *self = Self(first.rotate_left(24) ^ mixed ^ (mixed << 16), mixed.rotate_left(37));
        (drawn >> 12) as f64 / (1_u64 << 52) as f64
    }
}

/// The next number of the generator splitmix64.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// `random()`: DataFusion's where no seed was set.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Random(RandomFunc);

impl ScalarUDFImpl for Random {
    delegate! {
        to 0:
        name() -> &str;
        aliases() -> &[String];
        signature() -> &Signature;
        return_type(types: &[DataType]) -> Result<DataType>;
        documentation() -> Option<&Documentation>;
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(numbers) = args.config_options.extensions.get::<SeededNumbers>()
            && let Some(generator) = numbers.0.lock().as_mut()
        {
            let drawn: Float64Array = (0..args.number_rows).map(|_| Some(generator.draw())).collect();
            return Ok(ColumnarValue::Array(Arc::new(drawn)));
        }
        self.0.invoke_with_args(args)
    }
}

/// `setseed(seed)`, a number from -1 to 1.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SetSeed(Signature);

impl Default for SetSeed {
    fn default() -> Self {
        Self(Signature::exact(vec![DataType::Float64], Volatility::Volatile))
    }
}

impl ScalarUDFImpl for SetSeed {
    fn name(&self) -> &str {
        "setseed"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let numbers = args.config_options.extensions.get::<SeededNumbers>();
        let numbers = numbers.ok_or_else(|| Error::internal("the session is gone"))?;
        let seeds = args.args[0].to_array(args.number_rows)?;
        let set = |seed: f64| -> Result<&'static str> {
            if !(-1.0..=1.0).contains(&seed) {
                let message = format!("setseed parameter {seed} is out of allowed range [-1,1]");
                return Err(Error::input(Subject::Option, message).into());
            }
            *numbers.0.lock() = Some(Generator::of(seed));
            Ok("")
        };
        let seeds = seeds.as_primitive::<Float64Type>().iter();
        let set: StringArray = seeds.map(|seed| seed.map(set).transpose()).collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(set)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_postgresql() {
        let mut numbers = Generator::of(0.5);
        assert_eq!([numbers.draw(), numbers.draw()], [0.9851677175347999, 0.825301858027981]);
        let mut numbers = Generator::of(-1.0);
        assert_eq!([numbers.draw(), numbers.draw()], [0.725656831544149, 0.21342431605981593]);
    }
}
