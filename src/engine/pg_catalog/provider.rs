//! The schemas `pg_catalog`, `information_schema` and `forecasts` as DataFusion sees them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::datatypes::Field;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::Result as DfResult;

use super::rows::Rows;
use super::snapshot::{FORECASTS, Snapshot};
use super::{Surroundings, information, relations, tables};
use crate::engine::shared::Engine;
use crate::engine::storage::TableName;
use crate::error::{Result, identifier};

/// The last snapshot, and the states of catalog and models that it is of.
#[derive(Debug, Default)]
pub struct SnapshotCache(Mutex<Option<(u64, u64, Arc<Snapshot>)>>);

impl SnapshotCache {
    /// The snapshot as it stands, if nothing has changed since.
    pub fn get(&self, engine: &Engine) -> Option<Arc<Snapshot>> {
        let now = (engine.catalog.generation().ok()?, engine.registry.generation());
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cached.as_ref().filter(|(a, b, _)| (*a, *b) == now).map(|(.., snapshot)| Arc::clone(snapshot))
    }

    fn put(&self, generations: (u64, u64), snapshot: &Arc<Snapshot>) {
        let entry = (generations.0, generations.1, Arc::clone(snapshot));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry);
    }
}

/// The snapshot of a database, made when something has changed.
pub async fn snapshot(engine: &Arc<Engine>, around: &Surroundings) -> Result<Arc<Snapshot>> {
    if let Some(snapshot) = engine.snapshots.get(engine) {
        return Ok(snapshot);
    }
    let generations = (engine.catalog.generation()?, engine.registry.generation());
    let mut models = vec![];
    for model in engine.registry.list()? {
        let fields = model_columns(&model.name, around).await;
        let comment = engine.registry.get(&model.name, None).ok().and_then(|m| m.manifest().comment.clone());
        models.push((model.name, comment, fields));
    }
    let snapshot = Arc::new(Snapshot::of(engine, models)?);
    engine.snapshots.put(generations, &snapshot);
    Ok(snapshot)
}

/// The text of a model's view.
fn model_view(model: &str) -> String {
    format!("SELECT * FROM forecast({})", identifier(model))
}

/// The columns of a model's view; none when its forecast cannot be planned.
async fn model_columns(model: &str, around: &Surroundings) -> Vec<Field> {
    let Some(planner) = around.planner.upgrade() else { return vec![] };
    let planned = planner.plan_view(&TableName::new(FORECASTS, model), &model_view(model)).await;
    let fields = |plan: datafusion::logical_expr::LogicalPlan| {
        plan.schema().fields().iter().map(|field| field.as_ref().clone()).collect()
    };
    planned.map(fields).unwrap_or_default()
}

/// One of the schemas.
pub struct CatalogSchema {
    engine: Arc<Engine>,
    around: Surroundings,
    name: &'static str,
}

impl CatalogSchema {
    /// The schema of this name, if it is one of these.
    pub fn find(name: &str, engine: &Arc<Engine>, around: &Surroundings) -> Option<Self> {
        let name = Self::NAMES.into_iter().find(|known| *known == name)?;
        Some(Self { engine: Arc::clone(engine), around: around.clone(), name })
    }

    /// The names of these schemas.
    pub const NAMES: [&'static str; 3] = [FORECASTS, "information_schema", "pg_catalog"];
}

impl fmt::Debug for CatalogSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CatalogSchema({})", self.name)
    }
}

#[async_trait]
impl SchemaProvider for CatalogSchema {
    fn table_names(&self) -> Vec<String> {
        if self.name == FORECASTS {
            let models = self.engine.registry.list().unwrap_or_default();
            return models.into_iter().map(|model| model.name).collect();
        }
        relations::of_schema(self.name).map(|relation| relation.name.to_owned()).collect()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        if self.name == FORECASTS {
            return self.forecast(name).await;
        }
        let Some(relation) = relations::find(self.name, name) else { return Ok(None) };
        let snapshot = snapshot(&self.engine, &self.around).await?;
        let mut rows = Rows::new(relation);
        match self.name {
            "pg_catalog" => tables::fill(&mut rows, name, &snapshot, &self.around),
            _ => information::fill(&mut rows, name, &snapshot, &self.around),
        }
        let batch = rows.finish()?;
        Ok(Some(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        if self.name == FORECASTS {
            return self.table_names().iter().any(|model| model == name);
        }
        relations::find(self.name, name).is_some()
    }
}

impl CatalogSchema {
    /// A model as a view: its forecast with the defaults.
    async fn forecast(&self, model: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        let (true, Some(planner)) = (self.table_exist(model), self.around.planner.upgrade()) else {
            return Ok(None);
        };
        let sql = model_view(model);
        let plan = planner.plan_view(&TableName::new(FORECASTS, model), &sql).await?;
        Ok(Some(Arc::new(datafusion::datasource::ViewTable::new(plan, Some(sql)))))
    }
}
