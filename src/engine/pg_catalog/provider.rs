//! The schemas `pg_catalog`, `information_schema` and `forecasts` as DataFusion sees them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::datatypes::Field;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::Result as DfResult;

use super::rows::Rows;
use super::snapshot::{ModelObject, Snapshot};
use super::{Surroundings, information, relations, tables};
use crate::engine::plan::Shape;
use crate::engine::registry::{ColumnRole, Manifest, ModelKind, ModelRole, ModelSummary};
use crate::engine::schemas::FORECASTS;
use crate::engine::shared::Engine;
use crate::engine::storage::TableName;
use crate::error::{Result, identifier};
use crate::postgres;

/// Numbers of the states of catalog and models.
type Generations = (u64, u64);

/// Snapshots by the role for which they hold; of everything without a role.
type ByRole = HashMap<Option<String>, Arc<Snapshot>>;

/// The snapshots of one state.
#[derive(Debug, Default)]
pub struct SnapshotCache(Mutex<(Generations, ByRole)>);

impl SnapshotCache {
    fn get(&self, now: Generations, role: Option<&String>) -> Option<Arc<Snapshot>> {
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = Some(&cached.1).filter(|_| cached.0 == now)?;
        current.get(&role.cloned()).map(Arc::clone)
    }

    fn put(&self, now: Generations, role: Option<String>, snapshot: &Arc<Snapshot>) {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.0 != now {
            *cached = (now, HashMap::new());
        }
        cached.1.insert(role, Arc::clone(snapshot));
    }
}

/// What of a database exists for whoever acts, made when something has changed.
pub async fn snapshot(engine: &Arc<Engine>, around: &Surroundings) -> Result<Arc<Snapshot>> {
    let rights = around.actor.rights(&engine.catalog)?;
    let role = around.actor.role().filter(|_| !rights.is_superuser());
    let now = (engine.catalog.generation()?, engine.registry.generation());
    if let Some(snapshot) = engine.snapshots.get(now, role.as_ref()) {
        return Ok(snapshot);
    }
    let everything = match engine.snapshots.get(now, None) {
        Some(everything) => everything,
        None => {
            let made = Arc::new(Snapshot::of(engine, models(engine)?)?);
            engine.snapshots.put(now, None, &made);
            made
        }
    };
    if role.is_none() {
        return Ok(everything);
    }
    let visible = Arc::new(everything.visible_to(&rights));
    engine.snapshots.put(now, role, &visible);
    Ok(visible)
}

fn models(engine: &Engine) -> Result<Vec<ModelObject>> {
    let mut models = vec![];
    for model in engine.registry.list()?.into_iter().filter(has_view) {
        // A model that is damaged has no columns.
        let opened = engine.registry.get(&model.name, None);
        let fields = opened.map_or_else(|_| vec![], |opened| model_columns(opened.manifest()));
        let (name, comment, acl) = (model.name, model.comment, model.acl);
        models.push(ModelObject { name, comment, fields, acl });
    }
    Ok(models)
}

/// True for a model whose forecasts are a view: it needs no rows from elsewhere.
fn has_view(model: &ModelSummary) -> bool {
    model.kind == ModelKind::Forecast
}

/// The text of a model's view.
fn model_view(model: &str) -> String {
    format!("SELECT * FROM forecast({})", identifier(model))
}

/// The columns of a model's view: keys and time as they were when it was trained, so that no table is opened, then
/// ours.
fn model_columns(manifest: &Manifest) -> Vec<Field> {
    let shown = manifest.roles.iter().filter(|c| matches!(c.role, ModelRole::Key | ModelRole::Time));
    let field = |c: &ColumnRole| {
        let pg_type = postgres::by_name(&c.data_type).map_or("text", |found| found.name);
        relations::field(&c.name, pg_type)
    };
    shown.map(field).chain(Shape::default().fields()).collect()
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
            let models = self.engine.registry.list().unwrap_or_default().into_iter();
            let Ok(rights) = self.around.actor.rights(&self.engine.catalog) else { return vec![] };
            let seen = models.filter(|model| has_view(model) && rights.sees(&model.acl));
            return seen.map(|model| model.name).collect();
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
            "pg_catalog" => tables::fill(&mut rows, name, &snapshot, &self.around, &self.engine),
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
        let plan = planner.plan_view(&TableName::new(FORECASTS, model), &sql, &self.around.actor).await?;
        Ok(Some(Arc::new(datafusion::datasource::ViewTable::new(plan, Some(sql)))))
    }
}
