//! `count(x)`: DataFusion's, with one table of the distinct values of all groups, where it has a set for each group.

use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, UInt32Array, new_empty_array,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{and, cast, filter, is_not_null, take};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, UInt32Type};
use datafusion::error::Result;
use datafusion::functions_aggregate::count::Count as Sets;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF, SetMonotonicity,
    Signature, StatisticsArgs,
};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use datafusion::scalar::ScalarValue;

use crate::engine::methods::delegate;
use crate::error::Error;

/// The number of rows, of values, or of distinct values.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Count(Sets);

fn counts_distinct(args: &AccumulatorArgs<'_>) -> bool {
    let is_plain =
        |data_type: &DataType| !data_type.is_integer() && !matches!(data_type, DataType::Dictionary(..));
    args.is_distinct && args.exprs.len() == 1 && is_plain(args.expr_fields[0].data_type())
}

impl AggregateUDFImpl for Count {
    delegate! {
        to 0:
        name() -> &str;
        signature() -> &Signature;
        return_type(types: &[DataType]) -> Result<DataType>;
        is_nullable() -> bool;
        state_fields(args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>>;
        accumulator(args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>>;
        create_sliding_accumulator(args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>>;
        reverse_expr() -> ReversedUDAF;
        default_value(data_type: &DataType) -> Result<ScalarValue>;
        value_from_stats(args: &StatisticsArgs<'_>) -> Option<ScalarValue>;
        set_monotonicity(data_type: &DataType) -> SetMonotonicity;
        documentation() -> Option<&Documentation>;
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        counts_distinct(&args) || self.0.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        match counts_distinct(&args) {
            true => Ok(Box::new(DistinctCounts::new(args.expr_fields[0].data_type())?)),
            false => self.0.create_groups_accumulator(args),
        }
    }
}

/// The distinct values of each group.
struct DistinctCounts {
    data_type: DataType,
    /// Pairs of a group, by its number among all that there were, and a value.
    pairs: Box<dyn GroupValues>,
    /// How many groups have left, and how many pairs of theirs are still in the table.
    left: (u32, usize),
    /// Values of each group that stays.
    counts: Vec<i64>,
    places: Vec<usize>,
}

impl DistinctCounts {
    fn new(data_type: &DataType) -> Result<Self> {
        let pairs = pairs_with(data_type)?;
        Ok(Self { data_type: data_type.clone(), pairs, left: (0, 0), counts: vec![], places: vec![] })
    }

    /// Adds a value to each of these groups, unless it is NULL.
    fn insert(&mut self, groups: &UInt32Array, values: ArrayRef, groups_total: usize) -> Result<()> {
        self.counts.resize(groups_total.max(self.counts.len()), 0);
        let (known, first) = (self.pairs.len(), self.left.0);
        let among_all: ArrayRef = Arc::new(groups.unary::<_, UInt32Type>(|group| group + first));
        self.pairs.intern(&[among_all, values], &mut self.places)?;
        let mut is_counted = vec![false; self.pairs.len() - known];
        for (group, place) in groups.values().iter().zip(&self.places) {
            if let Some(counted) = place.checked_sub(known).and_then(|new| is_counted.get_mut(new))
                && !std::mem::replace(counted, true)
            {
                self.counts[*group as usize] += 1;
            }
        }
        Ok(())
    }

    /// Lets the first groups go, which have these values; the table is made anew when half of it is theirs.
    fn leave(&mut self, counts: &[i64]) -> Result<()> {
        self.left.0 += counts.len() as u32;
        self.left.1 += counts.iter().sum::<i64>() as usize;
        if self.counts.is_empty() {
            (self.pairs, self.left) = (pairs_with(&self.data_type)?, (0, 0));
        } else if self.left.1 * 2 > self.pairs.len() {
            self.taken(&[])?;
        }
        Ok(())
    }

    /// Takes the values of the first groups, one group after the other; the others move to their places.
    fn taken(&mut self, counts: &[i64]) -> Result<ArrayRef> {
        let (first, _) = std::mem::take(&mut self.left);
        if self.pairs.is_empty() {
            return Ok(new_empty_array(&self.data_type));
        }
        // A table that has given all of its rows keeps their hashes.
        let pairs = std::mem::replace(&mut self.pairs, pairs_with(&self.data_type)?).emit(EmitTo::All)?;
        let [groups, values] = pairs.as_slice() else {
            return Err(Error::internal("a pair is a group and a value").into());
        };
        let groups = groups.as_primitive::<UInt32Type>();
        let mut next = starts(counts);
        let mut order = vec![0_u32; next.pop().unwrap_or_default()];
        for (place, group) in groups.values().iter().enumerate() {
            if let Some(at) = group.checked_sub(first).and_then(|group| next.get_mut(group as usize)) {
                order[*at] = place as u32;
                *at += 1;
            }
        }
        let staying = first + counts.len() as u32;
        let rest: BooleanArray = groups.values().iter().map(|group| Some(*group >= staying)).collect();
        if rest.true_count() > 0 {
            let others = filter(groups, &rest)?;
            let others: UInt32Array = others.as_primitive::<UInt32Type>().unary(|group| group - staying);
            self.pairs.intern(&[Arc::new(others), filter(values, &rest)?], &mut self.places)?;
        }
        Ok(take(values, &UInt32Array::from(order), None)?)
    }
}

/// A table of pairs of a group and a value of this type.
fn pairs_with(data_type: &DataType) -> Result<Box<dyn GroupValues>> {
    let fields =
        vec![Field::new("group", DataType::UInt32, false), Field::new("value", data_type.clone(), true)];
    new_group_values(Arc::new(Schema::new(fields)), &GroupOrdering::None)
}

/// Where the values of each group begin, and where those of the last end.
fn starts(counts: &[i64]) -> Vec<usize> {
    let mut next = 0;
    let mut starts = vec![0];
    starts.extend(counts.iter().map(|count| {
        next += *count as usize;
        next
    }));
    starts
}

fn list(
    data_type: &DataType,
    counts: impl IntoIterator<Item = usize>,
    values: &ArrayRef,
) -> Result<ArrayRef> {
    let field = Arc::new(Field::new_list_field(data_type.clone(), true));
    let values = cast(values, data_type)?;
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(counts), values, None)?))
}

/// Which values are counted.
fn wanted(values: &ArrayRef, condition: Option<&BooleanArray>) -> Result<Option<BooleanArray>> {
    let valid = (values.logical_null_count() > 0).then(|| is_not_null(values)).transpose()?;
    Ok(match (valid, condition) {
        (Some(valid), Some(condition)) => Some(and(&valid, condition)?),
        (valid, condition) => valid.or_else(|| condition.cloned()),
    })
}

impl GroupsAccumulator for DistinctCounts {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let groups = UInt32Array::from_iter_values(group_indices.iter().map(|group| *group as u32));
        match wanted(&values[0], opt_filter)? {
            None => self.insert(&groups, Arc::clone(&values[0]), total_num_groups),
            Some(wanted) => {
                let groups = filter(&groups, &wanted)?.as_primitive::<UInt32Type>().clone();
                self.insert(&groups, filter(&values[0], &wanted)?, total_num_groups)
            }
        }
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let counts = emit_to.take_needed(&mut self.counts);
        self.leave(&counts)?;
        Ok(Arc::new(Int64Array::from(counts)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let counts = emit_to.take_needed(&mut self.counts);
        let values = self.taken(&counts)?;
        Ok(vec![list(&self.data_type, counts.iter().map(|count| *count as usize), &values)?])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        let lists = values[0].as_list::<i32>();
        let offsets = lists.offsets();
        let (first, last) = (offsets[0] as usize, offsets[lists.len()] as usize);
        let repeated =
            offsets.lengths().zip(group_indices).flat_map(|(n, group)| std::iter::repeat_n(*group as u32, n));
        let groups = UInt32Array::from_iter_values(repeated);
        self.insert(&groups, lists.values().slice(first, last - first), total_num_groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let state = match wanted(&values[0], opt_filter)? {
            None => list(&self.data_type, vec![1; values[0].len()], &values[0])?,
            Some(wanted) => {
                let counts = wanted.iter().map(|wanted| usize::from(wanted == Some(true)));
                list(&self.data_type, counts, &filter(&values[0], &wanted)?)?
            }
        };
        Ok(vec![state])
    }

    fn size(&self) -> usize {
        self.pairs.size()
            + self.counts.capacity() * size_of::<i64>()
            + self.places.capacity() * size_of::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::StringViewArray;

    use super::*;

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringViewArray::from(values.to_vec()))
    }

    fn counts(array: &ArrayRef) -> Vec<i64> {
        array.as_primitive::<datafusion::arrow::datatypes::Int64Type>().values().to_vec()
    }

    #[test]
    fn groups_keep_their_values_when_others_leave() {
        let mut all = DistinctCounts::new(&DataType::Utf8View).unwrap();
        let values = texts(&[Some("a"), Some("b"), Some("a"), None, Some("a"), Some("c")]);
        all.update_batch(&[values], &[0, 0, 1, 1, 0, 2], None, 3).unwrap();
        let only = BooleanArray::from(vec![Some(true), None, Some(false)]);
        all.update_batch(&[texts(&[Some("d"), Some("e"), Some("f")])], &[2, 2, 2], Some(&only), 4).unwrap();
        assert_eq!(counts(&all.evaluate(EmitTo::First(1)).unwrap()), [2]);
        // Of the groups that stay, what was the second is the first.
        all.update_batch(&[texts(&[Some("a"), Some("b"), Some("d")])], &[0, 0, 1], None, 3).unwrap();
        assert_eq!(counts(&all.evaluate(EmitTo::All).unwrap()), [2, 2, 0]);
        assert!(all.pairs.is_empty() && all.counts.is_empty());
    }

    #[test]
    fn states_are_merged() {
        let of = |values: &[Option<&str>], groups: &[usize]| {
            let mut part = DistinctCounts::new(&DataType::Utf8View).unwrap();
            part.update_batch(&[texts(values)], groups, None, 3).unwrap();
            part
        };
        let mut one = of(&[Some("x"), Some("y"), Some("x"), None], &[2, 0, 2, 1]);
        let mut other = of(&[Some("x"), Some("z"), Some("w")], &[0, 0, 1]);
        let mut whole = DistinctCounts::new(&DataType::Utf8View).unwrap();
        let first = other.state(EmitTo::First(1)).unwrap();
        whole.merge_batch(&first, &[2], 3).unwrap();
        whole.merge_batch(&other.state(EmitTo::All).unwrap(), &[1, 0], 3).unwrap();
        whole.merge_batch(&one.state(EmitTo::All).unwrap(), &[0, 1, 2], 3).unwrap();
        let rows = [texts(&[Some("w"), None, Some("v")])];
        let only = BooleanArray::from(vec![true, true, false]);
        for (state, groups) in [
            (whole.convert_to_state(&rows, None).unwrap(), [1, 1, 1]),
            (whole.convert_to_state(&rows, Some(&only)).unwrap(), [0, 0, 0]),
        ] {
            whole.merge_batch(&state, &groups, 3).unwrap();
        }
        assert_eq!(counts(&whole.evaluate(EmitTo::All).unwrap()), [2, 2, 2]);
    }
}
