//! Batches of rows of consecutive series, made one by one.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    RecordBatchOptions, StringViewArray, UInt32Array,
};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::Result;

use crate::engine::functions::table::synthetic_sales::calendar::{Calendar, HOLIDAYS};
use crate::engine::functions::table::synthetic_sales::catalogue::{CATEGORIES, Item};
use crate::engine::functions::table::synthetic_sales::demand::{Day, Series, first_day};
use crate::engine::functions::table::synthetic_sales::spec::SyntheticSales;
use crate::ml::rng::Rng;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("store_id", DataType::Int32, false),
        Field::new("item_id", DataType::Utf8View, false),
        Field::new("category", DataType::Utf8View, true),
        Field::new("description", DataType::Utf8View, true),
        Field::new("sale_date", DataType::Date32, false),
        Field::new("units", DataType::Int64, true),
        Field::new("price", DataType::Float64, true),
        Field::new("promo", DataType::Boolean, true),
        Field::new("holiday", DataType::Utf8View, true),
        Field::new("in_stock", DataType::Boolean, true),
    ]))
});

/// The columns of the generated rows.
pub fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// Independent generators of everything random.
#[derive(Debug, Clone)]
pub struct Generators {
    stores: Rng,
    items: Rng,
    series: Rng,
}

impl Generators {
    /// The generators of a seed.
    pub fn new(seed: u64) -> Self {
        let rng = Rng::new(seed);
        Self { stores: rng.fork("store"), items: rng.fork("item"), series: rng.fork("series") }
    }

    /// Rows of these series.
    pub fn rows(&self, spec: &SyntheticSales, series: Range<usize>) -> usize {
        series.map(|i| spec.days - first_day(&self.series.stream(i as u64), spec.days)).sum()
    }
}

/// Makes the rows of a range of series, batch by batch.
#[derive(Debug)]
pub struct Batches {
    spec: SyntheticSales,
    generators: Generators,
    calendar: Arc<Calendar>,
    left: Range<usize>,
    current: Option<(u32, i32, Series)>,
    projection: Vec<usize>,
    schema: SchemaRef,
    batch_size: usize,
}

impl Batches {
    /// The rows of `series`, in batches of `batch_size` rows with these columns.
    pub fn new(
        spec: SyntheticSales,
        calendar: Arc<Calendar>,
        series: Range<usize>,
        projection: Vec<usize>,
        batch_size: usize,
    ) -> Result<Self> {
        let schema = Arc::new(SCHEMA.project(&projection)?);
        let generators = Generators::new(spec.seed);
        Ok(Self { spec, generators, calendar, left: series, current: None, projection, schema, batch_size })
    }

    /// The next batch, or nothing after the last row.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut rows = Rows::with_capacity(self.batch_size);
        while rows.days.len() < self.batch_size {
            let Some((item, store, mut series)) = self.current.take().or_else(|| self.start_series()) else {
                break;
            };
            let place = rows.place(item, store, &series.item);
            let factors = self.calendar.factors(series.item.category, series.kind());
            let mut finished = false;
            while rows.days.len() < self.batch_size {
                let Some(day) = series.next(factors) else {
                    finished = true;
                    break;
                };
                rows.days.push(day);
                rows.places.push(place);
            }
            if !finished {
                self.current = Some((item, store, series));
            }
        }
        if rows.days.is_empty() { Ok(None) } else { self.batch(&rows).map(Some) }
    }

    fn start_series(&mut self) -> Option<(u32, i32, Series)> {
        let number = self.left.next()?;
        let items = self.spec.items();
        let (store, item) = (number / items, number % items);
        let drawn = Item::draw(self.generators.items.stream(item as u64), self.spec.days);
        let store_rng = self.generators.stores.stream(store as u64);
        let series =
            Series::new(self.generators.series.stream(number as u64), &store_rng, drawn, self.spec.days);
        Some((item as u32 + 1, store as i32 + 1, series))
    }

    fn batch(&self, rows: &Rows) -> Result<RecordBatch> {
        let columns = self.projection.iter().map(|c| self.column(*c, rows)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.days.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }

    fn column(&self, column: usize, rows: &Rows) -> Result<ArrayRef> {
        let days = &rows.days;
        Ok(match column {
            0 => Arc::new(rows.places.iter().map(|p| Some(rows.stores[*p as usize])).collect::<Int32Array>()),
            1 => rows.text(&rows.items)?,
            2 => rows.text(&rows.categories)?,
            3 => rows.text(&rows.descriptions)?,
            4 => Arc::new(Date32Array::from_iter_values(
                days.iter().map(|d| self.calendar.start + d.day as i32),
            )),
            5 => Arc::new(Int64Array::from_iter_values(days.iter().map(|d| d.units))),
            6 => Arc::new(Float64Array::from_iter_values(days.iter().map(|d| d.price))),
            7 => Arc::new(BooleanArray::from_iter(days.iter().map(|d| Some(d.promo)))),
            8 => self.holidays(days)?,
            _ => Arc::new(BooleanArray::from_iter(days.iter().map(|d| Some(d.in_stock)))),
        })
    }

    fn holidays(&self, days: &[Day]) -> Result<ArrayRef> {
        let names = [None].into_iter().chain(HOLIDAYS.iter().map(|h| Some(h.0)));
        let names: StringViewArray = names.collect();
        let numbers = UInt32Array::from_iter_values(days.iter().map(|d| self.calendar.holidays[d.day]));
        Ok(take(&names, &numbers, None)?)
    }
}

/// The rows of one batch, with the texts of the series that they belong to.
#[derive(Debug, Default)]
struct Rows {
    days: Vec<Day>,
    places: Vec<u32>,
    stores: Vec<i32>,
    items: Vec<String>,
    categories: Vec<String>,
    descriptions: Vec<String>,
}

impl Rows {
    fn with_capacity(rows: usize) -> Self {
        Self { days: Vec::with_capacity(rows), places: Vec::with_capacity(rows), ..Self::default() }
    }

    /// Notes a series; its rows refer to it by the number returned.
    fn place(&mut self, number: u32, store: i32, item: &Item) -> u32 {
        self.stores.push(store);
        self.items.push(format!("A{number:06}"));
        self.categories.push(CATEGORIES[item.category].name.to_owned());
        self.descriptions.push(item.description.clone());
        self.stores.len() as u32 - 1
    }

    fn text(&self, values: &[String]) -> Result<ArrayRef> {
        let values = StringViewArray::from_iter_values(values);
        Ok(take(&values, &UInt32Array::from(self.places.clone()), None)?)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::compute::concat_batches;

    use super::*;

    fn all(spec: SyntheticSales, series: Range<usize>, batch_size: usize) -> RecordBatch {
        let calendar = Arc::new(Calendar::new(spec.start, spec.days));
        let mut batches = Batches::new(spec, calendar, series, (0..10).collect(), batch_size).unwrap();
        let mut parts = vec![];
        while let Some(batch) = batches.next_batch().unwrap() {
            parts.push(batch);
        }
        concat_batches(&schema(), &parts).unwrap()
    }

    #[test]
    fn rows_depend_on_the_seed_and_not_on_batches_or_partitions() {
        let spec = SyntheticSales { series: 12, days: 400, ..SyntheticSales::default() };
        let whole = all(spec, 0..12, 8192);
        let halves = [all(spec, 0..5, 100), all(spec, 5..12, 77)];
        assert_eq!(concat_batches(&schema(), &halves).unwrap(), whole);
        assert_ne!(all(SyntheticSales { seed: 2, ..spec }, 0..12, 8192), whole);
        assert_eq!(Generators::new(spec.seed).rows(&spec, 0..12), whole.num_rows());
    }

    #[test]
    fn empty_shelves_sell_nothing_and_prices_are_positive() {
        let rows = all(SyntheticSales { series: 40, days: 800, ..SyntheticSales::default() }, 0..40, 8192);
        let units = rows.column(5).as_any().downcast_ref::<Int64Array>().unwrap();
        let prices = rows.column(6).as_any().downcast_ref::<Float64Array>().unwrap();
        let in_stock = rows.column(9).as_any().downcast_ref::<BooleanArray>().unwrap();
        assert!(prices.values().iter().all(|p| *p > 0.0));
        assert!(in_stock.iter().zip(units).all(|(s, u)| s == Some(true) || u == Some(0)));
        assert!(in_stock.false_count() > 0 && units.values().iter().sum::<i64>() > 0);
    }
}
