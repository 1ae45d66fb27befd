//! Tables over files that the database does not own: CSV, Parquet and JSON.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::common::config::{ConfigFileType, TableOptions};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::object_store::ObjectMeta;
use futures::TryStreamExt;

use crate::engine::access::FileAccess;
use crate::engine::storage::ExternalTable;
use crate::engine::{panics, parquet_claims};
use crate::error::{Error, Subject};

/// Rows that type inference of CSV and JSON reads.
const INFERENCE_ROWS: usize = 100_000;

/// Opens an external table; its columns come from the catalog or else from the files.
pub async fn open(table: &ExternalTable, state: &SessionState) -> Result<Arc<dyn TableProvider>> {
    let options: HashMap<String, String> = table.options.clone().into_iter().collect();
    let schema = table.schema.clone().map(Arc::new);
    let location = FileAccess::reopening(state, &table.location)?;
    Ok(Arc::new(listing(&location, &table.format, &options, schema, state).await?))
}

/// A table over the file or directory at `path`.
pub async fn listing(
    path: &str,
    format: &str,
    options: &HashMap<String, String>,
    schema: Option<SchemaRef>,
    state: &SessionState,
) -> Result<ListingTable> {
    check_exists(path)?;
    let claims = format.eq_ignore_ascii_case("PARQUET");
    let (format, extension) = file_format(format, options)?;
    let listing = ListingOptions::new(format).with_file_extension(if std::path::Path::new(path).is_dir() {
        extension
    } else {
        String::new()
    });
    let url = ListingTableUrl::parse(path)?;
    if claims {
        check_claims(&url, &listing.file_extension, state).await?;
    }
    let schema = match schema {
        Some(schema) => schema,
        None => {
            let inferred = panics::read_async(listing.infer_schema(state, &url)).await?;
            let inferred = inferred.map_err(|e| placed(path, &e.into()))?;
            Arc::new(storable(&inferred))
        }
    };
    if schema.fields().is_empty() {
        return Err(Error::data(format!("{path} has no columns")).into());
    }
    let config = ListingTableConfig::new(url).with_listing_options(listing).with_schema(schema);
    ListingTable::try_new(config)
}

/// Fails where one of these Parquet files claims more than is read.
async fn check_claims(url: &ListingTableUrl, extension: &str, state: &SessionState) -> Result<()> {
    let store = state.runtime_env().object_store(url)?;
    let files = url.list_all_files(state, store.as_ref(), extension).await?;
    let files: Vec<ObjectMeta> = files.try_collect().await?;
    for file in &files {
        parquet_claims::check(&store, file).await?;
    }
    Ok(())
}

fn placed(path: &str, error: &Error) -> datafusion::error::DataFusionError {
    Error::new(error.kind(), error.subject(), format!("{path}: {}", error.message())).into()
}

fn check_exists(path: &str) -> Result<()> {
    let plain = path.strip_prefix("file://").unwrap_or(path);
    if plain.contains("://") {
        let message = format!("{path} is not on this machine; files are read from local paths only");
        return Err(Error::input(Subject::File, message).into());
    }
    match std::fs::metadata(plain) {
        Ok(_) => Ok(()),
        Err(_) if plain.contains(['*', '?', '[']) => Ok(()),
        Err(e) => Err(Error::io(std::path::Path::new(plain), &e).into()),
    }
}

/// The format by its name, with its options.
fn file_format(format: &str, options: &HashMap<String, String>) -> Result<(Arc<dyn FileFormat>, String)> {
    let mut table = TableOptions::default();
    let kind = match format.to_uppercase().as_str() {
        "CSV" => ConfigFileType::CSV,
        "JSON" | "NDJSON" => ConfigFileType::JSON,
        "PARQUET" => ConfigFileType::PARQUET,
        other => {
            let message = format!("unknown file format {other}; formats are CSV, JSON and PARQUET");
            return Err(Error::input(Subject::Option, message).into());
        }
    };
    table.set_config_format(kind.clone());
    table.alter_with_string_hash_map(options).map_err(|e| option_error(&e.into()))?;
    Ok(match kind {
        ConfigFileType::CSV => {
            let mut csv = table.csv;
            csv.has_header = csv.has_header.or(Some(true));
            csv.schema_infer_max_rec = csv.schema_infer_max_rec.or(Some(INFERENCE_ROWS));
            (Arc::new(CsvFormat::default().with_options(csv)), ".csv".to_owned())
        }
        ConfigFileType::JSON => {
            let mut json = table.json;
            json.schema_infer_max_rec = json.schema_infer_max_rec.or(Some(INFERENCE_ROWS));
            (Arc::new(JsonFormat::default().with_options(json)), ".json".to_owned())
        }
        ConfigFileType::PARQUET => {
            (Arc::new(ParquetFormat::default().with_options(table.parquet)), ".parquet".to_owned())
        }
    })
}

fn option_error(error: &Error) -> Error {
    Error::input(Subject::Option, error.message().to_owned())
        .with_hint("options of CSV: format.has_header, format.delimiter, format.quote, format.null_regex, format.compression")
}

/// Types that tables can store: whole seconds and the like become microseconds.
fn storable(schema: &Schema) -> Schema {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|f| match f.data_type() {
            DataType::Timestamp(_, zone) => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                f.as_ref().clone().with_data_type(micros)
            }
            DataType::Null => f.as_ref().clone().with_data_type(DataType::Utf8),
            _ => f.as_ref().clone(),
        })
        .collect();
    Schema::new(fields)
}
