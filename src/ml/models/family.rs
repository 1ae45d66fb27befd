//! The families of models by the words users write.

use std::sync::Arc;

use crate::error::{Error, Result, Subject, did_you_mean};
use crate::ml::control::Control;
use crate::ml::device::Placement;
use crate::ml::evaluation::WIDTH;
use crate::ml::features::{Outliers, RowColumn};
use crate::ml::forecaster::{Family, FitEstimate, FitOptions, FitReport, FittedForecaster};
use crate::ml::hierarchy::Hierarchy;
use crate::ml::models::arima::Arima;
use crate::ml::models::ces::Ces;
use crate::ml::models::croston::{Croston, Sba, Tsb};
use crate::ml::models::ets::Ets;
use crate::ml::models::fitting::Outcome;
use crate::ml::models::foundation::FoundationLearner;
use crate::ml::models::local::LocalLearner;
use crate::ml::models::model::{Learner, Lesson};
use crate::ml::models::networks::{Architecture, NetworkLearner};
use crate::ml::models::regression::{BOOSTED, Gbt, RegressionLearner, Ridge, Svr, Tree};
use crate::ml::models::seasonal_naive::SeasonalNaive;
use crate::ml::models::theta::Theta;
use crate::ml::models::{auto, container, fitted, fitting, reconciled};
use crate::ml::objective::ObjectiveKind;
use crate::ml::reconciliation::Reconciliation;
use crate::ml::series::Panel;

/// A family: its word, and what learns, where it is not a choice of others.
type Entry = (Family, &'static str, Option<&'static dyn Learner>);

const FAMILIES: [Entry; 19] = [
    (Family::Auto, "auto", None),
    (Family::SeasonalNaive, "seasonal_naive", Some(&LocalLearner::<SeasonalNaive>::new())),
    (Family::Ets, "ets", Some(&LocalLearner::<Ets>::new())),
    (Family::Theta, "theta", Some(&LocalLearner::<Theta>::new())),
    (Family::Arima, "arima", Some(&LocalLearner::<Arima>::new())),
    (Family::Ces, "ces", Some(&LocalLearner::<Ces>::new())),
    (Family::Croston, "croston", Some(&LocalLearner::<Croston>::new())),
    (Family::Sba, "sba", Some(&LocalLearner::<Sba>::new())),
    (Family::Tsb, "tsb", Some(&LocalLearner::<Tsb>::new())),
    (Family::Ridge, "ridge", Some(&RegressionLearner::<Ridge>::new())),
    (Family::Svr, "svr", Some(&RegressionLearner::<Svr>::new())),
    (Family::Tree, "tree", Some(&RegressionLearner::<Tree>::new())),
    (Family::Gbt, "gbt", Some(&RegressionLearner::<Gbt>::new())),
    (Family::Tide, "tide", Some(&NetworkLearner(Architecture::Tide))),
    (Family::Dlinear, "dlinear", Some(&NetworkLearner(Architecture::Dlinear))),
    (Family::Lstm, "lstm", Some(&NetworkLearner(Architecture::Lstm))),
    (Family::Gru, "gru", Some(&NetworkLearner(Architecture::Gru))),
    (Family::Transformer, "transformer", Some(&NetworkLearner(Architecture::Transformer))),
    (Family::Foundation, "foundation", Some(&FoundationLearner)),
];

/// The word users write after USING.
pub fn family_name(family: Family) -> &'static str {
    FAMILIES.iter().find(|(known, _, _)| *known == family).map_or("", |(_, name, _)| *name)
}

/// The family of this word, in any case.
pub fn parse_family(word: &str) -> Result<Family> {
    let known = FAMILIES.iter().find(|(_, name, _)| name.eq_ignore_ascii_case(word));
    known.map(|(family, _, _)| *family).ok_or_else(|| {
        let names = FAMILIES.map(|(_, name, _)| name);
        let message = format!("unknown family {word}{}", did_you_mean(word, names));
        Error::input(Subject::Option, message).with_hint(format!("USING knows {}", names.join(", ")))
    })
}

/// True when the fit of a family depends on an option, by its word in SQL; `auto` has those of its networks and trees.
pub fn has_option(family: Family, option: &str) -> bool {
    let network =
        matches!(family, Family::Tide | Family::Dlinear | Family::Lstm | Family::Gru | Family::Transformer);
    let rows = matches!(family, Family::Ridge | Family::Svr | Family::Tree | Family::Gbt);
    match (family, option) {
        (_, "background" | "max_seconds" | "season" | "seed") => true,
        (_, "device") if network => true,
        (_, "device" | "freeze" | "lora_rank" | "replay") => {
            matches!(family, Family::Foundation | Family::Auto)
        }
        (Family::Foundation, option) => {
            matches!(option, "batch_size" | "context" | "early_stop" | "epochs" | "learning_rate")
        }
        (Family::Auto, "distill") => false,
        (Family::Auto, option) => [Family::Gbt, Family::Tide].iter().any(|f| has_option(*f, option)),
        (_, "trees" | "leaves") => family == Family::Gbt,
        (_, "heads" | "patch") => family == Family::Transformer,
        (_, "learning_rate") => network || family == Family::Gbt,
        (_, "context" | "distill") => network || rows,
        _ => network,
    }
}

/// The families that an option is one of.
pub fn families_with(option: &str) -> Vec<&'static str> {
    let with =
        |(family, name, learner): &Entry| (learner.is_some() && has_option(*family, option)).then_some(*name);
    FAMILIES.iter().filter_map(with).collect()
}

/// What learns for a family; none for a choice of others.
pub(super) fn learner(family: Family) -> Option<&'static dyn Learner> {
    FAMILIES.iter().find(|(known, _, _)| *known == family).and_then(|(_, _, learner)| *learner)
}

/// The objectives that a family can be fitted for; none where its rule has one of its own. `auto` can be fitted for
/// all: members that do not know one learn as they always do.
pub fn objectives(family: Family) -> &'static [ObjectiveKind] {
    match family {
        Family::Auto | Family::Tide | Family::Dlinear | Family::Lstm | Family::Gru | Family::Transformer => {
            &ObjectiveKind::ALL
        }
        Family::Gbt => &BOOSTED,
        _ => &[],
    }
}

/// Fails where one of the families cannot be fitted for this objective.
pub fn check_objective(families: &[Family], objective: Option<ObjectiveKind>) -> Result<()> {
    let Some(kind) = objective else { return Ok(()) };
    let Some(family) = families.iter().copied().find(|family| !objectives(*family).contains(&kind)) else {
        return Ok(());
    };
    let (name, able) = (family_name(family), objectives(family));
    let hint = if able.is_empty() {
        let choosers = FAMILIES.iter().filter(|(family, _, _)| !objectives(*family).is_empty());
        let choosers: Vec<&str> = choosers.map(|(_, name, _)| *name).collect();
        format!("{name} learns by a rule of its own; OBJECTIVE is for {}", choosers.join(", "))
    } else {
        let words: Vec<&str> = able.iter().map(|kind| kind.word()).collect();
        format!("OBJECTIVE of {name} is one of {}", words.join(", "))
    };
    let message = format!("{name} has no OBJECTIVE {}", kind.word());
    Err(Error::input(Subject::Option, message).with_hint(hint))
}

/// Fits these families to all series of the panel; several are combined.
pub fn fit(
    families: &[Family],
    panel: &Panel,
    options: &FitOptions,
    control: &Control,
) -> Result<(Arc<dyn FittedForecaster>, FitReport)> {
    let Outcome { model, report, .. } = outcome(families, panel, options, control)?;
    Ok((model.with_cold_start(panel, options, control)?, report))
}

/// Fits these families to all nodes of a hierarchy, so that their forecasts are coherent; the panel has a series for each
/// node, as [`Hierarchy::aggregate`] makes it.
pub fn fit_coherent(
    families: &[Family],
    panel: &Panel,
    hierarchy: &Hierarchy,
    method: Reconciliation,
    options: &FitOptions,
    control: &Control,
) -> Result<(Arc<dyn FittedForecaster>, FitReport)> {
    let outcome = outcome(families, panel, options, control)?;
    reconciled::reconciled(outcome, panel, hierarchy, method, options, control)
}

fn outcome(families: &[Family], panel: &Panel, options: &FitOptions, control: &Control) -> Result<Outcome> {
    check_objective(families, options.objective)?;
    if options.device == Placement::Cuda {
        // Without the card no member would do, which a combination would only note.
        options.device.open()?;
    }
    options.objective.map_or(Ok(()), |kind| kind.check(panel, "target"))?;
    let candidates = auto::candidates(families, panel);
    let family = if let [family] = families { *family } else { Family::Auto };
    fitting::fit(family, &candidates, panel, options, control)
}

/// Windows at the end of every series that a fit holds out, and their steps.
pub fn held_out(panel: &Panel, options: &FitOptions) -> (usize, usize) {
    let plan = fitting::Plan::new(panel, options);
    (plan.windows, plan.length)
}

/// What a fit of these families will need.
///
/// In memory are together the held-out windows, each with a panel of its own, what is forecast for them by every member and
/// by all, the members, and either what the largest of them needs to learn or the forecasts of all once more, calibrated.
pub fn estimate(
    families: &[Family],
    panel: &Panel,
    options: &FitOptions,
    control: &Control,
) -> Result<FitEstimate> {
    let (mut total, mut largest, mut members) = (FitEstimate::default(), 0, 0);
    let candidates = auto::candidates(families, panel);
    let lesson = Lesson { shared: candidates.len() > 1, ..Lesson::new(panel, 0, options, control) };
    for learner in candidates.into_iter().filter_map(learner) {
        let own = learner.estimate(&lesson)?;
        total.parameters += own.parameters;
        total.windows = total.windows.max(own.windows);
        largest = largest.max(own.memory_bytes);
        members += 1;
        total.seconds += own.seconds;
    }
    let plan = fitting::Plan::new(panel, options);
    let forecasts = plan.steps() * panel.len() * (WIDTH + 1) * size_of::<f64>();
    let panels = plan.windows + usize::from(options.outliers != Outliers::Keep);
    total.memory_bytes = panels * panel.bytes()
        + (members + 1) * forecasts
        + total.parameters * size_of::<f64>()
        + largest.max(members * forecasts);
    Ok(total)
}

/// The columns of the rows that one of these families learns from; none where all learn from whole series.
pub fn row_columns(
    families: &[Family],
    panel: &Panel,
    options: &FitOptions,
    control: &Control,
) -> Result<Option<Vec<RowColumn>>> {
    for learner in auto::candidates(families, panel).into_iter().filter_map(learner) {
        if let Some(columns) = learner.row_columns(&Lesson::new(panel, 0, options, control))? {
            return Ok(Some(columns));
        }
    }
    Ok(None)
}

/// The model that [`FittedForecaster::to_bytes`] wrote; any other bytes are an error, never a panic.
pub fn load(bytes: &[u8]) -> Result<Arc<dyn FittedForecaster>> {
    let file = container::read(bytes)?;
    if file.family == reconciled::WORD { reconciled::load(&file) } else { Ok(fitted::load(bytes)?) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_families_in_any_case() {
        assert_eq!(parse_family("TiDE").unwrap(), Family::Tide);
        let error = parse_family("etc").unwrap_err();
        assert_eq!(error.message(), "unknown family etc; did you mean ets?");
        assert!(error.hint().unwrap().starts_with("USING knows auto, seasonal_naive, ets, "));
    }

    #[test]
    fn an_objective_that_a_family_does_not_know_is_an_error() {
        let of = |family, kind| check_objective(&[Family::Tide, family], Some(kind));
        of(Family::Gbt, ObjectiveKind::Tweedie).unwrap();
        of(Family::Auto, ObjectiveKind::StudentT).unwrap();
        let error = of(Family::Gbt, ObjectiveKind::Huber).unwrap_err();
        assert_eq!(error.message(), "gbt has no OBJECTIVE huber");
        assert_eq!(error.hint(), Some("OBJECTIVE of gbt is one of quantile, mse, mae, poisson, tweedie"));
        let error = of(Family::Theta, ObjectiveKind::Mse).unwrap_err();
        assert_eq!(error.message(), "theta has no OBJECTIVE mse");
        assert!(
            error
                .hint()
                .unwrap()
                .ends_with("OBJECTIVE is for auto, gbt, tide, dlinear, lstm, gru, transformer")
        );
    }

    #[test]
    fn foreign_bytes_are_corrupt() {
        for bytes in [&[][..], b"12345678", &[255; 64], &[1, 0, 0, 0, 0, 0, 0, 0, b'{']] {
            assert_eq!(load(bytes).unwrap_err().kind(), crate::error::ErrorKind::Corrupt);
        }
    }
}
