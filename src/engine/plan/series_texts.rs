//! The texts of a model's series, with what reads them.

use std::sync::Arc;

use crate::engine::registry::Model;
use crate::engine::shared::Engine;
use crate::error::{Error, Result, Subject};
use crate::ml::Control;
use crate::ml::features::Texts;
use crate::ml::series::Panel;
use crate::ml::text::TextEncoder;

/// How the texts of a model's series become numbers.
#[derive(Debug, Clone)]
pub struct SeriesTexts {
    texts: Arc<Texts>,
    encoder: Option<Arc<TextEncoder>>,
}

impl SeriesTexts {
    /// The text model that a model reads the texts of its series by; `None` where it has none.
    pub fn encoder_of(engine: &Engine, model: &Model) -> Result<Option<Arc<Model>>> {
        let manifest = model.manifest();
        let Some((name, version)) = &manifest.encoder else { return Ok(None) };
        if model.texts()?.is_none() {
            return Ok(None);
        }
        let gone = |e: Error| {
            let model = &manifest.name;
            let message = format!("model {model} reads texts by {name} version {version}: {}", e.message());
            Error::new(e.kind(), Subject::Model, message).with_hint(format!(
                "train {model} again with an encoder that is there: TRAIN OR REPLACE FORECAST MODEL {model} …"
            ))
        };
        engine.registry.get(name, Some(*version)).map(Some).map_err(gone)
    }

    /// Those of a model with its encoder; `None` where it reads no texts.
    pub fn of(model: &Model, encoder: Option<&Model>) -> Result<Option<Self>> {
        let Some(texts) = model.texts()? else { return Ok(None) };
        let encoder = encoder.map(Model::encoder).transpose()?;
        Ok(Some(Self { texts, encoder }))
    }

    /// How texts become numbers.
    pub fn texts(&self) -> &Texts {
        &self.texts
    }

    /// Puts the numbers of the texts of a panel into their place.
    pub fn extend(&self, panel: &mut Panel, control: &Control) -> Result<()> {
        self.texts.extend(panel, self.encoder.as_deref(), control)
    }
}
