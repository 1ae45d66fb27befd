//! Sequences: numbers that are given once each. After a crash some are skipped, none is given twice.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

use arrow::array::Int64Array;
use arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;
use parking_lot::Mutex;

use crate::engine::storage::catalog::entries::{Contents, Entry, Sequence, TableName};
use crate::engine::storage::catalog::store::{Catalog, Inner};
use crate::engine::storage::durable_fs::{DurableFs, Publish};
use crate::engine::storage::sealed::{sealed, unsealed};
use crate::error::{Error, ErrorKind, Result, Subject, identifier};

/// Numbers that are promised to the disk ahead, as many as PostgreSQL does.
const AHEAD: i128 = 32;
const HEADER: &str = "foretell-sequence 2 ";

/// Where each sequence stands.
#[derive(Debug)]
pub struct Counters {
    directory: PathBuf,
    fs: DurableFs,
    open: Mutex<HashMap<String, Counter>>,
}

/// The number that comes next, and the one from which it goes on after a crash.
#[derive(Debug, Clone, Copy)]
struct Counter {
    next: i128,
    promised: i128,
}

impl Counters {
    /// The counters in `directory`.
    pub fn new(directory: PathBuf, fs: DurableFs) -> Self {
        Self { directory, fs, open: Mutex::default() }
    }

    /// The next `count` numbers of a sequence.
    fn take(&self, name: &TableName, sequence: &Sequence, count: usize) -> Result<Vec<i64>> {
        let mut open = self.open.lock();
        let mut counter = self.counter(&open, sequence)?;
        let step = i128::from(sequence.increment);
        let numbers = (0..count as i128).map(|n| counter.next + n * step);
        let numbers = numbers.map(|n| sequence.number(name, n)).collect::<Result<Vec<i64>>>()?;
        counter.next += count as i128 * step;
        if (counter.promised - counter.next) * step.signum() < 0 {
            counter.promised = counter.next + AHEAD * step;
            self.write(sequence, counter.promised)?;
        }
        open.insert(sequence.id.clone(), counter);
        Ok(numbers)
    }

    /// Makes `next` the number that comes next.
    fn set(&self, sequence: &Sequence, next: i128) -> Result<()> {
        let mut open = self.open.lock();
        // Where it cannot be written, the file tells where the sequence stands.
        open.remove(&sequence.id);
        self.write(sequence, next)?;
        open.insert(sequence.id.clone(), Counter { next, promised: next });
        Ok(())
    }

    fn counter(&self, open: &HashMap<String, Counter>, sequence: &Sequence) -> Result<Counter> {
        if let Some(counter) = open.get(&sequence.id) {
            return Ok(*counter);
        }
        let path = self.path(&sequence.id);
        let next = match self.fs.read(&path) {
            Ok(bytes) => promised(&path, &bytes)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => i128::from(sequence.start),
            Err(e) => return Err(Error::io(&path, &e)),
        };
        Ok(Counter { next, promised: next })
    }

    fn write(&self, sequence: &Sequence, promised: i128) -> Result<()> {
        let path = self.path(&sequence.id);
        let bytes = sealed(HEADER, promised.to_string().as_bytes());
        self.fs.write(&path, &bytes, Publish::Replace).map_err(|e| Error::io(&path, &e))
    }

    /// Removes what is left of sequences that are gone.
    pub fn sweep(&self, contents: &Contents) -> Result<()> {
        let known: Vec<&str> = contents.sequences().map(|(_, sequence)| sequence.id.as_str()).collect();
        for found in self.fs.fs().list(&self.directory).map_err(|e| Error::io(&self.directory, &e))? {
            if !known.contains(&found.name.as_str()) {
                let path = self.directory.join(&found.name);
                self.fs.fs().unlink(&path).map_err(|e| Error::io(&path, &e))?;
            }
        }
        Ok(())
    }

    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(id)
    }
}

fn promised(path: &Path, bytes: &[u8]) -> Result<i128> {
    let corrupt = |what: &str| {
        let message = format!("sequence file {} {what}", path.display());
        Error::corrupt(Subject::File, message).with_hint("restore it from a backup of the database directory")
    };
    let number = unsealed(HEADER, bytes).map_err(corrupt)?;
    let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
    number.ok_or_else(|| corrupt("cannot be read"))
}

impl Sequence {
    /// A sequence of all the numbers of an integer type from 1 up.
    pub fn of_type(data_type: &DataType) -> Self {
        let max = match data_type {
            DataType::Int16 => i64::from(i16::MAX),
            DataType::Int32 => i64::from(i32::MAX),
            _ => i64::MAX,
        };
        let id = uuid::Uuid::new_v4().simple().to_string();
        let data_type = data_type.clone();
        Self {
            id,
            data_type,
            start: 1,
            increment: 1,
            min: 1,
            max,
            owned_by: None,
            identity: false,
            acl: <_>::default(),
        }
    }

    fn number(&self, name: &TableName, number: i128) -> Result<i64> {
        let beyond = |what: &str, limit: i64| {
            let message = format!("nextval: reached {what} value of sequence \"{}\" ({limit})", name.table);
            Error::new(ErrorKind::Data, Subject::Sequence, message)
        };
        match i64::try_from(number) {
            Ok(number) if (self.min..=self.max).contains(&number) => Ok(number),
            _ if number > i128::from(self.max) => Err(beyond("maximum", self.max)),
            _ => Err(beyond("minimum", self.min)),
        }
    }
}

impl Contents {
    /// All sequences.
    pub fn sequences(&self) -> impl Iterator<Item = (TableName, &Arc<Sequence>)> {
        self.schemas.iter().flat_map(|(schema, contents)| {
            contents.entries.iter().filter_map(move |(name, entry)| match entry {
                Entry::Sequence(sequence) => Some((TableName::new(schema, name), sequence)),
                _ => None,
            })
        })
    }

    /// The sequence `name`.
    pub fn sequence(&self, name: &TableName) -> Result<&Arc<Sequence>> {
        match self.find(name) {
            Some(Entry::Sequence(sequence)) => Ok(sequence),
            Some(other) => {
                Err(Error::input(Subject::Sequence, format!("{name} is a {}, not a sequence", other.kind())))
            }
            None => Err(Error::not_found(Subject::Sequence, format!("no sequence {name}"))),
        }
    }

    /// Takes the sequence `name` out of its schema, unless a column takes its default from it.
    pub fn take_sequence(&mut self, name: &TableName) -> Result<Entry> {
        self.sequence(name)?;
        if let Some(user) = self.uses_sequence(name) {
            let message = format!("sequence {name} cannot be dropped because it is the default of {user}");
            return Err(Error::input(Subject::Sequence, message)
                .with_hint("the sequence of a SERIAL column goes with its column"));
        }
        self.take(name, "sequence")
    }

    /// Drops the sequences that belong to a table, or to one of its columns.
    pub fn drop_owned(&mut self, table: &str, column: Option<&str>) {
        let gone = |entry: &Entry| match entry {
            Entry::Sequence(sequence) => sequence
                .owned_by
                .as_ref()
                .is_some_and(|(owner, of)| owner == table && column.is_none_or(|column| column == of)),
            _ => false,
        };
        self.schemas.values_mut().for_each(|schema| schema.entries.retain(|_, entry| !gone(entry)));
    }

    /// A name for the sequence of a column: `table_column_seq`, with a number when that is taken.
    pub fn free_sequence_name(&self, table: &TableName, column: &str) -> TableName {
        let base = format!("{}_{column}_seq", table.table);
        let mut name = TableName::new(&table.schema, &base);
        let mut suffix = 0;
        while self.find(&name).is_some() {
            suffix += 1;
            name.table = format!("{base}{suffix}");
        }
        name
    }
}

impl Catalog {
    /// Creates the sequence `name`; false when it was there already.
    pub async fn create_sequence(&self, name: &TableName, new: Sequence, skip: bool) -> Result<bool> {
        let name = name.clone();
        self.update(move |contents| {
            if skip && contents.find(&name).is_some() {
                return Ok(false);
            }
            contents.put(&name, Entry::Sequence(Arc::new(new)), false)?;
            Ok(true)
        })
        .await
    }

    /// The next `count` numbers of the sequence `name`.
    pub fn next_values(&self, name: &TableName, count: usize) -> Result<Vec<i64>> {
        self.ensure_writable()?;
        let sequence = Arc::clone(self.contents()?.sequence(name)?);
        self.inner.counters.take(name, &sequence, count)
    }

    /// Makes `value` the number that was given last, or with `called` false the one that comes next.
    pub fn set_value(&self, name: &TableName, value: i64, called: bool) -> Result<()> {
        self.ensure_writable()?;
        let sequence = Arc::clone(self.contents()?.sequence(name)?);
        if !(sequence.min..=sequence.max).contains(&value) {
            let message = format!(
                "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                name.table, sequence.min, sequence.max
            );
            return Err(Error::new(ErrorKind::Data, Subject::Sequence, message));
        }
        let step = if called { i128::from(sequence.increment) } else { 0 };
        self.inner.counters.set(&sequence, i128::from(value) + step)
    }
}

impl Contents {
    /// The column that takes its default from a sequence.
    fn uses_sequence(&self, sequence: &TableName) -> Option<String> {
        let call = default_text(sequence);
        self.schemas.iter().find_map(|(schema, contents)| {
            contents.entries.iter().find_map(|(name, entry)| {
                let Entry::Table(table) = entry else { return None };
                let column = table.live_columns().find(|c| c.default_sql.as_ref() == Some(&call))?;
                Some(format!("column {} of {}", column.name, TableName::new(schema, name)))
            })
        })
    }
}

/// The DEFAULT of a column whose numbers come from a sequence.
pub fn default_text(sequence: &TableName) -> String {
    let name = match sequence.schema.as_str() {
        super::DEFAULT_SCHEMA => identifier(&sequence.table),
        schema => format!("{}.{}", identifier(schema), identifier(&sequence.table)),
    };
    format!("nextval('{}')", name.replace('\'', "''"))
}

/// Numbers for so many rows, from the arguments of the call.
type Next = dyn Fn(&[ColumnarValue], usize) -> DfResult<Vec<i64>> + Send + Sync;

/// `nextval` in a DEFAULT: gives every row a number of its own.
pub struct NextValue {
    signature: Signature,
    next: Arc<Next>,
}

impl NextValue {
    /// The function that takes numbers from `next`.
    pub fn udf(
        signature: TypeSignature,
        next: impl Fn(&[ColumnarValue], usize) -> DfResult<Vec<i64>> + Send + Sync + 'static,
    ) -> ScalarUDF {
        let signature = Signature::new(signature, Volatility::Volatile);
        ScalarUDF::new_from_impl(Self { signature, next: Arc::new(next) })
    }
}

/// The functions of DEFAULT with `nextval` of sequences, and where their catalog is to be put. Whoever may add rows
/// may take the numbers for them.
pub fn with_next_value(functions: &SessionState) -> Result<(SessionState, Arc<OnceLock<Weak<Inner>>>)> {
    use datafusion::execution::FunctionRegistry;
    let place: Arc<OnceLock<Weak<Inner>>> = Arc::default();
    let catalog = Arc::clone(&place);
    let next = move |arguments: &[ColumnarValue], rows: usize| {
        let [ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))] = arguments else {
            return Err(Error::input(Subject::Sequence, "nextval of a DEFAULT names one sequence").into());
        };
        let inner = catalog.get().and_then(Weak::upgrade);
        let inner = inner.ok_or_else(|| Error::internal("the catalog is gone"))?;
        Ok(Catalog { inner }.next_values(&TableName::written(name), rows)?)
    };
    let mut state = functions.clone();
    let function = NextValue::udf(TypeSignature::Exact(vec![DataType::Utf8]), next);
    state.register_udf(Arc::new(function))?;
    Ok((state, place))
}

impl fmt::Debug for NextValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nextval")
    }
}

impl PartialEq for NextValue {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.next, &other.next)
    }
}

impl Eq for NextValue {}

impl Hash for NextValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        "nextval".hash(state);
    }
}

impl ScalarUDFImpl for NextValue {
    fn name(&self) -> &str {
        "nextval"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let numbers = (self.next)(&args.args, args.number_rows)?;
        Ok(ColumnarValue::Array(Arc::new(Int64Array::from(numbers))))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::engine::storage::tests::hooked::{Hooked, Operation};

    fn counters(dir: &Path) -> Counters {
        Counters::new(dir.to_path_buf(), DurableFs::default())
    }

    #[test]
    fn a_number_is_never_given_twice_also_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let name = TableName::public("s");
        let sequence = Sequence { increment: 10, ..Sequence::of_type(&DataType::Int64) };
        let first = counters(dir.path());
        assert_eq!(first.take(&name, &sequence, 3).unwrap(), [1, 11, 21]);
        assert_eq!(first.take(&name, &sequence, 1).unwrap(), [31]);
        let after = counters(dir.path()).take(&name, &sequence, 1).unwrap();
        assert!(after[0] > 31 && after[0] % 10 == 1, "{after:?}");
    }

    #[test]
    fn no_number_that_may_come_again_is_given_after_a_setval_of_which_nobody_knows() {
        let (dir, broken) = (tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(false)));
        let (name, sequence) = (TableName::public("s"), Sequence::of_type(&DataType::Int64));
        let armed = Arc::clone(&broken);
        let fs = Hooked::before(move |operation, _| {
            let fails = operation == Operation::SyncDirectory && armed.load(Ordering::SeqCst);
            if fails { Err(io::Error::other("broken")) } else { Ok(()) }
        });
        let before = Counters::new(dir.path().to_path_buf(), DurableFs::new(Arc::new(fs)));
        assert_eq!(before.take(&name, &sequence, 2).unwrap(), [1, 2]);
        broken.store(true, Ordering::SeqCst);
        before.set(&sequence, 1).unwrap_err();
        before.take(&name, &sequence, 1).unwrap_err();
        assert_eq!(counters(dir.path()).take(&name, &sequence, 1).unwrap(), [1]);
    }

    #[test]
    fn a_changed_byte_of_its_file_gives_no_number() {
        let dir = tempfile::tempdir().unwrap();
        let (name, sequence) = (TableName::public("s"), Sequence::of_type(&DataType::Int64));
        counters(dir.path()).set(&sequence, 4_242).unwrap();
        let path = dir.path().join(&sequence.id);
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                std::fs::write(&path, damaged).unwrap();
                let error = counters(dir.path()).take(&name, &sequence, 1).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                assert!(error.message().contains(&path.display().to_string()), "{error}");
            }
        }
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(counters(dir.path()).take(&name, &sequence, 1).unwrap(), [4_242]);
    }

    #[test]
    fn the_ends_of_a_sequence_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let name = TableName::public("s");
        let counters = counters(dir.path());
        let sequence = Sequence { max: 2, ..Sequence::of_type(&DataType::Int16) };
        assert_eq!(counters.take(&name, &sequence, 2).unwrap(), [1, 2]);
        let error = counters.take(&name, &sequence, 1).unwrap_err();
        assert_eq!(error.message(), "nextval: reached maximum value of sequence \"s\" (2)");
        let down =
            Sequence { increment: -1, min: -2, max: -1, start: -1, ..Sequence::of_type(&DataType::Int64) };
        assert_eq!(counters.take(&name, &down, 2).unwrap(), [-1, -2]);
        let error = counters.take(&name, &down, 1).unwrap_err();
        assert_eq!(error.message(), "nextval: reached minimum value of sequence \"s\" (-2)");
    }
}
